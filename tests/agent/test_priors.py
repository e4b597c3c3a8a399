"""A prior of one's own: a policy by the name of its file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from playing import make_candidate, make_state

from autoresearch_rl.agent.agents import make_agent, policy_name, prior_digest
from autoresearch_rl.agent.policy import ActorCritic
from autoresearch_rl.agent.shipped import MOST_BYTES, pack_prior
from autoresearch_rl.errors import ConfigurationError, StorageError

SIZES = (0.1, 0.3, 0.7, 1.4, 2.3, 4.0)  # of edits: policies see what they are, not what their names say


def written(path: Path, seed: int) -> str:
    network = ActorCritic(0.05, torch.Generator().manual_seed(seed))
    torch.nn.init.normal_(network.actor.weight, generator=torch.Generator().manual_seed(seed))
    path.write_bytes(pack_prior(network, {"made": "by a test"}))
    return str(path)


def choices(policy: str) -> list[str]:
    agent = make_agent(policy, 0)
    state = make_state(candidates=[make_candidate(f"a{i}_{x}", magnitude=x) for x in SIZES for i in range(5)])
    return [agent.propose(state).edit.changes[0].site for _ in range(12)]


def test_a_prior_in_a_file_decides(tmp_path: Path) -> None:
    one, other = written(tmp_path / "one.safetensors", 1), written(tmp_path / "other.safetensors", 2)
    assert choices(one) == choices(one)
    assert len({tuple(choices(policy)) for policy in (one, other, "ppo")}) == 3


def test_its_checkpoints_belong_to_this_prior(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    data = make_agent(written(path, 1), 0).checkpoint()
    make_agent(str(path), 0).restore(data)
    changed = make_agent(written(path, 2), 0)
    with pytest.raises(StorageError, match="it is one of ppo from "):
        changed.restore(data)
    with pytest.raises(StorageError, match="it is one of ppo from "):
        make_agent("ppo", 0).restore(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^expected a prior at .*mine.safetensors, which `pretrain --out` writes: No such file"),
        (b"", r"mine.safetensors is no prior that `pretrain` wrote: "),
        (b"x" * 200, r"mine.safetensors is no prior that `pretrain` wrote: "),
        (b"x" * (MOST_BYTES + 1), r"mine.safetensors is no prior: it has more than 1,000,000 bytes"),
    ],
)
def test_what_is_no_prior_is_one_clear_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "mine.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        make_agent(str(path), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weight", "dtype"),
    [(math.nan, torch.float32), (-3e38, torch.float32), (1e300, torch.float64)],
)
def test_weights_that_nothing_can_be_computed_with_are_refused(
    tmp_path: Path, weight: float, dtype: torch.dtype
) -> None:
    network = ActorCritic(0.05, torch.Generator()).to(dtype)
    torch.nn.init.constant_(network.actor.weight, weight)
    path = tmp_path / "mine.safetensors"
    path.write_bytes(pack_prior(network, {}))
    with pytest.raises(ConfigurationError, match="weights that are no numbers below 10000"):
        make_agent(str(path), 0)


def test_a_link_to_a_prior_is_one(tmp_path: Path) -> None:
    written(tmp_path / "one.safetensors", 1)
    (tmp_path / "one.safetensors").rename(tmp_path / "blob")
    link = tmp_path / "latest.safetensors"
    link.symlink_to(tmp_path / "blob")
    make_agent(policy_name(str(link)), 0)


def test_a_file_is_recorded_by_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert policy_name("mine.safetensors") == str(tmp_path / "mine.safetensors")
    assert policy_name("ppo") == "ppo"
    assert prior_digest("ppo") == ""
    one, other = written(tmp_path / "a.safetensors", 1), written(tmp_path / "b.safetensors", 2)
    assert len({prior_digest(one), prior_digest(other)}) == 2
