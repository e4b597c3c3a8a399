"""Normal form: what is the same experiment, and that the quick way agrees with the slow one."""

import ast
import random
from functools import cache

import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_rl.target.normal import normal_id, spliced
from autoresearch_rl.target.script import Script

SAME = [
    ("x = 1e-3", "x = 0.001  # small"),
    ("x = 'a'", 'x = "a"'),
    ("x = (1, 2)", "x = (\n    1,\n    2,\n)"),
    ("def f():\n    return 1", 'def f():\n    """Text."""\n\n    return 1'),
    ("class A:\n    def f(self):\n        pass", 'class A:\n    """Text."""\n    def f(self):\n        pass'),
    ("x = 1", '"""Text."""\nx = 1'),
    ("x = 1_000", "x = 1000"),
    ("x = 1; y = 2", "x = 1\ny = 2"),
    ("if x:\n    y = 1", "if x: y = 1"),
    ("if x:\n    'Text.'\n    y = 1", "if x:\n    y = 1"),
]
OTHER = [
    ("x = 1", "x = 1.0"),
    ("x = 1", "x = 2"),
    ("x = 1", "y = 1"),
    ("x = 1\ny = 2", "y = 2\nx = 1"),
    ("x = -1", "x = 1"),
    ("if x:\n    y = 1\n    z = 2", "if x:\n    y = 1\nz = 2"),
    ("if x:\n    y = 1\nelse:\n    z = 2", "if x:\n    z = 2\nelse:\n    y = 1"),
    ("try:\n    x\nexcept A:\n    y\n    z", "try:\n    x\nexcept A:\n    y\nelse:\n    z"),
]
NEW = [
    *["", " ", "1", "# note\n", "x = 2\n", "    y = 3\n", "        z = 4\n"],
    *["    else:\n", "        else:\n            a = 1\n", "    if a:\n        b = 2\n"],
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_writing_does_not_count(one: str, other: str) -> None:
    assert normal_id(one) == normal_id(other) == Script(other).normal.id


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_meaning_counts(one: str, other: str) -> None:
    assert normal_id(one) != normal_id(other)


def test_the_tree_of_a_script_keeps_its_docstrings() -> None:
    script = Script('def f():\n    """Text."""\n    return 1\n')
    before = ast.dump(script.syntax.tree)
    assert script.normal.id
    assert ast.dump(script.syntax.tree) == before


_script = cache(Script)


@settings(deadline=None, max_examples=400)
@given(st.integers(0, 10**6), st.sampled_from([*toy.SCRIPTS.values(), "a = 1; b = 2\nc = 3", "x = 1"]))
def test_the_quick_way_agrees_with_parsing_the_result(seed: int, text: str) -> None:
    """Lines or characters are replaced at random places; much of it does not parse."""
    dice, script = random.Random(seed), _script(text)
    cuts = sorted(dice.sample(range(len(text) + 1), 2 * dice.randint(1, min(3, len(text) // 2))))
    lines = [0, *(i + 1 for i, c in enumerate(text) if c == "\n")]
    match dice.choice(["characters", "lines", "line", "insertion"]):
        case "lines":
            cuts = sorted(dice.choices(lines, k=len(cuts)))
        case "line" if len(lines) > 1:
            first = dice.randrange(len(lines) - 1)
            cuts = lines[first : first + 2]
        case "insertion":
            cuts = [dice.choice(lines)] * 2
    new = dice.choice(NEW)
    splices = [(a, b, new) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]
    result = spliced(text, splices)
    try:
        ast.parse(result)
    except (SyntaxError, ValueError):
        assert script.normal.after(splices) is None
    else:
        assert script.normal.after(splices) == normal_id(result)
