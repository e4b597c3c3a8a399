"""Where candidates come from: each generator looks at a script and names the edits that could be tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal

from autoresearch_rl.records import Candidate, Change, Edit, script_id
from autoresearch_rl.target.blocks import edit_between
from autoresearch_rl.target.catalogue import Recipe, catalogue
from autoresearch_rl.target.edits import LIMIT_BYTES, splice, validate
from autoresearch_rl.target.patterns import Source
from autoresearch_rl.target.script import Script, Site
from autoresearch_rl.target.sites import Kind

FLOAT_FACTORS = tuple(Decimal(f) for f in ("0.1", "0.3", "0.5", "0.7", "0.85", "1.2", "1.4", "2", "3", "10"))
INT_FACTORS = tuple(Decimal(f) for f in ("0.25", "0.5", "0.75", "1.5", "2", "4"))
FLOATS_FROM_ZERO = (Decimal("0.01"), Decimal("0.1"))
LARGE_INT = 8  # from here on integers are scaled; below they are stepped
LARGEST_INT = 2**63 - 1  # what a tensor can hold

_ROUND = Context(prec=3)
_EXACT = Context(prec=60)
_FIXED_POINT = range(-6, 7)  # decimal exponents that are still easy to read without an exponent


@dataclass(frozen=True, slots=True)
class Move:
    """One way to exchange the literal at a site."""

    new: str  # source text
    operator: str
    direction: int = 0
    magnitude: float = 1.0


class Literals:
    """Single edits of one literal: numbers scaled or stepped, truth values toggled, choices exchanged.

    A number keeps its type, its sign and its way of writing.
    """

    name = "literals"

    def candidates(self, script: Script, tried: Collection[str] = ()) -> list[Candidate]:
        """Every single edit that gives a valid script, each resulting script once.

        Args:
            script: The script to edit; when it does not validate itself, there are no candidates.
            tried: Ids of scripts that must not come up again.
        """
        if validate(script.source) is not None:
            return []
        seen = {script.id, *tried}
        return [
            Candidate(edit, self.name, move.operator, move.direction, move.magnitude)
            for site in script.sites.values()
            for move in moves(site)
            if (edit := _fresh(script, site, move.new, seen)) is not None
        ]


class Recipes:
    """Known advances of the catalogue, each applied as a whole; what they introduce are constants to tune.

    Args:
        device: Type of the device that scripts train on; recipes that need another are left out.
        recipes: Where they are from; the catalogue of this package unless given.
    """

    name = "recipes"
    operator = "recipe"

    def __init__(self, device: str = "cpu", recipes: Mapping[str, Recipe] | None = None) -> None:
        known = catalogue() if recipes is None else recipes
        self._recipes = [recipe for recipe in known.values() if recipe.needs in ("", device)]

    def candidates(self, script: Script, tried: Collection[str] = ()) -> list[Candidate]:
        """One candidate for each recipe that fits the script, each resulting script once.

        Args:
            script: The script to edit; when it does not validate itself, there are no candidates.
            tried: Ids of scripts that must not come up again.
        """
        return [candidate for _, candidate in self.proposals(script, tried)]

    def proposals(self, script: Script, tried: Collection[str] = ()) -> Iterator[tuple[Recipe, Candidate]]:
        """The candidates with the recipes that they are from, for whoever wants to know their prior odds."""
        if validate(script.source) is not None:
            return
        seen, source = {script.id, *tried}, Source(script.source)
        for recipe in self._recipes:
            after = recipe.apply(source)
            if after is None or script_id(after) in seen or len(after.encode("utf-8")) > LIMIT_BYTES:
                continue
            seen.add(script_id(after))
            edit = edit_between(script.source, after)
            yield recipe, Candidate(edit, self.name, self.operator, direction=0, magnitude=1.0)


def moves(site: Site) -> Iterator[Move]:
    """All moves at a site, some of which may give the same text."""
    return _MOVES[site.kind](site)


def _fresh(script: Script, site: Site, new: str, seen: set[str]) -> Edit | None:
    """The edit, unless its result was seen before. Literals stay literals, so only the size is checked."""
    source = splice(script.source, [(site, new)])
    identity = script_id(source)
    if identity in seen or len(source.encode("utf-8")) > LIMIT_BYTES:
        return None
    seen.add(identity)
    return Edit((Change(site.name, site.code, new),))


def _float_moves(site: Site) -> Iterator[Move]:
    value = float(site.code)
    if not math.isfinite(value):
        return
    old = Decimal(site.code)
    for new in _float_values(value, old):
        code = _float_code(new, site.code)
        if math.isfinite(float(code)) and float(code) not in (0.0, value):
            yield _number_move(code, value, float(code), "scale")


def _float_values(value: float, old: Decimal) -> Iterator[Decimal]:
    if value == 0.0:
        yield from FLOATS_FROM_ZERO
    elif 0.5 < value < 1:  # betas, momenta: what counts is the distance to 1
        distances = (_ROUND.multiply(_EXACT.subtract(Decimal(1), old), factor) for factor in FLOAT_FACTORS)
        yield from (_EXACT.subtract(Decimal(1), distance) for distance in distances if distance < 1)
    else:
        yield from (_ROUND.multiply(old, factor) for factor in FLOAT_FACTORS)


def _float_code(value: Decimal, like: str) -> str:
    """A float literal in the style of another one: with or without exponent."""
    value = value.normalize(_EXACT)
    marker = next((letter for letter in "eE" if letter in like), "")
    if not marker and value.adjusted() in _FIXED_POINT:
        text = format(value, "f")
        return text if "." in text else f"{text}.0"
    mantissa = format(value.scaleb(-value.adjusted()), "f")
    return f"{mantissa}{marker or 'e'}{value.adjusted()}"


def _int_moves(site: Site) -> Iterator[Move]:
    old = int(site.code)
    style = "_" if "_" in site.code else ""
    for new, operator in _int_values(old):
        same_sign = new * old > 0 or (old == 0 and new > 0)
        if same_sign and abs(new) <= LARGEST_INT:
            yield _number_move(format(new, style), old, new, operator)


def _int_values(old: int) -> Iterator[tuple[int, str]]:
    if abs(old) < LARGE_INT:
        yield from ((old - 1, "step"), (old + 1, "step"), (2 * old, "scale"))
        if old % 2 == 0 and old // 2 != old - 1:
            yield old // 2, "scale"
        return
    for factor in INT_FACTORS:
        yield int(_EXACT.multiply(old, factor).to_integral_value()), "scale"


def _number_move(code: str, old: float, new: float, operator: str) -> Move:
    direction = (new > old) - (new < old)
    magnitude = abs(math.log(new / old)) if old else 1.0
    return Move(code, operator, direction, magnitude)


def _bool_moves(site: Site) -> Iterator[Move]:
    yield Move("False" if site.code == "True" else "True", "toggle")


def _choice_moves(site: Site) -> Iterator[Move]:
    return (Move(choice, "choose") for choice in site.choices if choice != site.code)


_MOVES: dict[Kind, Callable[[Site], Iterator[Move]]] = {
    "float": _float_moves,
    "int": _int_moves,
    "bool": _bool_moves,
    "choice": _choice_moves,
}
