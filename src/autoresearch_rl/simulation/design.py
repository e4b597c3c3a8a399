"""Scripts as rows of numbers: what the surrogate of the replay suite is fitted on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from autoresearch_rl.agent.scripts import Config, number

Array = npt.NDArray[np.float64]

CUTS = (0.25, 0.5, 0.75)  # between neighbouring values of a number: thresholds of the trees


class Design:
    """The places and values that some scripts have.

    A number is one column, the distance of its logarithm from the baseline's, never outside of what was
    seen. Any other value of a place is a column of its own, on or off.

    Args:
        configs: the scripts.
        defaults: the baseline's value of each place.
    """

    def __init__(self, configs: Sequence[Config], defaults: Mapping[str, str]) -> None:
        self._defaults = defaults
        self.numbers: dict[str, int] = {}
        self.values: dict[tuple[str, str], int] = {}
        seen: dict[str, set[float]] = {}
        for config in configs:
            for place, text in config.items():
                if (step := self.step(place, text)) is None:
                    self.values.setdefault((place, text), len(self.values))
                else:
                    self.numbers.setdefault(place, len(self.numbers))
                    seen.setdefault(place, {0.0}).add(step)
        self._cuts = [
            (self.numbers[place], below + share * (above - below))
            for place, steps in seen.items()
            for below, above in zip(sorted(steps), sorted(steps)[1:], strict=False)
            for share in CUTS
        ]
        self._low = np.array([min(seen[place]) for place in self.numbers])
        self._high = np.array([max(seen[place]) for place in self.numbers])

    def step(self, place: str, text: str) -> float | None:
        """How far a number is from the baseline's, on the scale of steps; None for what is no number."""
        default = self._defaults.get(place, "")
        step = number(default, text) - number(default, default)
        return None if math.isnan(step) else step

    def outside(self, place: str, step: float) -> float:
        """How far a step of a known number leads out of the range that was seen."""
        column = self.numbers[place]
        return max(0.0, step - float(self._high[column]), float(self._low[column]) - step)

    def knows(self, place: str, text: str) -> bool:
        """Whether it has a column for this value."""
        return place in self.numbers if self.step(place, text) is not None else (place, text) in self.values

    def rows(self, configs: Sequence[Config]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Columns for a linear model, and switches for trees; what is not known is left out."""
        steps = np.zeros((len(configs), len(self.numbers)))
        on = np.zeros((len(configs), len(self.values)))
        for row, config in enumerate(configs):
            for place, text in config.items():
                if (place, text) in self.values:
                    on[row, self.values[place, text]] = 1.0
                elif place in self.numbers and (step := self.step(place, text)) is not None:
                    steps[row, self.numbers[place]] = step
        steps = np.clip(steps, self._low, self._high)
        above = [steps[:, column] > cut for column, cut in self._cuts]
        switches = np.column_stack([on > 0, *above]) if above else on > 0
        return np.hstack([on, steps, np.maximum(steps, 0.0)]), switches
