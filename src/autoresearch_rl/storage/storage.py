"""The memory of all studies of one home: one small database, one transaction per trial."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.records import Metric, Trial, script_id
from autoresearch_rl.storage import schema
from autoresearch_rl.storage.database import open_engine
from autoresearch_rl.storage.faults import storing
from autoresearch_rl.storage.rows import trial_from_row, trial_to_row

_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study, in its latest segment. `baseline` is the SHA-256 of its first script."""

    id: int
    name: str
    task: str
    settings: Mapping[str, Any]
    fingerprint: Mapping[str, Any]  # what results must share to be comparable
    baseline: str
    created: float  # seconds since the epoch
    segment: int = 0

    @property
    def metric(self) -> Metric:
        """Who computes its scores; studies made before there was a choice are measured."""
        return Metric(self.fingerprint.get("metric", Metric.MEASURED))


def check_study_name(name: str) -> str:
    """Return `name` if it can be a folder, a git branch and a key; at most 100 characters.

    Raises:
        ConfigurationError: it cannot.
    """
    if len(name) > 100 or not _NAME.fullmatch(name) or name.endswith((".lock", ".db")):
        raise ConfigurationError(
            f"a study's name has letters and digits, joined by single '-', '_' or '.', but got {name!r}"
        )
    return name


class Storage:
    """Studies, scripts, trials and the latest checkpoint of each agent.

    Trials are only ever added. Whatever `commit` has returned from survives a kill and a power cut.
    """

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self.where = where

    @classmethod
    def open(cls, url_or_path: str | Path, readonly: bool = False) -> Self:
        """Open a database; without `readonly`, create it or bring its schema up to date.

        Args:
            url_or_path: a SQLite file, or the URL of a database (`postgresql+psycopg://...`).
            readonly: create nothing, change nothing, and never make a writer wait.

        Raises:
            ConfigurationError: the URL is wrong or its driver is missing.
            StorageError: there is none (`readonly`), it cannot be used, or a newer version wrote it.
        """
        return cls(*open_engine(url_or_path, readonly))

    def close(self) -> None:
        """Close all connections. The storage cannot be trusted to work afterwards."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def create_study(
        self,
        name: str,
        task: str,
        settings: Mapping[str, Any],
        fingerprint: Mapping[str, Any],
        baseline_source: str,
    ) -> StudyRecord:
        """Record a new study and its first script.

        Raises:
            ConfigurationError: the name cannot be used.
            StorageError: there is a study of this name, or the database failed.
        """
        row = {
            "name": check_study_name(name),
            "task": task,
            "settings": dict(settings),
            "baseline": script_id(baseline_source),
            "created": time.time(),
        }
        with storing(self.where):
            try:
                with self._writer.begin() as connection:
                    _insert_script(connection, baseline_source)
                    key = connection.execute(insert(schema.studies).values(row)).inserted_primary_key
                    assert key is not None
                    _insert_segment(connection, key[0], 0, fingerprint)
            except IntegrityError as error:
                raise StorageError(f"study {name} already exists in {self.where}") from error
        study = self.study(name)
        assert study is not None, "a study that was just committed is gone"
        return study

    def study(self, name: str) -> StudyRecord | None:
        """The study of this name, or None.

        Raises:
            StorageError: the database failed.
        """
        with storing(self.where), self._engine.connect() as connection:
            row = connection.execute(_studies().where(schema.studies.c.name == name)).first()
        return StudyRecord(**row._mapping) if row else None

    def studies(self) -> tuple[StudyRecord, ...]:
        """All studies, oldest first.

        Raises:
            StorageError: the database failed.
        """
        with storing(self.where), self._engine.connect() as connection:
            rows = connection.execute(_studies().order_by(schema.studies.c.id)).all()
        return tuple(StudyRecord(**row._mapping) for row in rows)

    def begin_segment(self, study: StudyRecord, fingerprint: Mapping[str, Any]) -> StudyRecord:
        """Records that what follows cannot be compared with what was measured before.

        Raises:
            StorageError: the database failed.
        """
        number = study.segment + 1
        with storing(self.where), self._writer.begin() as connection:
            _insert_segment(connection, study.id, number, fingerprint)
        return replace(study, segment=number, fingerprint=dict(fingerprint))

    def commit(
        self,
        study: StudyRecord,
        trial: Trial,
        source: str,
        checkpoint: tuple[str, bytes] | None = None,
    ) -> None:
        """Record a finished trial: its script, its row and the agent after it, all or nothing.

        Args:
            study: the study it belongs to.
            trial: the trial; its parent's script has been recorded before.
            source: the text of the script that ran.
            checkpoint: the policy's name and its bytes; replaces the study's earlier one.

        Raises:
            StorageError: the trial is already recorded, does not fit, or the database failed. In each
                case nothing of it is stored.
        """
        if script_id(source) != trial.script:
            raise StorageError(f"trial {trial.number} names script {trial.script[:7]}, not this source")
        row = trial_to_row(trial) | {"study_id": study.id}
        with storing(self.where):
            try:
                with self._writer.begin() as connection:
                    _insert_script(connection, source)
                    connection.execute(insert(schema.trials).values(row))
                    if checkpoint is not None:
                        _replace_checkpoint(connection, study.id, trial.number, *checkpoint)
            except IntegrityError as error:
                raise StorageError(self._why_refused(study, trial)) from error

    def _why_refused(self, study: StudyRecord, trial: Trial) -> str:
        same = (schema.trials.c.study_id == study.id) & (schema.trials.c.number == trial.number)
        with self._engine.connect() as connection:
            if connection.execute(select(schema.trials.c.id).where(same)).first():
                return f"trial {trial.number} of study {study.name} is already recorded"
        return (
            f"trial {trial.number} does not fit into {self.where}: study {study.name} or the parent script "
            f"{trial.parent[:7]} is not recorded there"
        )

    def trials(self, study: StudyRecord) -> tuple[Trial, ...]:
        """All trials of a study in the order in which they were completed.

        Raises:
            StorageError: the database failed, or a row is damaged.
        """
        table = schema.trials
        query = select(table).where(table.c.study_id == study.id).order_by(table.c.id)
        with storing(self.where), self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(trial_from_row(dict(row)) for row in rows)

    def script(self, sha: str) -> str:
        """The source of a script by its SHA-256 (hexadecimal, in full).

        Raises:
            StorageError: there is none, it is damaged, or the database failed.
        """
        query = select(schema.scripts.c.source).where(schema.scripts.c.sha256 == sha)
        with storing(self.where), self._engine.connect() as connection:
            stored = connection.scalar(query)
        if stored is None:
            raise StorageError(f"{self.where} holds no script {sha}")
        source = bytes(stored).decode("utf-8", "surrogateescape")
        if script_id(source) != sha:
            raise StorageError(f"{self.where}: script {sha} is damaged: restore a copy")
        return source

    def checkpoint(self, study: StudyRecord) -> tuple[int, str, bytes] | None:
        """The latest checkpoint as (trial number, policy's name, bytes), or None.

        Raises:
            StorageError: the database failed.
        """
        table = schema.checkpoints
        query = select(table.c.trial, table.c.policy, table.c.blob).where(table.c.study_id == study.id)
        with storing(self.where), self._engine.connect() as connection:
            row = connection.execute(query).first()
        return (row.trial, row.policy, bytes(row.blob)) if row else None


def _studies() -> Select[Any]:
    """Studies, each with its latest segment."""
    later = schema.segments.alias()
    latest = select(func.max(later.c.number)).where(later.c.study_id == schema.studies.c.id)
    columns = (schema.segments.c.number.label("segment"), schema.segments.c.fingerprint)
    return (
        select(schema.studies, *columns)
        .join(schema.segments, schema.segments.c.study_id == schema.studies.c.id)
        .where(schema.segments.c.number == latest.scalar_subquery())
    )


def _insert_segment(
    connection: Connection, study_id: int, number: int, fingerprint: Mapping[str, Any]
) -> None:
    values = {
        "study_id": study_id,
        "number": number,
        "fingerprint": dict(fingerprint),
        "created": time.time(),
    }
    connection.execute(insert(schema.segments).values(values))


def _insert_script(connection: Connection, source: str) -> None:
    sha = script_id(source)
    if connection.scalar(select(schema.scripts.c.sha256).where(schema.scripts.c.sha256 == sha)) is None:
        data = source.encode("utf-8", "surrogateescape")
        connection.execute(insert(schema.scripts).values(sha256=sha, source=data))


def _replace_checkpoint(connection: Connection, study_id: int, trial: int, policy: str, blob: bytes) -> None:
    values = {"trial": trial, "policy": policy, "blob": blob}
    table = schema.checkpoints
    done = connection.execute(update(table).where(table.c.study_id == study_id).values(values))
    if done.rowcount == 0:
        connection.execute(insert(table).values(values | {"study_id": study_id}))
