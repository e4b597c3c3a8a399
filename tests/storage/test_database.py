import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, update

from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.storage import schema
from autoresearch_rl.storage.database import MIGRATIONS, open_engine
from autoresearch_rl.storage.storage import Storage


def test_migrating_an_empty_database_gives_the_schema(tmp_path):
    engine, _ = open_engine(tmp_path / "studies.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_the_migrated_tables_are_those_that_the_schema_would_create(tmp_path):
    from sqlalchemy import create_engine

    engine, _ = open_engine(tmp_path / "studies.db")
    direct = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    schema.metadata.create_all(direct)
    assert _tables(tmp_path / "studies.db") == _tables(tmp_path / "direct.db")
    engine.dispose()
    direct.dispose()


def _tables(path):
    with sqlite3.connect(path) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        facts = {}
        for name in sorted(set(names) - {"alembic_version"}):
            columns = connection.execute(f"SELECT name, type, [notnull], pk FROM pragma_table_info('{name}')")
            keys = connection.execute(f"SELECT [table], [from], [to] FROM pragma_foreign_key_list('{name}')")
            facts[name] = (columns.fetchall(), sorted(keys.fetchall()))
    connection.close()
    return facts


def test_head_is_the_head_of_the_script_directory():
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [schema.HEAD]


def test_migrations_are_packages_so_that_a_wheel_holds_them():
    for folder in (MIGRATIONS, MIGRATIONS / "versions"):
        assert (folder / "__init__.py").is_file()


def test_a_database_at_head_is_opened_without_alembic(tmp_path):
    path = tmp_path / "studies.db"
    code = (
        "import sys; from autoresearch_rl.storage.storage import Storage\n"
        f"Storage.open({str(path)!r}).close(); print('alembic' in sys.modules)"
    )
    runs = [subprocess.check_output([sys.executable, "-c", code], text=True).strip() for _ in range(2)]
    assert runs == ["True", "False"]


def test_many_processes_may_create_the_same_database(tmp_path):
    path = tmp_path / "studies.db"
    code = f"from autoresearch_rl.storage.storage import Storage; Storage.open({str(path)!r}).close()"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]


def test_the_writer_survives_power_cuts_and_does_not_block_readers(tmp_path):
    engine, _ = open_engine(tmp_path / "studies.db")
    with engine.connect() as connection:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
    engine.dispose()
    assert values == ["wal", 2, 1, 10_000]


def test_a_reader_of_nothing_creates_nothing(tmp_path):
    path = tmp_path / "home" / "studies.db"
    with pytest.raises(
        StorageError, match=r"no studies at .*studies\.db; start one with `autoresearch-rl run`"
    ):
        Storage.open(path, readonly=True)
    assert not path.parent.exists()


def test_a_reader_of_an_empty_file_leaves_it_empty(tmp_path):
    path = tmp_path / "studies.db"
    path.touch()
    with pytest.raises(StorageError, match="no studies at"):
        Storage.open(path, readonly=True)
    assert path.read_bytes() == b""


def test_a_reader_cannot_write(tmp_path):
    Storage.open(tmp_path / "studies.db").close()
    with (
        Storage.open(tmp_path / "studies.db", readonly=True) as storage,
        pytest.raises(StorageError, match="cannot be written"),
    ):
        storage.create_study("x", "micro", {}, {}, "")


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_database_is_refused(tmp_path, readonly):
    path = tmp_path / "studies.db"
    Storage.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"written by a newer version .*9999.*: upgrade autoresearch-rl"):
        Storage.open(path, readonly=readonly)
    assert path.read_bytes() == before


@pytest.mark.parametrize("readonly", [False, True])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, readonly):
    path = tmp_path / "studies.db"
    path.write_bytes(b"commit\tval_bpb\n" * 1000)
    with pytest.raises(StorageError, match=r"studies\.db: it is damaged or is not a database: move it away"):
        Storage.open(path, readonly=readonly)
    assert path.read_bytes() == b"commit\tval_bpb\n" * 1000


def test_a_damaged_database_is_named(tmp_path):
    path = tmp_path / "studies.db"
    with Storage.open(path) as storage:
        study = storage.create_study("x", "micro", {"filler": "y" * 50_000}, {}, "")
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StorageError, match="damaged"), Storage.open(path) as storage:
        storage.trials(study)


@pytest.mark.parametrize("readonly", [False, True])
def test_a_folder_in_the_place_of_the_database_is_refused(tmp_path, readonly):
    (tmp_path / "studies.db").mkdir()
    with pytest.raises(StorageError, match=r"studies\.db: (it cannot be|the disk could not)"):
        Storage.open(tmp_path / "studies.db", readonly=readonly)


def test_a_folder_that_cannot_be_made_is_named():
    # /proc refuses even root, whom permissions do not stop.
    with pytest.raises(StorageError, match=r"/proc/studies/studies\.db: "):
        Storage.open(Path("/proc/studies/studies.db"))


READONLY = textwrap.dedent("""
    import subprocess, sys
    from autoresearch_rl.errors import StorageError
    from autoresearch_rl.storage.storage import Storage
    disk = sys.argv[1]
    subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
    with Storage.open(disk + "/studies.db") as storage:
        storage.create_study("x", "micro", {}, {}, "")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with Storage.open(disk + "/studies.db", readonly=True) as storage:
        print([study.name for study in storage.studies()])
    for path in ("/studies.db", "/other.db"):
        try:
            Storage.open(disk + path).create_study("y", "micro", {}, {}, "")
        except StorageError as error:
            print(str(error).removeprefix(disk))
""")


def test_a_disk_that_cannot_be_written_can_be_read(tmp_path):
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no unprivileged mounts here, so no read-only disk")
    command = ["unshare", "-rm", sys.executable, "-c", READONLY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    advice = "it cannot be written or opened: check the permissions of the folder, or choose another --home"
    assert done.stdout.splitlines() == ["['x']", f"/studies.db: {advice}", f"/other.db: {advice}"], (
        done.stderr
    )


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "no such://x", "nosuchdb://host/x"])
def test_a_url_without_a_lasting_database_is_a_usage_error(url):
    with pytest.raises(ConfigurationError):
        Storage.open(url)


def test_a_path_may_hold_characters_that_mean_something_in_urls(tmp_path):
    path = tmp_path / "a b%20?#.db"
    Storage.open(path).close()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_sqlite_url_is_a_path(tmp_path):
    Storage.open(f"sqlite:///{tmp_path}/studies.db").close()
    Storage.open(tmp_path / "studies.db", readonly=True).close()


def test_migration_is_all_or_nothing(tmp_path):
    path = tmp_path / "studies.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE checkpoints (x)")  # the last one to be made
    connection.close()
    with pytest.raises(StorageError, match="already exists"):
        Storage.open(path)
    assert set(_tables(path)) == {"checkpoints"}


def test_foreign_keys_are_enforced(tmp_path):
    with Storage.open(tmp_path / "studies.db") as storage:
        storage.create_study("x", "micro", {}, {}, "")
    engine, _ = open_engine(tmp_path / "studies.db")
    with pytest.raises(Exception, match="FOREIGN KEY"), engine.begin() as connection:
        connection.execute(update(schema.studies).values(baseline="0" * 64))
    with pytest.raises(Exception, match="FOREIGN KEY"), engine.begin() as connection:
        connection.execute(insert(schema.checkpoints).values(study_id=1, trial=5, policy="p", blob=b""))
    engine.dispose()
