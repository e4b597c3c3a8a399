"""The file of runs, whatever a kill leaves of it; and how a run is read from trials."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from autoresearch_rl.agent.agents import make_agent
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface.policy_bench.real import within
from autoresearch_rl.interface.policy_bench.runs import append, is_torn, mend, read, trace
from autoresearch_rl.pretraining.problems import draw_problem
from autoresearch_rl.records import Trial, TrialKind
from autoresearch_rl.simulation.study import SimulatedStudy
from made_runs import made_run


def test_what_is_appended_is_read_and_the_latest_counts(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    assert read(path, "made") == {}
    assert not is_torn(path)
    runs = [
        made_run("ppo", 0, [3.5]),
        made_run("tpe", 0, [3.4], final=[3.4, None]),
        made_run("ppo", 0, [3.5, 3.1]),
    ]
    for run in runs:
        append(path, run)
    assert read(path, "made") == {("ppo", 0): runs[2], ("tpe", 0): runs[1]}
    assert read(path, "micro") == {}


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    append(path, made_run("ppo", 0, [3.5]))
    whole = path.read_bytes()
    append(path, made_run("tpe", 0, [3.5]))
    both = path.read_bytes()
    for length in range(len(whole) + 1, len(both)):
        path.write_bytes(both[:length])
        assert list(read(path, "made")) == [("ppo", 0)]
        assert path.read_bytes() == both[:length], "reading changes nothing"
        assert is_torn(path)
        mend(path)
        assert path.read_bytes() == whole
    assert not is_torn(path)


@pytest.mark.parametrize(
    "text", ["hello\n", "hello", '{"suite": "made"}\n', "[1]\n", '{"suite": "x"}\nhello']
)
def test_another_file_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="is not a file of this bench"):
        mend(path)
    assert path.read_text() == text


def test_another_file_is_left_alone_even_if_its_end_looks_like_ours(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text('hello\n{"suite": ')
    with pytest.raises(ConfigurationError):
        mend(path)
    assert path.read_text() == 'hello\n{"suite": '


def simulated(trials: int) -> tuple[list[Trial], list[float]]:
    study = SimulatedStudy(draw_problem(random.Random(1)), make_agent("random", 0), 0)
    scores = []
    while sum(trial.counts for trial in study.trials) < trials:
        study.step()
        scores.append(study.best())
    return study.trials, scores


def test_a_trace_has_a_point_for_each_counted_trial_and_all_seconds() -> None:
    trials, scores = simulated(20)
    found = trace(zip(trials, scores, strict=True))
    assert len(found.curve) == len(found.seconds) == 20
    assert found.start == round(scores[0], 6)
    assert found.curve[-1] == round(scores[-1], 6)
    assert found.seconds[-1] == pytest.approx(sum(trial.train_seconds for trial in trials), abs=1e-3)
    assert 0 < found.structural < 1


def test_while_the_incumbent_is_measured_anew_its_score_stays() -> None:
    trials, scores = simulated(5)
    known: list[float | None] = [*scores[:-1], None]
    assert trace(zip(trials, known, strict=True)).curve[-1] == round(scores[-2], 6)


def test_a_study_that_went_on_is_read_as_it_was_then() -> None:
    trials, _ = simulated(30)
    first = within(trials, 10)
    assert first == trials[: len(first)]
    assert sum(trial.counts for trial in first) >= 10
    assert trials[len(first)].kind is TrialKind.EXPLORE
    assert within(trials, 31) == trials


def test_what_had_nothing_left_stays_where_it_was() -> None:
    run = made_run("tpe", 0, [3.5, 3.4]).prolonged(4, "no edit is left")
    assert (run.curve, run.seconds, run.ended) == (
        (3.5, 3.4, 3.4, 3.4),
        (2.0, 4.0, 4.0, 4.0),
        "no edit is left",
    )
    assert run.prolonged(4, "why") == run
