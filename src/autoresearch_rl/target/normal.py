"""Scripts up to normal form: spacing, comments, quotes and ways of writing a number do not count.

Two scripts of the same normal form are one experiment, so the second is never proposed.
"""

from __future__ import annotations

import ast
import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise

from autoresearch_rl.target.parsing import parsed
from autoresearch_rl.target.patterns import Source

Splice = tuple[int, int, str]
"""Start and end in a text, in characters, and what to put there."""


class Normal:
    """The normal form of a script, and of scripts that differ from it in a few places.

    A candidate mostly changes one statement, however deep it stands: only that one is parsed again, which
    is what makes 500 candidates a second possible.
    """

    def __init__(self, source: Source) -> None:
        self._text = source.text
        self._block = _Block(source.tree.body, source, 0, len(source.text))

    @property
    def id(self) -> str:
        """SHA-256 of the normal form."""
        return _digest(self._block.forms)

    def after(self, splices: Sequence[Splice]) -> str | None:
        """The `id` of the text with these replacements; None when it does not parse."""
        forms = self._block.after(splices)
        if forms is None:  # a change may go on with what stands before, an indented line with a body
            forms = _forms(spliced(self._text, splices))
        return None if forms is None else _digest(forms)


class _Block:
    """Statements one below another: the script's, or those of a function, class, loop or branch.

    Args:
        statements: as they follow one another.
        top, bottom: where a change counts as one of this block, in characters of the script.
    """

    def __init__(self, statements: Sequence[ast.stmt], source: Source, top: int, bottom: int) -> None:
        self._statements, self._source = statements, source
        self._top, self._bottom = top, bottom
        self._starts = [_start(node, source) for node in statements]
        self._ends = [_end(node, source) for node in statements]
        lines = pairwise(statements)
        self._has_shared_lines = any(after.lineno <= (before.end_lineno or 0) for before, after in lines)
        self._inner: dict[int, list[_Block]] = {}  # those of a statement, once they were asked for

    @cached_property
    def forms(self) -> Sequence[str]:
        """Of each statement."""
        return list(map(_form, self._statements))

    def holds(self, splices: Iterable[Splice]) -> bool:
        """Whether all of them are changes of this block."""
        return all(self._top <= start and end <= self._bottom for start, end, _ in splices)

    def after(self, splices: Sequence[Splice]) -> Sequence[str] | None:
        """The forms with these replacements; None where the block does not stand alone with them."""
        if self._has_shared_lines:  # then statements cannot be parsed alone
            return None
        forms: list[str] = []
        done = 0  # statements whose form is known
        for first, last, group in self._regions(splices):
            new = self._inside(first, group) if last == first + 1 else None
            new = self._parsed(first, last, group) if new is None else new
            if new is None:
                return None
            forms += [*self.forms[done:first], *new]
            done = last
        return [*forms, *self.forms[done:]]

    def _regions(self, splices: Sequence[Splice]) -> Iterator[tuple[int, int, list[Splice]]]:
        """Runs of statements, first and last (exclusive), that splices touch, with these splices."""
        region: tuple[int, int, list[Splice]] | None = None
        for splice in sorted(splices, key=lambda splice: splice[:2]):
            first, last = bisect_left(self._ends, splice[0]), bisect_right(self._starts, splice[1])
            if region and first <= region[1]:
                region = region[0], max(last, region[1]), [*region[2], splice]
                continue
            if region:
                yield region
            region = first, last, [splice]
        if region:
            yield region

    def _inside(self, index: int, splices: Sequence[Splice]) -> Sequence[str] | None:
        """The forms of a statement of which only one block changes, and of what comes to stand before it."""
        node = self._statements[index]
        ahead = [splice for splice in splices if splice[1] < self._starts[index]]
        splices = [splice for splice in splices if splice[1] >= self._starts[index]]
        blocks = self._inner.get(index)
        if blocks is None:
            blocks = self._inner[index] = [_nested(block, self._source) for block in _blocks(node)]
        changed = next((i for i, block in enumerate(blocks) if block.holds(splices)), None)
        new = None if changed is None else blocks[changed].after(splices)
        if not new:  # without a statement, a block is not one
            return None
        form = _joined(node, [new if i == changed else block.forms for i, block in enumerate(blocks)])
        above = self._parsed(index, index, ahead)
        return None if above is None else [*above, form]

    def _parsed(self, first: int, last: int, splices: Sequence[Splice]) -> Sequence[str] | None:
        """The forms of what stands in place of some statements."""
        top = self._ends[first - 1] if first else self._top
        bottom = self._starts[last] if last < len(self._starts) else self._bottom
        before = self._source.text[top:bottom]
        text = spliced(before, [(a - top, b - top, new) for a, b, new in splices])
        if text.rpartition("\n")[1:] != before.rpartition("\n")[1:]:
            return None  # what follows would be indented otherwise, or stand in another line
        if not text.strip():
            return []
        if self._statements is self._source.tree.body:
            return _forms(text)
        return _indented_forms(text, self._statements[0].col_offset)


def _nested(statements: list[ast.stmt], source: Source) -> _Block:
    """The block of these; one that holds nothing where they begin in the line of what they are a part of."""
    start = _start(statements[0], source)
    top = source.text.rfind("\n", 0, start) + 1
    if source.text[top:start].strip():
        return _Block(statements, source, len(source.text) + 1, -1)
    return _Block(statements, source, top, _end_of_line(source.span(statements[-1])[1], source))


def normal_id(source: str) -> str:
    """SHA-256 of a script's normal form; of the text itself where it does not parse."""
    forms = _forms(source)
    return _digest([source] if forms is None else forms)


def spliced(text: str, splices: Iterable[Splice]) -> str:
    """A text with parts replaced. They do not overlap; insertions at one place keep their order."""
    parts, end = [], 0
    for start, stop, new in sorted(splices, key=lambda splice: splice[:2]):
        parts += [text[end:start], new]
        end = stop
    return "".join([*parts, text[end:]])


@lru_cache(maxsize=4096)
def _forms(text: str) -> tuple[str, ...] | None:
    statements = _statements(text)
    return None if statements is None else tuple(map(_form, statements))


@lru_cache(maxsize=4096)
def _indented_forms(text: str, column: int) -> tuple[str, ...] | None:
    """Those of lines that are a block by themselves, indented like this."""
    match _statements(f"class _:\n{text}"):
        case [ast.ClassDef(body=statements)] if statements[0].col_offset == column:
            return tuple(map(_form, statements))
    return None


def _statements(text: str) -> list[ast.stmt] | None:
    try:
        return parsed(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _form(node: ast.stmt) -> str:
    """A statement without docstrings, which are comments too; empty when it is nothing else."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return ""
    return _joined(node, [list(map(_form, block)) for block in _blocks(node)])


def _joined(node: ast.stmt, blocks: Iterable[Sequence[str]]) -> str:
    """The form of a statement that has these blocks in place of its own."""
    inner = list(_blocks(node))
    kept = [list(block) for block in inner]
    for block in inner:
        block.clear()
    head = ast.dump(node)
    for block, statements in zip(inner, kept, strict=True):  # the tree belongs to others
        block.extend(statements)
    return "\n".join([head, *("\n".join(["{", *filter(None, forms), "}"]) for forms in blocks)])


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The statements in a statement: what it loops over, branches to, defines."""
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if block:
            yield block
    for name in ("handlers", "cases"):
        for part in getattr(node, name, ()):
            yield part.body


def _start(node: ast.stmt, source: Source) -> int:
    decorators = getattr(node, "decorator_list", [])
    start, _ = source.span(decorators[0] if decorators else node)
    return source.text.rindex("@", 0, start + 1) if decorators else start


def _end(node: ast.stmt, source: Source) -> int:
    """Where a statement ends; after the line, if it is one with a block, which could go on there."""
    _, end = source.span(node)
    return _end_of_line(end, source) if any(_blocks(node)) else end


def _end_of_line(place: int, source: Source) -> int:
    return source.text.find("\n", place) + 1 or len(source.text)


def _digest(forms: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(filter(None, forms)).encode("utf-8", "surrogateescape")).hexdigest()
