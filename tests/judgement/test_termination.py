import shutil

import pytest
from made_trials import BASELINE as SCRIPT
from made_trials import made

from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.judgement.acceptance import Ledger
from autoresearch_rl.judgement.termination import Stop, TerminationOracle
from autoresearch_rl.records import StopReason, TrialKind, Verdict

CONFIRM, BASELINE = TrialKind.CONFIRM, TrialKind.REFERENCE


def trials(*rows):
    return [made(number, **row) for number, row in enumerate(rows)]


def asked(oracle, done, elapsed=0.0, ledger=None):
    return oracle.should_stop(done, ledger or Ledger(SCRIPT), elapsed)


def reason(oracle, done, elapsed=0.0, ledger=None):
    stop = asked(oracle, done, elapsed, ledger)
    return stop and stop.reason


def test_a_study_without_limits_is_perpetual(tmp_path):
    assert asked(TerminationOracle(tmp_path, {"converged": None}), trials(*[{}] * 10_000), 1e9) is None


def test_a_study_whose_gains_came_and_stopped_has_converged(tmp_path):
    """Twenty gains, one every five edits, then none: stopped within fifty edits, but not while one leads."""
    first = [{"bpb": 5.0 + d, "verdict": Verdict.KEEP, "kind": BASELINE} for d in (-0.01, 0.0, 0.01)]
    rows, dry = list(first), {"bpb": 6.0, "script": "worse"}
    for gain in range(20):
        keep = {"bpb": 4.9 - gain / 10, "verdict": Verdict.KEEP, "script": f"{gain}"}
        rows += [*[dry] * 4, keep]
    stops = []
    for waited in range(51):
        done = trials(*rows, *[dry] * waited)
        ledger = Ledger.replay(SCRIPT, done)
        stops.append(asked(TerminationOracle(tmp_path), done, ledger=ledger))
        assert asked(TerminationOracle(tmp_path, {"converged": None}), done, ledger=ledger) is None
    assert stops[39] is None
    assert stops[50] is not None
    assert stops[50].reason is StopReason.CONVERGED
    assert stops[50].message.endswith("the last of 20 gains was 50 edits ago")
    leads = {"bpb": 2.95, "verdict": Verdict.PROVISIONAL, "script": "leads", "parent": "19"}
    done = trials(*rows, *[dry] * 50, leads)
    assert asked(TerminationOracle(tmp_path), done, ledger=Ledger.replay(SCRIPT, done)) is None


def test_trials_are_all_but_the_baselines(tmp_path):
    oracle = TerminationOracle(tmp_path, {"trials": 3})
    done = trials({"kind": BASELINE}, {"kind": BASELINE}, {}, {"verdict": Verdict.CRASH}, {"kind": CONFIRM})
    assert asked(oracle, done[:-1], 0) is None
    assert asked(oracle, done, 0) == Stop(StopReason.TRIALS, "3 trials recorded, the limit of 3 is reached")


def test_hours_are_those_of_this_process(tmp_path):
    oracle = TerminationOracle(tmp_path, {"hours": 0.5})
    assert reason(oracle, [], 1799) is None
    assert asked(oracle, [], 1800) == Stop(StopReason.HOURS, "0.50 hours passed, the limit is 0.5")


def test_training_seconds_add_up_over_all_trials(tmp_path):
    oracle = TerminationOracle(tmp_path, {"train_seconds": 10})
    assert reason(oracle, trials({"kind": BASELINE, "train_seconds": 9.5})) is None
    assert reason(oracle, trials({"kind": BASELINE, "train_seconds": 9.5}, {"train_seconds": 0.5})) is (
        StopReason.TRAIN_SECONDS
    )


def test_patience_counts_explored_trials_since_the_last_gain(tmp_path):
    oracle = TerminationOracle(tmp_path, {"patience": 2})
    keep = {"bpb": 1.0, "verdict": Verdict.KEEP}
    assert reason(oracle, trials(keep | {"kind": BASELINE}, {})) is None
    assert reason(oracle, trials({}, keep | {"kind": BASELINE}, {})) is StopReason.NO_GAIN
    assert reason(oracle, trials({}, {}, keep, {})) is None
    assert reason(oracle, trials({}, {}, keep | {"kind": CONFIRM}, {}, {"kind": CONFIRM})) is None
    assert reason(oracle, trials(keep, {}, {"verdict": Verdict.PRUNED})) is StopReason.NO_GAIN


def test_patience_waits_for_what_leads_to_be_proven(tmp_path):
    oracle = TerminationOracle(tmp_path, {"patience": 1})
    first = {"bpb": 1.0, "verdict": Verdict.KEEP, "kind": BASELINE}
    worse = {"bpb": 1.1, "script": "worse"}
    leads = {"bpb": 0.9, "verdict": Verdict.PROVISIONAL, "script": "leads"}
    again = leads | {"kind": CONFIRM, "confirms": 1}
    for last, stops in ((worse, False), (again, False), (again | {"verdict": Verdict.DISCARD}, True)):
        done = trials(first, leads, worse, last)
        assert bool(reason(oracle, done, ledger=Ledger.replay(SCRIPT, done))) == stops


def test_a_budget_does_not_wait_for_what_is_pending(tmp_path):
    oracle = TerminationOracle(tmp_path, {"trials": 1})
    assert reason(oracle, trials({"bpb": 1.0, "verdict": Verdict.PROVISIONAL})) is StopReason.TRIALS


def test_a_disk_that_runs_full_stops_the_study(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    stop = asked(TerminationOracle(tmp_path, min_free_bytes=2 * free), [])
    assert stop is not None
    assert stop.reason is StopReason.DISK
    assert str(tmp_path) in stop.message
    assert asked(TerminationOracle(tmp_path, min_free_bytes=free // 2), []) is None
    assert asked(TerminationOracle(tmp_path / "no", min_free_bytes=None), []) is None


def test_a_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"cannot read the free space at .*gone"):
        asked(TerminationOracle(tmp_path / "gone"), [])


@pytest.mark.parametrize(
    "name", ["trials", "hours", "train_seconds", "money", "price", "patience", "converged"]
)
@pytest.mark.parametrize("limit", [-1, 0, float("nan")])
def test_a_limit_that_is_not_positive_is_a_usage_error(tmp_path, name, limit):
    with pytest.raises(ConfigurationError, match=f"^{name} must be positive, but got {limit}$"):
        TerminationOracle(tmp_path, {name: limit})
    with pytest.raises(ConfigurationError, match=r"^min_free_bytes must be positive"):
        TerminationOracle(tmp_path, min_free_bytes=limit)


def test_money_is_the_price_of_all_trials(tmp_path):
    oracle = TerminationOracle(tmp_path, {"money": 5.0, "price": 2.5})
    hour = {"kind": BASELINE, "train_seconds": 3600}
    assert reason(oracle, trials(hour)) is None
    stop = asked(oracle, trials(hour, hour | {"kind": CONFIRM}))
    assert stop == Stop(StopReason.MONEY, "5.00 spent (2.00 h at 2.5), the limit is 5")


def test_money_without_a_price_is_a_usage_error(tmp_path):
    with pytest.raises(ConfigurationError, match="add --price"):
        TerminationOracle(tmp_path, {"money": 5.0})
