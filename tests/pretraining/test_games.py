"""What policies are trained on, and what a rollout tells of it."""

import math
import random
from collections import Counter
from pathlib import Path

import pytest
import torch

from autoresearch_rl.agent.features import F_C, F_S
from autoresearch_rl.agent.policy import ActorCritic
from autoresearch_rl.interface.options import LARGEST_SEED
from autoresearch_rl.interface.policy_bench.simulated import FIRST_HELD_OUT, held_out_game
from autoresearch_rl.pretraining import rollouts
from autoresearch_rl.pretraining.pretrain import PPO_CONFIG, Plan, Pretraining
from autoresearch_rl.pretraining.problems import HELD_OUT, MADE, TRAINING, Game, draw_game
from autoresearch_rl.pretraining.rollouts import CRASHED, Rollout, play
from autoresearch_rl.pretraining.training import improve
from autoresearch_rl.records import Candidate, Change, Edit
from autoresearch_rl.simulation.conditions import Conditions
from autoresearch_rl.simulation.landscapes.families import FAMILIES


def test_families_held_out_are_never_trained_on() -> None:
    assert sorted((*TRAINING, *HELD_OUT)) == sorted(FAMILIES)
    drawn = Counter(draw_game(random.Random(seed)).family for seed in range(24))
    assert set(drawn) <= {MADE, *TRAINING}
    assert 4 <= drawn[MADE] <= 12
    assert len(drawn) > 5
    held_out = [held_out_game(seed).family for seed in range(8)]
    assert Counter(held_out) == {MADE: 4, **dict.fromkeys(HELD_OUT, 1)}


@pytest.mark.parametrize("seed", [0, 1, 255, 256, 257, LARGEST_SEED])
def test_no_problem_of_a_bench_is_trained_on(tmp_path: Path, seed: int) -> None:
    run = Pretraining(tmp_path, Plan(seed=seed))
    first, last = run._seeds(0)[0], run._seeds(1_000_000)[-1]
    assert last < FIRST_HELD_OUT or first > FIRST_HELD_OUT + LARGEST_SEED


class Rungs:
    """Up gains, down costs half as much."""

    baseline, sigma = "10", 0.05

    def candidates(self, source: str) -> list[Candidate]:
        edits = [(step, Edit((Change("rung", source, str(int(source) + step)),))) for step in (1, -1)]
        return [Candidate(edit, "literals", "step", step, 0.7) for step, edit in edits]

    def apply(self, source: str, edit: Edit) -> str:
        if source != edit.changes[0].old:
            raise KeyError("rung")
        return edit.changes[0].new

    def truth(self, source: str) -> float:
        steps = int(source) - 10
        return 3.0 - (0.08 if steps > 0 else 0.04) * steps


def test_a_rollout_tells_what_each_choice_is_truly_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "LENGTHS", (12,))
    game = Game("rungs", Rungs(), Conditions(), 3.0, 2.0, 2.0)
    found = play(ActorCritic(0.02, torch.Generator().manual_seed(0)), 0, draw=lambda dice: game)
    up, down = found.worth[0][found.mask[0]].sort(descending=True).values.tolist()
    assert up == pytest.approx(-2.0 * down)
    assert up > 0.0
    gained = 1.0 - math.exp(-float(found.reward.sum()))
    assert gained == pytest.approx(float(found.final), abs=1e-6)
    assert gained > 0.0


def test_ppo_makes_what_was_rewarded_likelier() -> None:
    """Of two candidates one is rewarded, whichever was chosen."""
    generator = torch.Generator().manual_seed(0)
    network = ActorCritic(0.02, generator)
    steps, mask = 60, torch.tensor([True, True, False, False])
    candidate = torch.zeros(steps, 4, F_C, dtype=torch.float16)
    good = torch.randint(2, (steps,), generator=generator)
    candidate[torch.arange(steps), good, 0] = 1.0
    action = torch.randint(2, (steps,), generator=generator)
    seen = (candidate, torch.zeros(steps, F_S, dtype=torch.float16), mask.repeat(steps, 1))

    def likely() -> torch.Tensor:
        with torch.no_grad():
            return network(*seen)[0].gather(-1, good[:, None]).exp().mean()

    before, optimizer = likely(), torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(3):
        with torch.no_grad():
            log_prob = network(*seen)[0].gather(-1, action[:, None])[:, 0]
        reward = (action == good).float() - 0.5
        rollout = Rollout(*seen, action, log_prob, torch.zeros(steps, 4), reward, torch.tensor(0.0))
        improve(network, optimizer, [rollout], PPO_CONFIG, generator)
    assert likely() > before + 0.05


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
