import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from playing import Bandit, make_candidate, make_state, make_trial

from autoresearch_rl.agent.health import RECENT, credit, diversity
from autoresearch_rl.agent.ppo_agent import SHAKEN, SLATE, from_scratch
from autoresearch_rl.records import Trial, TrialKind, Verdict


def test_a_search_that_tries_different_things_is_healthy():
    found = diversity([make_trial(n, make_candidate(f"site_{n}"), gain=-0.1) for n in range(40)])
    assert (found.unique, found.collapsed) == (1.0, False)


def test_the_same_again_and_again_is_a_collapse_until_it_leads():
    same = [make_trial(n, make_candidate("lr", new=str(n)), gain=-0.1) for n in range(RECENT)]
    found = diversity(same)
    assert (found.unique, found.favourite, found.collapsed) == (1 / RECENT, "lr", True)
    assert not diversity(same[1:]).collapsed  # too few to tell
    assert not diversity([*same[:-1], replace(same[-1], verdict=Verdict.PROVISIONAL)]).collapsed
    fresh = [make_trial(n, make_candidate(f"site_{n}"), gain=-0.1) for n in range(RECENT)]
    assert not diversity([*same, *fresh]).collapsed


def test_half_of_all_draws_are_even_while_the_search_has_collapsed() -> None:
    """Nothing is less likely then than an even draw in half of the cases makes it."""
    state = make_state(candidates=Bandit(0).candidates)
    same = [make_trial(n, make_candidate("lr", new=str(n)), gain=-0.1) for n in range(RECENT)]

    def least(history: Sequence[Trial]) -> float:
        agent = from_scratch(0)
        torch.nn.init.normal_(agent.network.actor.weight, std=9.0, generator=torch.Generator().manual_seed(0))
        chosen = [agent.decide(replace(state, history=tuple(history))).decision for _ in range(40)]
        return min(decision.log_prob for decision in chosen)

    assert least(same) >= math.log(SHAKEN / SLATE)
    assert least(same[1:]) < math.log(SHAKEN / SLATE)


def test_nothing_tried_is_no_collapse():
    assert not diversity([]).collapsed
    assert not diversity([make_trial(0)]).collapsed


def test_credit_is_for_what_led_and_held():
    history = [
        make_trial(0, make_candidate(), Verdict.PROVISIONAL, gain=0.3),
        make_trial(1, make_candidate(), Verdict.KEEP, gain=0.2),
        make_trial(2, make_candidate(), Verdict.DISCARD, gain=-0.2),
        make_trial(3, replace(make_candidate(), generator="recipes"), Verdict.CRASH),
        replace(make_trial(4, make_candidate(), gain=-0.1), kind=TrialKind.CONFIRM, confirms=0),
    ]
    found = credit(history)
    assert list(found) == ["literals", "recipes"]
    assert (found["literals"].tried, found["literals"].led) == (3, 1)
    assert found["literals"].gain == pytest.approx(0.2)
    assert (found["recipes"].tried, found["recipes"].led, found["recipes"].gain) == (1, 0, 0.0)
