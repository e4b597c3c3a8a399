"""Single edits of one literal: numbers scaled or stepped, truth values toggled, choices exchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from autoresearch_rl.records import Candidate, Change, Edit, Trial
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
    """Every move at every site. A number keeps its type, its sign and its way of writing."""

    name = "literals"
    share = 0.4
    remembers = False

    def propose(self, script: Script, history: Sequence[Trial] = ()) -> Iterator[Candidate]:
        """See `Generator.propose`."""
        for site in script.sites.values():
            for move in moves(site):
                edit = Edit((Change(site.name, site.code, move.new),))
                yield Candidate(edit, self.name, move.operator, move.direction, move.magnitude)


def moves(site: Site) -> Iterator[Move]:
    """All moves at a site, some of which may give the same text."""
    return _MOVES[site.kind](site)


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
