"""The tables. Portable types only, so that PostgreSQL works by URL.

A change here needs a new file in `migrations/versions` and a new `HEAD`; tests compare the three.
"""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

HEAD = "0003"
"""The revision this code reads and writes. A constant, so that opening needs no Alembic."""


class Line(TypeDecorator[str]):
    """Text in which lone surrogates and NUL, which no database accepts, are written as `\\udc80`, `\\x00`.

    Reasons quote untrusted scripts: one odd byte there must not stop a study.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape what cannot be stored."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


class PortableJSON(TypeDecorator[Any]):
    """JSON in which infinities and NaN, which JSON lacks, are written as `{"float": "nan"}`."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Replace non-finite floats."""
        return _encode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Inverse of `process_bind_param`."""
        return _decode(value)


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"} and isinstance(value["float"], str):
            return float(value["float"])
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    }
)

scripts = Table(
    "scripts",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("source", LargeBinary, nullable=False),  # the very bytes that were hashed
)

studies = Table(
    "studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("task", Text, nullable=False),
    Column("settings", PortableJSON, nullable=False),
    Column("baseline", String(64), ForeignKey("scripts.sha256"), nullable=False),
    Column("created", Double, nullable=False),  # seconds since the epoch
)

segments = Table(
    "segments",
    metadata,
    Column("study_id", Integer, ForeignKey("studies.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),  # 0 is what the study began with
    Column("fingerprint", PortableJSON, nullable=False),
    Column("created", Double, nullable=False),  # seconds since the epoch
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),  # the order of completion
    Column("study_id", Integer, ForeignKey("studies.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("parent", String(64), ForeignKey("scripts.sha256"), nullable=False),
    Column("script", String(64), ForeignKey("scripts.sha256"), nullable=False),
    Column("edit", PortableJSON, nullable=False),
    Column("candidate", PortableJSON),
    Column("confirms", Integer),
    Column("seed", BigInteger, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reason", Line, nullable=False),
    Column("incumbent_bpb", Double),
    Column("val_bpb", Double),
    Column("reward", Double, nullable=False),
    Column("train_seconds", Double, nullable=False),
    Column("wall_seconds", Double, nullable=False),
    Column("peak_memory_mb", Double, nullable=False),
    Column("sandbox", Line, nullable=False),
    Column("started", Double, nullable=False),
    Column("seconds", PortableJSON, nullable=False),
    Column("metrics", PortableJSON, nullable=False),
    Column("challenges", Integer, nullable=False, server_default="0"),
    Column("segment", Integer, nullable=False, server_default="0"),
    Column("probes", PortableJSON, nullable=False, server_default="[]"),
    Column("stop_at", Double),
    Column("forecast", Double),
    UniqueConstraint("study_id", "number"),
    sqlite_autoincrement=True,  # a row id is never used twice
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("trial", Integer, nullable=False),
    Column("policy", Text, nullable=False),
    Column("blob", LargeBinary, nullable=False),
    ForeignKeyConstraint(["study_id", "trial"], ["trials.study_id", "trials.number"]),
)
