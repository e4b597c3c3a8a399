"""The command line. Data goes to stdout, progress and errors to stderr.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 a blocker found by `doctor`, 130 interrupted and
resumable.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import click

from autoresearch_rl import __version__
from autoresearch_rl.agent.agents import POLICIES
from autoresearch_rl.errors import AutoResearchError, ConfigurationError
from autoresearch_rl.interface.bench_commands import bench
from autoresearch_rl.interface.options import (
    BUDGET,
    HOME,
    JSON,
    SANDBOX,
    SEED,
    STUDY,
    UNSAFE,
    backend,
    print_facts,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="autoresearch-rl")
def cli() -> None:
    """An agent that does machine-learning research by itself.

    It edits a training script, trains it under a fixed budget, measures validation bits per byte where the
    script cannot lie, keeps what is better beyond noise, and learns by PPO which edits to try next.
    """


@cli.command()
@click.argument("task", required=False)
@click.option("--study", "name", help="Name of the study; the task's name when left out.")
@HOME
@click.option(
    "--policy",
    help=f"Who chooses the edits, ppo when left out: {', '.join(POLICIES)}, or the file of a prior.",
)
@click.option("--seed", type=SEED, help="Seed of the study; 0 when left out.")
@BUDGET
@click.option(
    "--trials",
    type=int,
    help="Stop when the study has this many trials, baseline runs not counted, and what leads is settled.",
)
@click.option("--hours", type=float, help="Stop after this many hours.")
@click.option("--train-seconds", type=float, help="Stop when the study has trained for this long in all.")
@click.option("--patience", type=int, help="Stop after this many new edits without a confirmed gain.")
@click.option(
    "--converged",
    type=click.FloatRange(0, 1),
    help="Stop when a gain within 50 edits is less probable than this; 0.01 when left out, 0 for never.",
)
@click.option("--money", type=float, help="Stop when the study's trials have cost this much; needs --price.")
@click.option("--price", type=float, help="Price of an hour of one worker (a GPU-hour, say).")
@click.option(
    "--forecast",
    type=click.Choice(["ensemble", "paper", "none"]),
    help="How hopeless runs are foreseen and stopped: ensemble (default), paper (its plain power law), none.",
)
@click.option(
    "--audit",
    type=click.FloatRange(0, 1),
    help="Share of the stop verdicts that are not obeyed, to count the wrong ones; 0.1 when left out.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Trials at the same time."
)
@SANDBOX
@UNSAFE
@click.option(
    "--allow-hardware-change",
    is_flag=True,
    help="Go on with other hardware: measure the incumbent anew and compare with nothing before.",
)
def run(
    task: str | None,
    name: str | None,
    home: Path,
    policy: str | None,
    seed: int | None,
    budget: float | None,
    trials: int | None,
    hours: float | None,
    train_seconds: float | None,
    patience: int | None,
    converged: float | None,
    money: float | None,
    price: float | None,
    forecast: str | None,
    audit: float | None,
    workers: int,
    sandbox: str,
    unsafe_no_sandbox: bool,
    allow_hardware_change: bool,
) -> None:
    """Start a study, or go on with the one of that name, until there is a reason to stop.

    TASK is stdlib (default), micro, nanochat, or a folder that `init` has made. Without a limit the
    study goes on until it has converged; with --converged 0 it is perpetual. Ctrl-C lets the running trial
    finish and ends; a second one ends at once. Either way, the same command goes on where it stopped.
    """
    from autoresearch_rl.interface.running import run_study
    from autoresearch_rl.judgement.termination import Limits, TerminationOracle

    limits: Limits = {"trials": trials, "hours": hours, "train_seconds": train_seconds, "patience": patience}
    limits |= {"money": money, "price": price}
    if converged is not None:
        limits["converged"] = converged or None
    TerminationOracle(home, limits)  # wrong limits are told before any work
    options: dict[str, Any] = {"task": task}
    options |= {"name": name, "home": home, "policy": policy, "seed": seed, "budget": budget}
    options |= {
        "forecast": forecast,
        "audit": audit,
        "sandbox": backend(sandbox, unsafe_no_sandbox),
        "allow_hardware_change": allow_hardware_change,
    }
    sys.exit(run_study(options, limits, workers))


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--script", type=click.Path(path_type=Path), help="Script with train(env) to start from; the task's own."
)
@click.option("--task", help="Shipped task whose constants and corpus to take; stdlib when left out.")
@click.option(
    "--adopt",
    type=click.Path(path_type=Path),
    help="Project with prepare.py and train.py, as karpathy/autoresearch; its scores are SELF-REPORTED.",
)
@click.option(
    "--budget", type=float, help="Training seconds of an adopted script; TIME_BUDGET in prepare.py."
)
@click.option("--data", type=click.Path(path_type=Path), help="What it reads; ~/.cache/autoresearch.")
def init(
    folder: Path,
    script: Path | None,
    task: str | None,
    adopt: Path | None,
    budget: float | None,
    data: Path | None,
) -> None:
    """Make a task FOLDER of your own, ready for `evaluate` and `run`; nothing is overwritten.

    With --script from a script with train(env), with --adopt from a project whose train.py is a whole program
    and prints its own val_bpb (it runs unchanged), else from the shipped task itself.
    """
    from autoresearch_rl.interface.making import make_folder

    click.echo(make_folder(folder, script, task, adopt, budget, data))


@cli.command()
@click.argument("task")
@click.argument("script", type=click.Path(path_type=Path))
@BUDGET
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the trial.")
@SANDBOX
@UNSAFE
@JSON
def evaluate(
    task: str,
    script: Path,
    budget: float | None,
    seed: int,
    sandbox: str,
    unsafe_no_sandbox: bool,
    as_json: bool,
) -> None:
    """Train and score one SCRIPT on TASK: the way to score your own work."""
    from autoresearch_rl.interface.scoring import evaluate_script, render_score

    result, log = evaluate_script(task, script, budget, seed, backend(sandbox, unsafe_no_sandbox))
    print_facts(result, lambda facts: render_score(facts, log), as_json)
    sys.exit(0 if result["val_bpb"] is not None else 1)


@cli.command()
@click.argument("task")
@click.option("--source", required=True, help="A folder of parquet, jsonl or text files, or a hub name.")
@click.option(
    "--shards", type=click.IntRange(min=1), default=8, show_default=True, help="Of a hub name, so many files."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the corpus; the user's data folder.")
@click.option("--held-out", type=float, help="Share of the documents for val, and for test; 0.01.")
@JSON
def prepare(
    task: str, source: str, shards: int, out: Path | None, held_out: float | None, as_json: bool
) -> None:
    """Make the corpus of a TASK such as nanochat, once: download, split, vocabulary, tokens.

    SOURCE is a folder, or a public data set on the Hugging Face hub (karpathy/climbmix-400b-shuffle,
    HuggingFaceFW/fineweb-edu). The same command goes on where it was interrupted.
    """
    from autoresearch_rl.interface.preparing import prepare_task, render

    facts = prepare_task(task, source, shards, out, held_out)
    print_facts(facts, render, as_json)


@cli.command()
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("prior.safetensors"),
    show_default=True, help="File of the prior.",
)  # fmt: skip
@click.option(
    "--work", type=click.Path(path_type=Path, file_okay=False), show_default="beside the prior",
    help="Folder of the rounds; the same command goes on with what is there.",
)  # fmt: skip
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything.")
@click.option("--rounds", type=click.IntRange(min=1), help="Of the warm start and of PPO, each.")
@click.option("--studies", type=click.IntRange(min=1), help="Simulated studies in a round.")
@click.option(
    "--from", "own", multiple=True, type=click.Path(path_type=Path),
    help="Past studies of yours to learn from (studies.db or its folder); may be given again.",
)  # fmt: skip
@JSON
def pretrain(
    out: Path,
    work: Path | None,
    seed: int,
    rounds: int | None,
    studies: int | None,
    own: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Train the policy on simulated studies, from nothing: this is how the shipped prior was made.

    With --from it goes on from the shipped prior, and half of the studies are replays of your own tasks.
    Takes less than 30 minutes on one core with its defaults. Then: `run --policy prior.safetensors`.
    """
    from autoresearch_rl.interface.pretraining import pretrain as train
    from autoresearch_rl.interface.pretraining import render_pretraining
    from autoresearch_rl.pretraining.pretrain import OWN_PLAN, Plan

    plan = replace(OWN_PLAN if own else Plan(), seed=seed)
    if rounds is not None:
        plan = replace(plan, warm_rounds=rounds, ppo_rounds=rounds)
    if studies is not None:
        plan = replace(plan, studies=studies)
    print_facts(train(work or out.with_suffix(".pretraining"), out, plan, own), render_pretraining, as_json)


@cli.command()
@STUDY
@HOME
@JSON
def status(name: str | None, home: Path, as_json: bool) -> None:
    """How a study stands: best score, verdicts, and where the time goes."""
    from autoresearch_rl.interface.report import render_status, study_status

    facts = study_status(home, name)
    print_facts(facts, render_status, as_json)


@cli.command()
@click.argument("trial", type=int)
@STUDY
@HOME
@JSON
def show(trial: int, name: str | None, home: Path, as_json: bool) -> None:
    """One trial: its edit, verdict and numbers, and the end of its log."""
    from autoresearch_rl.interface.report import render_trial, trial_facts

    facts = trial_facts(home, name, trial)
    print_facts(facts, render_trial, as_json)


@cli.command()
@STUDY
@HOME
@click.option(
    "--test", "test", is_flag=True, help="Open the sealed test split: 3 fresh seeds, best and baseline."
)
@click.option("--script", "source", is_flag=True, help="Print the best script itself, and nothing else.")
@SANDBOX
@UNSAFE
@JSON
def best(
    name: str | None,
    home: Path,
    test: bool,
    source: bool,
    sandbox: str,
    unsafe_no_sandbox: bool,
    as_json: bool,
) -> None:
    """The best proven script, and what it gained."""
    from autoresearch_rl.interface.report import best_facts, render_best
    from autoresearch_rl.interface.scoring import add_test

    if source and (test or as_json):
        raise ConfigurationError("--script prints the script alone: leave --test and --json out")
    facts = best_facts(home, name)
    if source:
        click.echo(facts["source"], nl=False)
        return
    if test:
        facts = add_test(home, facts, backend(sandbox, unsafe_no_sandbox))
    print_facts(facts, render_best, as_json)


@cli.command()
@HOME
@JSON
def doctor(home: Path, as_json: bool) -> None:
    """Check this machine: Python, torch, git, corpus, sandboxes, leaks, disk."""
    from autoresearch_rl.interface.doctor import examine, render

    checks = examine(home)
    print_facts({"checks": [check.as_json() for check in checks]}, lambda _: render(checks), as_json)
    sys.exit(3 if any(check.blocks for check in checks) else 0)


cli.add_command(bench)


def main() -> NoReturn:
    """Runs the command line and exits with its code."""
    try:
        cli.main(standalone_mode=False)
        code = 0
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except AutoResearchError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = 130
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
