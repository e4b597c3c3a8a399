"""What policies are trained on, and what a rollout tells of it."""

import random
from collections import Counter

import pytest
import torch

from autoresearch_rl.agent.policy import ActorCritic
from autoresearch_rl.interface.policy_bench.simulated import held_out_game
from autoresearch_rl.pretraining import rollouts
from autoresearch_rl.pretraining.problems import HELD_OUT, MADE, TRAINING, draw_game
from autoresearch_rl.pretraining.rollouts import CRASHED, play
from autoresearch_rl.simulation.landscapes.families import FAMILIES


def test_families_held_out_are_never_trained_on() -> None:
    assert sorted((*TRAINING, *HELD_OUT)) == sorted(FAMILIES)
    drawn = Counter(draw_game(random.Random(seed)).family for seed in range(24))
    assert set(drawn) <= {MADE, *TRAINING}
    assert 4 <= drawn[MADE] <= 12
    assert len(drawn) > 5
    held_out = [held_out_game(seed).family for seed in range(8)]
    assert Counter(held_out) == {MADE: 4, **dict.fromkeys(HELD_OUT, 1)}


def test_a_game_knows_what_can_be_gained() -> None:
    for seed in range(6):
        game = draw_game(random.Random(seed))
        assert game.problem.truth(game.problem.baseline) == pytest.approx(game.start)
        assert 0.0 < game.headroom <= game.limit < game.start
        assert game.gained(game.start) == 0.0
        assert game.gained(game.start - game.headroom) == pytest.approx(1.0)


def test_rollouts_of_all_sorts_are_finite_and_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "LENGTHS", (12,))
    network = ActorCritic(0.02, torch.Generator().manual_seed(0))
    families = set()
    for seed in range(5):
        families.add(draw_game(random.Random(seed)).family)
        found = play(network, seed)
        assert all(bool(torch.isfinite(tensor).all()) for tensor in found.tensors().values())
        assert len(found.action) == len(found.worth) == len(found.reward)
        assert float(found.worth.min()) >= CRASHED
        assert float(found.worth[~found.mask].abs().sum()) == 0.0
        assert float(found.reward.sum()) >= -1e-6
        again = play(network, seed)
        assert torch.equal(again.action, found.action)
    assert MADE in families
    assert len(families) > 1
