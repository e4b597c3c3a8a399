"""`doctor`: what on this machine would keep a study from running, or from being trusted."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoresearch_rl.environment import leak, sandbox
from autoresearch_rl.environment.corpus import Corpus, library, load_stdlib
from autoresearch_rl.environment.frozen import escape_targets, open_corpus
from autoresearch_rl.environment.task import load_task, task_names
from autoresearch_rl.environment.view import View, sandbox_view
from autoresearch_rl.errors import AutoResearchError
from autoresearch_rl.judgement.termination import MIN_FREE_BYTES


@dataclass(frozen=True)
class Check:
    """One finding. `blocks` means that no study can run."""

    name: str
    holds: bool
    blocks: bool
    message: str

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def examine(home: Path) -> list[Check]:
    """All checks, worst ones included; nothing is written but the leak scan's cache."""
    checks = [_python(), _torch(), _program("git", "git"), _disk(home)]
    try:
        corpus = load_stdlib()
    except AutoResearchError as error:
        return [*checks, _check("corpus", False, str(error))]
    return [*checks, *_corpus(corpus), *_sandboxes(corpus)]


def _check(name: str, holds: bool, message: str, blocks: bool = True) -> Check:
    return Check(name, holds, blocks and not holds, message)


def _python() -> Check:
    version = f"{platform.python_version()} at {sys.executable}"
    return _check("python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)")


def _torch() -> Check:
    try:
        import torch
    except ImportError as error:
        return _check("torch", False, f"cannot be imported: {error}")
    return _check(
        "torch", True, f"{torch.__version__}, {os.cpu_count()} CPUs, CUDA {torch.cuda.is_available()}"
    )


def _program(name: str, command: str) -> Check:
    path = shutil.which(command)
    return _check(
        name, path is not None, path or f"{command} is not installed: install it with your package manager"
    )


def _disk(home: Path) -> Check:
    existing = next(path for path in (home.absolute(), *home.absolute().parents) if path.exists())
    free, writable = shutil.disk_usage(existing).free, os.access(existing, os.W_OK)
    message = f"{free / 1e9:.1f} GB free at {existing}" + ("" if writable else ", which is read-only for you")
    return _check("disk", writable and free >= MIN_FREE_BYTES, message)


def _corpus(corpus: Corpus) -> Iterator[Check]:
    sizes = ", ".join(f"{split} {corpus.size(split) / 1e6:.1f} MB" for split in corpus.documents)
    yield _check("corpus", True, f"{library()}: {sizes}")
    for name in task_names():
        yield _task(name, corpus)


def _task(name: str, stdlib: Corpus) -> Check:
    task = load_task(name)
    try:
        corpus = stdlib if task.corpus == "stdlib" else open_corpus(task)
        for split in ("val", "test"):
            corpus.rows(split, task.rows, task.seq_len)
    except AutoResearchError as error:
        return _check(f"task {name}", False, str(error), blocks=task.corpus == "stdlib")
    return _check(f"task {name}", True, "enough held-out text")


def _sandboxes(corpus: Corpus) -> Iterator[Check]:
    view, leaks = leak.closed_view(corpus, sandbox_view(), leak.cache_folder())
    looked_at = len(leaks) + len(leak.readable(view))
    hidden = f": {', '.join(map(str, leaks))}" if leaks else ""
    message = (
        f"{looked_at:,} readable files, {len(leaks)} hidden for held-out text or for their size unpacked"
    )
    yield _check("leaks", True, f"{message}{hidden}")
    troubles = {name: _trouble(name, view, corpus) for name in sandbox.BACKENDS}
    for name, trouble in troubles.items():
        yield _check(name, trouble is None, trouble or "holds: its self-test passed", blocks=False)
    works = any(trouble is None for trouble in troubles.values())
    yield _check(
        "sandbox", works, "one is enough" if works else "none holds: install bubblewrap, or use Linux 6.2+"
    )


def _trouble(name: str, view: View, corpus: Corpus) -> str | None:
    return sandbox.trouble(sandbox.Backend(name, view), *escape_targets(corpus))


def render(checks: list[Check]) -> str:
    """The checks for people."""
    marks = {(True, False): "ok  ", (False, False): "note", (False, True): "FAIL"}
    return "\n".join(
        f"{marks[check.holds, check.blocks]}  {check.name:<12} {check.message}" for check in checks
    )
