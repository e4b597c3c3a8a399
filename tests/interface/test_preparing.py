"""`prepare` as a user meets it, and what can go wrong. Trials: tests/environment/test_shards.py."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

import calling
from autoresearch_rl.environment.shards import load_shards, prepared_folder
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.interface.preparing import prepare_task
from autoresearch_rl.preparation import prepare as preparing
from shards import TASK, texts, write_json_lines
from tiny import BIGRAM, make_task

FREE = TASK.replace('prepared = "corpus"\n', "").replace("seconds = 4.0", "seconds = 1.0")


def call(*arguments: object, data: Path) -> calling.Result:
    """With prepared data here, and no data hub to be reached."""
    return calling.call(
        *arguments, env={**os.environ, "XDG_DATA_HOME": str(data), "HF_ENDPOINT": "http://127.0.0.1:9"}
    )


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return make_task(tmp_path / "toy", BIGRAM, FREE)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_json_lines(tmp_path / "source", texts())


def test_what_is_missing_is_prepared_once(tmp_path: Path, task: Path, source: Path) -> None:
    before = call("evaluate", task, task / "train.py", data=tmp_path)
    assert before.returncode == 2
    assert "run `autoresearch-rl prepare toy --source" in before.stderr
    made = call("prepare", task, "--source", source, "--held-out", 0.1, data=tmp_path)
    assert made.returncode == 0, made.stderr
    assert f"prepared: {tmp_path / 'autoresearch-rl' / 'toy'}" in made.stdout
    assert made.stderr.split() == ["checksums", "vocabulary", "tokens"]
    again = call("prepare", task, "--source", source, "--held-out", 0.1, "--json", data=tmp_path)
    facts = json.loads(again.stdout)
    assert (facts["fresh"], facts["lacking"]) == (False, "")


def test_elsewhere_is_found_by_the_task(
    tmp_path: Path, task: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("one", "two"):
        facts = prepare_task(str(task), str(source), 1, tmp_path / name, 0.1)
        assert Path(facts["folder"]) == prepared_folder(load_task(str(task))) == tmp_path / name
    assert load_shards(load_task(str(task))).size("val") == facts["splits"]["val"]["bytes"]


def test_too_little_held_out_text_is_told_at_once(tmp_path: Path, source: Path) -> None:
    large = make_task(tmp_path / "large", BIGRAM, FREE.replace("tokens = 4096", "tokens = 900000"))
    made = call("prepare", large, "--source", source, "--held-out", 0.1, data=tmp_path)
    assert made.returncode == 0
    assert "too little: task toy needs 914,030 tokens in the val split" in made.stdout


@pytest.mark.parametrize(
    ("task_name", "text", "code", "complaint"),
    [
        ("stdlib", "nowhere/at/all", 2, "task stdlib needs no preparation"),
        ("toy", "nowhere/at/all", 2, "no folder nowhere/at/all"),
        ("nothing", "owner/name", 2, "no task 'nothing'"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(
    tmp_path: Path, task: Path, task_name: str, text: str, code: int, complaint: str
) -> None:
    name = task if task_name == "toy" else task_name
    result = call("prepare", name, "--source", text, data=tmp_path)
    assert result.returncode == code, result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert complaint in result.stderr


def test_a_full_disk_is_told_and_the_same_command_goes_on(
    tmp_path: Path, task: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "train.bin")

    with monkeypatch.context() as patch:
        patch.setattr(preparing, "_concatenate", full)
        with pytest.raises(StorageError, match=r"train\.bin: no space left .* it goes on"):
            prepare_task(str(task), str(source), 1, None, 0.1)
    assert prepare_task(str(task), str(source), 1, None, 0.1)["fresh"]


def test_two_at_a_time_are_refused(
    tmp_path: Path, task: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = prepared_folder(load_task(str(task)))
    folder.mkdir(parents=True)
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="is being prepared by another process"):
            prepare_task(str(task), str(source), 1, None, 0.1)


def test_another_place_does_not_hide_a_corpus(
    tmp_path: Path, task: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    prepare_task(str(task), str(source), 1, None, 0.1)
    with pytest.raises(ConfigurationError, match=r"there is a corpus at .* already"):
        prepare_task(str(task), str(source), 1, tmp_path / "elsewhere", 0.1)
