"""Mutations of the tensors inside a model: what they go through, are scaled by, gated by and added to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from autoresearch_rl.target.generators.grammar.flow import ATTENTION, Flow, Kind, Tensor
from autoresearch_rl.target.generators.grammar.layers import Layer, Role
from autoresearch_rl.target.generators.grammar.view import Draft, Spot, Use, View
from autoresearch_rl.target.normal import Splice

NN, F = "torch.nn.", "torch.nn.functional."


# wrap: one more function around a value


@dataclass(frozen=True, slots=True)
class _Wrap:
    variant: str
    function: str  # full name; empty for a method of the tensor
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
        if spot.use in (Use.ACTIVATED, Use.RETURNED) or _is_gate(spot, view):
            continue
        for one in _WRAPS:
            if spot.tensor.kind in one.kinds and not _is_wrapped(spot, one, view):
                text = _around(one, spot, view)
                if text is not None:
                    changes = [view.replaced(spot.node, text)]
                    yield from view.draft("wrap", one.variant, spot, changes, one.odds)


def _around(one: _Wrap, spot: Spot, view: View) -> str | None:
    if not one.function:
        return f"{view.operand(spot.node)}.square()"
    name = view.called(one.function)
    return None if name is None else f"{name}({view.code(spot.node)})"


def _is_wrapped(spot: Spot, one: _Wrap, view: View) -> bool:
    """Whether it is squared already, or a product, whose factors are spots of their own."""
    code = view.code(spot.node)
    parent = spot.place.parent
    squared = isinstance(parent, ast.Attribute) and parent.attr in ("square", "pow")
    squared |= isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow)
    bounded = isinstance(spot.node, ast.BinOp) or any(w in code for w in (".square()", "tanh(", "sigmoid("))
    return squared or bounded or (one.variant == "silu" and spot.use is Use.SUMMED)


def _is_gate(spot: Spot, view: View) -> bool:
    """Whether it is one factor of a product, or few channels that decide how much of something counts."""
    width = spot.tensor.width or ""
    return (
        isinstance(spot.place.parent, ast.BinOp)
        and isinstance(spot.place.parent.op, ast.Mult)
        or "//" in width
    )


# normalise: a norm where there is none


_NORMED = (Kind.EMBEDDED, Kind.STREAM, Kind.HIDDEN, Kind.ACTIVE, Kind.MIXED)


def normalise(view: View) -> Iterator[Draft]:
    """A norm around a branch, a hidden layer, what attention gives, the embedding or the stream."""
    for spot in view.spots:
        if spot.tensor.kind not in _NORMED or spot.use in (Use.NORMED, Use.RETURNED) or _is_gate(spot, view):
            continue
        if isinstance(spot.place.parent, ast.Attribute) and spot.tensor.kind is Kind.ACTIVE:
            continue  # its square is a spot of its own
        odds = 0.2 if spot.use is Use.SUMMED else 0.0
        if spot.tensor.kind is Kind.EMBEDDED and spot.use is Use.SUMMED:
            odds = -0.3
        if normed := _normed(view, spot):
            text, changes = normed
            yield from view.draft("normalise", "", spot, [*changes, view.replaced(spot.node, text)], odds)


def _normed(view: View, spot: Spot) -> tuple[str, list[Splice | None]] | None:
    """A norm around a spot, in the script's own manner where it has one, and what it needs above."""
    code = view.code(spot.node)
    if view.norm and view.norm != spot.flow.function.name:
        return f"{view.norm}({code})", []
    value = norm_like(view, spot.flow, spot.tensor.width)
    if value is None:
        return None
    name = view.new_name(f"{base_name(spot, view)}_norm")
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


def base_name(spot: Spot, view: View) -> str:
    """What new attributes for a spot are called after."""
    node = spot.node
    function = node.func if isinstance(node, ast.Call) else None
    if isinstance(function, ast.Attribute) and spot.tensor.kind is not Kind.MIXED:
        called = function.attr
        own = spot.layer is not None or called in spot.flow.module.methods
        return called if own else str(spot.tensor.kind)
    return str(spot.tensor.kind)


def heads(view: View) -> Iterator[Draft]:
    """Queries, keys and values: normalised, scaled, shared."""
    for query, key, value, flow in _attentions(view):
        pair = [n for n in (query, key) if isinstance(n, ast.Name)]
        if len(pair) == 2 and not _come_from_norm(pair, flow, view):
            norms = [view.replaced(n, _head_norm(view, n.id) or "") for n in pair]
            if _head_norm(view, "q"):
                yield from view.draft("normalise", "query and key", pair[0], norms, 0.4)
        if isinstance(value, ast.Name) and (text := _head_norm(view, value.id)):
            yield from view.draft("normalise", "value", value, [view.replaced(value, text)], -0.2)
        if isinstance(query, ast.Name):
            yield from _scaled(view, query, flow, "query", "()", -0.1)
        if isinstance(key, ast.Name) and isinstance(value, ast.Name):
            yield from view.draft("swap", "key as value", value, [view.replaced(value, key.id)], -0.9)


def _head_norm(view: View, name: str) -> str | None:
    if view.norm:
        return f"{view.norm}({name})"
    function = view.called(F + "rms_norm")
    return function and f"{function}({name}, {name}.shape[-1:])"


def _come_from_norm(names: list[ast.Name], flow: Flow, view: View) -> bool:
    """Whether a norm made them; their own class may do so in many ways, so any mention counts."""
    text = view.code(flow.function)
    return any(word in text for word in ("q_norm", "norm(q", "norm(k", "k_norm", "query_norm"))


def _attentions(view: View) -> Iterator[tuple[ast.expr, ast.expr, ast.expr | None, Flow]]:
    """Queries, keys and values of each attention, in whatever way it is written."""
    for flow in view.flows:
        for node in ast.walk(flow.function):
            if isinstance(node, ast.Call) and len(node.args) >= 3:
                if view.modules.full_name(node.func) == ATTENTION:
                    yield node.args[0], node.args[1], node.args[2], flow
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                turned = node.right.func if isinstance(node.right, ast.Call) else node.right
                if isinstance(turned, ast.Attribute) and turned.attr in ("transpose", "mT"):
                    yield node.left, turned.value, None, flow


# swap: another function with the same arguments


_FUNCTIONS = ("gelu", "relu", "silu", "tanh", "softplus", "hardswish", "selu")
_CLASSES = ("GELU", "ReLU", "SiLU", "Tanh", "Softplus", "Hardswish", "SELU")
_SHARP = ("relu", "silu", "gelu")  # the literals exchange these for each other


def swap(view: View) -> Iterator[Draft]:
    """Another activation, also those that the literals do not know; the square of a ReLU."""
    for spot in view.spots:
        node = spot.node
        if isinstance(node, ast.Call) and len(node.args) == 1 and spot.tensor.kind is Kind.ACTIVE:
            name = view.modules.full_name(node.func)
            if name.rpartition(".")[2] in _FUNCTIONS and not _is_gate(spot, view):
                yield from _swapped_calls(view, spot, node, name)
    for place in view.source.places(ast.Call):
        node = place.node
        assert isinstance(node, ast.Call)
        name = view.modules.full_name(node.func)
        if name.startswith(NN) and name.rpartition(".")[2] in _CLASSES:
            for other in _others(name, _CLASSES):
                if made := view.called(NN + other):
                    changes = [view.replaced(node, f"{made}()")]
                    yield from view.draft("swap", other, node, changes, -0.6)


def _swapped_calls(view: View, spot: Spot, node: ast.Call, name: str) -> Iterator[Draft]:
    argument = view.code(node.args[0])
    for other in _others(name, _FUNCTIONS):
        module = "torch." if other == "tanh" else F
        if function := view.called(module + other):
            changes = [view.replaced(node, f"{function}({argument})")]
            yield from view.draft("swap", other, spot, changes, -0.6)
    function = view.called(F + "relu")
    squared = isinstance(spot.place.parent, ast.Attribute | ast.BinOp)
    if function and not name.endswith(".relu") and not squared:
        changes = [view.replaced(node, f"{function}({argument}).square()")]
        yield from view.draft("swap", "squared relu", spot, changes, 0.5)


def _others(name: str, known: tuple[str, ...]) -> list[str]:
    """What may stand in; not what the literals propose anyway."""
    own = name.rpartition(".")[2]
    literal = own.lower() in _SHARP and not name.startswith("torch.relu")
    return [o for o in known if o != own and not (literal and o.lower() in _SHARP)]


# scale: learned factors


_SCALED = (Kind.EMBEDDED, Kind.HIDDEN, Kind.ACTIVE, Kind.MIXED, Kind.NORMED)


def scale(view: View) -> Iterator[Draft]:
    """A learned factor, one in all or one a channel: 1 at first, so that nothing changes before it is learned."""
    for spot in view.spots:
        if spot.tensor.kind not in _SCALED or spot.use is Use.RETURNED or _is_gate(spot, view):
            continue
        affine = spot.tensor.kind is Kind.NORMED and spot.layer is not None  # has a scale of its own
        if not affine and spot.tensor.kind is not Kind.ACTIVE:
            if view.is_sayable(spot.tensor.width, spot.flow.module):
                yield from _scaled(view, spot.node, spot.flow, base_name(spot, view), spot.tensor.width, 0.1)
        if spot.use is Use.SUMMED or spot.tensor.kind is Kind.EMBEDDED:
            yield from _scaled(view, spot.node, spot.flow, base_name(spot, view), "()", 0.0)
            yield from _rezero(view, spot)
    yield from _kept(view)


def _scaled(
    view: View, node: ast.expr, flow: Flow, base: str, width: str | None, odds: float
) -> Iterator[Draft]:
    """`E * (1 + self.gain)`. Zero plus one: decay and initialisers that go over all weights do no harm."""
    name = view.new_name(f"{base}_{view.word}")
    value = _parameter(view, "zeros", f"{width}")
    factor = f"(1 + self.{name})"
    if view.low_precision and width != "()":  # a vector in float32 would make all of it float32
        reference = _reference(node, flow)
        if reference is None:
            return
        factor += f".type_as({reference})"
    code = view.operand(node)
    changes = [view.registered(flow.module, name, value), view.replaced(node, f"{code} * {factor}")]
    yield from view.draft("scale", "by a scalar" if width == "()" else "by channel", node, changes, odds)


def _parameter(view: View, maker: str, arguments: str) -> str | None:
    made, tensor = view.called(NN + "Parameter"), view.called(f"torch.{maker}")
    return f"{made}({tensor}({arguments}))" if made and tensor else None


def _reference(node: ast.expr, flow: Flow) -> str | None:
    """A name of the same type of numbers: something that goes into the expression."""
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name) and n in flow.types]
    fitting = [n.id for n in names if flow.types[n].kind not in (Kind.IDS, Kind.PAIR)]
    return fitting[0] if fitting else None


def _rezero(view: View, spot: Spot) -> Iterator[Draft]:
    """A branch that begins at nothing (ReZero)."""
    if spot.use is not Use.SUMMED or spot.tensor.kind is Kind.EMBEDDED:
        return
    name = view.new_name(f"{base_name(spot, view)}_{view.word}")
    value = _parameter(view, "zeros", "()")
    text = f"self.{name} * {view.operand(spot.node)}"
    changes = [view.registered(spot.flow.module, name, value), view.replaced(spot.node, text)]
    yield from view.draft("scale", "from zero", spot, changes, -0.2)


def _kept(view: View) -> Iterator[Draft]:
    """How much of the residual stream is kept."""
    for spot in view.spots:
        node = spot.node
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and spot.tensor.kind is Kind.STREAM:
            kept = node.left
            if isinstance(kept, ast.Name) and spot.flow.types.get(kept, Tensor(Kind.IDS)).kind is Kind.STREAM:
                yield from _scaled(view, kept, spot.flow, "stream", "()", 0.1)


# gate: a product with something that depends on the input


def gate(view: View) -> Iterator[Draft]:
    """Products: a second projection beside the first (GLU), sigmoid gates of branches, a value by itself."""
    for spot in view.spots:
        if _is_gate(spot, view):
            continue
        if spot.tensor.kind is Kind.ACTIVE and not isinstance(spot.place.parent, ast.Attribute):
            yield from _second_projection(view, spot)
        if spot.layer is not None and spot.layer.role is Role.LINEAR and spot.tensor.kind is Kind.HIDDEN:
            yield from _own_gate(view, spot)
        if spot.tensor.kind in (Kind.HIDDEN, Kind.MIXED) and spot.use is not Use.ACTIVATED:
            yield from _input_gate(view, spot)
            yield from _token_gate(view, spot)


def _second_projection(view: View, spot: Spot) -> Iterator[Draft]:
    """`act(up(x))` becomes `act(up(x)) * up2(x)`, as in SwiGLU; or times `up(x)`, which needs no weights."""
    call = spot.argument
    layer = spot.flow.layers.get(call) if call is not None else None
    if not isinstance(call, ast.Call) or layer is None or layer.role is not Role.LINEAR:
        return
    if held := view.held(call.args[0], "given", spot):
        above, name = held
        new = view.new_name(f"{_attribute(call)}_gate")
        inner = [view.replaced(call.args[0], name)] if above else []
        text = _with(view, spot.node, inner)
        changes = [*above, view.registered(spot.flow.module, new, view.code(layer.made))]
        changes.append(view.replaced(spot.node, f"{text} * self.{new}({name})"))
        yield from view.draft("gate", "linear", spot, changes, 0.4)
    if held := view.held(call, "linear", spot):
        above, name = held
        text = _with(view, spot.node, [view.replaced(call, name)])
        changes = [*above, view.replaced(spot.node, f"{text} * {name}")]
        yield from view.draft("gate", "by what is activated", spot, changes, 0.1)


def _with(view: View, node: ast.AST, splices: list[Splice]) -> str:
    """The text of a node with replacements inside."""
    start, end = view.source.span(node)
    text = view.source.text
    for a, b, new in sorted(splices, reverse=True):
        text = text[:a] + new + text[b:]
        end += len(new) - (b - a)
    return text[start:end]


def _attribute(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else "layer"


def _own_gate(view: View, spot: Spot) -> Iterator[Draft]:
    """What a layer gives, gated by a second layer like it of the same input: at first by one, or nearly."""
    layer, argument = spot.layer, spot.argument
    sigmoid = view.called("torch.sigmoid")
    if layer is None or argument is None or sigmoid is None or spot.use is Use.ACTIVATED:
        return
    if held := view.held(argument, "given", spot):
        above, name = held
        new = view.new_name(f"{_attribute_of(spot)}_gate")
        text = _with(view, spot.node, [view.replaced(argument, name)] if above else [])
        changes = [*above, view.registered(spot.flow.module, new, view.code(layer.made))]
        changes.append(view.replaced(spot.node, f"{text} * 2 * {sigmoid}(self.{new}({name}))"))
        yield from view.draft("gate", "by a layer like it", spot, changes, 0.0)


def _attribute_of(spot: Spot) -> str:
    return _attribute(spot.node) if isinstance(spot.node, ast.Call) else "layer"


def _input_gate(view: View, spot: Spot) -> Iterator[Draft]:
    """A branch gated, channel by channel, by what its method was given."""
    given, tensor = _given(spot)
    sigmoid = view.called("torch.sigmoid")
    if given is None or tensor is None or sigmoid is None or spot.use is Use.NORMED:
        return
    made = _projection(view, spot.flow, tensor.width, spot.tensor.width)
    if made is None or _is_same_input(spot, given):
        return
    new = view.new_name(f"{base_name(spot, view)}_gate")
    text = f"{view.operand(spot.node)} * 2 * {sigmoid}(self.{new}({given}))"
    changes = [view.registered(spot.flow.module, new, made), view.replaced(spot.node, text)]
    yield from view.draft(
        "gate", f"by {given}", spot, changes, 0.2 if spot.tensor.kind is Kind.MIXED else 0.0
    )


def _token_gate(view: View, spot: Spot) -> Iterator[Draft]:
    """A branch gated as a whole at each position."""
    given, tensor = _given(spot)
    sigmoid, linear = view.called("torch.sigmoid"), view.called(NN + "Linear")
    if given is None or tensor is None or sigmoid is None or linear is None or view.low_precision:
        return
    if spot.use is not Use.SUMMED or not view.is_sayable(tensor.width, spot.flow.module):
        return
    new = view.new_name(f"{base_name(spot, view)}_gate")
    text = f"{view.operand(spot.node)} * 2 * {sigmoid}(self.{new}({given}))"
    changes = [view.registered(spot.flow.module, new, f"{linear}({tensor.width}, 1)")]
    changes.append(view.replaced(spot.node, text))
    yield from view.draft("gate", "each position", spot, changes, -0.1)


def _given(spot: Spot) -> tuple[str | None, Tensor | None]:
    """The method's first argument, where it is as wide from its first line to the last."""
    flow, first = spot.flow, spot.flow.first
    if first is None or first.kind is not Kind.STREAM:
        return None, None
    name = flow.function.args.args[1].arg
    kinds = {t.kind for n, t in flow.types.items() if isinstance(n, ast.Name) and n.id == name}
    return (name, first) if kinds <= {Kind.STREAM, Kind.NORMED} else (None, None)


def _projection(view: View, flow: Flow, takes: str | None, gives: str | None) -> str | None:
    """How a layer of these widths is made: like one of its class, else plainly."""
    for layer in flow.module.layers.values():
        if layer.role is Role.LINEAR and (layer.takes, layer.gives) == (takes, gives):
            return view.code(layer.made)
    if (
        view.low_precision
        or not view.is_sayable(takes, flow.module)
        or not view.is_sayable(gives, flow.module)
    ):
        return None
    made = view.called(NN + "Linear")
    return made and f"{made}({takes}, {gives}, bias=False)"


def _is_same_input(spot: Spot, given: str) -> bool:
    argument = spot.argument
    return isinstance(argument, ast.Name) and argument.id == given and spot.tensor.kind is not Kind.MIXED


# residual: something that was there before is added again


def residual(view: View) -> Iterator[Draft]:
    """What a layer takes, added to what it gives, where both are as wide and it is not done yet."""
    for spot in view.spots:
        layer = spot.layer
        if layer is None or not _is_square(layer) or spot.argument is None:
            continue
        if spot.use is Use.SUMMED and isinstance(spot.argument, ast.Name):
            continue
        if held := view.held(spot.argument, "given", spot):
            above, name = held
            text = _with(view, spot.node, [view.replaced(spot.argument, name)] if above else [])
            changes = [*above, view.replaced(spot.node, f"{name} + {text}")]
            yield from view.draft("residual", "", spot, changes, -0.4)


def _is_square(layer: Layer) -> bool:
    """As wide where it ends as where it begins, and not a sum with what it takes."""
    wide = layer.takes is not None and layer.takes == layer.gives
    return wide and not layer.residual and layer.role in (Role.LINEAR, Role.BLOCK)


RULES = (wrap, normalise, heads, swap, scale, gate, residual)
