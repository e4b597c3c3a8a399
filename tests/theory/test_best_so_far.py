"""docs/theory.md, sections 1 to 4: reward, best-so-far, full support, and the number of trials."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from chance import agrees, at_most, exceeds
from numpy.typing import NDArray

from autoresearch_rl.agent import prior
from autoresearch_rl.agent.policy import entropy, mixture_log_probs
from autoresearch_rl.agent.ppo import Batch, PPOConfig, ppo_loss
from autoresearch_rl.agent.ppo_agent import BEST, SLATE, PPOAgent, from_scratch
from autoresearch_rl.agent.reward import progress, reward
from autoresearch_rl.agent.slate import draw_slate
from autoresearch_rl.agent.tallies import remember
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.records import Candidate, Change, Edit, State, Verdict
from autoresearch_rl.target.edits import apply
from autoresearch_rl.target.generators.literals import Literals
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import Space, full_space

TRAIN = "\ndef train(env):\n    return env\n"


@pytest.fixture(autouse=True)
def _one_thread():
    """Arrays this small are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trials_needed(p_min: float, delta: float) -> int:
    """Section 4."""
    return math.ceil(math.log(1 / delta) / -math.log1p(-p_min))


def policy(scores: NDArray[np.float64], epsilon: float) -> NDArray[np.float64]:
    """Our own policy over arms, `[runs, arms]`."""
    tensor = torch.from_numpy(scores)
    result: NDArray[np.float64] = (
        mixture_log_probs(tensor, torch.ones_like(tensor).bool(), epsilon).exp().numpy()
    )
    return result


def candidate(site: str, new: str = "2") -> Candidate:
    return Candidate(Edit((Change(site, "1", new),)), "literals", "scale", 1, 0.1)


def state(candidates: list[Candidate]) -> State:
    return State(0, "x = 1", 2.0, 2.5, 0.001, (), tuple(candidates))


# --- 1. the reward


def earned(gain: float) -> float:
    return reward(Verdict.DISCARD, gain, 3.0, 3.0, 0.0, (), lambda_eff=0.0, xi=0.0)


def test_the_gains_of_exact_keeps_add_up_to_what_the_study_has_won() -> None:
    kept = [4.0, 3.5, 3.1, 2.9]
    total = sum(earned(before - after) for before, after in pairwise(kept))
    assert total == pytest.approx(kept[0] - kept[-1])
    assert earned(3.0 - 3.1) < 0.0  # as the paper prints it this would be positive


def test_the_bound_on_losses_pays_for_noise() -> None:
    """E max(sZ, -q) = s phi(q / s) - q Phi(-q / s) > 0 for an edit that changes nothing."""
    s, q = 0.1, 0.1  # q is what `reward` takes while it knows no losses
    rewards = np.array([earned(gain) for gain in np.random.default_rng(0).normal(0.0, s, 20_000)])
    expected = s * 0.24197072 - q * 0.15865525
    assert abs(rewards.mean() - expected) < 4 * rewards.std() / math.sqrt(20_000)
    assert expected > 0.008


def test_a_threshold_leaves_a_fifth_of_what_noise_is_paid() -> None:
    """E max(sZ - s, 0) = s (phi(1) - Phi(-1)), against s phi(0) without the threshold."""
    s = 0.1
    gains = np.random.default_rng(0).normal(0.0, s, 20_000)
    paid = np.array([progress(gain, s, scale=1.0) for gain in gains])
    expected = s * (0.24197072 - 0.15865525)
    assert abs(paid.mean() - expected) < 4 * paid.std() / math.sqrt(20_000)
    assert paid.mean() < 0.25 * np.maximum(gains, 0.0).mean()


# --- 2. best-so-far


SINGLE = Space([Literals()], compound=False)
Choice = Callable[[list[Candidate], np.random.Generator], Candidate]


def any_of(found: list[Candidate], dice: np.random.Generator) -> Candidate:
    return draw_slate(found, 1, dice)[0]


def last_of(found: list[Candidate], dice: np.random.Generator) -> Candidate:
    """The choice of a policy that gives everything else no chance."""
    return found[-1]


def search(
    script: Script,
    value: Callable[[str], float],
    noise: float,
    seed: int,
    choose: Choice = any_of,
    space: Space = SINGLE,
) -> list[Script]:
    """Our loop, leading with every lower measurement: all leaders, until no edit is left untried."""
    dice, tried, leaders = np.random.default_rng(seed), {script.normal.id}, [script]
    best = value(script.source) + noise * dice.standard_normal()
    while found := space.candidates(leaders[-1], tried):
        edited = apply(leaders[-1], choose(found, dice).edit)
        tried.add(edited.normal.id)
        measured = value(edited.source) + noise * dice.standard_normal()
        if measured < best:
            best = measured
            leaders.append(edited)
    return leaders


def switches(*names: str) -> Script:
    return Script("".join(f"{name} = False\n" for name in names) + TRAIN)


def wrong(source: str) -> float:
    """How many switches are still off: every one that is turned on helps."""
    return 1.0 + source.count("False")


@pytest.mark.parametrize("choose", [any_of, last_of])
def test_the_true_best_so_far_never_rises_and_reaches_a_local_optimum(choose: Choice) -> None:
    """Also without a floor, since nothing is tried twice."""
    for seed in range(6):
        leaders = search(switches(*"ABCDE"), wrong, 0.0, seed, choose)
        values = [wrong(leader.source) for leader in leaders]
        assert values == sorted(values, reverse=True)
        assert values[-1] == 1.0


def test_with_noise_the_true_value_of_the_leader_rises() -> None:
    runs = [[wrong(s.source) for s in search(switches(*"ABCDE"), wrong, 1.0, seed)] for seed in range(10)]
    assert any(after > before for run in runs for before, after in pairwise(run))
    assert any(run[-1] > 1.0 for run in runs)


def test_single_edits_do_not_reach_the_best_across_a_valley() -> None:
    """Two switches that help only together: no agent can leave (False, False) by our generator."""
    bpb = {0: 2.0, 1: 3.0, 2: 1.0}
    leaders = search(switches("A", "B"), lambda source: bpb[source.count("True")], 0.0, seed=0)
    assert len(leaders) == 1


def test_compound_edits_cross_the_valley() -> None:
    bpb = {0: 2.0, 1: 3.0, 2: 1.0}
    space = Space([Literals()])
    leaders = search(switches("A", "B"), lambda source: bpb[source.count("True")], 0.0, seed=0, space=space)
    assert len(leaders) == 2


# --- 3. full support


@pytest.mark.parametrize(("arms", "epsilon", "delta"), [(2, 0.1, 0.05), (16, 0.1, 0.1), (5, 0.3, 0.01)])
def test_with_the_floor_every_search_arrives_in_time_and_the_bound_is_tight(
    arms: int, epsilon: float, delta: float
) -> None:
    """The scores all but forbid arm 0, the best, so that nothing but the floor proposes it."""
    p_min = epsilon / arms
    scores = np.full((1, arms), 50.0)
    scores[0, 0] = -1e4
    chance = policy(scores, epsilon)[0, 0]
    assert chance == pytest.approx(p_min)

    trials = trials_needed(p_min, delta)
    found = (np.random.default_rng(arms).random((5_000, trials)) < chance).any(axis=1)
    assert at_most(~found, delta)
    assert agrees(~found, (1 - p_min) ** trials)
    assert (1 - p_min) ** (trials - 1) > delta  # one trial fewer would not do


def test_the_floor_may_depend_on_the_past_as_it_likes() -> None:
    """Here it doubles after each improvement of something else, and falls back; never below p_min."""
    p_min, delta, runs = 0.02, 0.05, 5_000
    dice = np.random.default_rng(1)
    found, lucky = np.zeros(runs, bool), np.zeros(runs, bool)
    for _ in range(trials_needed(p_min, delta)):
        found |= dice.random(runs) < np.where(lucky, 2 * p_min, p_min)
        lucky = dice.random(runs) < np.where(found, 0.9, 0.01)
    assert at_most(~found, delta)


def test_a_floor_that_holds_only_on_average_is_not_enough() -> None:
    """One coin for the whole study: every trial lands with chance p_min, and most studies never do."""
    p_min, delta = 0.1, 0.05
    coin = np.random.default_rng(2).random((5_000, 1)) < p_min
    found = np.broadcast_to(coin, (5_000, trials_needed(p_min, delta))).any(axis=1)
    assert agrees(~found, 1 - p_min)
    assert exceeds(~found, delta)


@pytest.mark.parametrize(("power", "never"), [(1, lambda n: 1 / n), (2, lambda n: (n + 1) / (2 * n))])
def test_a_floor_may_fade_as_long_as_its_sum_does_not_end(power: int, never: Callable[[int], float]) -> None:
    """Floors 1/k and 1/k^2 for k = 2..n miss with chance 1/n, and (n + 1) / (2 n), which stays above 1/2."""
    n = 400
    floors = np.arange(2, n + 1, dtype=float) ** -power
    found = (np.random.default_rng(power).random((20_000, n - 1)) < floors).any(axis=1)
    assert agrees(~found, never(n))


def never_tried_the_better_arm(epsilon: float, steps: int, runs: int) -> NDArray[np.bool_]:
    """Two arms that both pay: whatever is tried gains ln 2 of score. True where arm 1 was never tried."""
    dice, scores = np.random.default_rng(3), np.zeros((runs, 2))
    never = np.ones(runs, bool)
    for _ in range(steps):
        second = dice.random(runs) < policy(scores, epsilon)[:, 1]
        scores[np.arange(runs), second.astype(int)] += math.log(2.0)
        never &= ~second
    return never


def test_without_the_floor_a_softmax_that_reinforces_what_pays_starves_the_better_arm() -> None:
    """The product over t of 1 / (1 + 2^-t), 0.2097; what is left of it after 60 steps is below 2^-59."""
    forever = math.prod(1 / (1 + 2.0**-t) for t in range(60))
    assert forever == pytest.approx(0.20971, abs=1e-5)
    assert agrees(never_tried_the_better_arm(0.0, steps=60, runs=10_000), forever)


def test_with_the_floor_the_same_softmax_tries_both() -> None:
    epsilon, steps = 0.1, 60
    never = never_tried_the_better_arm(epsilon, steps, runs=10_000)
    assert at_most(never, (1 - epsilon / 2) ** steps)
    exact = math.prod((1 - epsilon) / (1 + 2.0**-t) + epsilon / 2 for t in range(steps))
    assert agrees(never, exact)


def test_the_clipped_surrogate_is_content_when_the_ratio_is_at_the_clip() -> None:
    """Its smallest maximiser multiplies what paid by 1 + clip_coef; from 1/2 that is 1 in four steps."""
    config, clip = PPOConfig(), PPOConfig().clip_coef

    def loss(ratio: float) -> float:
        empty = torch.zeros(1)
        batch = Batch(*[empty] * 4, torch.zeros(1), torch.ones(1), empty, torch.ones(1), empty)
        return float(ppo_loss(torch.tensor([math.log(ratio)]), empty, empty, batch, config).policy_loss)

    assert loss(1.0) > loss(1.1) > loss(1 + clip)
    assert loss(1 + clip) == pytest.approx(loss(2.0)) == pytest.approx(loss(50.0))

    chances, never, dice = [0.5], np.ones(20_000, bool), np.random.default_rng(4)
    while chances[-1] < 1.0:
        never &= dice.random(20_000) < chances[-1]
        chances.append(min(1.0, chances[-1] * (1 + clip)))
    assert len(chances) == 5
    assert agrees(never, 0.5 * 0.6 * 0.72 * 0.864)


def test_entropy_may_be_high_while_the_best_has_no_chance() -> None:
    arms = 16
    others = torch.tensor([[-math.inf] + [-math.log(arms - 1)] * (arms - 1)])
    assert entropy(others).item() == pytest.approx(math.log(arms - 1))
    assert math.log(arms - 1) / math.log(arms) > 0.97  # of the highest entropy there is


# --- our own agent's floor


def opinionated(epsilon: float) -> PPOAgent:
    """An agent whose scores are so far apart that only the floor is left of most candidates."""
    agent = from_scratch(0, PPOConfig(epsilon=epsilon))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in agent.network.parameters():
            parameter += 100 * torch.randn(parameter.shape, generator=generator)
    return agent


def test_on_a_slate_each_candidate_has_its_part_of_epsilon_and_no_more_is_sure() -> None:
    slate = [candidate(f"site_{i}", str(2 + i)) for i in range(SLATE)]
    slate = [Candidate(c.edit, c.generator, c.operator, (-1) ** i, 0.1 * i) for i, c in enumerate(slate)]
    chances = opinionated(0.1).probabilities(state(slate), slate)
    assert min(chances) == pytest.approx(0.1 / SLATE, rel=1e-3)
    assert min(opinionated(0.0).probabilities(state(slate), slate)) < 1e-9


def odds_against(site: str) -> Callable[[Candidate], float]:
    """The widest odds that the prior can give: all others 32, this site's candidates 1/32."""
    low, high = math.exp(-prior.LIMIT), math.exp(prior.LIMIT)
    return lambda c: low if c.edit.changes[0].site == site else high


def on_slate(
    candidates: list[Candidate], size: int, weight: Callable[[Candidate], float], draws: int
) -> NDArray[np.bool_]:
    dice, wanted = np.random.default_rng(5), candidates[0]
    return np.array([wanted in draw_slate(candidates, size, dice, weight) for _ in range(draws)])


def test_the_chance_to_be_on_the_slate_is_at_least_that_of_sixteen_first_draws() -> None:
    """Equal odds, 8 sites of 10: the first draw is exact, and sixteen miss it no more than (1 - q)^16."""
    candidates = [candidate(f"site_{i}", str(j)) for i in range(8) for j in range(10)]
    q = 1 / (10 * 8)
    assert agrees(on_slate(candidates, 1, lambda c: 1.0, draws=4_000), q)
    assert at_most(~on_slate(candidates, SLATE, lambda c: 1.0, draws=1_000), (1 - q) ** SLATE)


def test_at_the_widest_odds_the_first_draw_is_as_rare_as_the_bound_says() -> None:
    """Two sites of one candidate: 1/1025. 8000 draws find 7.8; outside of 1 to 20 by 1 chance in 2000."""
    hits = on_slate([candidate("poor"), candidate("rich")], 1, odds_against("poor"), draws=8_000)
    assert math.exp(2 * prior.LIMIT) == pytest.approx(1024)
    assert 1 <= hits.sum() <= 20


def first_draws(found: list[Candidate], shares: Mapping[str, float]) -> dict[str, list[float]]:
    """By generator, the chance of each candidate to be drawn first, before anything is known."""
    pools: dict[str, dict[tuple[str, ...], list[float]]] = {}
    for c in found:
        odds = math.exp(prior.log_odds(c, remember((), 1.0, 2.0)))
        pools.setdefault(c.generator, {}).setdefault(c.topics, []).append(odds)
    present = sum(shares[name] for name in pools)
    return {
        name: [
            shares[name] / present * max(odds) / sum(map(max, pool.values())) * w / sum(odds)
            for odds in pool.values()
            for w in odds
        ]
        for name, pool in pools.items()
    }


def test_the_figures_of_the_page_are_those_of_stdlib() -> None:
    """When this fails because a task, a generator or the prior has changed, change the page."""
    space = full_space()
    found = space.candidates(Script(load_task("stdlib").baseline.read_text("utf-8")))
    sites = Counter(c.topics for c in found if c.generator == "literals")
    counts = Counter(c.generator for c in found if not c.parts)
    assert counts == {"literals": 159, "recipes": 64, "grammar": 102}
    assert (len(sites), max(sites.values()), counts.total()) == (26, 12, 325)

    chances = first_draws(found, space.shares())
    assert sum(map(sum, chances.values())) == pytest.approx(1)
    single = min(q for name, chance in chances.items() if name != "compound" for q in chance)
    widest = min(
        space.shares()[name] / (1024 * topics * most)
        for name, topics, most in (("literals", 26, 12), ("recipes", 64, 1), ("grammar", 102, 1))
    )

    def floor(q: float) -> float:
        return PPOConfig().epsilon / SLATE * (1 - (1 - q) ** (SLATE - BEST))

    assert (PPOConfig().epsilon, SLATE, BEST) == (0.05, 32, 16)
    assert floor(single) == pytest.approx(1.2e-5, rel=0.05)
    assert floor(widest) == pytest.approx(2.7e-8, rel=0.05)
    assert trials_needed(floor(single), 0.05) == pytest.approx(245_000, rel=0.02)


# --- 4. the sample bound


def test_the_papers_factor_is_too_small_where_epsilon_exceeds_one_over_e() -> None:
    p_min, delta, epsilon = 0.05, 0.05, 0.5
    paper = math.ceil(math.log(1 / epsilon) * math.log(1 / delta) / p_min)
    found = (np.random.default_rng(6).random((20_000, paper)) < p_min).any(axis=1)
    assert exceeds(~found, delta)


@pytest.mark.parametrize("p", [0.5, 0.1, 0.01, 1e-4])
def test_the_familiar_form_is_a_little_too_careful(p: float) -> None:
    exact = math.log(20) / -math.log1p(-p)
    assert (1 - p) * math.log(20) / p <= exact <= math.log(20) / p


def found(p_min: float, seen: float, trials: int) -> NDArray[np.bool_]:
    dice, shape = np.random.default_rng(7), (10_000, trials)
    return ((dice.random(shape) < p_min) & (dice.random(shape) < seen)).any(axis=1)


def test_a_landing_that_the_measurement_may_miss_scales_p_min() -> None:
    """Recognised with a chance of 0.6, whatever came before: it takes the trials of 0.6 p_min."""
    p_min, seen, delta = 0.05, 0.6, 0.05
    assert at_most(~found(p_min, seen, trials_needed(p_min * seen, delta)), delta)
    assert exceeds(~found(p_min, seen, trials_needed(p_min, delta)), delta)
