"""Opens the database and brings its schema to `schema.HEAD`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.storage.faults import storing
from autoresearch_rl.storage.schema import HEAD

BUSY_SECONDS = 10.0
MIGRATIONS = Path(__file__).parent / "migrations"

_NO_STUDIES = "no studies at {}; start one with `autoresearch-rl run`"


def open_engine(url_or_path: str | Path, readonly: bool = False) -> tuple[Engine, str]:
    """Open a database at the current revision; also gives its name for messages.

    Args:
        url_or_path: a file, or a URL with `://`.
        readonly: never create or migrate anything.

    Raises:
        ConfigurationError: the URL is not one of a lasting database, or its driver is missing.
        StorageError: the database cannot be opened, or is of another version.
    """
    url = _to_url(url_or_path)
    where = url.database if _is_sqlite(url) and url.database else url.render_as_string(hide_password=True)
    with storing(where):
        engine = _sqlite_engine(Path(where), readonly) if _is_sqlite(url) else _server_engine(url)
        try:
            _ensure_head(engine, where, readonly)
        except BaseException:
            engine.dispose()
            raise
    return engine, where


def _to_url(url_or_path: str | Path) -> URL:
    if "://" not in str(url_or_path):
        return URL.create("sqlite", database=str(url_or_path))
    try:
        url = make_url(str(url_or_path))
    except ArgumentError as error:
        raise ConfigurationError(f"expected a path or a database URL, but got {url_or_path!r}") from error
    if _is_sqlite(url) and url.database in (None, "", ":memory:"):
        raise ConfigurationError("studies must outlive the process: give the SQLite database a path")
    return url


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _server_engine(url: URL) -> Engine:
    try:
        return create_engine(url)
    except (ArgumentError, ImportError) as error:
        raise ConfigurationError(f"no driver for {url.drivername}: install one ({error})") from error


def _sqlite_engine(path: Path, readonly: bool) -> Engine:
    if readonly and not path.exists():
        raise StorageError(_NO_STUDIES.format(path))
    if not readonly:
        path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(URL.create("sqlite", database=str(path)), creator=_connector(path, readonly))
    event.listen(engine, "connect", _set_reader_pragmas if readonly else _set_writer_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _connector(path: Path, readonly: bool) -> Callable[[], sqlite3.Connection]:
    uri = f"file:{quote(str(path.absolute()))}?mode={'ro' if readonly else 'rwc'}"
    # In a folder that cannot be written SQLite can make no shared memory for the log. Without a log
    # nobody is writing, so the file is read as it is.
    if readonly and not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        uri += "&immutable=1"

    def connect() -> sqlite3.Connection:
        # No isolation level: sqlite3 would start transactions late and commit before DDL.
        return sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )

    return connect


def _set_reader_pragmas(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA query_only = ON")


def _set_writer_pragmas(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.execute("PRAGMA journal_mode = WAL")  # readers do not block the writer
    connection.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    # A writer takes the write lock at once: one that read first could not wait for another writer.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _ensure_head(engine: Engine, where: str, readonly: bool) -> None:
    with engine.connect() as connection:
        revision = _revision(connection)
    if revision == HEAD:
        return
    if readonly:
        raise StorageError(_why_not_readable(revision, where))
    with engine.execution_options(writes=True).begin() as connection:
        _migrate(connection, where)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _why_not_readable(revision: str | None, where: str) -> str:
    if revision is None:
        return _NO_STUDIES.format(where)
    if _is_known(revision):
        return f"{where} was written by an older version: `autoresearch-rl run` brings it up to date"
    return f"{where} was written by a newer version (schema {revision}): upgrade autoresearch-rl"


def _is_known(revision: str) -> bool:
    from alembic.script import ScriptDirectory

    return revision in {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def _migrate(connection: Connection, where: str) -> None:
    # Alembic takes half a second to import, and is needed once in the life of a database.
    from alembic import command
    from alembic.config import Config

    # Read again: another process may have migrated before the lock was ours; then this changes nothing.
    revision = _revision(connection)
    if revision is not None and not _is_known(revision):
        raise StorageError(_why_not_readable(revision, where))
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")
