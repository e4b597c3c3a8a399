"""What kind of problem one is, measured on the truth about its single edits."""

from __future__ import annotations

import math

import numpy as np

from autoresearch_rl.simulation.problem import Problem

LARGE = 400  # candidates
SPARSE = 0.05  # share of the candidates
COUNTS = 0.002  # share of the headroom that an edit has to gain to be one that helps
NOISY = 0.5  # standard deviation of one measurement, in good single edits

TAGS = ("sparse", "noisy", "large")


def tags_of(problem: Problem, headroom: float) -> tuple[str, ...]:
    """Which of `TAGS` a problem has.

    Args:
        problem: is looked at where it begins.
        headroom: what can be gained, bits per byte.
    """
    offered = problem.candidates(problem.baseline)
    start = problem.truth(problem.baseline)
    assert start is not None
    truths = [problem.truth(problem.apply(problem.baseline, candidate.edit)) for candidate in offered]
    gains = [start - bpb for bpb in truths if bpb is not None and start - bpb > COUNTS * headroom]
    good = float(np.quantile(gains, 0.75)) if gains else 0.0
    has = {
        "sparse": len(gains) < SPARSE * len(offered),
        "noisy": problem.sigma > NOISY * good if gains else not math.isclose(problem.sigma, 0.0),
        "large": len(offered) >= LARGE,
    }
    return tuple(tag for tag in TAGS if has[tag])
