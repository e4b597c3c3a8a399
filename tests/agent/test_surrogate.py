"""The surrogate: equal to the textbook's formula, and of use."""

import math
from dataclasses import replace

import numpy as np
import pytest
from playing import make_candidate, make_state, make_trial

from autoresearch_rl.agent import surrogate
from autoresearch_rl.agent.scripts import SHRINK, Scripts, measured_bpb, moves
from autoresearch_rl.agent.surrogate import CLIP, EXPECTED, LENGTH, LOSS, SCALES, WITHIN, Surrogate
from autoresearch_rl.records import Candidate, Edit, TrialKind, Verdict, script_id

BASELINE = "x = 1"  # the script of `make_state`
NOISE = 0.001


def structural(topic):
    return Candidate(make_candidate().edit, "recipes", "insert", 0, 1.0, topic)


def both(*parts):
    edit = Edit(tuple(change for part in parts for change in part.edit.changes))
    return Candidate(edit, "compound", "compound", 0, 1.0, parts=parts)


def trials(*measured):
    """One trial each, from the baseline: candidate and gain."""
    start = make_trial(0, kind=TrialKind.REFERENCE, parent=script_id(BASELINE), script=script_id(BASELINE))
    found = [start]
    for number, (candidate, gain) in enumerate(measured, 1):
        fields = {"parent": script_id(BASELINE), "script": script_id(str(candidate)), "incumbent_bpb": 2.0}
        found.append(make_trial(number, candidate, Verdict.DISCARD, gain, **fields))
    return found


def predicted(history, *candidates, scale=0.05, **changes):
    scripts = Scripts()
    scripts.read(history)
    surrogate = Surrogate(scripts)
    state = make_state(history, **({"noise": NOISE, "baseline_bpb": 2.0} | changes))
    return surrogate.predict(state, candidates, scale)


@pytest.mark.parametrize("leader", [None, 0.9, -1.2])
def test_it_is_a_gaussian_process(leader: float | None) -> None:
    """Three numbers at one place, by the formulas of Rasmussen & Williams (2.23, 2.24 and 2.38).

    From the baseline, and from a leader that is one of them: then it is a difference that is foretold.
    """
    steps, gains, new = [-1.2, 0.4, 0.9], [-0.1, -0.03, -0.05], 1.3
    made = [make_candidate(new=repr(math.exp(step))) for step in steps]
    history = trials(*zip(made, gains, strict=True))[1:]

    def k(a: float, b: float) -> float:
        return math.exp(-0.5 * ((a - b) / LENGTH) ** 2) - math.exp(-0.5 * (a * a + b * b) / LENGTH**2)

    old = 0.0 if leader is None else leader
    known = np.array([[k(a, b) for b in steps] for a in steps])
    cross = np.array([k(new, b) - k(old, b) for b in steps])
    fits = []
    for deviation in (0.05 * factor for factor in SCALES):
        covariance = deviation**2 * known + NOISE**2 * np.eye(3)
        inverse, y = np.linalg.inv(covariance), -np.array(gains) - LOSS * deviation * np.diag(known)
        likelihood = -0.5 * y @ inverse @ y - 0.5 * np.linalg.slogdet(covariance)[1]
        likelihood -= 0.5 * (math.log(deviation / 0.05 / EXPECTED) / math.log(WITHIN)) ** 2
        mean = -(deviation**2) * cross @ inverse @ y - LOSS * deviation * (k(new, new) - k(old, old))
        change = k(new, new) - 2.0 * k(new, old) + k(old, old)
        variance = deviation**2 * (change - deviation**2 * cross @ inverse @ cross)
        fits.append((likelihood, mean, variance**0.5))
    candidate = make_candidate(old="1.0" if leader is None else repr(math.exp(old)), new=repr(math.exp(new)))
    source = BASELINE if leader is None else str(made[steps.index(leader)])
    mean, sd = predicted(history, candidate, script=source)
    assert (mean[0], sd[0]) == pytest.approx(max(fits)[1:], rel=1e-6)


def test_what_helped_one_way_is_expected_to_help_on_and_to_hurt_back() -> None:
    further, back = make_candidate(new="3.0"), make_candidate(new="0.5")
    mean, sd = predicted(trials((make_candidate(new="2.0"), 0.1)), further, back, make_candidate("other"))
    assert mean[0] > 0.05
    assert mean[1] < -0.02
    assert mean[2] < 0.0, "of one that was not tried: most hurt"
    assert sd[2] > sd[0] > 0.0


def test_a_compound_edit_tells_about_its_parts() -> None:
    one, two = structural("rotary"), make_candidate("width", "128", "256")
    mean, _ = predicted(trials((both(one, two), 0.1)), one, two, both(one, two), structural("muon"))
    assert mean[0] > 0.02
    assert mean[1] > 0.005, "numbers that are near have the like effects: it is a small step"
    assert mean[2] == pytest.approx(mean[0] + mean[1])
    assert mean[2] == pytest.approx(0.1, abs=0.01)
    assert mean[3] < 0.0


def test_gains_are_counted_from_the_leader() -> None:
    """What the leader already has gains nothing more; back to the baseline loses it."""
    good = make_candidate(old="1.0", new="2.0")
    back = make_candidate(old="2.0", new="1.0")
    history = trials((good, 0.1))
    source = str(good)
    mean, _ = predicted(history, back, script=source)
    assert mean[0] == pytest.approx(-0.1, abs=0.01)


def test_an_untried_change_is_expected_to_hurt_and_two_more_so() -> None:
    recipes = [structural(f"recipe {i}") for i in range(22)]
    measured = trials(*((recipe, 0.05 * (-1) ** i) for i, recipe in enumerate(recipes[:20])))
    mean, sd = predicted(measured, recipes[20], both(*recipes[20:]))
    assert mean == pytest.approx([-LOSS * sd[0], -2.0 * LOSS * sd[0]])
    assert sd[0] == pytest.approx(0.05)


def test_numbers_and_structure_have_effects_of_their_own_size() -> None:
    """From a poor script a learning rate gains much and recipes next to nothing: it is not their turn."""
    small = [(structural(f"recipe {i}"), 0.02 * (-1) ** i) for i in range(10)]
    large = [(make_candidate(f"site{i}", new="3.0"), 0.4 * (-1) ** i) for i in range(10)]
    recipe, literal = structural("other"), make_candidate("other", new="3.0")
    _, sd = predicted(trials(*small, *large), recipe, literal)
    assert sd[1] > 4.0 * sd[0]
    assert predicted(trials(*small), literal)[1][0] > 2.0 * sd[0], "recipes tell nothing of numbers"


def test_a_disaster_says_no_more_than_a_clear_loss() -> None:
    bad = make_candidate(new="100.0")
    one, _ = predicted(trials((bad, -0.05 * CLIP)), bad)
    other, _ = predicted(trials((bad, -50.0)), bad)
    assert one[0] == other[0] < 0.0


def test_what_was_never_measured_tells_nothing() -> None:
    candidate = make_candidate()
    history = trials()
    history.append(make_trial(1, candidate, Verdict.CRASH))
    mean, sd = predicted(history, candidate)
    assert mean[0] == 0.0
    assert sd[0] > 0.0
    pruned = make_trial(1, candidate, Verdict.PRUNED, forecast=2.3, script="c" * 64)
    assert predicted([*trials(), pruned], candidate)[0][0] < -0.05


def test_a_run_that_was_stopped_for_looking_bad_is_taken_for_somewhat_better() -> None:
    stopped = make_trial(1, make_candidate(), Verdict.PRUNED, forecast=2.3, incumbent_bpb=2.0)
    assert measured_bpb(stopped) == pytest.approx(2.0 + SHRINK * 0.3)
    assert measured_bpb(replace(stopped, incumbent_bpb=None)) == 2.3
    assert measured_bpb(replace(stopped, forecast=None)) is None
    assert measured_bpb(make_trial(1, make_candidate(), Verdict.CRASH, forecast=2.3)) is None
    ended = make_trial(1, make_candidate(), Verdict.DISCARD, forecast=2.3, val_bpb=2.1)
    assert measured_bpb(ended) == 2.1, "an audited run has a measurement"


def test_what_a_parent_measured_is_bounded() -> None:
    """A division by the size of an ordinary effect must not overflow."""
    candidate = make_candidate()
    history = trials((candidate, 0.1))
    history[1] = replace(history[1], val_bpb=0.0, incumbent_bpb=-1.8e299)
    mean, sd = predicted(history, candidate, scale=1e-9)
    assert np.isfinite([*mean, *sd]).all()


def test_read_in_parts_or_at_once_it_says_the_same() -> None:
    rng = np.random.default_rng(0)
    measured = []
    for i in range(30):
        measured.append((make_candidate(f"site{i % 5}", new=repr(float(rng.uniform(0.1, 9)))), rng.normal()))
    history = trials(*measured)
    candidates = [candidate for candidate, _ in measured]
    scripts = Scripts()
    parts = Surrogate(scripts)
    for n in (1, 7, 20, 31):
        scripts.read(history[:n])
        parts.predict(make_state(history[:n]), candidates, 0.05)
    state = make_state(history, noise=NOISE, baseline_bpb=2.0)
    for one, other in zip(
        parts.predict(state, candidates, 0.05), predicted(history, *candidates), strict=True
    ):
        assert one.tobytes() == other.tobytes()


def test_what_is_too_old_is_forgotten_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "WINDOW", 20)
    rng = np.random.default_rng(0)
    sites = [f"site{i}" for i in range(12)]
    measured = []
    for _ in range(50):
        chosen = rng.choice(sites, 4, replace=False)
        parts = [make_candidate(site, new=repr(float(rng.uniform(0.1, 9)))) for site in chosen]
        measured.append((both(*parts), rng.normal()))
    history = trials(*measured)
    last = [history[0], *history[-30:]]  # 40 fill it, 20 stay, 10 came after; the first has no measurement
    candidates = [candidate for candidate, _ in measured[-5:]]
    assert np.array(predicted(history, *candidates)) == pytest.approx(np.array(predicted(last, *candidates)))


def test_on_other_hardware_effects_are_still_counted_from_the_baseline() -> None:
    """There the baseline of a state is what leads, measured anew."""
    gain, same = structural("gain"), structural("same")
    history = trials((gain, 0.3), (same, 0.0))
    history[0] = replace(history[0], val_bpb=2.0)
    leader = history[1].script
    moved = make_trial(3, kind=TrialKind.REFERENCE, parent=leader, script=leader, segment=1, val_bpb=1.9)
    (before,), _ = predicted(history, same, script=str(gain), incumbent_bpb=1.7)
    (after,), _ = predicted([*history, moved], same, script=str(gain), incumbent_bpb=1.9, baseline_bpb=1.9)
    assert before == pytest.approx(0.0, abs=0.01)
    assert after == pytest.approx(0.0, abs=0.01)


def test_momenta_are_near_each_other_by_what_they_lack_to_one() -> None:
    history = trials((make_candidate(old="0.9", new="0.99"), 0.1))
    near, far = make_candidate(old="0.9", new="0.985"), make_candidate(old="0.9", new="0.5")
    mean, _ = predicted(history, near, far)
    assert mean[0] > 0.08
    assert mean[1] < 0.03


def test_moves_of_a_compound_edit() -> None:
    one, two = structural("rotary"), make_candidate("width", "128", "256")
    assert [tuple(move) for move in moves(both(one, two).edit, both(one, two))] == [
        ("rotary", "", "on"),
        ("width", "128", "256"),
    ]


def test_what_was_measured_on_a_script_that_was_much_worse_says_little() -> None:
    history = trials((structural("recipe"), -0.05))
    near = predicted(history, structural("recipe"), incumbent_bpb=1.8)
    far = predicted(history, structural("recipe"), incumbent_bpb=1.6)
    untried = predicted(history, structural("other"), incumbent_bpb=1.6)
    assert near[1][0] < 0.1 * far[1][0]
    assert far[1][0] > 0.5 * untried[1][0]


def test_faster_hardware_outgrows_nothing() -> None:
    failed = structural("recipe")
    history = trials((failed, -0.05))
    history[0] = replace(history[0], val_bpb=2.0)
    script = history[0].script
    moved = make_trial(2, kind=TrialKind.REFERENCE, parent=script, script=script, segment=1, val_bpb=1.0)
    (mean,), (sd,) = predicted([*history, moved], failed, incumbent_bpb=1.0, baseline_bpb=1.0)
    assert mean == pytest.approx(-0.05, abs=0.01)
    assert sd < 0.01


def test_what_gained_on_a_script_that_was_much_worse_still_says_all() -> None:
    """The leader's own runs are such, after a large gain."""
    candidate = make_candidate("width", operator="choose")
    measured = trials((candidate, 0.5))
    for leader in (2.0, 1.5):
        mean, sd = predicted(measured, candidate, incumbent_bpb=leader)
        assert mean[0] == pytest.approx(0.5, abs=0.02)
        assert sd[0] < 0.01


def test_a_forecast_says_less_than_a_measurement() -> None:
    candidate = make_candidate()
    ended = make_trial(1, candidate, Verdict.DISCARD, -0.1, script="c" * 64, incumbent_bpb=2.0)
    stopped = replace(ended, verdict=Verdict.PRUNED, val_bpb=None, forecast=2.0 + 0.1 / SHRINK)
    errors = [predicted([*trials(), trial], candidate)[1][0] for trial in (ended, stopped)]
    assert errors[1] > 1.1 * errors[0]
