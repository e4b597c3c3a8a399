"""Edits apply and invert, leave everything else alone, and bad scripts are refused with a reason."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_rl.errors import EditError
from autoresearch_rl.records import Change, Edit
from autoresearch_rl.target.edits import apply, diff, validate
from autoresearch_rl.target.generators.literals import moves
from autoresearch_rl.target.script import Script

SCRIPTS = Path(__file__).parent / "scripts"
PLAIN = Script((SCRIPTS / "plain.txt").read_text(encoding="utf-8"))
ODD = Script((SCRIPTS / "odd.txt").read_text(encoding="utf-8"))
CRLF = Script(ODD.source.replace("\n", "\r\n"))
MIXED = Script(ODD.source.replace("\n", "\r\n", 4))
TRAIN = "def train(env):\n    return env\n"

scripts = st.sampled_from([PLAIN, ODD, CRLF, MIXED])


@st.composite
def edits(draw: st.DrawFn, script: Script) -> Edit:
    """Moves of the generator at some sites, in any order."""
    options: dict[str, list[str]] = {}
    for sites, move in moves(script):
        if len(sites) == 1:
            options.setdefault(sites[0].name, []).append(move.new)
    names = st.sampled_from(list(options))
    chosen = draw(st.lists(names, unique=True, min_size=1, max_size=8))
    return Edit(tuple(Change(n, script.sites[n].code, draw(st.sampled_from(options[n]))) for n in chosen))


def outside(script: Script, names: set[str]) -> list[str]:
    """The text between the named sites."""
    spans = [site.span for name, site in script.sites.items() if name in names]
    starts, ends = [0, *(end for _, end in spans)], [*(start for start, _ in spans), None]
    return [script.source[start:end] for start, end in zip(starts, ends, strict=True)]


@settings(deadline=None, max_examples=60)
@given(st.data(), scripts)
def test_edits_apply_and_invert(data: st.DataObject, script: Script) -> None:
    edit = data.draw(edits(script))
    after = apply(script, edit)
    names = {change.site for change in edit.changes}
    assert {n: after.sites[n].code for n in names} == {c.site: c.new for c in edit.changes}
    assert after.sites.keys() == script.sites.keys()
    assert outside(after, names) == outside(script, names)
    assert apply(after, edit.inverse).source == script.source


@settings(deadline=None, max_examples=20)
@given(st.data(), scripts)
def test_a_chain_of_edits_unwinds(data: st.DataObject, script: Script) -> None:
    chain, now = [], script
    for _ in range(3):
        chain.append(data.draw(edits(now)))
        now = apply(now, chain[-1])
    for edit in reversed(chain):
        now = apply(now, edit.inverse)
    assert now.source == script.source


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([Change("WIDHT", "64", "128")], "expected a site named 'WIDHT', found none; did you mean WIDTH"),
        ([Change("WIDTH", "65", "128")], "expected '65' at 'WIDTH' .line 11., found '64'"),
        ([Change("WIDTH", "64", "1"), Change("WIDTH", "64", "2")], "one change per site, found 2 at 'WIDTH'"),
        ([Change("STEPS", "1_000", "5"), Change("WIDTH", "64", "(")], "line 11: "),
        ([Change("WIDTH", "64", "round(64)")], "expected a site named 'WIDTH', found none"),
        ([Change("HIDDEN", "4", "4 + 1")], "expected '4 \\+ 1' at 'HIDDEN'"),
        ([Change("WIDTH", "64", "64; import os")], "expected '64; import os'"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(changes: list[Change], reason: str) -> None:
    with pytest.raises(EditError, match=reason) as caught:
        apply(PLAIN, Edit(tuple(changes)))
    assert "\n" not in str(caught.value)


def test_an_empty_edit_changes_nothing() -> None:
    assert apply(PLAIN, Edit(())) == PLAIN


@pytest.mark.parametrize("script", [PLAIN, ODD, CRLF])
def test_git_can_apply_the_diff(script: Script, tmp_path: Path) -> None:
    (last,), move = list(moves(script))[-1]  # near the end of the file, which may lack its newline
    after = apply(script, Edit((Change(last.name, last.code, move.new),))).source + "\n# é"
    (tmp_path / "train.py").write_bytes(script.source.encode())
    patch = diff(script.source, after).encode()
    command = ["git", "-c", "core.autocrlf=false", "apply", "--whitespace=nowarn"]
    subprocess.run(
        command, input=patch, cwd=tmp_path, check=True, env={"PATH": "/usr/bin:/bin", "GIT_DIR": "/none"}
    )
    assert (tmp_path / "train.py").read_bytes() == after.encode()


def test_diff_of_equal_sources_is_empty() -> None:
    assert diff(PLAIN.source, PLAIN.source) == ""
    assert diff("x = 1\n", "x = 2\n") == "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"


@pytest.mark.parametrize(
    "source",
    [
        TRAIN,
        "def train(env, width=3, *more, depth=2, **rest): pass\n",
        "def train(environment, /): pass\n",
        "class C:\n    x: (y := 1) = 0  # an error where annotations are postponed\n" + TRAIN,
        "train = None\n" + TRAIN,
        "@staticmethod\n" + TRAIN,
        'x = "\\d"; y = 1 is 1\n' + TRAIN,
        PLAIN.source,
        CRLF.source,
    ],
)
def test_scripts_that_may_run(source: str) -> None:
    assert validate(source) is None


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        (TRAIN + "x = '\0'\n", "line 3: expected text, found a NUL byte"),
        (TRAIN + "# " + "é" * 32_800 + "\n", "expected at most 65536 bytes, found 65"),
        (TRAIN + "x = '\ud800'\n", "line 3: expected UTF-8 text"),
        (TRAIN + "x = = 1\n", "line 3: invalid syntax"),
        (TRAIN + "return 1\n", "line 3: 'return' outside function"),
        (TRAIN + "from __future__ import annotations\n", "line 3: from __future__"),
        (TRAIN + "x = " + "[" * 150 + "]" * 150 + "\n", "line 3: nested deeper"),
        ("x = 1\n", "expected a top-level `def train\\(env\\)`, found none"),
        ("if True:\n    def train(env): pass\n", "found none"),
        ("async def train(env): pass\n", "line 1: .*found `async def train"),
        ("class train: pass\n", "found `class train"),
        (TRAIN + "train = None\n", "line 3: .*found `train = None`"),
        (TRAIN + "from os import walk as train\n", "found `from os import walk as train`"),
        ("def train(): pass\n", "found `def train\\(\\)`"),
        ("def train(env=None): pass\n", "found `def train\\(env=None\\)`"),
        (
            "def train(env, seed): pass\n",
            "exactly one required positional argument, found `def train\\(env, seed",
        ),
        ("def train(*env): pass\n", "found `def train\\(\\*env\\)`"),
        ("def train(env, *, width): pass\n", "found `def train\\(env, \\*, width\\)`"),
    ],
)
def test_scripts_that_must_not_run(source: str, reason: str) -> None:
    found = validate(source)
    assert found is not None
    assert "\n" not in found
    assert re.search(reason, found)


def test_the_limit_counts_bytes_and_is_inclusive() -> None:
    source = TRAIN + "# é\n"
    size = len(source.encode())
    assert validate(source, limit_bytes=size) is None
    assert validate(source, limit_bytes=size - 1) == f"expected at most {size - 1} bytes, found {size}"


def test_validation_executes_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    assert validate(f"open({str(trap)!r}, 'w').close()\n{TRAIN}") is None
    assert not trap.exists()


@settings(deadline=None)
@given(st.text(max_size=60))
def test_a_source_that_validates_is_a_script(text: str) -> None:
    source = f"{text}\n{TRAIN}"
    if validate(source) is None:
        assert Script(source).source == source
