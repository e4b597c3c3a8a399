"""The reward of one trial, in bits per byte (PAPER.md, "The research MDP"), and what PPO learns from instead.

The paper prints `r = (bpb_trial - bpb_incumbent) + lambda_eff * eta + xi / (1 + d_edit)`. Two slips, and how
we read them: the improvement is `bpb_incumbent - bpb_trial` (as printed it punishes progress), and novelty
grows with the distance from what was tried (as printed it pays for nearness), for evaluated trials only.
Penalties follow a running quantile of past losses, since one huge fixed penalty poisons learning.

It is recorded with each trial, and Thompson sampling learns from it. PPO learns from `progress`: paid by the
reward it risked less, and gained less (docs/log.md, "What online PPO was paid for").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autoresearch_rl.agent.scripts import finite
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import Candidate, Trial, TrialKind, Verdict

LAMBDA_EFF = 0.01  # bits per byte for the whole budget saved
XI = 0.005  # bits per byte for an edit at a site never tried
LOSS_QUANTILE = 0.75
DEFAULT_LOSS = 0.1  # bits per byte, until MIN_LOSSES losses are known
MIN_LOSSES = 4
LARGEST = 6.0  # ordinary effects: beyond this, better is not better


def reward(
    verdict: Verdict,
    gain: float | None,
    train_seconds: float,
    budget_seconds: float,
    novelty: float,
    past_losses: Sequence[float],
    *,
    lambda_eff: float = LAMBDA_EFF,
    xi: float = XI,
) -> float:
    """Improvement + lambda_eff * efficiency + xi * novelty, or a penalty for a trial without a measurement.

    With q the waste penalty: an evaluated trial gets `max(gain, -q) + lambda_eff * eta + xi * novelty`, a
    pruned, timed-out, crashed or invalid one `-q` (the paper's p_waste), a rejected one `-q / 2` (p_syntax:
    it cost no training). The paper's sign of the improvement is a slip; ours is positive for progress.

    Args:
        verdict: What became of the trial.
        gain: `bpb_incumbent - bpb_trial`, bits per byte; finite for evaluated verdicts, else ignored.
        train_seconds: What training took, on the task's clock.
        budget_seconds: What it might have taken, positive.
        novelty: In [0, 1], from `novelty`.
        past_losses: From `losses`, before this trial.
        lambda_eff: Weight of the share of the budget saved, for trials at least as good as the incumbent.
        xi: Weight of novelty.

    Returns:
        Bits per byte, in `[-q, gain + lambda_eff + xi]`.

    Raises:
        ConfigurationError: An evaluated trial without a finite gain.
    """
    worst = waste_penalty(past_losses)
    if verdict is Verdict.REJECTED:
        return -worst / 2.0
    if not verdict.evaluated:
        return -worst
    if gain is None or not math.isfinite(gain):
        raise ConfigurationError(
            f"a trial judged {verdict.value!r} needs a finite gain in bits per byte, got {gain}."
        )
    return max(gain, -worst) + lambda_eff * efficiency(gain, train_seconds, budget_seconds) + xi * novelty


def progress(gain: float | None, noise: float, scale: float) -> float:
    """By how much a trial moved its study on, in ordinary effects: the reward of online PPO.

    A study keeps the best, so a trial that loses costs one trial, however much it loses, and pretraining pays
    for improvements alone. A measured gain is what is left of it beyond noise: soft thresholding (Donoho
    1995), for most gains of that size are none.

    Args:
        gain: `bpb_incumbent - bpb_trial`, bits per byte; None where nothing was measured.
        noise: Standard deviation of one measurement, bits per byte; infinite while it is unknown.
        scale: Size of an ordinary effect when it was chosen, bits per byte, positive.

    Returns:
        In `[0, LARGEST]`; 0 for what was not measured.
    """
    if gain is None or not gain > noise:
        return 0.0
    return min(LARGEST, (gain - noise) / scale)


def efficiency(gain: float, train_seconds: float, budget_seconds: float) -> float:
    """The paper's eta: share of the budget saved, in [0, 1]; 0 for a trial worse than the incumbent.

    Without that condition the fastest way to a reward would be not to train.
    """
    return min(1.0, max(0.0, 1.0 - train_seconds / budget_seconds)) if gain >= 0.0 else 0.0


def waste_penalty(past_losses: Sequence[float]) -> float:
    """The 0.75 quantile of past losses, bits per byte; `DEFAULT_LOSS` while there are fewer than 4."""
    if len(past_losses) < MIN_LOSSES:
        return DEFAULT_LOSS
    return float(np.quantile(past_losses, LOSS_QUANTILE))


def losses(history: Sequence[Trial]) -> tuple[float, ...]:
    """How much worse than the incumbent the evaluated, explored trials were that were worse; all positive."""
    gains = (t.gain for t in history if t.kind is TrialKind.EXPLORE and t.verdict.evaluated)
    return tuple(-gain for gain in gains if gain is not None and math.isfinite(gain) and gain < 0.0)


def novelty(candidate: Candidate, history: Sequence[Trial]) -> float:
    """How far `candidate` is from anything explored before, in [0, 1].

    Per change `1 - 1 / (1 + d)`, the mirror image of the paper's `1 / (1 + d_edit)`, where d is the distance
    to the nearest value tried at the same site: `|ln(new / tried)|` for numbers of one sign, else 0 for the
    same text and 1 for another; a site never tried scores 1. A structural edit is new once. The mean over all
    that the candidate changes.

    Args:
        candidate: What is about to be tried.
        history: Trials before it; whatever became of them, they count as tried.
    """
    tried = [
        value
        for t in history
        if t.kind is TrialKind.EXPLORE and t.candidate
        for value in _values(t.candidate)
    ]
    scores = [_novelty_at(topic, new, tried) for topic, new in _values(candidate)]
    return sum(scores) / len(scores) if scores else 0.0


def _values(candidate: Candidate) -> list[tuple[str, str]]:
    """What is changed to what, by topic."""
    values = []
    for single in candidate.singles:
        if single.topic:
            values.append((single.topic, ""))
        else:
            values += [(change.site, change.new) for change in single.edit.changes]
    return values


def _novelty_at(topic: str, new: str, tried: Sequence[tuple[str, str]]) -> float:
    nearest = min((_distance(new, value) for place, value in tried if place == topic), default=math.inf)
    return 1.0 - 1.0 / (1.0 + nearest)


def _distance(new: str, tried: str) -> float:
    a, b = finite(new), finite(tried)
    if new == tried or (a is not None and a == b):
        return 0.0
    if not a or not b or (a > 0.0) != (b > 0.0):
        return 1.0
    return abs(math.log(abs(a)) - math.log(abs(b)))
