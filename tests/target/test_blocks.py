"""Changes of whole lines: they apply, invert, mix with literals, and are refused where they do not fit."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autoresearch_rl
from autoresearch_rl.errors import EditError
from autoresearch_rl.records import Change, Edit
from autoresearch_rl.target.blocks import TEXT, edit_at, edit_between, locate, split_lines
from autoresearch_rl.target.edits import apply, diff
from autoresearch_rl.target.freeform import parse_freeform
from autoresearch_rl.target.normal import spliced
from autoresearch_rl.target.script import Script

TASKS = Path(autoresearch_rl.__file__).parent / "tasks"
STDLIB = (TASKS / "stdlib" / "train.py").read_text(encoding="utf-8")
ODD = (Path(__file__).parent / "scripts" / "odd.txt").read_text(encoding="utf-8")
REPEATED = "x = 1\n" * 6 + "y = 2\n" + "x = 1\n" * 5 + "pass"
SOURCES = [STDLIB, ODD, STDLIB.replace("\n", "\r\n"), STDLIB.rstrip("\n"), REPEATED]
EXTRA = ["x = 1\n", "pass\n", "# é 🙂\n", "y = 2\r\n", "\n"]


@st.composite
def mutated(draw: st.DrawFn, source: str) -> str:
    """Lines are inserted, repeated, dropped or exchanged."""
    lines = split_lines(source)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines)))
        size = draw(st.integers(0, 3))
        new = draw(st.lists(st.sampled_from(EXTRA + lines[:40]), max_size=3))
        lines[at : at + size] = new
    text = "".join(line if line.endswith("\n") else line + "\n" for line in lines)
    return text.removesuffix("\n") if draw(st.booleans()) else text


def splice_text(source: str, edit: Edit) -> str:
    """What `apply` does, for texts that need not parse."""
    found = sorted(((locate(source, c.old), c.new) for c in edit.changes), reverse=True)
    for (start, end), new in found:
        source = source[:start] + new + source[end:]
    return source


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(SOURCES))
def test_the_edit_between_two_texts_leads_from_one_to_the_other_and_back(data: st.DataObject, a: str) -> None:
    b = data.draw(mutated(a))
    if a == b or not b:
        with pytest.raises(EditError, match="two different scripts"):
            edit_between(a, b)
        return
    edit = edit_between(a, b)
    assert splice_text(a, edit) == b
    assert splice_text(b, edit.inverse) == a


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(SOURCES))
def test_an_edit_from_replacements_makes_just_these(data: st.DataObject, source: str) -> None:
    ends = st.one_of(st.integers(0, len(source)), st.sampled_from(line_starts(source)))
    cuts = sorted(data.draw(st.lists(ends, min_size=2, max_size=8)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    new = st.sampled_from(["", "x", "  y = 1\n", *EXTRA])
    splices = [(a, min(b, a + 200), data.draw(new)) for a, b in pairs]
    after = spliced(source, splices)
    if after == source or not after:
        with pytest.raises(EditError, match="that change the script"):
            edit_at(source, splices)
        return
    edit = edit_at(source, splices)
    assert splice_text(source, edit) == after
    assert splice_text(after, edit.inverse) == source


def test_a_line_that_takes_the_place_of_one_without_its_end_joins_the_next() -> None:
    source = "a\n\nb\nc\n"
    edit = edit_at(source, [(0, 0, "x"), (0, 2, "")])
    assert splice_text(source, edit) == "x\nb\nc\n"
    assert splice_text("x\nb\nc\n", edit.inverse) == source


def line_starts(text: str) -> list[int]:
    return [0, *(i + 1 for i, letter in enumerate(text) if letter == "\n")]


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([STDLIB, STDLIB.replace("\n", "\r\n"), STDLIB.rstrip("\n")]))
def test_scripts_change_by_apply_and_change_back(data: st.DataObject, a: str) -> None:
    lines = split_lines(a)
    places = [i for i, line in enumerate(lines) if line[0] not in " )\r\n"]
    end = "\r\n" if "\r\n" in a else "\n"
    for at in sorted(data.draw(st.sets(st.sampled_from(places), min_size=1, max_size=4)), reverse=True):
        lines[at:at] = [data.draw(st.sampled_from(["pass", "x = 1", "# new"])) + end]
    b = "".join(lines)
    edit = edit_between(a, b)
    script = Script(a)
    assert apply(script, edit).source == b
    assert apply(Script(b), edit.inverse).source == a


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(SOURCES))
def test_a_diff_is_read_back(data: st.DataObject, a: str) -> None:
    b = data.draw(mutated(a))
    if b and a != b:
        assert splice_text(a, parse_freeform(diff(a, b), a)) == b


def test_literals_and_lines_change_together() -> None:
    lines = Change(TEXT, "            x = block(x)\n", "            x = x + block(x)\n")
    more = Change(TEXT, "    return model\n", "    model.eval()\n    return model\n")
    edit = Edit((lines, Change("WIDTH", "128", "256"), more))
    after = apply(Script(STDLIB), edit)
    assert after.sites["WIDTH"].code == "256"
    assert "x = x + block(x)" in after.source
    assert "model.eval()" in after.source
    assert apply(after, edit.inverse).source == STDLIB


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([Change(TEXT, "WIDTH = 12\n", "WIDTH = 1\n")], "nowhere:\n  WIDTH = 12\nmost similar from line 10;"),
        ([Change(TEXT, "DEPTH =  4\n", "DEPTH = 1\n")], "line 11 reads but for its blanks: 'DEPTH = 4'"),
        ([Change(TEXT, "\n", "x = 1\n")], "found them at lines .* add neighbouring lines"),
        ([Change(TEXT, "", "x = 1\n")], "expected lines to look for"),
        ([Change(TEXT, "DEPTH = 4\n", "")], "expected lines to look for"),
        ([Change(TEXT, "DEPTH = 4\n", "HEADS = 4\n")], "found them at lines 11, 12"),
        ([Change(TEXT, "DEPTH = 4\n", "DEPTH = (\n")], "line "),
        ([Change(TEXT, "DEPTH = 4\n", "DEPTH = 5")], "nowhere|invalid"),
        ([Change(TEXT, "DEPTH = 4\n", "DEPTH = 5\n"), Change("DEPTH", "4", "6")], "disjoint .*'DEPTH'"),
        ([Change(TEXT, "DEPTH = 4\n", "x = 5\n")] * 2, "disjoint"),
        (
            [Change(TEXT, "# model\n", "# model\nWIDTH = 9\n"), Change("WIDTH", "128", "256")],
            "'256' at 'WIDTH'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes: list[Change], reason: str) -> None:
    with pytest.raises(EditError, match=reason):
        apply(Script(STDLIB), Edit(tuple(changes)))


def test_an_edit_applies_to_another_script_that_reads_the_same_there() -> None:
    b = STDLIB.replace("x = block(x)", "x = x + block(x)")
    edit = edit_between(STDLIB, b)
    other = STDLIB.replace("WIDTH = 128", "WIDTH = 64").replace('"""Pre-norm', '"""A pre-norm')
    assert "x = x + block(x)" in apply(Script(other), edit).source
