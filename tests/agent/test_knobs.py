"""The numbers that TPE and CMA-ES turn: what they may be, and edits of real scripts that apply."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import make_candidate

import autoresearch_rl
from autoresearch_rl.agent.knobs import MOST, WORDS, Knob, Scale, choose_knobs, edit_to, present, rank
from autoresearch_rl.records import Candidate, Change, Edit
from autoresearch_rl.target.edits import apply
from autoresearch_rl.target.generators.literals import Literals
from autoresearch_rl.target.script import Script

SCRIPT = """
from torch import nn

LEARNING_RATE = 1e-3
EMBED_LR = 0.6
EPS = 1e-12
BETAS = (0.8, 0.999)
WARMUP = 0.1
DROPOUT = 0.0
WIDTH = 96
HEADS = 4
DEPTH = 2
BATCH_TOKENS = 262_144
SHIFT = -2.0


def train(env):
    layer = nn.Linear(WIDTH, WIDTH)
    return layer.weight.view(HEADS, WIDTH // HEADS, WIDTH)
"""


def knobs_of(source: str) -> dict[str, Knob]:
    return {knob.place: knob for knob in choose_knobs(list(Literals().propose(Script(source))))}


KNOBS = knobs_of(SCRIPT)


@pytest.mark.parametrize(
    ("place", "lowest", "default", "highest"),
    [
        ("LEARNING_RATE", "0.0001", "1e-3", "0.01"),
        ("EMBED_LR", "0.06", "0.6", "6.0"),  # between 0.5 and 1, but no momentum
        ("EPS", "1e-13", "1e-12", "1e-11"),
        ("BETAS[0]", "0.4", "0.8", "0.9756"),
        ("BETAS[1]", "0.99009", "0.999", "0.9999"),
        ("WARMUP", "0.011", "0.1", "0.526"),
        ("DROPOUT", "0.0", "0.0", "0.2"),
        ("WIDTH", "24", "96", "384"),
        ("DEPTH", "1", "2", "8"),
        ("BATCH_TOKENS", "65536", "262_144", "1048576"),
        ("SHIFT", "-0.2", "-2.0", "-20.0"),
    ],
)
def test_a_range_is_what_makes_sense_there(place: str, lowest: str, default: str, highest: str) -> None:
    assert [KNOBS[place].text(step) for step in (-1.0, 0.0, 1.0)] == [lowest, default, highest]


def test_what_divides_something_has_only_values_that_do() -> None:
    assert KNOBS["HEADS"].grid == (1, 2, 3, 4, 6, 8, 12, 16)
    assert all(96 % heads == 0 for heads in KNOBS["HEADS"].grid)
    assert {b - a for a, b in zip(KNOBS["WIDTH"].grid, KNOBS["WIDTH"].grid[1:], strict=False)} == {8}


def test_a_number_near_the_largest_has_a_finite_range() -> None:
    knob = knobs_of("BIG = 1e308\nLOW = 1e-320\n\n\ndef train(env):\n    return BIG * LOW\n")["BIG"]
    assert [knob.text(step) for step in (-1.0, 0.0, 1.0)] == ["1e+307", "1e308", "1.4e+308"]


def test_a_length_that_may_only_grow_does_not_shrink() -> None:
    offered = [make_candidate("MAX_LEN", "64", new) for new in ("80", "128", "256", "512")]
    (knob,) = choose_knobs(offered)
    assert [knob.text(step) for step in (-1.0, -0.3, 0.0, 1.0)] == ["64", "64", "64", "256"]


@pytest.mark.parametrize("place", KNOBS)
def test_a_step_up_never_makes_it_smaller_and_the_type_stays(place: str) -> None:
    knob = KNOBS[place]
    texts = [knob.text(step / 50) for step in range(-50, 51)]
    sizes = [abs(float(text)) for text in texts]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 3
    assert all(("." in text or "e" in text) != bool(knob.grid) for text in texts)
    assert all((float(text) < 0) == (float(knob.default) < 0) for text in texts)
    assert knob.scale is not Scale.ODDS or max(sizes) < 1.0


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_every_edit_applies_to_the_script_and_the_next_one_to_what_came_of_it(data: st.DataObject) -> None:
    script, steps = Script(SCRIPT), st.fixed_dictionaries(dict.fromkeys(KNOBS, st.floats(-1.0, 1.0)))
    for _ in range(2):
        texts = {place: script.sites[place].code for place in KNOBS}
        taken = data.draw(steps)
        script = apply(script, edit_to(taken, list(KNOBS.values()), texts))
        for place, knob in KNOBS.items():
            assert float(script.sites[place].code) == float(knob.text(taken[place]))


def test_the_shipped_scripts_have_knobs_and_no_step_changes_nothing() -> None:
    for name in ("micro", "stdlib", "nanochat"):
        path = Path(autoresearch_rl.__file__).parent / "tasks" / name / "train.py"
        script = Script(path.read_text("utf-8"))
        knobs = list(knobs_of(script.source).values())
        assert 12 <= len(knobs) <= MOST
        texts = {knob.place: script.sites[knob.place].code for knob in knobs}
        assert edit_to(dict.fromkeys(texts, 0.0), knobs, texts) == Edit(())


def test_a_value_written_otherwise_is_the_same_value() -> None:
    knob = KNOBS["LEARNING_RATE"]
    assert edit_to({knob.place: 0.0}, [knob], {knob.place: "0.001"}) == Edit(())


def test_what_is_not_offered_now_stays_as_it_is() -> None:
    """It is frozen, or the leader no longer has it."""
    a, b = (make_candidate(site, "3e-4", "1e-3") for site in ("a_lr", "b_lr"))
    knobs = choose_knobs([a, b])
    leader = [Candidate(Edit((Change("b_lr", "2e-4", "1e-4"),)), "literals", "scale", -1, 0.7)]
    edit = edit_to({"a_lr": 1.0, "b_lr": 1.0}, knobs, present(leader, knobs))
    assert edit == Edit((Change("b_lr", "2e-4", "0.001"),))


def test_those_that_matter_come_first_and_what_is_no_number_or_several_is_none() -> None:
    many = [make_candidate(f"x{i:02}", "1.0", "2.0") for i in range(MOST)]
    others = [
        make_candidate("WIDTH", "64", "128"),
        make_candidate("ACT", "gelu", "relu", operator="choose"),
        make_candidate(("a", "b"), "64", "128"),
        Candidate(Edit((Change("block", "1.0", "2.0"),)), "grammar", "scale", 1, 0.7, topic="scale@block"),
    ]
    knobs = choose_knobs([*many, *others])
    assert [knob.place for knob in knobs] == ["WIDTH", *(f"x{i:02}" for i in range(MOST - 1))]


@pytest.mark.parametrize("scale", Scale)
def test_a_scale_has_an_inverse(scale: Scale) -> None:
    for size in (0.00123, 0.25, 0.5, 0.75, 0.999):
        assert scale.size(scale.of(size)) == pytest.approx(size, rel=1e-3)
        assert math.isfinite(scale.of(size))


@pytest.mark.parametrize("text", ["2**3", "0x10", "nan", "inf", ""])
def test_what_is_no_plain_number_is_no_knob(text: str) -> None:
    """A problem of one's own may offer anything."""
    odd = Candidate(Edit((Change("ODD", text, "2.0"),)), "literals", "scale", 1, 0.69)
    plain = Candidate(Edit((Change("RATE", "1.0", "2.0"),)), "literals", "scale", 1, 0.69)
    assert [knob.place for knob in choose_knobs([odd, plain])] == ["RATE"]


@pytest.mark.parametrize(
    ("place", "word"),
    [
        ("dropout", "drop"),
        ("seq_len", "seq"),
        ("train.LR", "lr"),
        ("learningRate", "lr"),
        ("Config.n_embd", "width"),
        ("n_layer", "depth"),
        ("n_layers", "depth"),
        ("num_heads", "head"),
        ("weight_decay", "decay"),
        ("adam_beta2", "beta"),
        ("WARMUP_STEPS", "warm"),
        ("grad_clip", "clip"),
        ("init_std", "init"),
        ("lru_size", None),
        ("", None),
    ],
)
def test_what_a_numbers_name_says(place: str, word: str | None) -> None:
    of_word = {word: i for i, words in enumerate(WORDS) for word in words}
    assert rank(place) == (len(WORDS) if word is None else of_word[word])


def test_learning_rates_come_first_and_batch_sizes_next() -> None:
    names = ["depth", "batch_size", "seed", "lr", "width"]
    assert sorted(names, key=rank) == ["lr", "batch_size", "width", "depth", "seed"]
