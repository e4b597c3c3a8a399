"""Untrusted Python text, parsed."""

from __future__ import annotations

import ast
import warnings


def parsed(text: str) -> ast.Module:
    """The tree of a text, without the warnings it deserves: they are not about this program.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: As `ast.parse`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)
