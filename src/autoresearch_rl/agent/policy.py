"""The network: scores each candidate of a slate, and says what the state is worth.

Candidates have no fixed meaning from trial to trial, so there is no fixed output layer: the same small
perceptron scores every candidate from its own features and the context.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoresearch_rl.agent.evidence import SCORE_LIMIT
from autoresearch_rl.agent.features import F_C, F_S, F_T
from autoresearch_rl.errors import ConfigurationError

HIDDEN = 64
HEADS = 4
ATTENTION: tuple[str, ...] = ()  # of "candidates" and "trials"


class ActorCritic(nn.Module):
    """Policy over the K candidates of a slate and value of the state.

    Each candidate is embedded by its own features and the context, then attends to the other candidates and
    to the last trials (Vaswani et al., arXiv 1706.03762, one pre-norm block), so that its score depends on
    what else there is and on what became of its like. Nothing depends on the order of the candidates.

    `pi = (1 - epsilon) softmax(scores) + epsilon / K`: the floor keeps every candidate possible, without
    which best-so-far need not approach the best reachable (PAPER.md, "Theory, stated with care"). The actor's
    last layer starts at zero, so the untrained policy is that of the score it starts from.

    Args:
        epsilon: Share of the uniform distribution in the mixture, in [0, 1).
        generator: Source of the initial weights; the global generator is never used.
        attention: What candidates attend to; nothing makes it a perceptron of each candidate alone.
        hidden: Width; the value head has half of it.
    """

    def __init__(
        self,
        epsilon: float,
        generator: torch.Generator,
        attention: Collection[str] = ATTENTION,
        hidden: int = HIDDEN,
    ) -> None:
        super().__init__()
        if not 0.0 <= epsilon < 1.0:
            raise ConfigurationError(
                f"epsilon is a share of the policy: expected 0 <= epsilon < 1, got {epsilon}."
            )
        self.epsilon, self.attention = epsilon, frozenset(attention)
        self.embed = _perceptron(F_C + F_S, hidden, hidden, generator)
        if self.attention:
            self.remember = _perceptron(F_T, hidden, hidden, generator)
            self.attend = Attention(hidden, generator)
        self.actor = _linear(hidden, 1, 0.0, generator)
        self.critic = nn.Sequential(
            _linear(F_S + hidden, hidden // 2, math.sqrt(2.0), generator),
            nn.Tanh(),
            _linear(hidden // 2, 1, 0.0, generator),
        )

    def forward(
        self, candidate: Tensor, context: Tensor, trials: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities and values of a padded batch; features as `features.Observation` has them.

        Args:
            candidate: `[B, K, F_C]`; the last feature is the score that is known without a network, which
                its own is added to ("residual policy learning", Silver et al., arXiv 1812.06298).
            context: `[B, F_S]`.
            trials: `[B, H, F_T]`; the first feature tells whether there is one.
            mask: bool `[B, K]`, true where there is a candidate; at least one per row.

        Returns:
            `log_probs` `[B, K]` (minus infinity where masked) and `value` `[B]`.
        """
        dtype = self.actor.weight.dtype
        candidate, context, trials = candidate.to(dtype), context.to(dtype), trials.to(dtype)
        embedding = self._embedding(candidate, context, trials, mask)
        scores = cast(Tensor, self.actor(embedding)).squeeze(-1) + SCORE_LIMIT * candidate[..., -1]
        weight = mask.to(embedding.dtype).unsqueeze(-1)
        mean = (embedding * weight).sum(1) / weight.sum(1)
        value = cast(Tensor, self.critic(torch.cat([context, mean], dim=-1))).squeeze(-1)
        return mixture_log_probs(scores, mask, self.epsilon), value

    def _embedding(self, candidate: Tensor, context: Tensor, trials: Tensor, mask: Tensor) -> Tensor:
        spread = context.unsqueeze(1).expand(-1, candidate.shape[1], -1)
        embedding = cast(Tensor, self.embed(torch.cat([candidate, spread], dim=-1)))
        sources, masks = [], []
        if "candidates" in self.attention:
            sources.append(embedding)
            masks.append(mask)
        if "trials" in self.attention:
            sources.append(cast(Tensor, self.remember(trials)))
            masks.append(trials[..., 0] > 0.0)
        if not sources:
            return embedding
        return cast(Tensor, self.attend(embedding, torch.cat(sources, 1), torch.cat(masks, 1)))


class Attention(nn.Module):
    """One pre-norm transformer block: queries attend to memories, then a perceptron; both add to the queries.

    Args:
        width: of both, a multiple of `HEADS`.
        generator: Source of the initial weights; the last layers start small.
    """

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query = _linear(width, width, 1.0, generator)
        self.key = _linear(width, width, 1.0, generator)
        self.memory = _linear(width, width, 1.0, generator)
        self.out = _linear(width, width, 0.1, generator)
        self.feed = nn.Sequential(
            _linear(width, 2 * width, math.sqrt(2.0), generator),
            nn.GELU(),
            _linear(2 * width, width, 0.1, generator),
        )

    def forward(self, x: Tensor, sources: Tensor, mask: Tensor) -> Tensor:
        """`x` `[B, K, W]` attends to `sources` `[B, M, W]` where `mask` `[B, M]` is true; as `x`."""
        normed = self.norms[1](sources)
        parts = self.query(self.norms[0](x)), self.key(normed), self.memory(normed)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        # A memory of nothing, for states without any: a softmax needs one.
        k, v = (functional.pad(part, (0, 0, 0, 1)) for part in (k, v))
        bias = functional.pad(mask, (0, 1), value=True)[:, None, None]
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.out(y.transpose(1, 2).flatten(-2))
        return cast(Tensor, x + self.feed(self.norms[2](x)))


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
