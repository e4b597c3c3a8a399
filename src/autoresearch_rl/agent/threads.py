"""How many processor threads the agent's own arithmetic takes: one."""

from __future__ import annotations

import sys

import threadpoolctl


def one_thread() -> None:
    """Matrices of a few hundred rows are faster on one thread, and the other cores belong to the trials.

    On a busy machine of two cores a Cholesky factorisation of 150 rows took 50 ms on two threads, which wait
    for each other by spinning, and 0.4 ms on one.
    """
    threadpoolctl.threadpool_limits(1, user_api="blas")
    if torch := sys.modules.get("torch"):  # there if the policy needs it
        torch.set_num_threads(1)
