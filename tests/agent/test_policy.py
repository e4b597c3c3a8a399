import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_rl.agent.evidence import SCORE_LIMIT
from autoresearch_rl.agent.features import F_C, F_S
from autoresearch_rl.agent.policy import ActorCritic, entropy, mixture_log_probs
from autoresearch_rl.errors import ConfigurationError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def inputs(batch, k, seed=0):
    g = generator(seed)
    return (
        torch.rand(batch, k, F_C, generator=g) * 2 - 1,
        torch.rand(batch, F_S, generator=g) * 2 - 1,
        torch.ones(batch, k, dtype=torch.bool),
    )


def shaken(epsilon=0.1, seed=0):
    """A network that has opinions."""
    network, g = ActorCritic(epsilon, generator(seed)), generator(seed + 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn(parameter.shape, generator=g)
    return network


@given(
    scores=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=16),
    padding=st.integers(0, 4),
    epsilon=st.floats(0.0, 0.99),
)
def test_the_mixture_is_a_distribution_with_a_floor(scores, padding, epsilon):
    mask = torch.tensor([[True] * len(scores) + [False] * padding])
    rows = torch.tensor([scores + [1e6] * padding], dtype=torch.float64)
    probabilities = mixture_log_probs(rows, mask, epsilon).exp()[0]

    assert probabilities.sum().item() == pytest.approx(1.0)
    assert (probabilities[: len(scores)] >= epsilon / len(scores) * (1 - 1e-9)).all()
    assert (probabilities[len(scores) :] == 0.0).all()


def test_the_mixture_is_the_formula():
    scores = torch.tensor([[0.3, -2.0, 5.0]], dtype=torch.float64)
    mixed = mixture_log_probs(scores, torch.ones(1, 3, dtype=torch.bool), 0.1)

    torch.testing.assert_close(mixed, (0.9 * scores.softmax(-1) + 0.1 / 3).log())


def test_the_untrained_policy_is_that_of_the_score_with_its_floor_and_its_value_zero():
    candidate, context, mask = inputs(3, 16)
    log_probs, value = ActorCritic(0.1, generator())(candidate, context, mask)
    odds = (SCORE_LIMIT * candidate[..., -1]).exp()

    torch.testing.assert_close(log_probs.exp(), 0.9 * odds / odds.sum(1, keepdim=True) + 0.1 / 16)
    assert value.tolist() == [0.0, 0.0, 0.0]


def test_scores_follow_the_candidates_and_not_their_places():
    candidate, context, mask = inputs(1, 5)
    order = torch.tensor([3, 0, 4, 1, 2])
    network = shaken()
    log_probs, value = network(candidate, context, mask)
    permuted, same_value = network(candidate[:, order], context, mask)

    assert log_probs.std() > 0.1
    torch.testing.assert_close(permuted, log_probs[:, order])
    torch.testing.assert_close(same_value, value)


def test_the_context_is_for_the_value_alone():
    candidate, context, mask = inputs(2, 5)
    network = shaken()
    log_probs, value = network(candidate, context, mask)
    same, other = network(candidate, -context, mask)

    assert torch.equal(same, log_probs)
    assert (other - value).abs().min() > 1e-3


def test_padding_changes_nothing():
    candidate, context, mask = inputs(2, 5)
    network = shaken()
    log_probs, value = network(candidate, context, mask)
    noise = torch.full((2, 3, F_C), 7.0)
    padded, padded_value = network(
        torch.cat([candidate, noise], 1),
        context,
        torch.cat([mask, torch.zeros(2, 3, dtype=torch.bool)], 1),
    )

    torch.testing.assert_close(padded[:, :5], log_probs)
    assert (padded[:, 5:] == -math.inf).all()
    torch.testing.assert_close(padded_value, value)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_gradients_are_finite_where_slates_are_padded(epsilon):
    candidate, context, mask = inputs(4, 6)
    mask[0, 1:] = False
    network = shaken(epsilon)
    log_probs, value = network(candidate, context, mask)
    (entropy(log_probs).sum() + log_probs[:, 0].sum() + value.sum()).backward()

    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert all(torch.isfinite(g).all() for g in gradients.values())
    assert all(g.abs().sum() > 0 for name, g in gradients.items() if name.endswith("weight"))


def test_entropy_of_a_padded_row():
    log_probs = torch.tensor([[math.log(0.25), math.log(0.75), -math.inf]])

    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert entropy(log_probs).item() == pytest.approx(expected)


def test_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    first, second, other = (ActorCritic(0.1, generator(seed)).embed[0].weight for seed in (1, 1, 2))

    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("epsilon", [-0.1, 1.0, math.nan])
def test_epsilon_is_a_share(epsilon):
    with pytest.raises(ConfigurationError, match="0 <= epsilon < 1"):
        ActorCritic(epsilon, generator())
