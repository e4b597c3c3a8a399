"""Who chooses the next edit: the interface, and the choices by name.

Nothing here imports torch; the PPO agent's own module does, when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from autoresearch_rl.errors import ConfigurationError
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


def _ppo(seed: int) -> Agent:
    from autoresearch_rl.agent.ppo_agent import PPOAgent

    return PPOAgent(seed)


def _random(seed: int) -> Agent:
    from autoresearch_rl.agent.random_agent import RandomAgent

    return RandomAgent(seed)


POLICIES: Mapping[str, Callable[[int], Agent]] = MappingProxyType({"ppo": _ppo, "random": _random})


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
