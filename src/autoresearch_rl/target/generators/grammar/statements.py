"""Mutations of how a model is put together: sublayers, loops over blocks, norms and layers in a row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from autoresearch_rl.target.generators.grammar.flow import Flow
from autoresearch_rl.target.generators.grammar.functions import POSITION
from autoresearch_rl.target.generators.grammar.layers import Layer, Role
from autoresearch_rl.target.generators.grammar.tensors import Kind
from autoresearch_rl.target.generators.grammar.view import View
from autoresearch_rl.target.generators.grammar.writing import NN, SCALAR, Draft
from autoresearch_rl.target.normal import Splice

_INDEXED = re.compile(r"\[-?\d+\]\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class _Sublayer:
    """`x = x + branch(x)`, `h = x + branch(x)`, `x += branch(x)` or `return x + branch(x)`."""

    statement: ast.Assign | ast.AugAssign | ast.Return
    name: str  # the stream before
    target: str  # and after; empty where it is returned
    total: ast.expr  # what is assigned or returned
    branch: ast.expr
    flow: Flow
    body: list[ast.stmt]

    def with_value(self, value: str) -> str:
        """The statement with another value of the stream."""
        return f"{self.target} = {value}" if self.target else f"return {value}"


def _sublayers(view: View) -> list[_Sublayer]:
    found = (
        _as_sublayer(statement, flow, body)
        for flow in view.flows
        for body in _bodies(flow.function)
        for statement in body
    )
    return [one for one in found if one and _reads(one.branch, one.name)]


def _as_sublayer(statement: ast.stmt, flow: Flow, body: list[ast.stmt]) -> _Sublayer | None:
    if isinstance(statement, ast.AugAssign):
        target, value = statement.target, statement.value
        if isinstance(target, ast.Name) and isinstance(statement.op, ast.Add) and value in flow.types:
            return _Sublayer(statement, target.id, target.id, value, value, flow, body)
        return None
    if not isinstance(statement, ast.Assign | ast.Return) or not isinstance(statement.value, ast.BinOp):
        return None
    total, left = statement.value, statement.value.left
    stream = left in flow.types and flow.types[left].kind is Kind.STREAM
    if not isinstance(total.op, ast.Add) or not isinstance(left, ast.Name) or not stream:
        return None
    name = ast.unparse(statement.targets[0]) if isinstance(statement, ast.Assign) else ""
    plain = isinstance(statement, ast.Return) or name.isidentifier()
    return _Sublayer(statement, left.id, name, total, total.right, flow, body) if plain else None


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for inner in ast.walk(node):
        for field in ("body", "orelse"):
            value = getattr(inner, field, None)
            if isinstance(value, list) and value:
                yield value


def _reads(node: ast.AST, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))


def _rewritten(view: View, one: _Sublayer, value: str) -> Splice:
    return (*view.source.span(one.statement), one.with_value(value))


def sublayers(view: View) -> Iterator[Draft]:
    """A sublayer applied twice, left out, or counted by half."""
    for one in _sublayers(view):
        after = view.renamed(one.branch, one.name, one.target)
        if one.target:
            again = view.below(one.statement, f"{one.target} = {one.target} + {after}")
        else:
            again = view.above(one.statement, f"{one.name} = {view.code(one.total)}")
        yield from view.draft("duplicate", "", one.branch, [again], -0.7)
        if not view.needs_all_gradients:
            gone = _rewritten(view, one, one.name)
            if one.name == one.target:
                yield from view.draft("delete", "", one.branch, [view.without(one.statement, one.body)], -1.0)
            else:
                yield from view.draft("delete", "", one.branch, [gone], -1.0)
        half = [view.replaced(one.branch, f"0.5 * {view.operand(one.branch)}")]
        yield from view.draft("arithmetic", "half", one.branch, half, -0.1)


def norms(view: View) -> Iterator[Draft]:
    """Where a sublayer normalises: before it, after the sum, or what it adds."""
    for one in _sublayers(view):
        norm = next((n for n in ast.walk(one.branch) if _normalises(n, one)), None)
        if not isinstance(norm, ast.Call):
            continue
        function = view.code(norm.func)
        plain = view.inside(one.branch, [(*view.source.span(norm), one.name)])
        after = [_rewritten(view, one, f"{function}({one.name} + {plain})")]
        yield from view.draft("normalise", "after the sum", one.branch, after, -0.6)
        added = [view.replaced(one.branch, f"{function}({plain})")]
        yield from view.draft("normalise", "only the branch", one.branch, added, -0.4)


def _normalises(call: ast.AST, one: _Sublayer) -> bool:
    found = one.flow.types.get(call)
    plain = isinstance(call, ast.Call) and len(call.args) == 1 and not call.keywords
    normed = found is not None and found.kind is Kind.NORMED
    return normed and plain and isinstance(call, ast.Call) and ast.unparse(call.args[0]) == one.name


def order(view: View) -> Iterator[Draft]:
    """Two sublayers in a row: the other way round, or side by side."""
    found: dict[ast.stmt, _Sublayer] = {one.statement: one for one in _sublayers(view)}
    bodies = (body for flow in view.flows for body in _bodies(flow.function))
    for one, two in ((found.get(a), found.get(b)) for body in bodies for a, b in pairwise(body)):
        if one is None or two is None or not one.target or one.target != two.name:
            continue
        first = view.renamed(one.branch, one.name, two.name)
        second = view.renamed(two.branch, two.name, one.name)
        exchanged = [view.replaced(one.branch, second), view.replaced(two.branch, first)]
        if ast.unparse(one.branch) != ast.unparse(two.branch):
            yield from view.draft("reorder", "exchange", one.branch, exchanged, -0.5)
        both = f"{one.name} + {view.operand(one.branch)} + {second}"
        beside = [view.without(one.statement, one.body), _rewritten(view, two, both)]
        yield from view.draft("reorder", "side by side", one.branch, beside, -0.1)


def loops(view: View) -> Iterator[Draft]:
    """A stack of blocks: each block twice; the embedding, or the sum of all layers, added again."""
    for flow in view.flows:
        for body in _bodies(flow.function):
            for statement in body:
                if isinstance(statement, ast.For):
                    for inner in statement.body:
                        yield from _in_loop(view, flow, statement, inner)
                yield from _stacked(view, flow, statement)


def _block_call(statement: ast.stmt, flow: Flow) -> str | None:
    """`x` of `x = block(x, ...)`."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        return None
    call, target = statement.value, statement.targets[0]
    layer = flow.layers.get(call)
    fits = layer is not None and layer.role is Role.BLOCK and layer.takes == layer.gives and bool(call.args)
    same = isinstance(target, ast.Name) and bool(call.args) and ast.unparse(call.args[0]) == target.id
    return target.id if fits and same and isinstance(target, ast.Name) else None


def _in_loop(view: View, flow: Flow, loop: ast.For, statement: ast.stmt) -> Iterator[Draft]:
    name = _block_call(statement, flow)
    if name is None:
        return
    twice = [view.below(statement, view.code(statement))]
    yield from view.draft("duplicate", "", statement, twice, -0.7)
    first, total = view.local_name("first", flow), view.local_name("total", flow)
    weight = view.new_name("first", view.weight)
    zero = view.registered(flow.module, weight, view.parameter("zeros", SCALAR))
    kept, mixed = view.above(loop, f"{first} = {name}"), f"{name} = {name} + self.{weight} * {first}"
    for place, change in (("after", view.below(statement, mixed)), ("before", view.above(statement, mixed))):
        changes = [zero, kept, change]
        yield from view.draft("residual", f"embedding {place} each block", statement, changes, 0.2)
    weight = view.new_name("total", view.weight)
    changes = [
        view.registered(flow.module, weight, view.parameter("zeros", SCALAR)),
        view.above(loop, f"{total} = {name}"),
        view.below(loop.body[-1], f"{total} = {total} + {name}"),
        view.below(loop, f"{name} = {name} + self.{weight} * {total}"),
    ]
    yield from view.draft("residual", "sum of all layers", statement, changes, 0.0)


def _stacked(view: View, flow: Flow, statement: ast.stmt) -> Iterator[Draft]:
    """The same for `x = self.layers(x)`."""
    name = _block_call(statement, flow)
    layer = flow.layers[statement.value] if name and isinstance(statement, ast.Assign) else None
    if layer is None or not layer.residual or not isinstance(statement, ast.Assign):
        return
    if view.modules.full_name(layer.made.func) != NN + "Sequential":
        return
    twice = [view.below(statement, view.code(statement))]
    yield from view.draft("duplicate", "", statement, twice, -0.7)
    weight = view.new_name("first", view.weight)
    text = f"{view.code(statement.value)} + self.{weight} * {name}"
    changes = [
        view.registered(flow.module, weight, view.parameter("zeros", SCALAR)),
        view.replaced(statement.value, text),
    ]
    yield from view.draft("residual", "embedding after the blocks", statement, changes, 0.1)


def delete(view: View) -> Iterator[Draft]:
    """A norm, a dropout, a square or the positions left out."""
    for flow in view.flows:
        for call, layer in flow.layers.items():
            assert isinstance(call, ast.Call)
            if layer.role is Role.DROPOUT and call.args and not _is_idle(view, layer):
                yield from _left_out(view, flow, call, -0.3)
    for spot in view.spots:
        node = spot.node
        if isinstance(node, ast.Call) and node.args and spot.tensor.kind is Kind.NORMED:
            if spot.layer is not None and view.needs_all_gradients:
                continue
            yield from _left_out(view, spot.flow, node, -0.9)
        elif squared := _squared(node):
            gone = [view.replaced(node, view.code(squared))]
            yield from view.draft("delete", "the square", node, gone, -0.8)
        elif isinstance(node, ast.BinOp) and _adds_positions(view, node, spot.flow):
            if not view.needs_all_gradients:
                gone = [view.replaced(node, view.code(node.left))]
                yield from view.draft("delete", "positions", node, gone, -0.9)
            half = [view.replaced(node.right, f"0.5 * {view.operand(node.right)}")]
            yield from view.draft("arithmetic", "half", node, half, -0.3)


def _squared(node: ast.expr) -> ast.expr | None:
    """`E` of `E.square()`."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.value if isinstance(function, ast.Attribute) and function.attr == "square" else None


def _left_out(view: View, flow: Flow, call: ast.Call, odds: float) -> Iterator[Draft]:
    """A call replaced by what it is called with; its statement deleted where that says nothing."""
    for body in _bodies(flow.function):
        for statement in body:
            own = isinstance(statement, ast.Assign) and statement.value is call
            if own and ast.unparse(statement).startswith(f"{ast.unparse(call.args[0])} = "):
                yield from view.draft("delete", "", call, [view.without(statement, body)], odds)
                return
    yield from view.draft("delete", "", call, [view.replaced(call, view.code(call.args[0]))], odds)


def _is_idle(view: View, layer: Layer) -> bool:
    """Whether a dropout drops nothing, so that nothing would change without it."""
    rates = [*layer.made.args, *(k.value for k in layer.made.keywords)]
    idle = view.modules.full_name(layer.made.func).endswith("Identity")
    return idle or (bool(rates) and view.is_zero(rates[0]))


def _adds_positions(view: View, node: ast.BinOp, flow: Flow) -> bool:
    left = flow.types.get(node.left)
    embedded = left is not None and left.kind is Kind.EMBEDDED
    return embedded and isinstance(node.op, ast.Add) and bool(POSITION.search(view.code(node.right)))


def rows(view: View) -> Iterator[Draft]:
    """Layers in an `nn.Sequential`: a norm between them or at the end, one more, one less."""
    if _INDEXED.search(view.source.text):
        return  # layers are found by their number
    for place in view.source.places(ast.Call):
        node = place.node
        if isinstance(node, ast.Call) and view.modules.full_name(node.func) == NN + "Sequential":
            layer = view.modules.layer(node)
            parts = layer.parts if layer else ()
            for one, two in pairwise(parts):
                if one is not None and two is not None:
                    yield from _between(view, one, two)
            if layer and layer.takes == layer.gives and not layer.residual and parts and parts[-1]:
                yield from _normed_after(view, parts[-1], layer.gives, -0.2)


def _between(view: View, one: Layer, two: Layer) -> Iterator[Draft]:
    """What can happen where one layer meets the next."""
    if (one.role, two.role) == (Role.LINEAR, Role.ACTIVATION):
        yield from _normed_after(view, one, one.gives, -0.3)
        linear, end = view.called(NN + "Linear"), view.source.span(two.made)[1]
        if linear:
            deeper = [(end, end, f", {linear}({one.gives}, {one.gives}), {view.code(two.made)}")]
            yield from view.draft("duplicate", "layer", one.made, deeper, -1.0)
    elif one.role is Role.EMBEDDING:
        yield from _normed_after(view, one, one.gives, -0.3)
    gone = one.role is Role.NORM or (one.role is Role.DROPOUT and not _is_idle(view, one))
    span = view.source.span(one.made)[0], view.source.span(two.made)[0]
    if gone and "#" not in view.source.text[slice(*span)]:
        yield from view.draft("delete", "", one.made, [(*span, "")], -0.9)


def _normed_after(view: View, layer: Layer, width: str | None, odds: float) -> Iterator[Draft]:
    norm, end = view.called(NN + "RMSNorm"), view.source.span(layer.made)[1]
    if norm and width:
        yield from view.draft("normalise", "", layer.made, [(end, end, f", {norm}({width})")], odds)


RULES = (sublayers, norms, order, loops, delete, rows)
