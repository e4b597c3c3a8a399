"""The slate: the few candidates that an agent weighs against each other, drawn with its own seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import Candidate


def equally(candidate: Candidate) -> float:
    """Gives every candidate of a site the same chance."""
    return 1.0


def draw_slate(
    candidates: Sequence[Candidate],
    size: int,
    rng: np.random.Generator,
    weight: Callable[[Candidate], float] = equally,
) -> list[Candidate]:
    """Up to `size` distinct candidates: each draw takes a site, then one of its candidates.

    A site has the chance of its best candidate: one with many possible values (a float) would otherwise crowd
    out one with few (a switch). Edits of several sites count as a site of their own.

    Args:
        candidates: all that can be tried.
        size: how many to draw.
        rng: advanced by each draw.
        weight: positive chance of a candidate, relative to others.

    Raises:
        ConfigurationError: There are no candidates.
    """
    if not candidates:
        raise ConfigurationError("there is no candidate to choose from: stop the study as exhausted instead.")
    groups: dict[tuple[str, ...], list[tuple[float, Candidate]]] = {}
    for candidate in candidates:
        site = tuple(change.site for change in candidate.edit.changes)
        groups.setdefault(site, []).append((weight(candidate), candidate))
    sites = list(groups.values())
    return [_draw(sites, rng) for _ in range(min(size, len(candidates)))]


def _draw(sites: list[list[tuple[float, Candidate]]], rng: np.random.Generator) -> Candidate:
    site = _choose([max(weight for weight, _ in candidates) for candidates in sites], rng)
    _, candidate = sites[site].pop(_choose([weight for weight, _ in sites[site]], rng))
    if not sites[site]:
        del sites[site]
    return candidate


def _choose(weights: Sequence[float], rng: np.random.Generator) -> int:
    return int(rng.choice(len(weights), p=np.array(weights) / sum(weights)))


def rng_from_state(state: Mapping[str, object]) -> np.random.Generator:
    """A numpy generator that goes on from `bit_generator.state` as read back from JSON.

    Raises:
        ValueError, KeyError or TypeError: It is not such a state.
    """
    rng = np.random.default_rng(0)
    rng.bit_generator.state = state
    return rng
