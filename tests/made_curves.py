"""Learning curves with known ends: a power law, and a drop while the learning rate cools down."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoresearch_rl.judgement.curves import Curve

COLUMNS = ("run", "kind", "step", "total_steps", "time_s", "loss", "bpb")


@dataclass(frozen=True)
class Recipe:
    """What one script does. The cooldown takes the last `cooldown` of the run and gains `gain`."""

    floor: float = 0.8
    range: float = 0.35
    exponent: float = 0.35
    cooldown: float = 0.4
    gain: float = 0.08

    def cooled(self, progress: np.ndarray) -> np.ndarray:
        return np.clip((progress - 1 + self.cooldown) / self.cooldown, 0, 1)

    def run(
        self, rng: np.random.Generator, readings: int = 15, noise: float = 0.001, report: bool = False
    ) -> Curve:
        """One run with `readings` noisy readings, and with its learning rate if `report`."""
        t = np.arange(1, readings + 1) / readings
        values = self.floor + self.range * t**-self.exponent - self.gain * self.cooled(t)
        values += rng.normal(0, noise, readings)
        rates = zip(t, 1 - self.cooled(t), strict=True) if report else ()
        return Curve.of(zip(t, values, strict=True), rates)


def edited(recipe: Recipe, rng: np.random.Generator, size: float = 1.0) -> Recipe:
    """A script a few edits away."""
    return replace(
        recipe,
        floor=recipe.floor + rng.normal(0, 0.01 * size),
        range=recipe.range * np.exp(rng.normal(0, 0.05 * size)),
        exponent=recipe.exponent * np.exp(rng.normal(0, 0.05 * size)),
        gain=recipe.gain * np.exp(rng.normal(0, 0.1 * size)),
    )


def made_study(seed: int, runs: int, repeats: float = 0.3) -> list[Curve]:
    """Runs of scripts that wander, some of them run again."""
    rng = np.random.default_rng(seed)
    recipe, curves = Recipe(), []
    for _ in range(runs):
        if rng.random() > repeats:
            recipe = edited(Recipe(), rng)
        curves.append(recipe.run(rng))
    return curves


def rows_of(name: str, curve: Curve, seconds: float = 300.0, total: int = 1000) -> list[tuple[object, ...]]:
    """Rows of a curve file, in bits per byte and nats. `seconds` is when the budget ends."""
    return [
        (name, "val", round(total * p), total, float(p * seconds), float(3 * v), float(v))
        for p, v in zip(curve.progress, curve.values, strict=True)
    ]


def write_csv(path: Path, rows: Sequence[Sequence[object]], columns: Sequence[str] = COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path
