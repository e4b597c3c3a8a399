"""Proximal policy optimisation on one page (Schulman et al., arXiv 1707.06347; names as in CleanRL).

Tested for equality with torchrl's `ClipPPOLoss` and `GAE`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from autoresearch_rl.agent.policy import ActorCritic, entropy
from autoresearch_rl.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class PPOConfig:
    """Hyper-parameters, for a network that knows nothing yet. Data is scarce, and one trial costs minutes."""

    learning_rate: float = 3e-4
    update_every: int = 10  # completed trials between updates
    window: int = 40  # latest completed trials an update learns from
    update_epochs: int = 4
    num_minibatches: int = 4
    clip_coef: float = 0.2
    gamma: float = 0.97
    gae_lambda: float = 0.95
    vf_coef: float = 0.5  # the paper's c1
    ent_coef: float = 0.01  # the paper's c2
    max_grad_norm: float = 0.5
    epsilon: float = 0.05  # share of the uniform distribution in the policy

    def __post_init__(self) -> None:
        for name in (
            "learning_rate",
            "update_every",
            "window",
            "update_epochs",
            "num_minibatches",
            "max_grad_norm",
        ):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} must be positive, got {getattr(self, name)}.")
        for name in ("gamma", "gae_lambda", "clip_coef", "epsilon"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigurationError(f"{name} must be in [0, 1), got {getattr(self, name)}.")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """T decisions with what became of them, slates padded to K."""

    candidate: Tensor  # [T, K, F_C]
    context: Tensor  # [T, F_S]
    mask: Tensor  # bool [T, K]
    action: Tensor  # int64 [T], index into the slate
    log_prob: Tensor  # [T], of the action under the policy that the update starts from
    weight: Tensor  # [T], how much likelier the action was under that policy than when it was chosen
    value: Tensor  # [T], the estimates that the advantages were made with
    advantage: Tensor  # [T]
    returns: Tensor  # [T]

    @property
    def seen(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the network reads."""
        return self.candidate, self.context, self.mask

    def __getitem__(self, rows: Tensor) -> Batch:
        return Batch(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True, slots=True)
class PPOLoss:
    """The loss of one minibatch and its parts, all scalars; only `total` is meant for `backward`."""

    total: Tensor
    policy_loss: Tensor
    value_loss: Tensor
    entropy: Tensor  # nats
    approx_kl: Tensor  # mean of (ratio - 1) - log ratio, Schulman's low-variance estimate, nats
    clipfrac: Tensor  # share of ratios outside [1 - clip_coef, 1 + clip_coef]


def gae(
    rewards: Tensor,
    values: Tensor,
    last_value: Tensor,
    gamma: float,
    lambda_: float,
    done: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al., arXiv 1506.02438, equation 16).

    Args:
        rewards: `[T]`.
        values: `[T]`, of the states the actions were chosen in.
        last_value: scalar, of the state after the last action.
        gamma: Discount.
        lambda_: 0 is one-step, 1 is Monte Carlo.
        done: bool `[T]`, true where an episode ended with that action. A study never ends: omit it.

    Returns:
        `advantages` `[T]` and `returns` `[T]`, their sum with the values.
    """
    alive = torch.ones_like(rewards) if done is None else (~done).to(rewards.dtype)
    next_values = torch.cat([values[1:], last_value.reshape(1)])
    deltas = rewards + gamma * alive * next_values - values
    advantages = torch.empty_like(deltas)
    carry = torch.zeros_like(last_value)
    for t in reversed(range(len(deltas))):
        carry = deltas[t] + gamma * lambda_ * alive[t] * carry
        advantages[t] = carry
    return advantages, advantages + values


def ppo_loss(
    log_prob: Tensor,
    value: Tensor,
    entropy: Tensor,
    batch: Batch,
    config: PPOConfig,
) -> PPOLoss:
    """Clipped surrogate + vf_coef * squared value error - ent_coef * entropy, each a mean over `[B]`.

    The policy that the ratio is clipped around is the one before the update, not the older one that chose:
    each decision is weighted by the ratio of these two ("decoupled objective", Hilton et al., arXiv
    2110.00641, equation 3). With weights of one it is PPO's own.

    Advantages are used as they are given; normalise them before. Value targets are not clipped.

    Args:
        log_prob: `[B]`, of the batch's actions under the current policy.
        value: `[B]`, current estimates.
        entropy: `[B]`, of the current policy.
        batch: What was chosen, and its advantages and returns.
        config: `clip_coef`, `vf_coef` and `ent_coef` are used.
    """
    log_ratio = log_prob - batch.log_prob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - config.clip_coef, 1.0 + config.clip_coef)
    policy_loss = -(batch.weight * torch.min(ratio * batch.advantage, clipped * batch.advantage)).mean()
    value_loss = (value - batch.returns).square().mean()
    mean_entropy = entropy.mean()
    return PPOLoss(
        total=policy_loss + config.vf_coef * value_loss - config.ent_coef * mean_entropy,
        policy_loss=policy_loss,
        value_loss=value_loss,
        entropy=mean_entropy,
        approx_kl=((ratio - 1.0) - log_ratio).mean(),
        clipfrac=(clipped != ratio).to(ratio.dtype).mean(),
    )


def evaluate(network: ActorCritic, batch: Batch, config: PPOConfig) -> PPOLoss:
    """The loss of `batch` under the network as it is now."""
    log_probs, value = network(*batch.seen)
    chosen = log_probs.gather(-1, batch.action.unsqueeze(-1)).squeeze(-1)
    return ppo_loss(chosen, value, entropy(log_probs), batch, config)


def update(
    network: ActorCritic,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: PPOConfig,
    generator: torch.Generator,
) -> dict[str, float]:
    """Epochs of shuffled minibatches with gradient-norm clipping.

    Args:
        network: Changed in place, as is `optimizer`.
        optimizer: Over the network's parameters.
        batch: All decisions to learn from, `[T]`, advantages already normalised.
        config: Epochs, minibatches and the loss's coefficients.
        generator: Source of the shuffles.

    Returns:
        `policy_loss`, `value_loss`, `entropy`, `approx_kl`, `clipfrac`: means over all minibatches; and
        `explained_variance` of the returns by the batch's own values.
    """
    losses = []
    for _ in range(config.update_epochs):
        for rows in torch.randperm(len(batch.action), generator=generator).chunk(config.num_minibatches):
            loss = evaluate(network, batch[rows], config)
            optimizer.zero_grad()
            loss.total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
            optimizer.step()
            losses.append([part.item() for part in (getattr(loss, f.name) for f in fields(loss))])
    means = torch.tensor(losses, dtype=torch.float64).mean(0).tolist()
    metrics = dict(zip((f.name for f in fields(PPOLoss)), means, strict=True))
    del metrics["total"]
    return metrics | {"explained_variance": explained_variance(batch.value, batch.returns)}


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """`1 - Var(returns - values) / Var(returns)`: 1 is perfect, 0 no better than a constant, below 0 worse.

    0.0 when the returns do not vary at all.
    """
    total = returns.var(correction=0)
    return float(1.0 - (returns - values).var(correction=0) / total) if total > 0 else 0.0
