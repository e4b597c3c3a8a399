"""Pretraining from nothing to a prior, one resumable round after the other.

A round plays studies with the policy as it is, so that it learns in the states that it comes to itself
(DAgger, Ross et al., arXiv 1011.0686). Every round is a file in the working folder; a run that was killed
goes on with the round it was in, and ends with the same prior, to the last bit, as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoresearch_rl.agent import checkpoint
from autoresearch_rl.agent.policy import ActorCritic
from autoresearch_rl.agent.ppo import PPOConfig
from autoresearch_rl.agent.shipped import pack_prior
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.pretraining.problems import draw_game
from autoresearch_rl.pretraining.rollouts import Draw, Rollout, play
from autoresearch_rl.pretraining.training import improve, warm_start
from autoresearch_rl.storage.faults import storing
from autoresearch_rl.storage.whole import write_whole

STATE = "state.safetensors"
WARM, PPO = "warm start", "ppo"


@dataclass(frozen=True, slots=True)
class Plan:
    """What pretraining does; another plan gives another prior.

    Attributes:
        seed: of everything.
        warm_rounds, ppo_rounds: how many of each, in this order.
        studies: played in each round.
        epochs: over all rounds so far, in each of the warm start.
        learning_rate: of the first round of the warm start, falling linearly towards a tenth.
        ent_coef: what a nat of entropy is worth in these epochs, in ordinary effects.
        last_epochs: more of them, over all rounds, in the last round of the warm start.
        last_learning_rate, last_ent_coef: of these epochs, likewise.
        ppo_learning_rate: in all rounds of PPO.
        own: SHA-256 of the trials of one's own that it learns from as well, or nothing.
    """

    seed: int = 0
    warm_rounds: int = 20
    ppo_rounds: int = 10
    studies: int = 24
    epochs: int = 2
    learning_rate: float = 1e-3
    ent_coef: float = 0.03
    last_epochs: int = 16
    last_learning_rate: float = 1e-2
    last_ent_coef: float = 0.01
    ppo_learning_rate: float = 1e-4
    weight_decay: float = 0.05
    own: str = ""


OWN_PLAN = Plan(
    warm_rounds=6, ppo_rounds=2, studies=12, learning_rate=3e-4, last_epochs=8, last_learning_rate=3e-4
)
"""To go on from the shipped prior with studies of one's own, whose replays take ten times as long."""

PPO_CONFIG = PPOConfig(gamma=0.985, update_epochs=2, num_minibatches=8)


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round.

    Attributes:
        number: from 0.
        stage: `WARM` or `PPO`.
        final: share of what could be gained that its studies gained, a mean.
        decisions: of its studies.
        cpu_seconds: that it took.
        metrics: of the training.
    """

    number: int
    stage: str
    final: float
    decisions: int
    cpu_seconds: float
    metrics: Mapping[str, float]


class Pretraining:
    """A run of pretraining in a working folder.

    Args:
        folder: made if it is not there; goes on with what it holds.
        plan: of a new run; that of the folder has to be the same.
        draw: makes the problems.
        network: to start from; one that knows nothing when left out.

    Raises:
        ConfigurationError: the folder holds a run of another plan.
        StorageError: it cannot be used, or its files are damaged or of another version.
    """

    def __init__(
        self, folder: Path, plan: Plan, draw: Draw = draw_game, network: ActorCritic | None = None
    ) -> None:
        self.folder, self.plan, self._draw = folder, plan, draw
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._generator = torch.Generator().manual_seed(plan.seed)
        self.network = network or ActorCritic(PPO_CONFIG.epsilon, self._generator)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), plan.learning_rate, weight_decay=plan.weight_decay
        )
        self.rounds: list[Round] = []
        if (folder / STATE).exists():
            with _reading(folder / STATE) as data:
                self._resume(data)

    def run(self, told: Callable[[Round], None]) -> bytes:
        """Does what is left, and gives the prior; `told` hears of each round."""
        buffer = [self._load(number) for number in range(min(len(self.rounds), self.plan.warm_rounds))]
        while len(self.rounds) < self.plan.warm_rounds + self.plan.ppo_rounds:
            number, began = len(self.rounds), time.process_time()
            rollouts = [play(self.network, seed, draw=self._draw) for seed in self._seeds(number)]
            if number < self.plan.warm_rounds:
                self._save(number, rollouts)
                buffer.append(rollouts)
                stage, metrics = WARM, self._warm_start(number, buffer)
            else:
                stage, metrics = PPO, self._improve(rollouts)
            final = sum(float(rollout.final) for rollout in rollouts) / len(rollouts)
            decisions = sum(len(rollout.reward) for rollout in rollouts)
            spent = time.process_time() - began
            self.rounds.append(Round(number, stage, final, decisions, spent, metrics))
            write_whole(self.folder / STATE, self._state())
            told(self.rounds[-1])
        return pack_prior(self.network, self._facts())

    def _seeds(self, number: int) -> range:
        """Of the problems of a round: no two runs share one, and none is of the simulated suite."""
        first = (self.plan.seed << 48) + number * self.plan.studies
        return range(first, first + self.plan.studies)

    def _warm_start(self, number: int, buffer: list[list[Rollout]]) -> dict[str, float]:
        """Learns from all rounds so far, and more, and more sharply, when there will be no other.

        A policy that is sure of itself plays studies that are much alike, and what is learnt from these holds
        less well for others (docs/log.md). So the rounds before are played by a broad one.
        """
        plan, rollouts = self.plan, [rollout for played in buffer for rollout in played]
        learn = partial(warm_start, self.network, self._optimizer, rollouts, generator=self._generator)
        self._set_rate(plan.learning_rate, number, plan.warm_rounds)
        metrics = learn(epochs=plan.epochs, ent_coef=plan.ent_coef)
        for epoch in range(plan.last_epochs if number + 1 == plan.warm_rounds else 0):
            self._set_rate(plan.last_learning_rate, epoch, plan.last_epochs)
            metrics = learn(epochs=1, ent_coef=plan.last_ent_coef)
        return metrics

    def _improve(self, rollouts: list[Rollout]) -> dict[str, float]:
        self._set_rate(self.plan.ppo_learning_rate)
        return improve(self.network, self._optimizer, rollouts, PPO_CONFIG, self._generator)

    def _set_rate(self, first: float, step: int = 0, steps: int = 1) -> None:
        """Of a learning rate that falls linearly from the first one towards a tenth in so many steps."""
        for group in self._optimizer.param_groups:
            group["lr"] = first * (1.0 - 0.9 * step / steps)

    def _facts(self) -> dict[str, Any]:
        """The card of the prior, as far as a run knows it itself."""
        return {"plan": asdict(self.plan), "rounds": [asdict(done) for done in self.rounds]}

    # --- files

    def _state(self) -> bytes:
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, slots in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": tensor for name, tensor in slots.items()}
        return checkpoint.pack(tensors | {"rng": self._generator.get_state()}, self._facts())

    def _resume(self, data: bytes) -> None:
        tensors, facts = checkpoint.unpack(data)
        if facts["plan"] != asdict(self.plan):
            before, now = facts["plan"], {**asdict(self.plan), "own": facts["plan"]["own"]}
            apart = [f"{key} {before.get(key)}, not {now[key]}" for key in now if before.get(key) != now[key]]
            what = f"with {', '.join(apart)}" if apart else "of other trials, or fewer"
            raise ConfigurationError(
                f"{self.folder} holds a pretraining {what}: choose another folder (--work)."
            )
        self.network.load_state_dict(checkpoint.under("network.", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in checkpoint.under("adam.", tensors).items():
            index, slot = name.split(".", 1)
            state.setdefault(int(index), {})[slot] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        self._generator.set_state(tensors["rng"])
        self.rounds = [Round(**done) for done in facts["rounds"]]

    def _save(self, number: int, rollouts: list[Rollout]) -> None:
        tensors = {
            f"{index}.{name}": tensor
            for index, rollout in enumerate(rollouts)
            for name, tensor in rollout.tensors().items()
        }
        write_whole(self._round(number), checkpoint.pack(tensors, {}))

    def _load(self, number: int) -> list[Rollout]:
        with _reading(self._round(number)) as data:
            tensors, _ = checkpoint.unpack(data)
            return [Rollout(**checkpoint.under(f"{index}.", tensors)) for index in range(self.plan.studies)]

    def _round(self, number: int) -> Path:
        return self.folder / f"round-{number:03}.safetensors"


@contextmanager
def _reading(path: Path) -> Iterator[bytes]:
    """The content of a file that is needed to go on.

    Raises:
        StorageError: it cannot be read, or what is done with it fails: it is damaged, or of another version.
    """
    try:
        with storing(path):
            data = path.read_bytes()
        yield data
    except ConfigurationError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # a StorageError is the last of these
        line = str(error).splitlines()[0]
        raise StorageError(
            f"{path} is needed to go on, but missing, damaged or of another version: {line}: "
            "begin in another folder (--work)"
        ) from error
