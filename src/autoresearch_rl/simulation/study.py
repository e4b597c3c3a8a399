"""A study of a problem whose truth is known: an agent asks, the real ledger judges, a run takes no time.

Asks, runs and judges in the order of `planner.py` and `study.py`. A run gives the true bits per byte of its
script and noise; one that looks worse than the leader is mostly pruned, as hopeless runs are.
"""

from __future__ import annotations

import math
import random
import statistics
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from autoresearch_rl.agent.agents import Agent
from autoresearch_rl.agent.reward import losses, novelty, reward
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.judgement.acceptance import REFERENCE_RUNS, Ledger, judge
from autoresearch_rl.planner import MOST_REJECTED
from autoresearch_rl.records import Candidate, Edit, Proposal, State, Trial, TrialKind, Verdict, script_id
from autoresearch_rl.simulation.conditions import Conditions
from autoresearch_rl.simulation.offers import SHARES, Offers
from autoresearch_rl.simulation.problem import Problem


@runtime_checkable
class Offering(Protocol):
    """A problem that brings what could be tried, sets of edits included, and refuses what must not run."""

    shares: Mapping[str, float]  # of the slate, by generator

    def offers(self, source: str, history: Sequence[Trial]) -> Sequence[Candidate]:
        """Candidates for a script, after these trials."""
        ...

    def join(self, source: str, parts: Sequence[Candidate], history: Sequence[Trial]) -> Candidate | None:
        """One candidate of several; None where they clash, or were tried."""
        ...

    def refuses(self, source: str) -> str | None:
        """Why a script that was made must not run, if so: that costs no trial."""
        ...


class SimulatedStudy:
    """One study; `step` is one trial.

    Args:
        problem: what is true.
        agent: asked and told as in a real study.
        seed: of the noise and of the compound candidates.
        conditions: how it measures, what it offers, what goes wrong.

    Raises:
        ConfigurationError: the problem's baseline does not run.
    """

    def __init__(
        self, problem: Problem, agent: Agent, seed: int, conditions: Conditions | None = None
    ) -> None:
        self.problem, self.agent, self.conditions = problem, agent, conditions or Conditions()
        self._dice, self._seed = random.Random(seed), seed
        first = script_id(problem.baseline)
        self._sources = {first: problem.baseline}
        self._truths: dict[str, float | None] = {}
        self._offers: dict[str, Offers] = {}  # by script
        self._applicable: dict[str, bool] = {}  # by topic
        self._measured: list[tuple[float, int, Candidate]] = []  # edits, the best first
        self.ledger = Ledger(first)
        self.trials: list[Trial] = []
        if self.truth(first) is None:
            raise ConfigurationError(
                "the baseline of the problem crashes: its truth has to be a finite number"
            )

    def run(self, trials: int) -> SimulatedStudy:
        """Goes on until so many trials count, which reference runs do not, or nothing is left to try."""
        while sum(trial.counts for trial in self.trials) < trials and self.step():
            pass
        return self

    def best(self) -> float:
        """True bits per byte of the incumbent."""
        bpb = self.truth(self.ledger.incumbent)
        assert bpb is not None
        return bpb

    def step(self) -> Trial | None:
        """Runs the next trial; None if nothing is left to try."""
        if (proposal := self._next()) is None:
            return None
        trial = self._tell(proposal)
        self.trials.append(trial)
        self.ledger.record(trial)
        if trial.kind is TrialKind.EXPLORE:
            if trial.candidate and trial.gain is not None:
                insort(self._measured, (-trial.gain, trial.number, trial.candidate))
            self.agent.learn(trial)
        return trial

    def _next(self) -> Proposal | None:
        ledger = self.ledger
        if len(ledger.measurements(ledger.anchor)) < REFERENCE_RUNS:
            return self._again(ledger.anchor)
        for number in ledger.rebases:
            if proposal := self._rebase(number):
                return proposal
        if ledger.due:
            return self._again(ledger.due)
        return self._explore() or (self._again(ledger.leader) if ledger.leader != ledger.incumbent else None)

    def _again(self, script: str) -> Proposal:
        source = self._sources[script]
        if script == self.ledger.incumbent:
            return self._propose(TrialKind.REFERENCE, script, source)
        made = next(trial for trial in self.trials if trial.script == script)
        return self._propose(TrialKind.CONFIRM, made.parent, source, made.candidate, made.number)

    def _rebase(self, number: int) -> Proposal | None:
        former, leader = self.trials[number], self.ledger.leader
        try:
            source = self.problem.apply(self._sources[leader], former.edit)
        except KeyError:
            return None
        return self._propose(TrialKind.CONFIRM, leader, source, former.candidate, number)

    def _explore(self) -> Proposal | None:
        state, leader = self.state(), self.ledger.leader
        if not state.candidates or self._is_refused():
            return None
        candidate = self.agent.propose(state)
        if not isinstance(self.problem, Offering):
            self._offered().close(candidate.edit)
        source = self.result(candidate)
        if source is None:  # a script that never runs
            lost = f"{state.script}\n# {candidate.edit}"
            return Proposal(
                state.number, TrialKind.EXPLORE, leader, lost, candidate.edit, 0, candidate, None, 0.0
            )
        return self._propose(TrialKind.EXPLORE, leader, source, candidate)

    def _is_refused(self) -> bool:
        """Whether nothing runs that the agent proposes: as in a real study, then it ends."""
        latest = self.trials[-MOST_REJECTED:]
        return len(latest) == MOST_REJECTED and all(t.verdict is Verdict.REJECTED for t in latest)

    def state(self) -> State:
        """What the agent sees."""
        ledger = self.ledger
        incumbent, baseline = ledger.mean(ledger.leader), ledger.baseline_bpb
        assert incumbent is not None
        assert baseline is not None
        return State(
            number=len(self.trials),
            script=self._sources[ledger.leader],
            incumbent_bpb=incumbent,
            baseline_bpb=baseline,
            noise=ledger.noise.sd,
            history=tuple(self.trials),
            **self._choices(),
        )

    def _choices(self) -> dict[str, Any]:
        """The part of the state that is about candidates."""
        problem, trials = self.problem, self.trials
        if isinstance(problem, Offering):
            source, bring = self._sources[self.ledger.leader], problem
            return {
                "candidates": tuple(bring.offers(source, trials)),
                "shares": bring.shares,
                "join": lambda parts: bring.join(source, parts, trials),
            }
        offered = self._offered()
        return {
            "candidates": tuple(offered.candidates(candidate for _, _, candidate in self._measured)),
            "shares": SHARES if self.conditions.shares else {},
            "join": offered.join if self.conditions.join else None,
        }

    # --- what could be tried

    def _offered(self) -> Offers:
        """On the leader."""
        leader = self.ledger.leader
        if leader not in self._offers:
            source = self._sources[leader]
            self._offers[leader] = Offers(self.problem, source, self.conditions, self._dice)
        return self._offers[leader]

    def result(self, candidate: Candidate) -> str | None:
        """The leader with a candidate; None if it does not apply."""
        if not all(map(self._is_applicable, candidate.singles)):
            return None
        try:
            return self.problem.apply(self._sources[self.ledger.leader], candidate.edit)
        except KeyError:
            return None

    def _is_applicable(self, single: Candidate) -> bool:
        rate, topic = self.conditions.inapplicable, single.topic
        if rate and topic not in self._applicable:
            self._applicable[topic] = not topic or random.Random(f"{self._seed} {topic}").random() >= rate
        return not rate or self._applicable[topic]

    # --- runs

    def _propose(
        self,
        kind: TrialKind,
        parent: str,
        source: str,
        candidate: Candidate | None = None,
        confirms: int | None = None,
    ) -> Proposal:
        edit = candidate.edit if candidate else Edit(())
        self._sources[script_id(source)] = source
        return Proposal(len(self.trials), kind, parent, source, edit, 0, candidate, confirms, started=0.0)

    def truth(self, script: str) -> float | None:
        """True bits per byte of a script by its SHA-256; None if it crashes, or diverges."""
        if script not in self._truths:
            bpb = self.problem.truth(self._sources[script])
            self._truths[script] = bpb if bpb is not None and math.isfinite(bpb) else None
        return self._truths[script]

    def _tell(self, proposal: Proposal) -> Trial:
        """Runs and judges it."""
        refused = isinstance(self.problem, Offering) and self.problem.refuses(proposal.source)
        if refused:
            return self._trial(proposal, Verdict.REJECTED, refused, None, 0.0)
        if proposal.script not in self._sources:
            return self._trial(proposal, Verdict.REJECTED, "does not apply", None, 0.0)
        truth, flaky = self.truth(proposal.script), self.conditions.flaky
        if truth is None or (flaky and self._dice.random() < flaky):
            return self._trial(proposal, Verdict.CRASH, "crashes", None, 0.1)
        bpb = truth + self._noise(proposal.script, truth)
        foreseen = self._hopeless(bpb) if proposal.kind is TrialKind.EXPLORE else None
        if foreseen is not None and self._dice.random() < self.conditions.pruned:
            seconds = self._dice.uniform(0.3, 0.6)
            return self._trial(proposal, Verdict.PRUNED, "hopeless", None, seconds, foreseen)
        verdict, reason = judge(self.ledger, proposal.script, proposal.parent, bpb)
        return self._trial(proposal, verdict, reason, bpb, 1.0)

    def _noise(self, script: str, truth: float) -> float:
        """Of one measurement, bits per byte."""
        sd, dice = self.problem.sigma, self._dice
        if self.conditions.uneven:
            baseline = self.truth(self.ledger.baseline)
            assert baseline is not None
            sd *= math.exp(0.4 * math.sin(int(script[:8], 16) % 1000))
            sd *= 1.0 + min(3.0, 2.0 * max(0.0, math.log(truth / baseline)))
        if self.conditions.heavy_tails:  # Student's t with 4 degrees of freedom has variance 2
            sd /= math.sqrt(2.0 * dice.gammavariate(2.0, 2.0) / 4.0)
        return dice.gauss(0.0, sd)

    def _hopeless(self, bpb: float) -> float | None:
        """What is foreseen of a run that will measure `bpb`, if that looks worse than the leader."""
        leader, conditions = self.ledger.mean(self.ledger.leader), self.conditions
        gains = [abs(gain) for gain, _, _ in self._measured]
        if leader is None or not conditions.pruned or len(gains) < max(1, conditions.warm_up):
            return None
        error = conditions.blur * max(self.problem.sigma, statistics.median(gains))
        foreseen = self._dice.gauss(bpb, error)
        return foreseen if foreseen > leader + conditions.clearly * error else None

    def _trial(
        self,
        proposal: Proposal,
        verdict: Verdict,
        reason: str,
        bpb: float | None,
        seconds: float,
        forecast: float | None = None,
    ) -> Trial:
        again = bool(self.ledger.measurements(proposal.script))
        before = self.ledger.incumbent_bpb if again else self.ledger.mean(proposal.parent)
        trial = Trial(
            number=proposal.number,
            kind=proposal.kind,
            parent=proposal.parent,
            script=proposal.script,
            edit=proposal.edit,
            candidate=proposal.candidate,
            confirms=proposal.confirms,
            seed=0,
            verdict=verdict,
            reason=reason,
            incumbent_bpb=before,
            val_bpb=bpb,
            reward=0.0,
            train_seconds=seconds,
            wall_seconds=seconds,
            peak_memory_mb=0.0,
            sandbox="simulated",
            started=0.0,
            seconds={},
            forecast=forecast,
        )
        if trial.kind is not TrialKind.EXPLORE or (verdict.evaluated and trial.gain is None):
            return trial
        new = novelty(trial.candidate, self.trials) if trial.candidate else 0.0
        earned = reward(verdict, trial.gain, seconds, 1.0, new, losses(self.trials))
        return replace(trial, reward=earned)
