"""A script as the rules see it: its typed expressions, what becomes of each, and its own manners."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from autoresearch_rl.target.generators.grammar.flow import Flow, read_flows
from autoresearch_rl.target.generators.grammar.layers import NORM_NAME, Layer, Modules, Role
from autoresearch_rl.target.generators.grammar.tensors import ATTENTION, CASTS, Kind, Tensor
from autoresearch_rl.target.generators.grammar.writing import Writer
from autoresearch_rl.target.patterns import Place, Source

_LOW = re.compile(r"bfloat16|float16|\.half\(\)")
_SILENT = (Kind.IDS, Kind.TURNED, Kind.LOGITS, Kind.PAIR)
_COMPUTES = ("square", "relu", "tanh", "sigmoid")  # methods of a tensor that are more than another look at it


class Use(StrEnum):
    """What is done next with a value."""

    ACTIVATED = "activated"
    NORMED = "normed"
    SUMMED = "summed"
    RETURNED = "returned"
    SQUARED = "squared"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Spot:
    """An expression that has a type."""

    node: ast.expr
    tensor: Tensor
    place: Place
    flow: Flow
    use: Use

    @property
    def argument(self) -> ast.expr | None:
        """What is handed to it first, where it is a call."""
        return self.node.args[0] if isinstance(self.node, ast.Call) and self.node.args else None

    @property
    def layer(self) -> Layer | None:
        """The layer that it calls."""
        return self.flow.layers.get(self.node)

    @property
    def is_factor(self) -> bool:
        """Whether it is one side of a product, or a few channels that decide how much of something counts."""
        parent = self.place.parent
        product = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mult)
        return product or "//" in (self.tensor.width or "")

    @property
    def base(self) -> str:
        """What new attributes for it are called after."""
        function = self.node.func if isinstance(self.node, ast.Call) else None
        own = isinstance(function, ast.Attribute) and (
            self.layer is not None or function.attr in self.flow.module.methods
        )
        return function.attr if own and isinstance(function, ast.Attribute) else str(self.tensor.kind)


class View(Writer):
    """All that the rules look at, made once a script."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, Modules(source))
        self.flows = [flow for flow in read_flows(self.modules) if not _is_tool(flow)]
        self.low_precision = _LOW.search(source.text) is not None
        self.spots = [spot for flow in self.flows for spot in self._spots(flow)]

    def _spots(self, flow: Flow) -> Iterator[Spot]:
        for node, tensor in flow.types.items():
            place = self.places.get(node)
            if place is None or tensor.kind in _SILENT or not isinstance(node, ast.Call | ast.BinOp):
                continue
            if isinstance(node, ast.BinOp) or not _is_plain(node, tensor, flow):
                yield Spot(node, tensor, place, flow, self.next_use(node, flow))

    def next_use(self, node: ast.AST, flow: Flow) -> Use:
        """What is done with a value next, through names, casts and dropout."""
        parent = self.places[node].parent
        if isinstance(parent, ast.Return):
            return Use.RETURNED
        if isinstance(parent, ast.AugAssign | ast.BinOp) and isinstance(parent.op, ast.Add):
            return Use.SUMMED
        if _squares(parent):
            return Use.SQUARED
        if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
            following = _next_load(parent.targets[0].id, parent, flow)
            return self.next_use(following, flow) if following else Use.OTHER
        call = self.places[parent].parent if isinstance(parent, ast.Attribute) else parent
        if not isinstance(call, ast.Call):
            return Use.OTHER
        layer = flow.layers.get(call)
        cast = isinstance(parent, ast.Attribute) and parent.attr in CASTS
        if cast or (layer and layer.role is Role.DROPOUT):
            return self.next_use(call, flow)
        found = flow.types.get(call)
        return {Kind.ACTIVE: Use.ACTIVATED, Kind.NORMED: Use.NORMED}.get(
            found.kind if found else Kind.IDS, Use.OTHER
        )

    @cached_property
    def norm(self) -> str | None:
        """A function of the script itself that normalises the last axis, needing nothing else."""
        for node in self.source.tree.body:
            if isinstance(node, ast.FunctionDef) and NORM_NAME.search(node.name):
                arguments, last = node.args, node.body[-1]
                needed = len(arguments.posonlyargs + arguments.args) - len(arguments.defaults)
                known = re.search(r"rms_norm|layer_norm|-1", ast.unparse(last))
                if needed == 1 and isinstance(last, ast.Return) and known:
                    return node.name
        return None

    def attentions(self) -> Iterator[tuple[ast.expr, ast.expr, ast.expr | None, Flow]]:
        """Queries, keys and values of each attention, in whatever way it is written."""
        for flow in self.flows:
            for node in ast.walk(flow.function):
                name = self.modules.full_name(node.func) if isinstance(node, ast.Call) else ""
                if isinstance(node, ast.Call) and name == ATTENTION and len(node.args) >= 3:
                    grouped = any(k.arg == "enable_gqa" for k in node.keywords)
                    yield node.args[0], node.args[1], None if grouped else node.args[2], flow
                elif found := _scores(node, name):
                    yield *found, None, flow


def _squares(node: ast.AST) -> bool:
    """`k * k` and `k ** 2`; `k.square()` is a use of its own."""
    if not isinstance(node, ast.BinOp):
        return False
    twice = isinstance(node.op, ast.Mult) and ast.unparse(node.left) == ast.unparse(node.right)
    return twice or isinstance(node.op, ast.Pow)


def _next_load(name: str, after: ast.stmt, flow: Flow) -> ast.Name | None:
    """Where a name is read for the first time behind a statement."""
    end = (after.end_lineno or 0, after.end_col_offset or 0)
    names = (n for n in ast.walk(flow.function) if isinstance(n, ast.Name) and n.id == name)
    loads = [n for n in names if isinstance(n.ctx, ast.Load) and (n.lineno, n.col_offset) >= end]
    return min(loads, key=lambda n: (n.lineno, n.col_offset), default=None)


def _scores(node: ast.AST, name: str) -> tuple[ast.expr, ast.expr] | None:
    """Queries and keys of `q @ k.transpose(-2, -1)`, `torch.matmul` and `torch.einsum`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        turned = _turned(node.right)
        return (node.left, turned) if turned else None
    if not isinstance(node, ast.Call) or len(node.args) < 2:
        return None
    if name == "torch.einsum" and len(node.args) == 3 and _contracts_last(node.args[0]):
        return node.args[1], node.args[2]
    turned = _turned(node.args[1]) if name == "torch.matmul" else None
    return (node.args[0], turned) if turned else None


def _turned(node: ast.expr) -> ast.expr | None:
    """`k` of `k.transpose(-2, -1)` and `k.mT`."""
    function = node.func if isinstance(node, ast.Call) else node
    turned = isinstance(function, ast.Attribute) and function.attr in ("transpose", "mT")
    return function.value if turned and isinstance(function, ast.Attribute) else None


def _contracts_last(node: ast.expr) -> bool:
    """`bqhd,bkhd->bhqk`: whether both inputs end in the axis that the result does not have."""
    spelled = node.value if isinstance(node, ast.Constant) else ""
    if not isinstance(spelled, str) or spelled.count(",") != 1 or "->" not in spelled:
        return False
    inputs, output = spelled.replace(" ", "").split("->")
    first, second = inputs.split(",")
    return first[-1:] == second[-1:] and first[-1:] not in output


def _is_tool(flow: Flow) -> bool:
    """A class that is itself a norm or a layer with weights: changes belong where it is used."""
    known = flow.module.base.removeprefix("torch.nn.") in ("Linear", "Embedding", "LayerNorm", "RMSNorm")
    return known or NORM_NAME.search(flow.module.name) is not None or flow.function.name.startswith("_")


def _is_plain(node: ast.Call, tensor: Tensor, flow: Flow) -> bool:
    """Whether a call only casts, reshapes or drops out: what it is made of is the spot."""
    layer = flow.layers.get(node)
    if layer is not None:
        return layer.role is Role.DROPOUT
    if not isinstance(node.func, ast.Attribute) or node.func.attr in _COMPUTES:
        return False
    return tensor.kind is not Kind.MIXED and node.func.value in flow.types
