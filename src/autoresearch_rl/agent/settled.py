"""How a process is set up in which an agent decides: on one thread, with what is loaded left alone."""

from __future__ import annotations

import gc
import sys

import threadpoolctl


def settle() -> None:
    """To be called when everything is loaded, the agent included.

    Matrices of a few hundred rows are faster on one thread, and the other cores belong to the trials. On a
    busy machine of two cores a Cholesky factorisation of 150 rows took 50 ms on two threads, which wait for
    each other by spinning, and 0.4 ms on one.

    Collections of garbage leave out what is there by now, torch's 340,000 objects above all: one decision in
    30 took 200 ms, for looking through them.
    """
    threadpoolctl.threadpool_limits(1, user_api="blas")
    if torch := sys.modules.get("torch"):  # there if the policy needs it
        torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
