"""`bench acceptance`: keep rules on simulated studies whose truth is known, all with as many runs.

*greedy* keeps whatever measures lower than the best measurement so far. *design* proves each edit before the
next one builds on it: it keeps a gain above 1.64 sigma sqrt(1/m + 1/n) of m runs over the n of the incumbent,
re-runs a smaller gain until m = 3, and learns sigma from all repetitions, 3 of the baseline first. *ours* is
the real ledger and judge, asked in the order of `study.py`, with one worker.

In study s, the k-th new edit has the same effect under each rule, so gains are compared pairwise. Intervals
are 95 %: of a ratio of means over studies by the delta method, of shares by Wilson's method. True gains are
those after the given number of runs. What the final best is reported to have is taken after the runs that a
finished study adds (`Ledger.unsettled`), which the other rules do not have.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Final

from autoresearch_rl.judgement.acceptance import REFERENCE_RUNS
from autoresearch_rl.judgement.noise import innovation, noise_of
from autoresearch_rl.judgement.simulated import SCENARIOS, Scenario, SimulatedStudy

SIGMA = 0.0007
"""Bits per byte: noise of one run in karpathy's log. The results do not depend on it."""

DESIGN_Z = 1.64
DESIGN_RUNS = 3

Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Result:
    """What a rule has made of one study. Gains and biases are in sigma.

    Attributes:
        gain: true gain of the final incumbent over the baseline.
        keeps: how often the incumbent moved.
        false: keeps that are in truth no better than the incumbent before.
        repeats: share of the runs that measured a script again.
        nulls: new edits without any effect that were tried.
        nulls_kept: those of them that are in the final incumbent.
        edits: in the final incumbent.
        idle: those of them that do not help.
        raw: what the final incumbent is reported to have (mean of all its runs) minus its truth.
        fresh: the same of the runs made after it was kept; None if there are none.
    """

    gain: float
    keeps: int
    false: int
    repeats: float
    nulls: int
    nulls_kept: int
    edits: int
    idle: int
    raw: float
    fresh: float | None = None


Rule = Callable[[Sequence[float], random.Random, int], Result]


def greedy(effects: Sequence[float], dice: random.Random, runs: int) -> Result:
    """Keeps every lower measurement. Measurements and gains are in sigma."""
    gain, best, kept = 0.0, dice.gauss(), list[float]()
    tried = effects[: runs - 1]
    for effect in tried:
        measured = dice.gauss() - gain - effect
        if measured < best:
            gain, best = gain + effect, measured
            kept.append(effect)
    return _result(gain, kept, tried, 0.0, best + gain)


def design(effects: Sequence[float], dice: random.Random, runs: int) -> Result:
    """Proves each edit alone, at most `DESIGN_RUNS` runs each. Measurements and gains are in sigma."""
    gain, standard, kept, used = 0.0, [dice.gauss()], list[float](), REFERENCE_RUNS
    innovations: list[float] = []
    for _ in range(REFERENCE_RUNS - 1):
        _measure(standard, dice.gauss(), innovations)
    tried = 0
    while used < runs:
        effect, candidate, tried = effects[tried], list[float](), tried + 1
        while used < runs and len(candidate) < DESIGN_RUNS:
            _measure(candidate, dice.gauss() - gain - effect, innovations)
            used += 1
            looks = fmean(standard) - fmean(candidate)
            sure = DESIGN_Z * noise_of(innovations).error(len(candidate), len(standard))
            if looks > sure:
                gain, standard = gain + effect, candidate
                kept.append(effect)
            if looks > sure or looks <= 0:
                break
    repeats = 1 - (tried + 1) / runs
    return _result(gain, kept, effects[:tried], repeats, fmean(standard) + gain)


def ours(effects: Sequence[float], dice: random.Random, runs: int) -> Result:
    """The real ledger and judge."""
    coming: Iterator[float] = iter(effects)
    study = SimulatedStudy(dice, SIGMA, lambda: SIGMA * next(coming)).run(runs)
    gain, keeps, false, repeats = study.gain, len(study.kept) - 1, study.false_keeps, study.repeats
    tried, inside = study.effects(), study.effects(study.ledger.incumbent)
    ledger = study.settle().ledger
    truth = study.truth[ledger.incumbent]
    return Result(
        gain=gain / SIGMA,
        keeps=keeps,
        false=false,
        repeats=repeats / runs,
        nulls=tried.count(0.0),
        nulls_kept=inside.count(0.0),
        edits=len(inside),
        idle=sum(effect <= 0 for effect in inside),
        raw=(fmean(ledger.measurements(ledger.incumbent)) - truth) / SIGMA,
        fresh=(fmean(ledger.fresh) - truth) / SIGMA,
    )


RULES: Final[Mapping[str, Rule]] = {"greedy": greedy, "design": design, "ours": ours}


def bench_acceptance(studies: int, runs: int, seed: int) -> dict[str, Any]:
    """Gains, false keeps and costs of each rule in each scenario: what `--json` prints.

    Args:
        studies: per scenario and rule, at least 2.
        runs: of each study, at least `REFERENCE_RUNS` + 1.
        seed: of the effects and the noise.
    """
    return {
        "studies": studies,
        "runs": runs,
        "seed": seed,
        "scenarios": {name: _facts(name, one, studies, runs, seed) for name, one in SCENARIOS.items()},
    }


def _facts(name: str, scenario: Scenario, studies: int, runs: int, seed: int) -> dict[str, Any]:
    found: dict[str, list[Result]] = {rule: [] for rule in RULES}
    for study in range(studies):
        dice = random.Random(f"{seed} {name} {study} effects")
        effects = [scenario.effect(dice, k) for k in range(runs)]
        for rule, simulate in RULES.items():
            found[rule].append(simulate(effects, random.Random(f"{seed} {name} {study} {rule}"), runs))
    rules = {rule: _summary(results, found["greedy"]) for rule, results in found.items()}
    return {"about": scenario.about, "rules": rules}


def _summary(results: Sequence[Result], greedy: Sequence[Result]) -> dict[str, Any]:
    gains, standard = [one.gain for one in results], [one.gain for one in greedy]
    fresh = [one.fresh for one in results if one.fresh is not None]
    return {
        "gain": fmean(gains),
        "of_greedy": _ratio(gains, standard) if fmean(standard) > 0 else None,
        "keeps": fmean(one.keeps for one in results),
        "false": _share(sum(one.false for one in results), sum(one.keeps for one in results)),
        "nulls_kept": _share(sum(one.nulls_kept for one in results), sum(one.nulls for one in results)),
        "idle": _share(sum(one.idle for one in results), sum(one.edits for one in results)),
        "repeats": fmean(one.repeats for one in results),
        "raw_bias": _mean([one.raw for one in results]),
        "fresh_bias": _mean(fresh) if fresh else None,
    }


def _result(gain: float, kept: Sequence[float], tried: Sequence[float], repeats: float, raw: float) -> Result:
    """Of a rule that judges each edit alone: a keep is as good as its edit."""
    false = sum(effect <= 0 for effect in kept)
    nulls, nulls_kept = tried.count(0.0), kept.count(0.0)
    return Result(gain, len(kept), false, repeats, nulls, nulls_kept, len(kept), false, raw)


def _measure(runs: list[float], measured: float, innovations: list[float]) -> None:
    if runs:
        innovations.append(innovation(runs, measured))
    runs.append(measured)


# --- intervals


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


def _mean(values: Sequence[float]) -> dict[str, float]:
    return _around(fmean(values), _error(values))


def _ratio(values: Sequence[float], standard: Sequence[float]) -> dict[str, float]:
    """Of the means of paired values (delta method)."""
    base = fmean(standard)
    ratio = fmean(values) / base
    rests = [value - ratio * other for value, other in zip(values, standard, strict=True)]
    return _around(ratio, _error(rests) / base)


def _share(part: int, whole: int) -> dict[str, float] | None:
    """Wilson's interval of a share; None of nothing."""
    if not whole:
        return None
    share, weight = part / whole, Z95**2 / whole
    middle = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    return asdict(Interval(share, max(0.0, middle - half), min(1.0, middle + half)))


def _error(values: Sequence[float]) -> float:
    middle = fmean(values)
    squares = math.fsum((value - middle) ** 2 for value in values)
    return math.sqrt(squares / (len(values) - 1) / len(values))


def _around(value: float, error: float) -> dict[str, float]:
    return asdict(Interval(value, value - Z95 * error, value + Z95 * error))


# --- the table


COLUMNS: Final = (
    f"{'rule':<8}{'gain':>6}{'of greedy':>19}{'keeps':>7}{'false keeps':>22}{'nulls kept':>21}{'idle':>7}"
    f"{'repeats':>9}{'bias raw':>10}{'fresh':>7}"
)


def render_acceptance(facts: Mapping[str, Any]) -> str:
    """The facts of `bench_acceptance`, one table per scenario."""
    lines = [
        f"{facts['studies']} studies of {facts['runs']} runs per scenario and rule, 95 % intervals",
        "gain and bias in sigma, the noise of one run; bias: what the best is said to have, minus its truth",
        "nulls kept: share of the tried edits without any effect that are in the best script at last",
        "idle: share of the edits in the best script at last that do not help",
    ]
    for name, scenario in facts["scenarios"].items():
        lines += ["", f"{name}: {scenario['about']}", COLUMNS]
        lines += [_row(rule, row) for rule, row in scenario["rules"].items()]
    return "\n".join(lines)


def _row(rule: str, row: Mapping[str, Any]) -> str:
    fresh = f"{row['fresh_bias']['value']:.2f}" if row["fresh_bias"] else "-"
    idle = f"{row['idle']['value']:.0%}" if row["idle"] else "-"
    return (
        f"{rule:<8}{row['gain']:>6.1f}{_cell(row['of_greedy'], 0):>19}{row['keeps']:>7.2f}"
        f"{_cell(row['false'], 1):>22}{_cell(row['nulls_kept'], 1):>21}{idle:>7}{row['repeats']:>9.1%}"
        f"{row['raw_bias']['value']:>10.2f}{fresh:>7}"
    )


def _cell(interval: Mapping[str, float] | None, digits: int) -> str:
    """In percent."""
    if interval is None:
        return "-"
    value, low, high = (f"{100 * interval[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} % ({low}..{high})"
