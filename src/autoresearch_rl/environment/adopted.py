"""An adopted project: its script trains and scores itself, in our sandbox. The score is SELF-REPORTED.

The script runs as a whole, with the project's other files and its data read-only. It keeps its own time; the
harness ends it after the budget and the time for everything else. The score is the last `val_bpb: NUMBER` of
its output. Whoever can edit the script can make it print anything: nothing here can tell.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import platform
import re
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autoresearch_rl.environment import runner, sandbox, scratch
from autoresearch_rl.environment.frozen import frozen_files, require_device, require_same
from autoresearch_rl.environment.hardware import hardware
from autoresearch_rl.environment.inside import wire
from autoresearch_rl.environment.log import one_line
from autoresearch_rl.environment.task import Task
from autoresearch_rl.environment.view import sandbox_view
from autoresearch_rl.errors import TaskError
from autoresearch_rl.records import Outcome, OutcomeStatus

USUAL_DATA = Path(".cache/autoresearch")  # below the home: where karpathy/autoresearch keeps its data
LARGEST = 100.0  # bits per byte; a uniform guess among 256 bytes costs 8
WORDS = 8  # from inside that are listened to after the end: one is expected
_SCORE = re.compile(
    r"^val_bpb:[ \t]*([-+]?(?i:nan|inf|infinity|[0-9.]+(?:e[-+]?[0-9]+)?))(?![\w.])", re.MULTILINE
)


@dataclass(frozen=True)
class AdoptedEnvironment:
    """Runs scripts that score themselves. Build it with `open_adopted`."""

    task: Task
    backend: sandbox.Backend
    files: dict[str, str]  # frozen file -> SHA-256, as they were at the start

    def run(
        self,
        script: str,
        seed: int,
        on_progress: runner.OnProgress = runner.ignore,
        splits: Sequence[str] = ("val",),
        bar: float = math.inf,
        give_up: runner.GiveUp = runner.never,
    ) -> Outcome:
        """Runs one script to its end and reads its score from what it printed.

        Args:
            seed: for what the script does not seed itself.
            splits: `val` alone: there is no sealed split.
            bar: without meaning here: no model comes back that could be challenged.
            give_up: never asked: there are no probes.

        Raises:
            EnvironmentChanged: a frozen file, or the list of the data's files, differs from the start.
            SandboxError: a sandbox could not be started or killed.
        """
        self.verify()
        began = time.monotonic()
        on_progress(runner.Progress("start", 0.0, self.task.seconds))
        process = self.backend.start("program", _limits(self.task))
        started = time.monotonic() - began
        run = _Run(self.task, process, on_progress)
        status, reason, bpb = run.outcome(script, seed)
        return Outcome(
            status=status,
            reason=reason,
            val_bpb=bpb,
            probes=(),
            train_seconds=run.seconds,
            start_seconds=started,
            run_seconds=run.seconds,
            evaluate_seconds=0.0,
            peak_memory_mb=run.peak_memory_mb,
            sandbox=self.backend.name,
            log=process.log.text(),
        )

    def check(self, script: str, seed: int) -> str | None:
        """None: a whole program cannot be tried in small."""
        return None

    def verify(self) -> None:
        """Checks that no frozen file has changed since the start, and that the data has the same files.

        Raises:
            EnvironmentChanged: names the file.
        """
        require_same("file", self.files, adopted_files(self.task))

    @cached_property
    def fingerprint(self) -> dict[str, object]:
        """What results must share to be comparable: frozen files, data, constants, versions, hardware."""
        return {
            "metric": self.task.metric,
            "files": self.files,
            "budget": self.task.seconds,
            "device": self.task.device,
            "torch": importlib.metadata.version("torch"),
            "python": platform.python_version(),
            "hardware": hardware(),
        }

    def close(self) -> None:
        """Nothing is held open."""


def open_adopted(task: Task, wanted: str = "auto") -> AdoptedEnvironment:
    """Chooses a sandbox that passes its self-test and shows nothing but the frozen files and the data.

    Args:
        wanted: a sandbox backend, or `auto`.

    Raises:
        TaskError: there is no data.
        SandboxError: no sandbox holds here.
    """
    scratch.sweep()
    require_device(task, wanted)
    data = task.data_folder
    if data is not None and not data.exists():
        raise TaskError(
            f"task {task.name} has no data at {data}: run the project's prepare.py first, or change data in "
            f"{task.folder / 'task.toml'}"
        )
    folders = [data] if data else []
    view = sandbox_view().also([*(task.folder / name for name in task.frozen), *folders])
    outside = [folder / "autoresearch-escape" for folder in (Path.home(), task.folder, *folders)]
    backend = sandbox.choose(wanted, view, [task.baseline], outside)
    return AdoptedEnvironment(task, backend, adopted_files(task))


def adopted_files(task: Task) -> dict[str, str]:
    """SHA-256 of what is frozen, by path; of the data, which may be large, that of its names and sizes."""
    files, data = frozen_files(task), task.data_folder
    if data is None:
        return files
    found = sorted(path for path in data.rglob("*") if path.is_file())
    listing = "".join(f"{path.relative_to(data)}\t{path.stat().st_size}\n" for path in found)
    digest = hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()
    return {**files, f"list of {data}": digest}


def reported(log: str) -> tuple[OutcomeStatus, str, float | None]:
    """Status, reason and bits per byte that a script claims by the last `val_bpb: NUMBER` of its log."""
    claims = _SCORE.findall(log)
    if not claims:
        return OutcomeStatus.CRASH, "the script ended without a line `val_bpb: NUMBER`", None
    try:
        bpb = float(claims[-1])
    except ValueError:  # more than one point
        bpb = math.nan
    if not 0 < bpb < LARGEST:
        expected = f"a number of bits per byte between 0 and {LARGEST:g}"
        return OutcomeStatus.INVALID, f"the script printed val_bpb {claims[-1][:40]}, not {expected}", None
    return OutcomeStatus.OK, "", bpb


def _limits(task: Task) -> sandbox.Limits:
    return sandbox.Limits(task.memory_mb, task.scratch_mb, file_mb=task.scratch_mb, cpu_seconds=1 << 30)


class _Run:
    """Follows one script to its end, or to a limit."""

    def __init__(self, task: Task, process: sandbox.Sandbox, on_progress: runner.OnProgress) -> None:
        self.task, self.process, self.on_progress = task, process, on_progress
        self.seconds = self.peak_memory_mb = 0.0
        self._error = ""  # what the script died of, as it is told from inside
        self._poll = select.poll()
        self._poll.register(process.control, select.POLLIN | select.POLLHUP)

    def outcome(self, script: str, seed: int) -> tuple[OutcomeStatus, str, float | None]:
        """Runs the script, kills the sandbox, and only then reads what was printed."""
        with self.process:
            self.process.submit(self._job(script, seed))
            failure = self._until_over() or self._failure()
            self.process.kill()
        return (*failure, None) if failure else reported(self.process.log.text())

    def _job(self, script: str, seed: int) -> dict[str, object]:
        data = self.task.data_folder
        return {
            "script": script, "seed": seed, "threads": self.task.threads, "folder": str(self.task.folder),
            "links": {str(link): str(data) for link in _links(data)} if data else {},
        }  # fmt: skip

    def _until_over(self) -> tuple[OutcomeStatus, str] | None:
        """Waits until the script has ended; a reason when it has to be ended."""
        began, task = time.monotonic(), self.task
        while self.process.alive():
            self._listen(runner.TICK)
            self.seconds = time.monotonic() - began
            self.peak_memory_mb = max(self.peak_memory_mb, self.process.peak_memory_mb())
            self.on_progress(runner.Progress("train", self.seconds, task.seconds))
            if self.seconds > task.seconds + task.startup_limit:
                allowed = f"{task.seconds:g} s for training and {task.startup_limit:g} s for all else"
                return (
                    OutcomeStatus.TIMEOUT,
                    f"still running after {self.seconds:.0f} s: {allowed} are allowed",
                )
            if problem := self.process.overuse():
                return OutcomeStatus.CRASH, problem
        return None

    def _failure(self) -> tuple[OutcomeStatus, str] | None:
        code = self.process.exit_code()
        for _ in range(WORDS):
            self._listen(0.0)
        if code == 0:
            return None
        return OutcomeStatus.CRASH, self._error or f"the script failed ({sandbox.ended_with(code)})"

    def _listen(self, seconds: float) -> None:
        """Waits for a word from inside; who hangs up or talks nonsense is not listened to any more."""
        if not self._poll.poll(seconds * 1000):
            return
        try:
            frame = wire.receive(self.process.control, time.monotonic() + runner.FRAME_LIMIT)
            self._error = one_line(frame.body.get("error", ""))
        except wire.WireError:
            self._poll.unregister(self.process.control)


def _links(data: Path) -> list[Path]:
    """Where a script looks for the data, seen from its home: at the usual place, and where it really is."""
    home = Path.home()
    own = {data.relative_to(home)} if home in data.parents else set()
    return sorted({USUAL_DATA, *own})
