"""Two ways to learn from simulated studies: from the truth about every choice, and by PPO."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoresearch_rl.agent.policy import ActorCritic, entropy
from autoresearch_rl.agent.ppo import Batch, PPOConfig, gae, update
from autoresearch_rl.agent.reward import LARGEST
from autoresearch_rl.pretraining.rollouts import Rollout, joined

SEEN = ("candidate", "context", "mask")

MINIBATCH = 256
GAMMA = 0.985  # a horizon of 67 trials
VF_COEF = 0.5


def warm_start(
    network: ActorCritic,
    optimizer: torch.optim.Optimizer,
    rollouts: Sequence[Rollout],
    epochs: int,
    generator: torch.Generator,
    ent_coef: float,
) -> dict[str, float]:
    """Raises the expected true improvement of the next trial, whose gradient is exact: all choices are known.

    Only a gain counts: what is worse than the leader does no harm but the trial. `ent_coef` is what a nat of
    entropy is worth, in ordinary effects.

    Returns:
        `improvement` per trial, in ordinary effects, `entropy` in nats, and `value_loss`.
    """
    data = joined(rollouts)
    gain = data["worth"].clamp(0.0, LARGEST).masked_fill(~data["mask"], 0.0)
    returns = torch.cat([discounted(rollout.reward, GAMMA) for rollout in rollouts])
    parts, chunks = [], max(1, len(gain) // MINIBATCH)
    for _ in range(epochs):
        for rows in torch.randperm(len(gain), generator=generator).chunk(chunks):
            log_probs, value = network(*(data[name][rows] for name in SEEN))
            improvement = (log_probs.exp() * gain[rows]).sum(-1).mean()
            spread, error = entropy(log_probs).mean(), (value - returns[rows]).square().mean()
            optimizer.zero_grad()
            loss = -improvement - ent_coef * spread + VF_COEF * error
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            parts.append(torch.stack([improvement, spread, error]).detach())
    improvement, spread, error = torch.stack(parts).mean(0).tolist()
    return {"improvement": improvement, "entropy": spread, "value_loss": error}


def improve(
    network: ActorCritic,
    optimizer: torch.optim.Optimizer,
    rollouts: Sequence[Rollout],
    config: PPOConfig,
    generator: torch.Generator,
) -> dict[str, float]:
    """One PPO update on studies that this network has just played; metrics as `ppo.update`."""
    with torch.no_grad():
        values = [network(*(getattr(r, name) for name in SEEN))[1] for r in rollouts]
    pairs = [
        gae(rollout.reward, value, value[-1], config.gamma, config.gae_lambda)
        for rollout, value in zip(rollouts, values, strict=True)
    ]
    advantage, returns = (torch.cat(part) for part in zip(*pairs, strict=True))
    data = joined(rollouts)
    batch = Batch(
        **{name: data[name] for name in (*SEEN, "action", "log_prob")},
        weight=torch.ones_like(advantage),
        value=torch.cat(values),
        advantage=(advantage - advantage.mean()) / (advantage.std() + 1e-8),
        returns=returns,
    )
    return update(network, optimizer, batch, config, generator)


def discounted(reward: Tensor, gamma: float) -> Tensor:
    """Discounted sum of what follows each of T rewards, `[T]`; nothing is known after the last."""
    out, carry = torch.empty_like(reward), 0.0
    for t in reversed(range(len(reward))):
        carry = float(reward[t]) + gamma * carry
        out[t] = carry
    return out
