"""Single edits of one literal: numbers scaled or stepped, truth values toggled, choices exchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from autoresearch_rl.records import Candidate, Change, Edit, Trial
from autoresearch_rl.target.literals import ladders
from autoresearch_rl.target.literals.divisors import Divisors
from autoresearch_rl.target.literals.ties import ties
from autoresearch_rl.target.literals.uses import Use, Uses
from autoresearch_rl.target.script import Script, Site

LARGEST_INT = 2**63 - 1  # what a tensor can hold
MOST_DIVISORS = 10  # the nearest ones
BOLD = (0.4, 2.1)  # |ln(new / old)|: a factor of 1.5 to 8
TIMID = math.log(0.25)  # noise hides a nudge, a leap mostly breaks something
SWITCH = math.log(0.5)  # a truth value; what a number governs matters more often
EXCHANGE = math.log(0.25)  # one name or word for another
ONLY_ON = ("fused", "foreach")  # switching these off makes the same slower

_EXACT = Context(prec=60)
_FIXED_POINT = range(-6, 7)  # decimal exponents that are still easy to read without an exponent
_LADDERS: dict[Use, Callable[[Decimal], Iterator[Decimal]]] = {
    Use.MOMENTUM: ladders.near_one,
    Use.SHARE: ladders.shares,
    Use.CHANCE: ladders.chances,
    Use.EPSILON: ladders.epsilons,
}


@dataclass(frozen=True, slots=True)
class Move:
    """One way to exchange the literal at a site."""

    new: str  # source text
    operator: str
    direction: int = 0
    magnitude: float = 1.0


class Literals:
    """Every move at every site that makes sense there. A number keeps its type and its way of writing."""

    name = "literals"
    share = 0.4
    remembers = False

    def propose(self, script: Script, history: Sequence[Trial] = ()) -> Iterator[Candidate]:
        """See `Generator.propose`."""
        for sites, move in moves(script):
            edit = Edit(tuple(Change(site.name, site.code, move.new) for site in sites))
            yield Candidate(edit, self.name, move.operator, move.direction, move.magnitude, odds=_odds(move))


def _odds(move: Move) -> float:
    """Log-odds against a bold step, as measured: docs/log.md, "the space of edits"."""
    if move.operator in ("toggle", "choose"):
        return SWITCH if move.operator == "toggle" else EXCHANGE
    return 0.0 if BOLD[0] <= move.magnitude <= BOLD[1] else TIMID


def moves(script: Script) -> Iterator[tuple[tuple[Site, ...], Move]]:
    """All moves of a script, some of which may give the same text, and the sites that they change at once."""
    sites = script.sites
    divisors = script.divisors
    uses = Uses(script.syntax, [site for site in sites.values() if site.kind in ("int", "float")])
    for site in sites.values():
        if site.kind == "int":
            found = _int_moves(site, uses.of(site), divisors)
        elif site.kind == "float":
            found = (m for m in _float_moves(site, uses.of(site)) if float(m.new) or not uses.divides(site))
        else:
            found = _other_moves(site, uses.word(site))
        yield from (((site,), move) for move in found)
    for names in ties(script.syntax, divisors.definitions):
        tied = tuple(sites[name] for name in names)
        for move in _int_moves(tied[0], Use.SCALE, None):
            if divisors.keep(dict.fromkeys(names, int(move.new))):
                yield tied, move


def _float_moves(site: Site, use: Use) -> Iterator[Move]:
    value = float(site.code)
    if not math.isfinite(value) or use is Use.FIXED:
        return
    for new in _LADDERS.get(use, ladders.scaled)(Decimal(site.code)):
        code = _float_code(new, site.code)
        may_be = float(code) != 0.0 or new == 0  # not by underflow
        may_be = may_be and (float(code) < 1.0 or new >= 1)  # nor by rounding
        if math.isfinite(float(code)) and float(code) != value and may_be:
            yield _number_move(code, value, float(code), "scale", near_one=use is Use.MOMENTUM)


def _float_code(value: Decimal, like: str) -> str:
    """A float literal in the style of another one: with or without exponent."""
    value = value.normalize(_EXACT)
    marker = next((letter for letter in "eE" if letter in like), "")
    if value == 0 or (not marker and value.adjusted() in _FIXED_POINT):
        text = format(value, "f")
        return text if "." in text else f"{text}.0"
    mantissa = format(value.scaleb(-value.adjusted()), "f")
    return f"{mantissa}{marker or 'e'}{value.adjusted()}"


def _int_moves(site: Site, use: Use, divisors: Divisors | None) -> Iterator[Move]:
    old = int(site.code)
    style = "_" if "_" in site.code else ""
    for new, operator in _int_values(site, divisors) if use is not Use.FIXED else ():
        same_sign = new * old > 0 or (old == 0 and new > 0)
        wrong_way = (use is Use.LONGER and new < old) or (use is Use.SHORTER and new > old)
        if new == old or not same_sign or wrong_way or abs(new) > LARGEST_INT:
            continue
        if divisors is None or divisors.keep({site.name: new}):
            yield _number_move(format(new, style), old, new, operator)


def _int_values(site: Site, divisors: Divisors | None) -> Iterator[tuple[int, str]]:
    old = int(site.code)
    if divisors is None:
        yield from ladders.integers(old)
    elif found := divisors.of(site.name):
        near = [new for new in found if new != old and old <= 8 * new and new <= 8 * old]
        near.sort(key=lambda new: abs(math.log(new / old)))
        yield from ((new, "step" if abs(new - old) == 1 else "scale") for new in sorted(near[:MOST_DIVISORS]))
    elif divisors.is_loose(site.name):
        yield from ((old // n, "scale") for n in (4, 2) if old % n == 0)
        yield from ((old * n, "scale") for n in (2, 4))
    else:
        yield from ladders.integers(old, divisors.multiple(site.name))


def _number_move(code: str, old: float, new: float, operator: str, near_one: bool = False) -> Move:
    direction = (new > old) - (new < old)
    before, after = (1 - old, 1 - new) if near_one else (old, new)
    magnitude = abs(math.log(after / before)) if before and after else 1.0
    return Move(code, operator, direction, magnitude)


def _other_moves(site: Site, word: str) -> Iterator[Move]:
    if site.kind == "bool":
        if word not in ONLY_ON or site.code == "False":
            yield Move("False" if site.code == "True" else "True", "toggle")
        return
    yield from (Move(choice, "choose") for choice in site.choices if choice != site.code)
