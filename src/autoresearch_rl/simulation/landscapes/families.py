"""The families: which terms a landscape is the sum of, and jumps that may lead to its optimum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autoresearch_rl.simulation.landscapes import terms
from autoresearch_rl.simulation.landscapes.places import LEVELS, Array, Place
from autoresearch_rl.simulation.landscapes.surface import Jump, Levels, Term
from autoresearch_rl.simulation.landscapes.tables import Ground, Rng, additive, effects, make_table

FAMILIES = (
    "bowl",  # numbers have an optimum each, turned against one another
    "singles",  # two steps for each number, whose further steps go on as they began, or not
    "table",  # every level of every place is worth something of its own
    "saturating",  # more is better, ever less so, and all gains together have a ceiling
    "cliffs",  # nothing happens at first; then one terrace, then a fall
    "deceptive",  # what gains most are sets of changes of which each alone costs
    "ridge",  # narrow bent valleys: numbers have to move together
    "fourier",  # many waves: many optima
    "recipes",  # hundreds of structural edits, which move the optima of numbers
    "scaling",  # size against tokens at equal compute, with a rate and a batch size that go with them
    "sparse",  # hardly anything helps, but what does is worth a lot
)


def make_terms(
    rng: Rng, family: str, places: Sequence[Place], helps: float, far: bool, tail: str, weights: Array
) -> tuple[list[Term], list[Jump]]:
    """Draws the terms of a family; see `Ground` for the arguments."""
    table = effects(rng, tail, (len(places), 2 * LEVELS + 1), helps)
    ground = _ground(rng, family, places, helps, far, tail, weights)
    table, ceiling = make_table(ground, table)
    groups = _groups(ground)
    first = np.abs(table[:, LEVELS + 1])
    usual = float(np.median(first[first > 0.0])) if first.any() else 0.1
    if family == "deceptive":
        table = np.where(table < 0.0, 0.5 * table, 0.3 * table)
    found, jumps = [additive(table, groups, ceiling)], list[Jump]()
    for extra in EXTRAS.get(family, ()):
        more, known = extra(ground, usual)
        found += more
        jumps += known
    if rng.random() < 0.6:
        pairs = np.array([rng.choice(len(places), 2, replace=False) for _ in places])
        size = usual * rng.uniform(0.2, 0.8) * rng.standard_t(3, len(places))
        found.append(terms.couplings(pairs, size))
    return found, jumps


def _ground(
    rng: Rng, family: str, places: Sequence[Place], helps: float, far: bool, tail: str, weights: Array
) -> Ground:
    numeric = np.array([i for i, p in enumerate(places) if p.is_number and p.owner < 0], dtype=np.int64)
    switches = np.array([i for i, p in enumerate(places) if p.is_structural], dtype=np.int64)
    n = len(numeric)
    spread = np.where(rng.random(n) < 0.7, 1.0, 1.6) * (1.2 if far else 0.35)
    target = spread * rng.normal(size=n)
    weight = np.exp(1.3 * rng.normal(size=n)) * weights[numeric]
    return Ground(rng, family, places, helps, far, tail, weights, numeric, switches, target, weight)


def _groups(ground: Ground) -> list[list[int]]:
    """Structural edits of which only the best counts."""
    rng, switches = ground.rng, ground.switches
    drawn = np.array_split(rng.permutation(switches), max(1, len(switches) // 4))
    return [list(group) for group in drawn if len(group) > 1 and rng.random() < 0.6]


Extra = tuple[list[Term], list[Jump]]


def _synergies(ground: Ground, usual: float) -> Extra:
    """Sets of two or three changes that gain together and cost one by one."""
    rng, places = ground.rng, ground.places
    jumps, gains = list[Jump](), list[float]()
    for _ in range(max(6, len(places) // 6)):
        chosen = rng.choice(len(places), size=2 if rng.random() < 0.75 else 3, replace=False)
        jump = {int(i): _far_enough(places[i], rng) for i in chosen if places[i].owner < 0}
        if len(jump) > 1 and len({places[i].site for i in jump}) == len(jump):
            jumps.append(jump)
            gains.append((ground.size() + 0.5) * (3.0 if ground.family == "deceptive" else 2.0 * usual))
    if not jumps:
        return [], []
    costs = np.array([rng.uniform(0.0, 0.3) * gain for gain in gains])
    return [terms.together(jumps, np.array(gains), costs)], jumps


def _far_enough(place: Place, rng: Rng) -> float:
    domain = place.domain()
    if not place.is_number:
        return float(rng.choice(domain[domain != 0.0]))
    near = domain[(np.abs(domain) >= 0.25) & (np.abs(domain) <= 1.5)]
    return float(rng.choice(near)) if len(near) else float(domain[-1])


def _target(ground: Ground) -> Jump:
    """All numbers where the family's valleys are lowest."""
    return {int(i): float(t) for i, t in zip(ground.numeric, ground.target, strict=True)}


def _bowl(ground: Ground, usual: float) -> Extra:
    rng, n = ground.rng, len(ground.numeric)
    turn = np.eye(n)
    for _ in range(n // 2 if n > 1 else 0):
        i, j = rng.choice(n, 2, replace=False)
        angle = rng.uniform(-0.8, 0.8)
        cos, sin = math.cos(angle), math.sin(angle)
        turn[:, [i, j]] = turn[:, [i, j]] @ np.array([[cos, -sin], [sin, cos]])
    shift = np.zeros((len(ground.switches), n))
    if ground.family == "recipes" and shift.size:
        for s in rng.choice(len(shift), max(1, len(shift) // 3), replace=False):
            shift[s, rng.integers(n)] = rng.normal()
    parts = ground.numeric, ground.switches, ground.target, ground.weight
    return [terms.bowl(*parts, turn, shift)], [_target(ground)]


def _ridges(ground: Ground, usual: float) -> Extra:
    order = ground.rng.permutation(len(ground.numeric))
    return [_along(ground, [order[i : i + 3] for i in range(0, len(order), 3)])], [_target(ground)]


def _along(ground: Ground, blocks: Sequence[Levels]) -> Term:
    """Ridges, each over some of the numbers, given by their order."""
    rng, mixes, bend, steep = ground.rng, list[Array](), list[float](), list[float]()
    for block in blocks:
        mixes.append(rng.choice([-1.0, -0.5, 0.5, 1.0], size=len(block)))
        bend.append(0.3 * rng.normal())
        steep.append(3.0 + rng.exponential(6.0))
    targets = np.zeros(len(ground.places))
    targets[ground.numeric] = ground.target
    weight = np.array([ground.weight[block].mean() for block in blocks])
    at = [ground.numeric[block] for block in blocks]
    return terms.ridges(at, mixes, targets, np.array(bend), np.array(steep), weight)


def _scaling(ground: Ground, usual: float) -> Extra:
    rng, order = ground.rng, ground.rng.permutation(len(ground.numeric))
    ridge = _along(ground, [order[:6]])
    at, weight, target = ground.numeric[order], ground.weight[order], ground.target[order]
    exponents = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5)
    share, off = rng.uniform(0.3, 3.0), rng.normal(size=3)
    main = np.array([at[k % len(at)] for k in range(4)])
    law = terms.scaling(main, off, exponents, share, float(weight.sum()))
    return [ridge, law, terms.basin(at[6:], target[6:], weight[6:])], [_target(ground)]


def _waves(ground: Ground, usual: float) -> Extra:
    rng, n = ground.rng, len(ground.numeric)
    turn = np.zeros((n, 3 * n))
    for k in range(3 * n):
        for i in rng.choice(n, size=min(n, int(rng.integers(1, 4))), replace=False):
            turn[i, k] = rng.normal() * (1.2 if ground.far else 0.8)
    phase = rng.uniform(0.0, 2.0 * math.pi, 3 * n)
    height = 0.4 * np.exp(rng.normal(size=3 * n))
    return [terms.waves(ground.numeric, turn, phase, height, ground.weight)], []


EXTRAS: Mapping[str, Sequence[Callable[[Ground, float], Extra]]] = {
    "bowl": (_bowl,),
    "deceptive": (_synergies,),
    "ridge": (_ridges,),
    "fourier": (_waves,),
    "recipes": (_synergies, _bowl),
    "scaling": (_scaling,),
}
"""Of each family, what binds places together."""
