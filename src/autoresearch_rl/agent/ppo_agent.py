"""The agent that learns by PPO which edits to try next."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from autoresearch_rl.agent import checkpoint
from autoresearch_rl.agent.evidence import Evidence, Reader
from autoresearch_rl.agent.features import F_C, F_S, encode
from autoresearch_rl.agent.health import diversity
from autoresearch_rl.agent.policy import ActorCritic, mixed
from autoresearch_rl.agent.ppo import Batch, PPOConfig, gae, update
from autoresearch_rl.agent.proposals import compose
from autoresearch_rl.agent.reward import progress
from autoresearch_rl.agent.shipped import digest, load_prior, network_of, read_prior
from autoresearch_rl.agent.slate import draw_slate, require_some, rng_from_state
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.records import Candidate, State, Trial

SLATE = 32  # K: candidates weighed per decision
STALEST = 2.0  # how much likelier a choice may have become: older ones would count too much
SHAKEN = 0.5  # share of the uniform distribution while the search has collapsed
BEST = 16  # of them, those of the highest scores; the rest are drawn, so that all stay possible
GENTLE = 3e-5
"""Learning rate for a policy that knows something already.

One noisy reward a trial says little: at 3e-4 a hundred trials moved the prior by a KL of .3, without a gain
in 200 simulated studies and, paid the recorded reward, with a loss in 16 real ones (docs/log.md). At this
rate it is .01, unless rewards keep saying the same.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """One choice among a slate padded to `SLATE`."""

    candidate: Tensor  # float16 [K, F_C]
    context: Tensor  # float16 [F_S]
    mask: Tensor  # bool [K]
    action: int
    log_prob: float
    reward: float = float("nan")  # until the trial has completed


class Choice(NamedTuple):
    """A decision, and what it was about."""

    candidate: Candidate
    decision: Decision
    slate: list[Candidate]
    scale: float  # size of an ordinary effect at that time, bits per byte
    noise: float  # standard deviation of one measurement at that time, bits per byte


class PPOAgent:
    """Scores a slate of 32 candidates, samples one, and updates every 10 completed trials.

    An update learns from the latest 40 completed trials, in order of completion. Their rewards are what they
    gained beyond noise (`reward.progress`), centred and divided by their standard deviation over the window,
    so value targets are of order one (in a task that never ends a constant changes only the size of the
    values: "reward centering", Naik et al., arXiv 2405.09999). Values are estimated afresh by the current
    network, since the window outlives the network that chose.

    Args:
        seed: Of the slates, the choices and the shuffles.
        network: The policy to start from; the agent works on it, not on a copy.
        config: Hyper-parameters.
        online: Whether it learns during the study.
        name: Of the policy; checkpoints of another are refused.
    """

    def __init__(
        self,
        seed: int,
        network: ActorCritic,
        config: PPOConfig | None = None,
        *,
        online: bool = True,
        name: str = "ppo",
    ) -> None:
        self.name = name
        self.config, self.network, self.online = config or PPOConfig(), network, online
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._start = deepcopy(network)
        self._optimizer = self._adam(self.network)
        self._window: deque[Decision] = deque(maxlen=self.config.window)
        self._pending: dict[int, Choice] = {}
        self._completed = 0
        self._reader = Reader()

    def propose(self, state: State) -> Candidate:
        """See `Agent.propose`: sample from the policy over a slate."""
        choice = self.decide(state)
        self._pending[state.number] = choice
        return choice.candidate

    def decide(self, state: State) -> Choice:
        """As `propose`, for whoever keeps the decision; nothing will be learnt from it here."""
        require_some(state.candidates)
        evidence = self._reader.read(state)
        evidence = self._reader.extend(evidence, compose(evidence, self._rng))
        slate = self._slate(evidence)
        seen = _padded(evidence, slate)
        with torch.no_grad():
            log_probs, _ = self.network(*(part[None] for part in seen))
            if diversity(state.history).collapsed:
                log_probs = mixed(log_probs, seen[-1][None], SHAKEN)
        action = int(torch.multinomial(log_probs[0].exp(), 1, generator=self._generator))
        decision = Decision(*seen, action, float(log_probs[0, action]))
        candidates = [evidence.candidates[index] for index in slate]
        return Choice(candidates[action], decision, candidates, evidence.scale, state.noise)

    def _slate(self, evidence: Evidence) -> list[int]:
        """The best by their scores, and others drawn by the shares of generators and the odds."""
        candidates, score = evidence.candidates, evidence.score
        ranked = [int(i) for i in np.lexsort((self._rng.random(len(score)), -score))]
        best, rest = ranked[:BEST], sorted(ranked[BEST:])
        if not rest:
            return best
        index = {id(candidates[i]): i for i in rest}
        odds = lambda candidate: math.exp(evidence.odds[index[id(candidate)]])  # noqa: E731
        others = [candidates[i] for i in rest]
        drawn = draw_slate(others, SLATE - BEST, self._rng, odds, evidence.state.shares)
        return best + [index[id(candidate)] for candidate in drawn]

    def probabilities(self, state: State, slate: Sequence[Candidate]) -> list[float]:
        """The policy over a given slate of at most `SLATE`, in its order; changes nothing."""
        evidence = Reader().read(state, slate)
        with torch.no_grad():
            log_probs, _ = self.network(*(part[None] for part in _padded(evidence, range(len(slate)))))
        probabilities: list[float] = log_probs[0, : len(slate)].exp().tolist()
        return probabilities

    def learn(self, trial: Trial) -> Mapping[str, float]:
        """See `Agent.learn`; the metrics are those of `ppo.update`.

        Raises:
            ConfigurationError: The trial was not proposed by this agent, or not since it was restored.
        """
        if trial.number not in self._pending:
            raise ConfigurationError(
                f"trial {trial.number} was not proposed by this agent: call propose first."
            )
        chosen = self._pending.pop(trial.number)
        if not self.online:
            return {}
        gain = trial.gain if trial.verdict.evaluated else None
        gained = progress(gain, chosen.noise, chosen.scale)
        self._window.append(replace(chosen.decision, reward=gained))
        self._completed += 1
        return self._update() if self._completed % self.config.update_every == 0 else {}

    def _update(self) -> dict[str, float]:
        batch = self._batch()
        metrics = update(self.network, self._optimizer, batch, self.config, self._generator)
        return metrics | {"kl_to_start": self._distance(batch)}

    def _distance(self, batch: Batch) -> float:
        """KL divergence of the policy from the one it started from, nats, a mean over the window."""
        with torch.no_grad():
            now, _ = self.network(*batch.seen)
            before, _ = self._start(*batch.seen)
        return float((now.exp() * (now - before).masked_fill(~batch.mask, 0.0)).sum(-1).mean())

    def _batch(self) -> Batch:
        """The window with its advantages, normalised over the window."""
        w = _stack(self._window)
        seen = (w["candidate"], w["context"], w["mask"])
        with torch.no_grad():
            log_probs, value = self.network(*seen)
        before = log_probs.gather(-1, w["action"].unsqueeze(-1)).squeeze(-1)
        weight = (before - w["log_prob"]).exp().clamp(max=STALEST)
        rewards = _standardise(w["reward"]).to(value.dtype)
        # The state after the last trial is not known yet; the latest known one stands in for it.
        advantage, returns = gae(rewards, value, value[-1], self.config.gamma, self.config.gae_lambda)
        return Batch(*seen, w["action"], before, weight, value, _standardise(advantage), returns)

    def checkpoint(self) -> bytes:
        """See `Agent.checkpoint`: safetensors with the network, Adam, the window and both generators."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, slots in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": tensor for name, tensor in slots.items()}
        tensors |= {f"window.{name}": tensor for name, tensor in _stack(self._window).items()}
        tensors["torch_rng"] = self._generator.get_state()
        metadata = {
            "agent": self.name,
            "completed": self._completed,
            "numpy_rng": self._rng.bit_generator.state,
        }
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
        if metadata["agent"] != self.name:
            raise ValueError(f"it is one of {metadata['agent']}, not of {self.name}")
        generator = torch.Generator()
        generator.set_state(tensors["torch_rng"])
        network = ActorCritic(self.config.epsilon, torch.Generator())
        network.load_state_dict(checkpoint.under("network.", tensors))
        optimizer = self._adam(network)
        _load_adam(optimizer, checkpoint.under("adam.", tensors))
        window = deque(_unstack(checkpoint.under("window.", tensors)), maxlen=self.config.window)
        rng, completed = rng_from_state(metadata["numpy_rng"]), int(metadata["completed"])
        self._generator, self.network, self._optimizer = generator, network, optimizer
        self._window, self._rng, self._completed, self._pending = window, rng, completed, {}
        self._reader = Reader()

    def _adam(self, network: ActorCritic) -> torch.optim.Adam:
        return torch.optim.Adam(network.parameters(), lr=self.config.learning_rate, eps=1e-5)


def pretrained(seed: int, *, online: bool = True) -> PPOAgent:
    """The agent that starts from the shipped prior, and goes on learning if `online`."""
    config = PPOConfig(learning_rate=GENTLE)
    name = "ppo" if online else "ppo-no-online"
    return PPOAgent(seed, load_prior(config.epsilon), config, online=online, name=name)


def from_prior(path: Path, seed: int) -> PPOAgent:
    """The agent that starts from a prior in a file, and goes on learning.

    Its checkpoints belong to this prior: with the file changed, they are refused.

    Raises:
        ConfigurationError: the file cannot be read, or is no prior of this version.
    """
    config, data = PPOConfig(learning_rate=GENTLE), read_prior(path)
    try:
        network, _ = network_of(data, config.epsilon)
    except StorageError as error:
        raise ConfigurationError(f"{path} is no prior that `pretrain` wrote: {error}") from error
    return PPOAgent(seed, network, config, name=f"ppo from {digest(data)}")


def from_scratch(seed: int, config: PPOConfig | None = None) -> PPOAgent:
    """The agent whose network knows nothing at first but the score it starts from."""
    config = config or PPOConfig()
    network = ActorCritic(config.epsilon, torch.Generator().manual_seed(seed))
    return PPOAgent(seed, network, config, name="ppo-from-scratch")


def _padded(evidence: Evidence, slate: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Features `[K, F_C]` padded with zeros, context `[F_S]`, mask `[K]` of a slate.

    In half precision, always: checkpoints keep the window of decisions.
    """
    seen = encode(evidence, slate)
    candidate = torch.zeros(SLATE, F_C, dtype=torch.float16)
    candidate[: len(slate)] = torch.from_numpy(seen.candidate)
    return candidate, torch.from_numpy(seen.context).half(), torch.arange(SLATE) < len(slate)


def _standardise(x: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over `[T]`; zeros when all are equal."""
    return (x - x.mean()) / (x.std(correction=0) + 1e-8)


def _stack(window: Sequence[Decision]) -> dict[str, Tensor]:
    """The decisions as tensors `[T, ...]`; T may be 0."""
    n, half = len(window), torch.float16
    return {
        "candidate": torch.stack([d.candidate for d in window])
        if n
        else torch.zeros(0, SLATE, F_C, dtype=half),
        "context": torch.stack([d.context for d in window]) if n else torch.zeros(0, F_S, dtype=half),
        "mask": torch.stack([d.mask for d in window]) if n else torch.zeros(0, SLATE, dtype=torch.bool),
        "action": torch.tensor([d.action for d in window], dtype=torch.int64),
        "log_prob": torch.tensor([d.log_prob for d in window], dtype=torch.float32),
        "reward": torch.tensor([d.reward for d in window], dtype=torch.float64),
    }


def _unstack(window: Mapping[str, Tensor]) -> list[Decision]:
    n = len(window["action"])
    for name, empty in _stack([]).items():
        _check(f"window.{name}", window[name], (n, *empty.shape[1:]), empty.dtype)
    columns = (window["candidate"], window["context"], window["mask"])
    scalars = (window["action"].tolist(), window["log_prob"].tolist(), window["reward"].tolist())
    return [Decision(*row) for row in zip(*columns, *scalars, strict=True)]


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
