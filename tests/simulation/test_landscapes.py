"""Landscapes: every family is a problem, drawn by its seed, and as good at best as it says."""

import random

import numpy as np
import pytest

from autoresearch_rl.records import Candidate, Change, Edit
from autoresearch_rl.simulation.landscapes.drawing import draw
from autoresearch_rl.simulation.landscapes.families import FAMILIES
from autoresearch_rl.simulation.landscapes.landscape import KEPT, Landscape
from autoresearch_rl.simulation.landscapes.places import OFF, REACH, Place
from autoresearch_rl.simulation.landscapes.surface import Surface
from autoresearch_rl.simulation.landscapes.tables import additive, effects
from autoresearch_rl.simulation.landscapes.terms import couplings, together
from autoresearch_rl.simulation.problem import Problem


def truths(problem: Problem) -> list[float | None]:
    return [
        problem.truth(problem.apply(problem.baseline, candidate.edit))
        for candidate in problem.candidates(problem.baseline)
    ]


def walked(problem: Problem, seed: int, steps: int) -> list[str]:
    """Scripts on a random way from the baseline."""
    dice, source, found = random.Random(seed), problem.baseline, list[str]()
    for _ in range(steps):
        source = problem.apply(source, dice.choice(problem.candidates(source)).edit)
        found.append(source)
    return found


# --- all families


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_a_problem(family: str) -> None:
    problem = draw(0, family)
    start = problem.truth(problem.baseline)
    assert start == pytest.approx(problem.start)
    assert 0.0 < problem.best < problem.start
    assert problem.sigma > 0.0
    found = truths(problem)
    assert all(bpb is None or 0.0 < bpb < 10.0 * problem.start for bpb in found)
    assert any(bpb is not None and bpb < problem.start for bpb in found) or family == "deceptive"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_candidate_applies_changes_something_and_can_be_undone(family: str) -> None:
    problem = draw(1, family)
    for source in [problem.baseline, *walked(problem, 0, 3)]:
        offered = problem.candidates(source)
        results = [problem.apply(source, candidate.edit) for candidate in offered]
        assert source not in results
        assert len(set(results)) == len(results)
        for candidate, result in zip(offered, results, strict=True):
            assert problem.apply(result, candidate.edit.inverse) == source


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_that_a_random_search_finds_is_below_the_best(family: str) -> None:
    problem = draw(2, family)
    scripts = [source for seed in range(8) for source in walked(problem, seed, 12)]
    found = [bpb for bpb in map(problem.truth, scripts) if bpb is not None]
    assert len(found) > 10
    assert problem.best <= min(found)


def test_the_seed_decides() -> None:
    first = draw(3, "table")
    draw.cache_clear()
    again, other = draw(3, "table"), draw(4, "table")
    assert again is not first
    assert (again.baseline, again.best, again.sigma) == (first.baseline, first.best, first.sigma)
    assert truths(again) == truths(first) != truths(other)
    assert draw(len(FAMILIES) + 1).family == FAMILIES[1]
    with pytest.raises(ValueError, match="index"):
        draw(0, "no such family")


def test_a_script_that_was_not_made_here_is_read() -> None:
    made, fresh = draw(5, "recipes"), draw.__wrapped__(5, "recipes")
    for source in walked(made, 1, 30):
        assert fresh.truth(source) == made.truth(source)
        assert fresh.candidates(source) == made.candidates(source)


def test_what_is_forgotten_is_found_again() -> None:
    problem = draw(0, "table")
    before = truths(problem)
    ways = walked(problem, 0, KEPT + 10)
    assert len(set(ways)) > KEPT // 2
    assert truths(problem) == before


# --- edits that do not fit


def structural(problem: Problem, generator: str) -> list[Candidate]:
    return [c for c in problem.candidates(problem.baseline) if c.generator == generator]


def test_an_edit_of_another_script_is_refused() -> None:
    problem = draw(0, "bowl")
    number = next(c.edit.changes[0] for c in problem.candidates(problem.baseline) if c.operator == "scale")
    recipe = structural(problem, "recipes")[0].edit.changes[0]
    refused = [
        Change(number.site, "no such text", number.new),
        Change(number.site, number.old, "-1"),
        Change(number.site, number.old, "no number"),
        Change("no such site", number.old, number.new),
        Change(recipe.site, recipe.old, "another recipe"),
    ]
    for change in refused:
        with pytest.raises(KeyError):
            problem.apply(problem.baseline, Edit((change,)))


def test_of_the_mutations_of_a_block_one_can_be_made() -> None:
    problem = draw(0, "recipes")
    by_site: dict[str, list[Candidate]] = {}
    for candidate in structural(problem, "grammar"):
        by_site.setdefault(candidate.edit.changes[0].site, []).append(candidate)
    one, other, *_ = next(found for found in by_site.values() if len(found) > 1)
    after = problem.apply(problem.baseline, one.edit)
    assert not {one.topic, other.topic} & {c.topic for c in problem.candidates(after)}
    with pytest.raises(KeyError):
        problem.apply(after, other.edit)


def test_a_recipe_brings_its_number() -> None:
    problem, brought = draw(0, "recipes"), 0
    before = {t for c in problem.candidates(problem.baseline) for t in c.topics}
    for recipe in structural(problem, "recipes"):
        after = problem.apply(problem.baseline, recipe.edit)
        fresh = [c for c in problem.candidates(after) if c.topics[0] not in before]
        brought += bool(fresh)
        for candidate in fresh[:1]:
            with pytest.raises(KeyError):
                problem.apply(problem.baseline, candidate.edit)
    assert brought > 1


# --- the parts


def test_a_number_moves_within_its_reach() -> None:
    ladder = (0.1, 0.3, 3.0, 10.0)
    for kind, text in (("float", "0.02"), ("share", "0.95"), ("int", "64"), ("step", "6")):
        place = Place("a", kind, "a", (text,), ladder)
        domain = place.domain()
        assert len(domain) > 5
        assert np.abs(domain).max() <= REACH
        assert place.x(text) == 0.0
        for new, _ in place.moves(text):
            assert (place.x(new) > 0.0) == (float(new) > float(text))


def test_switches_choices_and_structural_edits_have_a_coordinate_for_each_text() -> None:
    choice = Place("a", "choose", "a", ("'a'", "'b'", "'c'"))
    assert [choice.x(new) for new, _ in choice.moves("'b'")] == [0.0, 2.0]
    recipe = Place("b", "recipe", "block 0", (OFF, "b"), operator="optimizer")
    assert recipe.moves(OFF) == [("b", "optimizer")]
    assert recipe.moves("b") == []
    assert (recipe.x("b"), recipe.x(OFF), recipe.x("another")) == (1.0, 0.0, 0.0)


def surface_of(*terms: object) -> Surface:
    return Surface(np.ones(3), terms, np.zeros((3, 17), bool), np.array([[0, 2]]))  # type: ignore[arg-type]


def test_of_the_gains_in_a_group_only_the_best_counts() -> None:
    table = np.zeros((3, 17))
    table[:, 9] = [-1.0, -2.0, 4.0]
    x = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert surface_of(additive(table)).values(x).tolist() == [-3.0, 3.0, 4.0]
    assert surface_of(additive(table, [[0, 1]])).values(x).tolist() == [-2.0, 3.0, 4.0]
    assert surface_of(additive(table, ceiling=0.5)).values(x)[0] == pytest.approx(-0.5, abs=0.01)


def test_a_set_of_changes_costs_until_it_is_whole() -> None:
    term = together([{0: 1.0, 1: -2.0}, {0: 1.0, 1: 1.0, 2: 1.0}], np.array([5.0, 7.0]), np.array([1.0, 3.0]))
    x = np.array([[1.0, 0.0, 0.0], [1.0, -2.0, 0.0], [1.0, -1.0, 0.0], [2.0, 1.0, 1.0]])
    assert surface_of(term).values(x) == pytest.approx([0.5 + 1.0, -5.0 + 1.0, 0.5 + 1.0, 0.5 - 7.0])


def test_couplings_need_both_and_clashes_crash() -> None:
    surface = surface_of(couplings(np.array([[0, 1]]), np.array([2.0])))
    x = np.array([[3.0, 0.5, 0.0], [3.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert surface.values(x).tolist() == [1.0, 0.0, 0.0]
    assert surface.crashes(x).tolist() == [False, True, False]


@pytest.mark.parametrize("tail", ["t", "lognormal", "mixture"])
def test_effects_help_as_often_as_is_said(tail: str) -> None:
    found = effects(np.random.default_rng(0), tail, (4000,), 0.3)
    assert (found < -0.1).mean() == pytest.approx(0.3, abs=0.07)
    assert (np.abs(found) < 0.1).mean() == pytest.approx(0.3, abs=0.07)


def test_a_sparse_family_is_sparser() -> None:
    def share(problem: Landscape) -> float:
        found = truths(problem)
        return sum(bpb is not None and bpb < 0.999 * problem.start for bpb in found) / len(found)

    sparse = [share(draw(seed, "sparse")) for seed in range(2)]
    bowl = [share(draw(seed, "bowl")) for seed in range(2)]
    assert sum(sparse) < 0.7 * sum(bowl)
