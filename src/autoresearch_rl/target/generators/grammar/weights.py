"""Mutations that bring new weights: learned factors, gates, a layer more; and how weights begin."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from autoresearch_rl.target.generators.grammar.flow import Flow
from autoresearch_rl.target.generators.grammar.layers import Layer, Role
from autoresearch_rl.target.generators.grammar.tensors import Kind, Tensor
from autoresearch_rl.target.generators.grammar.view import Spot, Use, View
from autoresearch_rl.target.generators.grammar.writing import NN, SCALAR, Draft


def scale(view: View) -> Iterator[Draft]:
    """A learned factor, one in all or one a channel; at first it changes nothing."""
    kinds = (Kind.EMBEDDED, Kind.HIDDEN, Kind.MIXED, Kind.NORMED)
    for spot in view.spots:
        if spot.tensor.kind not in kinds or spot.use is Use.RETURNED or spot.is_factor:
            continue
        affine = spot.tensor.kind is Kind.NORMED and spot.layer is not None  # has a scale of its own
        if not affine and view.is_sayable(spot.tensor.width, spot.flow.module):
            width = spot.tensor.width or SCALAR
            yield from _scaled(view, spot.node, spot.flow, spot.base, width, 0.1)
        if spot.use is Use.SUMMED or spot.tensor.kind is Kind.EMBEDDED:
            yield from _scaled(view, spot.node, spot.flow, spot.base, SCALAR, 0.0)
        if spot.use is Use.SUMMED and spot.tensor.kind is not Kind.EMBEDDED:
            yield from _from_little(view, spot)
    yield from _scaled_others(view)


def _scaled_others(view: View) -> Iterator[Draft]:
    """Factors of queries, of logits, and of how much of the residual stream is kept."""
    for query, _, _, flow in view.attentions():
        if isinstance(query, ast.Name):
            yield from _scaled(view, query, flow, "query", SCALAR, -0.1)
    for flow in view.flows:
        for node in flow.layers:
            if node in flow.types and flow.types[node].kind is Kind.LOGITS and isinstance(node, ast.Call):
                yield from _scaled(view, node, flow, "logit", SCALAR, 0.0)
    for spot in view.spots:
        kept = spot.node.left if isinstance(spot.node, ast.BinOp) else None
        if isinstance(kept, ast.Name) and spot.tensor.kind is Kind.STREAM:
            stream = spot.flow.types.get(kept, Tensor(Kind.IDS)).kind is Kind.STREAM
            yield from _scaled(view, kept, spot.flow, "stream", SCALAR, 0.1) if stream else ()


def _scaled(view: View, node: ast.expr, flow: Flow, base: str, width: str, odds: float) -> Iterator[Draft]:
    """`E * (1 + self.gain)`. Zero plus one: decay and initialisers that go over all weights do no harm."""
    name = view.new_name(base, view.weight)
    factor = f"(1 + self.{name})"
    if view.low_precision and width != SCALAR:  # a vector in float32 would make all of it float32
        reference = _reference(node, flow)
        if reference is None:
            return
        factor += f".type_as({reference})"
    changes = [
        view.registered(flow.module, name, view.parameter("zeros", width)),
        view.replaced(node, f"{view.operand(node)} * {factor}"),
    ]
    yield from view.draft("scale", "" if width == SCALAR else "channels", node, changes, odds)


def _reference(node: ast.expr, flow: Flow) -> str | None:
    """A name of the same type of numbers: something that goes into the expression."""
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name) and n in flow.types]
    fitting = [n.id for n in names if flow.types[n].kind not in (Kind.IDS, Kind.PAIR)]
    return fitting[0] if fitting else None


def _from_little(view: View, spot: Spot) -> Iterator[Draft]:
    """A branch that begins small; not at zero as in ReZero, where a layer that is zero, too, would stay."""
    name = view.new_name(spot.base, view.weight)
    changes = [
        view.registered(spot.flow.module, name, view.parameter("full", "(), 0.1")),
        view.replaced(spot.node, f"self.{name} * {view.operand(spot.node)}"),
    ]
    yield from view.draft("scale", "from little", spot.node, changes, -0.2)


def gate(view: View) -> Iterator[Draft]:
    """Products: a second projection beside the first (GLU), sigmoid gates of branches, a value by itself."""
    for spot in view.spots:
        if spot.is_factor:
            continue
        if spot.tensor.kind is Kind.ACTIVE and not isinstance(spot.place.parent, ast.Attribute):
            yield from _second_projection(view, spot)
        if spot.layer is not None and spot.layer.role is Role.LINEAR and spot.use is not Use.ACTIVATED:
            yield from _gate_like_it(view, spot)
        if spot.tensor.kind in (Kind.HIDDEN, Kind.MIXED) and spot.use is not Use.ACTIVATED:
            yield from _input_gates(view, spot)


def _second_projection(view: View, spot: Spot) -> Iterator[Draft]:
    """`act(up(x))` becomes `act(up(x)) * up2(x)`, as in SwiGLU; or times `up(x)`, which needs no weights."""
    call = spot.argument
    layer = spot.flow.layers.get(call) if call is not None else None
    if not isinstance(call, ast.Call) or layer is None or layer.role is not Role.LINEAR or not call.args:
        return
    if held := view.held(call.args[0], "given", spot.place.statement, spot.flow):
        above, name = held
        new = view.new_name(_attribute(call), "gate")
        text = view.inside(spot.node, [(*view.source.span(call.args[0]), name)])
        changes = [
            *above,
            view.registered(spot.flow.module, new, view.code(layer.made)),
            view.replaced(spot.node, f"{text} * self.{new}({name})"),
        ]
        yield from view.draft("gate", "linear", spot.node, changes, 0.4)
    if held := view.held(call, "linear", spot.place.statement, spot.flow):
        above, name = held
        text = view.inside(spot.node, [(*view.source.span(call), name)])
        changes = [*above, view.replaced(spot.node, f"{text} * {name}")]
        yield from view.draft("gate", "by what is activated", spot.node, changes, 0.1)


def _attribute(call: ast.expr) -> str:
    """The last name of what is called: `up` of `self.up(x)`."""
    function = call.func if isinstance(call, ast.Call) else call
    return function.attr if isinstance(function, ast.Attribute) else "in"


def _gate_like_it(view: View, spot: Spot) -> Iterator[Draft]:
    """What a layer gives, gated by a second layer like it of the same input."""
    layer, argument = spot.layer, spot.argument
    sigmoid = view.called("torch.sigmoid")
    if layer is None or argument is None or sigmoid is None:
        return
    if held := view.held(argument, "given", spot.place.statement, spot.flow):
        above, name = held
        new = view.new_name(_attribute(spot.node), "gate")
        text = view.inside(spot.node, [(*view.source.span(argument), name)])
        changes = [
            *above,
            view.registered(spot.flow.module, new, view.code(layer.made)),
            view.replaced(spot.node, f"{text} * 2 * {sigmoid}(self.{new}({name}))"),
        ]
        yield from view.draft("gate", "by a layer like it", spot.node, changes, 0.0)


def _input_gates(view: View, spot: Spot) -> Iterator[Draft]:
    """A value gated by what its method was given: channel by channel, or as a whole at each position."""
    given, tensor = _given(spot)
    sigmoid = view.called("torch.sigmoid")
    if given is None or tensor is None or sigmoid is None or spot.use is Use.NORMED:
        return
    same = isinstance(spot.argument, ast.Name) and spot.argument.id == given and spot.layer is not None
    channels = None if same else _projection(view, spot.flow, tensor.width, spot.tensor.width)
    odds = 0.2 if spot.tensor.kind is Kind.MIXED else 0.0
    gates = [(f"by {given}", channels, odds)]
    if spot.use is Use.SUMMED:
        gates.append(("each position", _projection(view, spot.flow, tensor.width, "1"), -0.1))
    for variant, made, prior in gates:
        new = view.new_name(spot.base, "gate")
        text = f"{view.operand(spot.node)} * 2 * {sigmoid}(self.{new}({given}))"
        changes = [view.registered(spot.flow.module, new, made), view.replaced(spot.node, text)]
        yield from view.draft("gate", variant, spot.node, changes, prior)


def _given(spot: Spot) -> tuple[str | None, Tensor | None]:
    """The method's first argument, where it is as wide from its first line to the last."""
    flow, first = spot.flow, spot.flow.first
    if first is None or first.kind is not Kind.STREAM:
        return None, None
    name = flow.first_name
    kinds = {t.kind for n, t in flow.types.items() if isinstance(n, ast.Name) and n.id == name}
    return (name, first) if kinds <= {Kind.STREAM, Kind.NORMED} else (None, None)


def _projection(view: View, flow: Flow, takes: str | None, gives: str | None) -> str | None:
    """How a layer of these widths is made: like one of its class, else plainly."""
    for layer in flow.module.layers.values():
        if layer.role is Role.LINEAR and (layer.takes, layer.gives) == (takes, gives) and not layer.optional:
            return view.code(layer.made)
    sayable = view.is_sayable(takes, flow.module) and view.is_sayable(gives, flow.module)
    made = view.called(NN + "Linear") if sayable and not view.low_precision else None
    return made and f"{made}({takes}, {gives}, bias=False)"


def residual(view: View) -> Iterator[Draft]:
    """What a layer takes, added to what it gives, where both are as wide and it is not done yet."""
    for spot in view.spots:
        layer, argument = spot.layer, spot.argument
        if layer is None or not _is_square(layer) or argument is None:
            continue
        if spot.use is Use.SUMMED and isinstance(argument, ast.Name):
            continue
        if held := view.held(argument, "given", spot.place.statement, spot.flow):
            above, name = held
            text = view.inside(spot.node, [(*view.source.span(argument), name)])
            changes = [*above, view.replaced(spot.node, f"{name} + {text}")]
            yield from view.draft("residual", "", spot.node, changes, -0.6)


def _is_square(layer: Layer) -> bool:
    """As wide where it ends as where it begins, and not a sum with what it takes."""
    wide = layer.takes is not None and layer.takes == layer.gives
    return wide and not layer.residual and layer.role in (Role.LINEAR, Role.BLOCK)


def deepen(view: View) -> Iterator[Draft]:
    """One more layer, as wide as the hidden one, behind an activation."""
    for spot in view.spots:
        node = spot.node
        if spot.tensor.kind is not Kind.ACTIVE or not isinstance(node, ast.Call) or spot.is_factor:
            continue
        if len(node.args) == 1 and not node.keywords and not isinstance(spot.place.parent, ast.Attribute):
            new = view.new_name("hidden", "layer")
            made = _projection(view, spot.flow, spot.tensor.width, spot.tensor.width)
            text = f"{view.code(node.func)}(self.{new}({view.code(node)}))"
            changes = [view.registered(spot.flow.module, new, made), view.replaced(node, text)]
            yield from view.draft("duplicate", "layer", node, changes, -1.0)


def initialise(view: View) -> Iterator[Draft]:
    """Layers whose weights begin at half or twice their size, set when the whole model is there."""
    whole = view.whole
    if whole is None or whole.init is None:
        return
    end = whole.init.body[-1]
    for module in view.parts_of(whole):
        for path, layer in module.layers.items():
            fits = layer.role in (Role.LINEAR, Role.EMBEDDING) and not layer.optional and "[" not in path
            if not fits or _begins_at_zero(view, path, layer):
                continue
            for variant, factor in (("half", "0.5"), ("double", "2.0")):
                if module is whole:
                    codes = [f"self.{path}.weight.data.mul_({factor})"]
                else:
                    test = f"    if isinstance(part, {module.name}):"
                    codes = ["for part in self.modules():", test]
                    codes.append(f"        part.{path}.weight.data.mul_({factor})")
                if change := view.below(end, *codes):
                    yield Draft("initialise", f"initialise {variant}@{module.name}.{path}", (change,), 0.1)


def _begins_at_zero(view: View, path: str, layer: Layer) -> bool:
    """Whether there is nothing to multiply, or nobody uses it; as far as can be seen."""
    plain = any(isinstance(a, ast.Constant) and a.value == 0 for a in layer.made.args)
    uses = 1 if "." in path else 2  # a key of an `nn.ModuleDict`, or an attribute
    unused = view.source.text.count(f".{path.rpartition('.')[2]}") < uses
    return plain or unused or f"zeros_(self.{path}.weight" in view.source.text


RULES = (scale, gate, residual, deepen, initialise)
