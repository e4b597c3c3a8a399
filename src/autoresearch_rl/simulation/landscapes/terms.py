"""Terms that bind places together: valleys, ridges, waves, sets of changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoresearch_rl.simulation.landscapes.places import Array
from autoresearch_rl.simulation.landscapes.surface import Jump, Levels, Term


def valley(z: Array) -> Array:
    """Quadratic near the bottom, linear far from it."""
    out: Array = z * z / (1.0 + np.abs(z))
    return out


def couplings(pairs: Levels, size: Array) -> Term:
    """What two changed places do to each other."""
    first, second = pairs.T

    def term(x: Array, levels: Levels) -> Array:
        changed = np.minimum(np.abs(x), 1.0)
        out: Array = (changed[:, first] * changed[:, second]) @ size
        return out

    return term


def bowl(numeric: Levels, switches: Levels, target: Array, weight: Array, turn: Array, shift: Array) -> Term:
    """Valleys along turned axes around a target, which structural edits shift."""

    def term(x: Array, levels: Levels) -> Array:
        off = x[:, numeric] - target - x[:, switches] @ shift
        out: Array = valley(off @ turn) @ weight
        return out

    return term


def ridges(
    blocks: Sequence[Levels], mixes: Sequence[Array], targets: Array, bend: Array, steep: Array, weight: Array
) -> Term:
    """Steep across a bent line, flat along it; for each block of places.

    Args:
        blocks: places of each.
        mixes: the direction across, as long as each block.
        targets: by place; the bottom of the valley.
        bend, steep, weight: by block.
    """
    longest = max(map(len, blocks), default=1)
    at = np.array([[*block, *[block[0]] * (longest - len(block))] for block in blocks], dtype=np.int64)
    there = np.array([[float(k < len(block)) for k in range(longest)] for block in blocks])
    mix = np.array([[*mix, *[0.0] * (longest - len(mix))] for mix in mixes])
    target = targets[at]

    def term(x: Array, levels: Levels) -> Array:
        off = x[:, at] - target  # [B, blocks, longest]
        across = (off * mix).sum(2) - bend * off[:, :, 0] ** 2
        out: Array = (steep * valley(across) + (valley(off) * there).sum(2)) @ weight
        return out

    return term


def together(jumps: Sequence[Jump], gains: Array, costs: Array) -> Term:
    """A gain once all places of a jump are as far as in it, or further; a cost while only some are."""
    longest = max(map(len, jumps))
    at, value = np.zeros((len(jumps), longest), dtype=np.int64), np.zeros((len(jumps), longest))
    share = np.zeros((len(jumps), longest))
    for row, jump in enumerate(jumps):
        at[row, : len(jump)], value[row, : len(jump)] = list(jump), list(jump.values())
        share[row, : len(jump)] = 1.0 / len(jump)
    padding, sign, least = share == 0.0, np.sign(value), 0.9 * np.abs(value)

    def term(x: Array, levels: Levels) -> Array:
        here = x[:, at]  # [B, jumps, longest]
        there = (here * sign >= least) & (here != 0.0)
        full = (there | padding).all(2)
        out: Array = np.where(full, -gains, costs * (there * share).sum(2)).sum(1)
        return out

    return term


def waves(numeric: Levels, turn: Array, phase: Array, height: Array, weight: Array) -> Term:
    """Cosines in some directions, in a wide bowl."""

    def term(x: Array, levels: Levels) -> Array:
        here = x[:, numeric]
        out: Array = np.cos(here @ turn + phase) @ height + 0.15 * (here**2) @ weight
        return out

    return term


def scaling(at: Levels, off: Array, exponents: tuple[float, float], share: float, weight: float) -> Term:
    """Parameters against tokens at equal compute, and a rate and a batch size that go with them.

    Args:
        at: width, depth, batch size and rate.
        off: how far size, rate and shape are from good.
        exponents: of parameters and of tokens.
        share: of the loss that is owed to few tokens.
        weight: of it all.
    """
    width_at, depth_at, batch_at, rate_at = at

    def term(x: Array, levels: Levels) -> Array:
        width, depth, batch, rate = x[:, width_at], x[:, depth_at], x[:, batch_at], x[:, rate_at]
        size = 2.0 * width + depth + off[0]
        tokens = size - 0.2 * np.minimum(batch, 1.5)
        law = np.log(1.0 + np.exp(-exponents[0] * size) + share * np.exp(exponents[1] * tokens))
        tuned = 0.1 * valley(rate + 0.5 * width - 0.5 * batch - off[1])
        out: Array = (law + tuned + 0.05 * valley(depth - width - off[2])) * weight
        return out

    return term


def basin(at: Levels, target: Array, weight: Array) -> Term:
    """A valley for each place, one independent of the other."""

    def term(x: Array, levels: Levels) -> Array:
        out: Array = valley(x[:, at] - target) @ weight
        return out

    return term
