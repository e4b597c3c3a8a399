import shutil

import pytest
from made_trials import made

from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.judgement.termination import Stop, TerminationOracle
from autoresearch_rl.records import StopReason, TrialKind, Verdict

CONFIRM, BASELINE = TrialKind.CONFIRM, TrialKind.REFERENCE


def trials(*rows):
    return [made(number, **row) for number, row in enumerate(rows)]


def reason(oracle, done, elapsed=0.0):
    stop = oracle.should_stop(done, elapsed)
    return stop and stop.reason


def test_a_study_is_perpetual_by_default(tmp_path):
    assert TerminationOracle(folder=tmp_path).should_stop(trials(*[{}] * 10_000), 1e9) is None


def test_trials_are_all_but_the_baselines(tmp_path):
    oracle = TerminationOracle(folder=tmp_path, trials=3)
    done = trials({"kind": BASELINE}, {"kind": BASELINE}, {}, {"verdict": Verdict.CRASH}, {"kind": CONFIRM})
    assert oracle.should_stop(done[:-1], 0) is None
    assert oracle.should_stop(done, 0) == Stop(StopReason.TRIALS, "3 trials recorded, the limit is 3")


def test_hours_are_those_of_this_process(tmp_path):
    oracle = TerminationOracle(folder=tmp_path, hours=0.5)
    assert reason(oracle, [], 1799) is None
    assert oracle.should_stop([], 1800) == Stop(StopReason.HOURS, "0.50 hours passed, the limit is 0.5")


def test_training_seconds_add_up_over_all_trials(tmp_path):
    oracle = TerminationOracle(folder=tmp_path, train_seconds=10)
    assert reason(oracle, trials({"kind": BASELINE, "train_seconds": 9.5})) is None
    assert reason(oracle, trials({"kind": BASELINE, "train_seconds": 9.5}, {"train_seconds": 0.5})) is (
        StopReason.TRAIN_SECONDS
    )


def test_patience_counts_explored_trials_since_the_last_gain(tmp_path):
    oracle = TerminationOracle(folder=tmp_path, patience=2)
    keep = {"bpb": 1.0, "verdict": Verdict.KEEP}
    assert reason(oracle, trials(keep | {"kind": BASELINE}, {})) is None
    assert reason(oracle, trials({}, keep | {"kind": BASELINE}, {})) is StopReason.NO_GAIN
    assert reason(oracle, trials({}, {}, keep, {})) is None
    assert reason(oracle, trials({}, {}, keep | {"kind": CONFIRM}, {}, {"kind": CONFIRM})) is None
    assert reason(oracle, trials(keep, {}, {"verdict": Verdict.PRUNED})) is StopReason.NO_GAIN


def test_patience_waits_for_what_is_pending(tmp_path):
    oracle = TerminationOracle(folder=tmp_path, patience=1)
    provisional = {"bpb": 1.0, "verdict": Verdict.PROVISIONAL}
    assert reason(oracle, trials({}, provisional, {})) is None
    assert reason(oracle, trials({}, provisional, provisional | {"kind": CONFIRM, "confirms": 1})) is None
    assert reason(oracle, trials({}, provisional, {"kind": CONFIRM, "confirms": 1})) is StopReason.NO_GAIN


def test_a_budget_does_not_wait_for_what_is_pending(tmp_path):
    oracle = TerminationOracle(folder=tmp_path, trials=1)
    assert reason(oracle, trials({"bpb": 1.0, "verdict": Verdict.PROVISIONAL})) is StopReason.TRIALS


def test_a_disk_that_runs_full_stops_the_study(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    stop = TerminationOracle(folder=tmp_path, min_free_bytes=2 * free).should_stop([], 0)
    assert stop is not None
    assert stop.reason is StopReason.DISK
    assert str(tmp_path) in stop.message
    assert TerminationOracle(folder=tmp_path, min_free_bytes=free // 2).should_stop([], 0) is None
    assert TerminationOracle(folder=tmp_path / "no", min_free_bytes=None).should_stop([], 0) is None


def test_a_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"cannot read the free space at .*gone"):
        TerminationOracle(folder=tmp_path / "gone").should_stop([], 0)


@pytest.mark.parametrize("name", ["trials", "hours", "train_seconds", "patience", "min_free_bytes"])
@pytest.mark.parametrize("limit", [-1, 0, float("nan")])
def test_a_limit_that_is_not_positive_is_a_usage_error(tmp_path, name, limit):
    with pytest.raises(ConfigurationError, match=f"^{name} must be positive, but got {limit}$"):
        TerminationOracle(folder=tmp_path, **{name: limit})
