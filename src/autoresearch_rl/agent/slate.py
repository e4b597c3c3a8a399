"""The slate: the few candidates that an agent weighs against each other, drawn with its own seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import Candidate

COARSE_STEPS = (0.4, 1.7)  # |ln(new / old)|: a factor of 1.5 to 5.5
COARSE_WEIGHT = 4.0


def equally(candidate: Candidate) -> float:
    """Gives every candidate of a site the same chance."""
    return 1.0


def coarse_first(candidate: Candidate) -> float:
    """Gives a bold step four times the chance of a nudge or a leap: noise hides a nudge."""
    low, high = COARSE_STEPS
    return COARSE_WEIGHT if low <= candidate.magnitude <= high else 1.0


def draw_slate(
    candidates: Sequence[Candidate],
    size: int,
    rng: np.random.Generator,
    weight: Callable[[Candidate], float] = equally,
) -> list[Candidate]:
    """Up to `size` distinct candidates: each draw takes a site uniformly, then one of its candidates.

    A site with many possible values (a float) would otherwise crowd out one with few (a switch). Edits of
    several sites count as a site of their own.

    Args:
        candidates: all that can be tried.
        size: how many to draw.
        rng: advanced by each draw.
        weight: positive chance of a candidate, relative to the others of its site.

    Raises:
        ConfigurationError: There are no candidates.
    """
    if not candidates:
        raise ConfigurationError("there is no candidate to choose from: stop the study as exhausted instead.")
    groups: dict[tuple[str, ...], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(tuple(change.site for change in candidate.edit.changes), []).append(candidate)
    sites = list(groups.values())
    return [_draw(sites, rng, weight) for _ in range(min(size, len(candidates)))]


def _draw(
    sites: list[list[Candidate]], rng: np.random.Generator, weight: Callable[[Candidate], float]
) -> Candidate:
    site = int(rng.integers(len(sites)))
    weights = np.array([weight(candidate) for candidate in sites[site]])
    candidate = sites[site].pop(int(rng.choice(len(weights), p=weights / weights.sum())))
    if not sites[site]:
        del sites[site]
    return candidate


def rng_from_state(state: Mapping[str, object]) -> np.random.Generator:
    """A numpy generator that goes on from `bit_generator.state` as read back from JSON.

    Raises:
        ValueError, KeyError or TypeError: It is not such a state.
    """
    rng = np.random.default_rng(0)
    rng.bit_generator.state = state
    return rng
