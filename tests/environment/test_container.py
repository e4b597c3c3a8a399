"""A plain container refuses namespaces: the second sandbox has to do, and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tiny import make_task, skip_without

# What Docker's default seccomp profile does to a process without CAP_SYS_ADMIN.
CONTAINER = """
import os, platform, sys
from autoresearch_rl.environment.inside import lockdown as l

column, _ = l._ARCHITECTURES[platform.machine()]
program = l._instruction(l._LOAD, l._NUMBER)
for name in ("unshare", "setns", "mount", "umount2", "pivot_root"):
    program += l._refuse(l._DENIED[name][column])
program += l._refuse(l._CLONE3[column], l._ENOSYS)
program += l._refuse_unless_first(l._CLONE[column], l._instruction(l._JSET, 0x7E020000, 0, 1))
l.seccomp(program + l._instruction(l._RETURN, l._ALLOW))
os.execv(sys.executable, [sys.executable, "-m", "autoresearch_rl", *sys.argv[1:]])
"""


def in_container(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CONTAINER, *arguments], capture_output=True, text=True)


def test_the_doctor_tells_which_sandbox_is_left() -> None:
    skip_without("bubblewrap")
    done = in_container("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stderr
    assert not checks["bubblewrap"]["holds"]
    assert "namespace" in checks["bubblewrap"]["message"]
    assert checks["landlock"]["holds"], checks["landlock"]["message"]
    assert checks["sandbox"]["holds"]


def test_a_script_is_scored_in_the_second_sandbox(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tiny")
    done = in_container("evaluate", str(task), str(task / "train.py"), "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["verdict"] == "ok"
    assert result["sandbox"] == "landlock"
    assert 3.0 < result["val_bpb"] < 5.0


def test_without_either_sandbox_nothing_runs(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tiny")
    done = in_container("evaluate", str(task), str(task / "train.py"), "--sandbox", "bubblewrap")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no sandbox holds here" in done.stderr
    assert "--unsafe-no-sandbox" in done.stderr
    assert sorted(os.listdir(task)) == ["task.toml", "train.py"]
