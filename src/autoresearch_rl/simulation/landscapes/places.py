"""Where the scripts of a landscape differ: numbers, switches and choices, and structural edits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEVELS = 8
"""To either side of the baseline's: what a table says about a place has so many entries, twice and one."""

REACH = 3.4  # how far a number moves at most, as a logarithm
FARTHEST = 60  # values of a place that a search for the optimum looks at
NUMERIC = ("float", "share", "int", "step")
OFF = "off"


@dataclass(frozen=True, slots=True)
class Place:
    """A literal, or one structural edit; one coordinate.

    The coordinate is 0 at the baseline. For a number it is its logarithm (of a share near one that of
    1 - x, of a small integer its distance), for a choice its index, and 1 where a structural edit is on.

    Attributes:
        name: unique.
        kind: float, share, int, step; toggle, choose; recipe, grammar.
        site: what an edit changes; structural edits that exclude one another have the same one.
        texts: the baseline's first; all that there are, unless it is a number.
        factors: that a number is offered.
        width: of a level.
        owner: index of the recipe that brings this place along, else -1.
        operator: of a structural edit.
        odds: what a generator would say about it.
    """

    name: str
    kind: str
    site: str
    texts: tuple[str, ...]
    factors: tuple[float, ...] = ()
    width: float = 1.0
    owner: int = -1
    operator: str = ""
    odds: float = 0.0

    @property
    def is_number(self) -> bool:
        """Whether it has a direction."""
        return self.kind in NUMERIC

    @property
    def is_structural(self) -> bool:
        """Whether it is off or on."""
        return self.kind in ("recipe", "grammar")

    def x(self, text: str) -> float:
        """The coordinate of a text.

        Raises:
            ValueError: it makes no script.
        """
        if self.is_structural:
            return float(text == self.name)
        if not self.is_number:
            return float(self.texts.index(text))
        old, new = float(self.texts[0]), float(int(text) if self.kind in ("int", "step") else text)
        if self.kind == "step":
            return (new - old) / max(2.0, old / 2.0)
        if new <= 0.0 or (self.kind == "share" and new >= 1.0):
            raise ValueError(f"{self.name} cannot be {text}")
        return math.log((1.0 - old) / (1.0 - new)) if self.kind == "share" else math.log(new / old)

    def moves(self, text: str) -> list[tuple[str, str]]:
        """Texts that could stand there instead, and the operator that puts each there."""
        if self.is_structural:
            return [(self.name, self.operator)] if text == OFF else []
        if not self.is_number:
            return [(new, self.kind) for new in self.texts if new != text]
        found = {new: (new, operator) for new, operator in self._numbers(text) if new != text}
        return [move for move in found.values() if self._makes_sense(move[0])]

    def _numbers(self, text: str) -> Iterator[tuple[str, str]]:
        if self.kind == "step":
            yield from self._steps(int(text))
        for factor in () if self.kind == "step" else self.factors:
            if self.kind == "int":
                yield str(max(1, round(int(text) * factor / GRAIN)) * GRAIN), "scale"
            elif self.kind == "float":
                yield f"{float(text) * factor:.3g}", "scale"
            elif (1.0 - float(text)) * factor < 0.9:
                yield f"{1.0 - float(f'{(1.0 - float(text)) * factor:.3g}'):.12g}", "scale"

    def _steps(self, old: int) -> Iterator[tuple[str, str]]:
        few = len(self.factors) == 2
        for distance in (-1, 1) if few else (-2, -1, 1, 2):
            yield str(old + distance), "step"
        for factor in self.factors:
            if factor >= 2.0 or (factor <= 0.5 and not few):
                yield str(round(old * factor)), "scale"

    def _makes_sense(self, text: str) -> bool:
        if float(text) <= 0.0 or (self.kind == "share" and float(text) >= 1.0):
            return False
        return abs(self.x(text)) <= REACH

    def domain(self) -> Array:
        """Coordinates that moves can reach from the baseline, the nearest ones."""
        seen = dict.fromkeys([self.texts[0]])
        queue = list(seen)
        for text in queue:
            if len(seen) < FARTHEST:
                fresh = [new for new, _ in self.moves(text) if new not in seen]
                seen |= dict.fromkeys(fresh)
                queue += fresh
        return np.array(sorted({self.x(text) for text in seen}))


# --- drawing them

GRAIN = 8  # what integers are multiples of
HOT = ("lr", "decay", "batch", "beta", "init", "warm", "clip", "width", "depth")
NAMES = (
    *("lr", "decay", "batch", "beta", "init", "warm", "clip", "width", "depth"),
    *("drop", "eps", "seq", "head", "mult", "rope_base", "cap", "temp"),
)
AREAS = ("embed", "attn", "mlp", "head", "optim", "sched", "norm", "block", "token", "value")
RECIPES = ("optimizer", "architecture", "schedule", "regularisation")
RULES = ("wrap", "swap", "delete", "arithmetic", "normalise", "gate")
FLOATS = (0.3, 0.1, 0.02, 0.003, 0.001, 1e-4, 1.0, 1.5, 10.0, 30.0)
LADDERS = (
    *((0.5, 2.0), (0.5, 0.8, 1.25, 2.0), (0.25, 0.5, 0.8, 1.25, 2.0, 4.0)),
    (0.1, 0.3, 0.7, 0.9, 1.1, 1.4, 3.0, 10.0),
)
PLAIN, VAGUE, TELLING = range(3)  # names: numbers; words that say nothing; words that say what matters


class Drawer:
    """Draws the places of one problem.

    Args:
        rng: of the problem.
        family: in `singles` and `table` levels are as wide as steps.
        ladder: the factors that numbers are offered.
    """

    def __init__(self, rng: np.random.Generator, family: str, ladder: tuple[float, ...]) -> None:
        self._rng, self._family, self._ladder = rng, family, ladder
        self._naming = int(rng.integers(3))
        if family == "singles":
            factor = float(rng.choice([1.3, 1.5, 2.0]))
            self._ladder = (1.0 / factor, factor)

    def draw(self, literals: int, structural: int) -> list[Place]:
        """About so many of each."""
        places = [self._literal(i) for i in range(literals)]
        block = 0
        while len(places) < literals + structural:
            places += self._recipe(block, len(places)) if self._rng.random() < 0.4 else self._grammar(block)
            block += 1
        return places

    def weights(self, places: Sequence[Place]) -> Array:
        """How much each matters, beside what its family says: names may tell."""
        telling = self._naming == TELLING
        hot = [telling and not p.is_structural and any(word in p.name for word in HOT) for p in places]
        luck: Array = np.exp(0.5 * self._rng.normal(size=len(places)))
        return np.where(hot, 3.0, 1.0) * luck

    def _literal(self, number: int, owner: int = -1) -> Place:
        rng = self._rng
        kind = str(rng.choice([*NUMERIC, "toggle", "choose"], p=[0.5, 0.08, 0.12, 0.1, 0.1, 0.1]))
        name = f"p{number}"
        if self._naming != PLAIN:
            name = f"{rng.choice(AREAS)}_{rng.choice(NAMES)}.{number}"
        if kind == "toggle":
            texts = ("True", "False") if rng.random() < 0.5 else ("False", "True")
            return Place(name, kind, name, texts, owner=owner)
        if kind == "choose":
            letters = tuple(f"'{c}'" for c in "abcdef"[: rng.integers(2, 6)])
            return Place(name, kind, name, letters, owner=owner)
        text = self._start(kind)
        return Place(name, kind, name, (text,), self._ladder, self._width(kind, text), owner)

    def _start(self, kind: str) -> str:
        """The baseline's text of a number."""
        drawn = {
            "float": f"{self._rng.choice(FLOATS):.3g}",
            "share": str(self._rng.choice([0.9, 0.95, 0.99, 0.999])),
            "int": str(self._rng.choice([64, 128, 256, 1024])),
            "step": str(self._rng.integers(2, 13)),
        }
        return drawn[kind]

    def _width(self, kind: str, text: str) -> float:
        if self._family == "singles" and kind == "step":
            return 1.0 / max(2.0, int(text) / 2)
        return {"singles": math.log(self._ladder[-1]), "table": 0.69}.get(self._family, 0.35)

    def _recipe(self, block: int, index: int) -> list[Place]:
        """A recipe, and perhaps a number that comes with it."""
        name = f"recipe {block}"
        operator = str(self._rng.choice(RECIPES))
        found = [Place(name, "recipe", f"block {block}", (OFF, name), operator=operator)]
        if self._rng.random() < 0.2:
            found.append(self._literal(index + 1, owner=index))
        return found

    def _grammar(self, block: int) -> list[Place]:
        """Mutations of one block, of which one can be made."""
        found = []
        for variant in range(int(self._rng.integers(1, 4))):
            rule, area = str(self._rng.choice(RULES)), self._rng.choice(AREAS)
            name = f"{rule} {area} {block}/{variant}"
            found.append(Place(name, "grammar", f"block {block}", (OFF, name), operator=rule))
        return found
