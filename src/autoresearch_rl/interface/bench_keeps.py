"""`bench keeps`: do a study's keeps hold? Each is run again with fresh seeds, beside the keep before it.

The baseline and all kept scripts are trained with the same fresh seeds, seed by seed, so that a machine that
drifts wrongs none of them. A keep holds if its mean is below that of the keep before it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from autoresearch_rl.environment.environment import open_environment
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.errors import StorageError
from autoresearch_rl.interface.doubts import explained
from autoresearch_rl.interface.live import Live
from autoresearch_rl.interface.scoring import each_seed, paired_difference
from autoresearch_rl.lineage import path
from autoresearch_rl.opening import open_notebook, require_comparable
from autoresearch_rl.records import TrialKind, Verdict


def bench_keeps(home: Path, name: str | None, seeds: int, sandbox: str) -> dict[str, Any]:
    """Trains every keep of a study with fresh seeds: what `--json` prints.

    Args:
        seeds: how many, at least 2.

    Raises:
        StorageError: there is no such study, it has kept nothing, or a kept script does not run any more.
        EnvironmentChanged: the frozen part is not the one of the study.
    """
    storage, record = open_notebook(home, name)
    with storage:
        trials = storage.trials(record)
        keeps = [t for t in trials if t.verdict is Verdict.KEEP and t.kind is not TrialKind.REFERENCE]
        sources = [storage.script(record.baseline), *(storage.script(keep.script) for keep in keeps)]
    if not keeps:
        raise StorageError(f"study {record.name} has kept nothing yet")
    task = load_task(record.settings["task"], record.settings["budget"])
    with Live() as live:
        environment = open_environment(task, sandbox)
        try:
            require_comparable(record, environment, but_for="hardware")  # all are trained anew, in pairs
            scores: list[list[float]] = [[] for _ in sources]
            fresh = [secrets.randbelow(2**31) for _ in range(seeds)]
            for seed, outcomes in each_seed(environment, sources, fresh, live):
                for number, outcome in enumerate(outcomes):
                    if outcome.val_bpb is None:
                        raise StorageError(f"kept script {number} does not run any more: {outcome.reason}")
                    scores[number].append(outcome.val_bpb)
                live.say(f"seed {seed}: " + ", ".join(f"{values[-1]:.4f}" for values in scores))
        finally:
            environment.close()
    pairs = list(pairwise(scores))
    rows = [
        {
            "trial": keep.number,
            "edits": "; ".join(step.what for step in path(trials, keep)),
            "kept_at": keep.val_bpb,
            "runs": after,
            "gain": paired_difference(before, after),
            "holds": mean(after) < mean(before),
        }
        for keep, (before, after) in zip(keeps, pairs, strict=True)
    ]
    held = sum(bool(row["holds"]) for row in rows)
    facts = {"study": record.name, "metric": str(record.metric), "seeds": seeds}
    return {**facts, "baseline": scores[0], "keeps": rows, "held": held}


def render_keeps(facts: Mapping[str, Any]) -> str:
    """`bench_keeps` for people."""
    rows: Sequence[Mapping[str, Any]] = facts["keeps"]
    header = f"{'keep':<6}{'kept at':>9}{'fresh':>9}{'gain':>9}{'95 % interval':>20}"
    lines = [*explained(facts), header]
    for row in rows:
        gain, verdict = row["gain"], "holds" if row["holds"] else "FAILS"
        interval = f"{gain['low']:+.4f} to {gain['high']:+.4f}"
        scores = f"{row['kept_at']:>9.4f}{mean(row['runs']):>9.4f}{gain['bpb']:>+9.4f}{interval:>20}"
        lines.append(f"#{row['trial']:<5}{scores}  {verdict}  {row['edits']}")
    share = f"{facts['held']} of {len(rows)} keeps hold ({facts['held'] / len(rows):.0%})"
    return "\n".join([*lines, f"{share}, each on {facts['seeds']} fresh paired seeds"])
