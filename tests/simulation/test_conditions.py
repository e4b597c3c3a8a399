"""Conditions change what they say, and nothing else decides."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean, pstdev

import pytest

from autoresearch_rl.agent.agents import make_agent
from autoresearch_rl.records import Candidate, Edit, State, Trial, TrialKind, Verdict
from autoresearch_rl.simulation.conditions import Conditions, draw_conditions
from autoresearch_rl.simulation.landscapes.drawing import draw
from autoresearch_rl.simulation.offers import Offers
from autoresearch_rl.simulation.problem import MadeProblem, Shape
from autoresearch_rl.simulation.study import SimulatedStudy
from autoresearch_rl.simulation.tags import tags_of

PLAIN = Conditions()
SHAPE = Shape(numbers=12, choices=3, recipes=15, mutations=10)


def study(conditions: Conditions = PLAIN, seed: int = 0, policy: str = "random") -> SimulatedStudy:
    return SimulatedStudy(MadeProblem(SHAPE, seed), make_agent(policy, seed), seed, conditions)


def share(verdict: Verdict, conditions: Conditions) -> float:
    """Of the explored trials of some studies."""
    trials = [t for seed in range(3) for t in study(conditions, seed).run(60).trials]
    explored = [t for t in trials if t.kind is TrialKind.EXPLORE]
    return sum(t.verdict is verdict for t in explored) / len(explored)


def errors(conditions: Conditions) -> list[float]:
    """Of the measurements of a study, in standard deviations."""
    found = study(replace(conditions, pruned=0.0), 1).run(600)
    measured = [(t.val_bpb, found.truth(t.script)) for t in found.trials]
    return [(bpb - truth) / found.problem.sigma for bpb, truth in measured if bpb is not None and truth]


def states(conditions: Conditions, trials: int = 40) -> list[State]:
    """What an agent is shown."""
    seen: list[State] = []

    class Watching:
        agent = make_agent("random", 0)

        def propose(self, state: State) -> Candidate:
            seen.append(state)
            return self.agent.propose(state)

        def __getattr__(self, name: str) -> Callable[..., object]:
            return getattr(self.agent, name)

    found = SimulatedStudy(MadeProblem(SHAPE, 1), Watching(), 1, conditions)  # type: ignore[arg-type]
    found.run(trials)
    return seen


def test_the_default_is_no_condition_and_the_seed_decides() -> None:
    drawn = draw_conditions(random.Random(3))
    assert drawn == draw_conditions(random.Random(3)) != draw_conditions(random.Random(4))
    assert study(drawn).run(30).trials == study(drawn).run(30).trials
    assert (
        study(PLAIN).run(30).trials
        == SimulatedStudy(MadeProblem(SHAPE, 0), make_agent("random", 0), 0).run(30).trials
    )


def test_noise_is_normal_heavy_or_uneven() -> None:
    normal, heavy, uneven = (
        errors(conditions) for conditions in (PLAIN, Conditions(heavy_tails=True), Conditions(uneven=True))
    )
    assert pstdev(normal) == pytest.approx(1.0, abs=0.12)
    assert pstdev(heavy) == pytest.approx(1.0, abs=0.25)
    assert max(map(abs, normal)) < 4.0 < max(map(abs, heavy))
    assert pstdev(uneven) > 1.1 * pstdev(normal)


def test_runs_fail_for_no_reason() -> None:
    assert share(Verdict.CRASH, PLAIN) < 0.1 < share(Verdict.CRASH, Conditions(flaky=0.3))


def test_hopeless_runs_are_stopped_as_often_and_as_roughly_as_is_said() -> None:
    assert share(Verdict.PRUNED, Conditions(pruned=0.0)) == 0.0
    assert share(Verdict.PRUNED, Conditions(pruned=1.0)) > 1.5 * share(Verdict.PRUNED, Conditions(pruned=0.4))
    assert share(Verdict.PRUNED, Conditions(clearly=60.0)) < share(Verdict.PRUNED, PLAIN)

    def misses(conditions: Conditions) -> float:
        found = study(conditions, 1).run(120)
        pruned = [(t.forecast, found.truth(t.script)) for t in found.trials if t.forecast is not None]
        return fmean(abs(foreseen - truth) for foreseen, truth in pruned if truth is not None)

    assert misses(Conditions(blur=2.0, clearly=0.5)) > 2.0 * misses(Conditions(blur=0.5, clearly=0.5))


def test_some_that_were_stopped_would_have_led_as_in_real_studies() -> None:
    """Of 65 real runs that were audited 7 would have led (docs/log.md): 5 to 21 % of those stopped."""
    stopped = wrong = 0
    for seed in range(8):
        found = study(PLAIN, seed).run(100)
        for trial in found.trials:
            truth = found.truth(trial.script)
            if trial.verdict is Verdict.PRUNED and truth is not None and trial.incumbent_bpb is not None:
                stopped += 1
                wrong += truth < trial.incumbent_bpb
    assert stopped > 200
    assert 0.02 < wrong / stopped < 0.21


def test_nothing_is_stopped_before_enough_is_measured() -> None:
    trials = study(Conditions(warm_up=9, pruned=1.0), 2).run(40).trials
    first = next(t.number for t in trials if t.verdict is Verdict.PRUNED)
    before = [t for t in trials[:first] if t.kind is TrialKind.EXPLORE and t.gain is not None]
    assert len(before) >= 9


@pytest.mark.parametrize(("generator", "most"), [("compound", 24), ("recombination", 5)])
def test_as_many_are_offered_as_is_said(generator: str, most: int) -> None:
    some = Conditions(compounds=24, retried=5)
    offered = [sum(c.generator == generator for c in state.candidates) for state in states(some, 120)]
    assert 0 < max(offered) <= most
    none = Conditions(compounds=0, retried=0)
    assert {c.generator for s in states(none) for c in s.candidates} == {"literals", "recipes", "grammar"}


def test_near_misses_are_offered_in_pairs() -> None:
    def offered(conditions: Conditions) -> list[Candidate]:
        seen = states(conditions, 60)
        return [c for s in seen for c in s.candidates if c.generator == "recombination"]

    assert {c.operator for c in offered(PLAIN)}.isdisjoint({"merge"})
    merged = [c for c in offered(Conditions(merged=8)) if c.operator == "merge"]
    assert merged
    assert all(len(c.parts) > 1 and set(c.topics) == {t for p in c.parts for t in p.topics} for c in merged)


def test_of_an_edit_that_applies_no_more_the_pieces_are_offered() -> None:
    problem = MadeProblem(SHAPE, 0)
    one, *others = (c for c in problem.candidates(problem.baseline) if c.generator == "recipes")
    source = problem.apply(problem.baseline, one.edit)
    pair = joined(others[0], others[1])
    lost = replace(joined(one, *others[:2]), parts=(one, pair))

    def again(conditions: Conditions) -> list[Edit]:
        offers = Offers(problem, source, replace(conditions, compounds=0), random.Random(0))
        return [c.edit for c in offers.candidates([lost, lost]) if c.generator == "recombination"]

    assert again(PLAIN) == []
    assert again(Conditions(pieces=True)) == [pair.edit]


def joined(*parts: Candidate) -> Candidate:
    edit = Edit(tuple(change for part in parts for change in part.edit.changes))
    return Candidate(edit, "compound", "compound", 0, 1.0, parts=parts)


def test_shares_and_join_are_given_or_not() -> None:
    given, withheld = states(PLAIN, 1)[0], states(Conditions(shares=False, join=False), 1)[0]
    assert given.shares["literals"] > 0.0
    assert given.join is not None
    assert (dict(withheld.shares), withheld.join) == ({}, None)


def test_joined_edits_change_different_places() -> None:
    state = states(PLAIN, 1)[0]
    assert state.join is not None
    one, *others = state.candidates
    made = [joined for other in others[:60] if (joined := state.join([one, other]))]
    assert 40 < len(made) < 60
    assert all(len({change.site for change in c.edit.changes}) == 2 for c in made)
    blocks = [
        c for c in draw(0, "recipes").candidates(draw(0, "recipes").baseline) if c.generator == "grammar"
    ]
    rivals = [c for c in blocks if c.edit.changes[0].site == blocks[0].edit.changes[0].site]
    assert len(rivals) == 1 or state.join(rivals[:2]) is None


def test_some_structural_edits_turn_out_not_to_apply() -> None:
    conditions = Conditions(inapplicable=0.5)
    assert share(Verdict.REJECTED, PLAIN) == 0.0 < 0.1 < share(Verdict.REJECTED, conditions)
    found = study(conditions, 1).run(80)
    rejected = [t for t in found.trials if t.verdict is Verdict.REJECTED]
    applied = {t for trial in found.trials if trial not in rejected and trial.candidate
               for t in trial.candidate.topics}  # fmt: skip
    assert all(t.candidate and not set(t.candidate.topics) <= applied for t in rejected)
    assert all(t.train_seconds == 0.0 and not t.counts and t.reward < 0.0 for t in rejected)
    assert len({t.script for t in rejected}) == len({(t.parent, t.edit) for t in rejected})


def test_a_study_ends_when_nothing_is_left_to_try() -> None:
    shape = Shape(numbers=1, choices=0, recipes=0, mutations=0, ladder=(0.5, 2.0), curvature=0.0)
    nothing = Conditions(compounds=0, retried=0)
    found = SimulatedStudy(MadeProblem(replace(shape, noise=1e-9), 0), make_agent("random", 0), 0, nothing)
    explored = [t for t in found.run(10_000).trials if t.kind is TrialKind.EXPLORE]
    assert found.step() is None
    assert 2 <= len(explored) < 200


@pytest.mark.parametrize("family", ["bowl", "cliffs", "recipes", "sparse"])
def test_landscapes_are_played_under_any_conditions(family: str) -> None:
    problem = draw(0, family)
    for seed in range(3):
        conditions = draw_conditions(random.Random(seed))
        found = SimulatedStudy(problem, make_agent("greedy", seed), seed, conditions).run(40)
        assert sum(t.counts for t in found.trials) == 40
        assert problem.best <= found.best()


def test_any_problem_can_be_played_and_asked_and_told() -> None:
    """As docs/benchmark.md says, with nothing but the protocol."""

    class Coin:
        baseline, sigma = "side = heads", 0.01

        def candidates(self, source: str) -> list[Candidate]:
            old = source.rpartition(" ")[2]
            return [Candidate(edit_of(old, new), "literals", "choose", 0, 1.0) for new in SIDES if new != old]

        def apply(self, source: str, edit: Edit) -> str:
            (change,) = edit.changes
            if source != f"side = {change.old}":
                raise KeyError(change.site)
            return f"side = {change.new}"

        def truth(self, source: str) -> float | None:
            return {"heads": 1.0, "tails": 0.8, "edge": None}[source.rpartition(" ")[2]]

    coin = Coin()
    assert SimulatedStudy(coin, make_agent("ppo", 0), seed=0).run(8).best() == 0.8
    agent = make_agent("greedy", 0)
    state = State(0, coin.baseline, 1.0, 1.0, 0.01, (), tuple(coin.candidates(coin.baseline)))
    candidate = agent.propose(state)
    made = told(candidate, coin.truth(coin.apply(coin.baseline, candidate.edit)))
    assert agent.learn(made) == {}


SIDES = ("heads", "tails", "edge")


def edit_of(old: str, new: str) -> Edit:
    from autoresearch_rl.records import Change

    return Edit((Change("side", old, new),))


def told(candidate: Candidate, bpb: float | None) -> Trial:
    verdict = Verdict.CRASH if bpb is None else Verdict.DISCARD
    return Trial(
        number=0, kind=TrialKind.EXPLORE, parent="a", script="b", edit=candidate.edit, candidate=candidate,
        confirms=None, seed=0, verdict=verdict, reason="", incumbent_bpb=1.0, val_bpb=bpb, reward=0.0,
        train_seconds=1.0, wall_seconds=1.0, peak_memory_mb=0.0, sandbox="mine", started=0.0, seconds={},
    )  # fmt: skip


# --- tags


def test_tags_say_what_a_problem_is_like() -> None:
    def tags(shape: Shape) -> tuple[str, ...]:
        return tags_of(MadeProblem(shape, 0), shape.start * (1.0 - shape.floor))

    assert tags(SHAPE) == ()
    assert tags(replace(SHAPE, noise=0.5)) == ("noisy",)
    assert tags(replace(SHAPE, numbers=60)) == ("large",)
    assert "sparse" in tags(replace(SHAPE, helps=0.0, inert=1.0, choices=0, mutations=2))
    assert math.isclose(draw(0, "sparse").start, draw(0, "sparse").truth(draw(0, "sparse").baseline) or 0.0)
