"""A shipped task with a script that is poor on purpose: can a policy find its way from there?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from autoresearch_rl.environment.task import load_task
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface.making import variant, write_folder
from autoresearch_rl.records import Change, Edit
from autoresearch_rl.storage.faults import storing
from autoresearch_rl.target.edits import apply
from autoresearch_rl.target.script import Script

POOR: Mapping[str, str] = MappingProxyType(
    {"LEARNING_RATE": "2e-4", "BATCH_SIZE": "32", "WARMUP": "0.3", "DROPOUT": "0.2"}
)
"""What is set: it learns too slowly, takes too few steps, warms up for too long, and drops what it knows."""


def poor_task(task_name: str, folder: Path) -> None:
    """Makes the task folder, or finds it as it was made.

    Raises:
        ConfigurationError: the task's script lacks a name in `POOR`, or the folder holds something else.
        StorageError: it cannot be written.
    """
    task = load_task(task_name)
    with storing(task.baseline):
        source = task.baseline.read_text(encoding="utf-8")
    files = variant(task, folder.name, poor_script(source, task_name).encode())
    if not folder.exists():
        write_folder(folder, files)
    for name, data in files.items():
        with storing(folder / name):
            if not (folder / name).is_file() or (folder / name).read_bytes() != data:
                raise ConfigurationError(
                    f"{folder / name} is not what --poor makes of task {task_name}: choose another --home"
                )


def poor_script(source: str, task_name: str) -> str:
    """The script with the values of `POOR`.

    Raises:
        ConfigurationError: it lacks one of the names.
    """
    script = Script(source)
    if lacking := [name for name in POOR if name not in script.sites]:
        raise ConfigurationError(
            f"--poor needs a script with {', '.join(POOR)}: that of task {task_name} lacks "
            f"{', '.join(lacking)}"
        )
    olds = {name: script.sites[name].code for name in POOR}
    return apply(
        script, Edit(tuple(Change(n, old, POOR[n]) for n, old in olds.items() if old != POOR[n]))
    ).source
