"""The perpetual loop (the paper's Algorithm 1): ask -> run -> tell -> learn -> stop?

One loop for one worker or many: trials are asked for while there is room, and told in the order in which
they finish.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Self

from autoresearch_rl.agent.agents import Agent
from autoresearch_rl.agent.reward import losses, novelty, reward
from autoresearch_rl.environment.frozen import FrozenEnvironment
from autoresearch_rl.environment.runner import Progress
from autoresearch_rl.errors import BaselineFailed, EditError
from autoresearch_rl.executors.local import LocalExecutor
from autoresearch_rl.judgement.acceptance import Ledger, Pending, judge
from autoresearch_rl.judgement.termination import Stop, TerminationOracle
from autoresearch_rl.notebook import Notebook
from autoresearch_rl.records import (
    Candidate,
    Edit,
    Outcome,
    OutcomeStatus,
    Proposal,
    State,
    StopReason,
    Trial,
    TrialKind,
    Verdict,
)
from autoresearch_rl.target.edits import apply, validate
from autoresearch_rl.target.generators import Literals
from autoresearch_rl.target.script import Script

BASELINE_RUNS = 3  # different seeds: the first noise floor
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
        environment: FrozenEnvironment,
        agent: Agent,
        policy: str,
        seed: int,
        callbacks: Sequence[OnTrial] = (),
    ) -> None:
        self.notebook, self.environment, self.agent = notebook, environment, agent
        self.policy, self.seed, self.callbacks = policy, seed, list(callbacks)
        self.on_progress: OnProgress = _nobody
        self._generator = Literals()
        self._in_flight: dict[int, Proposal] = {}
        self._loop_seconds = 0.0
        self._stop: Stop | None = None
        self.resources = ExitStack()  # the lock, the database and the environment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends waiting sandboxes, closes the database and lets go of the study."""
        self.resources.close()

    # --- Algorithm 1

    def run(
        self,
        *,
        trials: int | None = None,
        hours: float | None = None,
        train_seconds: float | None = None,
        patience: int | None = None,
        workers: int = 1,
    ) -> Stop:
        """Goes on until the oracle, a person or a lack of candidates says why to stop.

        Args:
            trials, hours, train_seconds, patience: see `TerminationOracle`; None is for ever.
            workers: trials that run at the same time.

        Raises:
            AutoResearchError: the environment, the storage or the baseline failed; nothing told is lost.
        """
        oracle = TerminationOracle(
            folder=self.notebook.folder,
            trials=trials,
            hours=hours,
            train_seconds=train_seconds,
            patience=patience,
        )
        began, stop = time.monotonic(), None
        with LocalExecutor(self._experiment, workers) as executor:
            while True:
                stop = stop or self._stop or oracle.should_stop(self.trials, time.monotonic() - began)
                while not stop and executor.has_room and oracle.has_room(self.trials, executor.running):
                    proposal = self.ask()
                    if proposal is None:
                        break
                    executor.submit(proposal)
                if not executor.running:
                    return stop or Stop(StopReason.EXHAUSTED, "every edit of the incumbent has been tried")
                for proposal, outcome in executor.collect(POLL):
                    self.tell(proposal, outcome)

    def ask(self) -> Proposal | None:
        """The next trial to run: the baseline first, then what waits for confirmation, then a new edit.

        Edits that must not run are recorded as rejected on the way. None when nothing can be asked now.
        """
        with self._own_time():
            if baseline := self._ask_baseline():
                return baseline
            if len(self.ledger.measurements(self.ledger.baseline)) < BASELINE_RUNS:
                return None  # still running
            waiting = {proposal.confirms for proposal in self._in_flight.values()}
            for pending in self.ledger.pending:
                if pending.trial_number not in waiting and (proposal := self._ask_confirmation(pending)):
                    return proposal
            return self._ask_agent()

    def tell(self, proposal: Proposal, outcome: Outcome) -> Trial:
        """Judges what came of a proposal, lets the agent learn from it, and writes it down.

        Raises:
            BaselineFailed: the script that everything is compared with does not run.
            StorageError: it could not be written down. Nothing of it is stored; open the study again.
        """
        with self._own_time():
            if proposal.kind is TrialKind.BASELINE and outcome.status is not OutcomeStatus.OK:
                raise BaselineFailed(_baseline_message(outcome))
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

    def _ask_baseline(self) -> Proposal | None:
        baseline = self.ledger.baseline
        asked = sum(proposal.kind is TrialKind.BASELINE for proposal in self._in_flight.values())
        if len(self.ledger.measurements(baseline)) + asked >= BASELINE_RUNS:
            return None
        return self._propose(TrialKind.BASELINE, baseline, self.notebook.source(baseline), Edit(()))

    def _ask_confirmation(self, pending: Pending) -> Proposal | None:
        """Runs a promising script again; if the incumbent has moved, its edit on the new one."""
        trial = self.notebook.trial(pending.trial_number)
        if not pending.rebase:
            source = self.notebook.source(pending.script)
            return self._propose(TrialKind.CONFIRM, trial.parent, source, trial.edit, confirms=trial.number)
        incumbent = self.ledger.incumbent
        source = self.notebook.source(incumbent)
        try:
            edited, problem = apply(Script(source), trial.edit).source, None
        except EditError as error:
            edited, problem = source, str(error)
        proposal = self._propose(TrialKind.CONFIRM, incumbent, edited, trial.edit, confirms=trial.number)
        if problem is None:
            return proposal
        self._record(proposal, Verdict.REJECTED, f"does not apply to the new incumbent: {problem}", None)
        return None

    def _ask_agent(self) -> Proposal | None:
        incumbent = self.ledger.incumbent
        script = Script(self.notebook.source(incumbent))
        while state := self._observe(script):
            candidate = self.agent.propose(state)
            source = apply(script, candidate.edit).source
            proposal = self._propose(
                TrialKind.EXPLORE, incumbent, source, candidate.edit, candidate=candidate, bar=self.ledger.bar
            )
            problem = validate(source, self.environment.task.script_bytes)
            if problem is None:
                return proposal
            self._record(proposal, Verdict.REJECTED, problem, None)
        return None

    def _observe(self, script: Script) -> State | None:
        """The paper's s_t = (c_t, h_t, d_t) and the candidates; None when no candidate is left."""
        running = {proposal.script for proposal in self._in_flight.values()}
        candidates = self._generator.candidates(script, self.notebook.tried | running)
        incumbent_bpb = self.ledger.incumbent_bpb
        baseline_bpb = self.ledger.mean(self.ledger.baseline)
        if not candidates or incumbent_bpb is None or baseline_bpb is None:
            return None
        return State(
            number=self._next_number(),
            script=script.source,
            incumbent_bpb=incumbent_bpb,
            baseline_bpb=baseline_bpb,
            noise=self.ledger.noise.sd,
            history=tuple(self.trials),
            candidates=tuple(candidates),
        )

    def _next_number(self) -> int:
        return max(self.notebook.next_number, *(number + 1 for number in self._in_flight), 0)

    def _propose(
        self,
        kind: TrialKind,
        parent: str,
        source: str,
        edit: Edit,
        candidate: Candidate | None = None,
        confirms: int | None = None,
        bar: float = math.inf,
    ) -> Proposal:
        number = self._next_number()
        seed = trial_seed(self.seed, number)
        proposal = Proposal(number, kind, parent, source, edit, seed, candidate, confirms, bar)
        self._in_flight[number] = proposal
        return proposal

    # --- run and tell

    def _experiment(self, proposal: Proposal) -> Outcome:
        return self.environment.run(
            proposal.source,
            proposal.seed,
            lambda progress: self.on_progress(proposal, progress),
            bar=proposal.bar,
        )

    def _judge(self, proposal: Proposal, outcome: Outcome) -> tuple[Verdict, str]:
        if outcome.val_bpb is None:
            return Verdict(outcome.status.value), outcome.reason
        verdict, reason = judge(self.ledger, proposal.script, proposal.parent, outcome.val_bpb)
        if verdict is Verdict.KEEP and outcome.val_bpb >= proposal.bar:  # it has risen while this one ran
            return Verdict.PROVISIONAL, f"not challenged on every row: to be run again; {reason}"
        return verdict, reason

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
        del self._in_flight[proposal.number]
        for callback in self.callbacks:
            callback(self, trial)
        return trial

    def _trial(self, proposal: Proposal, verdict: Verdict, reason: str, outcome: Outcome | None) -> Trial:
        compared = proposal.kind is not TrialKind.BASELINE
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
            incumbent_bpb=self.ledger.mean(proposal.parent) if compared else None,
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
        )

    def _reward(self, trial: Trial) -> float:
        return reward(
            trial.verdict,
            trial.gain,
            trial.train_seconds,
            self.environment.task.seconds,
            novelty(trial.edit, self.trials),
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


def trial_seed(study_seed: int, number: int) -> int:
    """The seed of a trial, 0 <= seed < 2^31: fixed by the study's seed and the trial's number."""
    digest = hashlib.sha256(f"{study_seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _baseline_message(outcome: Outcome) -> str:
    tail = "\n".join(outcome.log.strip().splitlines()[-15:])
    message = f"the baseline script does not run ({outcome.status}): {outcome.reason}"
    return f"{message}\nthe last lines of its log:\n{tail}" if tail else message
