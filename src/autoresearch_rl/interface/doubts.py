"""Words that a score must not be shown without: who computed it, and whether it could have cheated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from autoresearch_rl.records import Metric

SELF_REPORTED_WHY = (
    "the script computes and prints its own val_bpb and can read the validation text, so nothing keeps an "
    "edit from cheating: read what is kept before you believe it"
)


def doubts(metric: str, sandboxes: Iterable[str | None] = ()) -> str:
    """The marks of a score, as `, SELF-REPORTED, UNTRUSTED` to be put behind it; empty when it has none."""
    marks = [Metric(metric).mark]
    marks += ["UNTRUSTED"] if any("UNTRUSTED" in (name or "") for name in sandboxes) else []
    return "".join(f", {mark}" for mark in marks if mark)


def explained(facts: Mapping[str, Any]) -> list[str]:
    """A line that says why scores are self-reported, for facts whose scores are."""
    mark = Metric(facts["metric"]).mark
    return [f"metric   {mark}: {SELF_REPORTED_WHY}"] if mark else []
