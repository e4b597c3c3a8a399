"""Who chooses the next edit: the interface, the random baseline, and the choices by name.

Nothing here imports torch; the PPO agent's own module does, when it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np

from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.records import Candidate, State, Trial


class Agent(Protocol):
    """Asked for one edit at a time, told what became of each."""

    def propose(self, state: State) -> Candidate:
        """Choose one of `state.candidates`.

        Raises:
            ConfigurationError: There are none.
        """
        ...

    def learn(self, trial: Trial) -> Mapping[str, float]:
        """Take in the outcome of a proposal; called once per explore trial, in order of completion.

        Args:
            trial: Its `number` is the `number` of the state it was proposed for.

        Returns:
            Metrics of the update if one happened, else nothing.
        """
        ...

    def checkpoint(self) -> bytes:
        """All that the next decision depends on, except decisions whose outcome is still awaited."""
        ...

    def restore(self, data: bytes) -> None:
        """Go on exactly as the agent that wrote `data` would have.

        Raises:
            StorageError: `data` is damaged or was written by another kind of agent.
        """
        ...


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


class RandomAgent:
    """Uniform over sites, then over the candidates of the site. Never learns."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def propose(self, state: State) -> Candidate:
        """See `Agent.propose`."""
        return draw_slate(state.candidates, 1, self._rng)[0]

    def learn(self, trial: Trial) -> Mapping[str, float]:
        """See `Agent.learn`; does nothing."""
        return {}

    def checkpoint(self) -> bytes:
        """See `Agent.checkpoint`: the state of the random number generator as JSON."""
        return json.dumps({"agent": "random", "numpy_rng": self._rng.bit_generator.state}).encode()

    def restore(self, data: bytes) -> None:
        """See `Agent.restore`."""
        try:
            self._rng = rng_from_state(json.loads(data)["numpy_rng"])
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"this is not a checkpoint of the random agent, or it is damaged: {error!r}."
            ) from error


def rng_from_state(state: Mapping[str, object]) -> np.random.Generator:
    """A numpy generator that goes on from `bit_generator.state` as read back from JSON.

    Raises:
        ValueError, KeyError or TypeError: It is not such a state.
    """
    rng = np.random.default_rng(0)
    rng.bit_generator.state = state
    return rng


def _ppo(seed: int) -> Agent:
    from autoresearch_rl.agent.ppo_agent import PPOAgent

    return PPOAgent(seed)


POLICIES: Mapping[str, Callable[[int], Agent]] = MappingProxyType({"ppo": _ppo, "random": RandomAgent})


def make_agent(name: str, seed: int) -> Agent:
    """The agent called `name`, from scratch.

    Raises:
        ConfigurationError: No agent has that name.
    """
    if name not in POLICIES:
        raise ConfigurationError(
            f"no policy is called {name!r}; choose one of: {', '.join(sorted(POLICIES))}."
        )
    return POLICIES[name](seed)
