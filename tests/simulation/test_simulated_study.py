"""A simulated study: judged by the real ledger, deterministic, and worth something to an agent."""

import math

import pytest

from autoresearch_rl.agent.agents import make_agent
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.judgement.acceptance import REFERENCE_RUNS, Ledger
from autoresearch_rl.planner import MOST_REJECTED
from autoresearch_rl.records import Candidate, Change, Edit, TrialKind, Verdict, script_id
from autoresearch_rl.simulation.problem import MadeProblem, Shape
from autoresearch_rl.simulation.study import SHARES, SimulatedStudy
from autoresearch_rl.target.generators.compound import DRAWN, NAME, SHARE
from autoresearch_rl.target.space import full_space

SHAPE = Shape(numbers=12, choices=3, recipes=15, mutations=10)


def study(seed: int = 0, policy: str = "random", shape: Shape = SHAPE) -> SimulatedStudy:
    return SimulatedStudy(MadeProblem(shape, seed), make_agent(policy, seed), seed)


def test_the_seed_decides() -> None:
    assert study(1).run(30).trials == study(1).run(30).trials != study(2).run(30).trials


def test_it_runs_in_steps_as_at_once() -> None:
    steps = study(1)
    for n in (5, 17, 30):
        steps.run(n)
    assert steps.trials == study(1).run(30).trials


def test_the_reference_is_measured_first_and_the_ledger_follows_from_the_trials() -> None:
    found = study(3).run(60)
    assert [t.kind for t in found.trials[:REFERENCE_RUNS]] == [TrialKind.REFERENCE] * REFERENCE_RUNS
    again = Ledger.replay(script_id(found.problem.baseline), found.trials)
    assert (again.incumbent, again.leader, again.noise) == (
        found.ledger.incumbent,
        found.ledger.leader,
        found.ledger.noise,
    )
    assert [t.number for t in found.trials] == list(range(len(found.trials)))


def test_nothing_is_tried_twice_on_a_script() -> None:
    trials = [t for t in study(4).run(80).trials if t.kind is TrialKind.EXPLORE]
    assert len({(t.parent, t.edit) for t in trials}) == len(trials)


def test_it_has_every_generator_and_outcome_that_the_real_one_has() -> None:
    trials = [t for seed in range(14) for t in study(seed).run(60).trials]
    assert {t.candidate.generator for t in trials if t.candidate} == set(SHARES)
    wanted = {Verdict.KEEP, Verdict.PROVISIONAL, Verdict.DISCARD, Verdict.PRUNED, Verdict.CRASH}
    assert {t.verdict for t in trials} == wanted
    real = full_space("cpu", 100_000, program=False)
    total = sum(SHARES.values())
    assert real.shares() == pytest.approx({name: share / total for name, share in SHARES.items()})
    assert SHARES[NAME] == SHARE
    assert DRAWN > 0


def test_a_search_gains_and_what_is_true_is_not_what_was_measured() -> None:
    found = [study(seed).run(60) for seed in range(4)]
    for one in found:
        assert one.best() <= one.problem.truth(one.problem.baseline)
    assert sum(one.best() < 0.97 * SHAPE.start for one in found) >= 3


@pytest.mark.parametrize("policy", ["ppo", "greedy", "improvement", "thompson", "tpe", "cmaes"])
def test_any_agent_can_play(policy: str) -> None:
    trials = study(0, policy).run(25).trials
    assert sum(t.counts for t in trials) == 25


class Diverging(MadeProblem):
    """Every script but the first trains to no finite number."""

    def __init__(self, loss: float, first: float | None = 1.0) -> None:
        super().__init__(SHAPE, 0)
        self._loss, self._first = loss, first

    def truth(self, source: str) -> float | None:
        return self._first if source == self.baseline else self._loss


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_what_diverges_has_crashed(loss: float) -> None:
    found = SimulatedStudy(Diverging(loss), make_agent("ppo", 0), 0).run(12)
    assert {t.verdict for t in found.trials if t.kind is TrialKind.EXPLORE} == {Verdict.CRASH}
    assert found.best() == 1.0


@pytest.mark.parametrize("first", [None, math.nan, math.inf])
def test_a_baseline_has_to_run(first: float | None) -> None:
    with pytest.raises(ConfigurationError, match="the baseline of the problem crashes"):
        SimulatedStudy(Diverging(1.0, first), make_agent("ppo", 0), 0)


class Picky(MadeProblem):
    """No edit fits."""

    def apply(self, source: str, edit: Edit) -> str:
        raise KeyError(source)


def test_it_ends_where_no_edit_fits() -> None:
    found = SimulatedStudy(Picky(SHAPE, 0), make_agent("random", 0), 0).run(30)
    assert [t.verdict for t in found.trials[REFERENCE_RUNS:]] == [Verdict.REJECTED] * MOST_REJECTED


class Rate:
    """One number, and two edits of it."""

    baseline, sigma = "rate = 1.0", 0.01

    def candidates(self, source: str) -> list[Candidate]:
        old = source.split(" = ")[1]
        edits = [Edit((Change("rate", old, str(float(old) * factor)),)) for factor in (0.5, 2.0)]
        return [Candidate(e, "literals", "scale", sign, 0.69) for e, sign in zip(edits, (-1, 1), strict=True)]

    def apply(self, source: str, edit: Edit) -> str:
        return f"rate = {edit.changes[0].new}"

    def truth(self, source: str) -> float | None:
        return 1.0 + (float(source.split(" = ")[1]) - 0.1) ** 2


@pytest.mark.parametrize("seed", range(6))
def test_what_leads_is_proven_or_given_up_before_the_end(seed: int) -> None:
    found = SimulatedStudy(Rate(), make_agent("random", seed), seed).run(1000)
    assert found.ledger.leader == found.ledger.incumbent
    assert found.best() < 1.2
