"""Is the search healthy: does it try different things, and which generators have found what?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autoresearch_rl.agent.tallies import LEADS
from autoresearch_rl.records import Trial, TrialKind

RECENT = 20  # explored edits that are looked at
FEW = 0.4  # different targets among them: below this share the search has collapsed


@dataclass(frozen=True, slots=True)
class Diversity:
    """Of the last `RECENT` explored edits.

    Attributes:
        unique: share of different targets; a target is what an edit changes, whatever the value.
        favourite: the target that came most often.
        collapsed: the same few targets again and again, and none of them led.
    """

    unique: float
    favourite: str
    collapsed: bool


def diversity(history: Sequence[Trial]) -> Diversity:
    """How different the latest explored edits are."""
    recent = [t for t in history if t.kind is TrialKind.EXPLORE and t.candidate][-RECENT:]
    targets = Counter(target for trial in recent if (target := _target(trial)))
    if not targets:
        return Diversity(1.0, "", False)
    unique = len(targets) / targets.total()
    stuck = len(recent) == RECENT and not any(trial.verdict in LEADS for trial in recent)
    return Diversity(unique, targets.most_common(1)[0][0], stuck and unique < FEW)


@dataclass(frozen=True, slots=True)
class Credit:
    """What became of the edits of one generator.

    Attributes:
        tried: explored edits.
        led: of these, those that took the lead and did not lose it when they were run again.
        gain: what those measured over the scripts they were made from, bits per byte in all.
    """

    tried: int
    led: int
    gain: float


def credit(history: Sequence[Trial]) -> dict[str, Credit]:
    """By generator, those that have gained most first."""
    fallen = {t.confirms for t in history if t.kind is TrialKind.CONFIRM and t.verdict not in LEADS}
    trials = [t for t in history if t.kind is TrialKind.EXPLORE and t.candidate]
    found = {}
    for name in dict.fromkeys(trial.candidate.generator for trial in trials if trial.candidate):
        own = [t for t in trials if t.candidate and t.candidate.generator == name]
        led = [t for t in own if t.verdict in LEADS and t.number not in fallen]
        found[name] = Credit(len(own), len(led), sum(t.gain or 0.0 for t in led))
    return dict(sorted(found.items(), key=lambda item: -item[1].gain))


def _target(trial: Trial) -> str:
    """What an edit changes."""
    return " + ".join(sorted(set(trial.candidate.topics))) if trial.candidate else ""
