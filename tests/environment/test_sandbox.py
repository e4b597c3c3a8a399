"""Both sandboxes, on this machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from autoresearch_rl.environment import sandbox, scratch
from autoresearch_rl.environment.corpus import library, load_stdlib
from autoresearch_rl.environment.frozen import escape_targets
from autoresearch_rl.environment.inside import lockdown
from autoresearch_rl.environment.sandbox import Backend
from autoresearch_rl.environment.view import sandbox_view
from autoresearch_rl.errors import SandboxError
from tiny import skip_without

OURS = f"autoresearch-{os.getpid()}-*"  # other tests run beside this one
LIMITS = sandbox.Limits(memory_mb=1024, scratch_mb=16, file_mb=16, cpu_seconds=30)


@pytest.fixture(params=sandbox.BACKENDS, scope="module")
def backend(request: pytest.FixtureRequest) -> Backend:
    skip_without(request.param)
    return Backend(request.param, sandbox_view())


def test_the_self_test_holds(backend: Backend) -> None:
    holds = sandbox.check(backend, *escape_targets(load_stdlib()))
    assert len(holds) == 12
    assert all(holds.values()), holds


def test_the_self_test_notices_a_file_that_can_be_read(backend: Backend) -> None:
    assert not sandbox.check(backend, [library() / "os.py"], [])["held-out text"]


def test_killing_confirms_the_death_and_leaves_nothing(backend: Backend) -> None:
    with backend.start("check", LIMITS):
        pass  # the zygote is there now
    folders, fds = set(Path("/tmp").glob(OURS)), len(os.listdir("/proc/self/fd"))
    with backend.start("check", LIMITS) as process:
        (pid,) = process.processes()
        assert process.alive()
        assert process.cpu_seconds() > 0
        assert process.peak_memory_mb() > 1
    assert not Path(f"/proc/{pid}").exists()
    assert set(Path("/tmp").glob(OURS)) == folders
    deadline = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > fds and time.monotonic() < deadline:
        time.sleep(0.05)  # the log's reader closes its end in its own thread
    assert len(os.listdir("/proc/self/fd")) == fds


def test_the_scratch_of_a_killed_harness_is_swept_and_that_of_a_living_one_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = ["autoresearch-4194999-x", f"autoresearch-{os.getpid()}-x", "autoresearch-notes-x", "other"]
    for name in names:
        (tmp_path / name).mkdir()
    scratch.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_a_missing_bubblewrap_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"bwrap is not installed.*Install bubblewrap"):
        sandbox.choose("bubblewrap", sandbox_view(), [], [])


def test_without_bubblewrap_landlock_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sandbox.choose("auto", sandbox_view(), [], []).name == "landlock"


def test_a_backend_that_fails_its_self_test_is_refused() -> None:
    with pytest.raises(SandboxError, match="self-test failed: held-out text"):
        sandbox.choose("landlock", sandbox_view(), [library() / "os.py"], [])


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_seccomp_program_is_well_formed(machine: str) -> None:
    program = lockdown.seccomp_program(7, machine)
    count = len(program) // 8
    assert count < 4096
    assert program[-8:] == lockdown._instruction(lockdown._RETURN, lockdown._ALLOW)
    for index in range(count):
        code, yes, no = program[8 * index], program[8 * index + 2], program[8 * index + 3]
        if code in (lockdown._JEQ, lockdown._JGE, lockdown._JSET):
            assert index + 1 + max(yes, no) < count


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(lockdown.LockdownError, match="no seccomp table for riscv64"):
        lockdown.seccomp_program(7, "riscv64")
