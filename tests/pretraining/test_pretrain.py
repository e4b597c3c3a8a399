import hashlib
import json
import re

import pytest
import torch
from click.testing import CliRunner

from autoresearch_rl.agent.settled import settle
from autoresearch_rl.agent.shipped import load_prior, network_of, pack_prior
from autoresearch_rl.errors import AutoResearchError, ConfigurationError, StorageError
from autoresearch_rl.interface.cli import cli
from autoresearch_rl.pretraining import pretrain, rollouts
from autoresearch_rl.pretraining.pretrain import PPO, WARM, Plan, Pretraining
from autoresearch_rl.pretraining.rollouts import play
from autoresearch_rl.pretraining.training import discounted, warm_start

TINY = Plan(warm_rounds=2, ppo_rounds=1, studies=2)


@pytest.fixture(scope="module", autouse=True)
def _short():
    """Studies of 20 trials on one thread, so that a round takes seconds."""
    settle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollouts, "LENGTHS", (20,))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed: its prior and its rounds."""
    run = Pretraining(tmp_path_factory.mktemp("whole"), TINY)
    return run.run(lambda _: None), run.rounds


class Killed(Exception):
    pass


def killed_after(number):
    def told(done):
        if done.number == number:
            raise Killed

    return told


@pytest.mark.parametrize("number", [0, 1])
def test_a_run_that_was_killed_ends_with_the_same_prior(tmp_path, whole, number):
    with pytest.raises(Killed):
        Pretraining(tmp_path, TINY).run(killed_after(number))
    (tmp_path / ".state.safetensors.part").write_bytes(b"half of it")
    run = Pretraining(tmp_path, TINY)
    assert len(run.rounds) == number + 1
    again, _ = network_of(run.run(lambda _: None), 0.05)
    first, _ = network_of(whole[0], 0.05)

    for mine, other in zip(again.parameters(), first.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_the_rounds_are_told_with_what_they_did(whole):
    prior, rounds = whole
    assert [done.stage for done in rounds] == [WARM, WARM, PPO]
    assert all(done.decisions > 20 and -1.0 < done.final < 1.0 for done in rounds)
    assert {"improvement", "entropy", "value_loss"} == set(rounds[0].metrics)
    assert {"approx_kl", "explained_variance"} < set(rounds[2].metrics)
    assert network_of(prior, 0.05)[1]["plan"]["studies"] == 2


def test_only_the_last_round_of_the_warm_start_is_sharp(tmp_path, monkeypatch):
    """What is given to each call of the warm start: epochs, entropy bonus, learning rate."""
    calls = []

    def listening(network, optimizer, played, epochs, generator, ent_coef):
        calls.append((epochs, ent_coef, optimizer.param_groups[0]["lr"]))
        return warm_start(network, optimizer, played, epochs, generator, ent_coef)

    monkeypatch.setattr(pretrain, "warm_start", listening)
    with pytest.raises(Killed):
        Pretraining(tmp_path, TINY).run(killed_after(1))
    assert calls[:2] == [(2, 0.03, 1e-3), (2, 0.03, pytest.approx(0.55e-3))]
    assert calls[2:] == [(1, 0.01, pytest.approx(1e-2 * (1.0 - 0.9 * i / 16))) for i in range(16)]


def test_another_plan_needs_another_folder(tmp_path):
    with pytest.raises(Killed):
        Pretraining(tmp_path, TINY).run(killed_after(0))
    with pytest.raises(ConfigurationError, match="choose another folder"):
        Pretraining(tmp_path, Plan(seed=1, warm_rounds=2, ppo_rounds=1, studies=2))
    (tmp_path / "round-000.safetensors").unlink()
    with pytest.raises(StorageError, match="needed to go on"):
        Pretraining(tmp_path, TINY).run(lambda _: None)


def test_files_of_another_version_are_named(tmp_path):
    with pytest.raises(Killed):
        Pretraining(tmp_path, TINY).run(killed_after(0))
    state, played = tmp_path / pretrain.STATE, tmp_path / "round-000.safetensors"
    whole = state.read_bytes()
    for path, data in ((state, whole[:-9]), (state, pack_prior(load_prior(0.05), {})), (played, b"")):
        before = path.read_bytes()
        path.write_bytes(data)
        with pytest.raises(StorageError, match=rf"{path.name} is needed to go on, but .*--work") as caught:
            Pretraining(tmp_path, TINY).run(lambda _: None)
        assert "\n" not in str(caught.value)
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("option", "where", "message"),
    [
        ("--work", "file/work", "file/work: "),
        ("--out", "file/prior.safetensors", "file/prior.safetensors: "),
        ("--out", "mine", r"expected a file that ends with .safetensors \(--out\), but got .*mine"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_played(tmp_path, option, where, message):
    (tmp_path / "file").write_text("")
    places = {"--work": "work", "--out": "prior.safetensors"} | {option: where}
    words = [word for name, place in places.items() for word in (name, str(tmp_path / place))]
    result = CliRunner().invoke(cli, ["pretrain", *words])
    assert isinstance(result.exception, AutoResearchError)
    assert re.search(message, str(result.exception))
    assert not (tmp_path / "work").exists()


def test_learning_from_the_truth_finds_what_is_truly_better():
    """On the studies it has seen, a trained network expects more of its choices than an untrained one."""
    network = load_prior(0.05)
    played = [play(network, seed) for seed in (1, 2)]
    optimizer, generator = torch.optim.Adam(network.parameters(), lr=1e-3), torch.Generator().manual_seed(0)
    first = warm_start(network, optimizer, played, 1, generator, 0.01)["improvement"]
    last = warm_start(network, optimizer, played, 30, generator, 0.01)["improvement"]
    assert last > first


def test_a_rollout_tells_the_truth_about_every_choice():
    network = load_prior(0.05)
    rollout = play(network, 3)
    assert torch.equal(rollout.worth[~rollout.mask], torch.zeros_like(rollout.worth[~rollout.mask]))
    again, other = play(network, 3), play(network, 3, repetition=1)
    assert all(torch.equal(mine, again.tensors()[name]) for name, mine in rollout.tensors().items())
    assert not torch.equal(rollout.action[:20], other.action[:20])


def test_discounted_by_hand():
    assert discounted(torch.tensor([1.0, 0.0, 2.0]), 0.5).tolist() == [1.5, 1.0, 2.0]


def test_the_command_writes_a_prior_and_goes_on(tmp_path):
    out, work = tmp_path / "mine.safetensors", tmp_path / "work"
    words = ["pretrain", "--out", str(out), "--work", str(work), "--rounds", "1", "--studies", "1", "--json"]
    first = CliRunner().invoke(cli, words)
    assert first.exit_code == 0, first.output
    facts = json.loads(first.stdout)
    assert facts["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert len(facts["rounds"]) == 2
    again = CliRunner().invoke(cli, words)
    assert "going on after round 2 of 2" in again.stderr
    assert json.loads(again.stdout) == facts
    wrong = CliRunner().invoke(cli, [*words, "--seed", "5"])
    assert isinstance(wrong.exception, ConfigurationError)
    assert "holds a pretraining with seed 0, not 5: choose another folder" in str(wrong.exception)
    other = CliRunner().invoke(cli, [*words, "--seed", "5", "--work", str(tmp_path / "other")])
    assert "mine.safetensors is there already, and another prior: choose another file" in str(other.exception)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == facts["sha256"]


def test_rounds_lie_beside_the_prior(tmp_path):
    words = ["pretrain", "--rounds", "1", "--studies", "1", "--out"]
    for name in ("mine", "other"):
        assert CliRunner().invoke(cli, [*words, str(tmp_path / f"{name}.safetensors")]).exit_code == 0
        assert (tmp_path / f"{name}.pretraining" / pretrain.STATE).exists()
