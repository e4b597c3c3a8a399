"""Several edits at disjoint places in one trial.

Single edits with keep and revert lose to classical optimisers when the baseline is far from good: many small
gains are cheaper to take together than one by one.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from autoresearch_rl.errors import EditError
from autoresearch_rl.records import Candidate, Change, Edit
from autoresearch_rl.target.blocks import TEXT, edit_at
from autoresearch_rl.target.edits import splices
from autoresearch_rl.target.script import Script

NAME = "compound"
SHARE = 0.25
DRAWN = 48  # candidates at a time: there are far too many to name them all
SIZES = (2, 2, 3, 4)  # how many edits at once, each as likely as it is often here


def compounds(
    script: Script, singles: Iterable[tuple[Candidate, float]], shares: Mapping[str, float], seed: int
) -> Iterator[Candidate]:
    """Random sets of single candidates with disjoint places and topics.

    Args:
        script: what the single ones are for.
        singles: what to draw from: a generator by its share, then a candidate by its weight.
        shares: by generator, positive.
        seed: same seed, same candidates.
    """
    pools: dict[str, tuple[list[Candidate], list[float]]] = {}
    for single, weight in singles:
        if len(single.parts) < 2:
            candidates, weights = pools.setdefault(single.generator, ([], []))
            candidates.append(single)
            weights.append(weight)
    if not pools:
        return
    dice, names = random.Random(seed), list(pools)
    for _ in range(DRAWN):
        drawn = dice.choices(names, [shares[name] for name in names], k=dice.choice(SIZES))
        chosen = [dice.choices(*pools[name])[0] for name in drawn]
        if joined := join(script, chosen, NAME, NAME):
            yield joined


def join(script: Script, parts: Sequence[Candidate], generator: str, operator: str) -> Candidate | None:
    """One candidate of several; None where two concern the same topic or place, or do not fit together.

    Edits of literals stay edits of named sites. Where lines change, names may change with them, so then the
    whole is an edit of lines.
    """
    singles = tuple(single for part in parts for single in part.singles)
    topics = [topic for single in singles for topic in single.topics]
    if len(set(topics)) < len(topics):
        return None
    changes = tuple(change for single in singles for change in single.edit.changes)
    try:
        places = sorted(
            (splice for single in singles for splice in splices(script, single.edit)), key=lambda s: s[:2]
        )
        if any(after[0] < before[1] for before, after in pairwise(places)):
            return None
        in_lines = any(change.site == TEXT for change in changes)
        edit = edit_at(script.source, places) if in_lines else Edit(changes)
    except EditError:  # one is not about this script, or one undoes the other
        return None
    if not script.divisors.keep(integers(script, changes)):
        return None
    odds = sum(single.odds for single in singles) / len(singles)
    magnitude = max(single.magnitude for single in singles)
    return Candidate(edit, generator, operator, 0, magnitude, "", odds, singles)


def integers(script: Script, changes: Sequence[Change]) -> dict[str, int]:
    """The new values of sites that hold integers."""
    sites = ((change, script.sites.get(change.site)) for change in changes)
    return {change.site: int(change.new) for change, site in sites if site and site.kind == "int"}
