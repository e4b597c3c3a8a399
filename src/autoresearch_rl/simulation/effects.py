"""`python -m autoresearch_rl.simulation.effects`: what edits do in real trials, and in made problems.

An effect is the change of the logarithm of what is left to gain, so that early and late trials compare: of
real trials, what a script has above the floor of `response.Scale`; of made ones, above their own floor.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from autoresearch_rl.agent.agents import make_agent
from autoresearch_rl.errors import AutoResearchError
from autoresearch_rl.records import Trial, TrialKind, Verdict
from autoresearch_rl.simulation.problem import MadeProblem
from autoresearch_rl.simulation.recorded import SHIPPED, RealTrials, read_trials
from autoresearch_rl.simulation.response import Scale, noise
from autoresearch_rl.simulation.study import SimulatedStudy

FAR = 3.0  # effects are cut there: a run that learns nothing
SMALL, LARGE = math.log(1.5), math.log(3.5)  # steps of numbers

Name = tuple[str, str]


class Effect(NamedTuple):
    """Of one edit."""

    name: Name  # generator and operator
    gain: float | None  # in the logarithm of what is left; None where there was no score
    noise: float  # deviation of one measurement, in the same unit
    start: str


@dataclass(frozen=True, slots=True)
class Row:
    """Of one kind of edits."""

    name: Name
    edits: int
    helps: float  # share that gains more than two deviations of one measurement
    hurts: float  # share that loses more than that
    gain: tuple[float, float]  # median and 90 % quantile of those gains
    loss: tuple[float, float]
    crashes: float


def table(effects: Iterable[Effect]) -> list[Row]:
    """By generator and operator, the most frequent first; those with few edits are left out."""
    found: dict[Name, list[Effect]] = defaultdict(list)
    for effect in effects:
        found[effect.name].append(effect)
        found[effect.name[0], "(all)"].append(effect)
    names = sorted(found, key=lambda name: (name[0], name[1] != "(all)", -len(found[name])))
    return [_row(name, found[name]) for name in names if len(found[name]) >= 10]


def _row(name: Name, effects: list[Effect]) -> Row:
    gains = [(e.gain, e.noise) for e in effects if e.gain is not None]
    better = [gain for gain, sd in gains if gain > 2.0 * sd]
    worse = [-gain for gain, sd in gains if gain < -2.0 * sd]
    n = len(effects)
    return Row(name, n, len(better) / n, len(worse) / n, _middle(better), _middle(worse), 1 - len(gains) / n)


def _middle(values: list[float]) -> tuple[float, float]:
    return (float(np.median(values)), float(np.quantile(values, 0.9))) if values else (math.nan, math.nan)


def real_effects(real: RealTrials) -> Iterator[Effect]:
    """Of the edits of real studies, those that agents chose; a compound one counts as one."""
    sigmas = {start: noise(real.begun(start)) for start in {trial.start for trial in real.trials}}
    floor = Scale.of(real).floor
    for trial in real.trials:
        if trial.kind is TrialKind.EXPLORE and trial.parts and trial.leader is not None:
            part, left = trial.parts[0], trial.leader - floor
            name = _name(trial.generator, part.operator, part.magnitude)
            gain = None if trial.value is None else _log_ratio(left, trial.value - floor)
            yield Effect(name, gain, math.sqrt(1.5) * sigmas[trial.start] / left, trial.start)


def made_effects(
    draw: Callable[[random.Random], MadeProblem], problems: int, trials: int
) -> Iterator[Effect]:
    """Of the edits that a random agent tries on made problems."""
    for seed in range(problems):
        problem = draw(random.Random(seed))
        floor = problem.shape.floor * problem.shape.start
        study = SimulatedStudy(problem, make_agent("random", seed), seed).run(trials)
        yield from (e for t in study.trials for e in _of_made(t, floor, problem.sigma))


def _of_made(trial: Trial, floor: float, sigma: float) -> Iterator[Effect]:
    if trial.kind is TrialKind.EXPLORE and trial.candidate and trial.incumbent_bpb is not None:
        left, candidate = trial.incumbent_bpb - floor, trial.candidate
        value = trial.forecast if trial.verdict is Verdict.PRUNED else trial.val_bpb
        gain = None if value is None else _log_ratio(left, value - floor)
        single = candidate.singles[0]
        name = _name(candidate.generator, single.operator, single.magnitude)
        yield Effect(name, gain, math.sqrt(1.5) * sigma / left, "made")


def _name(generator: str, operator: str, magnitude: float) -> Name:
    if generator in ("compound", "recombination"):
        return generator, ""
    if generator == "literals" and operator == "scale":
        size = "small" if magnitude < SMALL else "large" if magnitude > LARGE else "middle"
        return generator, f"scale, {size}"
    return generator, operator


def _log_ratio(before: float, after: float) -> float:
    return max(-FAR, min(FAR, math.log(before / max(after, 1e-3 * before))))


def _shown(title: str, effects: Iterable[Effect]) -> Iterator[str]:
    found = list(effects)
    sd = np.median([effect.noise for effect in found]) / math.sqrt(1.5)
    yield f"{title}: {len(found)} edits, noise {sd:.4f}"
    yield f"  {'':<32}{'edits':>6}{'helps':>7}{'hurts':>7}{'gain':>16}{'loss':>16}{'crash':>7}"
    for row in table(found):
        gain, loss = (f"{median:.3f} ..{high:.3f}" for median, high in (row.gain, row.loss))
        yield (
            f"  {' / '.join(filter(None, row.name)):<32}{row.edits:>6}{row.helps:>7.2f}{row.hurts:>7.2f}"
            f"{gain:>16}{loss:>16}{row.crashes:>7.3f}"
        )


@click.command()
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), default=SHIPPED, help="Of trials.")
@click.option("--problems", type=int, default=40, show_default=True, help="Made problems to draw.")
@click.option("--trials", type=int, default=60, show_default=True, help="Of a random agent on each.")
def main(file: Path, problems: int, trials: int) -> None:
    """Print what edits do, by generator and operator; real ones of even seeds alone."""
    from autoresearch_rl.pretraining.problems import draw_problem

    try:
        real = read_trials(file).half(False)
    except AutoResearchError as error:
        raise click.ClickException(str(error)) from error
    effects = list(real_effects(real))
    for start in sorted({effect.start for effect in effects}):
        own = [effect for effect in effects if effect.start == start]
        click.echo("\n".join([*_shown(f"real, from {start}", own), ""]))
    click.echo("\n".join(_shown("made", made_effects(draw_problem, problems, trials))))
    click.echo(
        "helps, hurts: by more than two deviations of one measurement; gain, loss: median .. 90 % quantile of"
    )
    click.echo("those, in the logarithm of what is left to gain; literals' scale by the size of the step.")


if __name__ == "__main__":
    main()
