"""`init`: makes a task folder of a shipped task, of a script with `train(env)`, or of a project to adopt."""

from __future__ import annotations

import ast
import contextlib
import json
import operator
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from autoresearch_rl.environment.adopted import USUAL_DATA
from autoresearch_rl.environment.shards import prepared_folder
from autoresearch_rl.environment.task import LARGEST, TASKS, Task, load_task, task_names
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface.doubts import SELF_REPORTED_WHY
from autoresearch_rl.records import Metric
from autoresearch_rl.storage.faults import storing
from autoresearch_rl.storage.storage import check_study_name
from autoresearch_rl.target.edits import LIMIT_BYTES, validate
from autoresearch_rl.target.parsing import parsed

CONTRACT = "`def train(env) -> torch.nn.Module` with model(idx[B, T]) -> logits[B, T, V]"
STARTUP_LIMIT = 600  # seconds of an adopted script beyond its budget: data, compilation, evaluation
Files = dict[str, bytes]  # name -> content

AGENDA = """+++
# What may be tried, read before each trial.
freeze = []  # sites, functions or classes that stay as they are: "BATCH_SIZE", "Block.attention"
forbid = []  # generators or one of their topics: "grammar", "recipes/muon"
[weights]    # of attention, 1 where nothing is said: recipes = 2.0
+++

# Research agenda: {name}

What should be found out here, and what has been tried already? This page is for people and for agents that
read; say what decides within the budget, and what must stay as it is.
"""

ADOPTED = """\
# The frozen constants of an adopted project. A running study stops when this file or a frozen one changes.
name = {name}
summary = {summary}
metric = "self-reported"  # train.py prints its own val_bpb: nothing keeps an edit from cheating
frozen = {frozen}  # beside train.py, read-only in the sandbox: what it imports
data = {data}  # read-only in the sandbox, at its own path and at ~/{usual}; "" for none

[budget]
seconds = {budget}  # of training, on the wall clock; the script itself keeps them ({source})
startup_limit = {startup}.0  # seconds more for data, compilation and evaluation: then it is killed
threads = {threads}  # torch threads
device = "{device}"  # "cuda" runs with --unsafe-no-sandbox alone: the sandboxes have no GPU yet

[limits]
memory_mb = 16384
scratch_mb = 4096
script_bytes = {script_bytes}
"""


def make_folder(
    folder: Path,
    script: Path | None,
    task: str | None,
    repo: Path | None,
    budget: float | None,
    data: Path | None,
) -> str:
    """What `init` does; see `make_task` and `make_adopted`.

    Raises:
        ConfigurationError: options that exclude each other.
    """
    if repo is None:
        if (budget, data) != (None, None):
            raise ConfigurationError("--budget and --data are for --adopt REPO: add it, or leave them out")
        return make_task(folder, script, task or "stdlib")
    if (script, task) != (None, None):
        raise ConfigurationError("--adopt takes all from its REPO: leave --script and --task out")
    return make_adopted(folder, repo, budget, data)


def make_task(folder: Path, script: Path | None, task_name: str) -> str:
    """Makes a task folder of a script with `train(env)` and a shipped task's constants.

    Args:
        script: to start from; the shipped task's own when None.

    Returns:
        What was made and what to do next, for people.

    Raises:
        ConfigurationError: the folder is not empty, the script is not one, or there is no such task.
        StorageError: it cannot be written.
    """
    name, task = _new_name(folder), _shipped(task_name)
    source = _read(script or task.baseline)
    if problem := validate(_text(source, script or task.baseline), task.script_bytes):
        raise ConfigurationError(
            f"{script} cannot be trained: {problem}. A script has {CONTRACT}; "
            "a program that trains and scores itself can be wrapped with --adopt"
        )
    agenda = AGENDA.format(name=name) if script else None
    write_folder(folder, variant(task, name, source, agenda))
    origin = f"{script}" if script else f"task {task_name}"
    return f"made {folder}: train.py from {origin}, constants of task {task_name}\n{_next_steps(folder)}"


def make_adopted(folder: Path, repo: Path, budget: float | None, data: Path | None) -> str:
    """Makes a task folder of a project that trains and scores itself, its files unchanged.

    Args:
        repo: has `prepare.py` and `train.py`, in the manner of karpathy/autoresearch.
        budget: training seconds; `TIME_BUDGET` in its `prepare.py` when None.
        data: folder that its scripts read; `~/.cache/autoresearch` when None.

    Returns:
        What was made, what its scores are worth and what to do next, for people.

    Raises:
        ConfigurationError: the folder is not empty, or the project lacks something.
        StorageError: it cannot be written.
    """
    name, files = _new_name(folder), _project(repo)
    source = _text(files["train.py"], repo / "train.py")
    own = _time_budget(_text(files["prepare.py"], repo / "prepare.py"), repo / "prepare.py")
    seconds = own if budget is None else budget
    if seconds is None:
        raise ConfigurationError(f"{repo / 'prepare.py'} has no TIME_BUDGET = SECONDS: give --budget SECONDS")
    if not 0 < seconds < LARGEST:
        raise ConfigurationError(
            f"the budget must be positive and below {LARGEST:g} seconds, but got {seconds:g}"
        )
    frozen = sorted(path for path in files if path.endswith(".py") and path != "train.py")
    device = "cuda" if "cuda" in source else "cpu"
    data = Path.home() / USUAL_DATA if data is None else data.absolute()
    constants = ADOPTED.format(
        name=json.dumps(name), summary=_quoted(f"The project {repo.resolve().name}, adopted unchanged."),
        frozen=json.dumps(frozen, ensure_ascii=False), data=_quoted(_below_home(data)), usual=USUAL_DATA,
        budget=float(seconds), source="TIME_BUDGET in prepare.py" if own else "in its own way",
        startup=STARTUP_LIMIT, threads=os.cpu_count() or 1, device=device, script_bytes=LIMIT_BYTES,
    )  # fmt: skip
    write_folder(
        folder, {"program.md": AGENDA.format(name=name).encode(), **files, "task.toml": constants.encode()}
    )
    lines = [
        f"made {folder}: train.py to be edited, {', '.join(frozen)} frozen; {repo} is not touched",
        f"metric   {Metric.SELF_REPORTED.mark}: {SELF_REPORTED_WHY}",
        f"budget   {_told_budget(seconds, own)}",
        f"device   {_told_device(device)}",
        f"data     {data}, read-only"
        + ("" if data.exists() else f": not there yet, run {repo}/prepare.py first"),
    ]
    return "\n".join([*lines, _next_steps(folder)])


# --- what is read


def _new_name(folder: Path) -> str:
    """The name of a task in a folder that may be made."""
    try:
        name = folder.resolve().name
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, a NUL
        raise ConfigurationError(f"cannot make the folder {str(folder)!r}: {error}") from error
    try:
        check_study_name(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"the folder's name becomes that of its task and study: {error}") from error
    if name in task_names():
        raise ConfigurationError(f"{name} is a task of this package: choose another name for the folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(
            f"{folder} exists and is not empty: nothing is overwritten, choose a new folder"
        )
    return name


def _shipped(name: str) -> Task:
    if name not in task_names():
        raise ConfigurationError(f"no shipped task '{name}': expected one of {', '.join(task_names())}")
    return load_task(name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text: {error.reason}") from error


def _constants(task: Task, name: str) -> str:
    """The shipped task.toml with its comments, under a new name."""
    text = (task.folder / "task.toml").read_text(encoding="utf-8")
    text = re.sub(r"^name = .*$", f'name = "{name}"', text, count=1, flags=re.MULTILINE)
    if task.corpus == "shards" and not task.prepared:  # the usual place is named after the task
        prepared = _quoted(str(prepared_folder(task)))
        text = text.replace('corpus = "shards"', f'prepared = {prepared}\ncorpus = "shards"', 1)
    return text


def _renamed_agenda(task: Task, name: str) -> str:
    text = (TASKS / task.name / "program.md").read_text(encoding="utf-8")
    return text.replace(f"Research agenda: {task.name}", f"Research agenda: {name}", 1)


def _project(repo: Path) -> Files:
    """The files of a project that are taken over: its Python files and its agenda."""
    lacking = [name for name in ("prepare.py", "train.py") if not (repo / name).is_file()]
    if lacking:
        raise ConfigurationError(
            f"{repo} has no {' and no '.join(lacking)}: --adopt wraps a project in the manner of "
            "karpathy/autoresearch; for a script with train(env) use --script"
        )
    paths = [path for path in (*sorted(repo.glob("*.py")), repo / "program.md") if path.is_file()]
    files = {path.name: _read(path) for path in paths}
    source = _text(files["train.py"], repo / "train.py")
    if problem := validate(source, program=True):
        raise ConfigurationError(f"{repo / 'train.py'} cannot be adopted: {problem}")
    if "val_bpb" not in source:
        raise ConfigurationError(
            f"{repo / 'train.py'} never mentions val_bpb: it has to end by printing a line `val_bpb: NUMBER`"
        )
    return files


def _time_budget(source: str, path: Path) -> float | None:
    """The seconds of `TIME_BUDGET = ...` at the top level; nothing is executed."""
    try:
        tree = parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigurationError(f"{path} is not Python that can be read: {error}") from error
    for node in reversed(tree.body):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "TIME_BUDGET" for target in targets):
            try:
                return _number(getattr(node, "value", None))
            except (OverflowError, RecursionError):
                return None
    return None


_OPERATORS = {ast.Mult: operator.mul, ast.Add: operator.add, ast.Sub: operator.sub, ast.Div: operator.truediv}


def _number(node: object) -> float | None:
    """The value of a number, or of arithmetic with numbers such as `5 * 60`."""
    value = getattr(node, "value", None)
    if isinstance(node, ast.Constant) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _number(node.left), _number(node.right)
        with contextlib.suppress(ZeroDivisionError):
            return None if left is None or right is None else _OPERATORS[type(node.op)](left, right)
    return None


# --- what is written


def variant(task: Task, name: str, source: bytes, agenda: str | None = None) -> Files:
    """A shipped task under another name, with another script; its own agenda when nothing is said."""
    agenda = _renamed_agenda(task, name) if agenda is None else agenda
    return {"task.toml": _constants(task, name).encode(), "program.md": agenda.encode(), "train.py": source}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes the folder with all files, or leaves nothing behind.

    Raises:
        StorageError: it cannot be written.
    """
    final = folder.resolve()
    partial = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    with storing(folder):
        final.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        try:
            for name, data in files.items():
                (partial / name).write_bytes(data)
            if final.exists():
                _fill(final, partial)
            else:
                partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _fill(folder: Path, partial: Path) -> None:
    """Moves files into an empty folder, which may be somebody's working directory: it is not replaced."""
    moved: list[Path] = []
    try:
        for path in partial.iterdir():
            os.link(path, folder / path.name)  # unlike a rename it never overwrites
            moved.append(folder / path.name)
    except OSError:
        for path in moved:
            path.unlink()
        raise


# --- what is told


def _quoted(text: str) -> str:
    """A TOML string: JSON's are, but for characters beyond the basic plane when they are escaped."""
    return json.dumps(text, ensure_ascii=False)


def _below_home(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if home in path.parents else str(path)


def _told_budget(seconds: float, own: float | None) -> str:
    kept = f"{seconds:g} s, killed after {seconds + STARTUP_LIMIT:g} s"
    if own is None or own == seconds:
        return f"{kept}; the script keeps the time itself"
    return f"{kept}; but the script keeps the time itself, and its prepare.py says TIME_BUDGET = {own:g}"


def _told_device(device: str) -> str:
    if device == "cpu":
        return "cpu, since train.py does not mention cuda"
    return (
        "cuda, since train.py mentions it: the sandboxes have no GPU yet, so this runs with "
        '--unsafe-no-sandbox alone; if it can do without, set device = "cpu" in task.toml'
    )


def _next_steps(folder: Path) -> str:
    return (
        f"next     autoresearch-rl evaluate {folder} {folder / 'train.py'}   (train and score it once)\n"
        f"         autoresearch-rl run {folder}   (search for better ones)"
    )
