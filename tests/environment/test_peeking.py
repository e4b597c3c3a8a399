"""How often peeking is caught, by simulated models that answer at once: a thousand rows, many evaluations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoresearch_rl.environment.evaluator import Ask, Rows, assess, leak_bound
from autoresearch_rl.environment.serving import FloatArray, IntArray, Refused, Use

ROWS, LENGTH, VOCABULARY = 1000, 32, 64
EVALUATIONS = 100
RANDOM = np.random.default_rng(0)
# Text of a kind: a few tokens are frequent, and what follows depends on what came before.
TABLE = RANDOM.normal(size=(VOCABULARY, VOCABULARY)).astype(np.float32) * 2.0


def text() -> IntArray:
    chances = np.exp(TABLE) / np.exp(TABLE).sum(axis=1, keepdims=True)
    tokens = np.empty((ROWS, LENGTH + 1), dtype=np.int64)
    tokens[:, 0] = RANDOM.integers(VOCABULARY, size=ROWS)
    for t in range(LENGTH):
        spots = RANDOM.random(ROWS)[:, None]
        tokens[:, t + 1] = (chances[tokens[:, t]].cumsum(axis=1) < spots).sum(axis=1).clip(0, VOCABULARY - 1)
    return tokens


TEXT = Rows(text(), np.ones(VOCABULARY, dtype=np.int64))


def peeker(share: float, strength: float, salt: int) -> Ask:
    """Knows the true chances, and adds `strength` to the next token's logit in a `share` of the rows.

    The rows are chosen by their first two tokens, so that it peeks in the challenges, too.
    """

    def ask(inputs: IntArray, use: Use) -> None:
        lots = np.random.default_rng(salt).random((VOCABULARY, VOCABULARY))
        chosen = lots[inputs[:, 0], inputs[:, 1]] < share
        for start in range(0, len(inputs), 250):
            span = slice(start, min(start + 250, len(inputs)))
            use(span, _peek(inputs[span], chosen[span], strength))

    return ask


def _peek(inputs: IntArray, chosen: IntArray, strength: float) -> FloatArray:
    logits = TABLE[inputs].copy()
    rows, positions = np.nonzero(np.broadcast_to(chosen[:, None], (len(inputs), LENGTH - 1)))
    logits[rows, positions, inputs[rows, positions + 1]] += strength
    return logits


def caught(share: float, strength: float, bar: float) -> tuple[int, int]:
    """Of the evaluations in which at least one row peeks: how many were refused, and how many there are."""
    refused = total = salt = 0
    while total < EVALUATIONS:
        salt += 1
        lots = np.random.default_rng(salt).random((VOCABULARY, VOCABULARY))
        if not (lots[TEXT.inputs[:, 0], TEXT.inputs[:, 1]] < share).any():
            continue
        total += 1
        try:
            assess(TEXT, peeker(share, strength, salt), seed=salt, bar=bar)
        except Refused:
            refused += 1
    return refused, total


@pytest.mark.parametrize("strength", [20.0, 3.0, 0.5])
def test_peeking_in_one_row_of_500_is_caught_before_it_leads(strength: float) -> None:
    refused, total = caught(0.002, strength, bar=math.inf)
    assert refused >= 0.95 * total, f"{refused} of {total}"


def test_even_a_score_that_cannot_lead_is_caught_when_it_peeks_hard() -> None:
    refused, total = caught(0.002, 20.0, bar=0.0)
    assert refused >= 0.95 * total, f"{refused} of {total}"


def test_an_honest_model_is_never_refused_and_gets_its_entropy() -> None:
    for seed in range(EVALUATIONS):
        evaluation = assess(TEXT, peeker(0.0, 20.0, seed), seed=seed, bar=math.inf if seed % 2 else 0.0)
        assert evaluation.challenges == (ROWS if seed % 2 else 64)
        assert evaluation.largest_difference == 0.0
        assert evaluation.bpb == pytest.approx(evaluation_of_the_truth(), abs=1e-6)


def evaluation_of_the_truth() -> float:
    chances = np.exp(TABLE.astype(np.float64))
    chances /= chances.sum(axis=1, keepdims=True)
    return float(-np.log2(chances[TEXT.inputs, TEXT.targets]).mean())


def test_the_bound_of_the_leak_is_the_rule_of_three() -> None:
    assert leak_bound(1000) == pytest.approx(3 / 500)
    assert leak_bound(0) == 1.0
