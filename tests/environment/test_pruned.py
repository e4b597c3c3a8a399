"""A run that is given up: stopped at once, without a model, and told apart from one that failed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from autoresearch_rl.environment.frozen import FrozenEnvironment
from autoresearch_rl.records import OutcomeStatus, Probe
from tiny import BIGRAM


def test_a_run_that_is_given_up_ends_at_once_and_leaves_nothing(each_environment: FrozenEnvironment) -> None:
    seen: list[int] = []

    def give_up(probes: Sequence[Probe]) -> str | None:
        seen.append(len(probes))
        return "hopeless" if len(probes) == 2 else None

    longer = replace(each_environment, task=replace(each_environment.task, seconds=3.0))
    files = len(os.listdir("/proc/self/fd"))
    outcome = longer.run(BIGRAM, 1, give_up=give_up)
    assert (outcome.status, outcome.reason) == (OutcomeStatus.PRUNED, "hopeless"), outcome.reason
    assert (outcome.val_bpb, outcome.evaluate_seconds) == (None, 0.0)
    assert seen == [1, 2] == list(range(1, len(outcome.probes) + 1))
    assert 0.6 <= outcome.train_seconds < 1.5
    assert outcome.run_seconds < 20
    assert len(os.listdir("/proc/self/fd")) == files


def test_probes_carry_the_learning_rate_that_was_reported_last(environment: FrozenEnvironment) -> None:
    outcome = environment.run(BIGRAM, 1)
    rates = [probe.lr for probe in outcome.probes]
    assert len(rates) >= 5
    assert all(rate is not None and 0 < rate <= 0.1 for rate in rates)
    assert rates == sorted(rates, key=lambda rate: -(rate or 0.0)), "the script lowers it as it goes"
    silent = BIGRAM.replace("env.report(loss=loss.item(), lr=lr)", "env.report(loss=loss.item())")
    assert {probe.lr for probe in environment.run(silent, 1).probes} == {None}


def test_who_never_gives_up_hears_of_every_probe(environment: FrozenEnvironment) -> None:
    told: list[int] = []
    outcome = environment.run(BIGRAM, 1, give_up=lambda probes: told.append(len(probes)))
    assert outcome.status is OutcomeStatus.OK
    assert told == list(range(1, len(outcome.probes) + 1))
