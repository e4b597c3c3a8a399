from dataclasses import replace

import numpy as np
from playing import make_candidate, make_state, make_trial

from autoresearch_rl.agent.evidence import Reader
from autoresearch_rl.agent.proposals import compose
from autoresearch_rl.records import Candidate, Edit, Verdict

SINGLES = [make_candidate(f"site_{i}", new=new) for i in range(6) for new in ("2.0", "4.0")]


def join(parts):
    edit = Edit(tuple(change for part in parts for change in part.edit.changes))
    return Candidate(edit, "compound", "compound", 0, 1.0, parts=tuple(parts))


def evidence(joins=join, history=()):
    return Reader().read(replace(make_state(history, SINGLES), join=joins))


def measured(gains):
    return [
        make_trial(n, SINGLES[2 * n], Verdict.DISCARD, gain=gain, script=str(n))
        for n, gain in enumerate(gains)
    ]


def test_what_cannot_be_joined_is_not_composed():
    assert compose(evidence(None, measured([0.1])), np.random.default_rng(0)) == []
    assert compose(evidence(lambda parts: None, measured([0.1])), np.random.default_rng(0)) == []


def test_nothing_is_composed_before_anything_is_known():
    assert compose(evidence(), np.random.default_rng(0)) == []


def test_a_compound_has_several_topics_and_each_once():
    found = compose(evidence(history=measured([0.2, 0.1, -0.3, 0.1])), np.random.default_rng(0))
    assert found
    for candidate in found:
        assert len(candidate.parts) > 1
        assert len(set(candidate.topics)) == len(candidate.topics)
    assert len({candidate.edit for candidate in found}) == len(found)


def test_what_has_gained_is_in_more_often_than_what_has_lost():
    history = measured([0.3, 0.3, -0.3, -0.3])
    parts = [
        part.edit.changes[0].site
        for seed in range(20)
        for candidate in compose(evidence(history=history), np.random.default_rng(seed))
        for part in candidate.parts
    ]
    gained, lost = (sum(parts.count(f"site_{i}") for i in pair) for pair in ((0, 1), (2, 3)))
    assert gained > 1.3 * lost > 0  # one loss of an ordinary size does not rule out a gain further on


def test_at_most_one_part_is_untried():
    known = {"site_0", "site_1", "site_2"}
    for candidate in compose(evidence(history=measured([0.3, 0.3, 0.3])), np.random.default_rng(0)):
        assert sum(topic not in known for topic in candidate.topics) <= 1


def test_the_dice_decide():
    seen = evidence(history=measured([0.3, 0.1, 0.2]))
    again = [compose(seen, np.random.default_rng(3)) for _ in range(2)]
    assert again[0] == again[1] != compose(seen, np.random.default_rng(4))
