"""What can be tried on one script of a simulated study: single edits, near misses of others, random sets."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, combinations, islice
from types import MappingProxyType

from autoresearch_rl.records import Candidate, Edit
from autoresearch_rl.simulation.conditions import Conditions
from autoresearch_rl.simulation.problem import Problem

SHARES: Mapping[str, float] = MappingProxyType(
    {"literals": 0.4, "recipes": 0.25, "grammar": 0.15, "recombination": 0.1, "compound": 0.25}
)
"""Of the slate, as the real generators have them."""

SIZES = (2, 2, 3, 4)  # of random sets
BEST, WORST = 1.0, -0.5  # log-odds of the best near miss and of the last


class Offers:
    """Of one script; it remembers what was tried on it.

    Args:
        problem: says which single edits there are.
        source: the script.
        conditions: how many there are of each sort.
        dice: of the random sets.
    """

    def __init__(self, problem: Problem, source: str, conditions: Conditions, dice: random.Random) -> None:
        self._problem, self._source, self._conditions, self._dice = problem, source, conditions, dice
        self._singles = {candidate.edit: candidate for candidate in problem.candidates(source)}
        self._tried: set[Edit] = set()
        self._pools = _pools(self._singles.values())
        self._fits: dict[Edit, bool] = {}

    def close(self, edit: Edit) -> None:
        """Not again."""
        self._tried.add(edit)
        if self._singles.pop(edit, None):
            self._pools = _pools(self._singles.values())

    def candidates(self, measured: Iterable[Candidate]) -> Iterator[Candidate]:
        """All that was not tried here, each once.

        Args:
            measured: on this and other scripts, from the largest gain to the smallest.
        """
        yield from self._singles.values()
        seen: set[Edit] = set()
        for candidate in (*self._near_misses(measured), *self._compounds()):
            edit = candidate.edit
            if edit not in self._singles and edit not in self._tried and edit not in seen:
                seen.add(edit)
                yield candidate

    def join(
        self, parts: Sequence[Candidate], generator: str = "compound", operator: str = "compound"
    ) -> Candidate | None:
        """One candidate of several; None if two change the same, or if it was tried."""
        changes = tuple(change for part in parts for change in part.edit.changes)
        topics = [topic for part in parts for topic in part.topics]
        edit = Edit(changes)
        sites = {change.site for change in changes}
        if len(set(topics)) < len(topics) or len(sites) < len(changes) or edit in self._tried:
            return None
        odds = sum(part.odds for part in parts) / len(parts)
        magnitude = max(part.magnitude for part in parts)
        singles = tuple(single for part in parts for single in part.singles)
        return Candidate(edit, generator, operator, 0, magnitude, "", odds, singles)

    def _near_misses(self, measured: Iterable[Candidate]) -> Iterator[Candidate]:
        """The best measured edits that still apply, and pairs of the best of these."""
        most = self._conditions.retried
        found = list(islice(self._again(measured), most))
        for rank, candidate in enumerate(found):
            yield replace(candidate, odds=BEST + (WORST - BEST) * rank / most)
        for pair in combinations(found[: self._conditions.merged], 2):
            if made := self.join(pair, "recombination", "merge"):
                yield made

    def _again(self, measured: Iterable[Candidate]) -> Iterator[Candidate]:
        """All of each, else perhaps what is left of it."""
        seen: set[Edit] = set()
        for made in measured:
            for candidate in (made, *(made.parts if self._conditions.pieces else ())):
                if candidate.edit not in seen and self._applies(candidate.edit):
                    seen.add(candidate.edit)
                    yield replace(candidate, generator="recombination", topic="", parts=candidate.singles)
                    break

    def _applies(self, edit: Edit) -> bool:
        if edit not in self._fits:
            try:
                self._fits[edit] = self._problem.apply(self._source, edit) != self._source
            except KeyError:
                self._fits[edit] = False
        return self._fits[edit]

    def _compounds(self) -> Iterator[Candidate]:
        """Random sets of edits at different places: a generator by its share, then one of its candidates."""
        names = [name for name in SHARES if name in self._pools]
        weights, choices = [SHARES[name] for name in names], self._dice.choices
        for _ in range(self._conditions.compounds if names else 0):
            drawn = choices(names, weights, k=self._dice.choice(SIZES))
            pools = [self._pools[name] for name in drawn]
            if made := self.join([choices(pool, cum_weights=odds)[0] for pool, odds in pools]):
                yield made


def _pools(singles: Iterable[Candidate]) -> dict[str, tuple[list[Candidate], list[float]]]:
    """Candidates by generator, with their running weights."""
    pools: dict[str, list[Candidate]] = {}
    for single in singles:
        pools.setdefault(single.generator, []).append(single)
    return {
        name: (pool, list(accumulate(math.exp(single.odds) for single in pool)))
        for name, pool in pools.items()
    }
