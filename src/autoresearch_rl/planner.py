"""What to run next: reference runs first, then what has to be run again, then what the agent chooses."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

from autoresearch_rl.agent.agents import Agent
from autoresearch_rl.environment.environment import Environment
from autoresearch_rl.environment.log import one_line
from autoresearch_rl.errors import EditError
from autoresearch_rl.judgement.acceptance import REFERENCE_RUNS, Ledger
from autoresearch_rl.lineage import origin
from autoresearch_rl.notebook import Notebook
from autoresearch_rl.records import Candidate, Edit, Proposal, State, TrialKind
from autoresearch_rl.target.agenda import Agenda, Steering
from autoresearch_rl.target.edits import apply, splices, validate
from autoresearch_rl.target.normal import normal_id, spliced
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import full_space

AGENDA = "program.md"
"""The agenda in the study's folder, for a person to edit while it runs."""

MOST_REJECTED = 20  # in a row: then something else is wrong

Reject = Callable[[Proposal, str], None]
NOTHING_LEFT = "no edit of the best script is left: all were tried, or program.md forbids them"


class Planner:
    """Makes the proposals of a study, and knows which of them are under way.

    Args:
        notebook: what is known so far.
        environment: for its limits, and to check a script before it costs a trial.
        agent: chooses among the candidates.
        seed: of the study; the seeds of its trials follow from it.
        reject: told of a proposal that must not run, and why, in one line.
        interrupted: whether to stop looking for one that may run.
    """

    def __init__(
        self,
        notebook: Notebook,
        environment: Environment,
        agent: Agent,
        seed: int,
        reject: Reject,
        interrupted: Callable[[], bool],
    ) -> None:
        self.notebook, self.environment, self.agent = notebook, environment, agent
        self.seed, self.reject, self.interrupted = seed, reject, interrupted
        self.exhausted = NOTHING_LEFT  # why there was nothing to propose, the last time
        task = environment.task
        self.space = full_space(task.device, task.script_bytes, task.program)
        self.steering = Steering(notebook.folder / AGENDA)
        self.notices: tuple[str, ...] = ()  # what a person should know about the agenda
        self._under_way: dict[int, Proposal] = {}
        self._latest = Script("")
        # What the check says of leaders: asked once an edit of theirs has failed.
        self._fit_leaders: set[str] = set()
        self._unfit_leaders: set[str] = set()

    def next(self) -> Proposal | None:
        """The next trial to run; None when nothing can be asked now.

        Edits that must not run are rejected on the way.
        """
        anchor = self._ledger.anchor
        if self.runs_of(anchor) < REFERENCE_RUNS:
            return self.again(anchor)
        if len(self._ledger.measurements(anchor)) < REFERENCE_RUNS:
            return None  # still running
        under_way = {proposal.confirms for proposal in self._under_way.values()}
        for number in self._ledger.rebases:
            if number not in under_way and (proposal := self._rebase(number)):
                return proposal
        if (due := self._ledger.due) and not self._measuring(due):
            return self.again(due)
        return self._explore() or self._unproven()

    def again(self, script: str) -> Proposal:
        """Measures the incumbent or the leader again, with a fresh seed."""
        source = self.notebook.source(script)
        if script == self._ledger.incumbent:
            return self._propose(TrialKind.REFERENCE, script, source, Edit(()))
        made = origin(self.notebook.trials, script)
        return self._propose(TrialKind.CONFIRM, made.parent, source, made.edit, made.candidate, made.number)

    def runs_of(self, script: str) -> int:
        """How often a script has been measured, with the runs that are under way."""
        return len(self._ledger.measurements(script)) + self._measuring(script)

    def done(self, proposal: Proposal) -> None:
        """It has been recorded."""
        del self._under_way[proposal.number]

    @property
    def _ledger(self) -> Ledger:
        return self.notebook.ledger

    def _measuring(self, script: str) -> int:
        """How many running trials measure a script again."""
        again = (p for p in self._under_way.values() if p.kind is not TrialKind.EXPLORE)
        return sum(proposal.script == script for proposal in again)

    def _unproven(self) -> Proposal | None:
        """Once every edit of a leader has been tried, only its own worth is open."""
        leader = self._ledger.leader
        unproven = leader != self._ledger.incumbent and not self._measuring(leader)
        return self.again(leader) if unproven else None

    def _rebase(self, number: int) -> Proposal | None:
        """Applies the edit of a trial that beat a former leader to the present one, and runs that."""
        former, leader = self.notebook.trial(number), self._ledger.leader
        source = self.notebook.source(leader)
        try:
            edited, problem = apply(Script(source), former.edit).source, None
        except EditError as error:
            edited, problem = source, f"does not apply to the new leader: {one_line(str(error))}"
        proposal = self._propose(TrialKind.CONFIRM, leader, edited, former.edit, former.candidate, number)
        return self._passed(proposal, problem)

    # --- the agent's choice

    def _explore(self) -> Proposal | None:
        """What the agent chooses, if it may run; None when no candidate is left, or nearly all fail."""
        script = self._script(leader := self._ledger.leader)
        self.exhausted = NOTHING_LEFT
        for _ in range(MOST_REJECTED):
            if self.interrupted() or (state := self._observe(script)) is None:
                return None
            candidate = self.agent.propose(state)
            source = self._edited(script, candidate.edit)
            proposal = self._propose(
                TrialKind.EXPLORE, leader, source, candidate.edit, candidate, bar=self._bar
            )
            problem = self._invalid(script, proposal) or self._unfit(proposal)
            if self._passed(proposal, problem):
                return proposal
        self.exhausted = f"{MOST_REJECTED} edits in a row must not run, the last one because of: {problem}"
        return None

    def _edited(self, script: Script, edit: Edit) -> str:
        """What an edit makes of a script; the script itself where it does not fit, which `_invalid` tells."""
        try:
            return spliced(script.source, splices(script, edit))
        except EditError:
            return script.source

    def _invalid(self, script: Script, proposal: Proposal) -> str | None:
        """Why an edit must not run at all."""
        task = self.environment.task
        try:
            apply(script, proposal.edit)
        except EditError as error:
            return one_line(str(error))
        return validate(proposal.source, task.script_bytes, task.program)

    def _unfit(self, proposal: Proposal) -> str | None:
        """Why a script is not worth a trial: it does not get through a few small steps in the sandbox.

        That tells nothing where the script that it was made of does not get through either.
        """
        if proposal.parent in self._unfit_leaders:
            return None
        problem = self.environment.check(proposal.source, proposal.seed)
        if problem is None or proposal.parent in self._fit_leaders:
            return problem and f"shape check: {problem}"
        if self.environment.check(self.notebook.source(proposal.parent), proposal.seed) is None:
            self._fit_leaders.add(proposal.parent)
            return f"shape check: {problem}"
        self._unfit_leaders.add(proposal.parent)
        return None

    def _script(self, leader: str) -> Script:
        """The leader's syntax tree, which is the same for many trials."""
        if self._latest.id != leader:
            self._latest = Script(self.notebook.source(leader))
        return self._latest

    def look_at_agenda(self) -> None:
        """Fills `notices` before anything is proposed."""
        self._read_agenda(self._script(self._ledger.leader))

    def _read_agenda(self, script: Script) -> Agenda:
        agenda = self.steering.read()
        unmatched = agenda.unmatched(script, self.space.shares())
        self.notices = (*filter(None, [self.steering.problem]), *unmatched)
        return agenda

    def _observe(self, script: Script) -> State | None:
        """The paper's s_t = (c_t, h_t, d_t) and the candidates; None when no candidate is left."""
        running = {normal_id(proposal.source) for proposal in self._under_way.values()}
        tried = self.notebook.tried | running
        agenda, history = self._read_agenda(script), tuple(self.notebook.trials)
        candidates = self.space.candidates(script, tried, history, agenda)
        incumbent_bpb, baseline_bpb = self._ledger.mean(self._ledger.leader), self._ledger.baseline_bpb
        if not candidates or incumbent_bpb is None or baseline_bpb is None:
            return None
        return State(
            number=self._next_number(),
            script=script.source,
            incumbent_bpb=incumbent_bpb,
            baseline_bpb=baseline_bpb,
            noise=self._ledger.noise.sd,
            history=history,
            candidates=tuple(candidates),
            shares=self.space.shares(agenda),
            join=lambda parts: self.space.joined(script, parts, tried, agenda),
        )

    @property
    def _bar(self) -> float:
        """Scores below it are challenged thoroughly; those that scripts report themselves cannot be."""
        return math.inf if self.environment.task.program else self._ledger.bar

    # --- proposals

    def _passed(self, proposal: Proposal, problem: str | None) -> Proposal | None:
        if problem is None:
            return proposal
        self.reject(proposal, problem)
        return None

    def _next_number(self) -> int:
        return max(self.notebook.next_number, *(number + 1 for number in self._under_way), 0)

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
        self._under_way[number] = proposal
        return proposal


def trial_seed(study_seed: int, number: int) -> int:
    """The seed of a trial, 0 <= seed < 2^31: fixed by the study's seed and the trial's number."""
    digest = hashlib.sha256(f"{study_seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
