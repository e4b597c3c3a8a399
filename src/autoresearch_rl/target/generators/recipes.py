"""Known advances of the catalogue, each applied as a whole; what they introduce are constants to tune."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from autoresearch_rl.records import Candidate, Trial
from autoresearch_rl.target.blocks import edit_between
from autoresearch_rl.target.catalogue import Recipe, catalogue
from autoresearch_rl.target.script import Script


class Recipes:
    """One candidate for each recipe that fits the script.

    Args:
        device: Type of the device that scripts train on; recipes that need another are left out.
        recipes: Where they are from; the catalogue of this package unless given.
    """

    name = "recipes"
    share = 0.25
    remembers = False

    def __init__(self, device: str = "cpu", recipes: Mapping[str, Recipe] | None = None) -> None:
        known = catalogue() if recipes is None else recipes
        self._recipes = [recipe for recipe in known.values() if recipe.needs in ("", device)]

    def propose(self, script: Script, history: Sequence[Trial] = ()) -> Iterator[Candidate]:
        """See `Generator.propose`. The topic is the recipe's name, the operator its family."""
        for recipe in self._recipes:
            after = recipe.apply(script.syntax)
            if after is not None:
                edit = edit_between(script.source, after)
                yield Candidate(edit, self.name, recipe.family, 0, 1.0, recipe.name, recipe.odds)
