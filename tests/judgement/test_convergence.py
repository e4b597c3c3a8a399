import math
import random
from bisect import bisect
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_trials import made

from autoresearch_rl.judgement.convergence import (
    DELTA,
    FEWEST,
    GAINS,
    RATES,
    SHAPES,
    SHOULDER,
    gain_probability,
    gains_at,
    outlook,
)
from autoresearch_rl.records import TrialKind, Verdict

KEEP, EPSILON = Verdict.KEEP, 0.01
WAITS = st.lists(st.integers(1, 80), max_size=60)


def at(waits):
    """When the gains come that are waited for so long."""
    return [sum(waits[: i + 1]) for i in range(len(waits))]


def study(*rows):
    return [made(number, **row) for number, row in enumerate(rows)]


def reference(bpb, script="base", **more):
    return {"kind": TrialKind.REFERENCE, "verdict": KEEP, "bpb": bpb, "script": script, **more}


def keep(bpb, script, **more):
    return {"verdict": KEEP, "bpb": bpb, "script": script, **more}


BASE = [reference(1.02), reference(1.0), reference(0.98)]


# --- laws of the probability


@given(WAITS, st.integers(0, 3000), st.integers(1, 200))
def test_it_is_a_probability_that_falls_while_nothing_comes_and_grows_with_the_horizon(waits, wait, horizon):
    gains, explored = at(waits), sum(waits) + wait
    now = gain_probability(gains, explored, horizon)
    assert 0 <= now <= 1
    assert gain_probability(gains, explored + 1, horizon) < now
    assert gain_probability(gains, explored, horizon + 1) > now


@given(WAITS, st.integers(1, 1000))
def test_it_rises_with_a_gain(waits, wait):
    gains, explored = at(waits), sum(waits) + wait
    assert gain_probability([*gains, explored], explored) > gain_probability(gains, explored)


@pytest.mark.parametrize("seed", range(5))
def test_the_rarer_the_gains_the_longer_they_are_waited_for(seed):
    dice = random.Random(seed)
    chance = [dice.expovariate(1) for _ in range(20)]
    waits = [wait_of(at([math.ceil(every * wait) for wait in chance])) for every in (2, 4, 8, 16)]
    assert all(longer > 1.2 * shorter for shorter, longer in pairwise(waits))


@given(WAITS, st.integers(0, 100))
def test_two_gains_at_once_are_one(waits, wait):
    gains, explored = at(waits), sum(waits) + wait
    assert gain_probability([0, *gains, *gains[-1:]], explored) == gain_probability(gains, explored)


# --- known cases


def test_without_any_gain_it_falls_from_even_to_a_hundredth():
    assert gain_probability([], 0) == pytest.approx(0.41, abs=0.01)
    assert wait_of([]) == 558


def test_half_of_the_coin_tosses_after_many():
    """A gain is nearly sure then, and nearly all that is unsure is whether the last was the end."""
    dice = random.Random(0)
    gains = [trial for trial in range(1, 2001) if dice.random() < 0.5]
    assert gain_probability(gains, gains[-1]) == pytest.approx(1 - 1 / (20 + len(gains)), abs=3e-4)


def test_records_are_waited_for_as_long_again_as_they_took():
    """When the rate falls like 1 / t the same number of gains takes twice the time, then four times."""
    records, steady = [round(1.5**i) for i in range(1, 13)], list(range(11, 133, 11))
    assert wait_of(records) > 3 * wait_of(steady)


@pytest.mark.parametrize(
    ("gains", "explored", "horizon"), [([3, 2], 9, 1), ([5], 4, 1), ([-1], 4, 1), ([], -1, 1), ([], 0, 0)]
)
def test_impossible_studies_are_refused(gains, explored, horizon):
    with pytest.raises(ValueError, match=r"^(gains must be in order|the horizon must be at least 1)"):
        gain_probability(gains, explored, horizon)


# --- reading trials


def test_a_gain_is_the_fall_since_the_keep_before():
    trials = study(*BASE, {}, keep(0.985, "a"), {}, keep(0.98, "b"), keep(0.995, "c"), keep(0.97, "d"))
    assert gains_at(trials, EPSILON) == ([2, 6], 6)
    assert gains_at(trials, 0.016) == ([4, 6], 6)
    assert gains_at(trials, 0.04) == ([], 6)


def test_small_keeps_add_up():
    trials = study(*BASE, keep(0.994, "a"), keep(0.987, "b"), keep(0.981, "c"), keep(0.975, "d"))
    assert gains_at(trials, EPSILON) == ([2, 4], 4)


def test_a_keep_of_a_confirming_run_comes_with_the_explored_trials_before_it():
    provisional = {"verdict": Verdict.PROVISIONAL, "bpb": 0.9, "script": "a"}
    confirm = keep(0.9, "a", kind=TrialKind.CONFIRM, confirms=3)
    assert gains_at(study(*BASE, provisional, {}, confirm, {}), EPSILON) == ([2], 3)
    assert gains_at(study(*BASE, provisional, {}), EPSILON) == ([], 2)


def test_measuring_the_incumbent_again_is_no_gain_but_a_level():
    again = [keep(0.9, "a"), keep(0.8, "a", kind=TrialKind.CONFIRM), *[reference(0.97, "a")] * 3]
    assert gains_at(study(*BASE, *again), EPSILON) == ([1], 1)
    assert gains_at(study(*BASE, *again, keep(0.95, "b")), EPSILON) == ([1, 2], 2)
    assert gains_at(study(*BASE, keep(0.9, "a"), *BASE, keep(0.895, "b")), EPSILON) == ([1], 2)


def test_another_machine_has_levels_of_its_own():
    there = [reference(x, "a", segment=1) for x in (1.2, 1.21, 1.19)]
    trials = study(*BASE, keep(0.9, "a"), *there, keep(1.195, "b", segment=1), keep(1.1, "c", segment=1))
    assert gains_at(trials, EPSILON) == ([1, 3], 3)


def test_a_keep_without_a_level_counts():
    assert gains_at(study(reference(1.0), keep(0.999, "a"), keep(0.998, "b")), EPSILON) == ([1], 2)


def test_the_outlook_says_what_going_on_costs():
    trials = study(*BASE, keep(0.9, "a", train_seconds=99), *[{"train_seconds": 72.0}] * 50)
    seen = outlook(trials, EPSILON, horizon=100)
    assert (seen.explored, seen.gains, seen.since_gain) == (51, 1, 50)
    assert (seen.train_seconds, seen.hours) == (7200, 2)
    assert seen.probability == gain_probability([1], 51, 100)
    assert outlook([], EPSILON).hours is None


def test_no_study_converges_within_the_fewest_trials():
    quick = study(*BASE, *[keep(0.9 - i / 20, f"{i}") for i in range(10)], *[{}] * (FEWEST - 1))
    assert outlook(quick, EPSILON).probability < DELTA
    assert not outlook(quick, EPSILON).converged()
    assert outlook([*quick, made(99)], EPSILON).converged()


@pytest.mark.parametrize("epsilon", [-0.1, math.nan])
def test_epsilon_is_checked(epsilon):
    with pytest.raises(ValueError, match=f"^epsilon must be 0 or more bits per byte, but got {epsilon}$"):
        outlook([], epsilon)


# --- what it is for: saturated studies stop, live ones do not


def wait_of(gains, at_least=0):
    """Explored trials after the last gain when the probability falls below `DELTA`."""
    low, high = at_least - 1, 20_000
    last = gains[-1] if gains else 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if gain_probability(gains, last + middle) < DELTA else (middle, high)
    return high


def trials_of(gains, explored, dice, size):
    """A study with these gains, of a size in epsilons, with smaller keeps between them, and with noise."""
    level, rows = 1.0, [reference(1 + dice.gauss(0, 0.002)) for _ in range(3)]
    for trial in range(1, explored + 1):
        gained = size(gains.index(trial)) if trial in gains else dice.random() * 0.2 * (dice.random() < 0.05)
        level -= gained * EPSILON
        rows.append(keep(level + dice.gauss(0, 0.002), f"{trial}") if gained else {"bpb": level + 0.02})
    return study(*rows)


@pytest.mark.parametrize("every", [4, 8])
def test_a_saturated_study_stops_within_50_trials(every):
    """Gains of a toy task every `every` trials, give or take half of that, then none."""
    for seed in range(20):
        dice = random.Random(seed)
        gains = at([dice.randint(every // 2, 3 * every // 2) for _ in range(20)])
        trials = trials_of(gains, gains[-1] + 50, dice, size=lambda k: 2 + k % 3)
        assert outlook(trials, EPSILON).converged()
        for gain in gains:
            assert not outlook(trials[: gain + 2], EPSILON).converged()


@pytest.mark.parametrize(("every", "longest"), [(2, 100), (4, 140), (8, 240)])
def test_gains_by_chance_take_longer_to_end(every, longest):
    """With waits that vary as much as chance lets them, 40 of them end in good time for 9 in 10 studies."""
    waits = []
    for seed in range(20):
        dice = random.Random(seed)
        gains = at([math.ceil(math.log(1 - dice.random()) / math.log(1 - 1 / every)) for _ in range(40)])
        waits.append(wait_of(gains))
    assert sorted(waits)[17] < longest


WAIT_LAWS = (
    lambda dice: 1.5 * (dice.paretovariate(2.5) - 1),  # Lomax
    lambda dice: math.exp(dice.gauss(-0.3, 0.8)),  # lognormal
    lambda dice: dice.expovariate(1),  # by chance alone
)


def live(seed):
    """Gains of 300 trials and the next one after: each is waited for longer, and the waits vary wildly."""
    dice, law = random.Random(seed), WAIT_LAWS[seed % 3]
    gains = [0]
    while gains[-1] <= 300:
        gains.append(gains[-1] + math.ceil(4 * 1.1 ** len(gains) * law(dice)))
    return gains[1:]


def test_none_of_20_live_studies_stops():
    """Asked before every gain, where the probability is lowest; the gains get smaller, too."""
    for seed in range(20):
        gains, dice = live(seed), random.Random(seed)
        trials = trials_of(gains[:-1], 300, dice, size=lambda k: 1.5 + 6 * 0.9**k)
        for done in {min(gain, 301) - 1 for gain in gains}:
            assert not outlook(trials[: done + 3], EPSILON).converged(), f"study {seed} stopped at {done}"


def test_a_patience_of_50_would_have_stopped_half_of_them():
    waits = [
        max(b - a for a, b in pairwise([0, *(min(gain, 301) for gain in live(seed))])) for seed in range(20)
    ]
    assert sum(wait > 50 for wait in waits) >= 10


def study_of_the_model(dice, trials=450):
    """A study as the model has it: gains by chance until one of them is the last."""
    rate, shape = dice.choice(RATES), dice.choices(list(SHAPES), list(SHAPES.values()))[0]
    falls, last = dice.random() < 0.5, dice.betavariate(1, GAINS)
    gains, now = [], 0
    while dice.random() > last:
        wait = dice.expovariate(1) / (rate * dice.gammavariate(shape, 1 / shape))
        if falls:
            wait = (SHOULDER + now) * math.expm1(min(wait / SHOULDER, 30))
        now = math.ceil(now + wait)
        if now > trials:
            break
        gains.append(now)
    return gains


@pytest.mark.parametrize("explored", [20, 100, 400])
def test_the_probability_is_right_where_the_model_is(explored):
    """Of the studies for which it is about 5, 20, 50 and 90 %, so many have a gain in the next 50 trials."""
    dice = random.Random(1)
    found = {}
    for _ in range(1500):
        gains = study_of_the_model(dice)
        said = gain_probability([gain for gain in gains if gain <= explored], explored)
        came = any(explored < gain <= explored + 50 for gain in gains)
        found.setdefault(bisect([0.1, 0.3, 0.7], said), []).append((said, came))
    for cases in found.values():
        said, came = (sum(column) for column in zip(*cases, strict=True))
        error = math.sqrt(sum(p * (1 - p) for p, _ in cases))
        assert abs(said - came) < 3 * error + 0.02 * len(cases)
