"""Types of tensors: what a value is in the model, and what layers make of it.

Light and conservative. The last axis of everything that has a type is one of channels, never of time, so a
norm over it cannot see the future.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from autoresearch_rl.target.generators.grammar.layers import Layer, Role


class Kind(StrEnum):
    """What a tensor is in the model."""

    IDS = "ids"
    EMBEDDED = "embedded"
    STREAM = "stream"  # a residual sum
    NORMED = "normed"
    HIDDEN = "hidden"  # what a layer with weights gives
    ACTIVE = "active"  # what an activation gives
    MIXED = "mixed"  # what attention gives, heads side by side
    HEADS = "heads"  # split in heads; the last axis is as wide as a head
    TURNED = "turned"  # axes are swapped: the last one may be time
    PAIR = "pair"  # what a recurrent layer gives
    LOGITS = "logits"


OUTSIDE = (Kind.IDS, Kind.LOGITS, Kind.TURNED, Kind.PAIR, Kind.HEADS)
"""What is no value of the hidden layers."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's kind, and how many channels it has, in the words of its class's constructor."""

    kind: Kind
    width: str | None = None


_SHARP = ("gelu", "relu", "silu", "mish", "elu", "leaky_relu", "hardswish", "selu", "celu", "relu6")
ELEMENTWISE = {*_SHARP, "tanh", "sigmoid", "softplus", "softsign", "square"}
ACTIVATIONS = {f"{module}.{n}" for n in (*ELEMENTWISE, "sin") for module in ("torch", "torch.nn.functional")}
NORMS = {f"torch.nn.functional.{n}" for n in ("rms_norm", "layer_norm", "normalize")} | {"torch.rms_norm"}
ATTENTION = "torch.nn.functional.scaled_dot_product_attention"
CASTS = {"to", "float", "half", "bfloat16", "contiguous", "type_as", "clone", "type"}
TURNS = {"permute", "mT", "T", "mH", "movedim", "swapaxes"}
_VOCABULARY = ("vocab", "n_tok", "num_tok", "ntoken")


def given(layer: Layer, first: Tensor | None, width: str | None) -> Tensor | None:
    """What a layer gives.

    Args:
        layer: it.
        first: what it is called with.
        width: how wide it says that its result is.
    """
    return _GIVEN[layer.role](layer, first, width)


def normed(tensor: Tensor | None) -> Tensor | None:
    """After a norm; heads stay heads."""
    return tensor and replace(tensor, kind=tensor.kind if tensor.kind is Kind.HEADS else Kind.NORMED)


def active(tensor: Tensor | None) -> Tensor | None:
    """After an activation; logits stay logits, whatever caps them."""
    return tensor and replace(tensor, kind=tensor.kind if tensor.kind in OUTSIDE else Kind.ACTIVE)


def added(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    """The sum of two, of which one may be unknown."""
    known = [t for t in (left, right) if t is not None]
    if not known:
        return None
    for kind in (Kind.LOGITS, Kind.HEADS):
        if any(t.kind is kind for t in known):
            return Tensor(kind, known[0].width)
    if any(t.kind in OUTSIDE for t in known):
        return None
    return Tensor(Kind.STREAM, next((t.width for t in known if t.width), None))


def _weighted(layer: Layer, first: Tensor | None, width: str | None) -> Tensor | None:
    logits = any(word in (layer.gives or "").lower() for word in _VOCABULARY)
    kind = Kind.STREAM if layer.residual else Kind.HIDDEN
    return Tensor(Kind.LOGITS if logits else kind, width)


def _after_norm(layer: Layer, first: Tensor | None, width: str | None) -> Tensor | None:
    if first is not None and first.kind is Kind.HEADS:
        return first
    return Tensor(Kind.NORMED, width or (first.width if first else None))


_GIVEN: Mapping[Role, Callable[[Layer, Tensor | None, str | None], Tensor | None]] = {
    Role.LINEAR: _weighted,
    Role.BLOCK: _weighted,
    Role.NORM: _after_norm,
    Role.EMBEDDING: lambda layer, first, width: Tensor(Kind.EMBEDDED, width),
    Role.ACTIVATION: lambda layer, first, width: active(first),
    Role.DROPOUT: lambda layer, first, width: first,
    Role.RECURRENT: lambda layer, first, width: Tensor(Kind.PAIR, width),
    Role.OTHER: lambda layer, first, width: None,
}


_Width = Callable[[str | None], str | None]


def reshaped(
    method: str, args: Sequence[ast.expr], keywords: Sequence[ast.keyword], value: Tensor, width: _Width
) -> Tensor | None:
    """What a method of a tensor gives that arranges it anew.

    Args:
        method: its name.
        args: what it is called with.
        keywords: likewise.
        value: the tensor.
        width: says a width in the words of the constructor.
    """
    if method in TURNS:
        return Tensor(Kind.TURNED)
    arrange = _ARRANGED.get(method)
    texts = [ast.unparse(argument) for argument in (*args, *(k.value for k in keywords))]
    return arrange(texts, value, width) if arrange else None


def _viewed(sizes: list[str], value: Tensor, width: _Width) -> Tensor | None:
    if len(sizes) != 3:
        return Tensor(Kind.HEADS) if len(sizes) > 3 else None
    return Tensor(Kind.MIXED if value.kind is Kind.HEADS else value.kind, width(sizes[-1]))


def _transposed(axes: list[str], value: Tensor, width: _Width) -> Tensor | None:
    last = "3" if value.kind is Kind.HEADS else "2"
    return Tensor(Kind.TURNED) if {"-1", last} & set(axes) or len(axes) != 2 else value


def _flattened(axes: list[str], value: Tensor, width: _Width) -> Tensor | None:
    merged = value.kind is Kind.HEADS and axes[:1] in (["2"], ["-2"])
    return Tensor(Kind.MIXED) if merged else None


def _split(arguments: list[str], value: Tensor, width: _Width) -> Tensor | None:
    """`.split(width, dim=2)`; chunks are of a width that nothing says."""
    along_channels = len(arguments) > 1 and arguments[1] in ("-1", "2")
    return Tensor(value.kind, width(arguments[0])) if along_channels else None


_ARRANGED: Mapping[str, Callable[[list[str], Tensor, _Width], Tensor | None]] = {
    **dict.fromkeys(("view", "reshape"), _viewed),
    "transpose": _transposed,
    "flatten": _flattened,
    "unflatten": lambda axes, value, width: Tensor(Kind.HEADS) if axes[:1] in (["2"], ["-1"]) else None,
    "split": _split,
    "chunk": lambda arguments, value, width: _split(arguments, value, lambda _: None),
}


def contracted(node: ast.Call, last: Tensor | None) -> Tensor | None:
    """`torch.einsum`, as `weights @ values`: the last axis of the result is that of the values."""
    spelled = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
    if last and last.kind is Kind.HEADS and isinstance(spelled, str) and "->" in spelled:
        inputs, output = spelled.replace(" ", "").split("->")
        return last if output[-1:] == inputs[-1:] else None
    return None


def ends_turned(node: ast.expr) -> bool:
    """Whether an expression ends in swapping axes."""
    called = node.func if isinstance(node, ast.Call) else node
    return isinstance(called, ast.Attribute) and called.attr in {*TURNS, "transpose"}


def path_of(node: ast.AST) -> str | None:
    """`transformer.wte` of `self.transformer.wte`, `blocks[]` of `self.blocks[i]`; None for anything else."""
    if isinstance(node, ast.Name):
        return "" if node.id == "self" else None
    if isinstance(node, ast.Attribute):
        base = path_of(node.value)
        return None if base is None else f"{base}.{node.attr}".lstrip(".")
    if isinstance(node, ast.Subscript):
        base = path_of(node.value)
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return None if base is None else f"{base}.{node.slice.value}"
        return base if isinstance(node.slice, ast.Slice) else base and f"{base}[]"
    return None


def bindings(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Names of a loop, and what they go through: plain, `enumerate`, `zip`, `reversed`."""
    called = value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else ""
    arguments = value.args if isinstance(value, ast.Call) else []
    if isinstance(target, ast.Name) and called in ("", "reversed"):
        yield target.id, arguments[0] if called else value
    elif isinstance(target, ast.Tuple) and called == "enumerate" and len(target.elts) == 2:
        yield from bindings(target.elts[1], arguments[0])
    elif isinstance(target, ast.Tuple) and called == "zip":
        for one, its in zip(target.elts, arguments, strict=False):
            yield from bindings(one, its)
