"""A ledger that judges what it is told."""

from made_trials import BASELINE, made

from autoresearch_rl.judgement.acceptance import Ledger, judge
from autoresearch_rl.records import Trial, TrialKind, Verdict, script_id

CANDIDATE, NEWER, OTHER = map(script_id, ("candidate", "newer", "other"))
CONFIRM, REFERENCE = TrialKind.CONFIRM, TrialKind.REFERENCE
KEEP, PROVISIONAL, DISCARD = Verdict.KEEP, Verdict.PROVISIONAL, Verdict.DISCARD


class Told:
    """A ledger that is told measurements, which it judges itself."""

    def __init__(self, *baseline: float) -> None:
        self.ledger = Ledger(BASELINE)
        self.trials: list[Trial] = []
        for bpb in baseline:
            self.tell(BASELINE, bpb, kind=REFERENCE)

    def tell(
        self,
        script: str,
        bpb: float,
        parent: str = BASELINE,
        kind: TrialKind = TrialKind.EXPLORE,
        confirms: int | None = None,
    ) -> tuple[Verdict, str]:
        verdict, reason = judge(self.ledger, script, parent, bpb)
        self.add(script, bpb, verdict, kind, parent, confirms)
        return verdict, reason

    def add(self, script: str, bpb: float | None, verdict: Verdict, *rest: object) -> None:
        self.trials.append(made(len(self.trials), script, bpb, verdict, *rest))
        self.ledger.record(self.trials[-1])

    def explore(self, count: int, verdict: Verdict = Verdict.CRASH) -> None:
        for _ in range(count):
            self.add(script_id(f"explored {len(self.trials)}"), None, verdict)


def measured() -> Told:
    """Three runs of the baseline with mean 1 and deviation .001."""
    return Told(1.0, 1.001, 0.999)


def led(*bpb: float) -> Told:
    """The candidate leads, measured so."""
    told = measured()
    for value in bpb:
        verdict, _ = told.tell(CANDIDATE, value, kind=CONFIRM if len(told.trials) > 3 else TrialKind.EXPLORE)
        assert verdict is PROVISIONAL
    return told


def kept() -> Told:
    told = measured()
    assert told.tell(NEWER, 0.9)[0] is KEEP
    return told
