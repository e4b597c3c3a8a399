"""What scripts would measure that nobody has run: a surrogate fitted to real trials, for the replay suite.

The logarithm of what a script has above a floor (`Scale`) is a ridge regression on places (numbers with a
kink at the baseline) plus boosted trees on what that leaves. Places that no trial has touched get an effect
drawn from those of their kind, the worse of two draws: what is unknown never looks like a discovery.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoresearch_rl.agent.scripts import Config
from autoresearch_rl.records import TrialKind, Verdict
from autoresearch_rl.simulation.design import Array, Design
from autoresearch_rl.simulation.recorded import RealTrials, Recorded
from autoresearch_rl.simulation.trees import Trees

NEAREST = 0.72  # of the best score of all, what nothing comes near
WORST = 8.0  # bits per byte: a model that knows nothing
RIDGE = 10.0
PRUNED_WEIGHT = 0.4  # of a forecast, beside a measurement
DRAWS = 2  # of an unknown effect; the worst counts
BELIEF = 2.0  # trials that the rate of crashes of a kind counts for, beside those of a place

Kind = tuple[str, str]
"""Generator and operator."""


@dataclass(frozen=True, slots=True)
class Scale:
    """On which effects add up: the logarithm of the bits per byte above a floor."""

    floor: float

    @classmethod
    def of(cls, real: RealTrials) -> Scale:
        """That of a task."""
        return cls(
            NEAREST * min((t.value for t in real.trials if t.value and 0 < t.value < WORST), default=WORST)
        )

    def height(self, bpb: float) -> float:
        """Of a score."""
        return math.log(min(max(bpb, 1.05 * self.floor), WORST) - self.floor)

    def depth(self, height: float) -> float:
        """The score at a height: the inverse."""
        return min(WORST, self.floor + math.exp(height))


class Response:
    """Bits per byte of any script.

    Args:
        real: the trials to fit.
        seed: of the trees, and of the effects of what was never tried.
    """

    def __init__(self, real: RealTrials, seed: int = 0) -> None:
        self.scale = Scale.of(real)
        trials = [t for t in real.trials if t.value is not None and math.isfinite(t.value)]
        self._design = Design([t.config for t in trials], real.defaults)
        target = np.array([self.scale.height(t.value or WORST) for t in trials])
        weight = np.array([PRUNED_WEIGHT if t.verdict is Verdict.PRUNED else 1.0 for t in trials])
        columns, switches = self._design.rows([t.config for t in trials])
        self._mean = float(np.average(target, weights=weight))
        self._slopes = _ridge(columns, target - self._mean, weight / weight.mean())
        self._trees = Trees(switches, target - self._mean - columns @ self._slopes, weight, seed)
        self.unknown = Unknown(real, seed, self.scale)

    def bpb(self, config: Config, kinds: Mapping[str, Kind]) -> float | None:
        """Of a script by its differences from the task's baseline; None if it crashes.

        Args:
            config: places and values.
            kinds: who proposes edits of a place, where that is known.
        """
        if any(self.unknown.crashes(place, text, _kind(place, kinds)) for place, text in config.items()):
            return None
        return self.scale.depth(float(self.predict([config])[0]) + self.extra(config, kinds))

    def predict(self, configs: Sequence[Config]) -> Array:
        """The height of scripts as far as it was seen, `[n]`."""
        columns, switches = self._design.rows(configs)
        result: Array = self._mean + columns @ self._slopes + self._trees.predict(switches)
        return result

    def extra(self, config: Config, kinds: Mapping[str, Kind]) -> float:
        """What places and values add that were never seen."""
        total = 0.0
        for place, text in config.items():
            step, kind = self._design.step(place, text), _kind(place, kinds)
            side = "" if step is None else "+" if step > 0 else "-"
            size = 1.0 if step is None else min(1.0, abs(step))
            if not self._design.knows(place, text):
                total += self.unknown.effect(place, side, kind) * size
            elif step is not None and (outside := self._design.outside(place, step)):
                total += abs(self.unknown.effect(place, f"outside {side}", kind)) * outside
        return total


class Unknown:
    """Effects and crashes of what was not tried, by those of its kind. The same place, the same draw."""

    def __init__(self, real: RealTrials, seed: int, scale: Scale) -> None:
        self._seed, self._scale = seed, scale
        self._ran = {
            item for trial in real.trials if trial.value is not None for item in trial.config.items()
        }
        self._effects: dict[Kind, list[float]] = defaultdict(list)
        self._tries: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # of a place: tries, crashes
        self._rates: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # of a generator
        for trial in real.trials:
            if trial.kind is TrialKind.EXPLORE and trial.parts:
                self._take_in(trial)
        for found in self._effects.values():
            found.sort()

    def _take_in(self, trial: Recorded) -> None:
        names = [*(place for part in trial.parts for place in part.places)]
        for tally in (
            *(self._tries[name] for name in names),
            *(self._rates[p.generator] for p in trial.parts),
        ):
            tally[0] += 1
            tally[1] += trial.failed
        if len(trial.parts) == 1 and trial.value is not None and trial.leader is not None:
            part, height = trial.parts[0], self._scale.height
            effect = height(trial.value) - height(trial.leader)
            for kind in ((part.generator, part.operator), (part.generator, ""), ("", "")):
                self._effects[kind].append(effect)

    def effect(self, place: str, side: str, kind: Kind) -> float:
        """Added to the height: the worst of some draws from the effects of its kind."""
        found = self._effects_of(kind)
        draws = [self._draw(f"effect {n} {place} {side}") for n in range(DRAWS)]
        return found[int(max(draws) * len(found))] if found else 0.0

    def _effects_of(self, kind: Kind, least: int = 8) -> list[float]:
        choices = (kind, (kind[0], ""), ("", ""))
        return next((e for k in choices if len(e := self._effects.get(k, [])) >= least), [])

    def crashes(self, place: str, text: str, kind: Kind) -> bool:
        """Whether a script with this value fails; what has run does not."""
        if (place, text) in self._ran:
            return False
        tries, failed = self._tries.get(place, (0, 0))
        of_kind = self._rates.get(kind[0], (0, 0))
        rate = (of_kind[1] + 0.5) / (of_kind[0] + 100.0)
        return self._draw(f"crash {place} {text}") < (failed + rate * BELIEF) / (tries + BELIEF)

    def _draw(self, what: str) -> float:
        digest = hashlib.sha256(f"{self._seed}:{what}".encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:7], "big") / 2.0**56


def noise(real: RealTrials) -> float:
    """Standard deviation of one measurement, bits per byte, pooled within the scripts of each study."""
    runs: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = defaultdict(list)
    for trial in real.trials:
        if trial.bpb is not None:
            runs[trial.study, tuple(sorted(trial.config.items()))].append(trial.bpb)
    again = [np.array(found) for found in runs.values() if len(found) > 1]
    squares = sum(float(((found - found.mean()) ** 2).sum()) for found in again)
    return math.sqrt(squares / max(1, sum(len(found) - 1 for found in again)))


def _kind(place: str, kinds: Mapping[str, Kind]) -> Kind:
    return kinds.get(place, ("literals", ""))


def _ridge(columns: Array, target: Array, weight: Array) -> Array:
    weighted = columns * weight[:, None]
    square = weighted.T @ columns + RIDGE * np.eye(columns.shape[1])
    return np.asarray(np.linalg.solve(square, weighted.T @ target), dtype=np.float64)
