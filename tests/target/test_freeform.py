"""SEARCH/REPLACE blocks and diffs as people and language models write them."""

import re

import pytest

from autoresearch_rl.errors import EditError
from autoresearch_rl.target.edits import apply
from autoresearch_rl.target.freeform import parse_freeform
from autoresearch_rl.target.script import Script

SOURCE = "import torch\n\nWIDTH = 64\nDEPTH = 4\n\n\ndef train(env):\n    x = 1\n    x = 1\n    return x\n"


def block(old: str, new: str) -> str:
    return f"<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n"


def result(text: str, source: str = SOURCE) -> str:
    script = Script(source)
    edit = parse_freeform(text, source)
    after = apply(script, edit)
    assert apply(after, edit.inverse).source == source
    return after.source


def test_blocks_with_prose_and_fences_around() -> None:
    text = (
        "I will widen it.\n\ntrain.py\n```python\n"
        + block("WIDTH = 64\n", "WIDTH = 128\nHEADS = 2\n")
        + "```\nand then\n"
        + block("    return x\n", "")
        + "That is all.\n"
    )
    wide = SOURCE.replace("WIDTH = 64\n", "WIDTH = 128\nHEADS = 2\n").replace("    return x\n", "")
    assert result(text) == wide


def test_line_ends_and_a_missing_last_one_are_the_scripts_own() -> None:
    crlf = SOURCE.replace("\n", "\r\n").removesuffix("\r\n")
    text = block("WIDTH = 64\n", "WIDTH = 1\nHEADS = 2\n") + block(
        "    return x\n", "    y = x\n    return y\n"
    )
    assert result(text, crlf) == (
        crlf.replace("WIDTH = 64\r\n", "WIDTH = 1\r\nHEADS = 2\r\n").replace(
            "return x", "y = x\r\n    return y"
        )
    )


def test_a_diff_with_wrong_numbers_and_prose() -> None:
    text = (
        "Here:\n```diff\n--- a/train.py\n+++ b/train.py\n@@ -90,7 +1,1 @@ def x\n import torch\n\n"
        "-WIDTH = 64\n+WIDTH = 65\n DEPTH = 4\n"
        "@@ ... @@\n     x = 1\n-    return x\n+    return 2 * x\n```\nDone.\n"
    )
    assert result(text) == SOURCE.replace("64", "65").replace("return x", "return 2 * x")


def test_the_line_number_decides_between_equal_places() -> None:
    expected = SOURCE.replace("    x = 1\n    return", "    x = 2\n    return")
    assert result("@@ -9 +9 @@\n-    x = 1\n+    x = 2\n") == expected
    with pytest.raises(EditError, match="hunk 1: expected its lines once, found them at lines 8, 9"):
        parse_freeform("@@ -3 +3 @@\n-    x = 1\n+    x = 2\n", SOURCE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("make it wider", "expected SEARCH/REPLACE blocks .* found neither"),
        ("", "found neither"),
        ("<<<<<<< SEARCH\nWIDTH = 64\n", "block 1: expected =======, found the end"),
        ("<<<<<<< SEARCH\nWIDTH = 64\n=======\nx\n", "block 1: expected >>>>>>> REPLACE"),
        ("<<<<<<< SEARCH\nWIDTH = 64\n>>>>>>> REPLACE\n", "block 1: expected ======= before"),
        ("<<<<<<< SEARCH\na\n=======\nb\n" + block("a\n", "b\n"), "block 1: expected the end of its REPLACE"),
        (block("WIDTH = 64\n", "x = 1\n") + block("", "y = 1\n"), "block 2: expected lines to look for"),
        (
            block("WIDTH = 46\n", "x\n"),
            "block 1: .*nowhere:\n  WIDTH = 46\nmost similar from line 3; line 3 reads: 'WI",
        ),
        (block(" WIDTH = 64\n", "x\n"), "line 3 reads but for its blanks: 'WIDTH = 64'"),
        (
            block("    x = 1\n", "x\n"),
            "block 1: expected its lines once, found them at lines 8, 9; add lines",
        ),
        (
            block("WIDTH = 64\nDEPTH = 4\n", "x\n") + block("DEPTH = 4\n", "y\n"),
            "block 2: .* overlaps block 1",
        ),
        (block("WIDTH = 64\n", "WIDTH = 64\n"), "old and new read the same"),
        ("@@ -1 +1 @@\n-nothing like it at all\n+b\n", "hunk 1: expected these lines, found them nowhere"),
        ("@@ -1,0 +1,1 @@\n+b\n", "hunk 1: expected lines to look for, found none; repeat the line next"),
    ],
)
def test_what_is_wrong_is_said_with_the_block(text: str, reason: str) -> None:
    with pytest.raises(EditError) as caught:
        parse_freeform(text, SOURCE)
    assert re.search(reason, str(caught.value)), str(caught.value)
