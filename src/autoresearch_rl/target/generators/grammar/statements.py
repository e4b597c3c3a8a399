"""Mutations of how a model is put together: sublayers, loops over blocks, norms and layers in a row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from autoresearch_rl.target.generators.grammar.expressions import NN
from autoresearch_rl.target.generators.grammar.flow import Flow, Kind
from autoresearch_rl.target.generators.grammar.layers import Layer, Role
from autoresearch_rl.target.generators.grammar.view import Draft, View
from autoresearch_rl.target.normal import Splice, spliced

_POSITION = re.compile(r"(?i)pos|wpe")
_INDEXED = re.compile(r"\[-?\d+\]\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class _Sublayer:
    """`x = x + branch(x)`, `x += branch(x)` or `return x + branch(x)`."""

    statement: ast.Assign | ast.AugAssign | ast.Return
    name: str
    total: ast.expr  # what is assigned or returned
    branch: ast.expr
    flow: Flow
    body: list[ast.stmt]


def _sublayers(view: View) -> Iterator[_Sublayer]:
    for flow in view.flows:
        for body in _bodies(flow.function):
            for statement in body:
                found = _as_sublayer(statement, flow, body)
                if found and _reads(found.branch, found.name):
                    yield found


def _as_sublayer(statement: ast.stmt, flow: Flow, body: list[ast.stmt]) -> _Sublayer | None:
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        if isinstance(statement.op, ast.Add):
            return _Sublayer(statement, statement.target.id, statement.value, statement.value, flow, body)
        return None
    if not isinstance(statement, ast.Assign | ast.Return) or not isinstance(statement.value, ast.BinOp):
        return None
    total = statement.value
    left = total.left
    stream = left in flow.types and flow.types[left].kind is Kind.STREAM
    if not isinstance(total.op, ast.Add) or not isinstance(left, ast.Name) or not stream:
        return None
    if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) != left.id:
        return None
    return _Sublayer(statement, left.id, total, total.right, flow, body)


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for inner in ast.walk(node):
        for field in ("body", "orelse"):
            value = getattr(inner, field, None)
            if isinstance(value, list) and value:
                yield value


def _reads(node: ast.AST, name: str) -> bool:
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(node))


def _assigned(one: _Sublayer, value: str) -> str:
    """The statement of a sublayer with another value for the stream."""
    return f"return {value}" if isinstance(one.statement, ast.Return) else f"{one.name} = {value}"


def _rewritten(view: View, one: _Sublayer, value: str) -> Splice:
    return (*view.source.span(one.statement), _assigned(one, value))


def sublayers(view: View) -> Iterator[Draft]:
    """A sublayer applied twice, left out, or counted by half."""
    for one in _sublayers(view):
        if not isinstance(one.statement, ast.Return):
            again = [view.below(one.statement, view.code(one.statement))]
            yield from view.draft("duplicate", "", one.branch, again, -0.4)
            gone = [view.without(one.statement, one.body)]
            yield from view.draft("delete", "", one.branch, gone, -1.5)
        else:
            gone = [view.replaced(one.total, one.name)]
            yield from view.draft("delete", "", one.branch, gone, -1.5)
        half = [view.replaced(one.branch, f"0.5 * {view.operand(one.branch)}")]
        yield from view.draft("arithmetic", "half", one.branch, half, -0.1)


def norms(view: View) -> Iterator[Draft]:
    """Where a sublayer normalises: before it, after the sum, or what it adds."""
    for one in _sublayers(view):
        for norm in ast.walk(one.branch):
            if not (isinstance(norm, ast.Call) and _normalises(norm, one)):
                continue
            plain = _inside(view, one.branch, norm, one.name)
            function = view.code(norm.func)
            after = [_rewritten(view, one, f"{function}({one.name} + {plain})")]
            yield from view.draft("normalise", "after the sum", one.branch, after, -0.4)
            added = [view.replaced(one.branch, f"{function}({plain})")]
            yield from view.draft("normalise", "only the branch", one.branch, added, -0.2)
            break


def _normalises(call: ast.Call, one: _Sublayer) -> bool:
    found = one.flow.types.get(call)
    plain = len(call.args) == 1 and not call.keywords and isinstance(call.args[0], ast.Name)
    return bool(found and found.kind is Kind.NORMED and plain and ast.unparse(call.args[0]) == one.name)


def _inside(view: View, node: ast.expr, part: ast.expr, text: str) -> str:
    """The text of an expression with one of its parts replaced."""
    (start, _), (a, b) = view.source.span(node), view.source.span(part)
    return spliced(view.code(node), [(a - start, b - start, text)])


def order(view: View) -> Iterator[Draft]:
    """Two sublayers in a row: the other way round, or side by side."""
    found = {one.statement: one for one in _sublayers(view)}
    for one, two in ((found.get(a), found.get(b)) for body in _all(view) for a, b in pairwise(body)):
        if one is None or two is None or one.name != two.name or isinstance(one.statement, ast.Return):
            continue
        first, second = view.code(one.branch), view.code(two.branch)
        exchanged = [view.replaced(one.branch, second), view.replaced(two.branch, first)]
        if first != second:
            yield from view.draft("reorder", "exchange", one.branch, exchanged, -0.5)
        both = f"{one.name} + {first} + {view.operand(two.branch)}"
        beside = [view.without(one.statement, one.body), _rewritten(view, two, both)]
        yield from view.draft("reorder", "side by side", one.branch, beside, -0.1)


def _all(view: View) -> Iterator[list[ast.stmt]]:
    for flow in view.flows:
        yield from _bodies(flow.function)


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
    yield from view.draft("duplicate", "", statement, twice, -0.3)
    first, total = view.local_name("first", flow), view.local_name("total", flow)
    weight = view.new_name(f"first_{view.word}")
    zero = view.registered(flow.module, weight, _scalar(view))
    kept, mixed = view.above(loop, f"{first} = {name}"), f"{name} = {name} + self.{weight} * {first}"
    for place, change in (("after", view.below(statement, mixed)), ("before", view.above(statement, mixed))):
        changes = [zero, kept, change]
        yield from view.draft("residual", f"embedding {place} each block", statement, changes, 0.2)
    weight = view.new_name(f"total_{view.word}")
    changes = [
        view.registered(flow.module, weight, _scalar(view)),
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
    yield from view.draft("duplicate", "", statement, twice, -0.3)
    weight = view.new_name(f"first_{view.word}")
    text = f"{view.code(statement.value)} + self.{weight} * {name}"
    changes = [view.registered(flow.module, weight, _scalar(view)), view.replaced(statement.value, text)]
    yield from view.draft("residual", "embedding after the blocks", statement, changes, 0.1)


def _scalar(view: View) -> str | None:
    made, zeros = view.called(NN + "Parameter"), view.called("torch.zeros")
    return f"{made}({zeros}(()))" if made and zeros else None


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
            yield from _left_out(view, spot.flow, node, -0.9)
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "square"
        ):
            gone = [view.replaced(node, view.code(node.func.value))]
            yield from view.draft("delete", "the square", spot, gone, -0.8)
        elif isinstance(node, ast.BinOp) and _adds_positions(view, node, spot.flow):
            gone = [view.replaced(node, view.code(node.left))]
            yield from view.draft("delete", "positions", node, gone, -0.9)
            half = [view.replaced(node.right, f"0.5 * {view.operand(node.right)}")]
            yield from view.draft("arithmetic", "half", node, half, -0.3)


def _left_out(view: View, flow: Flow, call: ast.Call, odds: float) -> Iterator[Draft]:
    """A call replaced by what it is called with; its statement deleted where that says nothing."""
    for body in _bodies(flow.function):
        for statement in body:
            if isinstance(statement, ast.Assign) and statement.value is call:
                if ast.unparse(statement.targets[0]) == ast.unparse(call.args[0]):
                    gone = [view.without(statement, body)]
                    yield from view.draft("delete", "", call, gone, odds)
                    return
    gone = [view.replaced(call, view.code(call.args[0]))]
    yield from view.draft("delete", "", call, gone, odds)


def _is_idle(view: View, layer: Layer) -> bool:
    """Whether a dropout drops nothing, so that nothing would change without it."""
    rate = next(iter([*layer.made.args, *(k.value for k in layer.made.keywords)]), None)
    if rate is None:
        return view.modules.full_name(layer.made.func).endswith("Identity")
    name = ast.unparse(rate).rpartition(".")[2]
    zero = rf"(?m)\b{re.escape(name)}\b(\s*:\s*float)?['\"]?\s*[=:]\s*0(\.0*)?\b(?![.\d])"
    return name in ("0", "0.0") or re.search(zero, view.source.text) is not None


def _adds_positions(view: View, node: ast.BinOp, flow: Flow) -> bool:
    left = flow.types.get(node.left)
    embedded = left is not None and left.kind is Kind.EMBEDDED
    return embedded and isinstance(node.op, ast.Add) and bool(_POSITION.search(view.code(node.right)))


def rows(view: View) -> Iterator[Draft]:
    """Layers in an `nn.Sequential`: a norm between them, one more, one less."""
    if _INDEXED.search(view.source.text):
        return  # layers are found by their number
    for place in view.source.places(ast.Call):
        node = place.node
        if isinstance(node, ast.Call) and view.modules.full_name(node.func) == NN + "Sequential":
            layer = view.modules.layer(node)
            for one, two in pairwise(layer.parts if layer else ()):
                yield from _between(view, one, two)


def _between(view: View, one: Layer, two: Layer) -> Iterator[Draft]:
    """What can happen where one layer meets the next."""
    if (one.role, two.role) == (Role.LINEAR, Role.ACTIVATION):
        norm, end = view.called(NN + "RMSNorm"), view.source.span(one.made)[1]
        if norm:
            added = [(end, end, f", {norm}({one.gives})")]
            yield from view.draft("normalise", "", one.made, added, 0.0)
        linear, end = view.called(NN + "Linear"), view.source.span(two.made)[1]
        if linear:
            deeper = [(end, end, f", {linear}({one.gives}, {one.gives}), {view.code(two.made)}")]
            yield from view.draft("duplicate", "", one.made, deeper, -0.6)
    gone = one.role is Role.NORM or (one.role is Role.DROPOUT and not _is_idle(view, one))
    span = view.source.span(one.made)[0], view.source.span(two.made)[0]
    if gone and "#" not in view.source.text[slice(*span)]:
        yield from view.draft("delete", "", one.made, [(*span, "")], -0.9)


RULES = (sublayers, norms, order, loops, delete, rows)
