"""The numbers of a script that a person would give to an optimizer of black boxes, and ranges for them."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from autoresearch_rl.agent.scripts import finite
from autoresearch_rl.records import Candidate, Change, Edit

MOST = 16
REACH = math.log(10.0)  # to either side of a real number, on its scale
REACH_OF_INTEGERS = math.log(4.0)

# What matters most comes first. Four letters or more match the beginning of a name's part ("embed" matches
# "embedding"), fewer only a whole one ("lr" must not match "lru").
WORDS: tuple[tuple[str, ...], ...] = (
    ("lr", "learning"),
    ("batch", "bs", "accum"),
    ("width", "dim", "dims", "embd", "embed", "hidden", "channel", "ff", "mlp"),
    ("depth", "layer"),
    ("head", "kv"),
    ("decay", "wd"),
    ("beta", "momentum", "ema"),
    ("warm",),
    ("cool", "warmdown", "schedule", "anneal"),
    ("drop",),
    ("clip",),
    ("init", "std"),
    ("seq", "sequence", "context", "window"),
    ("optim", "adam", "muon", "sgd"),
    ("norm",),
    ("act", "activation", "gelu", "relu", "silu"),
)

_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

LARGEST = math.log(1.79e308)
"""Of a size: larger ones would be infinite when they are rounded."""


class Scale(StrEnum):
    """On which a number is searched."""

    LOG = "log"
    ODDS = "odds"  # log-odds, of what lies between 0 and 1: a momentum, a share of the budget
    LINEAR = "linear"  # of what is zero by default

    def of(self, size: float) -> float:
        """Where a size, positive or zero, is on the scale."""
        if self is Scale.LINEAR:
            return size
        return math.log(size / (1.0 - size)) if self is Scale.ODDS else math.log(size)

    def size(self, value: float) -> float:
        """Inverse of `of`, with three digits; of a share near one, of what it lacks to one."""
        if self is not Scale.ODDS:
            return float(f"{value if self is Scale.LINEAR else math.exp(min(value, LARGEST)):.3g}")
        rest = float(f"{1.0 / (1.0 + math.exp(abs(value))):.3g}")
        return rest if value < 0.0 else round(1.0 - rest, 12)


@dataclass(frozen=True, slots=True)
class Knob:
    """One number. Where it is negative, its sign stays and `low`, `high` and `grid` are sizes.

    Attributes:
        place: the name of its site.
        default: its text in the first script.
        scale: on which it is searched.
        low, high: between which sizes; the default's is one of them or lies between.
        grid: which sizes an integer may have, ascending; empty for a real number.
    """

    place: str
    default: str
    scale: Scale
    low: float
    high: float
    grid: tuple[int, ...]

    def text(self, step: float) -> str:
        """What is written for a step between -1 for `low` and 1 for `high`; the default for 0.

        So the default is in the middle for any sampler, wherever it is between `low` and `high`.
        """
        middle = self.scale.of(abs(float(self.default)))
        end = self.scale.of(self.high if step > 0.0 else self.low)
        new = self._size(middle + abs(step) * (end - middle))
        return self.default if new == self._size(middle) else f"{'-' * self.default.startswith('-')}{new!r}"

    def _size(self, value: float) -> float:
        """The size that is written for a value on the scale."""
        if not self.grid:
            return self.scale.size(value)
        return min(self.grid, key=lambda size: abs(self.scale.of(size) - value))


def choose_knobs(candidates: Sequence[Candidate]) -> list[Knob]:
    """Up to `MOST` numbers: first those whose names say that they matter, in the order of `WORDS`.

    What was offered for a number says what makes sense there: what it has to stay below, what it divides,
    and which way it may go.
    """
    offered: dict[str, list[Change]] = defaultdict(list)
    for candidate in candidates:
        single = candidate.generator == "literals" and len(candidate.edit.changes) == 1
        if single and candidate.operator in ("scale", "step") and _is_number(candidate.edit.changes[0]):
            offered[candidate.edit.changes[0].site].append(candidate.edit.changes[0])
    knobs = [_knob(place, changes) for place, changes in offered.items()]
    return sorted(knobs, key=lambda knob: (rank(knob.place), knob.place))[:MOST]


def present(candidates: Iterable[Candidate], knobs: Sequence[Knob]) -> dict[str, str]:
    """The texts, by place, of the knobs that may be turned now: something is offered for them."""
    places = {knob.place for knob in knobs}
    changes = (change for candidate in candidates for change in candidate.edit.changes)
    return {change.site: change.old for change in changes if change.site in places}


def edit_to(steps: Mapping[str, float], knobs: Sequence[Knob], texts: Mapping[str, str]) -> Edit:
    """The edit that takes these steps from the defaults, where a script now has `texts`; others stay."""
    changes = []
    for knob in knobs:
        old, new = texts.get(knob.place), knob.text(steps[knob.place])
        if old is not None and float(old) != float(new):
            changes.append(Change(knob.place, old, new))
    return Edit(tuple(changes))


def _knob(place: str, changes: Sequence[Change]) -> Knob:
    default = changes[0].old
    size, offered = abs(float(default)), {abs(float(change.new)) for change in changes}
    whole = all(map(_is_integer, (default, *(change.new for change in changes))))
    scale = _scale(size, offered, whole)
    low, high = _range(scale, size, offered, REACH_OF_INTEGERS if whole else REACH)
    grid = _grid(int(size), set(map(int, offered))) if whole else ()
    return Knob(place, default, scale, low, high, tuple(n for n in grid if low <= n <= high))


def _scale(size: float, offered: Iterable[float], whole: bool) -> Scale:
    if size == 0.0:
        return Scale.LINEAR
    # A momentum or a share was offered values up to almost one, and none beyond.
    return Scale.ODDS if not whole and 0.5 < max(size, *offered) < 1.0 else Scale.LOG


def _range(scale: Scale, size: float, offered: Iterable[float], reach: float) -> tuple[float, float]:
    """What was offered, zero left out, but no further than the reach."""
    if scale is Scale.LINEAR:
        return 0.0, max(offered)
    found = [size, *(other for other in offered if other > 0.0)]
    middle = scale.of(size)
    return max(min(found), scale.size(middle - reach)), min(max(found), scale.size(middle + reach))


def _grid(size: int, offered: set[int]) -> list[int]:
    """What an integer may be: any multiple of the grain, if those next to it were offered, too.

    Else (a number of heads has to divide a width) only what was offered.
    """
    known = {size, *offered}
    grain = math.gcd(*known)
    if {size - grain, size + grain} <= known:
        return list(range(min(known), max(known) + 1, grain))
    return sorted(known)


def _is_number(change: Change) -> bool:
    """Whether both texts are plain numbers: a problem of one's own may offer anything."""
    return finite(change.old) is not None and finite(change.new) is not None


def _is_integer(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def rank(place: str) -> int:
    """The first entry of `WORDS` that a part of the place's name matches; their number if none does."""
    parts = [part.lower() for part in _NAME_PART.findall(place)]
    ranks = (i for i, words in enumerate(WORDS) if any(_matches(p, word) for p in parts for word in words))
    return next(ranks, len(WORDS))


def _matches(part: str, word: str) -> bool:
    return part.startswith(word) if len(word) >= 4 else part == word
