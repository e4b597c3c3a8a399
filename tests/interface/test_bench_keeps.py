"""`bench keeps` on a study whose keeps are known: one that helps, and one that was luck."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_rl import create_study
from autoresearch_rl.errors import StorageError
from autoresearch_rl.interface.bench_keeps import bench_keeps, render_keeps
from autoresearch_rl.records import Change, Edit, Verdict
from autoresearch_rl.study import Study
from autoresearch_rl.target.edits import apply
from autoresearch_rl.target.script import Script
from told import ask, measure_baseline, scored


def tell(study: Study, old: str, new: str, bpb: float) -> Verdict:
    """Tells a study the score of an edit of the learning rate."""
    edit = Edit((Change("LEARNING_RATE", old, new),))
    source = apply(Script(study.notebook.source(study.ledger.leader)), edit).source
    return study.tell(replace(ask(study), source=source, edit=edit, candidate=None), scored(bpb)).verdict


def test_a_real_keep_holds_and_a_lucky_one_fails(tiny_task: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with create_study(str(tiny_task), "one", home) as study:
        measure_baseline(study)
        with pytest.raises(StorageError, match="study one has kept nothing yet"):
            bench_keeps(home, "one", 2, "auto")
        assert tell(study, "0.1", "0.0001", 3.5) is Verdict.KEEP, "it was told a score that is not true"
        assert tell(study, "0.0001", "0.09", 3.0) is Verdict.KEEP
    facts = bench_keeps(home, "one", 2, "auto")
    assert [row["holds"] for row in facts["keeps"]] == [False, True]
    assert (facts["held"], facts["seeds"], len(facts["baseline"])) == (1, 2, 2)
    for row, before in zip(facts["keeps"], (facts["baseline"], facts["keeps"][0]["runs"]), strict=True):
        paired = [a - b for a, b in zip(before, row["runs"], strict=True)]
        assert row["gain"]["bpb"] == pytest.approx(sum(paired) / 2)
    told = render_keeps(facts)
    assert "1 of 2 keeps hold (50%), each on 2 fresh paired seeds" in told
    assert "FAILS  LEARNING_RATE: 0.1 -> 0.0001" in told
