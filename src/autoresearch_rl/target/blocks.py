"""Changes of whole lines, found by what they read: how structural edits are written down.

A change at the site `TEXT` replaces one run of lines by another. It is found by its `old` lines, which must
occur exactly once; its `new` lines must occur exactly once in the result, so that it can be undone. An
insertion carries a neighbouring line in both, a deletion one in `new`. So an edit made on one script applies
to any other that still reads the same there.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from autoresearch_rl.errors import EditError
from autoresearch_rl.records import Change, Edit
from autoresearch_rl.target.normal import Splice, spliced

TEXT = "text"
"""The site of a change that is found by what it reads."""


def locate(source: str, old: str) -> tuple[int, int]:
    """Where the lines `old` stand in `source`: start and end, in characters.

    Raises:
        EditError: They are nowhere, or at several places.
    """
    lines, wanted = split_lines(source), split_lines(old)
    if not wanted:
        raise EditError("expected lines to look for, found none; add a neighbouring line to both sides")
    starts = occurrences(lines, wanted)
    if len(starts) != 1:
        raise EditError(f"{_times(starts)}:{_shown(wanted)}{nearest(lines, wanted) if not starts else ''}")
    offset = sum(map(len, lines[: starts[0]]))
    return offset, offset + len(old)


def edit_between(before: str, after: str) -> Edit:
    """The edit that makes `after` of `before`: disjoint changes with as few lines as they need.

    `apply(before, edit)` is `after`, and `apply(after, edit.inverse)` is `before`.

    Raises:
        EditError: The two are equal, or one is empty.
    """
    old, new = split_lines(before), split_lines(after)
    if before == after or not old or not new:
        raise EditError("expected two different scripts that are not empty")
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    hunks = [_Hunk(a, b, c, d) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]
    return _edit(hunks, old, new)


def edit_at(source: str, splices: Iterable[Splice]) -> Edit:
    """The edit that makes these replacements; like `edit_between`, without having to look for differences.

    Args:
        source: the text.
        splices: start, end and what to put there; they do not overlap, and insertions at one place keep
            their order.

    Raises:
        EditError: Nothing is changed, or nothing is left.
    """
    old = split_lines(source)
    starts = [0, *accumulate(map(len, old))]
    new: list[str] = []
    hunks: list[_Hunk] = []
    done = 0  # lines of the old text that are in the new one
    for a, b, group in _lines_of(starts, splices):
        new += old[done:a]
        moved = [(start - starts[a], end - starts[a], text) for start, end, text in group]
        lines = split_lines(spliced("".join(old[a:b]), moved))
        hunks.append(_trimmed(_Hunk(a, b, len(new), len(new) + len(lines)), old, [*new, *lines]))
        new += lines
        done = b
    new += old[done:]
    hunks = [hunk for hunk in hunks if hunk.a < hunk.b or hunk.c < hunk.d]
    if not new or new == old:
        raise EditError("expected replacements that change the script and leave something of it")
    return _edit(hunks, old, new)


def _edit(hunks: Sequence[_Hunk], old: Sequence[str], new: Sequence[str]) -> Edit:
    """The hunks as changes, with as much around them as it takes to find them again."""
    hunks = _merged([_widened(hunk, old, new) for hunk in hunks])
    while any(not _is_unique(hunk, old, new) for hunk in hunks):
        hunks = _merged([h if _is_unique(h, old, new) else _widened(h, old, new, 1) for h in hunks])
    changes = (Change(TEXT, "".join(old[h.a : h.b]), "".join(new[h.c : h.d])) for h in hunks)
    return Edit(tuple(changes))


def _lines_of(starts: Sequence[int], splices: Iterable[Splice]) -> list[tuple[int, int, list[Splice]]]:
    """Runs of lines that hold all replacements, from first to last, with what is replaced in each.

    Args:
        starts: where each line starts.
        splices: whole lines replace whole lines; anything else takes in the lines that it touches.
    """
    groups: list[tuple[int, int, list[Splice]]] = []
    for start, end, text in sorted(splices, key=lambda splice: splice[:2]):
        a = bisect_right(starts, start) - 1
        whole = starts[a] == start and (not text or text.endswith("\n"))
        if not whole and a == len(starts) - 1:  # behind the last newline: the last line grows
            a -= 1
        b = bisect_left(starts, end) if whole else min(bisect_right(starts, end), len(starts) - 1)
        if groups and a < groups[-1][1]:
            first, last, before = groups.pop()
            b = min(
                bisect_right(starts, end), len(starts) - 1
            )  # together they may leave a line without an end
            groups.append((first, max(last, b), [*before, (start, end, text)]))
        else:
            groups.append((a, b, [(start, end, text)]))
    return groups


def _trimmed(hunk: _Hunk, old: Sequence[str], new: Sequence[str]) -> _Hunk:
    """Without lines that are the same at its ends."""
    a, b, c, d = hunk.a, hunk.b, hunk.c, hunk.d
    while a < b and c < d and old[a] == new[c]:
        a, c = a + 1, c + 1
    while a < b and c < d and old[b - 1] == new[d - 1]:
        b, d = b - 1, d - 1
    return _Hunk(a, b, c, d)


def split_lines(text: str) -> list[str]:
    """Lines with their ends, as git and Python's own parser count them."""
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])


def occurrences(lines: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """The indices at which a run of lines stands."""
    size, first = len(wanted), wanted[0]
    return [
        i
        for i, line in enumerate(lines[: len(lines) - size + 1])
        if line == first and lines[i : i + size] == wanted
    ]


@dataclass(frozen=True, slots=True)
class _Hunk:
    """Lines a to b of the old text become lines c to d of the new one."""

    a: int
    b: int
    c: int
    d: int


def _widened(hunk: _Hunk, old: Sequence[str], new: Sequence[str], by: int = 0) -> _Hunk:
    """With `by` more lines of context above, or below at the top; 0 means what an empty side needs."""
    by = by or int(hunk.a == hunk.b or hunk.c == hunk.d)
    above = min(by, hunk.a, hunk.c)
    if above:
        return replace(hunk, a=hunk.a - above, c=hunk.c - above)
    below = min(by, len(old) - hunk.b, len(new) - hunk.d)
    return replace(hunk, b=hunk.b + below, d=hunk.d + below)


def _merged(hunks: Sequence[_Hunk]) -> list[_Hunk]:
    """Hunks that touch or overlap become one."""
    result: list[_Hunk] = []
    for hunk in hunks:
        if result and (hunk.a <= result[-1].b or hunk.c <= result[-1].d):
            last = result.pop()
            # Between two hunks the texts are equal, so both sides grow by the same lines.
            hunk = _Hunk(min(last.a, hunk.a), max(last.b, hunk.b), min(last.c, hunk.c), max(last.d, hunk.d))
        result.append(hunk)
    return result


def _is_unique(hunk: _Hunk, old: Sequence[str], new: Sequence[str]) -> bool:
    whole = (hunk.a, hunk.b, hunk.c, hunk.d) == (0, len(old), 0, len(new))
    return whole or (
        len(occurrences(old, old[hunk.a : hunk.b])) == 1 and len(occurrences(new, new[hunk.c : hunk.d])) == 1
    )


def nearest(lines: Sequence[str], wanted: Sequence[str]) -> str:
    """Where the most similar lines stand, and which of them differs first; empty when nothing is similar."""
    size = len(wanted)
    windows = [list(lines[i : i + size]) for i in range(max(1, len(lines) - size + 1))]
    shared = [sum(_same(a, b) for a, b in zip(window, wanted, strict=False)) for window in windows]
    ratio, start = max((_similarity(windows[i], wanted), i) for i in _best(shared))
    if ratio < 0.6:
        return ""
    index = next((i for i, (a, b) in enumerate(zip(windows[start], wanted, strict=False)) if a != b), 0)
    found, expected = windows[start][index], wanted[index]
    blanks = " but for its blanks" if _same(found, expected) else ""
    return f"\nmost similar from line {start + 1}; line {start + index + 1} reads{blanks}: {found.rstrip()!r}"


def _best(shared: Sequence[int], size: int = 20) -> list[int]:
    """The places worth a close look: comparing every one character by character would take seconds."""
    ranked = sorted(range(len(shared)), key=lambda i: -shared[i])
    return ranked[:size] if max(shared) else ranked


def _same(line: str, other: str) -> bool:
    return bool(line.strip()) and line.split() == other.split()


def _similarity(lines: Sequence[str], wanted: Sequence[str]) -> float:
    matcher = difflib.SequenceMatcher(None, "".join(wanted)[:2000], "".join(lines)[:2000], autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= 0.6 else 0.0


def _times(starts: Sequence[int]) -> str:
    if not starts:
        return "expected these lines once, found them nowhere"
    places = ", ".join(str(start + 1) for start in starts[:8])
    return f"expected these lines once, found them at lines {places}; add neighbouring lines"


def _shown(wanted: Sequence[str]) -> str:
    more = [f"\n  ... {len(wanted) - 8} more"] if len(wanted) > 8 else []
    return "".join([f"\n  {line.rstrip()}" for line in wanted[:8]] + more)
