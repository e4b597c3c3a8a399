"""Ladders of new values for a number, from fine over medium and coarse to drastic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Context, Decimal

SCALES = tuple(
    Decimal(f) for f in ("0.03", "0.1", "0.3", "0.5", "0.7", "0.85", "1.2", "1.4", "2", "3", "10", "30")
)
DISTANCES = SCALES[1:-1]  # of a momentum to 1
ODDS = tuple(Decimal(f) for f in ("0.03", "0.1", "0.3", "0.6", "1.6", "3", "10", "30"))
EPSILONS = tuple(Decimal(f) for f in ("0.001", "0.1", "10", "1000"))
FACTORS = tuple(
    Decimal(f) for f in ("0.125", "0.25", "0.5", "0.75", "0.9", "1.1", "1.25", "1.5", "2", "4", "8")
)

FROM_ZERO = (Decimal("0.01"), Decimal("0.1"))
SHARES_FROM_ZERO = tuple(Decimal(f) for f in ("0.02", "0.05", "0.1", "0.2"))
SHARES_FROM_ONE = tuple(Decimal(f) for f in ("0.25", "0.5", "0.75", "0.9"))
MOMENTA_FROM_ZERO = (Decimal("0.5"), Decimal("0.9"))
MOST_CHANCE = Decimal("0.7")  # what is dropped more often than that cannot be learnt from
LARGE = 8  # from here on integers are scaled; below they are stepped

_ROUND = Context(prec=3)
_EXACT = Context(prec=60)


def scaled(old: Decimal) -> Iterator[Decimal]:
    """Multiples of a quantity."""
    yield from FROM_ZERO if old == 0 else (_ROUND.multiply(old, factor) for factor in SCALES)


def near_one(old: Decimal) -> Iterator[Decimal]:
    """Multiples of the distance to 1, down from 0.5 those of the odds: never 1 or more."""
    if old == 0:
        yield from MOMENTA_FROM_ZERO
    elif old <= Decimal("0.5"):
        yield from _odds(old)
    else:
        distances = (_ROUND.multiply(_EXACT.subtract(Decimal(1), old), factor) for factor in DISTANCES)
        yield from (_EXACT.subtract(Decimal(1), distance) for distance in distances if distance < 1)


def shares(old: Decimal) -> Iterator[Decimal]:
    """Nothing at all, and multiples of the odds: all in [0, 1)."""
    if old == 1:
        yield from SHARES_FROM_ONE
    elif old == 0:
        yield from SHARES_FROM_ZERO
    else:
        yield Decimal(0)
        yield from _odds(old)


def chances(old: Decimal) -> Iterator[Decimal]:
    """Shares that leave enough."""
    return (new for new in shares(old) if new <= max(old, MOST_CHANCE))


def epsilons(old: Decimal) -> Iterator[Decimal]:
    """Far apart: nearer ones make no difference."""
    yield from FROM_ZERO if old == 0 else (_ROUND.multiply(old, factor) for factor in EPSILONS)


def integers(old: int, multiple: int = 1) -> Iterator[tuple[int, str]]:
    """Steps of a small integer, round multiples of a large one; with the operator that makes them.

    Args:
        old: the value.
        multiple: what all new values are multiples of.
    """
    if abs(old) < LARGE and multiple == 1:
        yield from ((old - 1, "step"), (old + 1, "step"))
        if abs(old) >= 4:
            yield from ((old - 2, "step"), (old + 2, "step"))
        yield from ((2 * old, "scale"), (old // 2, "scale"), (4 * old, "scale"), (old // 4, "scale"))
        return
    grain = math.lcm(multiple, _grain(old))
    if multiple > 1 and abs(old) >= 2 * LARGE and old % 8 == 0:
        grain = math.lcm(grain, 8)
    for factor in FACTORS:
        target = _EXACT.multiply(old, factor)
        # Where the grain is too coarse for a large step down, that of what it must be a multiple of will do.
        unit = grain if abs(target) >= grain else multiple
        yield _rounded(target, unit, away_from=old), "scale"


def _rounded(target: Decimal, grain: int, away_from: int) -> int:
    count = int((target / grain).to_integral_value())
    if count * grain == away_from:
        count += 1 if target > away_from else -1
    return count * grain


def _grain(old: int) -> int:
    """The largest power of 2 or 10 that divides an integer at least eight times."""
    size = abs(old)
    twos = [1 << n for n in range(size.bit_length()) if size % (1 << n) == 0 and 8 << n <= size]
    tens = [power for n in range(20) if size % (power := int(f"1{'0' * n}")) == 0 and 8 * power <= size]
    fast = [8] if size >= 4 * LARGE and size % 8 == 0 else []  # what machines multiply fast
    return max([1, *twos, *tens, *fast])


def _odds(old: Decimal) -> Iterator[Decimal]:
    rest = _EXACT.subtract(Decimal(1), old)
    for factor in ODDS:
        share = _EXACT.divide(old * factor, old * factor + rest)
        if share <= Decimal("0.5"):
            yield _coarse(share)
        else:
            yield 1 - _coarse(_EXACT.subtract(Decimal(1), share))


def _coarse(share: Decimal) -> Decimal:
    return Context(prec=1 if share < Decimal("0.1") else 2).plus(share)
