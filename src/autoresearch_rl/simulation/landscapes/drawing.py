"""Draws landscapes by their seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from autoresearch_rl.simulation.landscapes.families import FAMILIES, make_terms
from autoresearch_rl.simulation.landscapes.landscape import Landscape
from autoresearch_rl.simulation.landscapes.places import LADDERS, LEVELS, Array, Drawer, Place
from autoresearch_rl.simulation.landscapes.search import Search
from autoresearch_rl.simulation.landscapes.surface import Flags, Jump, Levels, Surface
from autoresearch_rl.simulation.landscapes.tables import Rng

ATTEMPTS = 100  # most need one or two
MOST = 1000  # candidates
COUNTS = 0.002  # share of what can be gained that an edit has to gain to be one that helps
FEW = 40  # literals where there are hundreds of structural edits


@lru_cache(maxsize=8)
def draw(seed: int, family: str | None = None) -> Landscape:
    """A landscape; families take turns by seed unless one is named.

    Raises:
        ValueError: there is no such family.
    """
    family = family or FAMILIES[seed % len(FAMILIES)]
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, FAMILIES.index(family), attempt, 77])
        if landscape := _draw(rng, family):
            return landscape
    raise AssertionError(f"no landscape of family {family} from seed {seed}")


@dataclass(frozen=True, eq=False)
class _Scene:
    """What is there before it is known how much can be gained."""

    places: list[Place]
    surface: Surface
    jumps: list[Jump]
    far: bool


def _draw(rng: Rng, family: str) -> Landscape | None:
    """One attempt; None if nothing helps, or too much is offered."""
    scene = _scene(rng, family)
    far, noisy = scene.far, bool(rng.random() < 0.25)
    start = float(rng.uniform(1.2, 4.5) if far else rng.uniform(0.9, 1.6))
    headroom = rng.uniform(0.2, 0.8) if far else _log_uniform(rng, 0.012, 0.12)
    noise = _log_uniform(rng, 0.05, 0.5) * (3.0 if noisy else 1.0)  # of a good single edit
    first = _first_steps(scene.places)
    if len(first) > MOST:
        return None
    depth = -Search(scene.surface, scene.places, rng).lowest(scene.jumps)
    if depth < 1e-6:
        return None
    gains = -headroom / depth * scene.surface.values(first)
    helping = gains[(gains > COUNTS * headroom) & ~scene.surface.crashes(first)]
    if not len(helping) and family != "deceptive":
        return None
    good = float(np.quantile(helping, 0.75)) if len(helping) else 0.02 * headroom
    places = _informed(rng, scene.places, first, gains) if rng.random() < 0.4 else scene.places
    best = start * math.exp(-headroom)
    return Landscape(family, places, scene.surface, start, headroom / depth, noise * start * good, best)


def _scene(rng: Rng, family: str) -> _Scene:
    literals, far = round(_log_uniform(rng, 20, 150)), bool(rng.random() < 0.45)
    many = family == "recipes"
    structural = int(rng.integers(60, 250) if many else rng.integers(4, 4 + 2 * literals))
    drawer = Drawer(rng, family, LADDERS[int(rng.integers(len(LADDERS)))])
    places = drawer.draw(min(literals, FEW) if many else literals, structural)
    weights = drawer.weights(places)
    tail = str(rng.choice(["t", "lognormal", "mixture"]))
    low, high = (0.025, 0.06) if family == "sparse" else (0.2, 0.4) if far else (0.04, 0.15)
    helps = rng.uniform(low, high)
    terms, jumps = make_terms(rng, family, places, helps, far, tail, weights)
    crashing = float(rng.choice([0.0, 0.03, 0.08, 0.15]))
    crash, clashes = _crashes(rng, places, crashing), _clashes(rng, places, crashing)
    widths = np.array([place.width for place in places])
    return _Scene(places, Surface(widths, terms, crash, clashes), jumps, far)


def _crashes(rng: Rng, places: Sequence[Place], share: float) -> Flags:
    """By place and level: far away in one direction, or any other text."""
    crash = np.zeros((len(places), 2 * LEVELS + 1), dtype=bool)
    for row, place in zip(crash, places, strict=True):
        if not place.is_number:
            row[LEVELS + 1 :] = rng.random(LEVELS) < share
            continue
        for direction in (-1, 1):
            if rng.random() < 2.0 * share:
                row[::-direction][: LEVELS + 1 - int(rng.integers(2, LEVELS + 1))] = True
    crash[:, LEVELS] = False
    return crash


def _clashes(rng: Rng, places: Sequence[Place], share: float) -> Levels:
    """Pairs of structural edits that crash together."""
    switches = [i for i, place in enumerate(places) if place.is_structural]
    pairs = [rng.choice(switches, 2, replace=False) for _ in range(int(4.0 * share * len(switches)))]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _first_steps(places: Sequence[Place]) -> Array:
    """Coordinates of all that single edits make of the baseline, `[N, P]`."""
    steps = [
        (i, place.x(new))
        for i, place in enumerate(places)
        if place.owner < 0
        for new, _ in place.moves(place.texts[0])
    ]
    x = np.zeros((len(steps), len(places)))
    for row, (i, value) in enumerate(steps):
        x[row, i] = value
    return x


def _informed(rng: Rng, places: Sequence[Place], first: Array, gains: Array) -> list[Place]:
    """The places with generators that know a little."""
    known = list(places)
    for i, gain in zip(np.abs(first).argmax(1), gains, strict=True):
        odds = -0.1
        if places[i].is_structural:
            odds = float(0.4 * rng.normal() + (0.6 if gain > 0.0 else -0.2))
        known[i] = replace(known[i], odds=odds)
    return known


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
