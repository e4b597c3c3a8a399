"""Made problems: drawn by their seed, consistent, and as hard as they are said to be."""

import math
from dataclasses import replace

import pytest

from autoresearch_rl.records import Change, Edit
from autoresearch_rl.simulation.problem import MadeProblem, Problem, Shape

SHAPE = Shape(numbers=12, choices=3, recipes=15, mutations=10)


def gains(problem: Problem) -> dict[str, float]:
    """True gain of every candidate of the baseline that does not crash."""
    start, found = problem.truth(problem.baseline), {}
    assert start is not None
    for candidate in problem.candidates(problem.baseline):
        bpb = problem.truth(problem.apply(problem.baseline, candidate.edit))
        if bpb is not None:
            found[str(candidate)] = start - bpb
    return found


def test_the_seed_decides() -> None:
    assert gains(MadeProblem(SHAPE, 1)) == gains(MadeProblem(SHAPE, 1)) != gains(MadeProblem(SHAPE, 2))


@pytest.mark.parametrize("seed", range(5))
def test_every_candidate_applies_changes_something_and_can_be_undone(seed: int) -> None:
    problem = MadeProblem(SHAPE, seed)
    source = problem.baseline
    for _ in range(4):
        results = set()
        for candidate in problem.candidates(source):
            result = problem.apply(source, candidate.edit)
            results.add(result)
            assert result != source
            if not candidate.topic:
                assert problem.apply(result, candidate.edit.inverse) == source
        assert len(results) == len(problem.candidates(source))
        source = max(results)


def test_an_edit_of_another_script_is_refused() -> None:
    problem = MadeProblem(SHAPE, 0)
    with pytest.raises(KeyError):
        problem.apply(problem.baseline, Edit((Change("WIDTH", "no such value", "2"),)))


def test_the_baseline_measures_what_the_shape_says() -> None:
    problem = MadeProblem(replace(SHAPE, start=1.0, floor=0.9, noise=0.02), 3)
    assert problem.truth(problem.baseline) == 1.0
    assert problem.sigma == pytest.approx(0.002)


def test_a_baseline_that_is_far_from_good_has_more_to_gain() -> None:
    def best(distance: float) -> float:
        drawn = [MadeProblem(replace(SHAPE, distance=distance), seed) for seed in range(20)]
        return sum(max(gains(problem).values()) for problem in drawn)

    assert best(2.0) > 1.5 * best(0.2)


def test_a_recipe_brings_its_number_and_is_offered_once() -> None:
    problem = MadeProblem(replace(SHAPE, recipes=30), 0)
    recipes = [c for c in problem.candidates(problem.baseline) if c.generator == "recipes"]
    assert len(recipes) == 30
    brought = 0
    for recipe in recipes:
        after = problem.apply(problem.baseline, recipe.edit)
        offered = problem.candidates(after)
        assert recipe.topic not in {c.topic for c in offered}
        before = {t for c in problem.candidates(problem.baseline) for t in c.topics}
        brought += any(t not in before for c in offered for t in c.topics)
    assert 5 < brought < 25


def test_some_optima_need_two_numbers_to_move_together() -> None:
    """A step that loses alone and gains more with its partner than the partner does alone."""
    found = 0
    for seed in range(30):
        problem = MadeProblem(
            Shape(numbers=6, choices=0, recipes=0, mutations=0, coupled=1.0, inert=0.0), seed
        )
        start = problem.truth(problem.baseline)
        singles = [c for c in problem.candidates(problem.baseline) if 0.6 < c.magnitude < 1.2]
        alone = {c.edit: problem.truth(problem.apply(problem.baseline, c.edit)) for c in singles}
        for a in singles:
            for b in singles:
                one, other = alone[a.edit], alone[b.edit]
                if a.topics == b.topics or one is None or other is None or one <= start:
                    continue
                both = problem.truth(problem.apply(problem.baseline, Edit(a.edit.changes + b.edit.changes)))
                found += both is not None and both < min(start, other)
    assert found > 30


def test_few_candidates_help_and_some_crash() -> None:
    helps = crashes = total = 0
    for seed in range(20):
        problem = MadeProblem(SHAPE, seed)
        found, offered = gains(problem), len(problem.candidates(problem.baseline))
        helps += sum(gain > problem.sigma for gain in found.values())
        crashes += offered - len(found)
        total += offered
    assert 0.05 < helps / total < 0.4
    assert 0.005 < crashes / total < 0.1


def test_gains_multiply_what_is_left() -> None:
    """However many help, the floor is never reached."""
    problem = MadeProblem(replace(SHAPE, helps=1.0, gain=1.0), 0)
    source = problem.baseline
    for candidate in problem.candidates(source):
        if candidate.generator == "recipes":
            source = problem.apply(source, candidate.edit)
    bpb = problem.truth(source)
    assert bpb is None or problem.shape.floor < bpb / problem.shape.start < 1.0
    assert math.isfinite(problem.sigma)
