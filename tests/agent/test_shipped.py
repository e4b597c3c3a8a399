import pytest
import torch

from autoresearch_rl.agent.policy import ActorCritic
from autoresearch_rl.agent.ppo_agent import from_scratch, pretrained
from autoresearch_rl.agent.shipped import load_prior, network_of, pack_prior
from autoresearch_rl.errors import StorageError


def test_the_shipped_prior_is_small_and_was_trained():
    network = load_prior(0.05)
    data = pack_prior(network, {})
    assert len(data) < 1_000_000
    assert network.actor.weight.abs().sum() > 0  # an untrained one has zeros there


def test_a_prior_comes_back_as_it_was_and_with_its_card():
    network = ActorCritic(0.05, torch.Generator().manual_seed(3))
    again, facts = network_of(pack_prior(network, {"made": "by a test"}), 0.05)
    assert facts == {"made": "by a test"}
    for mine, other in zip(again.parameters(), network.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_prior_of_another_version_is_refused_in_one_line():
    foreign = torch.nn.Linear(3, 3)
    with pytest.raises(StorageError, match="not one of this version's") as caught:
        network_of(pack_prior(foreign, {}), 0.05)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(StorageError, match="damaged"):
        network_of(b"nothing", 0.05)


def test_the_three_kinds_of_ppo_start_and_learn_as_they_say():
    prior, online, frozen, scratch = (
        load_prior(0.05),
        pretrained(0),
        pretrained(0, online=False),
        from_scratch(0),
    )
    assert torch.equal(online.network.actor.weight, prior.actor.weight)
    assert torch.equal(frozen.network.actor.weight, prior.actor.weight)
    assert scratch.network.actor.weight.abs().sum() == 0
    assert (online.online, frozen.online, scratch.online) == (True, False, True)
