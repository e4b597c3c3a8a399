"""All generators together: valid, new, reversible, quick; compound edits and edits of the past."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
import toy

from autoresearch_rl.records import Candidate, Change, Edit, Trial, TrialKind, Verdict
from autoresearch_rl.target.agenda import Agenda
from autoresearch_rl.target.blocks import TEXT, edit_between
from autoresearch_rl.target.edits import apply, splices, validate
from autoresearch_rl.target.generators.compound import compounds, join
from autoresearch_rl.target.normal import normal_id, spliced
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import full_space

SCRIPTS = [Script(text) for text in toy.SCRIPTS.values()]
STDLIB = Script(toy.STDLIB)


def explored(number: int, candidate: Candidate, gain: float | None, parent: Script = STDLIB) -> Trial:
    """A trial of `candidate` on `parent`, measured unless there is no gain."""
    return Trial(
        number=number,
        kind=TrialKind.EXPLORE,
        parent=parent.id,
        script="",
        edit=candidate.edit,
        candidate=candidate,
        confirms=None,
        seed=0,
        verdict=Verdict.CRASH if gain is None else Verdict.DISCARD,
        reason="",
        incumbent_bpb=4.0,
        val_bpb=None if gain is None else 4.0 - gain,
        reward=0.0,
        train_seconds=1.0,
        wall_seconds=1.0,
        peak_memory_mb=1.0,
        sandbox="none",
        started=0.0,
        seconds={},
    )


def of(space: list[Candidate], generator: str) -> list[Candidate]:
    return [c for c in space if c.generator == generator]


def literal(site: str, old: str, new: str) -> Candidate:
    return Candidate(Edit((Change(site, old, new),)), "literals", "scale", 1, 0.7)


@pytest.mark.parametrize("script", SCRIPTS, ids=list(toy.SCRIPTS))
def test_every_candidate_applies_inverts_validates_and_is_new(script: Script) -> None:
    found = full_space().candidates(script)
    assert len(found) > 130
    assert {c.generator for c in found} >= {"literals", "recipes", "compound"}
    results = {script.normal.id}
    for candidate in random.Random(5).sample(found, 30):
        result = apply(script, candidate.edit)
        assert result.normal.id not in results
        assert validate(result.source) is None
        assert apply(result, candidate.edit.inverse).source == script.source
        results.add(result.normal.id)


def test_what_was_tried_never_comes_up_again_however_it_is_written() -> None:
    space = full_space()
    found = space.candidates(STDLIB)
    tried = [spliced(STDLIB.source, splices(STDLIB, c.edit)).replace("# model", "# the model") for c in found]
    again = space.candidates(STDLIB, {normal_id(source) for source in tried})
    assert {c.generator for c in again} <= {"compound"}  # of which there are always more


def test_candidates_are_the_same_again_and_compound_ones_change_with_each_trial() -> None:
    first, second = full_space(), full_space()
    assert first.candidates(STDLIB) == second.candidates(STDLIB) == first.candidates(STDLIB)
    before, after = (of(first.candidates(STDLIB, tried), "compound") for tried in ([], ["another"]))
    assert not set(before) & set(after)


def test_shares_add_up() -> None:
    shares = full_space().shares()
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) > 0.02


# --- compound edits


def test_a_compound_edit_does_what_its_parts_do() -> None:
    singles = of(full_space().candidates(STDLIB), "recipes") + of(full_space().candidates(STDLIB), "literals")
    found = list(compounds(STDLIB, [(c, 1.0) for c in singles], {"recipes": 1.0, "literals": 1.0}, seed=3))
    sizes = Counter(len(c.parts) for c in found)
    assert set(sizes) == {2, 3, 4}
    assert len(found) >= 24
    for candidate in found:
        assert len(set(candidate.topics)) == len(candidate.topics)
        result = apply(STDLIB, candidate.edit).source
        new = [text for part in candidate.parts for _, _, text in splices(STDLIB, part.edit)]
        assert all(text in result for text in new), str(candidate)


def test_literals_stay_named_sites_when_joined_and_lines_make_lines() -> None:
    width, batch = literal("WIDTH", "128", "256"), literal("BATCH_SIZE", "16", "8")
    joined = join(STDLIB, [width, batch], "compound", "compound")
    assert joined is not None
    assert joined.edit == Edit(width.edit.changes + batch.edit.changes)
    assert str(joined) == "WIDTH: 128 -> 256 + BATCH_SIZE: 16 -> 8"
    assert joined.topics == ("WIDTH", "BATCH_SIZE")
    recipe = next(c for c in of(full_space().candidates(STDLIB), "recipes") if c.topic == "qk_norm")
    mixed = join(STDLIB, [width, recipe], "compound", "compound")
    assert mixed is not None
    assert {change.site for change in mixed.edit.changes} == {TEXT}
    assert "WIDTH = 256" in apply(STDLIB, mixed.edit).source


def test_two_edits_of_one_site_or_one_place_are_not_joined() -> None:
    one, other = literal("WIDTH", "128", "256"), literal("WIDTH", "128", "64")
    assert join(STDLIB, [one, other], "compound", "compound") is None
    lines = Candidate(
        edit_between(STDLIB.source, STDLIB.source.replace("WIDTH = 128", "WIDTH = 32")), "x", "x", 0, 1.0, "t"
    )
    assert join(STDLIB, [one, lines], "compound", "compound") is None


def test_edits_that_undo_one_another_are_not_joined() -> None:
    script = Script("first = 1\nmoved = 2\nlast = 3\n")
    gone = Edit((Change(TEXT, "first = 1\nmoved = 2\n", "first = 1\n"),))
    again = Edit((Change(TEXT, "last = 3\n", "moved = 2\nlast = 3\n"),))
    parts = [
        Candidate(edit, "grammar", "x", 0, 1.0, topic) for topic, edit in (("gone", gone), ("again", again))
    ]
    assert all(splices(script, part.edit) for part in parts)
    assert join(script, parts, "compound", "compound") is None


def test_what_an_agent_joins_has_to_be_new_and_allowed() -> None:
    space, width, batch = full_space(), literal("WIDTH", "128", "256"), literal("BATCH_SIZE", "16", "8")
    made = space.joined(STDLIB, [width, batch])
    assert made is not None
    assert [change.new for change in made.edit.changes] == ["256", "8"]
    assert space.joined(STDLIB, [width, width]) is None
    assert space.joined(STDLIB, [width, batch], {space.result(STDLIB, made)}) is None
    for agenda in (Agenda(forbid=("compound",)), Agenda(forbid=("literals",)), Agenda(freeze=("WIDTH",))):
        assert space.joined(STDLIB, [width, batch], (), agenda) is None


# --- the past


def test_a_near_miss_on_another_script_is_tried_again_the_best_first() -> None:
    older = Script(STDLIB.source.replace("DEPTH = 4", "DEPTH = 3"))
    near, far = literal("WIDTH", "128", "256"), literal("BATCH_SIZE", "16", "8")
    history = [
        explored(1, far, -0.5, older), explored(2, near, -0.001, older),
        explored(3, literal("DEPTH", "3", "2"), 0.1, older),  # applies no longer
        explored(4, literal("HEADS", "4", "2"), None, older),  # never measured
    ]  # fmt: skip
    found = of(full_space().candidates(STDLIB, (), history), "recombination")
    singles = [c for c in found if len(c.parts) == 1]
    assert [str(c) for c in singles] == ["WIDTH: 128 -> 256", "BATCH_SIZE: 16 -> 8"]
    assert singles[0].odds > singles[1].odds
    assert (singles[0].operator, singles[0].direction) == (near.operator, near.direction)
    assert [str(c) for c in found if len(c.parts) > 1] == ["WIDTH: 128 -> 256 + BATCH_SIZE: 16 -> 8"]


def test_what_was_tried_on_this_very_script_is_only_merged() -> None:
    pair = [literal("WIDTH", "128", "256"), literal("BATCH_SIZE", "16", "8")]
    history = [explored(i, c, 0.01) for i, c in enumerate(pair)]
    tried = {apply(STDLIB, c.edit).normal.id for c in pair}
    found = of(full_space().candidates(STDLIB, tried, history), "recombination")
    assert [(c.operator, c.topics) for c in found] == [("merge", ("WIDTH", "BATCH_SIZE"))]


def test_of_a_compound_edit_that_applies_no_longer_a_part_is_tried() -> None:
    older = Script(STDLIB.source.replace("DEPTH = 4", "DEPTH = 3"))
    both = join(older, [literal("DEPTH", "3", "2"), literal("WIDTH", "128", "256")], "compound", "compound")
    assert both is not None
    found = of(full_space().candidates(STDLIB, (), [explored(1, both, 0.02, older)]), "recombination")
    assert [str(c) for c in found] == ["WIDTH: 128 -> 256"]


def test_lines_that_made_this_script_are_not_written_a_second_time() -> None:
    muon = next(c for c in of(full_space().candidates(STDLIB), "recipes") if c.topic == "muon")
    other = next(c for c in of(full_space().candidates(STDLIB), "recipes") if c.topic == "adam_eps")
    one = apply(STDLIB, muon.edit)
    width = literal("WIDTH", "128", "64")
    two = apply(one, width.edit)
    both = join(STDLIB, [muon, other], "compound", "compound")
    assert both is not None
    history = [
        replace(explored(1, muon, 0.1), script=one.id),
        replace(explored(2, width, 0.1, one), script=two.id),
        explored(3, both, 0.05),
    ]
    past = Script(STDLIB.source.replace("WIDTH = 128", "WIDTH = 64"))  # the same without Muon
    assert {str(c) for c in singles_of_the_past(past, history)} >= {"recipes: muon"}
    assert {str(c) for c in singles_of_the_past(two, history)} == {"recipes: adam_eps"}


def singles_of_the_past(script: Script, history: list[Trial]) -> list[Candidate]:
    found = of(full_space().candidates(script, (), history), "recombination")
    return [c for c in found if len(c.parts) == 1]


@pytest.mark.parametrize("forbidden", ["recipes", "recipes/adam_eps", "literals", "compound"])
def test_what_is_forbidden_does_not_come_back_from_the_past(forbidden: str) -> None:
    older = Script(STDLIB.source.replace("DEPTH = 4", "DEPTH = 3"))
    width, batch = literal("WIDTH", "128", "256"), literal("BATCH_SIZE", "16", "8")
    recipe = next(c for c in of(full_space().candidates(older), "recipes") if c.topic == "adam_eps")
    both = join(older, [width, batch], "compound", "compound")
    assert both is not None
    history = [explored(i, c, 0.01, older) for i, c in enumerate([width, recipe, both])]
    found = full_space().candidates(STDLIB, (), history, Agenda(forbid=(forbidden,)))
    generator, _, topic = forbidden.partition("/")
    for candidate in found:
        if forbidden == "compound":
            assert len(candidate.parts) < 2
        assert not any(s.generator == generator and topic in ("", s.topic) for s in candidate.singles)


def test_an_edit_of_the_past_that_could_not_be_undone_here_is_left_out() -> None:
    """Its new line stands elsewhere in one of the scripts already, so it could not be found again."""
    edit = Edit((Change(TEXT, "SPARE = 1\n", "DEPTH = 4\n"),))
    history = [explored(1, Candidate(edit, "grammar", "swap", 0, 1.0, "swap@spare"), 0.1)]
    for depth, expected in (("3", ["grammar: swap@spare"]), ("4", [])):
        here = Script(STDLIB.source.replace("DEPTH = 4\n", f"DEPTH = {depth}\nSPARE = 1\n"))
        found = of(full_space().candidates(here, (), history), "recombination")
        assert [str(c) for c in found] == expected
