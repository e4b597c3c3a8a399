"""Literals that only make sense together: `nn.Linear(dim, 4 * dim)` and `nn.Linear(4 * dim, dim)`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from autoresearch_rl.target.literals.definitions import Definitions, last_name
from autoresearch_rl.target.literals.sites import LAYER
from autoresearch_rl.target.patterns import Source

_Use = tuple[str, str]  # the site, and the side: "in", "out", or "both" of a norm


def ties(source: Source, definitions: Definitions) -> Iterator[tuple[str, ...]]:
    """Sets of sites, two or more, that hold the inner width of a perceptron.

    A width that first comes out of a layer and last goes into one of the same class is known to no other
    part of the script. All others may be.
    """
    uses: dict[tuple[str, str], list[_Use]] = {}
    for place in source.places(ast.Call):
        call = place.node
        assert isinstance(call, ast.Call)
        if not LAYER.fullmatch(last_name(call.func)) or not place.scope:
            continue
        for size, side in _sizes(call):
            if (site := _factor(size, definitions)) is not None:
                uses.setdefault((place.scope[0], ast.unparse(size)), []).append((site, side))
    for found in uses.values():
        sides = [side for _, side in found if side != "both"]
        if len(sides) > 1 and sides[0] == "out" and sides[-1] == "in":
            yield tuple(site for site, _ in found)


def _sizes(call: ast.Call) -> Iterator[tuple[ast.expr, str]]:
    if last_name(call.func).endswith("Norm"):
        yield from ((size, "both") for size in call.args[:1])
    elif last_name(call.func).endswith("Linear"):
        yield from zip(call.args, ("in", "out"), strict=False)
        sides = {"in_features": "in", "out_features": "out"}
        yield from ((k.value, sides[k.arg]) for k in call.keywords if k.arg in sides)


def _factor(size: ast.expr, definitions: Definitions) -> str | None:
    """The site of the one literal that a size is, or that it is multiplied by."""
    if isinstance(size, ast.Constant):
        return definitions.site(size)
    if isinstance(size, ast.BinOp) and isinstance(size.op, ast.Mult):
        literals = [side for side in (size.left, size.right) if isinstance(side, ast.Constant)]
        return definitions.site(literals[0]) if len(literals) == 1 else None
    return None
