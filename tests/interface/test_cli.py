"""The command line as a user meets it: real processes, real studies, real terminals."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import click
import pytest

from autoresearch_rl.agent.agents import POLICIES
from autoresearch_rl.interface.cli import cli
from calling import COMMAND, Result, call, one_line
from tiny import BIGRAM, make_task


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A study of two trials, and what its run printed."""
    folder = tmp_path_factory.mktemp("finished")
    task = make_task(folder / "tiny")
    return folder / "home", call("run", task, "--study", "one", "--trials", 2, "--home", folder / "home")


Finished = tuple[Path, Result]


def recorded(result: Result) -> int:
    """How many trials the study recorded: 2, or more if an edit led by noise and was measured again."""
    found = re.match(
        r"stopped: trials \((\d+) trials recorded, the limit of 2 is reached\)\nbest ", result.stdout
    )
    assert found, result.stdout
    return int(found[1])


def test_run_prints_progress_to_stderr_and_the_end_to_stdout(finished: Finished) -> None:
    home, result = finished
    assert result.returncode == 0, result.stderr
    assert recorded(result) >= 2
    trials = [line for line in result.stderr.splitlines() if line.startswith("#")]
    assert len(trials) >= 5
    heads = next(line for line in result.stderr.splitlines() if line.startswith("run "))
    assert heads.index("edit") == trials[0].index("the best script as it is"), "a head above each column"
    assert "\x1b" not in result.stderr, "no colours and no bars where there is no terminal"
    assert (home / "one" / "progress.png").read_bytes()[:4] == b"\x89PNG"


def test_status_tells_where_the_time_goes(finished: Finished) -> None:
    home, result = finished
    text = call("status", "--home", home).stdout
    assert "outside the budget a trial (median); by phase: start" in text
    facts = json.loads(call("status", "--study", "one", "--home", home, "--json").stdout)
    assert (facts["trials"], facts["running"]) == (recorded(result), None)
    assert facts["baseline_runs"] >= 3
    assert set(facts["median_seconds"]) == {"start", "run", "evaluate", "loop", "learn"}
    assert 0 < facts["median_outside_budget"] < 60


def test_show_prints_the_diff_of_a_trial(finished: Finished) -> None:
    home, _ = finished
    facts = json.loads(call("show", 3, "--home", home, "--json").stdout)
    assert facts["trial"] == 3
    assert facts["diff"].startswith("--- a/train.py")
    assert facts["diff"] in call("show", 3, "--home", home).stdout + "\n"
    one_line(call("show", 99, "--home", home), 2, "has no trial 99")


def test_show_tells_how_a_score_was_checked(finished: Finished) -> None:
    home, _ = finished
    facts = json.loads(call("show", 0, "--home", home, "--json").stdout)
    assert (facts["challenges"], facts["leak_bound"]) == (128, 3 / 64)
    text = call("show", 0, "--home", home).stdout
    assert "checked  128 rows asked again with another ending, none answered otherwise" in text
    assert "at most 4.69% look ahead (95 %)" in text


def test_best_prints_the_incumbent_and_its_script(finished: Finished) -> None:
    home, _ = finished
    facts = json.loads(call("best", "--home", home, "--json").stdout)
    assert facts["baseline_bpb"] >= facts["val_bpb"] > 1
    assert call("best", "--home", home, "--script").stdout == facts["source"]
    assert "gain" in call("best", "--home", home).stdout
    one_line(call("best", "--home", home, "--script", "--json"), 2, "leave --test and --json out")


def test_best_opens_the_sealed_split_with_fresh_seeds(finished: Finished) -> None:
    home, _ = finished
    facts = json.loads(call("best", "--home", home, "--test", "--json").stdout)
    for name in ("best", "baseline"):
        assert len(set(facts["test"][name]["test"]["values"])) == 3
        assert facts["test"][name]["test"]["mean"] != facts["test"][name]["val"]["mean"]
    gain = facts["test"]["gain"]
    assert gain["low"] <= gain["bpb"] <= gain["high"]
    assert json.loads((home / "one" / "test.json").read_text()) == facts["test"]


def test_the_sealed_split_remembers_how_often_it_was_opened(finished: Finished, tmp_path: Path) -> None:
    home = shutil.copytree(finished[0], tmp_path / "home")
    path = home / "one" / "test.json"
    path.unlink(missing_ok=True)
    opened = call("best", "--home", home, "--test")
    assert "has been opened" not in opened.stdout
    assert "seed" in opened.stderr
    assert "test" not in opened.stderr, "whoever stopped it now would have seen what is not in the file"
    first = json.loads(path.read_text())
    again = call("best", "--home", home, "--test").stdout
    before = f"{first['gain']['bpb']:+.4f} (trial {first['trial']})"
    assert f"opened 2 times; gains before this one: {before}. Report the first" in again
    assert json.loads(path.read_text())["earlier"] == [{k: v for k, v in first.items() if k != "earlier"}]
    path.write_text("[]")
    one_line(call("best", "--home", home, "--test"), 1, "cannot be read: move it away")


def test_a_run_that_has_reached_its_limit_ends_at_once(finished: Finished) -> None:
    home, first = finished
    result = call("run", "--study", "one", "--home", home, "--trials", 2)
    assert (result.returncode, result.stdout.split(" (")[0]) == (0, "stopped: trials")
    assert re.search(rf"going on after {recorded(first)} trials \(\d+ runs\)", result.stderr)


# --- evaluate


def test_evaluate_prints_one_object(tiny_task: Path) -> None:
    result = call("evaluate", tiny_task, tiny_task / "train.py", "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["verdict"] == "ok"
    assert facts["val_bpb"] < 5
    assert all(len(probe) == 2 for probe in facts["probes"])
    assert facts["train_seconds"] < facts["wall_seconds"]
    assert facts["sandbox"] in ("bubblewrap", "landlock")
    assert facts["reason"] == ""
    assert (facts["challenges"], facts["leak_bound"]) == (128, 3 / 64)


def test_evaluate_shows_the_end_of_a_crash_without_its_escape_sequences(tiny_task: Path) -> None:
    script = tiny_task / "crash.py"
    script.write_text(
        "def train(env):\n    print('\\x1b]0;owned\\x07last words')\n    raise ValueError('\\x1b[5mno')\n"
    )
    result = call("evaluate", tiny_task, script)
    assert result.returncode == 1
    assert result.stdout.startswith("crash: ValueError: no\n")
    assert "  last words\n" in result.stdout
    assert "\x1b" not in result.stdout


def test_evaluate_rejects_a_script_that_must_not_run(tiny_task: Path) -> None:
    script = tiny_task / "bad.py"
    script.write_text("def train(env:\n")
    result = call("evaluate", tiny_task, script, "--json")
    facts = json.loads(result.stdout)
    assert (result.returncode, facts["verdict"], facts["val_bpb"]) == (1, "rejected", None)
    assert "line 1" in facts["reason"]
    assert (facts["challenges"], facts["leak_bound"]) == (0, None)


@pytest.mark.parametrize("path", ["missing.py", "."])
def test_evaluate_tells_of_a_script_that_cannot_be_read(tiny_task: Path, path: str) -> None:
    one_line(call("evaluate", tiny_task, path, cwd=tiny_task), 2, "cannot read the script", path)


def test_evaluate_tells_of_a_script_that_is_no_text(tiny_task: Path) -> None:
    (tiny_task / "binary.py").write_bytes(b"\xff\xfe")
    one_line(call("evaluate", tiny_task, tiny_task / "binary.py"), 2, "not UTF-8")


# --- without a sandbox


def test_evaluate_without_a_sandbox_runs_with_the_users_rights_and_says_so(
    tiny_task: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    script = tiny_task / "writes.py"
    script.write_text(BIGRAM.replace("def train(env):\n", f"def train(env):\n    open({str(mark)!r}, 'w')\n"))
    result = call("evaluate", tiny_task, script, "--unsafe-no-sandbox", "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert (facts["verdict"], facts["sandbox"]) == ("ok", "none (UNTRUSTED)")
    assert mark.exists()
    mark.unlink()
    confined = call("evaluate", tiny_task, script)
    assert (confined.returncode, mark.exists()) == (1, False), "only when it is asked for"


def test_a_study_without_a_sandbox_is_marked_wherever_it_is_shown(tiny_task: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    result = call("run", tiny_task, "--study", "one", "--trials", 1, "--home", home, "--unsafe-no-sandbox")
    assert result.returncode == 0, result.stderr
    assert "sandbox none (UNTRUSTED)" in result.stderr
    assert re.search(r"sandbox  none \(UNTRUSTED\) \(\d+\)", call("status", "--home", home).stdout)
    assert "run in   none (UNTRUSTED)," in call("show", 0, "--home", home).stdout
    assert "UNTRUSTED" in call("best", "--home", home).stdout
    header, *lines = (home / "one" / "results.tsv").read_text().splitlines()
    assert "UNTRUSTED" not in header
    scored = [row for row in (line.split("\t") for line in lines) if row[1] != "0.000000"]
    assert [row[4].startswith("UNTRUSTED: ") for row in scored] == [True] * len(scored)
    assert len(scored) >= 3  # a rejected edit never ran


def test_a_sealed_score_without_a_sandbox_is_marked_though_the_study_had_one(
    finished: Finished, tmp_path: Path
) -> None:
    home = shutil.copytree(finished[0], tmp_path / "home")
    assert "UNTRUSTED" not in call("best", "--home", home).stdout
    result = call("best", "--home", home, "--test", "--unsafe-no-sandbox")
    assert "on the sealed test split" in result.stdout, result.stderr
    assert "UNTRUSTED" in result.stdout
    assert json.loads((home / "one" / "test.json").read_text())["sandbox"] == "none (UNTRUSTED)"


# --- faults


def test_an_unknown_task_a_wrong_limit_and_a_wrong_name_are_told(tmp_path: Path) -> None:
    one_line(call("run", "nowhere", cwd=tmp_path), 2, "no task 'nowhere'", "micro, nanochat, stdlib")
    one_line(call("run", "micro", "--trials", 0, cwd=tmp_path), 2, "trials must be positive")
    one_line(call("run", "micro", "--study", "../x", cwd=tmp_path), 2, "a study's name")
    one_line(call("run", "micro", "--policy", "magic", cwd=tmp_path), 2, "magic", ", ".join(POLICIES))
    one_line(call("run", "micro", "--budget", "-1", cwd=tmp_path), 2, "the budget must be positive")
    one_line(call("run", "micro", "--budget", "1e300", cwd=tmp_path), 2, "below 1e+09")
    assert call("run", "micro", "--seed", "-5", cwd=tmp_path).returncode == 2
    assert not (tmp_path / "x").exists()


def test_reading_commands_without_a_study_create_nothing(tmp_path: Path) -> None:
    for command in (["status"], ["best"], ["show", "0"]):
        one_line(call(*command, cwd=tmp_path), 1, "no studies at", "autoresearch-rl run")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_study_names_the_known_ones(finished: Finished) -> None:
    home, _ = finished
    one_line(call("status", "--study", "two", "--home", home), 1, "no study two", "one")


def test_a_home_that_cannot_be_written_is_told(tiny_task: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one_line(call("run", tiny_task, "--home", tmp_path / "file"), 1, str(tmp_path / "file"))
    one_line(call("run", tiny_task, "--home", "/proc/nowhere"), 1, "/proc/nowhere")


def test_a_database_of_a_newer_version_is_left_alone(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished[0], tmp_path / "home")
    path = tmp_path / "home" / "studies.db"
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    for command in (["run", "--study", "one"], ["status"]):
        one_line(call(*command, "--home", tmp_path / "home"), 1, "newer version")
    assert path.read_bytes() == before


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0,
    reason="no user namespaces: a full disk cannot be made here",
)
def test_a_disk_that_is_nearly_full_stops_the_study_with_that_reason(tiny_task: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command = " ".join([*COMMAND, "run", str(tiny_task), "--study", "one", "--home", str(home)])
    script = f"mount -t tmpfs -o size=20m none {home} && {command}"
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stderr
    assert "stopped: disk (" in result.stdout


# --- documentation


def test_every_command_and_option_is_documented() -> None:
    for name, command in cli.commands.items():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name}"


def test_every_policy_is_named_where_one_is_chosen() -> None:
    (option,) = (p for p in cli.commands["run"].params if p.name == "policy")
    assert isinstance(option, click.Option)
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    assert f"--policy {'|'.join(POLICIES)}" in readme
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text("utf-8")
    for policy in POLICIES:
        assert policy in str(option.help)
        assert f"| `{policy}` |" in page
