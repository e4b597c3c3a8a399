import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch_rl.errors import StorageError, StudyBusy
from autoresearch_rl.storage.lock import study_lock

HOLD = """
import sys
from pathlib import Path
from autoresearch_rl.storage.lock import study_lock
with study_lock(Path(sys.argv[1]), "x"):
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_who_runs_the_study(tmp_path):
    process = _holder(tmp_path / "x")
    message = rf"^study x is already running \(pid {process.pid}\)$"
    with pytest.raises(StudyBusy, match=message), study_lock(tmp_path / "x", "x"):
        pass
    process.communicate()
    with study_lock(tmp_path / "x", "x"):
        assert (tmp_path / "x" / "lock").read_text() == f"{os.getpid()}\n"


def test_kill_9_releases_the_lock(tmp_path):
    process = _holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with study_lock(tmp_path, "x"):
        pass


def test_the_same_process_cannot_hold_it_twice(tmp_path):
    with study_lock(tmp_path, "x"), pytest.raises(StudyBusy), study_lock(tmp_path, "x"):
        pass


def test_an_error_inside_releases_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), study_lock(tmp_path, "x"):
        _ = 1 / 0
    with study_lock(tmp_path, "x"):
        pass


def test_a_started_program_does_not_inherit_the_lock(tmp_path):
    with study_lock(tmp_path, "x"):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    with study_lock(tmp_path, "x"):
        pass
    child.kill()
    child.wait()


def test_a_system_error_inside_is_passed_on_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), study_lock(tmp_path, "x"):
        (tmp_path / "missing").read_text()


def test_a_folder_that_cannot_be_written_is_named():
    with pytest.raises(StorageError, match="/proc/x/lock"), study_lock(Path("/proc/x"), "x"):
        pass
