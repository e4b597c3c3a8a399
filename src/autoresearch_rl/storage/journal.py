"""The readable side of a study: a folder per trial, and results.tsv.

All of it is written from records and none of it is read back: the database is the truth.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autoresearch_rl.records import Metric, Outcome, Trial, TrialKind, Verdict
from autoresearch_rl.storage.faults import storing
from autoresearch_rl.storage.rows import trial_to_row

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
"""First line of results.tsv, as in karpathy/autoresearch."""

_STATUS = {
    Verdict.KEEP: "keep",
    Verdict.PROVISIONAL: "discard",
    Verdict.DISCARD: "discard",
    Verdict.PRUNED: "crash",
    Verdict.CRASH: "crash",
    Verdict.TIMEOUT: "crash",
    Verdict.INVALID: "crash",
    Verdict.REJECTED: "crash",
}


class Journal:
    """Writes `trials/<number>/` and `results.tsv` under the folder of one study."""

    def __init__(self, folder: Path, metric: Metric = Metric.MEASURED) -> None:
        self.folder, self.metric = folder, metric
        self.results = folder / "results.tsv"

    def trial_folder(self, number: int) -> Path:
        """Where the files of a trial are."""
        return self.folder / "trials" / f"{number:04d}"

    def write(self, trial: Trial, outcome: Outcome | None, source: str, diff: str) -> Path:
        """Write the folder of a trial, whole or not at all, and return it.

        Call it before the trial is committed to the database: a kill in between leaves a folder that
        the next trial of this number replaces.

        Args:
            trial: the judged trial.
            outcome: what its run gave; None if it never ran.
            source: the script that ran.
            diff: the edit as a unified diff.

        Raises:
            StorageError: the files cannot be written.
        """
        final = self.trial_folder(trial.number)
        with storing(final):
            partial = _emptied(final.with_name(f".{final.name}.tmp"))
            for name, data in _files(trial, outcome, source, diff, self.metric):
                (partial / name).write_bytes(data)
            _replace_folder(partial, final)
        return final

    def rebuild(self, trials: Iterable[Trial], commits: Mapping[int, str] | None = None) -> None:
        """Write results.tsv anew from all trials of the study, in one step.

        Args:
            trials: in the order of the lines.
            commits: git commits by trial number; the others are named by their script's SHA-256.

        Raises:
            StorageError: the file cannot be written.
        """
        known = commits or {}
        lines = [HEADER, *(_result_line(trial, known.get(trial.number), self.metric) for trial in trials)]
        partial = self.results.with_name(".results.tsv.tmp")
        with storing(self.results):
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
            partial.replace(self.results)


def _files(
    trial: Trial, outcome: Outcome | None, source: str, diff: str, metric: Metric
) -> Iterator[tuple[str, bytes]]:
    yield "edit.diff", _encode(diff)
    yield "train.py", source.encode("utf-8", "surrogateescape")
    yield "run.log", _encode(outcome.log if outcome else "")
    yield "curve.jsonl", _encode("".join(f"{_json(point)}\n" for point in _curve(outcome)))
    yield "result.json", _encode(_json(_result(trial, outcome, metric), indent=2) + "\n")


def _curve(outcome: Outcome | None) -> Iterator[dict[str, Any]]:
    if outcome is None:
        return
    for probe in outcome.probes:
        yield {"probe": {"seconds": probe.seconds, "bpb": probe.bpb, "lr": probe.lr}}
    for scalars in outcome.scalars:
        yield {"report": dict(scalars)}


def _result(trial: Trial, outcome: Outcome | None, metric: Metric) -> dict[str, Any]:
    facts = {"metric": str(metric), "gain": trial.gain}
    return trial_to_row(trial) | facts | {"outcome": _outcome_facts(outcome) if outcome else None}


def _outcome_facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status.value,
        "reason": outcome.reason,
        "start_seconds": outcome.start_seconds,
        "run_seconds": outcome.run_seconds,
        "evaluate_seconds": outcome.evaluate_seconds,
        "challenges": outcome.challenges,
        "extra_bpb": dict(outcome.extra_bpb),
    }


def _result_line(trial: Trial, commit: str | None, metric: Metric = Metric.MEASURED) -> str:
    name = (commit or trial.script)[:7]
    memory_gb = trial.peak_memory_mb / 1024
    status = _STATUS[trial.verdict]
    if trial.kind is TrialKind.REFERENCE and trial.verdict.evaluated:
        status = "keep"
    return f"{name}\t{trial.val_bpb or 0.0:.6f}\t{memory_gb:.1f}\t{status}\t{_description(trial, metric)}"


def _description(trial: Trial, metric: Metric) -> str:
    words = trial.what
    if trial.kind is TrialKind.REFERENCE:
        words = "measured again" if trial.number else "baseline"
    if trial.confirms is not None:
        words = f"confirm {trial.confirms}: {words}"
    if metric.mark:
        words = f"{metric.mark}: {words}"
    if "UNTRUSTED" in trial.sandbox:
        words = f"UNTRUSTED: {words}"
    if _STATUS[trial.verdict] == "crash" and trial.reason:
        words += f" ({trial.verdict}: {trial.reason})"
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    # JSON has no infinities, and readers of these files are not only Python.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _emptied(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _replace_folder(new: Path, final: Path) -> None:
    old = final.with_name(f".{final.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if final.exists():
        final.rename(old)
    os.rename(new, final)
    if old.exists():
        shutil.rmtree(old)
