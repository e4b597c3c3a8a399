"""Mutations of how a model is trained: schedules, optimizers, clipping."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain

from autoresearch_rl.target.generators.grammar.view import View
from autoresearch_rl.target.generators.grammar.writing import Draft

_RATE = re.compile(r"(?i)(?<![a-z])lr|rate")
_PI = re.compile(r"\b\w+\.pi\s*\*\s*|\s*\*\s*\w+\.pi\b")
_FALLS = re.compile(r"\(?1(\.0)? [-+]|0\.5 [*+]|min\(1|max\(0|\(1(\.0)? \+")
_OPTIMIZER = "torch.optim."
_ADAMS = {  # what it takes for their weights to decay as those of AdamW; None where nothing does
    "AdamW": "",
    "Adam": None,
    "NAdam": "decoupled_weight_decay=True",
    "RAdam": "decoupled_weight_decay=True",
    "Adamax": None,
}
_KNOWN = {"lr", "betas", "eps", "weight_decay"}  # what all of them take


def schedules(view: View) -> Iterator[Draft]:
    """How a factor falls: steeper, flatter, not to zero; a cosine made straight, a straight line bent."""
    for node in _factors(view):
        code, bare = view.operand(node), view.code(node)
        yield from _reshaped(view, node, "squared", f"{code} ** 2", 0.0)
        yield from _reshaped(view, node, "root", f"max(0.0, {bare}) ** 0.5", 0.1)
        if not _FALLS.match(ast.unparse(node)):
            continue
        yield from _reshaped(view, node, "floor", f"0.1 + 0.9 * {code}", 0.1)
        if done := _cosine(view, node):
            yield from _reshaped(view, node, "straight", f"1 - {done}", 0.1)
            yield from _reshaped(view, node, "1 - root", f"1 - max(0.0, {done}) ** 0.5", 0.1)
            yield from _reshaped(view, node, "1 - square", f"1 - ({done}) ** 2", 0.1)
        elif (bent := view.called("math.cos")) and "cos" not in code:
            text = f"0.5 - 0.5 * {bent}({view.called('math.pi')} * min(1.0, {bare}))"
            yield from _reshaped(view, node, "cosine", text, 0.0)


def _reshaped(view: View, node: ast.expr, variant: str, text: str, odds: float) -> Iterator[Draft]:
    changes = [(*view.source.span(node), _enclosed(view, node, text))]
    yield from view.draft("arithmetic", variant, node, changes, odds)


def _enclosed(view: View, node: ast.expr, text: str) -> str:
    """In parentheses, unless the whole of a statement or a lambda is replaced."""
    place = view.places.get(node)
    bare = place is None or isinstance(place.parent, ast.Return | ast.Assign | ast.Lambda)
    return text if bare else f"({text})"


def _cosine(view: View, node: ast.expr) -> str | None:
    """`t` of `0.5 * (1 + cos(pi * t))`, so that it can be subtracted."""
    calls = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
    if len(calls) != 1 or not view.modules.full_name(calls[0].func).endswith(".cos"):
        return None
    shape = ast.unparse(node).replace(ast.unparse(calls[0]), "C").replace("1.0", "1")
    known = ("0.5 * (1 + C)", "(1 + C) / 2", "(1 + C) * 0.5", "0.5 + 0.5 * C", "0.5 * (C + 1)")
    angle = view.code(calls[0].args[0])
    if shape not in known or len(_PI.findall(angle)) != 1:
        return None
    rest = ast.parse(f"({_PI.sub('', angle, count=1)})", mode="eval").body
    loose = isinstance(rest, ast.BinOp) and isinstance(rest.op, ast.Add | ast.Sub)
    return f"({ast.unparse(rest)})" if loose else ast.unparse(rest)


def _factors(view: View) -> list[ast.expr]:
    """Expressions between 0 and 1 that depend on how far training is."""
    values: list[ast.expr] = []
    for function in _functions_of_progress(view):
        idle = {n for branch in _idle_branches(view, function) for n in ast.walk(branch)}
        returned = [n for n in ast.walk(function) if isinstance(n, ast.Return | ast.Assign) and n not in idle]
        values += [n.value for n in returned if n.value is not None]
        values += [function.body] if isinstance(function, ast.Lambda) else []
    assigned = (place.node for place in view.source.places(ast.Assign))
    values += [n.value for n in assigned if isinstance(n, ast.Assign) and _asks(n.value)]
    return list(dict.fromkeys(factor for value in values for factor in _of_product(view, value)))


def _of_product(view: View, value: ast.expr) -> Iterator[ast.expr]:
    """A factor, or those that a product is made of."""
    if isinstance(value, ast.BinOp | ast.Call) and _is_factor(view, value):
        yield value
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
        yield from _of_product(view, value.left)
        yield from _of_product(view, value.right)


def _idle_branches(view: View, function: ast.AST) -> Iterator[ast.stmt]:
    """What is done before a moment that never comes: `if progress < WARMUP` where that is zero."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
            before = isinstance(node.test.ops[0], ast.Lt | ast.LtE)
            if before and view.is_zero(node.test.comparators[0]):
                yield from node.body


def _functions_of_progress(view: View) -> Iterator[ast.FunctionDef | ast.Lambda]:
    """Functions that are handed the progress, and lambdas that ask for it."""
    named: set[str] = set()
    for place in view.source.places(ast.Call):
        node = place.node
        assert isinstance(node, ast.Call)
        if any(_asks(a) for a in chain(node.args, (k.value for k in node.keywords))):
            named.add(ast.unparse(node.func).rpartition(".")[2])
    for place in chain(view.source.places(ast.FunctionDef), view.source.places(ast.Lambda)):
        node = place.node
        if isinstance(node, ast.Lambda):
            yield from [node] if _asks(node.body) else []
        elif isinstance(node, ast.FunctionDef) and (node.name in named or _is_schedule(node)):
            yield node


def _asks(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr == "progress" for n in ast.walk(node))


def _is_schedule(node: ast.FunctionDef) -> bool:
    """A function that asks for the progress itself; not one that trains."""
    return _asks(node) and not any(isinstance(n, ast.For | ast.While) for n in ast.walk(node))


def _is_factor(view: View, node: ast.expr) -> bool:
    """A ratio, a difference from one or a cosine; nothing in it that is a learning rate."""
    code = ast.unparse(node)
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)]
    calls = {view.code(n.func).rpartition(".")[2] for n in ast.walk(node) if isinstance(n, ast.Call)}
    falls = _FALLS.match(code) is not None
    divided = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    bounded = code.startswith("min(1") or not _RATE.search(code)
    return bool(names) and bounded and calls <= {"cos", "min", "max"} and (falls or divided)


def optimizers(view: View) -> Iterator[Draft]:
    """Another optimizer of the same family, where it takes the same options."""
    for place in view.source.places(ast.Call):
        node = place.node
        assert isinstance(node, ast.Call)
        name = view.modules.full_name(node.func)
        own = name.removeprefix(_OPTIMIZER)
        options = {k.arg for k in node.keywords}
        if name == own or own not in _ADAMS or not options <= _KNOWN or not node.keywords:
            continue
        end = view.source.span(node.keywords[-1])[1]
        decays = "weight_decay" in options
        for other, extra in _ADAMS.items():
            made = view.called(_OPTIMIZER + other)
            if other == own or made is None or (decays and extra is None):
                continue  # what decays by its gradient is another thing
            added = [(end, end, f", {extra}")] if decays and extra else []
            changes = [(*view.source.span(node.func), made), *added]
            yield from view.draft("swap", other, node, changes, -0.4)
        if own in ("AdamW", "Adam"):
            yield from view.draft("swap", "amsgrad", node, [(end, end, ", amsgrad=True")], -0.4)


def clipping(view: View) -> Iterator[Draft]:
    """Gradients that are not clipped; or are, where nothing clips them yet."""
    found = False
    for place in view.source.places(ast.Call):
        node = place.node
        name = view.modules.full_name(node.func) if isinstance(node, ast.Call) else ""
        found |= "clip_grad" in name
        if name.endswith("clip_grad_norm_") and isinstance(place.parent, ast.Expr):
            assert place.statement is not None
            yield from _unclipped(view, node, place.statement)
    clip = view.called("torch.nn.utils.clip_grad_norm_")
    if not found and clip:
        yield from _clipped(view, clip)


def _clipped(view: View, clip: str) -> Iterator[Draft]:
    """A limit before the step, where the optimizer and the model are known in the same function."""
    calls = [p for p in view.source.places(ast.Call) if isinstance(p.node, ast.Call) and not p.node.args]
    models = {p.scope: ast.unparse(p.node) for p in calls if ast.unparse(p.node).endswith(".parameters()")}
    for place in calls:
        code, statement = ast.unparse(place.node), place.statement
        single = code.endswith(".step()") and re.match(r"opt", code) and isinstance(place.parent, ast.Expr)
        if single and place.scope in models and statement is not None:
            above = view.above(statement, f"{clip}({models[place.scope]}, 1.0)")
            yield from view.draft("insert", "clipping", place.node, [above], 0.0)


def _unclipped(view: View, node: ast.AST, statement: ast.stmt) -> Iterator[Draft]:
    for place in view.source.runs():
        around = place.node
        body = getattr(place.parent, place.field)
        alone = isinstance(around, ast.If) and around.body == [statement] and not around.orelse
        if around is statement or alone:
            assert isinstance(around, ast.stmt)
            if isinstance(body, list) and len(body) > 1:
                yield from view.draft("delete", "", node, [view.without(around, body)], -0.4)


def warm_up(view: View) -> Iterator[Draft]:
    """The first phase of a schedule left out: `if progress < WARMUP: return ...`."""
    for function in _functions_of_progress(view):
        body = function.body if isinstance(function, ast.FunctionDef) else []
        first = next((n for n in body if not isinstance(n, ast.Expr)), None)
        if not isinstance(first, ast.If) or first.orelse or first is body[-1]:
            continue
        before = isinstance(first.test, ast.Compare) and isinstance(first.test.ops[0], ast.Lt | ast.LtE)
        idle = first.body[0] in _idle_branches(view, first)
        if before and isinstance(first.body[-1], ast.Return) and not idle:
            yield from view.draft("delete", "", first.test, [view.without(first, body)], -0.5)


RULES = (schedules, optimizers, clipping, warm_up)
