"""`status`, `show` and `best`: facts as JSON-ready dictionaries, and the same facts for people."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

from autoresearch_rl.agent.health import RECENT, credit, diversity
from autoresearch_rl.environment.evaluator import leak_bound
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.interface.doubts import doubts, explained
from autoresearch_rl.judgement.acceptance import Ledger
from autoresearch_rl.judgement.audit import pruning_record
from autoresearch_rl.judgement.convergence import outlook
from autoresearch_rl.lineage import path
from autoresearch_rl.opening import open_notebook
from autoresearch_rl.records import Metric, Trial, TrialKind, Verdict
from autoresearch_rl.storage.journal import Journal
from autoresearch_rl.storage.lock import owner

PHASES = ("start", "run", "evaluate", "loop", "learn")
OUTSIDE = ("start", "evaluate", "loop", "learn")  # of the training budget
LOG_LINES = 20


def study_status(home: Path, name: str | None) -> dict[str, Any]:
    """How a study stands.

    Raises:
        StorageError: there is no such study.
    """
    storage, study = open_notebook(home, name)
    with storage:
        trials = storage.trials(study)
    ledger = Ledger.replay(study.baseline, trials)
    ledger.enter(study.segment)
    ran = [trial for trial in trials if trial.wall_seconds > 0]
    counted = [trial for trial in trials if trial.kind is not TrialKind.REFERENCE]
    return {
        "study": study.name,
        "task": study.task,
        "metric": str(study.metric),
        "policy": study.settings["policy"],
        "folder": str(home / study.name),
        "running": owner(home / study.name),
        "trials": len(counted),
        "baseline_runs": len(trials) - len(counted),
        "verdicts": dict(Counter(str(trial.verdict) for trial in counted)),
        "baseline_bpb": ledger.baseline_bpb,
        "best_bpb": ledger.incumbent_bpb,
        "best_runs": len(ledger.measurements(ledger.incumbent)),
        "best_fresh": list(ledger.fresh),
        "leader_bpb": ledger.mean(ledger.leader) if ledger.leader != ledger.incumbent else None,
        "leader_runs": len(ledger.measurements(ledger.leader)),
        "noise_bpb": ledger.noise.sd if ledger.noise.df else None,
        "noise_df": ledger.noise.df,
        "noise_rises": ledger.shifts,
        "waiting_for_confirmation": len(ledger.rebases),
        "since_last_keep": _since_keep(counted),
        "train_seconds": sum(trial.train_seconds for trial in trials),
        "hours": sum(trial.wall_seconds for trial in trials) / 3600,
        "segment": study.segment,
        "outlook": asdict(outlook(trials, ledger.noise.sd)) if ledger.noise.df else None,
        "pruning": _pruning(trials, study.fingerprint["budget"]),
        "sandboxes": dict(Counter(trial.sandbox for trial in ran)),
        "median_seconds": {phase: _median(ran, (phase,)) for phase in PHASES},
        "median_outside_budget": _median([t for t in ran if t.verdict.evaluated], OUTSIDE),
        "diversity": asdict(diversity(trials)),
        "credit": {name: asdict(found) for name, found in credit(trials).items()},
        "policy_metrics": dict(next((t.metrics for t in reversed(trials) if t.metrics), {})),
    }


def _pruning(trials: Sequence[Trial], budget: float) -> dict[str, Any]:
    record = pruning_record(trials, budget)
    derived = ("false_rate", "false_bound", "gain", "gain_obeyed", "oracle_gain")
    return asdict(record) | {name: getattr(record, name) for name in derived}


def _median(trials: Sequence[Trial], phases: Sequence[str]) -> float | None:
    values = [sum(trial.seconds.get(phase, 0.0) for phase in phases) for trial in trials]
    return median(values) if values else None


def _since_keep(trials: Sequence[Trial]) -> int:
    for count, trial in enumerate(reversed(trials)):
        if trial.verdict is Verdict.KEEP:
            return count
    return len(trials)


def render_status(facts: Mapping[str, Any]) -> str:
    """`study_status` for people."""
    running = f"running (pid {facts['running']})" if facts["running"] else "not running"
    where = f"task {facts['task']}, policy {facts['policy']}, {facts['folder']}"
    lines = [f"study {facts['study']} ({running}): {where}", *explained(facts)]
    verdicts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(facts["verdicts"].items())) or "none yet"
    lines.append(f"trials   {facts['trials']} ({verdicts}), {facts['since_last_keep']} since the last keep")
    marks = doubts(facts["metric"], facts["sandboxes"])
    runs = f"mean of {facts['best_runs']}{marks}"
    lines.append(f"best     {_bpb(facts['best_bpb'])} val_bpb, {runs}; {_gain(facts)}")
    if facts["best_runs"]:
        lines.append(f"         {_fresh(facts['best_fresh'])}")
    if facts["leader_bpb"] is not None:
        runs = f"mean of {facts['leader_runs']}{marks}"
        lines.append(
            f"leads    {_bpb(facts['leader_bpb'])} val_bpb, {runs}: new edits start from it; not proven"
        )
    rises = f"; rose {facts['noise_rises']} times: all was measured anew" if facts["noise_rises"] else ""
    lines.append(
        f"noise    {_bpb(facts['noise_bpb'])} bpb a run (standard deviation, {facts['noise_df']} df){rises}"
    )
    if ahead := facts["outlook"]:
        lines.append(
            f"outlook  {ahead['probability']:.0%} chance of a gain above {ahead['epsilon']:.4f} bpb "
            f"in the next {ahead['horizon']} edits; {ahead['since_gain']} edits since the last one"
        )
    if facts["waiting_for_confirmation"]:
        lines.append(f"waiting  {facts['waiting_for_confirmation']} to be applied to the new leader")
    lines.append(f"spent    {facts['train_seconds']:.0f} s of training, {facts['hours']:.2f} h of trials")
    lines += _render_pruning(facts["pruning"])
    sandboxes = ", ".join(f"{name} ({n})" for name, n in facts["sandboxes"].items()) or "none yet"
    lines.append(f"sandbox  {sandboxes}")
    if facts["segment"]:
        lines.append(
            f"segment  {facts['segment']}: other hardware than before; the baseline is its first script"
        )
    if facts["median_outside_budget"] is not None:
        phases = ", ".join(f"{name} {value:.2f}" for name, value in facts["median_seconds"].items())
        outside = facts["median_outside_budget"]
        lines.append(f"seconds  {outside:.2f} outside the budget a trial (median); by phase: {phases}")
    lines += _render_edits(facts)
    if facts["policy_metrics"]:
        lines.append("policy   " + ", ".join(f"{k} {v:.3g}" for k, v in facts["policy_metrics"].items()))
    return "\n".join(lines)


def _render_edits(facts: Mapping[str, Any]) -> list[str]:
    """Which generators have found what, and whether the search tries different things."""
    found = [
        f"{name} {c['led']} of {c['tried']} led, {c['gain']:+.3f}" for name, c in facts["credit"].items()
    ]
    lines = [f"edits    {'; '.join(found)}"] if found else []
    seen = facts["diversity"]
    if seen["collapsed"]:
        lines.append(
            f"         COLLAPSED: of the last {RECENT} edits {seen['unique']:.0%} differ in what they change "
            f"(mostly {seen['favourite']}), and none led"
        )
    return lines


def _fresh(values: Sequence[float]) -> str:
    """The unbiased score: what a script is chosen by is low by luck, too."""
    if not values:
        return "not measured again since it was kept: what it was chosen by flatters it"
    return f"{mean(values):.4f} val_bpb in {len(values)} runs that it was not chosen by"


def _render_pruning(facts: Mapping[str, Any]) -> list[str]:
    if not facts["pruned"] + facts["audited"]:
        return []
    lines = [
        f"pruned   {facts['pruned']} runs, {facts['saved']:.0f} s of training saved: "
        f"{facts['gain']:.2f} times the trials ({facts['gain_obeyed']:.2f} without audits); "
        f"a perfect oracle {facts['oracle_gain']:.2f} times"
    ]
    if facts["audited"]:
        lines.append(
            f"         {facts['false']} of {facts['audited']} audited stops were wrong "
            f"({facts['false_rate']:.1%}, at most {facts['false_bound']:.1%} with 95 % confidence)"
        )
    return lines


def _bpb(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _gain(facts: Mapping[str, Any]) -> str:
    if facts["baseline_bpb"] is None or facts["best_bpb"] is None:
        return "baseline not measured yet"
    return f"baseline {facts['baseline_bpb']:.4f} (gain {facts['baseline_bpb'] - facts['best_bpb']:+.4f})"


def trial_facts(home: Path, name: str | None, number: int) -> dict[str, Any]:
    """One trial, with its diff and the end of its log.

    Raises:
        ConfigurationError: the study has no such trial.
        StorageError: there is no such study.
    """
    storage, study = open_notebook(home, name)
    with storage:
        trials = storage.trials(study)
    found = [trial for trial in trials if trial.number == number]
    if not found:
        raise ConfigurationError(f"study {study.name} has no trial {number}: it has {len(trials)}, from 0 on")
    trial, folder = found[0], Journal(home / study.name).trial_folder(number)
    return {
        "study": study.name,
        "trial": number,
        "metric": str(study.metric),
        "kind": str(trial.kind),
        "verdict": str(trial.verdict),
        "reason": trial.reason,
        "val_bpb": trial.val_bpb,
        "incumbent_bpb": trial.incumbent_bpb,
        "gain": trial.gain,
        "what": trial.what,
        "generator": trial.candidate.generator if trial.candidate else None,
        "edit": trial.edit.to_json(),
        "confirms": trial.confirms,
        "seed": trial.seed,
        "reward": trial.reward,
        "train_seconds": trial.train_seconds,
        "wall_seconds": trial.wall_seconds,
        "seconds": dict(trial.seconds),
        "peak_memory_mb": trial.peak_memory_mb,
        "sandbox": trial.sandbox,
        "challenges": trial.challenges,
        "leak_bound": _leak_bound(trial, study.metric),
        "segment": trial.segment,
        "stop_at": trial.stop_at,
        "forecast": trial.forecast,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(trial.started)),
        "script": trial.script,
        "parent": trial.parent,
        "folder": str(folder),
        "diff": _text(folder / "edit.diff"),
        "log_tail": "\n".join(_text(folder / "run.log").strip().splitlines()[-LOG_LINES:]),
    }


def _leak_bound(trial: Trial, metric: Metric) -> float | None:
    """Of a score that somebody else than its script has computed."""
    measured = trial.val_bpb is not None and metric is Metric.MEASURED
    return leak_bound(trial.challenges) if measured else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # the folder is for people, who may have cleaned it up
        return ""


def render_trial(facts: Mapping[str, Any]) -> str:
    """`trial_facts` for people."""
    gain = f", {facts['gain']:+.4f} against {facts['incumbent_bpb']:.4f}" if facts["gain"] is not None else ""
    again = f", again #{facts['confirms']}" if facts["confirms"] is not None else ""
    marks = doubts(facts["metric"], [facts["sandbox"]])
    lines = [
        f"trial {facts['trial']} of study {facts['study']} ({facts['kind']}{again}), {facts['started']}",
        f"tries    {facts['what']}" + (f" (from {facts['generator']})" if facts["generator"] else ""),
        f"verdict  {facts['verdict']}: {facts['reason']}",
        f"val_bpb  {_bpb(facts['val_bpb'])}{marks}{gain}; reward {facts['reward']:+.4f}",
        *explained(facts),
        *_checked(facts),
        *_audited(facts),
        f"time     {facts['train_seconds']:.1f} s of training, {facts['wall_seconds']:.1f} s in all",
        f"run in   {facts['sandbox'] or 'nothing: it never ran'}, {facts['peak_memory_mb']:.0f} MB at most",
        f"files    {facts['folder']}",
    ]
    if facts["diff"]:
        lines += ["", facts["diff"].rstrip()]
    if facts["log_tail"]:
        lines += ["", "the last lines of its log:", *(f"  {line}" for line in facts["log_tail"].splitlines())]
    return "\n".join(lines)


def _audited(facts: Mapping[str, Any]) -> list[str]:
    if facts["stop_at"] is None or facts["val_bpb"] is None:
        return []
    foreseen = f"given up at {facts['stop_at']:.1f} s, when {facts['forecast']:.4f} was foreseen"
    return [f"audit    {foreseen}; it went on as an audit"]


def _checked(facts: Mapping[str, Any]) -> list[str]:
    if facts["leak_bound"] is None:
        return []
    found = f"{facts['challenges']} rows asked again with another ending, none answered otherwise"
    return [f"checked  {found}: at most {facts['leak_bound']:.2%} look ahead (95 %)"]


def best_facts(home: Path, name: str | None) -> dict[str, Any]:
    """The incumbent.

    Raises:
        StorageError: there is no such study, or nothing in it has been measured.
    """
    storage, study = open_notebook(home, name)
    with storage:
        trials = storage.trials(study)
        ledger = Ledger.replay(study.baseline, trials)
        if ledger.incumbent_bpb is None:
            raise StorageError(
                f"study {study.name} has not measured its baseline yet: let it run for a while"
            )
        source = storage.script(ledger.incumbent)
    scores = ledger.measurements(ledger.incumbent)
    keeps = [t for t in trials if t.verdict is Verdict.KEEP and t.kind is not TrialKind.REFERENCE]
    return {
        "study": study.name,
        "trial": keeps[-1].number if keeps else 0,
        "metric": str(study.metric),
        "script": ledger.incumbent,
        "val_bpb": ledger.incumbent_bpb,
        "leader_bpb": ledger.mean(ledger.leader) if ledger.leader != ledger.incumbent else None,
        "runs": list(scores),
        "fresh": list(ledger.fresh),
        "baseline_bpb": ledger.baseline_bpb,
        "noise_bpb": ledger.noise.sd if ledger.noise.df else None,
        "untrusted": any("UNTRUSTED" in trial.sandbox for trial in trials),
        "keeps": [[t.number, "; ".join(step.what for step in path(trials, t)), t.val_bpb] for t in keeps],
        "branch": f"autoresearch/{study.name}",
        "repository": str(home / study.name / "repo"),
        "source": source,
    }


def render_best(facts: Mapping[str, Any]) -> str:
    """`best_facts` for people."""
    gain = facts["baseline_bpb"] - facts["val_bpb"]
    lines = [
        f"best of study {facts['study']}: trial {facts['trial']}, val_bpb {facts['val_bpb']:.4f} "
        f"(mean of {len(facts['runs'])}{doubts(facts['metric'])}), baseline {facts['baseline_bpb']:.4f}, "
        f"gain {gain:+.4f}",
        *explained(facts),
        _fresh(facts["fresh"]),
    ]
    lines += [f"  #{number:<4} {bpb:.4f}  {edits}" for number, edits, bpb in facts["keeps"]]
    if facts["leader_bpb"] is not None:
        lines.append(
            f"another leads with {facts['leader_bpb']:.4f}, not proven yet: see `autoresearch-rl status`"
        )
    if facts["untrusted"]:
        lines.append("UNTRUSTED: some runs were made without a sandbox and could have cheated")
    lines.append(f"in {facts['repository']}, branch {facts['branch']}; `best --script` prints it")
    if test := facts.get("test"):
        lines += ["", "on the sealed test split, fresh seeds, mean and standard deviation:"]
        for name in ("baseline", "best"):
            val, sealed = test[name]["val"], test[name]["test"]
            lines.append(
                f"  {name:<9} test {sealed['mean']:.4f} +- {sealed['sd']:.4f}   "
                f"val {val['mean']:.4f} +- {val['sd']:.4f}"
            )
        gain = test["gain"]
        lines.append(
            f"  gain      {gain['bpb']:+.4f} (95 % interval {gain['low']:+.4f} to {gain['high']:+.4f}, "
            f"{gain['n']} paired seeds)" + ("" if gain["low"] > 0 else ": not distinguishable from none")
        )
        if before := [f"{o['gain']['bpb']:+.4f} (trial {o['trial']})" for o in test["earlier"]]:
            lines.append(
                f"  the split has been opened {len(before) + 1} times; gains before this one: "
                f"{', '.join(before)}. Report the first, or all."
            )
    return "\n".join(lines)
