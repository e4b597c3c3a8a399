"""Scripts that train and score themselves, in real sandboxes: what is believed, what is not, what is shut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adoptable import TRAIN, make_data, make_project
from autoresearch_rl.environment.adopted import AdoptedEnvironment, open_adopted, reported
from autoresearch_rl.environment.environment import open_environment
from autoresearch_rl.environment.sandbox import BACKENDS
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.errors import EnvironmentChanged, SandboxError, TaskError
from autoresearch_rl.interface.making import make_adopted
from autoresearch_rl.records import Outcome, OutcomeStatus
from tiny import skip_without

SCORE = "print('val_bpb: 1.5')\n"


def make(folder: Path) -> Path:
    """A wrapped project with its data."""
    project = make_project(folder / "project")
    data = make_data(project, folder / "home")
    make_adopted(folder / "wrapped", project, None, data)
    return folder / "wrapped"


def opened(folder: Path, backend: str = "auto") -> Iterator[AdoptedEnvironment]:
    environment = open_adopted(load_task(str(make(folder))), backend)
    yield environment
    environment.close()


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdoptedEnvironment]:
    yield from opened(tmp_path_factory.mktemp("adopted"))


@pytest.fixture(scope="module", params=BACKENDS)
def each_adopted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AdoptedEnvironment]:
    skip_without(request.param)
    yield from opened(tmp_path_factory.mktemp("each"), request.param)


def run(environment: AdoptedEnvironment, script: str, **changes: object) -> Outcome:
    changed = replace(environment, task=replace(environment.task, **changes)) if changes else environment
    return changed.run(script, seed=1)


# --- honest


def test_a_project_runs_unchanged_and_its_last_words_are_its_score(each_adopted: AdoptedEnvironment) -> None:
    outcome = run(each_adopted, TRAIN)
    assert outcome.status is OutcomeStatus.OK, outcome.log
    assert outcome.val_bpb is not None
    assert f"val_bpb:          {outcome.val_bpb:.6f}\n" in outcome.log
    assert (outcome.probes, outcome.challenges) == ((), 0)
    assert 0.5 < outcome.train_seconds < 30
    assert outcome.peak_memory_mb > 50


def test_who_does_not_fix_a_seed_gets_that_of_the_trial(adopted: AdoptedEnvironment) -> None:
    script = "import random, torch\nprint(f'val_bpb: {1 + random.random() + torch.rand(()).item():.6f}')\n"
    first, again, other = (adopted.run(script, seed).val_bpb for seed in (1, 1, 2))
    assert first == again != other


# --- what is believed


@pytest.mark.parametrize(
    ("script", "status", "bpb", "reason"),
    [
        (f"{SCORE}import sys; sys.exit(0)", "ok", 1.5, ""),
        (f"{SCORE}import sys; sys.exit()", "ok", 1.5, ""),
        (f"{SCORE}import os; os._exit(0)", "ok", 1.5, ""),
        (f"print('val_bpb: 9.0'); {SCORE}print('done')", "ok", 1.5, ""),
        (f"{SCORE}print('val_bpb: 0.1')", "ok", 0.1, ""),
        ("print('x' * (1 << 20)); print('\\x1b[1mval_bpb:\\t1.5e0 now\\x1b[0m')", "ok", 1.5, ""),
        (
            f"assert __name__ == '__main__'; import sys; assert sys.argv == ['train.py']; {SCORE}",
            "ok",
            1.5,
            "",
        ),
        ("pass", "crash", None, "without a line `val_bpb: NUMBER`"),
        ("print('val_bpb: soon', 'my val_bpb: 1.0')", "crash", None, "without a line `val_bpb: NUMBER`"),
        (f"{SCORE}print('val_bpb: nan')", "invalid", None, "printed val_bpb nan, not a number of bits"),
        (f"{SCORE}print('val_bpb: 0.0')", "invalid", None, "between 0 and 100"),
        (f"{SCORE}print('val_bpb: 100')", "invalid", None, "between 0 and 100"),
        (f"{SCORE}print('val_bpb: -1.0')", "invalid", None, "between 0 and 100"),
        (f"{SCORE}print('val_bpb: 1.2.3')", "invalid", None, "1.2.3"),
        (f"{SCORE}raise ValueError('no\\x1b[31m luck')", "crash", None, "ValueError: no luck"),
        (f"{SCORE}import sys; sys.exit(3)", "crash", None, "the script failed (exit code 3)"),
        (f"{SCORE}raise SystemExit('out of words')", "crash", None, "the script failed (exit code 1)"),
        (f"{SCORE}import ctypes; ctypes.string_at(0)", "crash", None, "killed by SIGSEGV"),
        ("import rustbpe_or_so", "crash", None, "ModuleNotFoundError: No module named 'rustbpe_or_so'"),
    ],
)
def test_only_the_last_number_of_a_run_that_ended_well_counts(
    adopted: AdoptedEnvironment, script: str, status: str, bpb: float | None, reason: str
) -> None:
    outcome = run(adopted, script)
    assert (str(outcome.status), outcome.val_bpb) == (status, bpb), outcome.reason
    assert reason in outcome.reason
    assert "\x1b" not in outcome.reason + outcome.log


def test_a_script_without_end_is_killed_and_its_score_does_not_count(adopted: AdoptedEnvironment) -> None:
    outcome = run(adopted, f"{SCORE}import time; time.sleep(60)", startup_limit=0.5)
    assert (outcome.status, outcome.val_bpb) == (OutcomeStatus.TIMEOUT, None)
    assert "0.5 s for training and 0.5 s for all else are allowed" in outcome.reason
    assert outcome.run_seconds < 10


def test_a_script_that_takes_too_much_memory_is_ended(adopted: AdoptedEnvironment) -> None:
    outcome = run(adopted, f"{SCORE}x = bytearray(3 << 30)", memory_mb=1024)
    assert (outcome.status, outcome.val_bpb) == (OutcomeStatus.CRASH, None)
    assert "memory" in outcome.reason.lower()


def test_nonsense_on_the_channel_is_not_listened_to(adopted: AdoptedEnvironment) -> None:
    script = (
        "import os\nfor fd in range(3, 20):\n    try: os.write(fd, b'x' * 99)\n    except OSError: pass\n"
    )
    assert run(adopted, script + SCORE).val_bpb == 1.5


def test_a_traceback_shows_the_scripts_own_line_and_that_of_a_frozen_file(
    adopted: AdoptedEnvironment,
) -> None:
    outcome = run(adopted, "import prepare\n\nprepare.tokens('nothing')\n")
    assert 'File "train.py", line 3' in outcome.log
    assert "prepare.py" in outcome.log


@pytest.mark.parametrize("number", ["1", "1.5", "+1.5", "15e-1", ".5", "1.", "0.997900"])
def test_numbers_of_every_kind_are_read(number: str) -> None:
    assert reported(f"a\nval_bpb:          {number}\nb") == (OutcomeStatus.OK, "", float(number))


# --- what is shut


def test_the_project_and_its_data_cannot_be_written_and_nothing_else_be_read(
    each_adopted: AdoptedEnvironment,
) -> None:
    task = each_adopted.task
    home = task.folder.parent / "home"
    script = f"""
import os, socket
import letters, prepare
def refused(attempt, *arguments):
    try:
        attempt(*arguments)
    except OSError:
        return
    raise SystemExit(f"{{attempt.__name__}} {{arguments}} was not refused")
data = os.path.realpath(os.path.expanduser("~/.cache/autoresearch"))
assert data == {str(home / ".cache/autoresearch")!r}, data
assert os.listdir(data)
for path in (prepare.__file__, letters.__file__, data + "/val.txt"):
    open(path).read()
    refused(open, path, "a")
    refused(os.unlink, path)
for path in (data + "/new", os.path.dirname(prepare.__file__) + "/new.py"):
    refused(open, path, "w")
for name in ("train.py", "task.toml", "program.md"):
    refused(open, os.path.join({str(task.folder)!r}, name))
refused(open, {str(task.folder.parent / "project" / "train.py")!r})
refused(socket.socket)
open("checkpoint", "w").write("scratch is writable")
assert open("train.py").read().startswith("\\nimport os")
"""
    outcome = run(each_adopted, script + SCORE)
    assert outcome.val_bpb == 1.5, outcome.reason + outcome.log


# --- the frozen part


def test_a_changed_frozen_file_and_other_data_stop_everything_and_are_named(
    adopted: AdoptedEnvironment,
) -> None:
    folder, data = adopted.task.folder, adopted.task.data_folder
    assert data is not None
    before = (folder / "letters.py").read_text()
    try:
        (folder / "letters.py").write_text(before + "# easier now\n")
        with pytest.raises(EnvironmentChanged, match=r"letters\.py has changed"):
            run(adopted, SCORE)
        (folder / "letters.py").unlink()
        with pytest.raises(EnvironmentChanged, match=r"letters\.py is gone"):
            run(adopted, SCORE)
    finally:
        (folder / "letters.py").write_text(before)
    (data / "more.txt").write_text("more training data")
    try:
        with pytest.raises(EnvironmentChanged, match=r"list of .*autoresearch has changed"):
            run(adopted, SCORE)
    finally:
        (data / "more.txt").unlink()
    assert run(adopted, SCORE).val_bpb == 1.5


def test_without_its_data_it_is_told_what_to_do(tmp_path: Path) -> None:
    make_adopted(tmp_path / "wrapped", make_project(tmp_path / "project"), None, tmp_path / "nowhere")
    with pytest.raises(TaskError, match=r"no data at .*nowhere: run the project's prepare\.py first"):
        open_environment(load_task(str(tmp_path / "wrapped")))


def test_a_script_for_a_gpu_is_refused_where_the_sandbox_has_none(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", TRAIN + 'device = "cuda"\n')
    make_adopted(tmp_path / "wrapped", project, None, None)
    task = load_task(str(tmp_path / "wrapped"))
    assert task.device == "cuda"
    with pytest.raises(SandboxError, match="no GPU yet"):
        open_environment(task)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('frozen = ["', 'frozen = ["gone.py", "', r"the frozen file gone\.py of task wrapped is gone"),
        (
            'frozen = ["',
            'frozen = ["../prepare.py", "',
            "other files beside train.py, but got '../prepare.py'",
        ),
        ('frozen = ["', 'frozen = ["train.py", "', "other files beside train.py, but got 'train.py'"),
        ('frozen = ["', 'frozen = [3, "', "frozen must be of type"),
        ('"self-reported"', '"hearsay"', "lacks"),
        ("threads", 'clock = "cpu"\nthreads', "unknown keys: clock"),
    ],
)
def test_a_broken_task_is_told_in_one_line(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    make_adopted(tmp_path / "wrapped", make_project(tmp_path / "project"), None, None)
    path = tmp_path / "wrapped" / "task.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(TaskError, match=complaint):
        load_task(str(tmp_path / "wrapped"))


def test_a_budget_cannot_be_changed_from_outside(tmp_path: Path) -> None:
    make_adopted(tmp_path / "wrapped", make_project(tmp_path / "project"), None, None)
    with pytest.raises(TaskError, match="its script keeps its own time"):
        load_task(str(tmp_path / "wrapped"), 5.0)
