"""What was tried on another script, once more: near misses, edits that have lost their place, two at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, islice

from autoresearch_rl.errors import EditError
from autoresearch_rl.lineage import ancestors
from autoresearch_rl.records import Candidate, Trial, TrialKind
from autoresearch_rl.target.blocks import TEXT, locate
from autoresearch_rl.target.edits import splices
from autoresearch_rl.target.generators.compound import join
from autoresearch_rl.target.normal import spliced
from autoresearch_rl.target.script import Script

RETRIED = 24  # the best edits that still apply
MERGED = 8  # of these, in pairs
BEST, WORST = 1.0, -0.5  # log-odds of the best and of the last


class Recombination:
    """The best measured edits of the history that still apply to this script, and pairs of them.

    What an edit gained was measured on the script of its time. On another it may gain again: a near miss
    there, a keep whose leader was replaced, one part of a compound edit. Those that were tried on this very
    script give nothing new, and `Space` drops them. Lines that made this script could often be written once
    more (a second Muon behind the first): they are left out.
    """

    name = "recombination"
    share = 0.1
    remembers = True

    def propose(self, script: Script, history: Sequence[Trial] = ()) -> Iterator[Candidate]:
        """See `Generator.propose`."""
        found = list(islice(self._again(script, history), RETRIED))
        for rank, candidate in enumerate(found):
            yield replace(candidate, odds=BEST + (WORST - BEST) * rank / RETRIED)
        for pair in combinations(found[:MERGED], 2):
            if merged := join(script, pair, self.name, "merge"):
                yield merged

    def _again(self, script: Script, history: Sequence[Trial]) -> Iterator[Candidate]:
        """Edits that apply, from the largest gain to the smallest, each once."""
        seen: set[object] = set()
        present = _present(script, history)
        for trial in sorted(_measured(history), key=lambda t: (-(t.gain or 0.0), t.number)):
            assert trial.candidate is not None
            # All of it, else what is left of it.
            for candidate in (trial.candidate, *trial.candidate.parts):
                if present.intersection(candidate.topics):
                    continue
                if candidate.edit not in seen and _applies(script, candidate):
                    seen.add(candidate.edit)
                    # Where it came from stays known: a person may forbid that.
                    yield replace(candidate, generator=self.name, topic="", parts=candidate.singles)
                    break


def _present(script: Script, history: Sequence[Trial]) -> set[str]:
    """The topics of the edits of lines that lead from the baseline to this script.

    Named sites are not among them: such an edit says what it replaces, so it applies only once.
    """
    made = (step.candidate for step in ancestors(history, script.id) if step.candidate)
    return {single.topic for candidate in made for single in candidate.singles if single.topic}


def _measured(history: Sequence[Trial]) -> list[Trial]:
    return [t for t in history if t.kind is TrialKind.EXPLORE and t.candidate and t.gain is not None]


def _applies(script: Script, candidate: Candidate) -> bool:
    """Whether it can be applied here, and undone."""
    if any(change.site == TEXT and change.old not in script.source for change in candidate.edit.changes):
        return False  # `splices` would look for what is most similar, for an error that nobody reads
    try:
        result = spliced(script.source, splices(script, candidate.edit))
        for change in candidate.edit.changes:
            if change.site == TEXT:
                locate(result, change.new)
    except EditError:
        return False
    return True
