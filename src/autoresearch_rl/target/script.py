"""A training script as an immutable syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import libcst as cst

from autoresearch_rl.errors import EditError
from autoresearch_rl.records import script_id
from autoresearch_rl.target.literals.divisors import Divisors
from autoresearch_rl.target.literals.lexicon import Lexicon
from autoresearch_rl.target.literals.sites import Site, find_sites, line_at
from autoresearch_rl.target.normal import Normal
from autoresearch_rl.target.parsing import parsed
from autoresearch_rl.target.patterns import Source

__all__ = ["MAX_DEPTH", "Script", "Site"]

MAX_DIGITS = 4300  # of an integer; Python refuses to print larger ones
MAX_DEPTH = 100  # levels of the syntax tree; libcst overflows the C stack far above, and Python's before that
_TOO_LARGE = 10**MAX_DIGITS


@dataclass(frozen=True, repr=False)
class Script:
    """The source of a `train.py`, known to parse.

    Raises:
        EditError: The source does not parse, is nested deeper than `MAX_DEPTH`, or holds characters that
            cannot be kept byte for byte (a byte order mark, form feeds). The message names the line.
    """

    source: str

    def __post_init__(self) -> None:
        _ = self.tree

    @cached_property
    def id(self) -> str:
        """SHA-256 of the source: the identity of a script."""
        return script_id(self.source)

    @cached_property
    def tree(self) -> cst.Module:
        """The concrete syntax tree."""
        # CPython's parser bounds its recursion. libcst's does not: on hostile nesting it ends the process.
        _check_bounds(parse(self.source))
        try:
            tree = cst.parse_module(self.source)
        except cst.ParserSyntaxError as error:
            raise EditError(f"line {error.raw_line}: {error.message}") from error
        _check_lossless(self.source, tree)
        return tree

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """Every site by name, in the order of the source."""
        return find_sites(self.source, self.tree, Lexicon(parse(self.source)))

    @cached_property
    def syntax(self) -> Source:
        """Python's own syntax tree, with places: what patterns are matched on."""
        return Source(self.source)

    @cached_property
    def divisors(self) -> Divisors:
        """Which of its integers must divide which others."""
        return Divisors(self.syntax, self.sites)

    @cached_property
    def normal(self) -> Normal:
        """What is left of it when spacing and comments do not count."""
        return Normal(self.syntax)

    def __repr__(self) -> str:
        return f"Script({self.id[:12]})"


def parse(source: str) -> ast.Module:
    """Parse with the running Python; nothing is executed.

    Raises:
        EditError: The source does not parse; one line with the line number and the reason.
    """
    try:
        return parsed(source)
    except SyntaxError as error:
        raise EditError(f"line {error.lineno or 1}: {error.msg}") from error
    except UnicodeEncodeError as error:
        line = line_at(source, error.start)
        raise EditError(f"line {line}: expected UTF-8 text, found a lone surrogate") from error
    except ValueError as error:  # NUL bytes, in Python 3.11
        raise EditError(f"line {line_at(source, max(source.find(chr(0)), 0))}: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise EditError("line 1: nested too deeply for the parser") from error


def _check_bounds(tree: ast.Module) -> None:
    """Bounds what others will do with the tree: recurse into it, print its numbers."""
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(node, ast.Constant) and isinstance(value, int) and value >= _TOO_LARGE:
            raise EditError(f"line {node.lineno}: expected integers of up to {MAX_DIGITS} digits")
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        line = next((node.lineno for node in level if isinstance(node, ast.expr | ast.stmt)), 1)
        raise EditError(f"line {line}: nested deeper than {MAX_DEPTH} levels; write it flatter")


def _check_lossless(source: str, tree: cst.Module) -> None:
    """Positions are counted in the code that libcst writes, so that has to be the source itself."""
    # libcst loses blank lines at the very end of a file; behind the last token they move nothing.
    code, kept = tree.code.rstrip(), source.rstrip()
    if code != kept:
        same = next((i for i, (a, b) in enumerate(zip(code, kept, strict=False)) if a != b), len(code))
        line = line_at(kept, same)
        raise EditError(
            f"line {line}: expected plain text, found characters that cannot be kept byte for byte; "
            "remove byte order marks and form feeds"
        )
