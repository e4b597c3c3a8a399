"""`python -m autoresearch_rl.simulation.validate`: how well studies are foretold that were not seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from autoresearch_rl.errors import AutoResearchError
from autoresearch_rl.records import TrialKind
from autoresearch_rl.simulation.design import Array
from autoresearch_rl.simulation.recorded import BASELINE, POOR, SHIPPED, RealTrials, Recorded, read_trials
from autoresearch_rl.simulation.response import WORST, Response

BEST = 0.2  # share of the edits


@dataclass(frozen=True, slots=True)
class Pair:
    """A real trial and what was foretold, in bits per byte."""

    trial: Recorded
    foretold: float
    parent: float | None  # foretold of the script that was edited; None where it gave no score


@dataclass(frozen=True, slots=True)
class Fit:
    """How well it was foretold: the score of a script, and what an edit gained."""

    trials: int
    r2: float
    spearman: float
    edits: int
    gain_r2: float
    gain_spearman: float
    helps: float  # share of the edits that measured better
    helps_foretold: float  # the same of the `BEST` that were foretold to gain most


def held_out(real: RealTrials) -> list[Pair]:
    """What the surrogate of the replay suite, which knows odd seeds alone, says of the even ones."""
    return list(_foretold(Response(real.half(True)), real.half(False)))


def each_by_the_others(real: RealTrials) -> list[Pair]:
    """Each study, foretold from all others."""
    pairs: list[Pair] = []
    for name, trials in real.studies.items():
        others = replace(real, trials=tuple(trial for trial in real.trials if trial.study != name))
        pairs += _foretold(Response(others), replace(real, trials=tuple(trials)))
    return pairs


def _foretold(response: Response, real: RealTrials) -> Iterator[Pair]:
    at = {(trial.study, trial.number): trial for trial in real.trials}

    def score(trial: Recorded) -> float:
        return response.scale.depth(float(response.predict([trial.config])[0]))

    for trial in real.trials:
        if trial.value is not None:
            parent = at.get((trial.study, trial.parent))
            yield Pair(trial, score(trial), score(parent) if parent else None)


def fit(pairs: Sequence[Pair], start: str) -> Fit:
    """Over the studies with this start; scores of `WORST` and above are the same."""
    own = [pair for pair in pairs if pair.trial.start == start]
    scores = np.array([min(pair.trial.value or WORST, WORST) for pair in own])
    foretold = np.array([pair.foretold for pair in own])
    edits = [p for p in own if p.trial.kind is TrialKind.EXPLORE and p.trial.leader and p.parent is not None]
    gains = np.array([(p.trial.leader or 0.0) - min(p.trial.value or WORST, WORST) for p in edits])
    gains_foretold = np.array([(p.parent or 0.0) - p.foretold for p in edits])
    better = gains_foretold >= np.quantile(gains_foretold, 1.0 - BEST)
    return Fit(
        trials=len(own),
        r2=_r2(scores, foretold),
        spearman=_spearman(scores, foretold),
        edits=len(edits),
        gain_r2=_r2(gains, gains_foretold),
        gain_spearman=_spearman(gains, gains_foretold),
        helps=float((gains > 0).mean()),
        helps_foretold=float((gains[better] > 0).mean()),
    )


def _r2(truth: Array, foretold: Array) -> float:
    return 1.0 - float(((truth - foretold) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def _spearman(truth: Array, foretold: Array) -> float:
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(truth), rankdata(foretold))[0, 1])


@click.command()
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), default=SHIPPED, help="Of trials.")
def main(file: Path) -> None:
    """Print how well the surrogate of the replay suite foretells studies that it has not seen."""
    try:
        real = read_trials(file)
    except AutoResearchError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(real.trials)} trials of {len(real.studies)} studies of task {real.task}")
    click.echo(f"{'':<38}scores: n     R2   rank   gains: n     R2   rank  helps  if foretold")
    for name, pairs in (
        ("even seeds, from odd ones", held_out(real)),
        ("each study, from the others", each_by_the_others(real)),
    ):
        for start in (BASELINE, POOR):
            f = fit(pairs, start)
            click.echo(
                f"{f'{name}: {start}':<38}{f.trials:>9}{f.r2:>7.2f}{f.spearman:>7.2f}{f.edits:>11}"
                f"{f.gain_r2:>7.2f}{f.gain_spearman:>7.2f}{f.helps:>7.2f}{f.helps_foretold:>13.2f}"
            )
    click.echo("R2 and Spearman's rank correlation of scores, and of what edits gain over their script.")
    click.echo(
        f"helps: share of the edits that measured better, of all and of the {BEST:.0%} foretold to be best."
    )


if __name__ == "__main__":
    main()
