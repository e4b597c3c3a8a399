"""A real git repository: commits per kept trial, once each, whatever was left behind by a kill."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoresearch_rl.errors import StorageError
from autoresearch_rl.target.workspace import Workspace


def git(folder: Path, *arguments: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True, env=clean
    ).stdout


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "study", "demo")


def test_a_commit_holds_the_script_byte_for_byte(workspace: Workspace) -> None:
    source = "# é 🙂\r\nWIDTH = 1\n\tx"
    sha = workspace.commit(source, "WIDTH: 2 -> 1", 12)
    assert git(workspace.folder, "symbolic-ref", "HEAD") == "refs/heads/autoresearch/demo\n"
    assert git(workspace.folder, "rev-parse", "HEAD").strip() == sha
    assert git(workspace.folder, "log", "-1", "--format=%an <%ae>|%cn <%ce>|%s|%(trailers:key=Trial)") == (
        "AutoResearch-RL <agent@localhost>|AutoResearch-RL <agent@localhost>|WIDTH: 2 -> 1|Trial: 12\n\n"
    )
    shown = subprocess.run(
        ["git", "-C", workspace.folder, "show", "HEAD:train.py"], capture_output=True, check=True
    )
    assert shown.stdout == source.encode() == (workspace.folder / "train.py").read_bytes()
    assert git(workspace.folder, "status", "--porcelain") == ""


def test_commits_are_listed_oldest_first(workspace: Workspace) -> None:
    assert workspace.commits() == []
    first = workspace.commit("x = 1\n", "baseline", 0)
    second = workspace.commit("x = 2\n", "better\n\nlonger story", 7)
    found = [(c.sha, c.trial, c.subject) for c in workspace.commits()]
    assert found == [(first, 0, "baseline"), (second, 7, "better")]


def test_ensure_commits_a_trial_once_across_restarts(workspace: Workspace) -> None:
    sha = workspace.ensure("x = 1\n", "one", 3)
    again = Workspace(workspace.folder, "demo")
    assert again.ensure("x = 1\n", "one", 3) == sha
    other = again.ensure("x = 1\n", "the same script, another trial", 4)
    assert [(c.sha, c.trial) for c in again.commits()] == [(sha, 3), (other, 4)]


def test_a_trailer_quoted_in_a_message_is_not_a_trailer(workspace: Workspace) -> None:
    workspace.commit("x = 1\n", "Trial: 9\n\nTrial: 8\n# Trial: 7\n---\n", 1)
    assert [c.trial for c in workspace.commits()] == [1]
    workspace.ensure("x = 2\n", "nine", 9)
    assert [c.trial for c in workspace.commits()] == [1, 9]


def test_a_persons_commit_has_no_trial(workspace: Workspace) -> None:
    workspace.commit("x = 1\n", "one", 1)
    identity = ("-c", "user.name=P", "-c", "user.email=p@localhost")
    git(workspace.folder, *identity, "commit", "--allow-empty", "-qm", "by hand\n\nTrial: soon")
    assert [c.trial for c in workspace.commits()] == [1, None]


@pytest.mark.parametrize(
    "lock", ["index.lock", "HEAD.lock", "config.lock", "refs/heads/autoresearch/demo.lock"]
)
def test_stale_locks_are_removed(workspace: Workspace, lock: str) -> None:
    workspace.commit("x = 1\n", "one", 1)
    stale = workspace.folder / ".git" / lock
    stale.touch()
    Workspace(workspace.folder, "demo").ensure("x = 2\n", "two", 2)
    assert not stale.exists()
    assert [c.trial for c in Workspace(workspace.folder, "demo").commits()] == [1, 2]


def test_a_lock_of_a_living_git_is_an_error(workspace: Workspace) -> None:
    (workspace.folder / ".git" / "index.lock").touch()
    with pytest.raises(StorageError, match=r"git add in .* failed: fatal: .*index\.lock"):
        workspace.commit("x = 1\n", "one", 1)


@pytest.mark.parametrize("leftover", ["", "HEAD"])
def test_a_half_made_repository_is_completed(tmp_path: Path, leftover: str) -> None:
    (tmp_path / ".git").mkdir()
    if leftover:
        (tmp_path / ".git" / leftover).write_text("ref: refs/heads/master\n")
    workspace = Workspace(tmp_path, "demo")
    workspace.commit("x = 1\n", "one", 1)
    assert len(workspace.commits()) == 1


def test_a_killed_study_never_commits_a_trial_twice(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from autoresearch_rl.target.workspace import Workspace\n"
        "w = Workspace(pathlib.Path(sys.argv[1]), 'demo')\n"
        "for n in range(1000): w.ensure(f'x = {n}\\n', f'trial {n}', n) and print(n, flush=True)\n"
    )
    for rounds, patience in ((1, 0.0), (4, 0.01), (8, 0.02), (12, 0.03)):
        child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert [int(child.stdout.readline()) for _ in range(rounds)] == list(range(rounds))
        time.sleep(patience)
        child.kill()
        child.communicate()
    trials = [c.trial for c in Workspace(tmp_path, "demo").commits()]
    assert trials == list(range(len(trials)))
    assert len(trials) >= 12


def test_surroundings_neither_help_nor_hinder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # a repository around the studies' home
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[broken")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    workspace = Workspace(tmp_path / "study", "demo")
    hook = workspace.folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with (workspace.folder / ".git" / "config").open("a") as config:
        config.write("[core]\n\tautocrlf = true\n[commit]\n\tgpgSign = true\n")
    (workspace.folder / ".gitignore").write_text("*.py\n")
    workspace.commit("x = 1\r\n", "one", 1)
    monkeypatch.undo()
    assert git(workspace.folder, "ls-files", "--eol") == "i/crlf  w/crlf  attr/                 \ttrain.py\n"
    assert git(workspace.folder, "log", "--format=%an") == "AutoResearch-RL\n"
    assert git(tmp_path, "for-each-ref") == ""


def test_a_repository_around_the_study_is_never_touched(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    workspace = Workspace(tmp_path / "study", "demo")
    shutil.rmtree(workspace.folder / ".git")
    with pytest.raises(StorageError, match="not a git repository"):
        workspace.commit("x = 1\n", "one", 1)


def test_another_checked_out_branch_does_not_swallow_commits(workspace: Workspace) -> None:
    workspace.commit("x = 1\n", "one", 1)
    git(workspace.folder, "checkout", "-q", "--orphan", "mine")
    workspace = Workspace(workspace.folder, "demo")
    workspace.commit("x = 2\n", "two", 2)
    assert [c.trial for c in workspace.commits()] == [1, 2]


def test_a_relative_folder_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Workspace(Path("home/study"), "demo").commit("x = 1\n", "one", 1)
    assert (tmp_path / "home/study/train.py").read_text() == "x = 1\n"


def test_missing_git_says_how_to_mend_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StorageError, match="expected git on the PATH, found none; install it"):
        Workspace(tmp_path / "study", "demo")


def test_gits_refusal_is_a_storage_error(workspace: Workspace) -> None:
    workspace.commit("x = 1\n", "one", 1)
    shutil.rmtree(workspace.folder / ".git" / "objects")
    with pytest.raises(StorageError, match=r"git .* in .* failed: (fatal|error): "):
        workspace.commit("x = 2\n", "two", 2)


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("a file")
    with pytest.raises(StorageError, match="expected a writable folder"):
        Workspace(tmp_path / "study", "demo")
