"""What a researcher expects of an edit before any policy has learnt: odds written by hand.

From scratch PPO learns next to nothing in a study's first hundred trials (docs/log.md). Until a pretrained
policy knows better, these odds stand in the candidate's features and are added to the policy's scores, so
that PPO learns what they get wrong ("residual policy learning", Silver et al., arXiv 1812.06298).
"""

from __future__ import annotations

import math

from autoresearch_rl.agent.tallies import UNTRIED, Memory
from autoresearch_rl.records import Candidate

MOMENTUM = math.log(3.0)  # once this direction led at this place, until it no longer does
MIRROR = math.log(6.0)  # once the other direction was clearly worse
REPEAT = math.log(0.25)  # once this direction was tried without success
CLEAR = 0.2  # a squashed effect: 1.2 times an ordinary one
RECOMBINATION = "recombination"
LIMIT = math.log(32.0)  # no odds are further from even


def log_odds(candidate: Candidate, memory: Memory) -> float:
    """The logarithm of the odds of `candidate` against an ordinary edit, within +-`LIMIT`.

    Those that its generator gives it, and what the history adds.
    """
    singles = candidate.singles
    odds = sum(_single(single, memory) for single in singles) / len(singles)
    if candidate.generator == RECOMBINATION:  # its history is why it is here
        odds = candidate.odds
    return max(-LIMIT, min(LIMIT, odds))


def _single(candidate: Candidate, memory: Memory) -> float:
    found = [_history(topic, candidate.direction, memory) for topic in candidate.topics]
    return candidate.odds + sum(found) / max(1, len(found))


def _history(topic: str, direction: int, memory: Memory) -> float:
    same = memory.at.get((topic, direction), UNTRIED)
    if same.last_led:
        return MOMENTUM
    if same.tries:
        return REPEAT
    other = memory.at.get((topic, -direction), UNTRIED) if direction else UNTRIED
    return MIRROR if other.measured and other.last_effect < -CLEAR else 0.0
