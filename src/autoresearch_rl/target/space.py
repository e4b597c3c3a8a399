"""The space of edits: what all generators propose for a script, each result once, steered by a person."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp

from autoresearch_rl.records import Candidate, Trial
from autoresearch_rl.target.agenda import NOTHING_SAID, Agenda
from autoresearch_rl.target.edits import LIMIT_BYTES, splices, validate
from autoresearch_rl.target.generators import Generator
from autoresearch_rl.target.generators.compound import NAME, SHARE, compounds, join
from autoresearch_rl.target.generators.grammar import Grammar
from autoresearch_rl.target.generators.literals import Literals
from autoresearch_rl.target.generators.recipes import Recipes
from autoresearch_rl.target.generators.recombination import Recombination
from autoresearch_rl.target.normal import Splice
from autoresearch_rl.target.script import Script

KNOWN = 0.25
"""How much rarer an edit that was tried alone on this script is as a part of a compound one."""


@dataclass(frozen=True, slots=True)
class _Found:
    candidate: Candidate
    places: list[Splice]
    result: str  # the normal form of the script that it gives


class Space:
    """All that could be tried on a script.

    Args:
        generators: where single candidates come from.
        compound: whether sets of them are candidates, too.
        limit_bytes: the largest script.
        program: the scripts run as a whole and have no `train(env)`.
    """

    def __init__(
        self,
        generators: Sequence[Generator],
        *,
        compound: bool = True,
        limit_bytes: int = LIMIT_BYTES,
        program: bool = False,
    ) -> None:
        self.generators, self._compound = generators, compound
        self._limit, self._program = limit_bytes, program
        self._latest = ""  # the script that was looked at last: mostly it is the next one, too
        self._steady: list[_Found] = []  # what is proposed for it whatever the history

    def candidates(
        self,
        script: Script,
        tried: Collection[str] = (),
        history: Sequence[Trial] = (),
        agenda: Agenda = NOTHING_SAID,
    ) -> list[Candidate]:
        """What could be tried now, each resulting script once.

        Args:
            script: what edits are applied to; when it does not validate itself, there are no candidates.
            tried: normal forms (`normal_id`) of scripts that must not come up again.
            history: all trials of the study in order of completion.
            agenda: what a person has frozen, forbidden and weighted.
        """
        if not self._look_at(script):
            return []
        seen, frozen = {script.normal.id, *tried}, agenda.frozen(script)
        found = [f for f in self._singles(script, history) if _is_open(f.places, frozen)]
        singles = [
            replace(f, candidate=agenda.weighted(f.candidate)) for f in found if agenda.allows(f.candidate)
        ]
        fresh = list(_fresh(singles, seen))
        if not self._compound:
            return fresh
        # What is known alone is news only together with others, and less often good news.
        weighted = [
            (f.candidate, exp(f.candidate.odds) * (KNOWN if f.result in tried else 1)) for f in singles
        ]
        # Another set each time, and the same after a restart.
        seed = int(script.id[:8], 16) + len(tried)
        more = self._located(script, compounds(script, weighted, self.shares(agenda), seed))
        return [*fresh, *_fresh((f for f in more if agenda.allows(f.candidate)), seen)]

    def shares(self, agenda: Agenda = NOTHING_SAID) -> dict[str, float]:
        """The share of attention of each generator, the sum of all being 1."""
        shares = {g.name: agenda.share(g.name, g.share) for g in self.generators}
        if self._compound:
            shares[NAME] = agenda.share(NAME, SHARE)
        return {name: share / sum(shares.values()) for name, share in shares.items()}

    def joined(
        self,
        script: Script,
        parts: Sequence[Candidate],
        tried: Collection[str] = (),
        agenda: Agenda = NOTHING_SAID,
    ) -> Candidate | None:
        """One candidate of several that are for the same script; None where it may not or need not be tried.

        Args:
            script: what they are for.
            parts: single candidates of this script.
            tried: normal forms of scripts that must not come up again.
            agenda: what a person has frozen and forbidden.
        """
        made = join(script, parts, NAME, NAME)
        if not self._compound or made is None or not agenda.allows(made):
            return None
        found = list(self._located(script, [made]))
        fresh = _fresh(found, {script.normal.id, *tried})
        open_ = all(_is_open(f.places, agenda.frozen(script)) for f in found)
        return next(fresh, None) if open_ else None

    def result(self, script: Script, candidate: Candidate) -> str:
        """The normal form of what a candidate makes of the script that it is for."""
        result = script.normal.after(splices(script, candidate.edit))
        assert result is not None
        return result

    def _look_at(self, script: Script) -> bool:
        """Whether it has candidates at all."""
        if self._latest == script.id:
            return True
        if validate(script.source, self._limit, self._program) is not None:
            return False
        steady = (c for g in self.generators if not g.remembers for c in g.propose(script))
        self._latest, self._steady = script.id, list(self._located(script, steady))
        return True

    def _singles(self, script: Script, history: Sequence[Trial]) -> Iterator[_Found]:
        """Whoever remembers comes first: of two that propose the same it is the one that knows more."""
        again = (c for g in self.generators if g.remembers for c in g.propose(script, history))
        yield from self._located(script, again)
        yield from self._steady

    def _located(self, script: Script, candidates: Iterable[Candidate]) -> Iterator[_Found]:
        """Those that give a script of a size that is allowed, with the places that they change."""
        size = len(script.source.encode("utf-8"))
        for candidate in candidates:
            places = splices(script, candidate.edit)
            removed = sum(len(script.source[start:end].encode("utf-8")) for start, end, _ in places)
            added = sum(len(new.encode("utf-8")) for _, _, new in places)
            fits = size - removed + added <= self._limit
            result = script.normal.after(places) if fits else None
            if result is not None:
                yield _Found(candidate, places, result)


def full_space(device: str = "cpu", limit_bytes: int = LIMIT_BYTES, program: bool = False) -> Space:
    """All generators of this package, for scripts that train on a device of this type."""
    generators: list[Generator] = [Literals(), Recipes(device), Grammar(), Recombination()]
    return Space(generators, limit_bytes=limit_bytes, program=program)


def _fresh(found: Iterable[_Found], seen: set[str]) -> Iterator[Candidate]:
    """Each result once; `seen` is added to."""
    for one in found:
        if one.result not in seen:
            seen.add(one.result)
            yield one.candidate


def _is_open(places: Sequence[Splice], frozen: Sequence[tuple[int, int]]) -> bool:
    """Whether nothing frozen is changed; what stands right before or behind it may be."""
    return not any(start < closed[1] and end > closed[0] for start, end, _ in places for closed in frozen)
