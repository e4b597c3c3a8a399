"""`init`: task folders of one's own, and everywhere a score that the script reports itself is marked."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from adoptable import PREPARE, TRAIN, at_home, make_data, make_project
from autoresearch_rl.environment.shards import data_folder
from autoresearch_rl.environment.task import TASKS, load_task
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface.making import make_adopted, make_task
from autoresearch_rl.interface.picture import draw
from autoresearch_rl.interface.scoring import render_score
from autoresearch_rl.opening import open_notebook
from autoresearch_rl.records import Metric
from calling import Result, call, one_line
from tiny import BIGRAM

# --- from a shipped task, or a script


def test_without_more_it_is_a_copy_of_a_shipped_task(tmp_path: Path) -> None:
    result = call("init", "mine", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "autoresearch-rl evaluate mine mine/train.py" in result.stdout
    assert "autoresearch-rl run mine" in result.stdout
    assert os.listdir(tmp_path) == ["mine"]
    assert sorted(os.listdir(tmp_path / "mine")) == ["program.md", "task.toml", "train.py"]
    mine, stdlib = load_task(str(tmp_path / "mine")), load_task("stdlib")
    assert (mine.name, mine.seconds, mine.metric) == ("mine", stdlib.seconds, "measured")
    assert mine.baseline.read_bytes() == stdlib.baseline.read_bytes()
    before, after = ((task.folder / "task.toml").read_text() for task in (stdlib, mine))
    assert after == before.replace('name = "stdlib"', 'name = "mine"')
    assert "\n# Research agenda: mine\n" in (tmp_path / "mine" / "program.md").read_text()


@pytest.mark.slow
def test_a_script_of_ones_own_is_scored_from_start_to_end(tmp_path: Path) -> None:
    (tmp_path / "bigram.py").write_text(BIGRAM)
    result = call("init", "mine", "--script", "bigram.py", "--task", "micro", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "mine" / "train.py").read_text() == BIGRAM
    result = call("evaluate", ".", "train.py", "--json", cwd=tmp_path / "mine")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert (facts["verdict"], facts["metric"], facts["challenges"] > 0) == ("ok", "measured", True)
    assert facts["val_bpb"] < 5


def test_an_empty_folder_is_filled_and_stays_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    before = (tmp_path / "mine").stat().st_ino
    assert call("init", ".", cwd=tmp_path / "mine").returncode == 0
    assert sorted(os.listdir(tmp_path / "mine")) == ["program.md", "task.toml", "train.py"]
    assert os.listdir(tmp_path) == ["mine"]
    assert (tmp_path / "mine").stat().st_ino == before


def test_a_prepared_corpus_is_found_under_the_new_name(tmp_path: Path) -> None:
    make_task(tmp_path / "mine", None, "nanochat")
    assert load_task(str(tmp_path / "mine")).prepared == str(data_folder() / "nanochat")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"print('val_bpb: 1.0')\n", ("found none", "def train(env)", "logits[B, T, V]", "--adopt")),
        (b"def train(env:\n", ("line 1", "logits[B, T, V]")),
        (b"def train():\n    pass\n", ("exactly one", "logits[B, T, V]")),
        (b"\xff\xfe", ("not UTF-8",)),
        (None, ("cannot read", "No such file")),
    ],
)
def test_a_script_that_is_none_leaves_nothing_behind(
    tmp_path: Path, text: bytes | None, parts: Sequence[str]
) -> None:
    script = tmp_path / "script.py"
    if text is not None:
        script.write_bytes(text)
    before = os.listdir(tmp_path)
    one_line(call("init", "mine", "--script", script, cwd=tmp_path), 2, "script.py", *parts)
    assert os.listdir(tmp_path) == before


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("three years")
    (tmp_path / "file").write_text("")
    for name in ("full", "file"):
        one_line(call("init", name, cwd=tmp_path), 2, name, "exists and is not empty")
    with pytest.raises(ConfigurationError, match="exists and is not empty"):
        make_adopted(tmp_path / "full", make_project(tmp_path / "project"), None, None)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "three years"
    assert sorted(os.listdir(tmp_path)) == ["file", "full", "project"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one_line(call("init", "file/mine", cwd=tmp_path), 1, "file/mine")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["stdlib"], ["stdlib is a task of this package"]),
        (["what now"], ["the folder's name", "letters and digits", "'what now'"]),
        (["mine", "--task", "nowhere"], ["no shipped task 'nowhere'", "micro, nanochat, stdlib"]),
        (["mine", "--budget", "3"], ["--budget and --data are for --adopt"]),
        (["mine", "--adopt", ".", "--task", "micro"], ["leave --script and --task out"]),
    ],
)
def test_a_wrong_request_is_told_in_one_line(
    tmp_path: Path, arguments: Sequence[str], parts: Sequence[str]
) -> None:
    one_line(call("init", *arguments, cwd=tmp_path), 2, *parts)
    assert os.listdir(tmp_path) == []


# --- from a project that trains and scores itself


def test_a_project_is_taken_over_unchanged_and_told_what_its_scores_are_worth(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    result = call("init", "mine", "--adopt", project, cwd=tmp_path, env=at_home(tmp_path))
    assert result.returncode == 0, result.stderr
    assert {p.name: p.read_bytes() for p in project.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "mine").iterdir() if p.name != "task.toml"
    }
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines()[:6])
    assert lines["metric"].startswith("SELF-REPORTED: the script computes and prints its own val_bpb")
    assert "nothing keeps an edit from cheating" in lines["metric"]
    assert lines["budget"] == "0.5 s, killed after 600.5 s; the script keeps the time itself"
    assert lines["device"] == "cpu, since train.py does not mention cuda"
    assert lines["data"] == (
        f"{tmp_path}/.cache/autoresearch, read-only: not there yet, run {project}/prepare.py first"
    )
    task = load_task(str(tmp_path / "mine"))
    assert (task.metric, task.program, task.seconds) == ("self-reported", True, 0.5)
    assert task.frozen == ("letters.py", "prepare.py")
    assert (task.data, task.clock, task.startup_limit) == ("~/.cache/autoresearch", "wall", 600.0)


def test_a_script_for_a_gpu_and_another_budget_and_data_are_told(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", TRAIN + 'model.to("cuda")\n')
    (tmp_path / "data").mkdir()
    told = make_adopted(tmp_path / "mine", project, 60.0, tmp_path / "data")
    assert "cuda, since train.py mentions it: the sandboxes have no GPU yet" in told
    assert "--unsafe-no-sandbox" in told
    assert "60 s, killed after 660 s; but the script keeps the time itself" in told
    assert "TIME_BUDGET = 0.5" in told
    assert "not there yet" not in told
    task = load_task(str(tmp_path / "mine"))
    assert (task.device, task.seconds, task.data_folder) == ("cuda", 60.0, tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("prepare.py", None, r"has no prepare\.py: --adopt wraps a project"),
        ("train.py", None, r"has no train\.py"),
        ("train.py", "print('bpb: 1.0')\n", r"train\.py never mentions val_bpb"),
        ("train.py", "val_bpb = (\n", r"train\.py cannot be adopted: line 1"),
        ("prepare.py", PREPARE.replace("TIME_BUDGET", "TIME"), r"no TIME_BUDGET = SECONDS: give --budget"),
        ("prepare.py", PREPARE.replace("0.5 * 1", "guess()"), r"no TIME_BUDGET = SECONDS: give --budget"),
        ("prepare.py", PREPARE.replace("0.5 * 1", "0 * 300"), r"budget must be positive"),
        ("prepare.py", "TIME_BUDGET = (\n", r"prepare\.py is not Python"),
    ],
)
def test_what_cannot_be_adopted_leaves_nothing_behind(
    tmp_path: Path, name: str, text: str | None, complaint: str
) -> None:
    project = make_project(tmp_path / "project")
    (project / name).unlink()
    if text is not None:
        (project / name).write_text(text)
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        make_adopted(tmp_path / "mine", project, None, None)
    assert "\n" not in str(caught.value).replace("(<unknown>, line 1)", "")
    assert os.listdir(tmp_path) == ["project"]


def test_a_time_budget_with_a_type_is_read_too(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    (project / "prepare.py").write_text("TIME_BUDGET: int = 5 * 60  # seconds\n")
    make_adopted(tmp_path / "mine", project, None, None)
    assert load_task(str(tmp_path / "mine")).seconds == 300.0


# --- a study of such a project

Study = tuple[Path, Path, Result]  # where its home lies, the user's home, what `run` printed


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of three trials of a project, in the sandbox of this machine."""
    folder = tmp_path_factory.mktemp("finished")
    project, home = make_project(folder / "project"), folder / "home"
    make_data(project, home)
    made = call("init", "wrapped", "--adopt", project, cwd=folder, env=at_home(home))
    assert made.returncode == 0, made.stderr
    return folder, home, call("run", "wrapped", "--trials", 3, cwd=folder, env=at_home(home))


@pytest.mark.slow
def test_a_study_runs_and_marks_its_scores_while_it_does(finished: Study) -> None:
    folder, _, result = finished
    assert result.returncode == 0, result.stderr
    trials = [line for line in result.stderr.splitlines() if line.startswith("#")]
    assert len(trials) >= 6
    assert all(" SELF-REPORTED " in line for line in trials)
    heads = next(line for line in result.stderr.splitlines() if line.startswith("run "))
    assert heads.index("edit") == trials[0].index("the best script as it is")
    assert "\nSELF-REPORTED: the script computes and prints its own val_bpb" in result.stderr
    assert "stopped: trials (" in result.stdout
    assert "SELF-REPORTED, baseline" in result.stdout
    assert (folder / "studies" / "wrapped" / "progress.png").is_file()


@pytest.mark.parametrize("command", [["status"], ["show", "0"], ["show", "3"], ["best"]])
def test_every_reading_command_marks_it_and_says_why(finished: Study, command: Sequence[str]) -> None:
    folder, home, _ = finished
    text = call(*command, cwd=folder, env=at_home(home)).stdout
    assert text.count("SELF-REPORTED") >= 2
    assert "metric   SELF-REPORTED: the script computes and prints its own val_bpb" in text
    assert "look ahead" not in text
    facts = json.loads(call(*command, "--json", cwd=folder, env=at_home(home)).stdout)
    assert facts["metric"] == "self-reported"
    assert facts.get("leak_bound") is None


def test_the_folder_of_the_study_marks_it(finished: Study) -> None:
    study = finished[0] / "studies" / "wrapped"
    header, *lines = (study / "results.tsv").read_text().splitlines()
    assert "SELF-REPORTED" not in header
    assert all("SELF-REPORTED: " in line.split("\t")[4] for line in lines)
    for folder in (study / "trials").iterdir():
        assert json.loads((folder / "result.json").read_text())["metric"] == "self-reported"
    log = subprocess.run(
        ["git", "-C", study / "repo", "log", "--format=%B"], capture_output=True, text=True, check=True
    )
    assert "val_bpb SELF-REPORTED" in log.stdout


def test_the_picture_marks_it(finished: Study, tmp_path: Path) -> None:
    storage, record = open_notebook(finished[0] / "studies", "wrapped")
    with storage:
        trials = storage.trials(record)
    assert record.metric is Metric.SELF_REPORTED
    draw(trials, tmp_path / "marked.png", record.metric)
    draw(trials, tmp_path / "plain.png")
    shown = (finished[0] / "studies" / "wrapped" / "progress.png").read_bytes()
    assert shown == (tmp_path / "marked.png").read_bytes()
    assert shown != (tmp_path / "plain.png").read_bytes()


def test_there_is_no_sealed_split_to_open(finished: Study) -> None:
    folder, home, _ = finished
    for more in ([], ["--json"]):
        result = call("best", "--test", *more, cwd=folder, env=at_home(home))
        one_line(result, 2, "no sealed test split", "SELF-REPORTED", "leave --test out")
        assert result.stdout == ""


@pytest.mark.slow
def test_evaluate_marks_a_score_and_shows_the_log_of_a_failure(finished: Study, tmp_path: Path) -> None:
    folder, home, _ = finished
    result = call("evaluate", "wrapped", "wrapped/train.py", "--json", cwd=folder, env=at_home(home))
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert (facts["verdict"], facts["metric"], facts["leak_bound"]) == ("ok", "self-reported", None)
    first, second = render_score(facts, "").splitlines()
    assert f"val_bpb {facts['val_bpb']:.4f}, SELF-REPORTED  (" in first
    assert second.startswith("metric   SELF-REPORTED: ")
    (tmp_path / "silent.py").write_text("print('loss: 3.0')\n")
    result = call("evaluate", "wrapped", tmp_path / "silent.py", cwd=folder, env=at_home(home))
    assert result.returncode == 1
    assert result.stdout == (
        "crash: the script ended without a line `val_bpb: NUMBER`\nthe last lines of its log:\n  loss: 3.0\n"
    )


@pytest.mark.slow
def test_a_changed_prepare_stops_the_study_and_is_named(finished: Study) -> None:
    """Its folder is also its name: `run .` goes on with the same study."""
    folder, home, _ = finished
    prepare = folder / "wrapped" / "prepare.py"
    command = ("run", ".", "--home", "../studies", "--trials", 3)
    try:
        prepare.write_text(PREPARE.replace("0.5 * 1", "5.0 * 1"))
        stopped = call(*command, cwd=folder / "wrapped", env=at_home(home))
    finally:
        prepare.write_text(PREPARE)
    one_line(stopped, 1, "frozen file prepare.py has changed", "put it back")
    again = call(*command, cwd=folder / "wrapped", env=at_home(home))
    assert again.returncode == 0, again.stderr
    assert "study wrapped: " in again.stderr
    assert "going on after" in again.stderr


def test_the_shipped_tasks_are_measured() -> None:
    assert {load_task(path.parent.name).metric for path in TASKS.glob("*/task.toml")} == {"measured"}
