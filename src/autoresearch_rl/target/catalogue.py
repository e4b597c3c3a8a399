"""The recipe catalogue: known advances of small-scale pretraining, one data file each in `recipes/`.

A recipe file (TOML) holds:

    family = "attention"     # what it changes; the operator of its candidates
    summary = "..."          # one line
    source = "..."           # where it was published
    needs = "cuda"           # only where it makes no sense elsewhere
    constants, helper, imports, absent, and [[rule]] tables: see `rewrite.Rewrite` and `rewrite.Rule`
    [prior]
    odds = 0.5               # log-odds that it helps, against an ordinary edit
    evidence = "..."         # where that number is from

Scripts are written in different ways: a recipe may hold several `[[variant]]` tables with rules of their own,
of which the first that fits is used.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.target.patterns import Source
from autoresearch_rl.target.rewrite import Rewrite, Rule, check, rewrite

_OWN = {"family", "summary", "source", "needs", "prior", "variant"}
_SHARED = {"constants", "helper", "imports", "absent"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One known advance: what it is, who found it, how likely it helps, and how to bring it into a script."""

    name: str
    family: str
    summary: str
    source: str
    odds: float  # log-odds that it helps, against an ordinary edit
    evidence: str  # where the odds are from
    variants: tuple[Rewrite, ...]
    needs: str = ""  # a device type; empty for any

    def apply(self, source: Source) -> str | None:
        """The script with this recipe in it, by the first variant that fits; None where none does."""
        results = (rewrite(source, variant) for variant in self.variants)
        return next((text for text in results if text is not None and text != source.text), None)


@cache
def catalogue() -> Mapping[str, Recipe]:
    """The recipes of this package by name, in alphabetical order."""
    with resources.as_file(resources.files("autoresearch_rl.target") / "recipes") as folder:
        return read_folder(folder)


def read_folder(folder: Path) -> Mapping[str, Recipe]:
    """The recipes of a folder by name, in alphabetical order; the place for a person's own.

    Raises:
        ConfigurationError: One of them is wrong; says which and why.
    """
    files = sorted(folder.glob("*.toml"))
    return {file.stem: read_recipe(file.stem, file.read_text(encoding="utf-8")) for file in files}


def read_recipe(name: str, text: str) -> Recipe:
    """A recipe from the text of its file.

    Raises:
        ConfigurationError: It is not TOML, a key is unknown or missing, or a pattern is wrong; says which.
    """
    try:
        table = tomllib.loads(text)
        shared = {key: table.pop(key) for key in list(table) if key in _SHARED or key == "rule"}
        prior = table["prior"]
        _known(table, _OWN, "key")
        variants = tuple(_rewrite(shared | variant) for variant in table.get("variant", [{}]))
        recipe = Recipe(
            name,
            table["family"],
            table["summary"],
            table["source"],
            float(prior["odds"]),
            prior["evidence"],
            variants,
            table.get("needs", ""),
        )
    except KeyError as error:
        raise ConfigurationError(f"recipe {name}: expected a key {error}, found none") from error
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"recipe {name}: {error}") from error
    if not math.isfinite(recipe.odds):
        raise ConfigurationError(f"recipe {name}: expected finite odds, found {recipe.odds}")
    return recipe


def _rewrite(table: Mapping[str, Any]) -> Rewrite:
    _known(table, _SHARED | {"rule"}, "key")
    rules = tuple(_rule(rule) for rule in table["rule"])
    helper = table.get("helper", "").strip("\n")
    result = Rewrite(
        rules, _texts(table, "constants"), helper, _texts(table, "imports"), _texts(table, "absent")
    )
    check(result)
    return result


def _rule(table: Mapping[str, Any]) -> Rule:
    _known(table, {f.name for f in fields(Rule)}, "key of a rule")
    lists = {key: _texts(table, key) for key in ("match", "unless") if key in table}
    return Rule(**{**table, **lists})


def _texts(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, ())
    return (value,) if isinstance(value, str) else tuple(value)


def _known(table: Mapping[str, Any], keys: set[str], what: str) -> None:
    unknown = sorted(set(table) - keys)
    if unknown:
        raise ValueError(f"expected a {what} among {', '.join(sorted(keys))}; found {unknown[0]!r}")
