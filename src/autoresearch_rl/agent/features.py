"""What the policy sees: numbers made from the state, all within [-1, 1] whatever the history holds.

The history enters twice. Per candidate, as tallies of what was tried before at the same place (topic and
direction), the other way (opposite direction), and on the same topic. Per state, as a context: the last
`K_HISTORY` trials (PAPER.md, "The research MDP") and a summary of the best ever.

Choices do not see the context, which is for the value of the state; and there are no tallies of operators and
generators, nor what names mean. With all of these a policy does better on the problems that it is trained on,
and worse on others and on real trials (docs/log.md).

Gains are divided by a robust scale of the study itself, so that one network serves tasks whose gains
differ by orders of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from autoresearch_rl.agent import prior
from autoresearch_rl.agent.evidence import SCORE_LIMIT, Evidence
from autoresearch_rl.agent.tallies import (
    FAILURES,
    TALLY_FEATURES,
    UNTRIED,
    Event,
    Memory,
    count,
    recency,
    squash,
)
from autoresearch_rl.records import Candidate, State, Verdict

K_HISTORY = 32
OPERATORS = ("scale", "step", "toggle", "choose")
GENERATORS = ("literals", "grammar", "recipes", "recombination", "compound")

BELIEFS = 5  # the last: `Evidence.score` / SCORE_LIMIT
F_C = len(OPERATORS) + 1 + len(GENERATORS) + 4 + 3 * TALLY_FEATURES + BELIEFS
F_S = 11

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What one decision is made on.

    Attributes:
        candidate: float32 `[K, F_C]`.
        context: float32 `[F_S]`.
    """

    candidate: FloatArray
    context: FloatArray


def encode(evidence: Evidence, slate: Sequence[int]) -> Observation:
    """Arrays for the network, in the order of the slate.

    A compound edit carries the average of what is known about each.

    Args:
        evidence: About the state's candidates.
        slate: Which of them are weighed against each other, K of them.

    Returns:
        `candidate` `[K, F_C]` and `context` `[F_S]`, float32, finite, within [-1, 1].
    """
    rows = [_candidate_row(evidence.candidates[index], evidence.memory) for index in slate]
    known = np.array(rows, dtype=np.float64).reshape(len(rows), F_C - BELIEFS)
    return Observation(
        np.hstack([known, _beliefs(evidence, slate)]).astype(np.float32),
        np.array(_context(evidence.state, evidence.memory, evidence.scale), dtype=np.float32),
    )


def _beliefs(evidence: Evidence, slate: Sequence[int]) -> FloatArray:
    """What the surrogate and a researcher expect, `[K, BELIEFS]`."""
    rows = np.array(slate, dtype=np.int64)
    mean, sd = evidence.mean[rows] / evidence.scale, evidence.sd[rows] / evidence.scale
    columns = [
        np.sign(mean) * np.minimum(1.0, np.log1p(np.abs(mean)) / 4.0),  # as `squash`
        np.minimum(1.0, np.log1p(sd) / 4.0),
        2.0 * ndtr(mean / np.maximum(sd, 1e-9)) - 1.0,
        evidence.odds[rows] / prior.LIMIT,
        evidence.score[rows] / SCORE_LIMIT,
    ]
    return np.stack(columns, axis=1).reshape(len(rows), BELIEFS)


def _candidate_row(candidate: Candidate, memory: Memory) -> list[float]:
    now = len(memory.events)
    places = [(topic, single.direction) for single in candidate.singles for topic in single.topics]
    # Without a direction there is no opposite; the same tally twice would look like evidence.
    other = [memory.at.get((t, -direction), UNTRIED) if direction else UNTRIED for t, direction in places]
    return [
        *_kind(candidate),
        *_mean([memory.at.get(place, UNTRIED).row(now) for place in places]),
        *_mean([tally.row(now) for tally in other]),
        *_mean([memory.topic.get(topic, UNTRIED).row(now) for topic, _ in places]),
    ]


def _kind(candidate: Candidate) -> list[float]:
    one_hot = [float(candidate.operator == name) for name in OPERATORS]
    size = abs(candidate.magnitude)
    return [
        *one_hot,
        1.0 - sum(one_hot),
        *(float(candidate.generator == name) for name in GENERATORS),
        float(candidate.direction < 0),
        float(candidate.direction > 0),
        0.0 if math.isnan(size) else size / (1.0 + size) if math.isfinite(size) else 1.0,
        1.0 - 1.0 / max(1, len(candidate.topics)),
    ]


def _mean(rows: Iterable[list[float]]) -> list[float]:
    columns = list(zip(*rows, strict=True))
    return [sum(column) / len(column) for column in columns] if columns else [0.0] * TALLY_FEATURES


def _context(state: State, memory: Memory, scale: float) -> list[float]:
    events, recent = memory.events, memory.events[-K_HISTORY:]
    effects = [e.effect for e in recent if e.effect is not None]
    return [
        min(1.0, math.log1p(len(events)) / 8.0),
        squash(state.baseline_bpb - state.incumbent_bpb, scale),
        count(len(events) - memory.changed),
        _share([e.led for e in recent]),
        _share([e.verdict in FAILURES for e in recent]),
        _share([e.verdict is Verdict.PRUNED for e in recent]),
        sum(effects) / max(1, len(effects)),
        max(effects, default=0.0),
        *_best_ever(events),
        min(1.0, max(0.0, state.noise / scale)) if math.isfinite(state.noise) else 1.0,
    ]


def _best_ever(events: Sequence[Event]) -> tuple[float, float]:
    """The best effect of all and how recent it is; zeros when nothing was measured."""
    measured = [(e.effect, index) for index, e in enumerate(events) if e.effect is not None]
    if not measured:
        return 0.0, 0.0
    effect, index = max(measured)
    return effect, recency(len(events) - 1 - index)


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / max(1, len(flags))
