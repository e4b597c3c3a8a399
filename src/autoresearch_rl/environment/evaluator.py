"""The trusted score: bits per byte, computed here from logits that two sandboxes serve.

Server A answers the real rows. Server B, started fresh and without any way to know what A saw, answers rows
with the same beginnings, other endings, other neighbours and another order. What a model says about the next
token must not change when only what follows changes: the score hangs on nothing but the log-probabilities of
the targets, so they are what is compared (DESIGN, "Why the score can be trusted", 2-4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autoresearch_rl.environment.sandbox import Backend
from autoresearch_rl.environment.serving import FloatArray, IntArray, Refused, Trained, Use, serve
from autoresearch_rl.environment.task import Task

TOLERANCE = 1e-4  # nats of a log-probability: room for fp32 rounding between two batch orders
QUICK_SHARE, QUICK_LEAST = 16, 64  # a score that cannot lead is challenged on one row in 16, at least 64
CHUNK = 1 << 18  # logits that are reduced at a time: they stay in the processor's cache

Ask = Callable[[IntArray, Use], None]  # rows int[N, T] -> their answers, span by span


@dataclass(frozen=True)
class Rows:
    """What a split is scored on.

    Args:
        tokens: int[N, T + 1]; inputs are `[:, :-1]`, targets `[:, 1:]`.
        token_bytes: int[V], the raw bytes that each token stands for; 0 for marks that are no text.
    """

    tokens: IntArray
    token_bytes: IntArray

    @property
    def inputs(self) -> IntArray:
        """int[N, T]."""
        return self.tokens[:, :-1]

    @property
    def targets(self) -> IntArray:
        """int[N, T]."""
        return self.tokens[:, 1:]

    def bits_per_byte(self, nats: FloatArray) -> float:
        """Of the cross-entropies of all targets, float[N, T] in nats. Marks that are no text cost nothing."""
        sizes = self.token_bytes[self.targets]
        return float(nats[sizes > 0].sum(dtype=np.float64) / (math.log(2) * sizes.sum()))


@dataclass(frozen=True)
class Evaluation:
    """A trusted score."""

    bpb: float
    challenges: int  # rows that were asked again with another ending
    largest_difference: float  # of a target's log-probability in nats, between the two servers


def leak_bound(challenges: int) -> float:
    """With 95 % confidence at most this share of the positions can look ahead: none of m was seen to.

    The rule of three (Hanley and Lippman-Hand 1983), for the half of the challenges that is drawn by lot.
    """
    return min(1.0, 3 / max(1, challenges // 2))


def evaluate(
    task: Task, backend: Backend, model: Trained, rows: Rows, seed: int, bar: float = math.inf
) -> Evaluation:
    """Scores a trained model.

    Args:
        seed: of the challenges; the script must not know it.
        bar: a score below it, in bits per byte, may come to lead: every row is then challenged.

    Raises:
        Refused: the model broke a rule or cannot be served.
        SandboxError: a sandbox could not be started or killed.
    """

    def ask(inputs: IntArray, use: Use) -> None:
        serve(task, backend, model, inputs, use)

    return assess(rows, ask, seed, bar)


def assess(rows: Rows, ask: Ask, seed: int, bar: float = math.inf) -> Evaluation:
    """The score of whatever answers.

    Args:
        ask: has rows answered by something that knows nothing of the rows that were asked before.
        seed, bar: as for `evaluate`.

    Raises:
        Refused: the answers depend on more than the past of each row.
    """
    random, nats = np.random.default_rng(seed), np.empty(rows.targets.shape)

    def score(span: slice, logits: FloatArray) -> None:
        nats[span] = position_nats(logits, rows.targets[span])

    ask(rows.inputs, score)
    bpb, gains = rows.bits_per_byte(nats), surprise(rows) - nats
    count = len(nats) if bpb < bar else min(len(nats), max(QUICK_LEAST, len(nats) // QUICK_SHARE))
    picked, cuts = draw_challenges(gains, count, random)
    challenge = Challenge(rows.targets[picked], nats[picked], cuts)
    ask(perturb(rows.inputs, picked, cuts, random), challenge.compare)
    return Evaluation(bpb, count, challenge.largest)


def position_nats(logits: FloatArray, targets: IntArray) -> FloatArray:
    """Cross-entropy of each position in nats: float64[B, T] from float32[B, T, V] and int[B, T].

    The log-softmax runs over the whole vocabulary, so unnormalised scores gain nothing.
    """
    flat, chosen = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1).astype(np.int64)
    nats = np.empty(len(flat))
    step = max(1, CHUNK // flat.shape[-1])
    for start in range(0, len(flat), step):
        part, target = flat[start : start + step], chosen[start : start + step]
        top = part.max(axis=-1, keepdims=True)
        with np.errstate(over="ignore"):  # e to the minus infinity is a fine zero
            mass = np.exp(part - top).sum(axis=-1, dtype=np.float64)
        of_target = np.take_along_axis(part, target[:, None], axis=-1)
        # In double precision: two finite logits may be further apart than a float can tell.
        nats[start : start + step] = np.log(mass) + np.subtract(top, of_target, dtype=np.float64)[:, 0]
    return nats.reshape(targets.shape)


def surprise(rows: Rows) -> FloatArray:
    """Nats of each target, float[N, T], for somebody who knows no more than how often each token occurs."""
    counts = np.bincount(rows.targets.reshape(-1), minlength=len(rows.token_bytes))
    frequencies = np.maximum(counts, 1) / counts.sum()
    return np.asarray(-np.log(frequencies)[rows.targets])


def draw_challenges(gains: FloatArray, count: int, random: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Which rows are asked again, and where their new endings begin.

    A model that peeks is caught at the last position before the cut. Half of the challenges are drawn by lot,
    row and cut. The others take the rows where the model gains most, and cut in proportion to what it gains:
    the larger the share of its score that comes from peeking, the more likely they show it.

    Args:
        gains: float[N, T], nats by which the model beats `surprise`.

    Returns:
        int[count] rows without repetition, in random order, and int[count] cuts, 1 <= cut < T.
    """
    shuffled, length = random.permutation(len(gains)), gains.shape[1]
    lot, others = np.split(shuffled, [count - count // 2])
    best = others[np.argsort(-gains[others].sum(axis=1))][: count // 2]
    weights = np.maximum(gains[best, :-1], 1e-9).cumsum(axis=1)
    spots = random.random((len(best), 1)) * weights[:, -1:]
    cuts = np.concatenate([random.integers(1, length, len(lot)), (weights < spots).sum(axis=1) + 1])
    order = random.permutation(count)
    return np.concatenate([lot, best])[order], cuts[order]


@dataclass
class Challenge:
    """Compares the answers before the cuts with what was scored.

    Args:
        targets, nats: int and float[n, T], what server A was scored on with the old endings.
        cuts: int[n], where the new endings begin.
        largest: difference of a target's nats so far.
    """

    targets: IntArray
    nats: FloatArray
    cuts: IntArray
    largest: float = 0.0

    def compare(self, span: slice, logits: FloatArray) -> None:
        """Raises `Refused` when an answer has changed before its cut."""
        cuts = self.cuts[span]
        difference = np.abs(position_nats(logits, self.targets[span]) - self.nats[span])
        difference[np.arange(difference.shape[1]) >= cuts[:, None]] = 0.0
        self.largest = max(self.largest, float(difference.max()))
        if difference.max() > TOLERANCE:
            cut = cuts[difference.max(axis=1).argmax()]
            raise Refused(
                f"the model's answer for the first {cut} tokens of a row changed by {difference.max():.2g} "
                "when only what follows them did: it looks ahead, remembers, or is not deterministic"
            )


def perturb(inputs: IntArray, picked: IntArray, cuts: IntArray, random: np.random.Generator) -> IntArray:
    """Rows whose beginnings are kept and whose endings come from other rows: natural text, nothing to detect.

    Args:
        inputs: int[N, T].
        picked: int[n], the rows to be challenged.
        cuts: int[n]: tokens before `cut` are the original's, the one at `cut` differs.

    Returns:
        int[n, T].
    """
    changed = inputs[picked].astype(np.int64)
    for row, cut in zip(changed, cuts, strict=True):
        donors = inputs[random.integers(len(inputs), size=64)]
        differing = donors[donors[:, cut] != row[cut]]
        row[cut:] = differing[0, cut:] if len(differing) else row[cut:] ^ 1
    return np.asarray(changed)
