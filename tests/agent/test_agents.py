import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import Bandit, make_candidate, make_state, make_trial, play

from autoresearch_rl.agent import checkpoint
from autoresearch_rl.agent.agents import POLICIES, make_agent
from autoresearch_rl.agent.features import GENERATORS, OPERATORS
from autoresearch_rl.agent.ppo import PPOConfig
from autoresearch_rl.agent.ppo_agent import SLATE, STALEST, from_scratch, pretrained
from autoresearch_rl.agent.random_agent import RandomAgent
from autoresearch_rl.agent.slate import draw_slate
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.records import Verdict

UPWARDS = len(OPERATORS) + 1 + len(GENERATORS) + 1  # the feature "larger"
METRICS = {
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clipfrac",
    "explained_variance",
    "kl_to_start",
}


def crowded():
    """One site with thirty candidates, two with one."""
    many = [make_candidate("many", new=str(i)) for i in range(30)]
    return [*many, make_candidate("one"), make_candidate("two")]


def test_a_slate_is_uniform_over_sites():
    rng = np.random.default_rng(0)
    sites = Counter(draw_slate(crowded(), 1, rng)[0].edit.changes[0].site for _ in range(3000))

    assert all(abs(sites[site] / 3000 - 1 / 3) < 0.04 for site in ("many", "one", "two"))


def test_a_slate_is_distinct_and_reaches_everything():
    rng, everything = np.random.default_rng(0), crowded()
    slates = [draw_slate(everything, SLATE, rng) for _ in range(50)]

    assert all(len({c.edit for c in slate}) == len(slate) == SLATE for slate in slates)
    assert {c.edit for slate in slates for c in slate} == {c.edit for c in everything}
    assert Counter(draw_slate(everything, 99, rng)) == Counter(everything)


@pytest.mark.parametrize("name", POLICIES)
class TestEveryAgent:
    """What any agent must do."""

    def test_it_proposes_one_of_the_candidates_or_an_edit_for_the_same_script(self, name):
        agent, bandit = make_agent(name, 0), Bandit(0)
        chosen = [agent.propose(make_state(candidates=bandit.candidates, number=i)) for i in range(20)]

        if name in ("tpe", "cmaes"):
            values = {(change.site, change.old) for c in bandit.candidates for change in c.edit.changes}
            assert all((change.site, change.old) in values for c in chosen for change in c.edit.changes)
            assert all(change.new != change.old for c in chosen for change in c.edit.changes)
        else:
            assert all(c in bandit.candidates for c in chosen)
        assert len({c.edit for c in chosen}) > 5

    def test_it_says_so_when_there_is_nothing_to_choose(self, name):
        with pytest.raises(ConfigurationError, match="no candidate"):
            make_agent(name, 0).propose(make_state())

    def test_the_seed_decides(self, name):
        def sites(seed):
            return [t.edit for t in play(make_agent(name, seed), Bandit(0), 25)]

        assert sites(1) == sites(1)
        assert sites(1) != sites(2)

    @pytest.mark.parametrize("trials", [0, 7, 30, 53])
    def test_a_restored_agent_goes_on_as_if_nothing_had_happened(self, name, trials):
        agent, bandit = make_agent(name, 3), Bandit(3)
        history = play(agent, bandit, trials)
        saved, dice = agent.checkpoint(), bandit.rng.bit_generator.state
        expected = play(agent, bandit, 25, history)

        other, again = make_agent(name, 99), Bandit(3)
        play(other, Bandit(5), 12)
        other.restore(saved)
        again.rng.bit_generator.state = dice

        assert other.checkpoint() == saved
        assert play(other, again, 25, history) == expected
        assert other.checkpoint() == agent.checkpoint() != saved

    @pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff" * 100, b"null", b'{"numpy_rng": 3}'])
    def test_it_refuses_what_is_no_checkpoint_and_stays_as_it_was(self, name, data):
        agent = make_agent(name, 0)
        before = agent.checkpoint()
        with pytest.raises(StorageError) as caught:
            agent.restore(data)

        assert len(str(caught.value).splitlines()) == 1
        assert agent.checkpoint() == before

    def test_it_refuses_checkpoints_of_others_and_halves_of_its_own(self, name, checkpoints):
        agent = make_agent(name, 0)
        own = agent.checkpoint()
        others = [data for other, data in checkpoints.items() if other != name]
        for data in (*others, checkpoints[name][:-1], checkpoints[name][: len(checkpoints[name]) // 2]):
            with pytest.raises(StorageError) as caught:
                agent.restore(data)
            assert len(str(caught.value).splitlines()) == 1
            assert agent.checkpoint() == own

    def test_several_may_be_under_way_and_end_in_any_order(self, name):
        agent, bandit = make_agent(name, 0), Bandit(0)
        history, waiting = [], []
        for number in range(40):
            waiting.append((number, agent.propose(make_state(history, bandit.candidates, number))))
            if len(waiting) == 4:
                which, candidate = waiting.pop(number % 3)
                verdict = (Verdict.CRASH, Verdict.REJECTED, Verdict.PRUNED, Verdict.TIMEOUT)[number % 4]
                trial = bandit.run(which, candidate, history)
                if number % 5 == 0:
                    trial = replace(trial, verdict=verdict, val_bpb=None, forecast=None)
                history.append(trial)
                agent.learn(trial)
        agent.restore(agent.checkpoint())
        assert agent.propose(make_state(history, bandit.candidates, 40)).edit.changes

    @pytest.mark.parametrize("number", [4, 5])
    def test_what_is_left_to_choose_from_may_change_from_one_trial_to_the_next(self, name, number):
        """A leader that moved has other places and values."""
        agent = make_agent(name, 0)
        for n in range(number):
            here = [make_candidate(f"place_{n}", old=f"{n + 1}.0", new=f"{n + 2}.0"), make_candidate("same")]
            candidate = agent.propose(make_state(candidates=here, number=n))
            assert {(c.site, c.old) for c in candidate.edit.changes} <= {
                (c.site, c.old) for offered in here for c in offered.edit.changes
            }
            agent.learn(make_trial(n, candidate, gain=0.0))


@pytest.fixture(scope="module")
def checkpoints():
    """Of every policy, after a few trials."""
    agents = {name: make_agent(name, 1) for name in POLICIES}
    for agent in agents.values():
        play(agent, Bandit(1), 12)
    return {name: agent.checkpoint() for name, agent in agents.items()}


def test_an_unknown_policy_is_answered_with_the_choices():
    with pytest.raises(ConfigurationError, match=f"'magic'.*{', '.join(POLICIES)}"):
        make_agent("magic", 0)


def test_the_agents_are_known_without_torch_and_optuna():
    names = ("agent.agents", "agent.baselines", "agent.features", "agent.reward", "interface.running")
    modules = ", ".join(f"autoresearch_rl.{name}" for name in names)
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'optuna'}} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_random_agent_does_not_learn():
    agent, trial = RandomAgent(0), make_trial(0, make_candidate(), gain=1.0)
    before = agent.checkpoint()

    assert agent.learn(trial) == {}
    assert agent.checkpoint() == before


@pytest.mark.parametrize("seed", range(3))
def test_ppo_learns_from_scratch_which_sites_are_good(seed):
    bandit, agent = Bandit(seed), from_scratch(seed)
    history = play(agent, bandit, 250)
    state, rng = make_state(history, bandit.candidates), np.random.default_rng(0)
    ratios = []
    for _ in range(20):
        slate = draw_slate(bandit.candidates, SLATE, rng)
        good = [bandit.is_good(c) for c in slate]
        mass = sum(p for p, g in zip(agent.probabilities(state, slate), good, strict=True) if g)
        ratios.append(mass / (sum(good) / SLATE))

    # Uniform is 1.0; the floor and a third of good sites allow at most about 2.8.
    assert np.mean(ratios) > 1.7


def test_ppo_learns_nothing_where_there_is_nothing_to_learn():
    """The control of the test above: gains that do not depend on the choice."""
    bandit, agent = Bandit(0), from_scratch(0)
    history = []
    for number in range(250):
        chosen = agent.propose(make_state(history, bandit.candidates))
        history.append(make_trial(number, chosen, gain=0.02 * float(bandit.rng.standard_normal())))
        agent.learn(history[-1])
    probabilities = agent.probabilities(make_state(history, bandit.candidates), bandit.candidates[:SLATE])

    assert max(probabilities) < 6 / SLATE


def learn_from(gain_of, trials, seed):
    """A pretrained agent that sees the same first state again and again: what it learns is in the network."""
    bandit, agent, chosen, moved = Bandit(seed), pretrained(seed), [], []
    for number in range(trials):
        candidate = agent.propose(make_state(candidates=bandit.candidates, number=number))
        chosen.append(candidate)
        if metrics := agent.learn(make_trial(number, candidate, gain=gain_of(candidate, bandit.rng))):
            moved.append(metrics["kl_to_start"])
    return chosen, moved


@pytest.mark.parametrize("seed", range(3))
def test_noise_hardly_moves_what_was_pretrained(seed):
    _, moved = learn_from(lambda _, rng: 0.02 * float(rng.standard_normal()), 60, seed)
    assert 0.0 < max(moved) < 0.01


@pytest.mark.parametrize("seed", range(2))
def test_what_is_said_again_and_again_is_learnt(seed):
    chosen, _ = learn_from(lambda candidate, _: 0.02 * candidate.direction, 300, seed)
    first, last = (np.mean([c.direction > 0 for c in part]) for part in (chosen[:50], chosen[-50:]))
    assert last > first + 0.2


def test_a_stale_choice_counts_by_how_likely_it_has_become() -> None:
    agent = from_scratch(0)
    play(agent, Bandit(0), 9)
    torch.nn.init.normal_(agent.network.actor.weight, std=2.0, generator=torch.Generator().manual_seed(0))
    batch = agent._batch()
    with torch.no_grad():
        now = agent.network(*batch.seen)[0].gather(-1, batch.action[:, None])[:, 0]
    ratio = (now - torch.tensor([decision.log_prob for decision in agent._window])).exp()
    assert float(ratio.max()) > STALEST > 1.0 > float(ratio.min())
    torch.testing.assert_close(batch.weight, ratio.clamp(max=STALEST))
    assert torch.equal(batch.log_prob, now)


def test_an_update_happens_every_ten_completed_trials():
    agent, bandit, history, updates = from_scratch(0), Bandit(0), [], {}
    for number in range(30):
        trial = bandit.run(number, agent.propose(make_state(history, bandit.candidates)), history)
        history.append(trial)
        updates[number] = agent.learn(trial)

    assert {number for number, metrics in updates.items() if metrics} == {9, 19, 29}
    assert set(updates[29]) == METRICS
    assert all(np.isfinite(value) for value in updates[29].values())


def test_trials_may_complete_in_any_order():
    """Each reward must reach the decision of its own number."""
    agent, bandit = from_scratch(0, PPOConfig(update_every=6)), Bandit(0)
    chosen = [agent.propose(make_state(candidates=bandit.candidates, number=i)) for i in range(6)]
    for number in (4, 2, 5, 0, 1, 3):
        agent.learn(make_trial(number, chosen[number], gain=0.001 * (number + 1)))
    tensors, _ = checkpoint.unpack(agent.checkpoint())

    assert tensors["window.reward"].tolist() == pytest.approx([4.0, 2.0, 5.0, 0.0, 1.0, 3.0])
    directions = tensors["window.candidate"][torch.arange(6), tensors["window.action"]][:, UPWARDS]
    assert directions.tolist() == [float(chosen[n].direction > 0) for n in (4, 2, 5, 0, 1, 3)]


@pytest.mark.parametrize("scale", [1e-6, 10.0])
def test_learning_does_not_depend_on_the_scale_of_the_gains(scale):
    def learnt(factor):
        agent, bandit = from_scratch(0), Bandit(0)
        slate = bandit.candidates[:SLATE]
        before = agent.probabilities(make_state(), slate)
        for number in range(20):
            c = agent.propose(make_state(candidates=bandit.candidates, number=number, noise=0.001 * factor))
            agent.learn(make_trial(number, c, gain=0.003 * factor * (1.0 if bandit.is_good(c) else -1.0)))
        return np.log(agent.probabilities(make_state(), slate)) - np.log(before)

    assert np.abs(learnt(1.0)).max() > 0.01
    np.testing.assert_allclose(learnt(scale), learnt(1.0), rtol=0.0, atol=1e-3)


def test_a_slate_may_be_small():
    agent, candidates = from_scratch(0, PPOConfig(update_every=3)), crowded()[-2:]
    for number in range(3):
        metrics = agent.learn(
            make_trial(number, agent.propose(make_state(candidates=candidates, number=number)))
        )

    assert metrics["entropy"] == pytest.approx(np.log(2), abs=1e-3)
    assert sum(agent.probabilities(make_state(), candidates)) == pytest.approx(1.0)


def test_an_outcome_nobody_asked_for_is_refused():
    agent = from_scratch(0)
    agent.propose(make_state(candidates=crowded(), number=5))
    trial = make_trial(5, make_candidate(), gain=0.0)
    with pytest.raises(ConfigurationError, match="trial 4 was not proposed"):
        agent.learn(make_trial(4, make_candidate(), gain=0.0))
    agent.learn(trial)
    with pytest.raises(ConfigurationError, match="trial 5 was not proposed"):
        agent.learn(trial)


def test_torchs_global_generator_is_left_alone():
    before = torch.get_rng_state()
    agent = from_scratch(0)
    play(agent, Bandit(0), 12)
    agent.restore(agent.checkpoint())

    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def saved():
    agent = from_scratch(0)
    play(agent, Bandit(0), 45)
    return agent.checkpoint()


def test_a_checkpoint_is_small(saved):
    assert len(saved) < 1_000_000


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_damaged_checkpoint_is_noticed(saved, data):
    """Every flipped bit and every lost tail: an error, or (in padding) exactly the same agent."""
    where = data.draw(st.integers(0, 3000) | st.integers(0, len(saved) - 1))
    flipped = bytearray(saved)
    flipped[where] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (bytes(flipped), saved[:where]):
        assert attempt(damaged) in ("one line of complaint", saved)


def attempt(data):
    agent = from_scratch(0)
    try:
        agent.restore(data)
    except StorageError as error:
        return "one line of complaint" if len(str(error).splitlines()) == 1 else str(error)
    return agent.checkpoint()


def reshaped(saved, **changes):
    tensors, metadata = checkpoint.unpack(saved)
    return checkpoint.pack({k: v for k, v in (tensors | changes).items() if v is not None}, metadata)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("window.candidate", torch.zeros(40, 8, 53)),
        ("window.context", None),
        ("window.action", torch.zeros(40)),
        ("window.reward", torch.zeros(39, dtype=torch.float64)),
        ("network.actor.weight", torch.zeros(1, 32)),
        ("network.critic.0.bias", None),
        ("adam.0.exp_avg", torch.zeros(3)),
        ("adam.2.step", None),
        ("torch_rng", torch.zeros(10, dtype=torch.uint8)),
    ],
)
def test_a_checkpoint_of_another_shape_is_refused_by_name(saved, name, tensor):
    agent = from_scratch(1)
    before = agent.checkpoint()
    with pytest.raises(StorageError, match="not one of this version's ppo agent") as caught:
        agent.restore(reshaped(saved, **{name: tensor}))

    assert len(str(caught.value).splitlines()) == 1
    assert agent.checkpoint() == before


def test_checkpoints_of_two_kinds_of_agents_are_not_confused(saved):
    with pytest.raises(StorageError):
        RandomAgent(0).restore(saved)
    with pytest.raises(StorageError):
        from_scratch(0).restore(RandomAgent(0).checkpoint())


def test_a_slate_follows_its_weights_but_every_candidate_can_be_on_it() -> None:
    candidates = [make_candidate("a", magnitude=magnitude) for magnitude in (0.1, 0.7, 5.0)]
    rng = np.random.default_rng(0)
    weights = {0.1: 1.0, 0.7: 4.0, 5.0: 1.0}
    drawn = [draw_slate(candidates, 1, rng, lambda c: weights[c.magnitude])[0].magnitude for _ in range(3000)]
    shares = [drawn.count(candidate.magnitude) / 3000 for candidate in candidates]
    assert shares == pytest.approx([1 / 6, 4 / 6, 1 / 6], abs=0.03)
