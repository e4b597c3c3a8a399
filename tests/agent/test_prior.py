"""The odds written by hand: what the agent expects before it has learnt."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from playing import INCUMBENT, make_candidate, make_trial

from autoresearch_rl.agent import prior
from autoresearch_rl.agent.prior import log_odds
from autoresearch_rl.agent.tallies import OUTGROWN, remember
from autoresearch_rl.records import Candidate, Trial, TrialKind, Verdict

UP, DOWN = make_candidate("a", magnitude=0.7), make_candidate("a", direction=-1, magnitude=0.7)


def odds(candidate: Candidate, *history: Trial, leader: float = INCUMBENT) -> float:
    return math.exp(log_odds(candidate, remember(history, 0.02, leader)))


def test_it_starts_from_the_odds_that_the_generator_gives() -> None:
    assert odds(replace(UP, odds=math.log(0.25))) == pytest.approx(odds(UP) / 4)


def test_after_a_clear_loss_the_other_way_is_likely_and_the_same_way_is_not() -> None:
    lost = make_trial(0, UP, gain=-0.1)
    assert odds(DOWN, lost) == pytest.approx(6 * odds(DOWN))
    assert odds(UP, lost) == pytest.approx(odds(UP) / 4)


def test_a_loss_within_the_noise_says_nothing_about_the_other_way() -> None:
    assert odds(DOWN, make_trial(0, UP, gain=-0.005)) == odds(DOWN)


def test_what_was_kept_goes_on() -> None:
    assert odds(UP, make_trial(0, UP, Verdict.KEEP, gain=0.1)) == pytest.approx(3 * odds(UP))


def test_what_was_kept_and_then_lost_does_not_go_on() -> None:
    history = make_trial(0, UP, Verdict.KEEP, gain=0.1), make_trial(1, UP, gain=-0.1)
    assert odds(UP, *history) == pytest.approx(odds(UP) / 4)


def test_another_site_is_left_alone_and_no_odds_leave_the_limit() -> None:
    assert odds(make_candidate("b", magnitude=0.7), make_trial(0, UP, gain=-0.1)) == odds(UP)
    assert abs(log_odds(DOWN, remember([make_trial(0, UP, gain=-9.0)], 0.02, INCUMBENT))) <= prior.LIMIT


def test_what_failed_on_a_script_that_was_much_worse_may_help_now() -> None:
    lost = make_trial(0, UP, gain=-0.1)
    slightly, much = INCUMBENT / OUTGROWN + 0.01, INCUMBENT / OUTGROWN - 0.01
    assert odds(UP, lost, leader=slightly) == pytest.approx(odds(UP) / 4)
    assert odds(UP, lost, leader=much) == odds(UP)
    assert odds(UP, lost, leader=math.nan) == pytest.approx(odds(UP) / 4)


def test_faster_hardware_outgrows_nothing() -> None:
    lost = make_trial(0, UP, gain=-0.1)
    moved = make_trial(1, kind=TrialKind.REFERENCE, segment=1, val_bpb=INCUMBENT / 2)
    assert odds(UP, lost, moved, leader=INCUMBENT / 2) == pytest.approx(odds(UP) / 4)


def test_what_led_on_a_script_that_was_much_worse_goes_on() -> None:
    kept = make_trial(0, UP, Verdict.KEEP, gain=0.1)
    assert odds(UP, kept, leader=INCUMBENT / 2) == pytest.approx(3 * odds(UP))
