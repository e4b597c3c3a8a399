"""Runs of the policy bench that nobody has made."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_rl.interface.policy_bench.runs import Run


def made_run(
    policy: str,
    seed: int,
    curve: Sequence[float],
    seconds: Sequence[float] | None = None,
    final: Sequence[float | None] = (),
    ended: str = "",
) -> Run:
    """A run of suite `made`, with a budget of 2 s."""
    spent = tuple(seconds or (2.0 * (k + 1) for k in range(len(curve))))
    first = tuple(4.0 for _ in final)
    return Run(
        "made",
        policy,
        seed,
        2.0,
        4.0,
        tuple(curve),
        spent,
        0.9,
        0.5,
        ended,
        tuple(final),
        first,
        trials=len(curve),
    )
