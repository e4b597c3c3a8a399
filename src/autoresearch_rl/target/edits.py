"""Edits: apply and undo them, show them as a diff, and refuse scripts that must not run.

Everything here is static: no script is executed.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from autoresearch_rl.errors import EditError
from autoresearch_rl.records import Change, Edit
from autoresearch_rl.target.blocks import TEXT, locate, split_lines
from autoresearch_rl.target.literals.sites import line_at
from autoresearch_rl.target.normal import Splice, spliced
from autoresearch_rl.target.script import Script, Site, parse

LIMIT_BYTES = 65536

_NO_NEWLINE = "\\ No newline at end of file"


def apply(script: Script, edit: Edit) -> Script:
    """The script with all changes of `edit` made; every other byte stays as it is.

    `apply(apply(script, edit), edit.inverse).source == script.source` for every edit that is accepted.

    A change at a named site exchanges a literal; one at the site `blocks.TEXT` exchanges whole lines. Both
    kinds may stand in one edit, and all are located on `script`.

    Raises:
        EditError: A site or lines are missing, repeated or overlap, or do not read `old`; or the result does
            not parse, or does not read `new` there, so that the edit could not be undone. Then nothing is
            changed.
    """
    result = Script(_replaced(script, edit))
    if _replaced(result, edit.inverse) != script.source:
        raise EditError("expected an edit that can be undone; give its lines more context")
    return result


def splices(script: Script, edit: Edit) -> list[Splice]:
    """Where in `script` an edit puts what; nothing is checked but that each place is found.

    Of changed lines only those that differ: neighbours that are there to find the place are left out, so
    two edits beside each other do not collide.

    Raises:
        EditError: A site or lines are missing, repeated, or do not read `old`.
    """
    return [_narrowed(_span(script, change), change) for change in edit.changes]


def _narrowed(span: tuple[int, int], change: Change) -> Splice:
    if change.site != TEXT:
        return *span, change.new
    old, new = split_lines(change.old), split_lines(change.new)
    shortest = min(len(old), len(new))
    above = next((i for i in range(shortest) if old[i] != new[i]), shortest)
    rest = shortest - above
    below = next((i for i in range(rest) if old[-1 - i] != new[-1 - i]), rest)
    start = span[0] + sum(map(len, old[:above]))
    end = span[1] - sum(map(len, old[len(old) - below :]))
    return start, end, "".join(new[above : len(new) - below])


def _replaced(script: Script, edit: Edit) -> str:
    """Every change is located on `script` itself, so their order does not matter."""
    _check_repeats(edit)
    spans = [(_span(script, change), change) for change in edit.changes]
    _check_disjoint(spans)
    return spliced(script.source, [(*span, change.new) for span, change in spans])


def diff(before: str, after: str) -> str:
    """Unified diff of two sources, in the form that `git apply` takes; empty when they are equal."""
    lines = difflib.unified_diff(split_lines(before), split_lines(after), "a/train.py", "b/train.py")
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}\n" for line in lines)


def validate(source: str, limit_bytes: int = LIMIT_BYTES, program: bool = False) -> str | None:
    """Why this script must not run, in one line, or None.

    A source that passes is also a `Script`.

    Args:
        program: The script runs as a whole (`Task.program`): no `train(env)` is expected.
    """
    try:
        _check_text(source, limit_bytes)
        _ = Script(source)
        _check_compiles(source)
        if not program:
            _check_train(parse(source))
    except EditError as error:
        return str(error)
    return None


def _check_repeats(edit: Edit) -> None:
    for site, count in Counter(change.site for change in edit.changes if change.site != TEXT).items():
        if count > 1:
            raise EditError(f"expected one change per site, found {count} at {site!r}")


def _check_disjoint(spans: list[tuple[tuple[int, int], Change]]) -> None:
    ordered = sorted(spans, key=lambda found: found[0])
    for (before, first), (after, second) in pairwise(ordered):
        if after[0] < before[1]:
            found = f"{_shown(first)} and {_shown(second)}"
            raise EditError(f"expected changes at disjoint places, found that {found} overlap")


def _shown(change: Change) -> str:
    lines = change.old.strip().split("\n")
    return f"the lines from {lines[0].strip()!r}" if change.site == TEXT else repr(change.site)


def _span(script: Script, change: Change) -> tuple[int, int]:
    if change.site == TEXT:
        return locate(script.source, change.old)
    return _find(script, change, change.old).span


def _find(script: Script, change: Change, expected: str) -> Site:
    site = script.sites.get(change.site)
    if site is None:
        close = difflib.get_close_matches(change.site, script.sites, n=3)
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise EditError(f"expected a site named {change.site!r}, found none{hint}")
    if site.code != expected:
        raise EditError(f"expected {expected!r} at {site.name!r} (line {site.line}), found {site.code!r}")
    return site


def _check_text(source: str, limit_bytes: int) -> None:
    if not source.strip():
        raise EditError("expected a script, found an empty file")
    if "\0" in source:
        line = line_at(source, source.index("\0"))
        raise EditError(f"line {line}: expected text, found a NUL byte")
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > limit_bytes:
        raise EditError(f"expected at most {limit_bytes} bytes, found {size}")


def _check_compiles(source: str) -> None:
    """Some errors show only when bytecode is made: `return` outside a function, for one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "train.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise EditError(f"line {error.lineno or 1}: {error.msg}") from error
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise EditError(f"expected a script that compiles, found {type(error).__name__}: {error}") from error


def _check_train(tree: ast.Module) -> None:
    bindings = [node for node in tree.body if "train" in _bound(node)]
    if not bindings:
        raise EditError("expected a top-level `def train(env)`, found none")
    last = bindings[-1]
    if not isinstance(last, ast.FunctionDef):
        found = ast.unparse(last).partition("\n")[0][:80]
        raise EditError(f"line {last.lineno}: expected a top-level `def train(env)`, found `{found}`")
    if len(_required(last.args)) != 1 or _required_keywords(last.args):
        found = f"def train({ast.unparse(last.args)})"[:80]
        raise EditError(
            f"line {last.lineno}: expected `def train(env)` with exactly one required positional argument, "
            f"found `{found}`"
        )


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a plain top-level statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)


def _required(arguments: ast.arguments) -> list[ast.arg]:
    positional = arguments.posonlyargs + arguments.args
    return positional[: len(positional) - len(arguments.defaults)]


def _required_keywords(arguments: ast.arguments) -> list[ast.arg]:
    return [a for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]
