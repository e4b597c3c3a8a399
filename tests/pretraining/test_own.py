"""Pretraining on past studies of one's own."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from autoresearch_rl.agent.settled import settle
from autoresearch_rl.agent.shipped import load_prior, network_of
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.interface.cli import cli
from autoresearch_rl.pretraining import rollouts
from autoresearch_rl.pretraining.own import LEAST, LIKE, Own, OwnTask, read_own
from autoresearch_rl.records import TrialKind, Verdict
from autoresearch_rl.simulation.recorded import Part, read_trials
from autoresearch_rl.simulation.replay import replay
from autoresearch_rl.simulation.study import SimulatedStudy
from autoresearch_rl.storage.storage import Storage


@pytest.fixture(scope="module")
def played() -> SimulatedStudy:
    settle()
    return replay("random", 0, 100)


def stored(home: Path, played: SimulatedStudy, trials: int, name: str = "one", **facts: object) -> Path:
    """A home with a study of these trials."""
    settings = {"task": "micro", "seed": 0, "policy": "random"} | facts
    fingerprint = {key: settings.pop(key) for key in ("metric", *LIKE) if key in settings}
    baseline = str(settings.pop("baseline", played.problem.baseline))
    home.mkdir(exist_ok=True)
    with Storage.open(home / "studies.db") as storage:
        study = storage.create_study(name, str(settings["task"]), settings, fingerprint, baseline)
        for trial in played.trials[:trials]:
            storage.commit(study, trial, played._sources[trial.script])
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, played: SimulatedStudy) -> Path:
    home = stored(tmp_path_factory.mktemp("own") / "home", played, 95)
    stored(home, played, 5, "boasting", metric="self-reported")
    return stored(home, played, 5, "gone", task="/no/such/task")


@pytest.fixture(scope="module")
def own(home: Path) -> Own:
    return read_own([home])


def test_the_studies_of_a_task_become_one_landscape(own: Own, home: Path, played: SimulatedStudy) -> None:
    assert len(own.tasks) == 1
    left_out, other, found = own.said
    assert left_out == "left out study boasting: its scores are what its scripts have printed"
    assert other.startswith("left out study gone: ")
    assert found.startswith("task micro: ")
    assert found.endswith(" measured runs of 1 studies")
    assert read_own([home / "studies.db"]).digest == own.digest
    game = own.tasks[0].game(random.Random(0))
    assert game.problem.baseline == played.problem.baseline
    assert game.start == pytest.approx(played.problem.truth(played.problem.baseline), abs=0.2)
    assert 0.0 < game.gained(own.tasks[0].best) < 1.0


def test_half_of_the_games_are_about_it(own: Own) -> None:
    families = [own.draw(random.Random(seed)).family for seed in range(30)]
    assert 8 <= families.count("own micro") <= 22


def test_too_few_runs_are_one_clear_line(tmp_path: Path, played: SimulatedStudy) -> None:
    home = stored(tmp_path / "few", played, 12)
    with pytest.raises(ConfigurationError, match=rf"task micro: \d+ measured runs, {LEAST} are needed$"):
        read_own([home])
    with pytest.raises(StorageError, match="no studies at"):
        read_own([tmp_path])


@pytest.mark.parametrize(("key", "value"), [("budget", 300.0), ("hardware", "another processor")])
def test_scores_that_cannot_be_compared_are_left_out(
    tmp_path: Path, played: SimulatedStudy, key: str, value: object
) -> None:
    home = stored(tmp_path / "home", played, 30, "other", **{key: value})
    few = stored(home, played, 95, "most")
    assert [line for line in read_own([few]).said if "other" in line] == [
        "left out other: another budget or corpus or tokenizer or device or hardware "
        "than most runs of task micro have"
    ]
    assert read_own([few]).digest == read_own([stored(tmp_path / "alone", played, 95, "most")]).digest


def test_a_study_of_another_program_is_left_out(tmp_path: Path, played: SimulatedStudy) -> None:
    """One with the same numbers and names in the same places; comments and values may differ."""
    home, source = stored(tmp_path / "home", played, 95), played.problem.baseline
    other = source.replace("self.token(idx) + ", "self.token(idx) - ")
    valued = source.replace("WIDTH = 64", "WIDTH = 32  # smaller")
    assert source not in (other, valued)
    stored(home, played, 0, "other", baseline=other)
    stored(home, played, 0, "valued", baseline=valued)
    told = [line for line in read_own([home]).said if line.startswith("left out")]
    assert told == ["left out study other: study other (0) began with another program than task micro"]


def test_what_can_be_read_twice_counts_once(own: Own, home: Path) -> None:
    assert read_own([home, home / "studies.db"]).said == own.said


def test_what_has_run_is_not_foretold_to_crash() -> None:
    """However often its place, or its generator, has crashed elsewhere."""
    real = read_trials()
    part = Part("literals", "scale", -1, 0.5, ("WIDTH",))
    crash = replace(real.trials[-1], kind=TrialKind.EXPLORE, parts=(part,), verdict=Verdict.CRASH, bpb=None)
    crashing = [replace(crash, config={"WIDTH": "41"}, study="crashing") for _ in range(200)]
    first = replace(real.trials[0], config={"WIDTH": "40"}, study="wide")
    task = OwnTask.of("micro", replace(real, trials=(first, *real.trials, *crashing)))
    assert len(task.starts) == len(real.studies) + 1
    assert all(task.game(random.Random(seed)).start < 8.0 for seed in range(12))
    assert task.landscape.response.bpb({"WIDTH": "41"}, {}) is None


def test_scores_that_foretell_nothing_are_one_clear_line() -> None:
    real = read_trials()
    hopeless = tuple(replace(trial, bpb=trial.bpb and 11.0, forecast=None) for trial in real.trials[:60])
    with pytest.raises(ConfigurationError, match="its best script is foretold 8 bits per byte"):
        OwnTask.of("micro", replace(real, trials=hopeless))


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "LENGTHS", (8,))


@pytest.mark.usefixtures("_short")
def test_pretraining_goes_on_from_the_shipped_prior(tmp_path: Path, own: Own, home: Path) -> None:
    out, work = tmp_path / "mine.safetensors", tmp_path / "work"
    command = ["pretrain", "--from", str(home), "--rounds", "1", "--studies", "2", "--out", str(out)]
    command += ["--work", str(work), "--json"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["rounds"]) == 2
    network, facts = network_of(out.read_bytes(), 0.05)
    assert facts["plan"]["own"] == own.digest
    shipped = load_prior(0.05)
    apart = [(a - b).abs().max() for a, b in zip(network.parameters(), shipped.parameters(), strict=True)]
    assert 0.0 < max(apart) < 0.1, "it began with the shipped one and has moved a little"
    assert torch.isfinite(torch.stack(apart)).all()


@pytest.mark.usefixtures("_short")
def test_other_studies_do_not_go_on_with_it(tmp_path: Path, played: SimulatedStudy, home: Path) -> None:
    work = [
        "--rounds",
        "1",
        "--studies",
        "1",
        "--work",
        str(tmp_path / "w"),
        "--out",
        str(tmp_path / "p.safetensors"),
    ]
    other = stored(tmp_path / "other", played, 98)
    assert CliRunner().invoke(cli, ["pretrain", "--from", str(home), *work]).exit_code == 0
    result = CliRunner().invoke(cli, ["pretrain", "--from", str(other), *work])
    assert isinstance(result.exception, ConfigurationError)
    assert "holds a pretraining of other trials, or fewer: choose another folder" in str(result.exception)
