"""Scripts up to normal form: spacing, comments, quotes and ways of writing a number do not count.

Two scripts of the same normal form are one experiment, so the second is never proposed.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from autoresearch_rl.target.patterns import Source

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")

Splice = tuple[int, int, str]
"""Start and end in a text, in characters, and what to put there."""


class Normal:
    """The normal form of a script, and of scripts that differ from it in a few places.

    A candidate mostly changes one statement at the top level (a class, a function, a constant): only that
    one is parsed again, which is what makes 500 candidates a second possible.
    """

    def __init__(self, source: Source) -> None:
        self._text = source.text
        self._spans = [_span(node, source) for node in source.tree.body]
        self._forms = [_form(node) for node in source.tree.body]
        lines = pairwise(source.tree.body)
        self._has_shared_lines = any(after.lineno <= (before.end_lineno or 0) for before, after in lines)

    @property
    def id(self) -> str:
        """SHA-256 of the normal form."""
        return _digest(self._forms)

    def after(self, splices: Sequence[Splice]) -> str | None:
        """The `id` of the text with these replacements; None when it does not parse."""
        if self._has_shared_lines:  # then statements cannot be parsed alone
            return self._after_whole(splices)
        forms: list[str] = []
        done = 0  # statements whose form is known
        for first, last, group in self._regions(splices):
            top = self._spans[first - 1][1] if first else 0
            bottom = self._spans[last][0] if last < len(self._spans) else len(self._text)
            new = _forms(spliced(self._text[top:bottom], [(a - top, b - top, text) for a, b, text in group]))
            if new is None:  # it may go on with what stands before, an indented line with a body
                return self._after_whole(splices)
            forms += [*self._forms[done:first], *new]
            done = last
        return _digest([*forms, *self._forms[done:]])

    def _after_whole(self, splices: Sequence[Splice]) -> str | None:
        forms = _forms(spliced(self._text, splices))
        return None if forms is None else _digest(forms)

    def _regions(self, splices: Sequence[Splice]) -> Iterator[tuple[int, int, list[Splice]]]:
        """Runs of statements, first and last (exclusive), that splices touch, with these splices."""
        ends, starts = [end for _, end in self._spans], [start for start, _ in self._spans]
        region: tuple[int, int, list[Splice]] | None = None
        for splice in sorted(splices, key=lambda splice: splice[:2]):
            first, last = bisect_left(ends, splice[0]), bisect_right(starts, splice[1])
            if region and first <= region[1]:
                region = region[0], max(last, region[1]), [*region[2], splice]
                continue
            if region:
                yield region
            region = first, last, [splice]
        if region:
            yield region


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a script's text deserves is no warning about this program
            return tuple(map(_form, ast.parse(text).body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _form(node: ast.stmt) -> str:
    """A statement without docstrings, which are comments too; empty when it is nothing else."""
    if _is_text(node):
        return ""
    if not isinstance(node, _DEFINITIONS):
        return ast.dump(node)
    documented = [n for n in _definitions(node) if _is_text(n.body[0])]
    kept = [n.body for n in documented]
    for definition in documented:
        definition.body = definition.body[1:]
    form = ast.dump(node)
    for definition, body in zip(documented, kept, strict=True):  # the tree belongs to others
        definition.body = body
    return form


def _definitions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """The functions and classes in a statement, itself included."""
    if isinstance(node, _DEFINITIONS):
        yield node
    for name in _BLOCKS:
        for child in getattr(node, name, ()):
            yield from _definitions(child)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _span(node: ast.stmt, source: Source) -> tuple[int, int]:
    start, end = source.span(node)
    decorators = getattr(node, "decorator_list", [])
    if decorators:
        start = source.text.rindex("@", 0, source.span(decorators[0])[0] + 1)
    return start, end


def _digest(forms: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(filter(None, forms)).encode("utf-8", "surrogateescape")).hexdigest()
