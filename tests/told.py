"""Outcomes that no run has made: for tests of what a study makes of them."""

from __future__ import annotations

from autoresearch_rl.records import Outcome, OutcomeStatus, Proposal, TrialKind
from autoresearch_rl.study import Study


def scored(bpb: float) -> Outcome:
    """What a run gives, for tests of what is made of it."""
    return Outcome(OutcomeStatus.OK, "", bpb, (), 0.3, 0.1, 0.3, 0.2, 100.0, "landlock")


def measure_baseline(study: Study, values: tuple[float, ...] = (4.0, 4.01, 3.99)) -> None:
    for value in values:
        proposal = study.ask()
        assert proposal is not None
        assert proposal.kind is TrialKind.REFERENCE
        study.tell(proposal, scored(value))


def ask(study: Study) -> Proposal:
    proposal = study.ask()
    assert proposal is not None
    return proposal
