"""Turns the errors of databases and file systems into one line that says what to do."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from autoresearch_rl.errors import StorageError

_FULL = "no space left on the device: free some and run again, nothing recorded is lost"
_READONLY = "it cannot be written or opened: check the permissions of the folder, or choose another --home"
_DAMAGED = "it is damaged or is not a database: move it away, or restore a copy"
_BROKEN = "the disk could not read or write it: check the path and the disk; what is recorded stays recorded"
_BUSY = "another process has held it for more than 10 seconds: end that one, or run again later"

_SQLITE = {
    "SQLITE_FULL": _FULL,
    "SQLITE_READONLY": _READONLY,
    "SQLITE_CANTOPEN": _READONLY,
    "SQLITE_PERM": _READONLY,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_IOERR": _BROKEN,
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
}
_SYSTEM = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _READONLY,
    errno.EPERM: _READONLY,
    errno.EROFS: _READONLY,
}


@contextmanager
def storing(where: object) -> Iterator[None]:
    """Raise a StorageError that names `where` for every failure of a database or a file system inside.

    Raises:
        StorageError: the database or the files at `where` cannot be used.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise StorageError(f"{where}: {_database_advice(error)}") from error
    except json.JSONDecodeError as error:
        raise StorageError(f"{where}: {_DAMAGED}") from error
    except OSError as error:
        raise StorageError(f"{where}: {_SYSTEM.get(error.errno or 0, error.strerror or error)}") from error


def _database_advice(error: SQLAlchemyError) -> str:
    if not isinstance(error, DBAPIError):
        return " ".join(str(error).split())
    # Extended codes refine a primary one: SQLITE_READONLY_DIRECTORY, SQLITE_BUSY_SNAPSHOT.
    name = getattr(error.orig, "sqlite_errorname", "")
    primary = "_".join(name.split("_")[:2])
    return _SQLITE.get(primary, " ".join(str(error.orig).split()))
