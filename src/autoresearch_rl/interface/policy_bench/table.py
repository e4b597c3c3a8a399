"""The comparison for people: one table per measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ABOUT = {
    "trials": "best so far after {mark} trials",
    "seconds": "best so far after training seconds for {mark} full trials",
    "area": "mean of the best so far over {trials} trials (area under the curve)",
    "final": "the last best script, measured again with fresh seeds",
    "change": "the same, minus the first script with these seeds",
}


def render_policies(facts: Mapping[str, Any]) -> str:
    """The facts of `bench_policies`."""
    first, sense = facts["first"], "lower" if facts["lower_is_better"] else "higher"
    lines = [
        f"suite {facts['suite']}: {facts['unit']}, {sense} is better; {facts['trials']} trials a run",
        f"Means with 95 % intervals; differences to {first} on paired seeds; p of Wilcoxon's signed-rank",
        "test, and Holm's for all policies of a table: by it one is better, worse, or level (nothing shown).",
    ]
    for measure in facts["measures"]:
        lines += ["", ABOUT[measure["by"]].format(mark=measure["mark"], trials=facts["trials"])]
        lines.append(
            f"  {'policy':<16}{'n':>4}{'mean':>9}  {'95 % interval':<18}{f'minus {first}':>14}"
            f"  {'95 % interval':<18}{'pairs':>5}{'p':>7}{'Holm':>7}"
        )
        lines += [f"  {_compared(row)}".rstrip() for row in measure["policies"]]
    lines += _by_family(facts)
    lines += ["", "what was tried, and what it took"]
    lines.append(
        f"  {'policy':<16}{'complete':>9}{'unique':>8}{'structural':>12}{'training':>11}{'full trials':>13}"
        f"{'baseline':>10}"
    )
    lines += [f"  {_described(row, len(facts['seeds']))}".rstrip() for row in facts["policies"]]
    return "\n".join([*lines, *_notes(facts)])


def _by_family(facts: Mapping[str, Any]) -> list[str]:
    """Nothing where the suite has no families."""
    if not facts["by_family"]:
        return []
    lines = [
        "",
        f"by family: best so far after {facts['trials']} trials; then what is sparse, noisy or large",
    ]
    for group in facts["by_family"]:
        name = group.get("family") or f"all that is {group['tag']}"
        for row in group["policies"]:
            lines.append(
                f"  {name:<22}{row['policy']:<16}{row['n']:>4}{_number(row['mean']):>9}  {_interval(row)}"
            )
    return lines


def _compared(row: Mapping[str, Any]) -> str:
    text = f"{row['policy']:<16}{row['n']:>4}{_number(row['mean']):>9}  {_interval(row):<18}"
    if (versus := row["versus"]) is None:
        return text
    difference = _number(versus["mean"], "+.4f")
    tests = f"{versus['n']:>5}{versus['p']:>7.3f}{versus['p_holm']:>7.3f}"
    return f"{text}{difference:>14}  {_interval(versus, '+.4f'):<18}{tests}  {versus['verdict']}"


def _described(row: Mapping[str, Any], seeds: int) -> str:
    shares = f"{_number(row['unique'], '.2f'):>8}{_number(row['structural'], '.2f'):>12}"
    took = f"{_number(row['training_seconds'], '.0f'):>9} s{_number(row['budgets'], '.1f'):>13}"
    complete = f"{row['complete']}/{seeds}"
    return f"{row['policy']:<16}{complete:>9}{shares}{took}{_number(row['baseline']):>10}"


def _notes(facts: Mapping[str, Any]) -> list[str]:
    notes = []
    for row in facts["policies"]:
        if row["ended_early"]:
            notes.append(
                f"{row['policy']}: {row['ended_early']} runs had nothing left to try before their end"
            )
        if row["elsewhere"]:
            notes.append(
                f"{row['policy']}: {row['elsewhere']} runs make no pairs, since the first policy's runs with "
                "these seeds were made on other hardware, or it was not recorded"
            )
        if row["other_length"]:
            notes.append(
                f"{row['policy']}: {row['other_length']} runs were made with another number of trials: "
                "what was measured again after them is not compared"
            )
        if row["final_failures"]:
            notes.append(f"{row['policy']}: {row['final_failures']} fresh measurements failed")
    notes += [
        f"no run of {failed['policy']}, seed {failed['seed']}: {failed['why']}" for failed in facts["failed"]
    ]
    return ["", *notes] if notes else []


def _interval(row: Mapping[str, Any], form: str = ".4f") -> str:
    return "-" if row["low"] is None else f"{row['low']:{form}}..{row['high']:{form}}"


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else f"{value:{form}}"
