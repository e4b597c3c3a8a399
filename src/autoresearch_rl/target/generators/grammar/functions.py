"""Mutations of what values go through: other functions, one more function, a norm more or less."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from autoresearch_rl.target.generators.grammar.flow import Flow
from autoresearch_rl.target.generators.grammar.layers import Role
from autoresearch_rl.target.generators.grammar.tensors import Kind
from autoresearch_rl.target.generators.grammar.view import Spot, Use, View
from autoresearch_rl.target.generators.grammar.writing import NN, SCALAR, Draft, F
from autoresearch_rl.target.normal import Splice

POSITION = re.compile(r"(?i)pos|wpe")


@dataclass(frozen=True, slots=True)
class _Wrap:
    variant: str
    function: str  # full name; empty for the square
    kinds: tuple[Kind, ...]
    odds: float


_WRAPS = (
    _Wrap("square", "", (Kind.ACTIVE,), 0.3),  # Primer: squared ReLU
    _Wrap("tanh", "torch.tanh", (Kind.MIXED, Kind.HIDDEN), -0.6),
    _Wrap("silu", F + "silu", (Kind.MIXED, Kind.HIDDEN), -0.5),
    _Wrap("relu", F + "relu", (Kind.MIXED,), -0.7),
)


def wrap(view: View) -> Iterator[Draft]:
    """One more function around what a layer or attention gives; the activation squared."""
    for spot in view.spots:
        if spot.use in (Use.ACTIVATED, Use.RETURNED) or spot.is_factor:
            continue
        for one in _WRAPS:
            fits = spot.tensor.kind in one.kinds and not _is_bent(spot, view)
            one_sided = one.variant == "silu" and spot.use is Use.SUMMED
            text = _around(one, spot, view) if fits and not one_sided else None
            if text is not None:
                changes = [view.replaced(spot.node, text)]
                yield from view.draft("wrap", one.variant, spot.node, changes, one.odds)


def _around(one: _Wrap, spot: Spot, view: View) -> str | None:
    if not one.function:
        return f"{view.operand(spot.node)}.square()"
    name = view.called(one.function)
    return None if name is None else f"{name}({view.code(spot.node)})"


def _is_bent(spot: Spot, view: View) -> bool:
    """Whether it is squared or bounded already, or a product or sum, whose parts are spots of their own."""
    code = view.code(spot.node)
    parent = spot.place.parent
    squared = isinstance(parent, ast.Attribute) and parent.attr in ("square", "pow")
    bent = any(word in code for word in (".square()", "tanh(", "sigmoid(", "** 2"))
    return squared or bent or spot.use is Use.SQUARED or isinstance(spot.node, ast.BinOp)


def normalise(view: View) -> Iterator[Draft]:
    """A norm around a branch, a hidden layer, what attention gives, the embedding or the stream."""
    kinds = (Kind.EMBEDDED, Kind.STREAM, Kind.HIDDEN, Kind.ACTIVE, Kind.MIXED)
    for spot in view.spots:
        squared = isinstance(spot.place.parent, ast.Attribute) and spot.tensor.kind is Kind.ACTIVE
        if spot.tensor.kind not in kinds or squared or spot.is_factor:
            continue
        if spot.use in (Use.NORMED, Use.RETURNED):
            continue
        if spot.tensor.kind is Kind.EMBEDDED and POSITION.search(view.code(spot.node)):
            continue  # as large as the tokens' they would drown them
        odds = -0.2 if spot.use is Use.SUMMED else -0.3  # sandwich norms have some evidence
        if found := _normed(view, spot):
            text, above = found
            changes = [*above, view.replaced(spot.node, text)]
            yield from view.draft("normalise", "", spot.node, changes, odds)


def _normed(view: View, spot: Spot) -> tuple[str, list[Splice | None]] | None:
    """A norm around a spot, in the script's own manner where it has one, and what that needs."""
    code = view.code(spot.node)
    if view.norm:
        return f"{view.norm}({code})", []
    value = norm_like(view, spot.flow, spot.tensor.width)
    if value is None:
        return None
    name = view.new_name(spot.base, "norm")
    return f"self.{name}({code})", [view.registered(spot.flow.module, name, value)]


def norm_like(view: View, flow: Flow, width: str | None) -> str | None:
    """How a norm of this width is made: like another one of its class, else an RMSNorm."""
    if not view.is_sayable(width, flow.module):
        return None
    for layer in flow.module.layers.values():
        if layer.role is Role.NORM and layer.takes == width:
            return view.code(layer.made)
    made = view.called(NN + "RMSNorm")
    options = ", elementwise_affine=False" if view.low_precision else ""
    return made and f"{made}({width}{options})"


def heads(view: View) -> Iterator[Draft]:
    """Queries, keys and values: normalised, or shared."""
    for query, key, value, flow in view.attentions():
        if isinstance(query, ast.Name) and isinstance(key, ast.Name) and not _has_norm(flow, view):
            norms = [view.replaced(n, text) for n in (query, key) if (text := _head_norm(view, n.id))]
            if len(norms) == 2:
                yield from view.draft("normalise", "query and key", query, norms, 0.4)
        if isinstance(value, ast.Name) and (text := _head_norm(view, value.id)):
            yield from view.draft("normalise", "value", value, [view.replaced(value, text)], -0.6)
        if isinstance(key, ast.Name) and isinstance(value, ast.Name):
            yield from view.draft("swap", "key as value", value, [view.replaced(value, key.id)], -0.9)
        if isinstance(query, ast.Name) and isinstance(key, ast.Name) and value is not None:
            yield from view.draft("swap", "query as key", key, [view.replaced(key, query.id)], -0.9)


def _head_norm(view: View, name: str) -> str | None:
    if view.norm:
        return f"{view.norm}({name})"
    function = view.called(F + "rms_norm")
    return function and f"{function}({name}, {name}.shape[-1:])"


def _has_norm(flow: Flow, view: View) -> bool:
    """Whether queries and keys are normalised already; there are many ways, so any mention counts."""
    words = ("q_norm", "norm(q", "norm(k", "k_norm", "query_norm", "norm(xq", "norm(xk")
    return any(word in view.code(flow.function) for word in words)


_FUNCTIONS = ("gelu", "relu", "silu", "tanh", "softplus", "hardswish", "selu")
_CLASSES = ("GELU", "ReLU", "SiLU", "Tanh", "Softplus", "Hardswish", "SELU")
_SHARP = ("relu", "silu", "gelu")  # the literals exchange these for each other


def swap(view: View) -> Iterator[Draft]:
    """Another activation, also those that the literals do not know; the square of a ReLU; tanh for a norm."""
    for spot in view.spots:
        node = spot.node
        if isinstance(node, ast.Call) and len(node.args) == 1 and spot.tensor.kind is Kind.ACTIVE:
            name = view.modules.full_name(node.func)
            if name.rpartition(".")[2] in _FUNCTIONS and not (spot.is_factor and name.endswith(".tanh")):
                yield from _swapped_calls(view, spot, node, name)
        if spot.tensor.kind is Kind.NORMED and not _is_last(spot) and not view.needs_all_gradients:
            yield from _dynamic_tanh(view, spot)
    for place in view.source.places(ast.Call):
        call = place.node
        name = view.modules.full_name(call.func) if isinstance(call, ast.Call) else ""
        if name.startswith(NN) and name.rpartition(".")[2] in _CLASSES:
            for other in _others(name, _CLASSES):
                if made := view.called(NN + other):
                    yield from view.draft("swap", other, call, [view.replaced(call, f"{made}()")], -0.6)


def _swapped_calls(view: View, spot: Spot, node: ast.Call, name: str) -> Iterator[Draft]:
    argument = view.code(node.args[0])
    for other in _others(name, _FUNCTIONS):
        if function := view.called(("torch." if other == "tanh" else F) + other):
            changes = [view.replaced(node, f"{function}({argument})")]
            odds = -1.2 if other == "softplus" else -0.5
            yield from view.draft("swap", other, node, changes, odds)
    function = view.called(F + "relu")
    squared = isinstance(spot.place.parent, ast.Attribute) or spot.use is Use.SQUARED
    if function and not name.endswith(".relu") and not squared:
        changes = [view.replaced(node, f"{function}({argument}).square()")]
        yield from view.draft("swap", "squared relu", node, changes, 0.5)


def _others(name: str, known: tuple[str, ...]) -> list[str]:
    """What may stand in; not what the literals propose anyway."""
    own = name.rpartition(".")[2]
    literal = own.lower() in _SHARP and not name.startswith("torch.relu")
    return [o for o in known if o != own and not (literal and o.lower() in _SHARP)]


def _is_last(spot: Spot) -> bool:
    """Whether logits are made of it: with a tanh there training fails."""
    found = spot.flow.types.get(spot.place.parent)
    return found is not None and found.kind is Kind.LOGITS


def _dynamic_tanh(view: View, spot: Spot) -> Iterator[Draft]:
    """A hyperbolic tangent instead of a norm (Zhu et al. 2025, arXiv 2503.10622), with a learned slope."""
    argument, tanh = spot.argument, view.called("torch.tanh")
    if argument is None or tanh is None or isinstance(argument, ast.BinOp):
        return
    name = view.new_name(spot.base, view.weight)
    value = view.parameter("zeros", SCALAR)
    text = f"{tanh}({view.operand(argument)} * (1 + self.{name}))"
    changes = [view.registered(spot.flow.module, name, value), view.replaced(spot.node, text)]
    yield from view.draft("swap", "tanh", spot.node, changes, -0.8)


RULES = (wrap, normalise, heads, swap)
