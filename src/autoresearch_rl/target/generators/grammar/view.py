"""A script as the rules see it: the places where something can change, and how changes are written down."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from autoresearch_rl.target.generators.grammar.flow import Flow, Kind, Tensor, read_flows
from autoresearch_rl.target.generators.grammar.layers import NORM_NAME, Layer, Module, Modules, Role
from autoresearch_rl.target.normal import Splice
from autoresearch_rl.target.patterns import Place, Source

TOPIC = 80  # characters
_LOW = re.compile(r"bfloat16|float16|\.half\(\)")
_SILENT = (Kind.IDS, Kind.TURNED, Kind.LOGITS, Kind.PAIR)
_COMPREHENSIONS = (
    ast.Lambda,
    ast.GeneratorExp,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.IfExp,
    ast.BoolOp,
)
_CASTS = {"to", "float", "half", "bfloat16", "contiguous", "type_as", "clone", "view_as"}


class Use(StrEnum):
    """What is done next with a value."""

    ACTIVATED = "activated"
    NORMED = "normed"
    SUMMED = "summed"
    RETURNED = "returned"
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


@dataclass(frozen=True, slots=True)
class Draft:
    """A mutation: which rule, what it does, where, the replacements, and how likely it helps."""

    operator: str
    topic: str
    splices: tuple[Splice, ...]
    odds: float


class View:
    """All that the rules look at, made once a script."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.modules = Modules(source)
        self.flows = read_flows(self.modules)
        self.low_precision = _LOW.search(source.text) is not None
        self.places = {
            place.node: place
            for kind in (ast.Call, ast.BinOp, ast.Name, ast.Attribute, ast.Subscript, ast.IfExp)
            for place in source.places(kind)
        }
        self.norm = self._norm_function()
        self.word = self._word()
        self._attributes = {
            n.node.attr for n in source.places(ast.Attribute) if isinstance(n.node, ast.Attribute)
        }
        self._imports = _top_imports(source)
        self.spots = [spot for flow in self.flows if not _is_tool(flow) for spot in self._spots(flow)]

    # Reading

    def code(self, node: ast.AST) -> str:
        """The text of a node; on several lines only inside of brackets."""
        return self.source.code(node)

    def called(self, full_name: str) -> str | None:
        """How this script may call `torch.nn.functional.silu`; None where nothing of it is imported."""
        for alias, module in self._imports.items():
            if full_name == module:
                return alias
        fitting = [(len(m), a) for a, m in self._imports.items() if full_name.startswith(f"{m}.")]
        if not fitting:
            return None
        length, alias = max(fitting)
        return alias + full_name[length:]

    def next_use(self, node: ast.AST, flow: Flow) -> tuple[Use, ast.AST | None]:
        """What is done with a value next, through names, casts and dropout; and by which node."""
        place = self.places.get(node)
        if place is None:
            return Use.OTHER, None
        parent = place.parent
        if isinstance(parent, ast.Return):
            return Use.RETURNED, parent
        if isinstance(parent, ast.AugAssign) and isinstance(parent.op, ast.Add):
            return Use.SUMMED, parent
        if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
            following = self._next_load(parent.targets[0].id, parent, flow)
            return self.next_use(following, flow) if following else (Use.OTHER, None)
        if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Add):
            return Use.SUMMED, parent
        call = self.places[parent].parent if isinstance(parent, ast.Attribute) else parent
        if not isinstance(call, ast.Call):
            return Use.OTHER, parent
        layer = flow.layers.get(call)
        cast = isinstance(parent, ast.Attribute) and parent.attr in _CASTS
        if cast or (layer and layer.role is Role.DROPOUT):
            return self.next_use(call, flow)
        kind = flow.types[call].kind if call in flow.types else None
        return {Kind.ACTIVE: Use.ACTIVATED, Kind.NORMED: Use.NORMED}.get(kind, Use.OTHER), call  # type: ignore[arg-type]

    def _next_load(self, name: str, after: ast.stmt, flow: Flow) -> ast.Name | None:
        end = (after.end_lineno or 0, after.end_col_offset or 0)
        loads = [
            n
            for n in ast.walk(flow.function)
            if isinstance(n, ast.Name)
            and n.id == name
            and isinstance(n.ctx, ast.Load)
            and (n.lineno, n.col_offset) >= end
        ]
        return min(loads, key=lambda n: (n.lineno, n.col_offset), default=None)

    def _spots(self, flow: Flow) -> Iterator[Spot]:
        for node, tensor in flow.types.items():
            place = self.places.get(node)
            computed = isinstance(node, ast.Call | ast.BinOp)
            if place is None or not computed or tensor.kind in _SILENT or _is_plain(node, tensor, flow):
                continue
            assert isinstance(node, ast.expr)
            yield Spot(node, tensor, place, flow, self.next_use(node, flow)[0])

    def _norm_function(self) -> str | None:
        """A function of the script itself that normalises the last axis, needing nothing else."""
        for node in self.source.tree.body:
            if isinstance(node, ast.FunctionDef) and NORM_NAME.search(node.name):
                arguments = node.args
                needed = len(arguments.posonlyargs + arguments.args) - len(arguments.defaults)
                last = node.body[-1]
                text = ast.unparse(last)
                if (
                    needed == 1
                    and isinstance(last, ast.Return)
                    and re.search(r"rms_norm|layer_norm|-1", text)
                ):
                    return node.name
        return None

    def _word(self) -> str:
        """What new weights are called: some scripts group theirs by name."""
        grouped = {
            p.node.left.value
            for p in self.source.places(ast.Compare)
            if isinstance(p.node, ast.Compare) and isinstance(p.node.left, ast.Constant)
        }
        return next(
            (word for word in ("gain", "scale", "gate", "scalar", "lambda") if word in grouped), "gain"
        )

    def is_trained(self, module: Module) -> bool:
        """Whether weights that are added to a class surely come to the optimizer.

        They do where all parameters are asked for; a script that lists those of its parts may miss new ones
        of the whole.
        """
        return module is not self._whole() or self._asks_for_all

    def _whole(self) -> Module | None:
        made = {
            layer.made.func.id
            for m in self.modules.classes.values()
            for layer in m.layers.values()
            if isinstance(layer.made.func, ast.Name)
        }
        outer = [m for name, m in self.modules.classes.items() if name not in made]
        return outer[-1] if outer else None

    @cached_property
    def _asks_for_all(self) -> bool:
        for place in self.source.places(ast.Call):
            node = place.node
            assert isinstance(node, ast.Call)
            asked = isinstance(node.func, ast.Attribute) and node.func.attr in (
                "parameters",
                "named_parameters",
            )
            if asked and isinstance(node.func.value, ast.Name) and place.scope[-1:] != ("__init__",):
                clips = isinstance(place.parent, ast.Call) and "clip" in ast.unparse(place.parent.func)
                if not clips:
                    return True
        return False

    # Writing

    def draft(
        self,
        operator: str,
        variant: str,
        where: Spot | ast.AST,
        changes: Sequence[Splice | None],
        odds: float,
    ) -> Iterator[Draft]:
        """A draft of these changes; none where one of them could not be written."""
        splices = tuple(change for change in changes if change is not None)
        if len(splices) == len(changes):
            node = where.node if isinstance(where, Spot) else where
            yield Draft(operator, self._topic(f"{operator} {variant}".strip(), node), splices, odds)

    def _topic(self, rule: str, node: ast.AST) -> str:
        place = self.places.get(node)
        scope = ".".join(place.scope if place else self._scope(node))
        code = re.sub(r"\s+", " ", self.code(node))
        text = f"{rule}@{scope}:{code}" if scope else f"{rule}:{code}"
        return text if len(text) <= TOPIC else f"{text[: TOPIC - 3]}..."

    def _scope(self, node: ast.AST) -> tuple[str, ...]:
        return next((p.scope for p in self.source.runs() if p.node is node), ())

    def replaced(self, node: ast.AST, text: str) -> Splice:
        """Other code in place of an expression, in parentheses where it needs them."""
        place = self.places.get(node)
        return (*self.source.span(node), text if place and _stands_alone(place, text) else f"({text})")

    def operand(self, node: ast.AST) -> str:
        """The text of an expression, in parentheses unless it can be multiplied and called."""
        text = self.code(node)
        return text if isinstance(node, ast.Name | ast.Call | ast.Attribute | ast.Subscript) else f"({text})"

    def lines(self, first: ast.stmt, last: ast.stmt | None = None) -> tuple[str, int, int] | None:
        """Indentation, start and end of the lines of statements; None where others stand on them, too."""
        text, (start, _), (_, end) = (
            self.source.text,
            self.source.span(first),
            self.source.span(last or first),
        )
        top = text.rfind("\n", 0, start) + 1
        newline = text.find("\n", end)
        bottom = len(text) if newline < 0 else newline + 1
        rest = text[end:bottom].strip()
        alone = not text[top:start].strip() and (not rest or rest.startswith("#")) and newline >= 0
        return (text[top:start], top, bottom) if alone else None

    def above(self, statement: ast.stmt, *codes: str) -> Splice | None:
        """New statements above one."""
        found = self.lines(statement)
        if found is None or getattr(statement, "decorator_list", None):
            return None
        indent, top, _ = found
        return top, top, "".join(f"{indent}{code}{self.source.newline}" for code in codes)

    def below(self, statement: ast.stmt, *codes: str) -> Splice | None:
        """New statements below one."""
        found = self.lines(statement)
        if found is None:
            return None
        indent, _, bottom = found
        return bottom, bottom, "".join(f"{indent}{code}{self.source.newline}" for code in codes)

    def without(self, statement: ast.stmt, body: Sequence[ast.stmt]) -> Splice | None:
        """A statement deleted, where others are left."""
        found = self.lines(statement)
        return (found[1], found[2], "") if found and len(body) > 1 else None

    def new_name(self, base: str) -> str:
        """An attribute that the script does not have yet."""
        taken = self._attributes | self.source.names
        names = [base, *(f"{base}{i}" for i in range(2, 99))]
        return next(name for name in names if name not in taken)

    def local_name(self, base: str, flow: Flow) -> str:
        """A name that a method does not use yet."""
        taken = {n.id for n in ast.walk(flow.function) if isinstance(n, ast.Name)} | set(self.source.modules)
        return next(name for name in (base, f"{base}_", f"{base}_2", f"new_{base}") if name not in taken)

    def registered(self, module: Module, name: str, value: str | None) -> Splice | None:
        """A new attribute at the end of what the constructor builds; before it sets weights."""
        if module.anchor is None or value is None:
            return None
        return self.below(module.anchor, f"self.{name} = {value}") if self.is_trained(module) else None

    def is_sayable(self, width: str | None, module: Module) -> bool:
        """Whether a width can be written down in the constructor."""
        if width is None or module.init is None:
            return False
        arguments = module.init.args
        names = {a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs} | {"self"}
        for statement in module.init.body:
            for target in statement.targets if isinstance(statement, ast.Assign) else ():
                names |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
        used = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", width))
        return used <= names | self.modules.globals | {"len", "for"}

    def held(self, node: ast.expr, base: str, spot: Spot) -> tuple[list[Splice], str] | None:
        """A name for the value of an expression: itself, or one that a new statement above gives it.

        Where the expression is replaced as a whole, the caller drops the splice in its place.
        """
        if isinstance(node, ast.Name):
            return [], node.id
        statement = spot.place.statement
        plain = isinstance(statement, ast.Assign | ast.Return | ast.AugAssign | ast.Expr)
        if statement is None or not plain or _is_conditional(node, statement):
            return None
        name, text = self.local_name(base, spot.flow), self.code(node)
        text = f"({text})" if "\n" in text and not text.endswith(")") else text
        line = self.above(statement, f"{name} = {text}")
        return ([line], name) if line else None


def _is_tool(flow: Flow) -> bool:
    """A class that is itself a norm or a layer with weights: changes belong where it is used."""
    known = flow.module.base.removeprefix("torch.nn.") in ("Linear", "Embedding", "LayerNorm", "RMSNorm")
    return known or NORM_NAME.search(flow.module.name) is not None or flow.function.name.startswith("_")


def _is_plain(node: ast.AST, tensor: Tensor, flow: Flow) -> bool:
    """Whether a call only casts, reshapes or drops out: what it is made of is the spot."""
    if not isinstance(node, ast.Call):
        return False
    layer = flow.layers.get(node)
    if layer is not None:
        return layer.role is Role.DROPOUT
    if not isinstance(node.func, ast.Attribute) or node.func.attr in ("square", "relu", "tanh", "sigmoid"):
        return False
    return (
        tensor.kind is not Kind.MIXED
        and isinstance(node.func.value, ast.expr)
        and node.func.value in flow.types
    )


def _is_conditional(node: ast.AST, statement: ast.stmt) -> bool:
    """Whether an expression may be evaluated more than once or never."""
    around = [n for n in ast.walk(statement) if isinstance(n, _COMPREHENSIONS)]
    return any(inner is node for outer in around for inner in ast.walk(outer))


def _stands_alone(place: Place, text: str) -> bool:
    """Whether code needs no parentheses where it stands: as an argument, a value, or a term of a sum."""
    parent = place.parent
    if isinstance(parent, ast.Call):
        return place.field == "args"
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Add):
        return not re.search(r"[^(,]\s(if|or|and|else)\s|:=|^lambda", text)
    return isinstance(parent, ast.keyword | ast.Assign | ast.AugAssign | ast.Return | ast.Expr)


def _top_imports(source: Source) -> dict[str, str]:
    """What is imported where everything can see it."""
    top: set[str] = set()
    for node in source.tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            top |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return {alias: module for alias, module in source.modules.items() if alias in top}
