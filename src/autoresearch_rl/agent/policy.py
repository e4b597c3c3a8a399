"""The network: scores each candidate of a slate, and says what the state is worth.

Candidates have no fixed meaning from trial to trial, so there is no fixed output layer: the same small
perceptron scores every candidate from its own features; the context is for the value alone.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from autoresearch_rl.agent.evidence import SCORE_LIMIT
from autoresearch_rl.agent.features import F_C, F_S
from autoresearch_rl.errors import ConfigurationError

HIDDEN = 64


class ActorCritic(nn.Module):
    """Policy over the K candidates of a slate and value of the state.

    `pi = (1 - epsilon) softmax(scores) + epsilon / K`: the floor keeps every candidate possible, without
    which best-so-far need not approach the best reachable (PAPER.md, "Theory, stated with care"). The actor's
    last layer starts at zero, so the untrained policy is that of the score it starts from.

    Args:
        epsilon: Share of the uniform distribution in the mixture, in [0, 1).
        generator: Source of the initial weights; the global generator is never used.
        hidden: Width of the scoring perceptron; the value head has half of it.
    """

    def __init__(
        self,
        epsilon: float,
        generator: torch.Generator,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        if not 0.0 <= epsilon < 1.0:
            raise ConfigurationError(
                f"epsilon is a share of the policy: expected 0 <= epsilon < 1, got {epsilon}."
            )
        self.epsilon = epsilon
        self.embed = _perceptron(F_C, hidden, hidden, generator)
        self.actor = _linear(hidden, 1, 0.0, generator)
        self.critic = nn.Sequential(
            _linear(F_S + hidden, hidden // 2, math.sqrt(2.0), generator),
            nn.Tanh(),
            _linear(hidden // 2, 1, 0.0, generator),
        )

    def forward(self, candidate: Tensor, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and values of a padded batch; features as `features.Observation` has them.

        Args:
            candidate: `[B, K, F_C]`; the last feature is the score that is known without a network, which
                its own is added to ("residual policy learning", Silver et al., arXiv 1812.06298).
            context: `[B, F_S]`.
            mask: bool `[B, K]`, true where there is a candidate; at least one per row.

        Returns:
            `log_probs` `[B, K]` (minus infinity where masked) and `value` `[B]`.
        """
        dtype = self.actor.weight.dtype
        candidate, context = candidate.to(dtype), context.to(dtype)
        embedding = cast(Tensor, self.embed(candidate))
        scores = cast(Tensor, self.actor(embedding)).squeeze(-1) + SCORE_LIMIT * candidate[..., -1]
        weight = mask.to(embedding.dtype).unsqueeze(-1)
        mean = (embedding * weight).sum(1) / weight.sum(1)
        value = cast(Tensor, self.critic(torch.cat([context, mean], dim=-1))).squeeze(-1)
        return mixture_log_probs(scores, mask, self.epsilon), value


def _perceptron(inputs: int, hidden: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
    return nn.Sequential(
        _linear(inputs, hidden, math.sqrt(2.0), generator),
        nn.Tanh(),
        _linear(hidden, outputs, math.sqrt(2.0), generator),
        nn.Tanh(),
    )


def mixture_log_probs(scores: Tensor, mask: Tensor, epsilon: float) -> Tensor:
    """`log((1 - epsilon) softmax(scores) + epsilon / K)`, exact, where K counts the row's own candidates.

    Args:
        scores: `[B, K]`; masked entries are ignored.
        mask: bool `[B, K]`.
        epsilon: In [0, 1).

    Returns:
        `[B, K]`, minus infinity where masked.
    """
    # A finite stand-in: minus infinity in both arguments of logaddexp has no gradient.
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return mixed(scores.log_softmax(-1), mask, epsilon)


def mixed(log_probs: Tensor, mask: Tensor, epsilon: float) -> Tensor:
    """`log((1 - epsilon) p + epsilon / K)` of log-probabilities `[B, K]`; minus infinity where masked."""
    floor = (epsilon / mask.sum(-1, keepdim=True).to(log_probs.dtype)).log()
    return torch.logaddexp(math.log1p(-epsilon) + log_probs, floor).masked_fill(~mask, -math.inf)


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats of each row, `[B, K] -> [B]`; entries of probability zero contribute nothing."""
    safe = log_probs.masked_fill(log_probs == -math.inf, 0.0)
    return -(log_probs.exp() * safe).sum(-1)


def _linear(inputs: int, outputs: int, gain: float, generator: torch.Generator) -> nn.Linear:
    """A linear layer with orthogonal weights and no bias at the start (CleanRL's `layer_init`)."""
    # skip_init, because nn.Linear would draw its first weights from the global generator.
    layer = cast(nn.Linear, nn.utils.skip_init(nn.Linear, inputs, outputs))  # type: ignore[no-untyped-call]
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
