"""`run` at a terminal: Ctrl-C, once and twice, and windows of any size."""

from __future__ import annotations

import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from calling import COMMAND, call, one_line
from tiny import BIGRAM, make_task


def start(task: Path, home: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*COMMAND, "run", str(task), "--study", "one", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("study one"):
            return process
    raise AssertionError("it ended before it began")


def test_ctrl_c_finishes_the_running_trial_and_a_second_run_is_refused_meanwhile(
    tiny_task: Path, tmp_path: Path
) -> None:
    process = start(tiny_task, tmp_path / "home")
    one_line(
        call("run", "--study", "one", "--home", tmp_path / "home"), 1, "already running", str(process.pid)
    )
    facts = json.loads(call("status", "--home", tmp_path / "home", "--json").stdout)
    assert facts["running"] == process.pid
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out.startswith("stopped: person")
    assert "finishing the running trial" in err
    facts = json.loads(call("status", "--home", tmp_path / "home", "--json").stdout)
    assert facts["baseline_runs"] >= 1


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    slow = BIGRAM.replace("def train(env):\n", "def train(env):\n    import time\n    time.sleep(15)\n")
    process = start(make_task(tmp_path / "slow", slow), tmp_path / "home")
    time.sleep(4)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert time.monotonic() - began < 5
    assert err.endswith("\nstopped at once; the same command goes on\n")


def test_nobody_need_read_what_is_shown(tiny_task: Path, tmp_path: Path) -> None:
    """Ctrl-C at `run 2>&1 | tee log` ends `tee` as well."""
    process = start(tiny_task, tmp_path / "home")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stderr.close()
    while json.loads(call("status", "--home", tmp_path / "home", "--json").stdout)["baseline_runs"] < 2:
        assert process.poll() is None, "it goes on"
    process.send_signal(signal.SIGINT)
    with process.stdout as out:
        assert out.read().startswith("stopped: person")
    assert process.wait(60) == 130


@pytest.mark.parametrize("size", [(24, 80), (5, 20)])
def test_a_terminal_of_any_size_gets_two_bars(tiny_task: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(
        [
            *COMMAND,
            "run",
            str(tiny_task),
            "--study",
            "one",
            "--home",
            str(tmp_path / "home"),
            "--train-seconds",
            "0.1",
        ],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(follower)
    shown = b""
    while data := _read(leader):
        shown += data
    assert process.wait(60) == 0, shown[-2000:]
    assert b"\x1b[" in shown
    assert b"stopped: train_seconds" in shown
    if size[1] == 80:
        assert b"probe" in shown
        assert b"trial 0" in shown
        assert b"best" in shown


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:  # how Linux tells that the other side has closed
        return b""
