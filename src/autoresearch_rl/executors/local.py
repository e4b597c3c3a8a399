"""Runs trials on this machine, a thread each; the work is done by their sandboxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Self

from autoresearch_rl.records import Outcome, Proposal

RunProposal = Callable[[Proposal], Outcome]


class LocalExecutor:
    """A pool of `workers` that run proposals. Use as a context manager: leaving it waits for what runs."""

    def __init__(self, run: RunProposal, workers: int) -> None:
        self._run, self._workers = run, workers
        # Its threads live as long as the pool: sandboxes die with the thread that started them.
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="trial")
        self._running: dict[Future[Outcome], Proposal] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)

    @property
    def running(self) -> tuple[Proposal, ...]:
        """What has been submitted and not yet collected."""
        return tuple(self._running.values())

    @property
    def has_room(self) -> bool:
        """Whether another proposal would start at once."""
        return len(self._running) < self._workers

    def submit(self, proposal: Proposal) -> None:
        """Starts a proposal."""
        self._running[self._pool.submit(self._run, proposal)] = proposal

    def collect(self, timeout: float) -> Iterator[tuple[Proposal, Outcome]]:
        """Yields what has finished, first submitted first; waits at most `timeout` seconds for one.

        Raises:
            AutoResearchError: what the run raised (not what the script did: that is an outcome).
        """
        done, _ = wait(self._running, timeout, FIRST_COMPLETED)
        for future in [future for future in self._running if future in done]:
            yield self._running.pop(future), future.result()
