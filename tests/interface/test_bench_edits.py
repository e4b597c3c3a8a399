"""`bench edits` on a script with one edit that builds and one that does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface.bench_edits import bench_edits, render_edits
from tiny import BIGRAM


def test_random_edits_are_counted_checked_and_trained(tiny_task: Path, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(BIGRAM.replace("    model = Bigram", "    assert DECAY\n    model = Bigram"))
    facts = bench_edits(script, str(tiny_task), 30, 3, 0, "auto")
    assert json.loads(json.dumps(facts)) == facts
    total, rows = facts["all"], facts["generators"]
    assert (total["tried"], facts["distinct"], total["valid"]) == (30, 30, 1.0)
    assert sum(row["tried"] for row in rows.values()) == 30
    assert sum(row["candidates"] for row in rows.values()) == total["candidates"] > 30
    assert 0.6 < total["shape_check"] < 1
    assert "AssertionError" in facts["problems"]["shape check"]
    assert 1 <= total["ran"] <= 3
    assert 0 < facts["check_seconds"] < 10
    text = render_edits(facts)
    assert f"{total['candidates']} candidates" in text
    assert "x AssertionError" in text


def test_what_is_no_script_is_one_clear_line(tiny_task: Path, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    with pytest.raises(ConfigurationError, match=r"^cannot read .*mine.py: No such file or directory$"):
        bench_edits(script, str(tiny_task), 1, 0, 0, "auto")
    script.write_text("x = 1\n")
    with pytest.raises(
        ConfigurationError, match=r"mine.py: expected a top-level `def train\(env\)`, found none"
    ):
        bench_edits(script, str(tiny_task), 1, 0, 0, "auto")
