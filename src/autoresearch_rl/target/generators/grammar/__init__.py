"""Typed mutations of a script's own expressions: architectures that no catalogue holds.

In the spirit of programs found by evolution (AutoML-Zero, arXiv 2003.03384; Primer, arXiv 2109.08668), but
every mutation is one step that a researcher might take, and keeps shapes, causality and the script's manner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from autoresearch_rl.errors import EditError
from autoresearch_rl.records import Candidate, Edit, Trial
from autoresearch_rl.target.blocks import edit_at
from autoresearch_rl.target.generators.grammar import functions, statements, training, weights
from autoresearch_rl.target.generators.grammar.view import View
from autoresearch_rl.target.script import Script

RULES = (*functions.RULES, *weights.RULES, *statements.RULES, *training.RULES)


class Grammar:
    """Each rule at each place where it fits."""

    name = "grammar"
    share = 0.15
    remembers = False

    def propose(self, script: Script, history: Sequence[Trial] = ()) -> Iterator[Candidate]:
        """See `Generator.propose`. The topic is the rule and the place, the operator the rule.

        Of places that read the same, the second is called `... #2`.
        """
        view = View(script.syntax)
        seen: set[Edit] = set()
        topics: Counter[str] = Counter()
        for rule in RULES:
            for draft in rule(view):
                try:
                    edit = edit_at(script.source, draft.splices)
                except EditError:  # it reads like that already: a key is the value once this mutation leads
                    continue
                if edit not in seen:
                    seen.add(edit)
                    topics[draft.topic] += 1
                    more = f" #{topics[draft.topic]}" if topics[draft.topic] > 1 else ""
                    yield Candidate(edit, self.name, draft.operator, 0, 1.0, draft.topic + more, draft.odds)
