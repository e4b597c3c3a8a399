"""Opens a study: finds or makes its record, checks that it is still comparable, assembles its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from autoresearch_rl.agent.agents import Agent, make_agent, policy_name
from autoresearch_rl.environment.environment import Environment, open_environment
from autoresearch_rl.environment.frozen import require_same
from autoresearch_rl.environment.task import Task, load_task
from autoresearch_rl.environment.zygote import UNTRUSTED
from autoresearch_rl.errors import BaselineFailed, ConfigurationError, EnvironmentChanged, StorageError
from autoresearch_rl.judgement.pruning import AUDIT, Pruner
from autoresearch_rl.notebook import Notebook
from autoresearch_rl.planner import AGENDA
from autoresearch_rl.records import Trial, script_id
from autoresearch_rl.storage.lock import study_lock
from autoresearch_rl.storage.storage import Storage, StudyRecord, check_study_name
from autoresearch_rl.study import OnTrial, Study
from autoresearch_rl.target.agenda import parse_agenda, read_program
from autoresearch_rl.target.edits import validate

DEFAULTS: Mapping[str, Any] = {
    "task": "stdlib", "budget": None, "policy": "ppo", "seed": 0, "forecast": "ensemble", "audit": AUDIT,
}  # fmt: skip
PRUNER_MEMORY = 1000  # trials that a pruner is taught again, 6 s; what came before has faded
FORECASTS = ("ensemble", "paper", "none")


def database(home: Path) -> Path:
    """Where the studies of a home are stored."""
    return home / "studies.db"


def create_study(
    task: str | None = None,
    name: str | None = None,
    home: str | Path = "studies",
    *,
    policy: str | None = None,
    seed: int | None = None,
    budget: float | None = None,
    forecast: str | None = None,
    audit: float | None = None,
    sandbox: str = "auto",
    allow_hardware_change: bool = False,
    callbacks: Sequence[OnTrial] = (),
) -> Study:
    """Makes a study, or opens the one of that name where it stopped.

    Args:
        task: a shipped task or a task folder; `stdlib` when nothing is said.
        name: of the study; the task's name when nothing is said.
        home: folder of all studies.
        policy: who chooses the edits, one of `agents.POLICIES` or the file of a prior that `pretrain`
            wrote; `ppo` when nothing is said.
        seed: of the study; the seeds of its trials follow from it.
        budget: training seconds of a trial, in place of the task's.
        forecast: how hopeless runs are foreseen and stopped: `ensemble`, `paper` (its plain power law), or
            `none` to run each to its end.
        audit: share of the stop verdicts that are not obeyed, to find out how many are wrong.
        sandbox: `auto`, `bubblewrap` or `landlock`; `none` runs scripts unconfined, and marks every result.
        allow_hardware_change: go on with other hardware: the incumbent is measured anew, and nothing
            is compared with what was measured before.
        callbacks: called with the study and each recorded trial.

    Raises:
        ConfigurationError: an option is wrong, or contradicts the existing study.
        EnvironmentChanged: the frozen part is not the one that the study began with.
        StudyBusy: another process runs this study.
        SandboxError: no sandbox holds here.
        StorageError: the home cannot be written.
    """
    home, stack = Path(home), ExitStack()
    with stack:
        policy = policy and policy_name(policy)
        name = check_study_name(name or Path(task or "stdlib").absolute().name)  # `.` has a name, too
        if not (home / name).exists():  # a slip of the pen leaves no folder behind
            load_task(task or DEFAULTS["task"], budget)
            make_agent(policy or DEFAULTS["policy"], 0)
        stack.enter_context(study_lock(home / name, name))
        storage = stack.enter_context(Storage.open(database(home)))
        record = storage.study(name)
        given = {"task": _absolute(task), "policy": policy, "seed": seed, "budget": budget}
        given |= {"forecast": forecast, "audit": audit}
        settings = _settings(name, record, given)
        loaded = load_task(settings["task"], settings["budget"])
        agent = make_agent(settings["policy"], settings["seed"])
        _pruner(settings, loaded.seconds, ())  # a wrong option is told before it is recorded
        environment = open_environment(loaded, UNTRUSTED if sandbox == "none" else sandbox)
        stack.callback(environment.close)
        if record is None:
            record = storage.create_study(
                name, settings["task"], settings, environment.fingerprint, _baseline(loaded)
            )
        record = _comparable(storage, record, environment, allow_hardware_change)
        _require_same_baseline(record, _baseline(loaded))
        _lay_out_agenda(home / name, loaded)
        notebook = Notebook(storage, record, home / name)
        if saved := storage.checkpoint(record):
            _restore(agent, saved[2], record)
        pruner = _pruner(settings, loaded.seconds, notebook.trials)
        study = Study(notebook, environment, agent, settings["policy"], settings["seed"], pruner, callbacks)
        study.resources = stack.pop_all()
        return study


def _restore(agent: Agent, checkpoint: bytes, record: StudyRecord) -> None:
    """The agent as it was; a study goes on with no other."""
    try:
        agent.restore(checkpoint)
    except StorageError as error:
        raise StorageError(
            f"study {record.name} cannot go on with policy {record.settings['policy']} as it is now: "
            f"{str(error).removesuffix('.')}: put back what it began with, or start another with --study NAME"
        ) from error


def _lay_out_agenda(folder: Path, task: Task) -> None:
    """Gives the study its own copy of the agenda, for a person to edit while it runs.

    Raises:
        ConfigurationError: its front matter is wrong. Later, such a mistake only leaves things as they are.
    """
    ours, theirs = folder / AGENDA, task.folder / AGENDA
    try:
        if not ours.exists() and theirs.is_file():
            text = read_program(theirs)
            parse_agenda(text)
            ours.write_text(text, encoding="utf-8")
        elif ours.exists():
            parse_agenda(read_program(ours))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"expected a text at {ours}, found: {error}") from error


def _settings(name: str, record: StudyRecord | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the study runs with: as recorded, or as given with the defaults filled in."""
    chosen = {key: value for key, value in given.items() if value is not None}
    if record is None:
        return {**DEFAULTS, **chosen}
    # Before there was a pruner, nothing was stopped; how runs are stopped does not change what they score.
    recorded = {**DEFAULTS, "forecast": "none", **record.settings}
    recorded |= {key: chosen.pop(key) for key in ("forecast", "audit") if key in chosen}
    for key, value in chosen.items():
        if value != recorded[key]:
            before = "as the task says" if recorded[key] is None else recorded[key]
            option = "the task" if key == "task" else f"--{key}"
            raise ConfigurationError(
                f"study {name} was created with {key} {before}, not {value}: "
                f"leave {option} out to go on with it, or start another with --study NAME"
            )
    return recorded


def _pruner(settings: Mapping[str, Any], budget: float, trials: Sequence[Trial]) -> Pruner | None:
    """What stops hopeless runs, with what earlier trials have taught it."""
    mode, share = settings["forecast"], settings["audit"]
    if mode not in FORECASTS:
        raise ConfigurationError(f"unknown forecast {mode}: it is one of {', '.join(FORECASTS)}")
    if not 0 <= share <= 1:
        raise ConfigurationError(f"audit must be a share from 0 to 1, but got {share}")
    if mode == "none":
        return None
    pruner = Pruner(budget, mode, share)
    for trial in trials[-PRUNER_MEMORY:]:
        pruner.record(trial)
    return pruner


def _comparable(
    storage: Storage, record: StudyRecord, environment: Environment, allow_hardware_change: bool
) -> StudyRecord:
    """The study in a segment that this environment can go on with: its latest, or a new one."""
    now = environment.fingerprint
    if allow_hardware_change and record.fingerprint.get("hardware") != now["hardware"]:
        require_comparable(record, environment, but_for="hardware")
        return storage.begin_segment(record, now)
    require_comparable(record, environment)
    return record


def _require_same_baseline(record: StudyRecord, source: str) -> None:
    if script_id(source) != record.baseline:
        raise EnvironmentChanged(
            f"the task's train.py has changed since study {record.name} began from it: "
            "put it back, or start a new study with --study NAME"
        )


def _absolute(task: str | None) -> str | None:
    """A task folder by its full path, so that the study can be opened from elsewhere."""
    return str(Path(task).resolve()) if task and (Path(task) / "task.toml").is_file() else task


def _baseline(task: Task) -> str:
    try:
        source = task.baseline.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineFailed(f"{task.baseline} cannot be read as UTF-8 text: {error}") from error
    if problem := validate(source, task.script_bytes, task.program):
        raise BaselineFailed(f"{task.baseline} cannot be a baseline: {problem}")
    return source


def require_comparable(record: StudyRecord, environment: Environment, but_for: str = "") -> None:
    """Raises `EnvironmentChanged` unless results of this environment can be compared with the study's.

    Args:
        but_for: a part of the fingerprint that may differ.
    """
    before, now = dict(record.fingerprint), environment.fingerprint
    require_same("file", dict(before["files"]), environment.files)
    for key in sorted((before.keys() | now.keys()) - {but_for}):
        if before.get(key) != now.get(key):
            mend = ", go on with --allow-hardware-change," if key == "hardware" else ""
            raise EnvironmentChanged(
                f"{key} was {before.get(key)} when study {record.name} began and is {now.get(key)} now, so "
                f"results would not be comparable: go back{mend} or start a new study with --study NAME"
            )


def open_notebook(home: Path, name: str | None) -> tuple[Storage, StudyRecord]:
    """Opens a study for reading: creates nothing, and does not disturb a run.

    Args:
        name: of the study; the latest when nothing is said.

    Raises:
        StorageError: there is no such study.
    """
    storage = Storage.open(database(home), readonly=True)
    studies = storage.studies()
    found = [study for study in studies if name in (None, study.name)]
    if not found:
        storage.close()
        known = ", ".join(study.name for study in studies) or "none"
        raise StorageError(
            f"no study {f'{name} ' if name else ''}in {home}: there is {known}; "
            "start one with `autoresearch-rl run`"
        )
    return storage, found[-1]
