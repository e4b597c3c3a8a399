"""Runs in processes of their own: as many at a time as wanted, none of which outlives the bench."""

from __future__ import annotations

import ctypes
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Final

from autoresearch_rl.errors import AutoResearchError
from autoresearch_rl.interface.policy_bench.runs import Key, Run

Say = Callable[[str], None]
Work = Callable[[Key, Say], Run]
"""Makes a run, and tells how it gets on."""

PR_SET_PDEATHSIG: Final = 1
_SPAWN: Final = get_context("spawn")  # a fork of a process that has used torch may hang


class Failed(str):
    """Why there is no run, in one line."""


def spread(
    work: Work, jobs: Sequence[Key], processes: int, say: Say
) -> Generator[tuple[Key, Run | Failed], None, None]:
    """Does the jobs, begun in their order, and yields each as it ends.

    When the caller stops, by an exception too, all processes are killed: what they run can be gone on with.

    Args:
        work: done in the other processes, so it must pickle; it may raise `AutoResearchError`.
        processes: how many jobs at a time.
        say: is told what the jobs tell.
    """
    waiting = deque(jobs)
    workers: list[_Worker] = []
    try:
        while True:
            while waiting and len(workers) < processes:
                workers.append(_Worker(work))
            for worker in workers:
                if worker.job is None and waiting:
                    worker.begin(waiting.popleft())
            busy = {worker.pipe: worker for worker in workers if worker.job is not None}
            if not busy:
                return
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                worker = busy[pipe]
                told, job = worker.hear(), worker.job
                assert job is not None
                if isinstance(told, Run | Failed):
                    worker.job = None
                    if not worker.lives:
                        workers.remove(worker)
                    yield job, told
                else:
                    say(told)
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """One process, which does one job after another."""

    def __init__(self, work: Work) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.job: Key | None = None
        self.lives = True
        self._process = _SPAWN.Process(target=_serve, args=(theirs, work), daemon=True)
        resource_tracker.ensure_running()  # it would let SIGINT through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until it can stand a Ctrl-C
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that we hear when it dies

    def begin(self, job: Key) -> None:
        """Gives it a job."""
        self.job = job
        try:
            self.pipe.send(job)
        except OSError:  # dead already: `hear` says so
            self.lives = False

    def hear(self) -> Run | Failed | str:
        """The next thing that it tells."""
        try:
            told = self.pipe.recv()
            assert isinstance(told, Run | str)
            return told
        except (EOFError, OSError):
            self.end()
            return Failed(f"its process ended with exit code {self._process.exitcode}")

    def end(self) -> None:
        """Kills it; its sandboxes die with it."""
        self.lives = False
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: Connection, work: Work) -> None:
    """What a worker does."""
    _die_with_parent()
    # The bench hears Ctrl-C and ends us. A handler, unlike SIG_IGN, is not inherited by sandboxes.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    while True:
        try:
            job: Key = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(work(job, pipe.send))
        except AutoResearchError as error:
            pipe.send(Failed(" ".join(str(error).split())))


def _die_with_parent() -> None:
    """The kernel kills this process when the bench dies, even if it is killed itself."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died just before
        os._exit(1)
