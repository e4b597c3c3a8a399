"""What a researcher expects of an edit before any policy has learnt: odds written by hand.

From scratch PPO learns next to nothing in a study's first hundred trials (docs/log.md). Until a pretrained
policy knows better, these odds stand in the candidate's features and are added to the policy's scores, so
that PPO learns what they get wrong ("residual policy learning", Silver et al., arXiv 1812.06298).
"""

from __future__ import annotations

import math

from autoresearch_rl.agent.tallies import UNTRIED, Memory
from autoresearch_rl.records import Candidate

COARSE_STEPS = (0.4, 1.7)  # |ln(new / old)|: a factor of 1.5 to 5.5
BOLD = math.log(4.0)  # for a bold step: noise hides a nudge, and a leap mostly breaks something
SWITCH = math.log(0.5)  # for a choice: what a number governs matters more often
MOMENTUM = math.log(3.0)  # once this direction was kept at this place
MIRROR = math.log(6.0)  # once the other direction was clearly worse
REPEAT = math.log(0.25)  # once this direction was tried without success
CLEAR = 0.2  # a squashed effect: 1.2 times an ordinary one
RECOMBINATION = "recombination"
LIMIT = math.log(32.0)  # no odds are further from even


def log_odds(candidate: Candidate, memory: Memory) -> float:
    """The logarithm of the odds of `candidate` against an untried number, within +-`LIMIT`."""
    singles = candidate.singles
    odds = sum(_single(single, memory) for single in singles) / len(singles)
    if candidate.generator == RECOMBINATION:  # its history is why it is here
        odds = candidate.odds
    return max(-LIMIT, min(LIMIT, odds))


def _single(candidate: Candidate, memory: Memory) -> float:
    low, high = COARSE_STEPS
    odds = candidate.odds + (BOLD if low <= candidate.magnitude <= high else 0.0)
    if candidate.operator in ("toggle", "choose"):
        odds += SWITCH
    topics = candidate.topics
    return odds + sum(_history(topic, candidate.direction, memory) for topic in topics) / max(1, len(topics))


def _history(topic: str, direction: int, memory: Memory) -> float:
    same = memory.at.get((topic, direction), UNTRIED)
    if same.successes:
        return MOMENTUM
    if same.tries:
        return REPEAT
    other = memory.at.get((topic, -direction), UNTRIED) if direction else UNTRIED
    return MIRROR if other.measured and other.last_effect < -CLEAR else 0.0
