"""A landscape as a problem: scripts are texts, and what they score is read off a surface."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from autoresearch_rl.records import Candidate, Change, Edit
from autoresearch_rl.simulation.landscapes.places import OFF, Array, Place
from autoresearch_rl.simulation.landscapes.surface import Surface

KEPT = 1024  # scripts that are remembered
TIMID = 0.3  # a step that is shorter changes little


class _Script(NamedTuple):
    lines: tuple[str, ...]
    x: Array


class Landscape:
    """One drawn problem; see `simulation.problem.Problem`. Its bits per byte are `start * exp(scale * F)`.

    Args:
        family: it is one of.
        places: where scripts differ.
        surface: F.
        start: bits per byte of the baseline.
        scale: of F; where F is positive, what is lost grows ever more slowly.
        sigma: standard deviation of one measurement, bits per byte.
        best: the least bits per byte that a search found that knows how the landscape was made.
    """

    def __init__(
        self,
        family: str,
        places: Sequence[Place],
        surface: Surface,
        start: float,
        scale: float,
        sigma: float,
        best: float,
    ) -> None:
        self.family, self.start, self.sigma, self.best = family, start, sigma, best
        self._places, self._surface, self._scale = places, surface, scale
        self._members: dict[str, list[int]] = {}
        for i, place in enumerate(places):
            self._members.setdefault(place.site, []).append(i)
        self._lines = {site: line for line, site in enumerate(self._members)}
        first = tuple(_line(site, places[at[0]].texts[0]) for site, at in self._members.items())
        self.baseline = "\n".join(first)
        self._first = _Script(first, np.zeros(len(places)))
        self._scripts: dict[str, _Script] = {}
        self._truths: dict[str, float | None] = {}
        self._offers: dict[str, tuple[Candidate, ...]] = {}

    def candidates(self, source: str) -> list[Candidate]:
        """See `Problem`."""
        script, found = self._read(source), list[Candidate]()
        for line, (site, members) in zip(script.lines, self._members.items(), strict=True):
            owner = self._places[members[0]].owner
            if owner < 0 or script.x[owner]:
                if line not in self._offers:
                    self._offers[line] = tuple(self._offered(site, line))
                found += self._offers[line]
        return found

    def _offered(self, site: str, line: str) -> Iterator[Candidate]:
        text = _text(line)
        for i in self._members[site]:
            place = self._places[i]
            for new, operator in place.moves(text):
                edit = Edit((Change(site, text, new),))
                if place.is_structural:
                    kind = "recipes" if place.kind == "recipe" else "grammar"
                    yield Candidate(edit, kind, operator, 0, 1.0, place.name, place.odds)
                    continue
                step = place.x(new) - place.x(text) if place.is_number else 0.0
                size = abs(step) if step else 1.0
                odds = place.odds - (0.5 if place.odds and step and size < TIMID else 0.0)
                yield Candidate(edit, "literals", operator, (step > 0) - (step < 0), size, odds=odds)

    def apply(self, source: str, edit: Edit) -> str:
        """The script with an edit.

        Raises:
            KeyError: A place is not there, has not the value that the edit expects, or cannot have the new.
        """
        script = self._read(source)
        lines, x = list(script.lines), script.x.copy()
        for site, old, new in ((c.site, c.old, c.new) for c in edit.changes):
            line = self._lines[site]
            if lines[line] != _line(site, old):
                raise KeyError(site)
            lines[line] = _line(site, new)
            self._move(x, site, new)
        if any((owner := self._owner(c.site)) >= 0 and not x[owner] for c in edit.changes):
            raise KeyError("of a recipe that is off")
        return self._remember(_Script(tuple(lines), x))

    def _owner(self, site: str) -> int:
        return self._places[self._members[site][0]].owner

    def _move(self, x: Array, site: str, text: str) -> None:
        members = self._members[site]
        try:
            for i in members:
                x[i] = self._places[i].x(text)
        except ValueError as error:
            raise KeyError(site) from error
        if self._places[members[0]].is_structural and text != OFF and not x[members].any():
            raise KeyError(site)

    def truth(self, source: str) -> float | None:
        """See `Problem`."""
        if source not in self._truths:
            x = self._read(source).x[None]
            self._truths[source] = None if self._surface.crashes(x)[0] else self._bpb(x)
        return self._truths[source]

    def _bpb(self, x: Array) -> float:
        f = self._scale * float(self._surface.values(x)[0])
        return self.start * math.exp(f if f <= 0.0 else 0.4 * math.log1p(f / 0.4))

    # --- scripts that were made here are not read again

    def _read(self, source: str) -> _Script:
        if source not in self._scripts:
            self._remember(self._parsed(source))
        return self._scripts[source]

    def _parsed(self, source: str) -> _Script:
        lines, x = tuple(source.split("\n")), np.zeros(len(self._places))
        for site, line in zip(self._lines, lines, strict=True):
            if line != self._first.lines[self._lines[site]]:
                self._move(x, site, _text(line))
        return _Script(lines, x)

    def _remember(self, script: _Script) -> str:
        source = "\n".join(script.lines)
        if len(self._scripts) >= KEPT:
            self._scripts.clear()
            self._truths.clear()
        self._scripts[source] = script
        return source


def _line(site: str, text: str) -> str:
    return f"{site} = {text}"


def _text(line: str) -> str:
    return line.partition(" = ")[2]
