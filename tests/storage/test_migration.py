"""A database that an older version wrote: at revision 0001, made by Alembic and filled by SQL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from arbitrary_trials import BASELINE, plain_trial
from sqlalchemy import create_engine

from autoresearch_rl.errors import StorageError
from autoresearch_rl.records import Probe, Trial, TrialKind, Verdict, script_id
from autoresearch_rl.storage import schema
from autoresearch_rl.storage.database import MIGRATIONS, open_engine
from autoresearch_rl.storage.rows import trial_to_row
from autoresearch_rl.storage.storage import Storage

NEWER = ("challenges", "segment", "probes", "stop_at", "forecast")  # columns that came after 0001
FINGERPRINT = {"files": {"task.toml": "ab"}, "budget": 20.0, "torch": "2.13.0"}
TRIALS = (plain_trial(0, verdict=Verdict.KEEP), plain_trial(1, "other", metrics={"loss": 0.5}))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Study `x` has two trials and a checkpoint, study `y` has nothing but its fingerprint."""
    path = tmp_path / "studies.db"
    migrate(path, command.upgrade, "0001")
    with sqlite3.connect(path) as connection:
        for source in (BASELINE, "other"):
            add(connection, "scripts", sha256=script_id(source), source=source.encode())
        for name, fingerprint in (("x", FINGERPRINT), ("y", {"torch": "1"})):
            facts = {"task": "micro", "settings": {"seed": 3}, "baseline": script_id(BASELINE)}
            add(connection, "studies", name=name, fingerprint=fingerprint, created=1.7e9, **facts)
        for trial in TRIALS:
            add(connection, "trials", study_id=1, **row_at_0001(trial))
        add(connection, "checkpoints", study_id=1, trial=1, policy="ppo", blob=b"\x00policy")
    connection.close()
    return path


def test_baseline_runs_are_reference_runs_now_and_back(old: Path) -> None:
    with sqlite3.connect(old) as connection:
        connection.execute("UPDATE trials SET kind = 'baseline' WHERE number = 0")
    connection.close()
    with Storage.open(old) as storage:
        kinds = [trial.kind for trial in storage.trials(storage.studies()[0])]
        assert kinds == [TrialKind.REFERENCE, TrialKind.EXPLORE]
    migrate(old, command.downgrade, "0002")
    with sqlite3.connect(old) as connection:
        assert [row[0] for row in connection.execute("SELECT kind FROM trials")] == ["baseline", "explore"]
    connection.close()


def migrate(path: Path, move: Callable[[Config, str], None], revision: str) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        move(config, revision)
    engine.dispose()


def add(connection: sqlite3.Connection, table: str, **values: object) -> None:
    row = {name: json.dumps(v) if isinstance(v, list | dict) else v for name, v in values.items()}
    marks = ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", row)


def row_at_0001(trial: Trial) -> dict[str, object]:
    return {n: v for n, v in trial_to_row(trial).items() if n not in NEWER}


def columns(path: Path) -> dict[str, set[tuple[object, ...]]]:
    """Name, type and constraint of the columns of each table, in whatever order."""
    with sqlite3.connect(path) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {t: set(connection.execute(f'SELECT name, type, "notnull", pk FROM pragma_table_info("{t}")'))
                 for t in tables}  # fmt: skip
    connection.close()
    return found


def test_an_older_database_is_brought_up_to_date_and_nothing_is_lost(old: Path) -> None:
    with Storage.open(old) as storage:
        first, second = storage.studies()
        assert (first.fingerprint, first.segment) == (FINGERPRINT, 0)
        assert (second.fingerprint, second.segment) == ({"torch": "1"}, 0)
        assert (first.name, first.settings, first.created) == ("x", {"seed": 3}, 1.7e9)
        assert storage.trials(first) == TRIALS
        assert {(t.challenges, t.segment, t.probes, t.stop_at) for t in storage.trials(first)} == {
            (0, 0, (), None)
        }
        assert storage.trials(second) == ()
        assert storage.checkpoint(first) == (1, "ppo", b"\x00policy")
        assert (storage.script(first.baseline), storage.script(script_id("other"))) == (BASELINE, "other")
    assert "fingerprint" not in {name for name, *_ in columns(old)["studies"]}


def test_a_study_goes_on_in_the_upgraded_database(old: Path) -> None:
    added = plain_trial(
        2, challenges=128, segment=1, probes=(Probe(0.3, 4.5, 1e-3), Probe(0.6, 4.0)), stop_at=0.6
    )
    with Storage.open(old) as storage:
        study = storage.study("x")
        assert study is not None
        later = storage.begin_segment(study, {"hardware": "new"})
        storage.commit(later, added, BASELINE, ("ppo", b"newer"))
    with Storage.open(old, readonly=True) as storage:
        assert storage.study("x") == later
        assert storage.trials(later) == (*TRIALS, added)


def test_the_upgraded_schema_is_that_of_the_code(old: Path) -> None:
    engine, _ = open_engine(old)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_the_way_back_keeps_what_the_old_schema_can_hold(old: Path) -> None:
    before = columns(old)
    with Storage.open(old) as storage:
        study = storage.study("x")
        assert study is not None
        storage.begin_segment(study, {"hardware": "new"})
    migrate(old, command.downgrade, "0001")
    assert columns(old) == before
    with sqlite3.connect(old) as connection:
        stored = [json.loads(row[0]) for row in connection.execute("SELECT fingerprint FROM studies")]
    connection.close()
    assert stored == [FINGERPRINT, {"torch": "1"}]
    with Storage.open(old) as storage:
        study = storage.study("x")
        assert study is not None
        assert (study.fingerprint, study.segment) == (FINGERPRINT, 0)
        assert storage.trials(study) == TRIALS


def test_a_reader_of_an_older_database_says_so_and_leaves_it_alone(old: Path) -> None:
    before = old.read_bytes()
    with pytest.raises(
        StorageError, match=r"by an older version: `autoresearch-rl run` brings it up to date"
    ):
        Storage.open(old, readonly=True)
    assert old.read_bytes() == before


def test_an_upgrade_that_fails_at_its_last_step_changes_nothing(old: Path) -> None:
    with sqlite3.connect(old) as connection:
        connection.execute("ALTER TABLE trials ADD COLUMN segment INTEGER")
    connection.close()
    before = columns(old)
    with pytest.raises(StorageError, match="duplicate column name: segment"):
        Storage.open(old)
    assert columns(old) == before
