"""A study on other hardware: refused, or gone on with apart from what was measured before."""

from __future__ import annotations

import math
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_rl import create_study
from autoresearch_rl.environment.hardware import hardware
from autoresearch_rl.errors import EnvironmentChanged
from autoresearch_rl.interface.report import render_status, study_status, trial_facts
from autoresearch_rl.records import TrialKind, Verdict, script_id
from autoresearch_rl.storage.storage import Storage
from autoresearch_rl.study import Study
from tiny import BIGRAM, make_task
from told import ask, measure_baseline, scored

NEW = "x86_64, 1024 x Abacus"
Move = Callable[[str], None]


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Move:
    """Puts this machine's environment on other hardware."""
    return lambda name: monkeypatch.setattr("autoresearch_rl.environment.frozen.hardware", lambda: name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a study of a keep and a provisional trial on this machine's own hardware."""
    folder = tmp_path_factory.mktemp("made")
    task, home = make_task(folder / "tiny"), folder / "home"
    with create_study(str(task), "one", home, policy="random", allow_hardware_change=True) as study:
        assert study.notebook.study.segment == 0, "there is nothing to change yet"
        measure_baseline(study)
        assert study.tell(ask(study), scored(3.5)).verdict is Verdict.KEEP
        assert study.tell(ask(study), scored(3.485)).verdict is Verdict.PROVISIONAL
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "home")


def opened(home: Path, allow: bool = False) -> Study:
    return create_study(name="one", home=home, allow_hardware_change=allow)


def test_a_real_study_goes_on_with_other_hardware(tiny_task: Path, tmp_path: Path, move: Move) -> None:
    home = tmp_path / "home"
    with create_study(str(tiny_task), "one", home, policy="random") as study:
        study.run(trials=1)
    move(NEW)
    with opened(home, allow=True) as study:
        incumbent, trials = study.ledger.incumbent, sum(trial.counts for trial in study.trials)
        study.run(trials=trials + 1)
        later = [trial for trial in study.trials if trial.segment == 1]
    assert [trial.kind for trial in later[:3]] == [TrialKind.REFERENCE] * 3
    assert {trial.script for trial in later[:3]} == {incumbent}
    assert len({trial.val_bpb for trial in later[:3]}) > 1, "measured anew, with seeds of their own"
    assert len(later) > 3
    assert study.trials[-len(later) :] == later
    with opened(home) as study:  # it is no other hardware any more
        trials = sum(trial.counts for trial in study.trials)
        assert study.run(trials=trials).message.startswith(f"{trials} trials recorded")


def test_other_hardware_is_refused_with_both_names_and_the_way_on(home: Path, move: Move) -> None:
    move(NEW)
    before = (home / "studies.db").read_bytes()
    with pytest.raises(EnvironmentChanged, match=r"^hardware was .*--allow-hardware-change") as caught:
        opened(home)
    assert hardware() in str(caught.value)
    assert NEW in str(caught.value)
    assert (home / "studies.db").read_bytes() == before


def test_the_incumbent_is_measured_three_times_first_whatever_interrupts_it(home: Path, move: Move) -> None:
    def measure(study: Study, value: float) -> None:
        proposal = ask(study)
        assert (proposal.kind, proposal.script) == (TrialKind.REFERENCE, study.trials[3].script)
        assert proposal.bar == math.inf
        trial = study.tell(proposal, scored(value))
        assert (trial.verdict, trial.segment) == (Verdict.KEEP, 1)

    move(NEW)
    with opened(home, allow=True) as study:
        assert study.ledger.incumbent == study.trials[3].script != script_id(BIGRAM)
        measure(study, 8.0)
    with opened(home) as study:
        measure(study, 8.01)
        measure(study, 7.99)
        proposal = ask(study)
        assert (proposal.kind, proposal.parent) == (TrialKind.EXPLORE, study.trials[3].script)
        assert study.tell(proposal, scored(6.0)).verdict is Verdict.KEEP, "worse than before, but not here"
        assert study.trials[-1].incumbent_bpb == pytest.approx(8.0)


def test_status_and_show_tell_the_segment(home: Path, move: Move) -> None:
    assert "segment" not in render_status(study_status(home, "one"))
    move(NEW)
    with opened(home, allow=True) as study:
        fresh = study_status(home, "one")
        assert (fresh["segment"], fresh["best_bpb"], fresh["waiting_for_confirmation"]) == (1, None, 0)
        measure_baseline(study, (8.0, 8.01, 7.99))
    facts = study_status(home, "one")
    assert (facts["best_bpb"], facts["baseline_bpb"]) == pytest.approx((8.0, 8.0))
    assert re.search(r"^segment  1: other hardware", render_status(facts), re.MULTILINE)
    assert [trial_facts(home, "one", number)["segment"] for number in (4, 5)] == [0, 1]


def test_the_permission_does_nothing_when_nothing_has_changed(home: Path) -> None:
    with opened(home, allow=True) as study:
        assert study.notebook.study.segment == 0
        assert study.ledger.leader == study.trials[-1].script, "what led still leads"
        assert study.trials[-1].segment == 0


def test_the_permission_is_for_hardware_alone(home: Path, move: Move) -> None:
    with sqlite3.connect(home / "studies.db") as connection:
        connection.execute("UPDATE segments SET fingerprint = json_set(fingerprint, '$.torch', '1.13.1')")
    connection.close()
    move(NEW)
    with pytest.raises(EnvironmentChanged, match=r"^torch was 1\.13\.1 when") as caught:
        opened(home, allow=True)
    assert "--allow-hardware-change" not in str(caught.value)
    with Storage.open(home / "studies.db", readonly=True) as storage:
        assert [study.segment for study in storage.studies()] == [0]


def test_going_back_to_the_first_hardware_is_a_change_too(home: Path, move: Move) -> None:
    first = hardware()
    move(NEW)
    opened(home, allow=True).close()
    move(first)
    with opened(home, allow=True) as study:
        assert study.notebook.study.segment == 2
        assert study.ledger.measurements(study.ledger.incumbent) == ()


def test_a_study_from_before_hardware_was_recorded_needs_the_permission(home: Path) -> None:
    with sqlite3.connect(home / "studies.db") as connection:
        connection.execute("UPDATE segments SET fingerprint = json_remove(fingerprint, '$.hardware')")
    connection.close()
    with opened(home, allow=True) as study:
        assert study.notebook.study.segment == 1
