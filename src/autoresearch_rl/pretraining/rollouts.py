"""Studies that are played to learn from: what was decided, and what each choice was truly worth."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from autoresearch_rl.agent.policy import ActorCritic
from autoresearch_rl.agent.ppo_agent import Choice, PPOAgent
from autoresearch_rl.pretraining.problems import Game, draw_game
from autoresearch_rl.records import Candidate, State, Trial, script_id
from autoresearch_rl.simulation.study import SimulatedStudy

CRASHED = -2.0  # what a crash is worth, in ordinary effects
Draw = Callable[[random.Random], Game]

LENGTHS = (40, 60, 80, 120, 200)  # trials of a study
LEAST = 0.02  # share of what is left to gain below which it counts as no less


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """The T decisions of a study, slates padded to K.

    Attributes:
        candidate, context, mask: what was seen, as the network reads it, `[T, ...]`.
        action, log_prob: what was chosen, `[T]`.
        worth: true gain of each candidate of the slate over the leader, in ordinary effects, `[T, K]`.
        reward: by how much what is left to gain truly shrank until the next decision, as a logarithm, `[T]`.
        final: share of what could be gained that was gained in all.
    """

    candidate: Tensor
    context: Tensor
    mask: Tensor
    action: Tensor
    log_prob: Tensor
    worth: Tensor
    reward: Tensor
    final: Tensor  # []

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class _Recorder:
    """An agent that never changes, and writes down what was true when it chose."""

    def __init__(self, agent: PPOAgent) -> None:
        self.agent = agent
        self.study: SimulatedStudy | None = None
        self.choices: list[Choice] = []
        self.worth: list[Tensor] = []
        self.leaders: list[float] = []

    def propose(self, state: State) -> Candidate:
        choice = self.agent.decide(state)
        assert self.study is not None
        truth = self.study.truth(script_id(state.script))
        assert truth is not None
        worth = torch.zeros(len(choice.decision.mask))
        for i, candidate in enumerate(choice.slate):
            source = self.study.result(candidate)
            bpb = None if source is None else self.study.problem.truth(source)
            worth[i] = CRASHED if bpb is None else max(CRASHED, (truth - bpb) / choice.scale)
        self.choices.append(choice)
        self.worth.append(worth)
        self.leaders.append(truth)
        return choice.candidate

    def learn(self, trial: Trial) -> Mapping[str, float]:
        return {}

    def checkpoint(self) -> bytes:
        return b""

    def restore(self, data: bytes) -> None:
        raise NotImplementedError


def play(network: ActorCritic, seed: int, repetition: int = 0, draw: Draw = draw_game) -> Rollout:
    """Plays one study with a network that does not change meanwhile.

    Args:
        network: chooses.
        seed: of the problem, its conditions, and how long it is played.
        repetition: of the choices and of the noise.
        draw: makes the problem and its conditions.
    """
    dice = random.Random(seed)
    game = draw(dice)
    luck = hash((seed, repetition)) & 0xFFFFFFFF
    recorder = _Recorder(PPOAgent(luck, network, online=False))
    study = recorder.study = SimulatedStudy(game.problem, recorder, luck, game.conditions)
    study.run(dice.choice(LENGTHS))
    leaders = torch.tensor([*recorder.leaders, study.best()], dtype=torch.float64)
    left = (1.0 - (game.start - leaders) / game.limit).clamp(min=LEAST)
    made = [choice.decision for choice in recorder.choices]
    return Rollout(
        candidate=torch.stack([d.candidate for d in made]),
        context=torch.stack([d.context for d in made]),
        mask=torch.stack([d.mask for d in made]),
        action=torch.tensor([d.action for d in made]),
        log_prob=torch.tensor([d.log_prob for d in made]),
        worth=torch.stack(recorder.worth),
        reward=-left.log().diff().float(),
        final=torch.tensor(game.gained(study.best())),
    )


def joined(rollouts: Sequence[Rollout]) -> dict[str, Tensor]:
    """All decisions of several studies, `[sum of T, ...]`; without `final`."""
    names = [field.name for field in fields(Rollout) if field.name != "final"]
    return {name: torch.cat([getattr(rollout, name) for rollout in rollouts]) for name in names}
