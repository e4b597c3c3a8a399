"""The agent that learns by PPO which edits to try next."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoresearch_rl.agent import checkpoint
from autoresearch_rl.agent.features import F_C, F_S, encode
from autoresearch_rl.agent.policy import ActorCritic
from autoresearch_rl.agent.ppo import Batch, PPOConfig, gae, update
from autoresearch_rl.agent.prior import log_odds
from autoresearch_rl.agent.slate import draw_slate, rng_from_state
from autoresearch_rl.agent.tallies import gain_scale, remember
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.records import Candidate, State, Trial

SLATE = 16  # K: candidates scored per decision


@dataclass(frozen=True, slots=True, eq=False)
class _Decision:
    """One choice among a slate padded to `SLATE`."""

    candidate: Tensor  # float32 [K, F_C]
    context: Tensor  # float32 [F_S]
    mask: Tensor  # bool [K]
    action: int
    log_prob: float
    reward: float = float("nan")  # until the trial has completed


class PPOAgent:
    """Scores a slate of 16 candidates, samples one, and updates every 10 completed trials.

    An update learns from the latest 40 completed trials, in order of completion. Their rewards are centred
    and divided by their standard deviation over the window, so value targets are of order one (in a task that
    never ends a constant changes only the size of the values: "reward centering", Naik et al., arXiv
    2405.09999). Values are estimated afresh by the current network, since the window outlives the network
    that chose.

    Args:
        seed: Of the initial weights, the slates, the choices and the shuffles.
        config: Hyper-parameters.
    """

    def __init__(self, seed: int, config: PPOConfig | None = None) -> None:
        self.config = config or PPOConfig()
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self.network = ActorCritic(self.config.epsilon, self._generator)
        self._optimizer = self._adam(self.network)
        self._window: deque[_Decision] = deque(maxlen=self.config.window)
        self._pending: dict[int, _Decision] = {}
        self._completed = 0

    def propose(self, state: State) -> Candidate:
        """See `Agent.propose`: sample from the policy over a slate that the prior has drawn."""
        memory = remember(state.history, gain_scale(state))
        weight = lambda candidate: math.exp(log_odds(candidate, memory))  # noqa: E731
        slate = draw_slate(state.candidates, SLATE, self._rng, weight, state.shares)
        candidate, context, mask = _padded(state, slate)
        with torch.no_grad():
            log_probs, _ = self.network(candidate[None], context[None], mask[None])
        action = int(torch.multinomial(log_probs[0].exp(), 1, generator=self._generator))
        self._pending[state.number] = _Decision(candidate, context, mask, action, float(log_probs[0, action]))
        return slate[action]

    def probabilities(self, state: State, slate: Sequence[Candidate]) -> list[float]:
        """The policy over a given slate of at most 16, in its order; changes nothing."""
        with torch.no_grad():
            log_probs, _ = self.network(*(part[None] for part in _padded(state, slate)))
        probabilities: list[float] = log_probs[0, : len(slate)].exp().tolist()
        return probabilities

    def learn(self, trial: Trial) -> Mapping[str, float]:
        """See `Agent.learn`; the metrics are those of `ppo.update`.

        Raises:
            ConfigurationError: The trial was not proposed by this agent, or not since it was restored; or its
                reward is not finite.
        """
        if trial.number not in self._pending:
            raise ConfigurationError(
                f"trial {trial.number} was not proposed by this agent: call propose first."
            )
        if not np.isfinite(trial.reward):
            raise ConfigurationError(f"trial {trial.number} needs a finite reward, got {trial.reward}.")
        chosen = self._pending.pop(trial.number)
        self._window.append(replace(chosen, reward=trial.reward))
        self._completed += 1
        return self._update() if self._completed % self.config.update_every == 0 else {}

    def _update(self) -> dict[str, float]:
        return update(self.network, self._optimizer, self._batch(), self.config, self._generator)

    def _batch(self) -> Batch:
        """The window with its advantages, normalised over the window."""
        w = _stack(self._window)
        with torch.no_grad():
            _, value = self.network(w["candidate"], w["context"], w["mask"])
        rewards = _standardise(w["reward"]).to(value.dtype)
        # The state after the last trial is not known yet; the latest known one stands in for it.
        advantage, returns = gae(rewards, value, value[-1], self.config.gamma, self.config.gae_lambda)
        parts = (w["candidate"], w["context"], w["mask"], w["action"], w["log_prob"])
        return Batch(*parts, value, _standardise(advantage), returns)

    def checkpoint(self) -> bytes:
        """See `Agent.checkpoint`: safetensors with the network, Adam, the window and both generators."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, slots in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": tensor for name, tensor in slots.items()}
        tensors |= {f"window.{name}": tensor for name, tensor in _stack(self._window).items()}
        tensors["torch_rng"] = self._generator.get_state()
        metadata = {"agent": "ppo", "completed": self._completed, "numpy_rng": self._rng.bit_generator.state}
        return checkpoint.pack(tensors, metadata)

    def restore(self, data: bytes) -> None:
        """See `Agent.restore`. Either all is restored or, when it raises, nothing."""
        tensors, metadata = checkpoint.unpack(data)
        try:
            self._adopt(tensors, metadata)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            line = str(error).splitlines()[0] if str(error) else repr(error)
            raise StorageError(f"the checkpoint is not one of this version's ppo agent: {line}") from error

    def _adopt(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        generator = torch.Generator()
        generator.set_state(tensors["torch_rng"])
        network = ActorCritic(self.config.epsilon, torch.Generator())
        network.load_state_dict(_under("network.", tensors))
        optimizer = self._adam(network)
        _load_adam(optimizer, _under("adam.", tensors))
        window = deque(_unstack(_under("window.", tensors)), maxlen=self.config.window)
        rng, completed = rng_from_state(metadata["numpy_rng"]), int(metadata["completed"])
        self._generator, self.network, self._optimizer = generator, network, optimizer
        self._window, self._rng, self._completed, self._pending = window, rng, completed, {}

    def _adam(self, network: ActorCritic) -> torch.optim.Adam:
        return torch.optim.Adam(network.parameters(), lr=self.config.learning_rate, eps=1e-5)


def _padded(state: State, slate: Sequence[Candidate]) -> tuple[Tensor, Tensor, Tensor]:
    """Features `[K, F_C]` padded with zeros, context `[F_S]` and mask `[K]` of a slate."""
    seen = encode(state, slate)
    candidate = torch.zeros(SLATE, F_C)
    candidate[: len(slate)] = torch.from_numpy(seen.candidate)
    return candidate, torch.from_numpy(seen.context), torch.arange(SLATE) < len(slate)


def _standardise(x: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over `[T]`; zeros when all are equal."""
    return (x - x.mean()) / (x.std(correction=0) + 1e-8)


def _stack(window: Sequence[_Decision]) -> dict[str, Tensor]:
    """The decisions as tensors `[T, ...]`; T may be 0."""
    n = len(window)
    return {
        "candidate": torch.stack([d.candidate for d in window]) if n else torch.zeros(0, SLATE, F_C),
        "context": torch.stack([d.context for d in window]) if n else torch.zeros(0, F_S),
        "mask": torch.stack([d.mask for d in window]) if n else torch.zeros(0, SLATE, dtype=torch.bool),
        "action": torch.tensor([d.action for d in window], dtype=torch.int64),
        "log_prob": torch.tensor([d.log_prob for d in window], dtype=torch.float32),
        "reward": torch.tensor([d.reward for d in window], dtype=torch.float64),
    }


def _unstack(window: Mapping[str, Tensor]) -> list[_Decision]:
    n = len(window["action"])
    for name, empty in _stack([]).items():
        _check(f"window.{name}", window[name], (n, *empty.shape[1:]), empty.dtype)
    columns = (window["candidate"], window["context"], window["mask"])
    scalars = (window["action"].tolist(), window["log_prob"].tolist(), window["reward"].tolist())
    return [_Decision(*row) for row in zip(*columns, *scalars, strict=True)]


def _load_adam(optimizer: torch.optim.Adam, slots: Mapping[str, Tensor]) -> None:
    """Fill a fresh optimiser; before the first update there is nothing to fill."""
    parameters = optimizer.param_groups[0]["params"]
    state: dict[int, dict[str, Tensor]] = {}
    for index, parameter in enumerate(parameters if slots else ()):
        state[index] = {name: slots[f"{index}.{name}"] for name in ("step", "exp_avg", "exp_avg_sq")}
        for name, tensor in state[index].items():
            shape = () if name == "step" else tuple(parameter.shape)
            _check(f"adam.{index}.{name}", tensor, shape, torch.float32)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        found = f"{tensor.dtype} {list(tensor.shape)}"
        raise ValueError(f"{name} should be {dtype} {list(shape)}, found {found}.")


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
