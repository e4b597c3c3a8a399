"""Options that several commands share, and how facts are printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

HOME = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path("studies"),
    show_default=True,
    help="Folder of all studies.",
)
STUDY = click.option("--study", "name", help="Name of the study; the latest one when left out.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
UNSAFE = click.option(
    "--unsafe-no-sandbox",
    is_flag=True,
    help="Run scripts unconfined, with your rights: for scripts you trust. Marks every result UNTRUSTED.",
)
SANDBOX = click.option(
    "--sandbox",
    type=click.Choice(["auto", "bubblewrap", "landlock"]),
    default="auto",
    show_default=True,
    help="How scripts are locked in; auto takes the best one that passes its self-test.",
)
BUDGET = click.option("--budget", type=float, help="Training seconds of a trial, in place of the task's.")
LARGEST_SEED = 2**31 - 1
SEED = click.IntRange(0, LARGEST_SEED)
_SEED = "[0-9]{1,10}"


def as_seeds(text: str) -> Sequence[int]:
    """A number of seeds, counted from 0, or which: `3` is `0-2` is `0,1,2`.

    Raises:
        click.BadParameter: it is neither.
    """
    text = text.strip()
    ranges = [range(int(text))] if re.fullmatch(_SEED, text) else [_from_to(part) for part in text.split(",")]
    if not all(seeds and seeds[-1] <= LARGEST_SEED for seeds in ranges):
        raise click.BadParameter(
            f"expected a number of seeds (8), or which (6-9 or 3,7,12-15), found {text!r}"
        )
    return list(dict.fromkeys(seed for seeds in ranges for seed in seeds))


def _from_to(text: str) -> range:
    """The seeds from one to another, or one alone; none of anything else."""
    match = re.fullmatch(rf"({_SEED})(?:-({_SEED}))?", text.strip())
    return range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)


def backend(sandbox: str, unsafe: bool) -> str:
    """The backend that was asked for."""
    from autoresearch_rl.environment.zygote import UNTRUSTED

    return UNTRUSTED if unsafe else sandbox


def print_facts(facts: dict[str, Any], render: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    """Facts on stdout: as one JSON object, or for people."""
    click.echo(json.dumps(facts, ensure_ascii=False, allow_nan=False) if as_json else render(facts))
