"""The slate: the few candidates that an agent weighs against each other, drawn with its own seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import Candidate, State

_Key = TypeVar("_Key", bound=Hashable)
_Topic = list[tuple[float, Candidate]]


def equally(candidate: Candidate) -> float:
    """Gives every candidate of a site the same chance."""
    return 1.0


def by_odds(candidate: Candidate) -> float:
    """Gives each the chance that its generator sees in it."""
    return math.exp(candidate.odds)


def draw_slate(
    candidates: Sequence[Candidate],
    size: int,
    rng: np.random.Generator,
    weight: Callable[[Candidate], float] = equally,
    shares: Mapping[str, float] | None = None,
) -> list[Candidate]:
    """Up to `size` distinct candidates: each draw takes a generator, then a topic, then a candidate.

    A topic (a site, mostly) has the chance of its best candidate: one with many possible values (a float)
    would otherwise crowd out one with few (a switch). Several topics at once count as a topic of their own.

    Args:
        candidates: all that can be tried.
        size: how many to draw.
        rng: advanced by each draw.
        weight: positive chance of a candidate, relative to others.
        shares: positive chance of each generator; all are one when nothing is said.

    Raises:
        ConfigurationError: There are no candidates.
    """
    require_some(candidates)
    pools: dict[str, dict[tuple[str, ...], _Topic]] = {}
    for candidate in candidates:
        pool = pools.setdefault(candidate.generator if shares else "", {})
        pool.setdefault(candidate.topics, []).append((weight(candidate), candidate))
    return [_draw(pools, shares or {}, rng) for _ in range(min(size, len(candidates)))]


def draw_one(state: State, rng: np.random.Generator) -> Candidate:
    """A candidate by the shares of the generators and the odds that they give.

    Raises:
        ConfigurationError: There are no candidates.
    """
    return draw_slate(state.candidates, 1, rng, by_odds, state.shares)[0]


def require_some(candidates: Sequence[Candidate]) -> None:
    """Nothing if there is a candidate.

    Raises:
        ConfigurationError: There are none.
    """
    if not candidates:
        raise ConfigurationError("there is no candidate to choose from: stop the study as exhausted instead.")


def _draw(
    pools: dict[str, dict[tuple[str, ...], _Topic]], shares: Mapping[str, float], rng: np.random.Generator
) -> Candidate:
    name = _choose({name: shares.get(name, 1.0) for name in pools}, rng)
    pool = pools[name]
    topic = _choose({topic: max(weight for weight, _ in found) for topic, found in pool.items()}, rng)
    _, candidate = pool[topic].pop(_choose(dict(enumerate(w for w, _ in pool[topic])), rng))
    if not pool[topic]:
        del pool[topic]
    if not pool:
        del pools[name]
    return candidate


def _choose(weights: Mapping[_Key, float], rng: np.random.Generator) -> _Key:
    chances = np.array(list(weights.values()))
    return list(weights)[int(rng.choice(len(chances), p=chances / chances.sum()))]


def rng_from_state(state: Mapping[str, object]) -> np.random.Generator:
    """A numpy generator that goes on from `bit_generator.state` as read back from JSON.

    Raises:
        ValueError, KeyError or TypeError: It is not such a state.
    """
    rng = np.random.default_rng(0)
    rng.bit_generator.state = state
    return rng
