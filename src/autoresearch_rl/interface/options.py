"""Options that several commands share, and how facts are printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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


def as_seeds(text: str) -> range:
    """A number of seeds, counted from 0, or the first and the last: `8` is `0-7`.

    Raises:
        click.BadParameter: it is neither.
    """
    match = re.fullmatch(r"(?:([0-9]{1,10})-)?([0-9]{1,10})", text.strip())
    first, last = (match[1], int(match[2])) if match else ("0", -1)
    seeds = range(int(first), last + 1) if first else range(last)
    if not seeds or seeds[-1] > LARGEST_SEED:
        raise click.BadParameter(
            f"expected a number of seeds (8) or the first and the last (6-9), found {text!r}"
        )
    return seeds


def backend(sandbox: str, unsafe: bool) -> str:
    """The backend that was asked for."""
    from autoresearch_rl.environment.zygote import UNTRUSTED

    return UNTRUSTED if unsafe else sandbox


def print_facts(facts: dict[str, Any], render: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    """Facts on stdout: as one JSON object, or for people."""
    click.echo(json.dumps(facts, ensure_ascii=False, allow_nan=False) if as_json else render(facts))
