import math
from dataclasses import replace

import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from autoresearch_rl.agent.features import F_C, F_S
from autoresearch_rl.agent.policy import ActorCritic, entropy
from autoresearch_rl.agent.ppo import Batch, PPOConfig, evaluate, explained_variance, gae, ppo_loss, update
from autoresearch_rl.errors import ConfigurationError

SEEDS = range(25)
KEYS = ["candidate", "context", "mask"]


class LogProbs(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, candidate, context, mask):
        return self.network(candidate, context, mask)[0]


class Value(LogProbs):
    def forward(self, candidate, context, mask):
        return self.network(candidate, context, mask)[1].unsqueeze(-1)


def random_network(seed):
    g = torch.Generator().manual_seed(seed)
    network = ActorCritic(0.1, g).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=g, dtype=torch.float64)
    return network


def random_batch(seed, size=24, k=16, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, k + 1, (size, 1), generator=g)
    return Batch(
        candidate=torch.randn(size, k, F_C, generator=g, dtype=dtype),
        context=torch.randn(size, F_S, generator=g, dtype=dtype),
        mask=torch.arange(k) < counts,
        action=(torch.rand(size, generator=g) * counts.squeeze(-1)).long(),
        log_prob=-2.0 + 0.5 * torch.randn(size, generator=g, dtype=dtype),
        weight=torch.ones(size, dtype=dtype),
        value=torch.randn(size, generator=g, dtype=dtype),
        advantage=torch.randn(size, generator=g, dtype=dtype),
        returns=torch.randn(size, generator=g, dtype=dtype),
    )


def random_problem(seed):
    """A network, and a batch chosen by one not far from it, so that some ratios are clipped and some not."""
    network, batch = random_network(seed), random_batch(seed)
    noise = torch.randn(
        len(batch.action), generator=torch.Generator().manual_seed(seed + 1000), dtype=torch.float64
    )
    return network, replace(batch, log_prob=chosen_log_prob(network, batch) + 0.3 * noise)


def chosen_log_prob(network, batch):
    log_probs, _ = network(*batch.seen)
    return log_probs.gather(-1, batch.action[:, None])[:, 0].detach()


def torchrl_loss(network, batch, config):
    actor = ProbabilisticActor(
        TensorDictModule(LogProbs(network), in_keys=KEYS, out_keys=["logits"]),
        in_keys=["logits"],
        distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
    )
    loss = ClipPPOLoss(
        actor,
        ValueOperator(Value(network), in_keys=KEYS),
        clip_epsilon=config.clip_coef,
        entropy_coeff=config.ent_coef,
        critic_coeff=config.vf_coef,
        loss_critic_type="l2",
        normalize_advantage=False,
        reduction="mean",
    )
    return loss(
        TensorDict(
            {
                "candidate": batch.candidate,
                "context": batch.context,
                "mask": batch.mask,
                "action": batch.action,
                "action_log_prob": batch.log_prob,
                "advantage": batch.advantage.unsqueeze(-1),
                "value_target": batch.returns.unsqueeze(-1),
            },
            batch_size=[len(batch.action)],
        )
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_the_loss_is_torchrls(seed):
    config, (network, batch) = PPOConfig(), random_problem(seed)
    ours, theirs = evaluate(network, batch, config), torchrl_loss(network, batch, config)

    close = {"rtol": 0.0, "atol": 1e-6}
    torch.testing.assert_close(ours.policy_loss, theirs["loss_objective"], **close)
    torch.testing.assert_close(config.vf_coef * ours.value_loss, theirs["loss_critic"], **close)
    torch.testing.assert_close(ours.entropy, theirs["entropy"], **close)
    torch.testing.assert_close(-config.ent_coef * ours.entropy, theirs["loss_entropy"], **close)
    torch.testing.assert_close(ours.clipfrac, theirs["clip_fraction"], **close)
    assert 0 < ours.clipfrac < 1
    total = theirs["loss_objective"] + theirs["loss_critic"] + theirs["loss_entropy"]
    torch.testing.assert_close(ours.total, total, **close)


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_a_decision_counts_by_its_weight(seed):
    """One of weight two is two of weight one, in the policy's loss alone."""
    network, batch = random_problem(seed)
    weight = torch.tensor([2.0, 0.0, 1.0], dtype=torch.float64).repeat(len(batch.action) // 3)
    found = evaluate(network, replace(batch, weight=weight), PPOConfig())
    plain = evaluate(network, batch, PPOConfig())
    rows = torch.repeat_interleave(torch.arange(len(weight)), weight.long())
    repeated = evaluate(network, batch[rows], PPOConfig())
    torch.testing.assert_close(found.policy_loss, repeated.policy_loss)
    assert found.policy_loss != plain.policy_loss
    assert found.value_loss == plain.value_loss


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_the_gradients_are_torchrls(seed):
    config, ours, (network, batch) = PPOConfig(), random_network(seed), random_problem(seed)
    evaluate(ours, batch, config).total.backward()
    theirs = torchrl_loss(network, batch, config)
    (theirs["loss_objective"] + theirs["loss_critic"] + theirs["loss_entropy"]).backward()

    for mine, other in zip(ours.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_gae_is_torchrls(seed, ends):
    g = torch.Generator().manual_seed(seed)
    steps = int(torch.randint(1, 40, (1,), generator=g))
    gamma, lambda_ = torch.rand(2, generator=g).tolist()
    rewards, values, last = (torch.randn(n, generator=g, dtype=torch.float64) for n in (steps, steps, 1))
    done = torch.rand(steps, generator=g) < 0.2 if ends else torch.zeros(steps, dtype=torch.bool)
    following = torch.cat([values[1:], last])
    data = TensorDict(
        {
            "state_value": values[None, :, None],
            "next": {
                "state_value": following[None, :, None],
                "reward": rewards[None, :, None],
                "done": done[None, :, None],
                "terminated": done[None, :, None],
            },
        },
        batch_size=[1, steps],
    )
    GAE(gamma=gamma, lmbda=lambda_, value_network=None, average_gae=False)(data)
    advantages, returns = gae(rewards, values, last[0], gamma, lambda_, done if ends else None)

    torch.testing.assert_close(advantages, data["advantage"][0, :, 0], rtol=0.0, atol=1e-6)
    torch.testing.assert_close(returns, data["value_target"][0, :, 0], rtol=0.0, atol=1e-6)


def test_gae_by_hand():
    advantages, returns = gae(
        torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.25]), torch.tensor(4.0), gamma=0.5, lambda_=0.5
    )

    # deltas: 1 + .5 * .25 - .5 = .625 and 2 + .5 * 4 - .25 = 3.75
    assert advantages.tolist() == [0.625 + 0.25 * 3.75, 3.75]
    assert returns.tolist() == [0.625 + 0.25 * 3.75 + 0.5, 4.0]


def test_approx_kl_and_clipfrac_of_known_ratios():
    ratios = torch.tensor([1.0, 1.5, 0.5, 1.1], dtype=torch.float64)
    batch = replace(random_batch(0, size=4), log_prob=torch.zeros(4).double())
    loss = ppo_loss(ratios.log(), batch.value, torch.zeros(4), batch, PPOConfig())

    assert loss.clipfrac.item() == 0.5
    assert loss.approx_kl.item() == pytest.approx((ratios - 1 - ratios.log()).mean().item())


def test_nothing_is_clipped_at_the_start():
    network, batch = random_network(0), random_batch(0)
    log_probs, _ = network(*batch.seen)
    chosen = chosen_log_prob(network, batch)
    loss = ppo_loss(chosen, batch.value, entropy(log_probs), replace(batch, log_prob=chosen), PPOConfig())

    assert loss.clipfrac == loss.approx_kl == 0.0
    assert loss.policy_loss.item() == pytest.approx(-batch.advantage.mean().item())


def updated(config, seed=0):
    """A fresh network after one update on a batch whose action 0 was good and others bad."""
    g = torch.Generator().manual_seed(seed)
    network = ActorCritic(config.epsilon, g)
    batch = random_batch(seed, size=40, k=4, dtype=torch.float32)
    action = torch.randint(4, (40,), generator=g)
    batch = replace(
        batch,
        mask=torch.ones(40, 4, dtype=torch.bool),
        action=action,
        candidate=torch.eye(4, F_C).expand(40, 4, F_C),
        log_prob=torch.full((40,), -math.log(4)),
        advantage=torch.where(action == 0, 1.0, -1.0),
        returns=torch.ones(40),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    metrics = update(network, optimizer, batch, config, g)
    return network, batch, metrics


def test_an_update_moves_the_policy_to_the_good_action_and_the_value_to_the_returns():
    network, batch, metrics = updated(PPOConfig(learning_rate=1e-3))
    log_probs, value = network(*batch.seen)

    assert (log_probs.exp()[:, 0] > 0.27).all()
    assert value.mean() > 0.05
    assert set(metrics) == {
        "policy_loss",
        "value_loss",
        "entropy",
        "approx_kl",
        "clipfrac",
        "explained_variance",
    }
    assert metrics["policy_loss"] < -batch.advantage.mean()
    assert 0 < metrics["entropy"] <= math.log(4) + 1e-6
    assert metrics["approx_kl"] > 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "pushed"),
    [
        (1.3, 1.0, False),
        (0.7, 1.0, True),
        (1.3, -1.0, True),
        (0.7, -1.0, False),
        (1.1, 1.0, True),
        (0.9, -1.0, True),
    ],
)
def test_clipping_stops_only_what_would_go_further(ratio, advantage, pushed):
    batch = replace(random_batch(0, size=1), log_prob=torch.zeros(1), advantage=torch.tensor([advantage]))
    log_prob = torch.tensor([math.log(ratio)], requires_grad=True)
    ppo_loss(log_prob, batch.value, torch.zeros(1), batch, PPOConfig()).policy_loss.backward()

    assert log_prob.grad.item() == pytest.approx(-ratio * advantage if pushed else 0.0)


def test_an_update_is_reproducible_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first, second = updated(PPOConfig())[0], updated(PPOConfig())[0]

    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_gradient_norm_is_clipped():
    """With plain gradient descent each step moves the parameters by at most rate * max_grad_norm."""
    config = PPOConfig(max_grad_norm=0.01, update_epochs=1, num_minibatches=1)
    network, batch = random_network(0), random_batch(0)
    before = torch.nn.utils.parameters_to_vector(network.parameters()).clone()
    update(network, torch.optim.SGD(network.parameters(), lr=1.0), batch, config, torch.Generator())
    after = torch.nn.utils.parameters_to_vector(network.parameters())

    assert (after - before).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_explained_variance():
    returns = torch.tensor([1.0, 2.0, 3.0])

    assert explained_variance(returns + 5.0, returns) == pytest.approx(1.0)
    assert explained_variance(torch.zeros(3), returns) == pytest.approx(0.0)
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert explained_variance(returns, torch.ones(3)) == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0.0), ("window", 0), ("gamma", 1.0), ("clip_coef", -0.1), ("epsilon", 1.0)],
)
def test_a_hyper_parameter_out_of_range_is_named(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} must be .* got {value}"):
        PPOConfig(**{name: value})
