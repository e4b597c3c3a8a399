"""The frozen environment of a study: data, sandbox, clock and score, behind one method, `run`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from autoresearch_rl.environment import evaluator, leak, memory, runner, sandbox, scratch, shapes
from autoresearch_rl.environment.corpus import Corpus, library, load_stdlib
from autoresearch_rl.environment.hardware import hardware
from autoresearch_rl.environment.log import clean
from autoresearch_rl.environment.serving import Refused, Trained
from autoresearch_rl.environment.shards import Shards, load_shards
from autoresearch_rl.environment.task import Task
from autoresearch_rl.environment.view import View, sandbox_view
from autoresearch_rl.environment.zygote import UNTRUSTED
from autoresearch_rl.errors import EnvironmentChanged, SandboxError
from autoresearch_rl.records import Outcome, OutcomeStatus

CODE = Path(__file__).parent


@dataclass(frozen=True)
class FrozenEnvironment:
    """Runs and scores scripts. Build it with `open_environment`; close it when done."""

    task: Task
    corpus: Corpus
    backend: sandbox.Backend
    data: runner.Data
    rows: dict[str, evaluator.Rows]  # by split
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
        """Trains and scores one script: start, train, commit, serve, challenge.

        Args:
            seed: of the script. The challenges use a seed of their own that the script cannot know.
            splits: what to score on; the first gives `val_bpb`, any others go to `extra_bpb`.
            bar: a score below it, in bits per byte, may come to lead and is challenged on every row.
            give_up: asked after each probe; a reason ends the run with the status `pruned`.

        Raises:
            EnvironmentChanged: a frozen file differs from the start of the study.
            SandboxError: a sandbox could not be started or killed.
        """
        self.verify()
        began = time.monotonic()
        on_progress(runner.Progress("start", 0.0, self.task.seconds))
        process = self.backend.start("session", runner.limits(self.task))
        started = time.monotonic() - began
        run = runner.train(self.task, process, script, seed, self.data, on_progress, give_up)
        outcome = self._outcome(run, started)
        if run.artifact is None:
            return outcome
        began = time.monotonic()
        try:
            on_progress(runner.Progress("evaluate", run.train_seconds, self.task.seconds))
            spare = self.task.seconds + self.task.grace - run.train_seconds
            model = Trained(script, run.artifact, spare)
            scores = {split: self._score(model, split, bar) for split in splits}
            first = scores.pop(splits[0])
            extra = {split: score.bpb for split, score in scores.items()}
            outcome = replace(outcome, val_bpb=first.bpb, challenges=first.challenges, extra_bpb=extra)
        except Refused as refusal:
            status = OutcomeStatus.CRASH if refusal.crash else OutcomeStatus.INVALID
            outcome = replace(outcome, status=status, reason=clean(str(refusal)))
        finally:
            os.close(run.artifact)
        return replace(outcome, evaluate_seconds=time.monotonic() - began)

    def check(self, script: str, seed: int) -> str | None:
        """Whether a script is worth a trial: a few steps on noise, in a fraction of a second.

        Returns:
            None when it passes, else the reason in one line. Untrusted: only a trial can tell for sure.

        Raises:
            SandboxError: a sandbox could not be started or killed.
        """
        return shapes.check(self.task, self.backend, script, seed, self.data)

    def _score(self, model: Trained, split: str, bar: float) -> evaluator.Evaluation:
        seed = int.from_bytes(os.urandom(8), "big")
        return evaluator.evaluate(self.task, self.backend, model, self.rows[split], seed, bar)

    def _outcome(self, run: runner.Run, started: float) -> Outcome:
        return Outcome(
            status=run.status,
            reason=run.reason,
            val_bpb=None,
            probes=tuple(run.probes),
            train_seconds=run.train_seconds,
            start_seconds=started,
            run_seconds=run.run_seconds,
            evaluate_seconds=0.0,
            peak_memory_mb=run.peak_memory_mb,
            sandbox=self.backend.name,
            log=run.log,
            scalars=tuple(run.scalars),
        )

    def verify(self) -> None:
        """Checks that no frozen file has changed since the start.

        Raises:
            EnvironmentChanged: names the file.
        """
        require_same("file", self.files, frozen_files(self.task))

    @cached_property
    def fingerprint(self) -> dict[str, object]:
        """What results must share to be comparable: frozen files, corpus, constants, versions, hardware."""
        return {
            "files": self.files,
            "corpus": self.corpus.digest,
            "tokenizer": self.corpus.tokenizer,
            "budget": self.task.seconds,
            "device": self.task.device,
            "torch": importlib.metadata.version("torch"),
            "python": platform.python_version(),
            "hardware": hardware(),
        }

    def close(self) -> None:
        """Gives the data's memory back."""
        os.close(self.data.train)
        os.close(self.data.probe)


def require_same(kind: str, before: dict[str, str], after: dict[str, str]) -> None:
    """Raises `EnvironmentChanged` with the first name whose hash differs."""
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            happened = "is gone" if name not in after else "is new" if name not in before else "has changed"
            raise EnvironmentChanged(
                f"the frozen {kind} {name} {happened} since the study began, so results would not be "
                "comparable: put it back, or start a new study with --study NAME"
            )


def frozen_files(task: Task) -> dict[str, str]:
    """SHA-256 of the task's constants, of the files frozen beside them, and of the environment, by path."""
    paths = {f"environment/{p.relative_to(CODE)}": p for p in sorted(CODE.rglob("*.py"))}
    paths |= {name: path for name in task.frozen if (path := task.folder / name).is_file()}
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    return {"task.toml": task.digest(), **digests}


def open_environment(task: Task, wanted: str = "auto") -> FrozenEnvironment:
    """Reads the data, scans for leaks, and chooses a sandbox that passes its self-test.

    Args:
        wanted: a sandbox backend, or `auto`.

    Raises:
        TaskError: the corpus is missing, damaged or too small.
        SandboxError: no sandbox holds here.
    """
    scratch.sweep()
    require_device(task, wanted)
    corpus, view = shut(open_corpus(task), sandbox_view())
    sizes = corpus.token_bytes(task.vocab_size)
    rows = {s: evaluator.Rows(corpus.rows(s, task.rows, task.seq_len), sizes) for s in ("val", "test")}
    backend = sandbox.choose(wanted, view, *escape_targets(corpus))
    probe = corpus.rows("probe", task.probe_rows, task.seq_len)
    data = runner.Data(
        train=memory.sealed("train", corpus.train_tokens.data.cast("B")),
        probe=memory.sealed("probe", np.ascontiguousarray(probe).tobytes()),
        dtype=probe.dtype.name,
        bytes_per_token=float(sizes[probe[:, 1:]].mean()),
    )
    return FrozenEnvironment(task, corpus, backend, data, rows, frozen_files(task))


def open_corpus(task: Task) -> Corpus:
    """Reads the task's corpus.

    Raises:
        TaskError: it is missing or damaged.
    """
    return load_stdlib() if task.corpus == "stdlib" else load_shards(task)


def shut(corpus: Corpus, view: View) -> tuple[Corpus, View]:
    """Sees to it that no evaluated document can be read in a sandbox.

    Files that hold one are hidden. But a text from elsewhere may quote what Python needs to run: of a
    prepared corpus the document is left out instead, and only what cannot be unpacked is hidden.
    """
    view = view.without(corpus.masked)
    closed, leaking = leak.closed_view(corpus, view, corpus.scan_cache or leak.cache_folder())
    if not isinstance(corpus, Shards) or not leaking:
        return corpus, closed
    found = leak.scan(corpus, leaking)
    unread = [path for path, name in found if name == leak.UNREAD]
    return corpus.without(name for _, name in found if name != leak.UNREAD), view.without(unread)


def require_device(task: Task, wanted: str) -> None:
    """Raises `SandboxError` for a device that no sandbox has."""
    if task.device != "cpu" and wanted != UNTRUSTED:
        raise SandboxError(
            f"task {task.name} wants device {task.device}, and the sandboxes have no GPU yet: set "
            'device = "cpu" in its task.toml, or use --unsafe-no-sandbox for scripts that you trust'
        )


def escape_targets(corpus: Corpus) -> tuple[list[Path], list[Path]]:
    """What a sandbox's self-test must not read (held-out documents) and must not write (outside)."""
    hidden = corpus.held_out
    return hidden[:: max(1, len(hidden) // 200)], [Path.home() / "autoresearch-escape", library() / "this.py"]
