import json
from pathlib import Path

import pytest
from arbitrary_trials import BASELINE, plain_outcome, plain_trial, trials
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_rl.errors import StorageError
from autoresearch_rl.records import Change, Edit, TrialKind, Verdict, script_id
from autoresearch_rl.storage.journal import HEADER, Journal, _result_line

KARPATHY = Path("/work/shared/history/karpathy_mar8.tsv")
STATUSES = {
    "keep": "keep",
    "provisional": "discard",
    "discard": "discard",
    "pruned": "crash",
    "crash": "crash",
    "timeout": "crash",
    "invalid": "crash",
    "rejected": "crash",
}


def test_a_trial_folder_tells_the_whole_trial(tmp_path):
    folder = Journal(tmp_path).write(plain_trial(7), plain_outcome(), BASELINE, "-lr = 0.1\n+lr = 0.2\n")
    assert folder == tmp_path / "trials" / "0007"
    assert sorted(path.name for path in folder.iterdir()) == [
        "curve.jsonl",
        "edit.diff",
        "result.json",
        "run.log",
        "train.py",
    ]
    assert (folder / "edit.diff").read_text() == "-lr = 0.1\n+lr = 0.2\n"
    assert (folder / "train.py").read_text() == BASELINE
    assert (folder / "run.log").read_text() == "step 1\n"
    assert [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()] == [
        {"probe": {"seconds": 1.0, "bpb": 5.0, "lr": None}},
        {"probe": {"seconds": 2.0, "bpb": 4.0, "lr": None}},
        {"report": {"loss": None, "step": 1.0}},
    ]
    result = json.loads((folder / "result.json").read_text())
    assert result["number"] == 7
    assert result["verdict"] == "discard"
    assert result["edit"] == [["lr", "0.1", "0.2"]]
    assert result["gain"] == -0.25
    assert result["outcome"]["status"] == "ok"


def test_a_trial_that_never_ran_has_its_folder_too(tmp_path):
    folder = Journal(tmp_path).write(plain_trial(1, verdict=Verdict.REJECTED), None, BASELINE, "")
    assert (folder / "curve.jsonl").read_text() == ""
    assert json.loads((folder / "result.json").read_text())["outcome"] is None


def test_leftovers_of_a_killed_trial_are_replaced(tmp_path):
    for leftover in (".0007.tmp", ".0007.old", "0007"):
        (tmp_path / "trials" / leftover).mkdir(parents=True)
        (tmp_path / "trials" / leftover / "half").write_text("half")
    Journal(tmp_path).write(plain_trial(7), None, BASELINE, "")
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["0007"]
    assert not (tmp_path / "trials" / "0007" / "half").exists()


def test_a_failed_write_leaves_the_earlier_folder(tmp_path):
    journal = Journal(tmp_path)
    journal.write(plain_trial(7), None, BASELINE, "first")
    with pytest.raises(UnicodeEncodeError):
        journal.write(plain_trial(7), None, "\ud800", "second")
    assert (journal.trial_folder(7) / "edit.diff").read_text() == "first"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "trials").write_text("a file, not a folder")
    with pytest.raises(StorageError, match=r"trials/0007: "):
        Journal(tmp_path).write(plain_trial(7), None, BASELINE, "")


def test_text_from_the_sandbox_cannot_stop_the_journal(tmp_path):
    folder = Journal(tmp_path).write(plain_trial(0, reason="\ud800"), None, "x = '\udcff'", "\ud800")
    assert (folder / "train.py").read_bytes() == b"x = '\xff'"
    json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("verdict", list(Verdict))
def test_each_verdict_has_one_of_the_three_public_statuses(verdict):
    line = _result_line(plain_trial(0, verdict=verdict), None)
    assert line.split("\t")[3] == STATUSES[verdict.value]


def test_results_are_in_the_public_format(tmp_path):
    source = "y = 1\n"
    lines = [
        plain_trial(0, kind=TrialKind.REFERENCE, verdict=Verdict.DISCARD, edit=Edit(())),
        plain_trial(1, source, verdict=Verdict.KEEP, peak_memory_mb=45_056.0),
        plain_trial(2, verdict=Verdict.CRASH, val_bpb=None, reason="out of\tmemory\n\x1b[31m"),
        plain_trial(3, confirms=1, edit=Edit((Change("lr", "0.1", "f(\n\t1)"),))),
    ]
    journal = Journal(tmp_path)
    journal.rebuild(lines, commits={1: "bea057bffff"})
    base = script_id(BASELINE)[:7]
    assert journal.results.read_text().splitlines() == [
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription",
        f"{base}\t3.750000\t0.5\tkeep\tbaseline",
        "bea057b\t3.750000\t44.0\tkeep\tlr: 0.1 -> 0.2",
        f"{base}\t0.000000\t0.5\tcrash\tlr: 0.1 -> 0.2 (crash: out of memory [31m)",
        f"{base}\t3.750000\t0.5\tdiscard\tconfirm 1: lr: 0.1 -> f( 1)",
    ]


def test_rebuilding_replaces_the_file_whole(tmp_path):
    journal = Journal(tmp_path)
    journal.rebuild([plain_trial(0), plain_trial(1)])
    journal.rebuild([])
    assert journal.results.read_text() == HEADER + "\n"
    assert [path.name for path in tmp_path.iterdir()] == ["results.tsv"]


@pytest.mark.skipif(not KARPATHY.exists(), reason="the public log is not part of the repository")
def test_the_header_is_that_of_the_public_log():
    assert KARPATHY.read_text().splitlines()[0] == HEADER


@settings(deadline=None)
@given(data=st.data(), bpb=st.none() | st.floats(0.5, 9.0))
def test_a_line_always_has_five_fields(data, bpb):
    trial = data.draw(trials(BASELINE))
    line = _result_line(trial, None)
    assert len(line.split("\t")) == 5
    assert len(line.splitlines()) == 1
    line.encode("utf-8")
