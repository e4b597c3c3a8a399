"""`autoresearch-rl bench`: the commands that measure this program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from autoresearch_rl.interface.options import (
    HOME,
    JSON,
    SANDBOX,
    SEED,
    STUDY,
    UNSAFE,
    as_seeds,
    backend,
    print_facts,
)


@click.group()
def bench() -> None:
    """Measure how well this program judges, on data with known ends."""


@bench.command("forecast")
@click.option(
    "--curves",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV of learning curves: run,kind,step,total_steps,time_s,loss,bpb.",
)
@JSON
def bench_forecast(curves: Path, as_json: bool) -> None:
    """Forecast the ends of recorded runs in their order: errors, coverage, winners and losers stopped."""
    from autoresearch_rl.interface.bench import bench_forecast as measure
    from autoresearch_rl.interface.bench import render_forecast

    facts = measure(curves)
    print_facts(facts, render_forecast, as_json)


@bench.command("keeps")
@STUDY
@HOME
@click.option(
    "--seeds", type=click.IntRange(min=2), default=5, show_default=True, help="Fresh seeds for each script."
)
@SANDBOX
@UNSAFE
@JSON
def bench_keeps(
    name: str | None, home: Path, seeds: int, sandbox: str, unsafe_no_sandbox: bool, as_json: bool
) -> None:
    """Run every keep of a study again with fresh seeds, beside the keep before it: do they hold?"""
    from autoresearch_rl.interface.bench_keeps import bench_keeps as measure
    from autoresearch_rl.interface.bench_keeps import render_keeps

    facts = measure(home, name, seeds, backend(sandbox, unsafe_no_sandbox))
    print_facts(facts, render_keeps, as_json)


@bench.command("acceptance")
@click.option(
    "--studies", type=click.IntRange(min=2), default=400, show_default=True, help="Per scenario and rule."
)
@click.option("--runs", type=click.IntRange(min=4), default=124, show_default=True, help="Of each study.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the simulation.")
@JSON
def bench_acceptance(studies: int, runs: int, seed: int, as_json: bool) -> None:
    """Compare keep rules on simulated studies with known truth: true gain, false keeps, winner's curse."""
    from autoresearch_rl.interface.bench_acceptance import bench_acceptance as measure
    from autoresearch_rl.interface.bench_acceptance import render_acceptance

    facts = measure(studies, runs, seed)
    print_facts(facts, render_acceptance, as_json)


@bench.command("edits")
@click.option(
    "--script", type=click.Path(path_type=Path), required=True, help="Any script with `train(env)`."
)
@click.option("--task", default="stdlib", show_default=True, help="Whose data and limits count.")
@click.option(
    "--sample", type=click.IntRange(min=1), default=200, show_default=True, help="Random candidates to check."
)
@click.option(
    "--train", type=click.IntRange(min=0), default=40, show_default=True, help="Of these, so many to train."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the choice.")
@SANDBOX
@UNSAFE
@JSON
def bench_edits(
    script: Path,
    task: str,
    sample: int,
    train: int,
    seed: int,
    sandbox: str,
    unsafe_no_sandbox: bool,
    as_json: bool,
) -> None:
    """Count the edits that SCRIPT has, and try random ones: do they parse, build a model, train for 2 s?"""
    from autoresearch_rl.interface.bench_edits import bench_edits as measure
    from autoresearch_rl.interface.bench_edits import render_edits

    facts = measure(script, task, sample, train, seed, backend(sandbox, unsafe_no_sandbox))
    print_facts(facts, render_edits, as_json)


@bench.command("agent")
@click.option("--policy", default="ppo", show_default=True, help="A name, or the file of a prior.")
@click.option(
    "--candidates",
    type=click.IntRange(min=28),
    default=1000,
    show_default=True,
    help="To choose from, about.",
)
@click.option("--trials", type=click.IntRange(min=2), default=100, show_default=True, help="To play.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the problem and the policy.")
@JSON
def bench_agent(policy: str, candidates: int, trials: int, seed: int, as_json: bool) -> None:
    """Measure what a policy costs per trial, and that one restored from a checkpoint goes on the same."""
    from autoresearch_rl.interface.bench_agent import bench_agent as measure
    from autoresearch_rl.interface.bench_agent import render_agent

    facts = measure(policy, candidates, trials, seed)
    print_facts(facts, render_agent, as_json)


@bench.command("policies")
@click.option(
    "--suite",
    "suite_name",
    type=click.Choice(["simulated", "replay", "micro", "stdlib"]),
    default="simulated",
    show_default=True,
    help="Problems with known truth, a surrogate of real trials, or studies of a shipped task.",
)
@click.option(
    "--policies", default="ppo,greedy,improvement,thompson,tpe,cmaes,random", show_default=True,
    help="Names or files of priors, with commas; the others are compared with the first.",
)  # fmt: skip
@click.option(
    "--seeds", type=as_seeds, metavar="N|A-B,...", default="8", show_default=True,
    help="Runs of each policy, in pairs: so many, or which seeds.",
)  # fmt: skip
@click.option("--trials", type=click.IntRange(min=1), default=100, show_default=True, help="Of each run.")
@click.option("--poor", is_flag=True, help="Start a task from a script that is poor on purpose.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at the same time."
)
@HOME
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("policies.jsonl"),
    show_default=True, help="The finished runs; those in it are not made again.",
)  # fmt: skip
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw the curves: a PNG.")
@click.option("--report", is_flag=True, help="Run nothing: compare what is there, finished or not.")
@JSON
def bench_policies(
    suite_name: str,
    policies: str,
    seeds: Sequence[int],
    trials: int,
    poor: bool,
    jobs: int,
    home: Path,
    out: Path,
    picture: Path | None,
    report: bool,
    as_json: bool,
) -> None:
    """Compare policies on equal problems, seeds and trials, in pairs.

    Real runs are studies NAME = SUITE-POLICY-SEED under --home. Ctrl-C ends at once; the same command goes on
    where it stopped.
    """
    from autoresearch_rl.interface.policy_bench.bench import bench_policies as measure
    from autoresearch_rl.interface.policy_bench.suites import SUITES
    from autoresearch_rl.interface.policy_bench.table import render_policies

    facts = measure(
        SUITES[suite_name](home, poor),
        [name.strip() for name in policies.split(",")],
        seeds,
        trials,
        jobs,
        out,
        lambda text: click.echo(text, err=True),
        picture,
        report,
    )
    print_facts(facts, render_policies, as_json)
    sys.exit(1 if facts["failed"] else 0)
