"""Who chooses the next edit: the interface, and the choices by name.

Nothing here imports torch or Optuna; the modules of the agents that need them do, when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import Candidate, State, Trial


class Agent(Protocol):
    """Asked for one edit at a time, told what became of each."""

    def propose(self, state: State) -> Candidate:
        """Choose one of `state.candidates`, or an edit of its own for the same script.

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
    from autoresearch_rl.agent.ppo_agent import pretrained

    return pretrained(seed)


def _ppo_no_online(seed: int) -> Agent:
    from autoresearch_rl.agent.ppo_agent import pretrained

    return pretrained(seed, online=False)


def _ppo_from_scratch(seed: int) -> Agent:
    from autoresearch_rl.agent.ppo_agent import from_scratch

    return from_scratch(seed)


def _random(seed: int) -> Agent:
    from autoresearch_rl.agent.random_agent import RandomAgent

    return RandomAgent(seed)


def _greedy(seed: int) -> Agent:
    from autoresearch_rl.agent.baselines import GreedyAgent

    return GreedyAgent(seed)


def _improvement(seed: int) -> Agent:
    from autoresearch_rl.agent.baselines import ImprovementAgent

    return ImprovementAgent(seed)


def _thompson(seed: int) -> Agent:
    from autoresearch_rl.agent.thompson import ThompsonAgent

    return ThompsonAgent(seed)


def _tpe(seed: int) -> Agent:
    from autoresearch_rl.agent.optuna_agent import OptunaAgent, tpe

    return OptunaAgent("tpe", tpe, seed)


def _cmaes(seed: int) -> Agent:
    from autoresearch_rl.agent.optuna_agent import OptunaAgent, cmaes

    return OptunaAgent("cmaes", cmaes, seed)


POLICIES: Mapping[str, Callable[[int], Agent]] = MappingProxyType(
    {
        "ppo": _ppo,
        "ppo-no-online": _ppo_no_online,
        "ppo-from-scratch": _ppo_from_scratch,
        "random": _random,
        "greedy": _greedy,
        "improvement": _improvement,
        "thompson": _thompson,
        "tpe": _tpe,
        "cmaes": _cmaes,
    }
)


PRIOR_SUFFIX = ".safetensors"
"""A policy may also be the file of a prior that `pretrain` wrote: the agent `ppo` that starts from it."""


def make_agent(name: str, seed: int) -> Agent:
    """The agent called `name`, or `ppo` from the prior in the file `name`, as it begins.

    Raises:
        ConfigurationError: No agent has that name, or no prior is in the file.
    """
    if name in POLICIES:
        return POLICIES[name](seed)
    if name.endswith(PRIOR_SUFFIX):
        from autoresearch_rl.agent.ppo_agent import from_prior

        return from_prior(Path(name), seed)
    raise ConfigurationError(
        f"no policy is called {name!r}; choose one of: {', '.join(POLICIES)}, "
        f"or the file of a prior (NAME{PRIOR_SUFFIX})."
    )


def policy_name(given: str) -> str:
    """The name of a policy as it is recorded: that of a file by its full path."""
    return str(Path(given).absolute()) if given.endswith(PRIOR_SUFFIX) else given


def prior_digest(policy: str) -> str:
    """`shipped.digest` of a prior in a file; nothing for a policy with a name.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if policy in POLICIES or not policy.endswith(PRIOR_SUFFIX):
        return ""
    from autoresearch_rl.agent.shipped import digest, read_prior

    return digest(read_prior(Path(policy)))
