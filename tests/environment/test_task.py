from pathlib import Path

import pytest

from autoresearch_rl.environment.task import load_task, task_names
from autoresearch_rl.errors import TaskError
from tiny import TASK, make_task


def test_the_shipped_tasks_load_with_the_documented_budgets() -> None:
    budgets = {"stdlib": 20.0, "micro": 3.0, "nanochat": 300.0}
    assert {name: load_task(name).seconds for name in task_names()} == budgets


def test_a_budget_replaces_the_tasks_own() -> None:
    assert load_task("micro", 0.5).seconds == 0.5


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("seconds = 0.3", "seconds = -1.0", "seconds must be positive and below 1e.09, but got -1.0"),
        ("seconds = 0.3", 'seconds = "long"', "seconds must be of type float"),
        ("seconds = 0.3", "", "lacks seconds"),
        ("seq_len = 32", "seq_len = 32\nlength = 3", "unknown keys: length"),
        ('clock = "cpu"', 'clock = "sun"', "clock must be one of"),
        ("[budget]", "[budget", "cannot be read"),
    ],
)
def test_a_broken_task_is_told_in_one_line(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    folder = make_task(tmp_path / "broken", constants=TASK.replace(old, new))
    with pytest.raises(TaskError, match=complaint) as caught:
        load_task(str(folder))
    assert "task.toml" in str(caught.value)


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(TaskError, match="micro, nanochat, stdlib"):
        load_task("nowhere")


def test_a_task_without_a_script_is_refused(tiny_task: Path) -> None:
    (tiny_task / "train.py").unlink()
    with pytest.raises(TaskError, match=r"no train\.py"):
        load_task(str(tiny_task))


def test_a_budget_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(TaskError, match="positive"):
        load_task("micro", float("nan"))
