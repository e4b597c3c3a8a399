"""`prepare`: the one-time work for a task on a corpus of its own, with a bar for each step."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from autoresearch_rl.environment.shards import data_folder, prepared_folder
from autoresearch_rl.environment.task import Task, load_task
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.preparation import hub, sources
from autoresearch_rl.preparation.prepare import HELD_OUT, prepare

RAW = "raw"  # where downloads are kept, in the corpus's folder
_ADVICE = {
    errno.ENOSPC: "no space left on the device: free some and run the same command again, it goes on",
    errno.EDQUOT: "your quota is full: free some space and run the same command again, it goes on",
}


def prepare_task(
    name: str, source: str, shards: int, out: Path | None, held_out: float | None
) -> dict[str, Any]:
    """Prepares the corpus of a task.

    Args:
        source: a folder, or a data set on the hub.
        shards: files of a data set on the hub.
        out: folder for the corpus; the usual place of a task then leads there.

    Raises:
        ConfigurationError: the task needs no such corpus, or an argument is wrong.
        SourceError: the text cannot be downloaded or read.
        StorageError: the disk is full or cannot be written.
    """
    task = load_task(name)
    if task.corpus != "shards":
        raise ConfigurationError(f"task {task.name} needs no preparation: its corpus is {task.corpus}")
    folder = _folder(task, out)
    with _Steps() as steps, _writing(folder), _alone(folder):
        if hub.is_name(source):
            hub.fetch(source, shards, folder / RAW, lambda done, total: steps.tell("download", done, total))
            paths = hub.fetch(
                source, shards, folder / RAW, lambda done, total: steps.tell("download", done, total)
            )
            pieces, origin, masked = [sources.Piece((path,)) for path in paths], source, []
        else:
            pieces, origin, masked = sources.find(Path(source)), str(Path(source).resolve()), [Path(source)]
        share = HELD_OUT if held_out is None else held_out
        made = prepare(pieces, folder, task.vocab_size, steps.tell, share, {"source": origin}, masked)
        _lead_to(task, folder)
    splits = made.meta["splits"]
    facts = {"task": task.name, "folder": str(folder), "fresh": made.fresh, "splits": splits}
    return facts | {"lacking": _lacking(task, splits)}


def render(facts: dict[str, Any]) -> str:
    """The facts for people."""
    lines = [f"{'prepared' if facts['fresh'] else 'already prepared'}: {facts['folder']}"]
    for name, split in facts["splits"].items():
        ratio = split["bytes"] / split["tokens"]
        counts = f"{split['documents']:>9,} documents  {split['tokens']:>13,} tokens"
        lines.append(f"  {name:<6} {counts}  {ratio:.2f} bytes each")
    return "\n".join([*lines, facts["lacking"] or f"now: autoresearch-rl run {facts['task']}"])


def _lacking(task: Task, splits: dict[str, Any]) -> str:
    """What keeps the task from running on these splits; nothing when they are large enough."""
    needed = {"val": task.rows, "test": task.rows, "probe": task.probe_rows, "train": 1}
    for name, rows in needed.items():
        if (tokens := rows * (task.seq_len + 1)) > splits[name]["tokens"]:
            return (
                f"too little: task {task.name} needs {tokens:,} tokens in the {name} split; remove the "
                "folder and prepare more text, or with a larger --held-out"
            )
    return ""


def _folder(task: Task, out: Path | None) -> Path:
    usual = prepared_folder(task)
    if out is None or out.resolve() == usual:
        return usual
    if task.prepared:
        raise ConfigurationError(f"task {task.name} has its corpus at {usual}: leave --out out")
    link = data_folder() / task.name
    if link.exists() and not link.is_symlink():
        raise ConfigurationError(f"there is a corpus at {link} already: remove it, or leave --out out")
    return out.resolve()


def _lead_to(task: Task, folder: Path) -> None:
    """Makes the usual place of the task's corpus a link to where it is."""
    if prepared_folder(task) != folder:
        link = data_folder() / task.name
        link.parent.mkdir(parents=True, exist_ok=True)
        fresh = link.with_name(f".{task.name}.{os.getpid()}")
        fresh.symlink_to(folder)
        fresh.replace(link)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns errors of the file system into one line."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f"{error.filename or folder}: {advice}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps a second process out of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(f"{folder} is being prepared by another process: wait for it") from None
        yield


class _Steps:
    """A bar for each step; a line for each where there is no terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._known: dict[str, TaskID] = {}

    def __enter__(self) -> _Steps:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def tell(self, step: str, done: int, total: int) -> None:
        """Moves a bar."""
        if step not in self._known:
            self._known[step] = self._bars.add_task(step)
            if not self._console.is_terminal:
                self._console.print(step)
        self._bars.update(self._known[step], completed=done, total=max(1, total))
