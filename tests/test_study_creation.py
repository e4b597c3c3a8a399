"""What a study asks of its task, its options and its database before it begins or goes on."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoresearch_rl import create_study
from autoresearch_rl.agent.shipped import load_prior, pack_prior
from autoresearch_rl.errors import (
    BaselineFailed,
    ConfigurationError,
    EnvironmentChanged,
    StorageError,
    StudyBusy,
    TaskError,
)
from autoresearch_rl.records import OutcomeStatus
from tiny import BIGRAM, TASK, make_task


def test_a_study_of_before_there_was_a_pruner_goes_on_without_one(tiny_task: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    create_study(str(tiny_task), "one", home).close()
    with sqlite3.connect(home / "studies.db") as connection:
        stored = json.loads(connection.execute("select settings from studies").fetchone()[0])
        assert (stored.pop("forecast"), stored.pop("audit")) == ("ensemble", 0.1)
        connection.execute("update studies set settings = ?", [json.dumps(stored)])
    connection.close()
    with create_study(name="one", home=home) as study:
        assert study.pruner is None
    with create_study(name="one", home=home, forecast="paper", audit=0.5) as study:
        assert study.pruner is not None
        assert (study.pruner.mode, study.pruner.audit) == ("paper", 0.5)


@pytest.mark.parametrize("wrong", [{"forecast": "magic"}, {"audit": 2.0}, {"audit": math.nan}])
def test_a_wrong_option_is_not_recorded(tiny_task: Path, tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        create_study(str(tiny_task), "one", tmp_path / "home", **wrong)
    create_study(str(tiny_task), "one", tmp_path / "home").close()


def test_without_a_sandbox_every_result_is_marked(tiny_task: Path, tmp_path: Path) -> None:
    with create_study(str(tiny_task), "one", tmp_path / "home", sandbox="none") as study:
        outcome = study.environment.run(BIGRAM, 1)
    assert (outcome.status, outcome.sandbox) == (OutcomeStatus.OK, "none (UNTRUSTED)"), outcome.reason


# --- bad input


def test_a_second_run_is_refused(tiny_task: Path, tmp_path: Path) -> None:
    with create_study(str(tiny_task), "one", tmp_path / "home") as study:
        with pytest.raises(StudyBusy, match="already running"):
            create_study(name="one", home=tmp_path / "home")
        assert study.ask() is not None


def test_an_option_that_contradicts_the_study_is_told(tiny_task: Path, tmp_path: Path) -> None:
    create_study(str(tiny_task), "one", tmp_path / "home", policy="random").close()
    with pytest.raises(ConfigurationError, match="created with policy random, not ppo"):
        create_study(name="one", home=tmp_path / "home", policy="ppo")
    with pytest.raises(ConfigurationError, match="created with budget as the task says, not 5"):
        create_study(name="one", home=tmp_path / "home", budget=5.0)


def test_another_task_is_told_without_naming_an_option(tiny_task: Path, tmp_path: Path) -> None:
    create_study(str(tiny_task), "one", tmp_path / "home").close()
    with pytest.raises(ConfigurationError, match="leave the task out to go on with it"):
        create_study("micro", "one", tmp_path / "home")


def test_a_study_whose_prior_was_replaced_does_not_go_on(tiny_task: Path, tmp_path: Path) -> None:
    prior, home = tmp_path / "mine.safetensors", tmp_path / "home"
    prior.write_bytes(pack_prior(load_prior(0.05), {"made": "first"}))
    with create_study(str(tiny_task), "one", home, policy=str(prior)) as study:
        study.run(trials=1)
    prior.write_bytes(pack_prior(load_prior(0.05), {"made": "second"}))
    with pytest.raises(StorageError, match=rf"study one cannot go on with policy {prior} .* put back what"):
        create_study(name="one", home=home)


def test_a_changed_frozen_file_is_named(tiny_task: Path, tmp_path: Path) -> None:
    create_study(str(tiny_task), "one", tmp_path / "home").close()
    (tiny_task / "task.toml").write_text(TASK.replace("seconds = 0.3", "seconds = 0.4"))
    with pytest.raises(EnvironmentChanged, match=r"task\.toml has changed"):
        create_study(name="one", home=tmp_path / "home")


def test_a_changed_baseline_is_not_passed_over_in_silence(tiny_task: Path, tmp_path: Path) -> None:
    create_study(str(tiny_task), "one", tmp_path / "home").close()
    (tiny_task / "train.py").write_text(BIGRAM.replace("LEARNING_RATE = 0.1", "LEARNING_RATE = 0.2"))
    with pytest.raises(EnvironmentChanged, match=r"train\.py has changed since study one began"):
        create_study(name="one", home=tmp_path / "home")


def test_a_slip_of_the_pen_leaves_no_folder_behind(tiny_task: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError):
        create_study("nowhere", home=tmp_path / "home")
    with pytest.raises(ConfigurationError):
        create_study(str(tiny_task), home=tmp_path / "home", policy="magic")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("def train(env:\n", "line 1"),
        ("x = 1\n", "train"),
        ("", "empty"),
    ],
)
def test_a_baseline_that_cannot_run_is_told_before_anything_starts(
    tmp_path: Path, script: str, complaint: str
) -> None:
    task = make_task(tmp_path / "bad", script)
    with pytest.raises(BaselineFailed, match=complaint):
        create_study(str(task), "bad", tmp_path / "home")


def test_a_baseline_that_crashes_shows_its_log_and_records_nothing(tmp_path: Path) -> None:
    task = make_task(
        tmp_path / "bad", "def train(env):\n    print('\\x1b[31mhello')\n    raise OSError('no')\n"
    )
    with create_study(str(task), "bad", tmp_path / "home") as study:
        with pytest.raises(BaselineFailed, match="OSError: no") as caught:
            study.run(trials=1)
        assert "hello" in str(caught.value)
        assert "\x1b" not in str(caught.value)
        assert study.trials == []


def test_an_edited_database_row_is_noticed(tiny_task: Path, tmp_path: Path) -> None:
    create_study(str(tiny_task), "one", tmp_path / "home").close()
    with sqlite3.connect(tmp_path / "home" / "studies.db") as connection:
        connection.execute("update scripts set source = cast('def train(env): pass' as blob)")
    with pytest.raises(StorageError), create_study(name="one", home=tmp_path / "home") as study:
        study.ask()


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, autoresearch_rl; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
