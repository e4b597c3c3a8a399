"""The red team: every script in `attacks/` runs in both sandboxes. None may gain, escape, stay or do harm.

Each attack says in its header what it shall get:

    # expect: honest    a valid score, exactly that of the model it returns (all return the same `Fixed` one)
    #         trained   a valid score, about that of an honestly trained model
    #         worse     a finite score, worse than an honest one
    #         invalid, crash, timeout    this status, and no score
    #         no-score  any of the three
    # reason: what the verdict must hold
    # task: constants of the tiny task that differ
    # rules: constants of `runner` that differ, to keep the test short
    # runs: how often it runs; later runs look for what earlier ones have left
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from footprint import footprint, left_behind

from autoresearch_rl.environment.frozen import FrozenEnvironment
from autoresearch_rl.records import Outcome, OutcomeStatus
from autoresearch_rl.target.edits import validate
from tiny import BIGRAM

ATTACKS = sorted((Path(__file__).parent / "attacks").glob("*.py"))
STATUSES = {
    "honest": {"ok"},
    "trained": {"ok"},
    "worse": {"ok"},
    "no-score": {"invalid", "crash", "timeout"},
    **{status: {status} for status in ("invalid", "crash", "timeout")},
}
HEADER = re.compile(r"^# (expect|reason|task|rules|runs): (.+)$", re.MULTILINE)
LUCK = 0.35  # bits per byte by which two honest trainings of the same time differ on a busy machine
LOG_LIMIT = 80_000  # characters


@dataclass(frozen=True)
class Attack:
    """A hostile script, and what it shall get."""

    script: str
    expect: str
    reason: str = ""
    task: dict[str, float] = field(default_factory=dict)
    rules: dict[str, float] = field(default_factory=dict)
    runs: int = 1


def read(path: Path) -> Attack:
    script = path.read_text()
    header = dict(HEADER.findall(script))
    constants = {
        name: {
            key: ast.literal_eval(value) for key, value in re.findall(r"(\w+)=([^,]+)", header.get(name, ""))
        }
        for name in ("task", "rules")
    }
    return Attack(
        script, header["expect"], header.get("reason", ""), **constants, runs=int(header.get("runs", 1))
    )


@pytest.fixture(scope="module")
def trained(each_environment: FrozenEnvironment) -> float:
    """What honest training reaches here. It also starts the zygote, which stays."""
    scores = [each_environment.run(BIGRAM, seed=seed).val_bpb for seed in (1, 2)]
    return min(score for score in scores if score is not None)


@pytest.fixture(scope="module")
def fixed(each_environment: FrozenEnvironment) -> float:
    """The score of the model that attacks return when they want to look honest, computed from the rows."""
    rows = each_environment.rows["val"].tokens.astype(int)
    logits = np.eye(256)[rows[:, :-1]] * 3 + np.arange(256) / 100
    nats = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, rows[:, 1:, None], -1)[..., 0]
    return float(nats.mean() / math.log(2))


def with_needles(script: str, environment: FrozenEnvironment) -> str:
    """Tells a search what to look for, in a disguise: the script itself must not be what it finds."""
    longest = {s: max(environment.corpus.documents[s].values(), key=len) for s in ("val", "train")}
    needles = {split: text[5000:5060].swapcase() for split, text in longest.items()}
    return script.replace("NEEDLES: dict[str, bytes] = {}", f"NEEDLES = {needles!r}")


@pytest.mark.parametrize("path", ATTACKS, ids=lambda path: path.stem)
def test_attack(
    path: Path,
    each_environment: FrozenEnvironment,
    trained: float,
    fixed: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attack = read(path)
    for name, value in attack.rules.items():
        monkeypatch.setattr(f"autoresearch_rl.environment.runner.{name}", value)
    environment = replace(each_environment, task=replace(each_environment.task, **attack.task))
    before = footprint()
    for _ in range(attack.runs):
        outcome = environment.run(with_needles(attack.script, environment), seed=1)
        require_verdict(attack, outcome, trained, fixed)
    assert left_behind(before) == {}


def require_verdict(attack: Attack, outcome: Outcome, trained: float, fixed: float) -> None:
    assert str(outcome.status) in STATUSES[attack.expect], outcome
    assert attack.reason in outcome.reason
    assert len(outcome.log) < LOG_LIMIT
    assert "\x1b" not in outcome.reason + outcome.log
    told = [value for scalars in outcome.scalars for value in scalars.values()]
    told += [value for probe in outcome.probes for value in (probe.seconds, probe.bpb)]
    assert all(map(math.isfinite, told))
    if outcome.status is not OutcomeStatus.OK:
        assert outcome.val_bpb is None
        return
    assert outcome.val_bpb is not None
    if attack.expect == "honest":
        assert outcome.val_bpb == pytest.approx(fixed, abs=1e-4)
    else:
        least = trained if attack.expect == "worse" else trained - LUCK
        assert least < outcome.val_bpb < math.inf


def test_every_attack_says_what_it_expects() -> None:
    assert len(ATTACKS) > 80
    for path in ATTACKS:
        attack = read(path)
        assert attack.expect in STATUSES, path
        assert path.read_text().startswith('"""'), path
        # A study would run each of them: none is kept from the sandbox by a check of its text.
        assert validate(attack.script, 65536) is None, path


def test_weights_in_the_source_count_as_source() -> None:
    """A script may bring weights, but no more than `script_bytes`: beyond it is rejected, and never runs."""
    script = next(path for path in ATTACKS if path.stem == "pastes_its_weights").read_text()
    larger = script.replace("WEIGHTS = (", f'MORE = "{"00" * 40_000}"\nWEIGHTS = (')
    assert validate(script, 65536) is None
    assert "65536" in (validate(larger, 65536) or "")
