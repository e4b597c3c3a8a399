"""The perpetual loop (the paper's Algorithm 1): ask -> run -> tell -> learn -> stop?

One loop for one worker or many: trials are asked for while there is room, and told in the order in which
they finish.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Self, Unpack

from autoresearch_rl.agent.agents import Agent
from autoresearch_rl.agent.reward import losses, novelty, reward
from autoresearch_rl.environment.environment import Environment
from autoresearch_rl.environment.runner import Progress, never
from autoresearch_rl.errors import BaselineFailed
from autoresearch_rl.executors.local import LocalExecutor
from autoresearch_rl.judgement.acceptance import REFERENCE_RUNS, Ledger, judge
from autoresearch_rl.judgement.pruning import Pruner, Watch
from autoresearch_rl.judgement.termination import Limits, Stop, TerminationOracle
from autoresearch_rl.notebook import Notebook
from autoresearch_rl.planner import Planner
from autoresearch_rl.records import (
    Outcome,
    OutcomeStatus,
    Proposal,
    StopReason,
    Trial,
    TrialKind,
    Verdict,
)

SETTLING = (StopReason.TRIALS, StopReason.NO_GAIN, StopReason.CONVERGED, StopReason.EXHAUSTED)
"""Reasons to stop that leave time to measure what leads once more."""

POLL = 0.2  # seconds between two looks at whether to stop

OnTrial = Callable[["Study", Trial], None]
OnProgress = Callable[[Proposal, Progress], None]


def _nobody(_: Proposal, __: Progress) -> None:
    """Watches nothing."""


class Study:
    """One perpetual search on one task. Make it with `create_study`; close it when done."""

    def __init__(
        self,
        notebook: Notebook,
        environment: Environment,
        agent: Agent,
        policy: str,
        seed: int,
        pruner: Pruner | None = None,
        callbacks: Sequence[OnTrial] = (),
    ) -> None:
        self.notebook, self.environment, self.agent = notebook, environment, agent
        self.policy, self.seed, self.callbacks = policy, seed, list(callbacks)
        self.pruner = pruner
        self.on_progress: OnProgress = _nobody
        self.planner = Planner(
            notebook, environment, agent, seed, self._reject, lambda: self._stop is not None
        )
        self._watches: dict[int, Watch] = {}  # of what is in flight
        self._loop_seconds = 0.0
        self._stop: Stop | None = None
        self.resources = ExitStack()  # the lock, the database and the environment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the environment and the database, and lets go of the study."""
        self.resources.close()

    # --- Algorithm 1

    def run(self, *, workers: int = 1, **limits: Unpack[Limits]) -> Stop:
        """Goes on until the oracle, a person or a lack of candidates says why to stop.

        Args:
            workers: trials that run at the same time.
            limits: see `Limits`; without any, a study goes on until it has converged.

        Raises:
            AutoResearchError: the environment, the storage or the baseline failed; nothing told is lost.
        """
        oracle = TerminationOracle(self.notebook.folder, limits)
        began, stop = time.monotonic(), None
        with LocalExecutor(self._experiment, workers) as executor:
            while True:
                now = oracle.should_stop(self.trials, self.ledger, time.monotonic() - began)
                # Settling what is best may bring a gain, or reach another limit. Only this stays as it is:
                exhausted = stop if stop and stop.reason is StopReason.EXHAUSTED else None
                stop = self._stop or now or exhausted
                while executor.has_room and (proposal := self._next(oracle, stop, executor.running)):
                    executor.submit(proposal)
                if not executor.running:
                    if stop:
                        return stop
                    stop = Stop(StopReason.EXHAUSTED, self.planner.exhausted)
                for proposal, outcome in executor.collect(POLL):
                    self.tell(proposal, outcome)

    def ask(self) -> Proposal | None:
        """The next trial to run: reference runs first, then what has to be run again, then a new edit.

        Edits that must not run are recorded as rejected on the way. None when nothing can be asked now.
        """
        with self._own_time():
            proposal = self.planner.next()
            if proposal and self.pruner and proposal.kind is TrialKind.EXPLORE:
                self._watches[proposal.number] = self.pruner.watch(proposal)
            return proposal

    def tell(self, proposal: Proposal, outcome: Outcome) -> Trial:
        """Judges what came of a proposal, lets the agent learn from it, and writes it down.

        Raises:
            BaselineFailed: the script that everything is compared with does not run.
            StorageError: it could not be written down. Nothing of it is stored; open the study again.
        """
        with self._own_time():
            if proposal.kind is TrialKind.REFERENCE and outcome.status is not OutcomeStatus.OK:
                self._require_another_chance(proposal, outcome)
            verdict, reason = self._judge(proposal, outcome)
            return self._record(proposal, verdict, reason, outcome)

    # --- what is known

    @property
    def trials(self) -> Sequence[Trial]:
        """All trials, in order of completion."""
        return self.notebook.trials

    @property
    def ledger(self) -> Ledger:
        """Incumbent, measurements and noise."""
        return self.notebook.ledger

    def stop(self, message: str = "stopped by a person") -> None:
        """Lets the running trials finish and then ends `run`. Safe to call from a signal handler."""
        self._stop = Stop(StopReason.PERSON, message)

    # --- ask

    def _next(
        self, oracle: TerminationOracle, stop: Stop | None, running: Sequence[Proposal]
    ) -> Proposal | None:
        """What to run next; once there is a reason to stop, only what settles which script is best."""
        if stop is None:
            return self.ask() if oracle.has_room(self.trials, running) else None
        unsettled = self.ledger.unsettled if stop.reason in SETTLING and not running else None
        return self.planner.again(unsettled) if unsettled and self._ran_before(unsettled) else None

    def _is_stopping(self) -> bool:
        return self._stop is not None

    def _reject(self, proposal: Proposal, reason: str) -> None:
        self._record(proposal, Verdict.REJECTED, reason, None)

    # --- run and tell

    def _experiment(self, proposal: Proposal) -> Outcome:
        return self.environment.run(
            proposal.source,
            proposal.seed,
            lambda progress: self.on_progress(proposal, progress),
            bar=proposal.bar,
            give_up=self._watches.get(proposal.number, never),
        )

    def _judge(self, proposal: Proposal, outcome: Outcome) -> tuple[Verdict, str]:
        if outcome.val_bpb is None:
            return Verdict(outcome.status.value), outcome.reason
        verdict, reason = judge(self.ledger, proposal.script, proposal.parent, outcome.val_bpb)
        leads = verdict in (Verdict.KEEP, Verdict.PROVISIONAL) and proposal.script != self.ledger.leader
        if leads and outcome.val_bpb >= proposal.bar:
            return Verdict.DISCARD, f"not challenged on every row: the bar was lower when it began; {reason}"
        return verdict, reason

    def _require_another_chance(self, proposal: Proposal, outcome: Outcome) -> None:
        """What is compared with has to run: at first, and twice in a row while its noise is measured."""
        needed = self.planner.runs_of(self.ledger.anchor) <= REFERENCE_RUNS
        if proposal.script == self.ledger.anchor and needed and not self._ran_before(proposal.script):
            raise BaselineFailed(_baseline_message(outcome))

    def _ran_before(self, script: str) -> bool:
        """Whether a script has been measured, and did not fail the last time."""
        runs = [trial for trial in self.trials if trial.script == script]
        return bool(runs) and runs[-1].verdict.evaluated

    def _record(self, proposal: Proposal, verdict: Verdict, reason: str, outcome: Outcome | None) -> Trial:
        trial = self._trial(proposal, verdict, reason, outcome)
        began = time.monotonic()
        if trial.kind is TrialKind.EXPLORE:
            trial = replace(trial, reward=self._reward(trial))
            trial = replace(trial, metrics=self.agent.learn(trial))
        checkpoint = self.agent.checkpoint()
        learning = time.monotonic() - began
        self._loop_seconds -= learning  # it has a phase of its own
        trial = replace(trial, seconds={**trial.seconds, "learn": learning})
        self.notebook.add(trial, outcome, proposal.source, (self.policy, checkpoint))
        if self.pruner:
            self.pruner.record(trial)
        self.planner.done(proposal)
        for callback in self.callbacks:
            callback(self, trial)
        return trial

    def _trial(self, proposal: Proposal, verdict: Verdict, reason: str, outcome: Outcome | None) -> Trial:
        watch = self._watches.pop(proposal.number, None)
        seconds = {"loop": self._take_own_time()}
        if outcome:
            seconds |= {
                "start": outcome.start_seconds,
                "run": outcome.run_seconds,
                "evaluate": outcome.evaluate_seconds,
            }
        return Trial(
            number=proposal.number,
            kind=proposal.kind,
            parent=proposal.parent,
            script=proposal.script,
            edit=proposal.edit,
            candidate=proposal.candidate,
            confirms=proposal.confirms,
            seed=proposal.seed,
            verdict=verdict,
            reason=reason,
            incumbent_bpb=self._standard(proposal),
            val_bpb=outcome.val_bpb if outcome else None,
            reward=0.0,
            train_seconds=outcome.train_seconds if outcome else 0.0,
            wall_seconds=outcome.wall_seconds if outcome else 0.0,
            peak_memory_mb=outcome.peak_memory_mb if outcome else 0.0,
            sandbox=outcome.sandbox if outcome else "",
            started=proposal.started,
            seconds=seconds,
            challenges=outcome.challenges if outcome else 0,
            segment=self.notebook.study.segment,
            probes=outcome.probes if outcome else (),
            stop_at=watch.stop_at if watch else None,
            forecast=watch.forecast if watch else None,
        )

    def _standard(self, proposal: Proposal) -> float | None:
        """What a score is compared with: a new script with its parent, a leader with the incumbent."""
        if proposal.kind is TrialKind.REFERENCE:
            return None
        again = bool(self.ledger.measurements(proposal.script))
        return self.ledger.incumbent_bpb if again else self.ledger.mean(proposal.parent)

    def _reward(self, trial: Trial) -> float:
        if trial.verdict.evaluated and trial.gain is None:  # noise has risen meanwhile: it will be run again
            return 0.0
        return reward(
            trial.verdict,
            trial.gain,
            trial.train_seconds,
            self.environment.task.seconds,
            novelty(trial.candidate, self.trials) if trial.candidate else 0.0,
            losses(self.trials),
        )

    # --- the loop's own time, for `status`

    @contextmanager
    def _own_time(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._loop_seconds += time.monotonic() - began

    def _take_own_time(self) -> float:
        """Seconds of asking, judging and writing since the last trial was recorded."""
        seconds, self._loop_seconds = self._loop_seconds, 0.0
        return seconds


def _baseline_message(outcome: Outcome) -> str:
    tail = "\n".join(outcome.log.strip().splitlines()[-15:])
    message = f"the baseline script does not run ({outcome.status}): {outcome.reason}"
    return f"{message}\nthe last lines of its log:\n{tail}" if tail else message
