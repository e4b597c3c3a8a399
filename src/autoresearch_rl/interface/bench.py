"""Benches of our own judgement: `bench forecast` on learning curves that others have trained.

Forecasts of a run use its readings up to 30, 50 and 70 % of the budget and the useful runs before it, nothing
else. Errors and coverage are those of all useful runs, the first one included.

Stops are counted over all pairs of a candidate and an earlier run, its incumbent, once 5 runs are complete,
and over the pairs where the incumbent is the best so far. A candidate that ends below its incumbent is a
winner; any other is a loser. A winner counts as stopped if it is stopped at any look, a loser if it is
stopped by half time. The paper's raw rule stops when the power law ends above the incumbent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autoresearch_rl.interface.curve_file import read_curves
from autoresearch_rl.judgement.curves import Curve
from autoresearch_rl.judgement.forecast import Forecast, Forecaster, Mode

Array = NDArray[np.float64]

LOOKS: Final = (0.3, 0.5, 0.7)
"""Shares of the budget at which runs are forecast, and may be stopped."""

CHANCE = 0.025
"""A run is stopped at a look if the chance that it still wins is below this: 5 % for the two looks that save
at least half of a run."""

FEWEST = 5
"""Runs that have to be complete before one is stopped."""

METHODS: Final[Mapping[str, Mode]] = {"last value": "last", "power law": "paper", "ours": "ensemble"}


def bench_forecast(path: Path) -> dict[str, Any]:
    """Errors, coverage and stops of each forecast on the curves of a file: what `--json` prints.

    Raises:
        ConfigurationError: the file cannot be read, lacks a column, or has no useful run.
    """
    found = read_curves(path)
    finals = np.array([curve.final for curve in found.curves])
    told = {name: forecasts(found.curves, mode) for name, mode in METHODS.items()}
    bounds = {name: _bounds(rows, lambda one: one.lower(CHANCE)) for name, rows in told.items()}
    bounds = {"paper, raw": _bounds(told["power law"], lambda one: one.value)} | bounds
    return {
        "file": str(path),
        "runs": found.runs,
        "useful": len(finals),
        "unit": found.unit,
        "budget": found.budget,
        "forecasts": {name: _accuracy(rows, finals) for name, rows in told.items()},
        "stops": {name: _stops(rows, finals) for name, rows in bounds.items()},
    }


def forecasts(curves: Sequence[Curve], mode: Mode) -> list[list[Forecast | None]]:
    """What was forecast of each run at each look, knowing only the runs before it. [R][L]"""
    forecaster, told = Forecaster(mode), []
    for curve in curves:
        told.append([forecaster.forecast(curve, look) for look in LOOKS])
        forecaster.add(curve)
    return told


def _accuracy(told: Sequence[Sequence[Forecast | None]], finals: Array) -> dict[str, Any]:
    return {f"{100 * look:.0f}": _errors([row[k] for row in told], finals) for k, look in enumerate(LOOKS)}


def _errors(told: Sequence[Forecast | None], finals: Array) -> dict[str, Any]:
    """Of the runs that had a reading by then, the first run included."""
    known = [(one, final) for one, final in zip(told, finals, strict=True) if one is not None]
    if not known:
        return {"runs": 0, "median": None, "p90": None, "coverage": None, "width": None}
    errors = [abs(one.value - final) for one, final in known]
    return {
        "runs": len(known),
        "median": float(np.median(errors)),
        "p90": float(np.quantile(errors, 0.9)),
        "coverage": float(np.mean([one.low <= final <= one.high for one, final in known])),
        "width": float(np.median([one.high - one.low for one, _ in known])),
    }


def _bounds(told: Sequence[Sequence[Forecast | None]], bound: Callable[[Forecast], float]) -> Array:
    """A run is stopped at a look if this lies above the final value of its incumbent. [R, L]"""
    return np.array([[-math.inf if one is None else bound(one) for one in row] for row in told])


def _stops(bounds: Array, finals: Array) -> dict[str, Any]:
    """Over all pairs of a candidate and an earlier run as the incumbent, and over those with the best one."""
    half = [k for k, look in enumerate(LOOKS) if look <= 0.5]
    every, best = np.zeros(4, dtype=int), np.zeros(4, dtype=int)
    for candidate in range(FEWEST, len(finals)):
        incumbents = finals[:candidate]
        wins = finals[candidate] < incumbents
        ever, early = bounds[candidate].max() > incumbents, bounds[candidate, half].max() > incumbents
        counts = np.array([wins & ever, wins, ~wins & early, ~wins])
        every += counts.sum(axis=1)
        best += counts[:, int(np.argmin(incumbents))]
    return {"all pairs": _rates(every), "best so far": _rates(best)}


def _rates(counts: NDArray[np.int_]) -> dict[str, Any]:
    wrong, winners, right, losers = map(int, counts)
    return {
        "winners": winners,
        "winners_stopped": wrong,
        "winners_stopped_rate": wrong / winners if winners else None,
        "losers": losers,
        "losers_stopped_by_half": right,
        "losers_stopped_by_half_rate": right / losers if losers else None,
    }


def render_forecast(facts: Mapping[str, Any]) -> str:
    """The facts of `bench_forecast` as two tables."""
    runs = f"{facts['useful']} of {facts['runs']} runs are useful"
    looks = "".join(f"{f'at {look:.0%}':>27}" for look in LOOKS)
    columns = f"{'median':>11}{'p90':>8}{'cover':>8}" * len(LOOKS)
    lines = [f"{runs}; budget {facts['budget']}; errors in {facts['unit']}", ""]
    lines += [f"{'forecast':<16}{looks}", f"{'':<16}{columns}"]
    lines += [f"{name:<16}" + "".join(map(_cells, row.values())) for name, row in facts["forecasts"].items()]
    lines += ["", f"{'stops':<16}{'winners stopped':>27}{'losers stopped by half time':>35}"]
    for pairs in ("all pairs", "best so far"):
        lines.append(f"{pairs}:")
        lines += [f"  {name:<14}{_rates_row(row[pairs])}" for name, row in facts["stops"].items()]
    return "\n".join(lines)


def _cells(errors: Mapping[str, Any]) -> str:
    if not errors["runs"]:
        return f"{'-':>11}{'-':>8}{'-':>8}"
    return f"{errors['median']:>11.4f}{errors['p90']:>8.4f}{errors['coverage']:>8.0%}"


def _rates_row(rates: Mapping[str, Any]) -> str:
    wrong = _share(rates["winners_stopped"], rates["winners"])
    return f"{wrong:>27}{_share(rates['losers_stopped_by_half'], rates['losers']):>35}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} of {whole}" if whole else "-"
