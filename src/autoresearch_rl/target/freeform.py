"""Free-form edits: SEARCH/REPLACE blocks and unified diffs become one `Edit`. The door for language models.

Both are read tolerantly (prose and code fences around them, wrong line numbers, either kind of line end) but
applied strictly: what a block looks for must stand in the script exactly once. Blocks are located on the
original script and must not overlap.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from autoresearch_rl.errors import EditError
from autoresearch_rl.records import Edit
from autoresearch_rl.target.blocks import edit_between, nearest, occurrences, split_lines

_SEARCH = re.compile(r"<{5,9} ?SEARCH\s*")
_DIVIDER = re.compile(r"={5,9}\s*")
_REPLACE = re.compile(r">{5,9} ?REPLACE\s*")
_HUNK = re.compile(r"@@(?: -(\d+))?.*\s*")
_FORMS = (
    "SEARCH/REPLACE blocks (<<<<<<< SEARCH, =======, >>>>>>> REPLACE) or a unified diff (@@ -1,2 +1,2 @@)"
)


@dataclass
class _Block:
    """Lines to look for and lines to put there, with their ends."""

    name: str
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    line: int | None = None  # where a diff says that the old lines begin, from 1

    def fail(self, reason: str) -> EditError:
        return EditError(f"{self.name}: {reason}")


def parse_freeform(text: str, source: str) -> Edit:
    """The edit of `source` that a text describes.

    Args:
        text: SEARCH/REPLACE blocks or a unified diff, with anything around them.
        source: the script to edit.

    Raises:
        EditError: There is no block; one is malformed, does not fit or overlaps another; or nothing would
            change. The message names the block, what was expected and what was found.
    """
    lines = split_lines(text)
    searching = any(_SEARCH.fullmatch(line) for line in lines)
    blocks = _read_blocks(lines) if searching else _read_hunks(lines)
    if not blocks:
        raise EditError(f"expected {_FORMS}, found neither")
    after = _replaced(split_lines(source), blocks)
    if after == source:
        raise EditError("expected blocks that change the script, found that old and new read the same")
    return edit_between(source, after)


def _read_blocks(lines: Sequence[str]) -> list[_Block]:
    blocks: list[_Block] = []
    part: list[str] | None = None  # the side that lines are added to; None between blocks
    for line in lines:
        side = None if part is None else "SEARCH" if part is blocks[-1].old else "REPLACE"
        if _SEARCH.fullmatch(line):
            if side:
                raise blocks[-1].fail(f"expected the end of its {side} part, found another <<<<<<< SEARCH")
            blocks.append(_Block(f"block {len(blocks) + 1}"))
            part = blocks[-1].old
        elif side == "SEARCH" and _DIVIDER.fullmatch(line):
            part = blocks[-1].new
        elif _REPLACE.fullmatch(line):
            if side != "REPLACE":
                name = blocks[-1].name if side else f"block {len(blocks) + 1}"
                raise EditError(f"{name}: expected ======= before >>>>>>> REPLACE, found none")
            part = None
        elif part is not None:
            part.append(line)
    if part is not None:
        missing = "=======" if part is blocks[-1].old else ">>>>>>> REPLACE"
        raise blocks[-1].fail(f"expected {missing}, found the end of the text")
    return blocks


def _read_hunks(lines: Sequence[str]) -> list[_Block]:
    blocks: list[_Block] = []
    inside = False
    for number, line in enumerate(lines):
        header = _HUNK.fullmatch(line) if line.startswith("@@") else None
        if header:
            start = int(header[1]) if header[1] else None
            blocks.append(_Block(f"hunk {len(blocks) + 1}", line=start))
            inside = True
        elif inside:
            inside = not _is_file_header(lines, number) and _add(blocks[-1], line, lines[number - 1])
    for block in blocks:
        _drop_blank_end(block)
    return blocks


def _is_file_header(lines: Sequence[str], number: int) -> bool:
    following = lines[number + 1] if number + 1 < len(lines) else ""
    return lines[number].startswith("--- ") and following.startswith("+++ ")


def _add(block: _Block, line: str, before: str) -> bool:
    """Adds a line of a hunk; False where the hunk has ended."""
    mark, rest = line[:1], line[1:]
    if line.startswith("\\"):  # "\ No newline at end of file", about the line before
        for side in {"-": [block.old], "+": [block.new]}.get(before[:1], [block.old, block.new]):
            side[-1:] = [last.removesuffix("\n") for last in side[-1:]]
        return True
    if not line.strip():  # an empty line of context whose blank was lost
        mark, rest = " ", line.removeprefix(" ")
    if mark not in " +-":
        return False
    if mark != "+":
        block.old.append(rest)
    if mark != "-":
        block.new.append(rest)
    return True


def _drop_blank_end(block: _Block) -> None:
    """Blank lines between a hunk and the prose after it are no context."""
    while len(block.old) > 1 and block.new and not block.old[-1].strip() and block.old[-1] == block.new[-1]:
        block.old.pop()
        block.new.pop()


def _replaced(lines: list[str], blocks: Sequence[_Block]) -> str:
    placed = sorted(((_place(block, lines), block) for block in blocks), key=lambda found: found[0])
    for (start, block), (following, other) in pairwise(placed):
        if following < start + len(block.old):
            raise other.fail(f"expected lines of its own, found that it overlaps {block.name}")
    for start, block in reversed(placed):
        found = lines[start : start + len(block.old)]
        lines = lines[:start] + _with_ends(block, found, lines) + lines[start + len(block.old) :]
    return "".join(lines)


def _place(block: _Block, lines: Sequence[str]) -> int:
    """The index of the first line that a block replaces."""
    if not block.old:
        raise block.fail("expected lines to look for, found none; repeat the line next to the new ones")
    starts = occurrences(lines, block.old) or occurrences(_bare(lines), _bare(block.old))
    if len(starts) > 1 and block.line is not None and block.line - 1 in starts:
        return block.line - 1
    if len(starts) > 1:
        places = ", ".join(str(start + 1) for start in starts[:8])
        raise block.fail(f"expected its lines once, found them at lines {places}; add lines around them")
    if not starts:
        shown = "".join(f"\n  {line}" for line in _bare(block.old)[:8])
        raise block.fail(
            f"expected these lines, found them nowhere:{shown}{nearest(_bare(lines), _bare(block.old))}"
        )
    return starts[0]


def _with_ends(block: _Block, found: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The new lines, ending as the script's lines do unless the old ones were quoted byte for byte."""
    if list(found) == block.old:
        return block.new
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    new = [line + end for line in _bare(block.new)]
    if new and not found[-1].endswith("\n"):
        new[-1] = new[-1].removesuffix(end)
    return new


def _bare(lines: Sequence[str]) -> list[str]:
    return [line.rstrip("\r\n") for line in lines]
