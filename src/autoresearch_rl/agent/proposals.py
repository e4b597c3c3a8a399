"""Compound edits that the surrogate puts together: what TPE and CMA-ES would move at once, and structure too.

Each is the best of one draw from what is believed: for every topic the edit that gains most in this draw,
the topics that gain most together in one edit (Thompson sampling, Russo et al., arXiv 1707.02038; over an
additive model the best compound consists of the best parts, Kandasamy et al., arXiv 1503.01673).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoresearch_rl.agent.evidence import Evidence
from autoresearch_rl.records import Candidate, Edit

SIZES = (2, 2, 3, 3, 4, 5, 6, 8)  # how many edits at once
COMPOSED = 16  # draws for each decision
UNTRIED = 1  # edits on which nothing was measured, in one compound: most of those are bad


def compose(evidence: Evidence, rng: np.random.Generator) -> list[Candidate]:
    """Up to `COMPOSED` different compound candidates; none where the state cannot join them."""
    join = evidence.state.join
    if join is None or not evidence.memory.events:
        return []
    singles = _Singles(evidence)
    found: dict[Edit, Candidate] = {}
    for _ in range(COMPOSED):
        parts = singles.draw(int(rng.choice(SIZES)), rng)
        if len(parts) > 1 and (made := join(parts)) and made.edit not in found:
            found[made.edit] = made
    return list(found.values())


class _Singles:
    """The single candidates, grouped by topic."""

    def __init__(self, evidence: Evidence) -> None:
        columns = [i for i, c in enumerate(evidence.candidates) if not c.parts and len(c.topics) == 1]
        topics = [evidence.candidates[i].topics[0] for i in columns]
        index = {topic: i for i, topic in enumerate(dict.fromkeys(topics))}
        self.candidates = [evidence.candidates[i] for i in columns]
        self.topic = np.array([index[topic] for topic in topics], dtype=np.int64)
        self.mean, self.sd = evidence.mean[columns], evidence.sd[columns]
        self.known = np.array([topic in evidence.memory.topic for topic in index], dtype=bool)

    def draw(self, size: int, rng: np.random.Generator) -> Sequence[Candidate]:
        """The best of a draw, at most `size` of different topics."""
        luck = rng.standard_normal(len(self.known))
        gains = self.mean + self.sd * luck[self.topic]
        parts: list[Candidate] = []
        taken: set[int] = set()
        untried = 0
        for i in np.argsort(-gains, kind="stable"):
            topic = int(self.topic[i])
            if gains[i] <= 0.0 or len(parts) == size:
                break
            fresh = not self.known[topic]
            if topic in taken or (fresh and untried == UNTRIED):
                continue
            taken.add(topic)
            untried += fresh
            parts.append(self.candidates[i])
        return parts
