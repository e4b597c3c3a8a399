"""A task: the folder that freezes what is comparable (constants, baseline script, research agenda)."""

from __future__ import annotations

import hashlib
import os
import tomllib
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from autoresearch_rl.errors import TaskError
from autoresearch_rl.records import Metric

LARGEST = 1e9  # of any constant: a slip of the pen, not a plan
TASKS = Path(__file__).parent.parent / "tasks"
# What says how the harness trains and scores a model: an adopted script does both itself.
UNUSED_BY_PROGRAMS = {
    "clock": "wall", "setup": "counted", "corpus": "", "vocab_size": 1, "seq_len": 1, "tokens": 1,
    "probe_rows": 1, "deadline": 1.0, "artifact_mb": 1, "prepared": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """The constants of a task. Times are seconds, sizes as named; T is `seq_len`, V is `vocab_size`."""

    folder: Path
    name: str
    summary: str
    seconds: float  # training budget on `clock`
    clock: str  # "cpu" or "wall"
    setup: str  # "counted" or "free"
    startup_limit: float
    threads: int
    corpus: str
    vocab_size: int
    seq_len: int
    tokens: int  # evaluated per split; `bytes` in the file where a token is a byte
    probe_rows: int
    deadline: float
    memory_mb: int
    scratch_mb: int
    artifact_mb: int
    script_bytes: int
    device: str = "cpu"  # or "cuda"
    prepared: str = ""  # folder of a prepared corpus, seen from the task's; the usual place when empty
    metric: str = Metric.MEASURED
    frozen: tuple[str, ...] = ()  # files beside a self-reporting script that it may import; hashed
    data: str = ""  # what it may read besides: seen from the task's folder, or from the home with ~

    @property
    def program(self) -> bool:
        """Whether the script runs as a whole and scores itself: it has no `train(env)`."""
        return self.metric == Metric.SELF_REPORTED

    @property
    def data_folder(self) -> Path | None:
        """What a self-reporting script may read besides the frozen files."""
        if not self.data:
            return None
        return Path(os.path.abspath(self.folder / Path(self.data).expanduser()))

    @property
    def baseline(self) -> Path:
        """The script that a study starts from."""
        return self.folder / "train.py"

    @property
    def grace(self) -> float:
        """Seconds past the budget after which a run is killed: the last step and the commit of the model."""
        return 0.25 + 0.05 * self.seconds

    @property
    def rows(self) -> int:
        """Rows of T targets in one evaluation."""
        return max(1, self.tokens // self.seq_len)

    def digest(self) -> str:
        """SHA-256 of `task.toml` as it is on disk now."""
        try:
            return hashlib.sha256((self.folder / "task.toml").read_bytes()).hexdigest()
        except OSError as error:
            raise TaskError(f"cannot read {self.folder / 'task.toml'}: {error.strerror}") from error


def task_names() -> list[str]:
    """The tasks that come with the package."""
    return sorted(path.parent.name for path in TASKS.glob("*/task.toml"))


def load_task(name: str, budget: float | None = None) -> Task:
    """Loads a task by its shipped name or by the path of its folder.

    Args:
        name: `stdlib`, `micro`, or a folder that holds `task.toml` and `train.py`.
        budget: training seconds that replace the task's own; not of a task whose script keeps its own time.

    Raises:
        TaskError: the folder or one of its values is missing or of the wrong kind.
    """
    folder = TASKS / name if name in task_names() else Path(name)
    path = folder / "task.toml"
    if not path.is_file():
        raise TaskError(
            f"no task '{name}': expected one of {', '.join(task_names())}, or a folder that holds task.toml"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TaskError(f"{path} cannot be read: {error}") from error
    task = _task_from(folder.resolve(), path, table)
    if budget is not None:
        if not 0 < budget < LARGEST:
            raise TaskError(f"the budget must be positive and below {LARGEST:g} seconds, but got {budget}")
        if task.program:
            raise TaskError(
                f"task {task.name} cannot be given a budget of {budget:g} s: its script keeps its own time; "
                f"leave --budget out, or change the time in {' or '.join(task.frozen)} and in task.toml"
            )
        task = replace(task, seconds=float(budget))
    return _checked(task, path)


def _task_from(folder: Path, path: Path, table: dict[str, Any]) -> Task:
    flat: dict[str, Any] = {"folder": folder}
    for key, value in table.items():
        flat |= value if isinstance(value, dict) else {key: value}
    if flat.get("corpus") == "stdlib" and "tokens" not in flat and "bytes" in flat:
        flat["tokens"] = flat.pop("bytes")
    defaults = {field.name: field.default for field in fields(Task) if field.default is not MISSING}
    expected = {field.name for field in fields(Task)}
    if flat.get("metric") == Metric.SELF_REPORTED:
        defaults, expected = {**defaults, **UNUSED_BY_PROGRAMS}, expected - UNUSED_BY_PROGRAMS.keys()
    missing, unknown = sorted(expected - set(flat) - set(defaults)), sorted(set(flat) - expected)
    flat = {**defaults, **flat}
    found = f" (unknown keys: {', '.join(unknown)})" if unknown else ""
    if missing:
        raise TaskError(f"{path} lacks {', '.join(missing)}{found}; see {TASKS / 'stdlib' / 'task.toml'}")
    if unknown:
        raise TaskError(f"{path} has{found}")
    kinds = {"str": str, "int": int, "float": (int, float), "Path": Path, "tuple[str, ...]": tuple}
    if isinstance(flat["frozen"], list) and all(isinstance(name, str) for name in flat["frozen"]):
        flat["frozen"] = tuple(flat["frozen"])
    for field in fields(Task):
        value = flat[field.name]
        if not isinstance(value, kinds[str(field.type)]) or isinstance(value, bool):  # type: ignore[arg-type]
            raise TaskError(f"{path}: {field.name} must be of type {field.type}, but got {value!r}")
        if field.type == "float":
            flat[field.name] = float(value)
    return Task(**flat)


def _checked(task: Task, path: Path) -> Task:
    for name, choices in (
        ("metric", tuple(map(str, Metric))),
        ("clock", ("cpu", "wall")),
        ("setup", ("counted", "free")),
        ("corpus", ("",) if task.program else ("stdlib", "shards")),
        ("device", ("cpu", "cuda")),
    ):
        if getattr(task, name) not in choices:
            raise TaskError(f"{path}: {name} must be one of {choices}, but got {getattr(task, name)!r}")
    for field in fields(Task):
        value = getattr(task, field.name)
        if isinstance(value, (int, float)) and not 0 < value < LARGEST:
            limits = f"positive and below {LARGEST:g}"
            raise TaskError(f"{path}: {field.name} must be {limits}, but got {value}")
    if not task.baseline.is_file():
        raise TaskError(f"{task.folder} has no train.py: a task needs a baseline script")
    _check_frozen(task, path)
    return task


def _check_frozen(task: Task, path: Path) -> None:
    if not task.program and (task.frozen or task.data):
        raise TaskError(f'{path}: frozen and data are for tasks with metric = "{Metric.SELF_REPORTED}" alone')
    for name in task.frozen:
        if Path(name).name != name or name in ("train.py", "task.toml"):
            raise TaskError(f"{path}: frozen must name other files beside train.py, but got {name!r}")
        if not (task.folder / name).is_file():
            raise TaskError(
                f"the frozen file {name} of task {task.name} is gone: put it back in {task.folder}"
            )
