"""Trials as rows of the table `trials`, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from autoresearch_rl.errors import StorageError
from autoresearch_rl.records import (
    Edit,
    Probe,
    Trial,
    TrialKind,
    Verdict,
    candidate_from_json,
    candidate_to_json,
)

FIELDS = tuple(field.name for field in fields(Trial))
"""The names of a trial's fields, which are also its columns."""

NUMBERS = tuple(field.name for field in fields(Trial) if field.type.split(" | ")[0] in ("int", "float"))
"""Those that hold a number, or nothing: SQLite would hand out anything there."""


def trial_to_row(trial: Trial) -> dict[str, Any]:
    """A trial as column values.

    Raises:
        StorageError: a number that has to be finite is not.
    """
    row = {name: getattr(trial, name) for name in FIELDS}
    _check_finite(trial.number, row)
    row |= {
        "kind": trial.kind.value,
        "verdict": trial.verdict.value,
        "edit": trial.edit.to_json(),
        "candidate": candidate_to_json(trial.candidate) if trial.candidate else None,
        "seconds": dict(trial.seconds),
        "metrics": dict(trial.metrics),
        "probes": [[probe.seconds, probe.bpb, probe.lr] for probe in trial.probes],
    }
    return row


def trial_from_row(row: Mapping[str, Any]) -> Trial:
    """Inverse of `trial_to_row`.

    Raises:
        StorageError: the row does not hold a trial.
    """
    values = {name: row[name] for name in FIELDS}
    try:
        if wrong := [name for name in NUMBERS if not isinstance(row[name], int | float | None)]:
            raise ValueError(f"{', '.join(wrong)} should be numbers")
        values["kind"] = TrialKind(row["kind"])
        values["verdict"] = Verdict(row["verdict"])
        values["edit"] = Edit.from_json(row["edit"])
        values["probes"] = tuple(Probe(*reading) for reading in row["probes"])
        values["candidate"] = candidate_from_json(row["candidate"]) if row["candidate"] else None
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"the record of trial {row['number']} is damaged: {error}") from error
    return Trial(**values)


def _check_finite(number: int, row: Mapping[str, Any]) -> None:
    # SQLite would store NaN as NULL and so turn a bug elsewhere into "no measurement".
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise StorageError(f"{name} of trial {number} must be finite, but got {value}")
