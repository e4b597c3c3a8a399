import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import fields, replace

import pytest
from arbitrary_trials import BASELINE, plain_trial, trials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.records import Trial, script_id
from autoresearch_rl.storage import schema
from autoresearch_rl.storage.storage import Storage, StudyRecord, check_study_name


@pytest.fixture
def storage(tmp_path):
    with Storage.open(tmp_path / "studies.db") as opened:
        yield opened


@pytest.fixture
def study(storage):
    return storage.create_study("x", "micro", {"workers": 1}, {"corpus": "abc"}, BASELINE)


def test_the_table_has_a_column_for_every_field_of_a_trial():
    assert set(schema.trials.c.keys()) == {field.name for field in fields(Trial)} | {"id", "study_id"}


def test_a_study_is_found_by_its_name(storage, study):
    assert storage.study("x") == study
    assert study == StudyRecord(
        study.id, "x", "micro", {"workers": 1}, {"corpus": "abc"}, script_id(BASELINE), study.created
    )
    assert abs(study.created - time.time()) < 60
    assert storage.study("y") is None
    assert storage.script(study.baseline) == BASELINE


def test_studies_are_listed_oldest_first(storage, study):
    other = storage.create_study("a", "stdlib", {}, {}, BASELINE)
    assert storage.studies() == (study, other)


def test_a_name_is_used_once(storage, study):
    with pytest.raises(StorageError, match="study x already exists"):
        storage.create_study("x", "micro", {}, {}, BASELINE)
    assert storage.studies() == (study,)


def test_a_study_is_in_its_latest_segment(storage, study, tmp_path):
    other = storage.create_study("y", "micro", {}, {"corpus": "abc"}, BASELINE)
    second = storage.begin_segment(study, {"corpus": "def"})
    third = storage.begin_segment(second, {"corpus": "abc"})
    assert second == replace(study, segment=1, fingerprint={"corpus": "def"})
    assert (third.segment, third.fingerprint) == (2, {"corpus": "abc"})
    with Storage.open(tmp_path / "studies.db", readonly=True) as reader:
        assert reader.studies() == (third, other)
        assert reader.study("x") == third


def test_a_segment_begins_once(storage, study):
    second = storage.begin_segment(study, {"corpus": "def"})
    with pytest.raises(StorageError, match=r"studies\.db: UNIQUE constraint failed"):
        storage.begin_segment(study, {"corpus": "ghi"})
    assert storage.study("x") == second


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a b", "-x", "a..b", "x.", "x.lock", "studies.db", "é", "a\n", "a" * 101],
)
def test_a_name_that_cannot_be_a_folder_or_a_branch_is_refused(storage, name):
    with pytest.raises(ConfigurationError, match="a study's name"):
        storage.create_study(name, "micro", {}, {}, BASELINE)


@pytest.mark.parametrize("name", ["x", "first-study", "2026_01.b", "A" * 100])
def test_a_plain_name_is_accepted(name):
    assert check_study_name(name) == name


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), source=st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_any_trial_comes_back_as_it_was(storage, data, source):
    trial = data.draw(trials(source))
    study = storage.create_study(f"s{len(storage.studies())}", "micro", {}, {}, BASELINE)
    storage.commit(study, trial, source)
    assert storage.trials(study) == (trial,)
    assert storage.script(trial.script) == source


def test_bytes_that_are_not_utf8_come_back_in_a_script(storage, study):
    source = b"x = '\xff\x00'\r\n".decode("utf-8", "surrogateescape")
    storage.commit(study, plain_trial(0, source), source)
    assert storage.script(script_id(source)) == source


def test_characters_that_no_database_accepts_are_escaped_in_a_reason(storage, study):
    storage.commit(study, plain_trial(0, reason="a\udc80\0b"), BASELINE)
    assert storage.trials(study)[0].reason == "a\\udc80\\x00b"


def test_nan_among_the_metrics_comes_back(storage, study):
    storage.commit(study, plain_trial(0, metrics={"approx_kl": float("nan")}), BASELINE)
    assert str(storage.trials(study)[0].metrics["approx_kl"]) == "nan"


@pytest.mark.parametrize("field", ["val_bpb", "reward", "peak_memory_mb"])
def test_a_number_that_is_not_finite_is_refused(storage, study, field):
    with pytest.raises(StorageError, match=f"{field} of trial 3 must be finite, but got nan"):
        storage.commit(study, plain_trial(3, **{field: float("nan")}), BASELINE)
    assert storage.trials(study) == ()


def test_trials_are_in_order_of_completion(storage, study):
    for number in (2, 0, 1):
        storage.commit(study, plain_trial(number), BASELINE)
    assert [trial.number for trial in storage.trials(study)] == [2, 0, 1]


def test_studies_do_not_see_each_other(storage, study):
    other = storage.create_study("y", "micro", {}, {}, BASELINE)
    storage.commit(study, plain_trial(0), BASELINE, ("ppo", b"1"))
    storage.commit(other, plain_trial(0, reason="other"), BASELINE)
    assert [trial.reason for trial in storage.trials(other)] == ["other"]
    assert storage.checkpoint(other) is None


def test_a_trial_is_recorded_once_and_the_second_attempt_changes_nothing(storage, study):
    storage.commit(study, plain_trial(7), BASELINE, ("ppo", b"first"))
    with pytest.raises(StorageError, match=r"^trial 7 of study x is already recorded$"):
        storage.commit(study, plain_trial(7, "other"), "other", ("ppo", b"second"))
    assert storage.checkpoint(study) == (7, "ppo", b"first")
    with pytest.raises(StorageError, match="holds no script"):
        storage.script(script_id("other"))


def test_a_trial_whose_parent_is_unknown_is_refused(storage, study):
    with pytest.raises(StorageError, match=r"trial 0 does not fit .* parent script 0000000 is not recorded"):
        storage.commit(study, plain_trial(0, parent="0" * 64), BASELINE)


def test_a_source_that_is_not_the_trials_script_is_refused(storage, study):
    with pytest.raises(StorageError, match="not this source"):
        storage.commit(study, plain_trial(0), "something else")


def test_only_the_latest_checkpoint_is_kept(storage, study):
    assert storage.checkpoint(study) is None
    storage.commit(study, plain_trial(0), BASELINE, ("ppo", b"\x00\xff"))
    storage.commit(study, plain_trial(1), BASELINE)
    assert storage.checkpoint(study) == (0, "ppo", b"\x00\xff")
    storage.commit(study, plain_trial(2), BASELINE, ("tpe", b""))
    assert storage.checkpoint(study) == (2, "tpe", b"")


def test_a_changed_script_is_noticed(storage, study, tmp_path):
    with sqlite3.connect(tmp_path / "studies.db") as connection:
        connection.execute("UPDATE scripts SET source = X'00'")
    connection.close()
    with pytest.raises(StorageError, match="is damaged"):
        storage.script(study.baseline)


def test_a_row_that_holds_no_trial_is_named(storage, study, tmp_path):
    storage.commit(study, plain_trial(4), BASELINE)
    with sqlite3.connect(tmp_path / "studies.db") as connection:
        connection.execute("UPDATE trials SET verdict = 'splendid'")
    connection.close()
    with pytest.raises(StorageError, match="record of trial 4 is damaged"):
        storage.trials(study)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("val_bpb = 'abc'", "record of trial 4 is damaged: val_bpb should be numbers"),
        ("edit = '[{'", r"studies\.db: it is damaged"),
    ],
)
def test_a_damaged_cell_is_one_clear_line(storage, study, tmp_path, cell, message):
    storage.commit(study, plain_trial(4), BASELINE)
    with sqlite3.connect(tmp_path / "studies.db") as connection:
        connection.execute(f"UPDATE trials SET {cell}")
    connection.close()
    with pytest.raises(StorageError, match=message):
        storage.trials(study)


def test_a_reader_in_the_middle_of_reading_does_not_block_the_writer(storage, study, tmp_path):
    reader = sqlite3.connect(tmp_path / "studies.db", isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM trials").fetchone() == (0,)
    started = time.monotonic()
    storage.commit(study, plain_trial(0), BASELINE)
    assert time.monotonic() - started < 5
    assert reader.execute("SELECT count(*) FROM trials").fetchone() == (0,)
    reader.close()


def test_a_writer_in_the_middle_of_writing_does_not_block_readers(storage, study, tmp_path):
    storage.commit(study, plain_trial(0), BASELINE)
    writer = sqlite3.connect(tmp_path / "studies.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM trials")
    with Storage.open(tmp_path / "studies.db", readonly=True) as reader:
        assert reader.trials(study) == storage.trials(study) == (plain_trial(0),)
    writer.close()


def test_a_full_database_loses_nothing(storage, study):
    storage.commit(study, plain_trial(0), BASELINE, ("ppo", b"first"))
    with storage._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 30")
    with pytest.raises(StorageError, match=r"studies\.db: no space left on the device: free some"):
        storage.commit(study, plain_trial(1), BASELINE, ("ppo", bytes(1_000_000)))
    assert storage.trials(study) == (plain_trial(0),)
    assert storage.checkpoint(study) == (0, "ppo", b"first")


FILL = textwrap.dedent("""
    import subprocess, sys
    sys.path.insert(0, {here!r})
    from arbitrary_trials import BASELINE, plain_trial
    from autoresearch_rl.errors import StorageError
    from autoresearch_rl.storage.storage import Storage
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", {disk!r}], check=True)
    with Storage.open({disk!r} + "/studies.db") as storage:
        study = storage.create_study("x", "micro", {{}}, {{}}, BASELINE)
        recorded = 0
        try:
            for number in range(1000):
                storage.commit(study, plain_trial(number), BASELINE, ("ppo", bytes([number % 256]) * 50_000))
                recorded += 1
        except StorageError as error:
            print(error)
        assert len(storage.trials(study)) == recorded, (len(storage.trials(study)), recorded)
        assert storage.checkpoint(study)[0] == recorded - 1
""")


def test_a_full_disk_loses_nothing(tmp_path):
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no unprivileged mounts here, so no small disk to fill")
    code = FILL.format(here=str(__file__).rpartition("/")[0], disk=str(tmp_path))
    done = subprocess.run(["unshare", "-rm", sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no space left on the device" in done.stdout


def test_replacing_fields_shows_in_the_comparison():
    # Guards the round trip above: trials are compared by all their fields.
    assert replace(plain_trial(0), metrics={"a": 1.0}) != plain_trial(0)
