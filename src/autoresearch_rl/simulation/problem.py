"""Made research problems: scripts as places with values, and the true bits per byte of each.

A problem has what real ones have: numbers with an optimum somewhere else than the baseline, of which few
matter much; optima that move with other numbers, so that two have to move together; switches and choices;
recipes, of which few help, which get in each other's way within a family and bring numbers of their own;
mutations, which mostly hurt; cliffs behind which a run crashes. Gains multiply what is left to gain, so that
they become rare as a study goes on.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from autoresearch_rl.records import Candidate, Change, Edit

Values = Mapping[str, str]
"""Text of each place."""


class Problem(Protocol):
    """What a simulated study is about. Scripts are texts of one line per place."""

    sigma: float  # standard deviation of one measurement, bits per byte
    baseline: str

    def candidates(self, source: str) -> Sequence[Candidate]:
        """Single edits of a script."""
        ...

    def apply(self, source: str, edit: Edit) -> str:
        """The script with an edit.

        Raises:
            KeyError: The edit does not fit.
        """
        ...

    def truth(self, source: str) -> float | None:
        """Its bits per byte without noise; None if it crashes."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """What kind of problem: how many places of each sort, how far from good, how noisy.

    All in units of the logarithm of what is left to gain, unless said otherwise.
    """

    numbers: int = 20
    choices: int = 4
    recipes: int = 40
    mutations: int = 40
    ladder: tuple[float, ...] = (0.03, 0.1, 0.3, 0.5, 0.7, 0.85, 1.2, 1.4, 2.0, 3.0, 10.0, 30.0)
    inert: float = 0.3  # share of the numbers that do not matter
    curvature: float = 0.03  # median loss of a number at a factor of e from its optimum
    spread: float = 1.2  # deviation of the logarithm of curvatures: few numbers matter much
    distance: float = 0.8  # deviation of a number's optimum from the baseline, as a logarithm
    coupled: float = 0.3  # share of the numbers whose optimum moves with another number
    helps: float = 0.3  # share of the recipes that help
    gain: float = 0.02  # median gain of those
    start: float = 3.8  # bits per byte of the baseline
    floor: float = 0.6  # share of it that nothing can gain
    noise: float = 0.01  # of one measurement, as a share of what can be gained


NAMES: tuple[tuple[str, float], ...] = (
    *(("LEARNING_RATE", 1.5), ("BATCH_SIZE", 1.5), ("WIDTH", 1.0), ("DEPTH", 1.0), ("SEQ_LEN", 0.8)),
    *(("WEIGHT_DECAY", -0.5), ("BETAS[0]", 0.0), ("BETAS[1]", 0.0), ("WARMUP", -0.3), ("COOLDOWN", 0.3)),
    *(("INIT_STD", 0.2), ("HEADS", -0.5), ("MLP_RATIO", 0.0), ("DROPOUT", 0.3), ("GRAD_CLIP", -0.5)),
    *(("EMBED_LR", 0.5), ("HEAD_LR", 0.3), ("ROPE_BASE", -0.8), ("SOFTCAP", -0.5), ("ADAM_EPS", -1.0)),
    *(("NORM_EPS", -1.0), ("MOMENTUM", 0.0), ("EMA_DECAY", -0.5), ("WINDOW", -0.3), ("KV_HEADS", -0.5)),
)
"""Names of numbers, and how much more or less than others they tend to matter, as a logarithm."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A number: what it costs to be off its optimum, on the scale of steps."""

    start: float
    optimum: float
    curvature: float
    sides: tuple[float, float]  # how much steeper below and above
    cliff: float  # a step of this size up and a run crashes
    partner: str = ""  # whose distance from its own baseline moves the optimum
    pull: float = 0.0

    def loss(self, value: float, partner: float) -> float:
        """Of a value, with its partner a logarithm of `partner` away from the baseline."""
        step = math.log(value / self.start)
        if step > self.cliff:
            return math.inf
        off = step - self.optimum - self.pull * partner
        # Like a parabola near the optimum, like a line far from it.
        return self.curvature * self.sides[off > 0] * off * off / (1.0 + 0.5 * abs(off))


class MadeProblem:
    """One drawn problem.

    Args:
        shape: what kind of problem.
        seed: same seed, same problem.
    """

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape = shape
        self.sigma = shape.noise * shape.start * (1.0 - shape.floor)
        dice = random.Random(seed)
        self._numbers = _draw_numbers(shape, dice)
        self._choices = {f"choice_{i}": _draw_choice(shape, dice) for i in range(shape.choices)}
        self._structures: dict[str, _Structure] = {}
        self._knobs: dict[str, _Number] = {}
        for i in range(shape.recipes):
            family = dice.choice(FAMILIES)
            self._add_recipe(f"{family}_{i}", family, dice)
        for i in range(shape.mutations):
            rule = dice.choice(RULES)
            self._structures[f"{rule}@{i}"] = _draw_mutation(rule, shape, dice)
        values = {name: _text(number.start) for name, number in self._numbers.items()}
        values |= dict.fromkeys(self._choices, "a")
        self.baseline = _written(values)
        self._at_baseline = self._gain(values)
        self._offers: dict[tuple[str, str], tuple[Candidate, ...]] = {}

    def _add_recipe(self, name: str, family: str, dice: random.Random) -> None:
        knob = ""
        if dice.random() < 0.5:
            knob = f"{name.upper()}_RATE"
            self._knobs[knob] = _draw_number(self.shape, dice, dice.gauss(-0.5, self.shape.spread))
        helps = dice.random() < self.shape.helps
        gain = _heavy(dice, self.shape.gain) * (1.0 if helps else -1.0)
        odds = max(-1.5, min(1.5, dice.gauss(0.4 if helps else -0.2, 0.5)))
        crashes = dice.random() < 0.005
        self._structures[name] = _Structure("recipes", family, math.nan if crashes else gain, odds, knob)

    def apply(self, source: str, edit: Edit) -> str:
        """The script with an edit.

        Raises:
            KeyError: A place has another value than the edit expects.
        """
        values = dict(_read(source))
        for change in edit.changes:
            if values.get(change.site, "") != change.old:
                raise KeyError(change.site)
            if change.new:
                values[change.site] = change.new
            else:
                del values[change.site]
            structure = self._structures.get(change.site)
            if structure and structure.knob and change.new:
                values.setdefault(structure.knob, _text(self._knobs[structure.knob].start))
        return _written(values)

    def truth(self, source: str) -> float | None:
        """See `Problem`."""
        gain = self._gain(_read(source)) - self._at_baseline
        if not math.isfinite(gain):
            return None
        left = math.exp(-gain) if gain > 0.0 else 1.0 - gain
        return self.shape.start * (self.shape.floor + (1.0 - self.shape.floor) * left)

    def _gain(self, values: Values) -> float:
        """What a script has gained, in the logarithm of what is left; not finite where it crashes."""
        total, families = 0.0, defaultdict[str, list[float]](list)
        for place, text in values.items():
            if number := self._numbers.get(place) or self._knobs.get(place):
                partner = self._numbers.get(number.partner)
                away = math.log(float(values[number.partner]) / partner.start) if partner else 0.0
                total -= number.loss(float(text), away)
            elif place in self._choices:
                total += self._choices[place][text]
            else:
                structure = self._structures[place]
                families[structure.operator if structure.generator == "recipes" else place].append(
                    structure.gain
                )
        for gains in families.values():  # in one family the second good idea adds little to the first
            gains.sort(reverse=True)
            total += gains[0] + sum(gain * (CROWDED if gain > 0.0 else 1.0) for gain in gains[1:])
        return total

    def candidates(self, source: str) -> list[Candidate]:
        """See `Problem`."""
        values = _read(source)
        found = [candidate for place, text in values.items() for candidate in self._offered(place, text)]
        for topic in self._structures:
            if topic not in values:
                found += self._offered(topic, "")
        return found

    def _offered(self, place: str, text: str) -> tuple[Candidate, ...]:
        if (place, text) not in self._offers:
            self._offers[place, text] = tuple(self._make(place, text))
        return self._offers[place, text]

    def _make(self, place: str, text: str) -> Iterator[Candidate]:
        """The candidates at a place that has this value."""
        if place in self._numbers or place in self._knobs:
            for factor in self.shape.ladder:
                edit = Edit((Change(place, text, _text(float(text) * factor)),))
                size = abs(math.log(factor))
                yield Candidate(edit, "literals", "scale", 1 if factor > 1.0 else -1, size)
        elif place in self._choices:
            for other in self._choices[place]:
                if other != text:
                    yield Candidate(Edit((Change(place, text, other),)), "literals", "choose", 0, 1.0)
        elif not text:
            structure = self._structures[place]
            edit = Edit((Change(place, "", "on"),))
            kind = structure.generator, structure.operator
            yield Candidate(edit, *kind, 0, 1.0, topic=place, odds=structure.odds)


CROWDED = 0.3  # what is left of a gain where one of the family is there already
FAMILIES = (
    *("attention", "optimizer", "schedule", "residual", "init", "norm", "mlp"),
    *("mixing", "regulariser", "averaging", "loss", "output"),
)
RULES = ("scale", "normalise", "initialise", "gate", "arithmetic", "swap", "wrap", "delete", "residual")


@dataclass(frozen=True, slots=True)
class _Structure:
    """A recipe or a mutation: what it gains when it is on, nan if it crashes."""

    generator: str
    operator: str
    gain: float
    odds: float
    knob: str = ""  # a number that comes with it


def _draw_numbers(shape: Shape, dice: random.Random) -> dict[str, _Number]:
    names = dice.sample(NAMES, min(shape.numbers, len(NAMES)))
    names += [(f"CONSTANT_{i}", dice.gauss(0.0, 0.5)) for i in range(shape.numbers - len(names))]
    numbers = {name: _draw_number(shape, dice, weight) for name, weight in names}
    for name, number in numbers.items():
        partner = dice.choice(names)[0]
        if dice.random() < shape.coupled and partner != name:
            numbers[name] = replace(
                number, partner=partner, pull=dice.choice((-1, 1)) * dice.uniform(0.3, 1.0)
            )
    return numbers


def _draw_number(shape: Shape, dice: random.Random, weight: float) -> _Number:
    curvature = shape.curvature * math.exp(dice.gauss(weight, shape.spread))
    optimum = dice.gauss(0.0, shape.distance)
    return _Number(
        start=10.0 ** dice.randint(-3, 2),
        optimum=optimum,
        curvature=0.0 if dice.random() < shape.inert else curvature,
        sides=(dice.uniform(0.5, 1.5), dice.uniform(0.5, 1.5)),
        cliff=max(optimum, 0.0) + dice.uniform(0.5, 3.0) if dice.random() < 0.1 else math.inf,
    )


def _draw_choice(shape: Shape, dice: random.Random) -> dict[str, float]:
    """What each value gains over the first."""
    others = "bcdefg"[: dice.randint(1, 6)]
    return {"a": 0.0} | {name: _mostly_worse(shape, dice, 0.15) for name in others}


def _draw_mutation(rule: str, shape: Shape, dice: random.Random) -> _Structure:
    gain = math.nan if dice.random() < 0.004 else _mostly_worse(shape, dice, 0.05)
    return _Structure("grammar", rule, gain, dice.uniform(-0.8, 0.4))


def _mostly_worse(shape: Shape, dice: random.Random, helps: float) -> float:
    kind = dice.random()
    if kind < helps:
        return _heavy(dice, shape.gain)
    return 0.0 if kind < helps + 0.2 else -_heavy(dice, 2.0 * shape.gain)


def _heavy(dice: random.Random, median: float) -> float:
    return dice.lognormvariate(math.log(median), 1.2)


def _text(value: float) -> str:
    return f"{value:.3g}"


@lru_cache(maxsize=4096)
def _read(source: str) -> Values:
    return dict(line.split("=") for line in source.splitlines())


def _written(values: Values) -> str:
    return "\n".join(f"{place}={values[place]}" for place in sorted(values))
