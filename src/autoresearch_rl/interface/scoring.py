"""Scores scripts outside a study: `evaluate`, and `best --test` on the sealed split."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from autoresearch_rl.environment.environment import Environment, open_environment
from autoresearch_rl.environment.evaluator import leak_bound
from autoresearch_rl.environment.task import Task, load_task
from autoresearch_rl.environment.zygote import UNTRUSTED
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.interface.doubts import doubts, explained
from autoresearch_rl.interface.live import Live
from autoresearch_rl.opening import open_notebook, require_comparable
from autoresearch_rl.records import Edit, Outcome, OutcomeStatus, Proposal, TrialKind
from autoresearch_rl.storage.whole import write_whole
from autoresearch_rl.target.edits import validate

TEST_SEEDS = 3


def evaluate_script(
    task_name: str, path: Path, budget: float | None, seed: int, sandbox: str
) -> tuple[dict[str, Any], str]:
    """One script, one trial.

    Returns:
        The facts (`verdict` is `ok` when there is a score), and the script's log.

    Raises:
        ConfigurationError: the task or the script cannot be read.
    """
    task = load_task(task_name, budget)
    try:
        source = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot read the script {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the script {path} is not UTF-8 text: {error.reason}") from error
    if problem := validate(source, task.script_bytes, task.program):
        return _facts(task, "rejected", problem, None), ""
    with Live() as live:
        environment = open_environment(task, sandbox)
        try:
            outcome = run_once(environment, live, source, seed, 0)
        finally:
            environment.close()
    return _facts(task, str(outcome.status), outcome.reason, outcome), outcome.log


def render_score(facts: Mapping[str, Any], log: str) -> str:
    """What `evaluate_script` returns, for people."""
    if facts["val_bpb"] is None:
        lines = [f"  {line}" for line in log.strip().splitlines()[-15:]]
        return "\n".join(
            [
                f"{facts['verdict']}: {facts['reason']}",
                *(["the last lines of its log:"] if lines else []),
                *lines,
            ]
        )
    times = f"{facts['train_seconds']:.1f} s of training, {facts['wall_seconds']:.1f} s in all"
    score = f"val_bpb {facts['val_bpb']:.4f}{doubts(facts['metric'])}  ({times}, {facts['sandbox']})"
    if facts["leak_bound"] is None:
        return "\n".join([score, *explained(facts)])
    return (
        f"{score}\n{facts['challenges']} rows challenged: at most {facts['leak_bound']:.2%} look ahead (95 %)"
    )


def _facts(task: Task, verdict: str, reason: str, outcome: Outcome | None) -> dict[str, Any]:
    challenged = outcome is not None and outcome.val_bpb is not None and not task.program
    return {
        "verdict": verdict,
        "metric": task.metric,
        "val_bpb": outcome.val_bpb if outcome else None,
        "probes": [[probe.seconds, probe.bpb] for probe in outcome.probes] if outcome else [],
        "train_seconds": outcome.train_seconds if outcome else 0.0,
        "wall_seconds": outcome.wall_seconds if outcome else 0.0,
        "sandbox": outcome.sandbox if outcome else None,
        "reason": reason,
        "challenges": outcome.challenges if outcome else 0,
        "leak_bound": leak_bound(outcome.challenges) if outcome and challenged else None,
        "peak_memory_mb": outcome.peak_memory_mb if outcome else 0.0,
    }


def each_seed(
    environment: Environment,
    sources: Sequence[str],
    seeds: Iterable[int],
    live: Live | None = None,
    splits: Sequence[str] = ("val",),
) -> Iterator[tuple[int, list[Outcome]]]:
    """Trains and scores several scripts with the same seeds, seed by seed: a drifting machine wrongs none.

    Yields:
        Each seed, and the outcome of each script with it.
    """
    for seed in seeds:
        outcomes = [run_once(environment, live, source, seed, n, splits) for n, source in enumerate(sources)]
        yield seed, outcomes


def run_once(
    environment: Environment,
    live: Live | None,
    source: str,
    seed: int,
    number: int,
    splits: Sequence[str] = ("val",),
) -> Outcome:
    """Trains and scores one script, with its progress on `live`, if there is one, as trial `number`."""
    if live is None:
        return environment.run(source, seed, splits=splits)
    proposal = Proposal(number, TrialKind.REFERENCE, "", source, Edit(()), seed)
    return environment.run(source, seed, lambda progress: live.on_progress(proposal, progress), splits)


def add_test(home: Path, facts: Mapping[str, Any], sandbox: str) -> dict[str, Any]:
    """Trains best and baseline with fresh seeds, scores both on the sealed split, and writes `test.json`.

    Whoever opens it again and again picks the luckiest result: `test.json` has the earlier ones as well.

    Raises:
        ConfigurationError: the study's scripts score themselves.
        EnvironmentChanged: the frozen part is not the one of the study.
        StorageError: a run of a script that ran before now fails, or `test.json` cannot be read.
    """
    path = home / facts["study"] / "test.json"
    _openings(path)  # a file that cannot be read is told before any work
    storage, record = open_notebook(home, facts["study"])
    with storage:
        if record.metric.mark:
            raise ConfigurationError(
                f"study {record.name} has no sealed test split, for its scores are {record.metric.mark}: "
                "leave --test out; `bench keeps` runs what was kept again"
            )
        task = load_task(record.settings["task"], record.settings["budget"])
        sources = {"best": facts["source"], "baseline": storage.script(record.baseline)}
    with Live() as live:
        environment = open_environment(task, sandbox)
        try:
            require_comparable(record, environment, but_for="hardware")  # both are trained anew, in pairs
            scores = _test_scores(environment, live, sources)
        finally:
            environment.close()
    result: dict[str, Any] = {name: _summary(values) for name, values in scores.items()}
    result |= {"trial": facts["trial"], "opened": datetime.now(UTC).isoformat(timespec="seconds")}
    result["sandbox"] = environment.backend.name
    result["gain"] = paired_difference(scores["baseline"]["test"], scores["best"]["test"])
    result["earlier"] = _openings(path)  # also of whoever opened it meanwhile
    write_whole(path, (json.dumps(result, indent=2) + "\n").encode())
    return {**facts, "untrusted": facts["untrusted"] or result["sandbox"] == UNTRUSTED, "test": result}


def _openings(path: Path) -> list[dict[str, Any]]:
    """What opening the sealed split has given so far, the first one first."""
    if not path.exists():
        return []
    try:
        last = json.loads(path.read_text(encoding="utf-8"))
        openings = [*last.pop("earlier", []), last]
        if not all(math.isfinite(opening["gain"]["bpb"]) for opening in openings):
            raise ValueError("a gain is no number")
    except (OSError, ValueError, AttributeError, TypeError, LookupError) as error:
        raise StorageError(
            f"{path} has what opening the sealed split gave before, and cannot be read: move it away"
        ) from error
    return openings


def _test_scores(
    environment: Environment, live: Live, sources: Mapping[str, str]
) -> dict[str, dict[str, list[float]]]:
    """name -> split -> one val_bpb per seed; best and baseline share the seeds."""
    seeds = [secrets.randbelow(2**31) for _ in range(TEST_SEEDS)]
    scores: dict[str, dict[str, list[float]]] = {name: {"val": [], "test": []} for name in sources}
    for number, (name, source, seed) in enumerate((n, s, seed) for seed in seeds for n, s in sources.items()):
        outcome = run_once(environment, live, source, seed, number, ("val", "test"))
        if outcome.status is not OutcomeStatus.OK or outcome.val_bpb is None:
            raise StorageError(f"the {name} script does not run any more: {outcome.reason}")
        scores[name]["val"].append(outcome.val_bpb)
        scores[name]["test"].append(outcome.extra_bpb["test"])
        # Nobody sees a score of the sealed split before all are in `test.json`.
        live.say(f"{name}, seed {seed}: val {outcome.val_bpb:.4f}")
    return scores


def _summary(scores: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    return {
        split: {"mean": mean(values), "sd": stdev(values), "values": list(values)}
        for split, values in scores.items()
    }


def paired_difference(before: Sequence[float], after: Sequence[float]) -> dict[str, float | int]:
    """Paired difference of means with its 95 % interval (Student), positive when `after` is lower."""
    from scipy.special import stdtrit

    differences = [b - a for b, a in zip(before, after, strict=True)]
    margin = float(stdtrit(len(differences) - 1, 0.975)) * stdev(differences) / math.sqrt(len(differences))
    centre = mean(differences)
    return {"bpb": centre, "low": centre - margin, "high": centre + margin, "n": len(differences)}
