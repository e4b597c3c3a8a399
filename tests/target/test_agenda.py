"""What the front matter of program.md says, and that a slip of the pen costs nothing."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
import toy

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.target.agenda import Agenda, Steering, parse_agenda
from autoresearch_rl.target.edits import splices
from autoresearch_rl.target.normal import spliced
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import full_space

STDLIB = Script(toy.STDLIB)
TEXT = """+++
freeze = ["BATCH_SIZE", "schedule"]
forbid = ["compound", "recipes/muon*"]
[weights]
recipes = 2
"literals/WIDTH" = 3.0
+++
# Research agenda
"""


def test_the_front_matter_is_read() -> None:
    weights = {"recipes": 2.0, "literals/WIDTH": 3.0}
    assert parse_agenda(TEXT) == Agenda(("BATCH_SIZE", "schedule"), ("compound", "recipes/muon*"), weights)
    assert parse_agenda("# Only prose\n+++\n") == parse_agenda("") == Agenda()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("+++\nfreeze = []\n", "has no end: add a line"),
        ("+++\nfreeze = [\n+++\n", "is not TOML"),
        ("+++\nfreese = []\n+++\n", "expected freeze, forbid, weights; found 'freese'"),
        ('+++\nfreeze = "WIDTH"\n+++\n', r"expected freeze = \[names\], found 'WIDTH'"),
        ("+++\nforbid = [1]\n+++\n", r"expected forbid = \[names\], found \[1\]"),
        ("+++\nweights = 1\n+++\n", "expected a table"),
        (
            "+++\n[weights]\nrecipes = 0\n+++\n",
            "expected a weight from 0.001 to 1000 for 'recipes'",
        ),
        ("+++\n[weights]\nrecipes = inf\n+++\n", "expected a weight from"),
        ("+++\n[weights]\nrecipes = true\n+++\n", "expected a weight from"),
        (f"+++\n[weights]\nrecipes = 1{'0' * 400}\n+++\n", "expected a weight from .* found a int"),
        (f"+++\nforbid = {'[' * 5000}\n+++\n", "the front matter is not TOML"),
    ],
)
def test_a_mistake_is_one_clear_line(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^program.md: .*{reason}") as caught:
        parse_agenda(text)
    assert "\n" not in str(caught.value)


def test_what_is_frozen_stays_and_everything_else_may_change() -> None:
    agenda = Agenda(freeze=("BATCH_SIZE", "Block.attention", "train.AdamW", "BETAS"))
    found = full_space().candidates(STDLIB, agenda=agenda)
    free = full_space().candidates(STDLIB)
    assert 100 < len(found) < len(free)
    source = STDLIB.source
    frozen = ["BATCH_SIZE = 16\n", "BETAS = (0.9, 0.95)\n"]
    frozen.append(source[source.index("    def attention") : source.index("    def forward")].rstrip())
    for candidate in found:
        result = spliced(STDLIB.source, splices(STDLIB, candidate.edit))
        assert all(text in result for text in frozen), str(candidate)
    topics = {c.topic for c in found}
    assert {"relu_squared", "rms_norm"} <= topics
    assert "qk_norm" not in topics


def test_a_name_that_means_nothing_is_told() -> None:
    assert Agenda(freeze=("WIDHT", "BETAS", "Block.forward", "train")).unmatched(STDLIB, ["literals"]) == [
        "program.md: nothing to freeze is called 'WIDHT'; did you mean WIDTH?"
    ]


def test_what_is_forbidden_is_not_proposed_alone_nor_as_a_part() -> None:
    agenda = Agenda(forbid=("literals", "recipes/muon*", "recipes/qk_norm"))
    found = full_space().candidates(STDLIB, agenda=agenda)
    names = {(s.generator, s.topic) for c in found for s in c.singles}
    assert {generator for generator, _ in names} & {"literals", "compound"} == set()
    assert not {topic for _, topic in names} & {"muon", "qk_norm"}
    assert "relu_squared" in {topic for _, topic in names}
    none = Agenda(forbid=("*",))
    assert full_space().candidates(STDLIB, agenda=none) == []


def test_weights_change_shares_and_odds() -> None:
    space, agenda = (
        full_space(),
        Agenda(weights={"recipes": 3.0, "literals/WIDTH": 3.0, "recipes/qk_norm": 0.5}),
    )
    plain, steered = space.shares(), space.shares(agenda)
    assert sum(steered.values()) == pytest.approx(1.0)
    assert steered["recipes"] / steered["literals"] == pytest.approx(3 * plain["recipes"] / plain["literals"])
    before = {c.edit: c.odds for c in space.candidates(STDLIB) if not c.parts}
    after = {c.edit: c for c in space.candidates(STDLIB, agenda=agenda) if not c.parts}
    changed = {c.topics[0]: c.odds - before[c.edit] for c in after.values() if c.odds != before[c.edit]}
    assert changed == pytest.approx({"WIDTH": math.log(3), "qk_norm": math.log(0.5)})


def test_a_change_counts_at_the_next_reading_and_a_slip_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "program.md"
    steering = Steering(path)
    assert steering.read() == Agenda()
    path.write_text(TEXT)
    assert steering.read() == parse_agenda(TEXT)
    for slip in (b"+++\nfreeze = [\n+++\n", b"\xff\xfe"):
        path.write_bytes(slip)
        assert steering.read() == parse_agenda(TEXT)
        assert steering.problem.endswith("what it said before stays in force")
        assert "\n" not in steering.problem
    path.write_text("+++\nfreeze = []\n+++\n")
    assert (steering.read(), steering.problem) == (Agenda(), "")
    path.unlink()
    assert (steering.read(), steering.problem) == (Agenda(), "")


@pytest.mark.parametrize("name", ["Block.__init__", "GPT.__init__", "Block", "schedule", "train"])
def test_a_frozen_definition_means_the_same_in_every_result(name: str) -> None:
    """Also where lines are put right behind its last one."""

    def meaning(text: str) -> str:
        *scope, last = name.split(".")
        body = ast.parse(text).body
        for outer in scope:
            body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == outer).body
        found = (n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == last)
        return ast.dump(next(found))

    found = full_space().candidates(STDLIB, agenda=Agenda(freeze=(name,)))
    assert len(found) > 40
    before = meaning(STDLIB.source)
    for candidate in found:
        assert meaning(spliced(STDLIB.source, splices(STDLIB, candidate.edit))) == before, str(candidate)


@pytest.mark.parametrize(
    "schedule", ["schedule = lambda t: 0.1 * (1 - t)", "async def schedule(t):\n    return 0.1 * t"]
)
def test_whatever_has_a_name_can_be_frozen(schedule: str) -> None:
    script = Script(f"import torch\n\n{schedule}\n\n\ndef train(env):\n    return schedule(env)\n")
    assert Agenda(freeze=("schedule",)).unmatched(script, []) == []
    for candidate in full_space().candidates(script, agenda=Agenda(freeze=("schedule",))):
        assert schedule in spliced(script.source, splices(script, candidate.edit))


def test_a_generator_that_does_not_exist_is_told() -> None:
    agenda = Agenda(forbid=("recipe/muon", "gram*"), weights={"recipies": 3.0})
    assert agenda.unmatched(STDLIB, ["grammar", "recipes"]) == [
        "program.md: no generator is called 'recipe'; did you mean recipes?",
        "program.md: no generator is called 'recipies'; did you mean recipes?",
    ]


def test_weights_of_the_same_candidate_stay_within_bounds() -> None:
    space, most = full_space(), {"literals/*": 1e3, "*/WIDTH": 1e3, "literals": 1e3, "l*": 1e3, "*": 1e-3}
    odds = {c.topics: c.odds for c in space.candidates(STDLIB, agenda=Agenda(weights=most)) if not c.parts}
    assert odds[("WIDTH",)] == pytest.approx(math.log(1e3))
    assert all(0 < share < 1 for share in space.shares(Agenda(weights=most)).values())
