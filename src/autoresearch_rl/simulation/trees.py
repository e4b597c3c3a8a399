"""Gradient-boosted regression trees over switches (Friedman 2001), with drawn rows and columns.

The surrogate that agents have is an additive Gaussian process (`agent/surrogate.py`). A bench whose truth
were of the same family would flatter them; trees are piecewise constant and full of interactions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ROUNDS = 200
DEPTH = 3
RATE = 0.1
ROWS, COLUMNS = 0.7, 0.5  # shares that each tree sees
LEAST = 1.0  # weight of the smaller side of a split
SHRINK = 1.0  # weight of rows without effect that each leaf is given

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Switches = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Split:
    column: int
    on: _Tree
    off: _Tree


_Tree = _Split | float


class Trees:
    """A sum of trees.

    Args:
        switches: `[n, columns]`.
        target: `[n]`.
        weight: of the rows, `[n]`.
        seed: of what each tree sees.
    """

    def __init__(self, switches: Switches, target: Array, weight: Array, seed: int) -> None:
        rng = np.random.default_rng(seed)
        left, self._trees = target.copy(), list[_Tree]()
        numbers = switches.astype(np.float32)
        for _ in range(ROUNDS):
            rows = np.flatnonzero(rng.random(len(target)) < ROWS)
            columns = np.flatnonzero(rng.random(switches.shape[1]) < COLUMNS)
            grower = _Grower(numbers[np.ix_(rows, columns)], left[rows], weight[rows], columns)
            tree = grower.grow(np.arange(len(rows)), DEPTH)
            self._trees.append(tree)
            left -= RATE * np.array([_value(tree, row) for row in switches])

    def predict(self, switches: Switches) -> Array:
        """Of rows, `[n]`."""
        return np.array([RATE * sum(_value(tree, row) for tree in self._trees) for row in switches])


class _Grower:
    """Grows one tree on what it may see."""

    def __init__(self, seen: npt.NDArray[np.float32], left: Array, weight: Array, columns: Indices) -> None:
        self._seen, self._columns = seen, columns
        self._pull, self._weight = (left * weight).astype(np.float32), weight.astype(np.float32)

    def grow(self, rows: Indices, depth: int) -> _Tree:
        pull, weight = self._pull[rows], self._weight[rows]
        whole, heavy = float(pull.sum()), float(weight.sum())
        leaf = whole / (heavy + SHRINK)
        if depth == 0 or not self._seen.shape[1]:
            return leaf
        seen = self._seen[rows]
        on, on_weight = pull @ seen, weight @ seen
        off, off_weight = whole - on, heavy - on_weight
        gain = on**2 / (on_weight + SHRINK) + off**2 / (np.maximum(off_weight, 0.0) + SHRINK)
        gain[np.minimum(on_weight, off_weight) < LEAST] = -1.0
        best = int(gain.argmax())
        if gain[best] <= whole * leaf + 1e-9:
            return leaf
        chosen = seen[:, best] > 0
        return _Split(
            int(self._columns[best]), self.grow(rows[chosen], depth - 1), self.grow(rows[~chosen], depth - 1)
        )


def _value(tree: _Tree, row: Switches) -> float:
    while isinstance(tree, _Split):
        tree = tree.on if row[tree.column] else tree.off
    return tree
