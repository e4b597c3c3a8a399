"""Rewriting rules: what a recipe does to a script, step by step on its text.

A rule finds a pattern and acts on it; what its metavariables were bound to holds for the rules after it. Where a
later rule finds nothing, the next match of an earlier one is tried, so the rules of a recipe fit together or
none applies.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from autoresearch_rl.target.patterns import IMPORTS, METAVARIABLE, Bindings, Bound, Match, Source, fill, find, parse_pattern

MAX_TRIES = 50  # combinations of matches looked at before a recipe is given up

Splice = tuple[int, int, str]


class _Unfit(Exception):
    """This match cannot be acted on: a statement shares its line with another, say."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One step. Without an action it only finds, so that later rules know the names."""

    match: tuple[str, ...]  # patterns; the first that is found counts
    scope: str = ""  # the class and function it must stand in: `$C.__init__`, `train`; metavariables bind
    where: Mapping[str, str] = field(default_factory=dict)  # metavariable -> regular expression to be found in it
    unless: tuple[str, ...] = ()  # patterns that must not be found, with the metavariables bound so far
    optional: bool = False
    every: bool = False  # act on every match, not only on the first
    replace: str | None = None  # the matched expression or statements; empty deletes
    before: str = ""  # statements in front of the one that holds the match
    after: str = ""
    prepend: str = ""  # statements at the start of the body of what was matched
    append: str = ""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Rules that belong together, and what they need at the top of the script."""

    rules: tuple[Rule, ...]
    constants: tuple[str, ...] = ()  # `NAME = value  # comment`, after the script's own
    helper: str = ""  # functions and classes, before the first of the script
    imports: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()  # patterns in whose presence the recipe has nothing to do


@dataclass(frozen=True)
class _Step:
    text: str
    bindings: Bindings

    @cached_property
    def source(self) -> Source:
        return Source(self.text)


def rewrite(source: Source, recipe: Rewrite) -> str | None:
    """The text with all rules applied; None where they do not fit."""
    if any(next(find(pattern, source, {}), None) for pattern in recipe.absent):
        return None
    if _clashes(recipe, source):
        return None
    start = _Step(source.text, {})
    start.__dict__["source"] = source  # parsed already
    for step in islice(_apply(recipe.rules, start), MAX_TRIES):
        try:
            return _with_top(step.text, recipe, source)
        except (_Unfit, SyntaxError):
            continue
    return None


def _clashes(recipe: Rewrite, source: Source) -> bool:
    """New names must be new; a helper that is there already, word for word, is used."""
    names = {constant.partition("=")[0].strip() for constant in recipe.constants}
    return bool(names & source.names())


def _apply(rules: tuple[Rule, ...], step: _Step) -> Iterator[_Step]:
    if not rules:
        yield step
        return
    fits = False
    for following in islice(_steps(rules[0], step), MAX_TRIES):
        fits = True
        yield from _apply(rules[1:], following)
    if rules[0].optional and not fits:
        yield from _apply(rules[1:], step)


def _steps(rule: Rule, step: _Step) -> Iterator[_Step]:
    """What a rule makes of a text: one result a match, or one in all for `every`."""
    try:
        source = step.source
    except (SyntaxError, ValueError):  # an earlier rule made nonsense of this script
        return
    for pattern in rule.match:
        matches = [m for m in _in_scope(pattern, rule, source, step.bindings) if _holds(rule, m, source)]
        if rule.every and matches:
            yield from _acted_on_all(rule, matches, step)
            return
        for match in matches:
            yield from _acted(rule, [match], step, match.bindings)
        if matches:
            return


def _in_scope(pattern: str, rule: Rule, source: Source, bindings: Bindings) -> Iterator[Match]:
    for match in find(pattern, source, bindings):
        found = _scoped(rule.scope, match)
        if found is not None:
            yield Match(match.nodes, match.place, found)


def _scoped(scope: str, match: Match) -> Bindings | None:
    """The bindings with those of the scope; None where the match stands elsewhere."""
    wanted, found = scope.split(".") if scope else [], match.place.scope
    if len(wanted) > len(found):
        return None
    bindings = dict(match.bindings)
    for segment, name in zip(wanted, found, strict=False):
        expected = segment
        if segment.startswith("$"):
            expected = bindings.setdefault(segment[1:], Bound(name, name)).text
        if expected != name:
            return None
    return bindings


def _holds(rule: Rule, match: Match, source: Source) -> bool:
    texts = match.bindings
    fits = all(name in texts and re.search(regex, texts[name].text) for name, regex in rule.where.items())
    return fits and not any(next(find(pattern, source, texts), None) for pattern in rule.unless)


def _acted_on_all(rule: Rule, matches: list[Match], step: _Step) -> Iterator[_Step]:
    """Matches inside other matches are left alone."""
    outer: list[Match] = []
    for match in sorted(matches, key=lambda m: step.source.span(m.nodes[0])):
        if not outer or step.source.span(match.nodes[0])[0] >= step.source.span(outer[-1].nodes[-1])[1]:
            outer.append(match)
    yield from _acted(rule, outer, step, step.bindings)


def _acted(rule: Rule, matches: list[Match], step: _Step, bindings: Bindings) -> Iterator[_Step]:
    try:
        splices = [splice for match in matches for splice in _splices(rule, match, step.source)]
    except _Unfit:
        return
    if not splices:
        yield _Step(step.text, bindings)
        return
    text = step.text
    for start, end, new in sorted(splices, reverse=True):
        text = text[:start] + new + text[end:]
    yield _Step(text, bindings)


def _splices(rule: Rule, match: Match, source: Source) -> Iterator[Splice]:
    if rule.replace is not None:
        yield _replacement(rule.replace, match, source)
    if rule.before or rule.after:
        first = match.place.statement
        last = match.nodes[-1] if isinstance(match.nodes[-1], ast.stmt) else first
        if first is None or not isinstance(last, ast.stmt):
            raise _Unfit
        if rule.before:
            yield _inserted(rule.before, first, match.bindings, source, above=True)
        if rule.after:
            yield _inserted(rule.after, last, match.bindings, source, above=False)
    if rule.prepend or rule.append:
        body = getattr(match.nodes[0], "body", None)
        if not isinstance(body, list):
            raise _Unfit
        if rule.prepend:
            first = body[1] if _is_docstring(body[0]) and len(body) > 1 else body[0]
            yield _inserted(rule.prepend, first, match.bindings, source, above=True)
        if rule.append:
            yield _inserted(rule.append, body[-1], match.bindings, source, above=False)


def _replacement(template: str, match: Match, source: Source) -> Splice:
    start, end = source.span(match.nodes[0])[0], source.span(match.nodes[-1])[1]
    if not isinstance(match.nodes[0], ast.stmt):
        return start, end, fill(template, match.bindings)
    indent, _, line_end = _line(match.nodes[0], match.nodes[-1], source)
    if template.strip():
        return start, end, _indented(template, match.bindings, indent, source).strip()
    if len(getattr(match.place.parent, match.place.field)) <= len(match.nodes):
        return start, end, "pass"
    return start - len(indent), line_end, ""


def _inserted(template: str, node: ast.stmt, bindings: Bindings, source: Source, *, above: bool) -> Splice:
    indent, start, end = _line(node, node, source)
    text = _indented(template, bindings, indent, source)
    if above:
        return start, start, text
    missing = "" if source.text[:end].endswith("\n") else source.newline
    return end, end, missing + text


def _line(first: ast.AST, last: ast.AST, source: Source) -> tuple[str, int, int]:
    """Indentation, start and end (behind the newline) of the lines that statements have to themselves."""
    top = min([first, *getattr(first, "decorator_list", [])], key=lambda node: source.span(node)[0])
    text, start, end = source.text, source.span(top)[0], source.span(last)[1]
    if top is not first:
        start = text.rindex("@", 0, start + 1)
    line_start = text.rfind("\n", 0, start) + 1
    newline = text.find("\n", end)
    line_end = len(text) if newline < 0 else newline + 1
    indent, rest = text[line_start:start], text[end:line_end].strip()
    if indent.strip() or (rest and not rest.startswith("#")):
        raise _Unfit
    return indent, line_start, line_end


def _indented(template: str, bindings: Bindings, indent: str, source: Source) -> str:
    """Lines of a template, filled, at an indentation; each with its end."""
    lines = textwrap.dedent(template).strip("\n").split("\n")
    filled = (fill(line, bindings) for line in lines)
    return "".join((indent + line if line else "") + source.newline for line in filled)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _with_top(text: str, recipe: Rewrite, before: Source) -> str:
    """Adds helpers, constants and imports, from the bottom up."""
    source = Source(text)
    for block in reversed(_top_blocks(recipe, before)):
        source = Source(_with_block(source, block))
    for constant in reversed(recipe.constants):
        source = Source(_with_constant(source, constant))
    for statement in _needed_imports(source, recipe):
        source = Source(_with_import(source, statement))
    return source.text


def _top_blocks(recipe: Rewrite, before: Source) -> list[str]:
    """The functions and classes of the helper that the script does not have yet, word for word."""
    blocks = re.split(r"\n\n\n(?=\S)", recipe.helper.strip("\n")) if recipe.helper else []
    text = before.text.replace("\r\n", "\n")
    names = {block: re.sub(r"\A(?:@.*\n)*(?:class|def) (\w+)[\s\S]*", r"\1", block) for block in blocks}
    new = [block for block in blocks if block not in text]
    if any(names[block] in before.names() for block in new):
        raise _Unfit
    return new


def _with_block(source: Source, block: str) -> str:
    definitions = [n for n in source.tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    if not definitions:
        raise _Unfit
    _, start, _ = _line(definitions[0], definitions[0], source)
    while (above := source.text[: max(0, start - 1)].rpartition("\n")[2]).startswith("#"):
        start -= len(above) + 1
    text = f"{block}\n\n\n".replace("\n", source.newline)
    return source.text[:start] + text + source.text[start:]


def _with_constant(source: Source, constant: str) -> str:
    body = source.tree.body
    first = next((i for i, n in enumerate(body) if isinstance(n, ast.FunctionDef | ast.ClassDef)), len(body))
    own = [n for n in body[:first] if isinstance(n, ast.Assign) and source.code(n.targets[0]).isupper()]
    gap = "" if own else source.newline
    anchor = own[-1] if own else _last_import(source)
    _, _, end = _line(anchor, anchor, source)
    return source.text[:end] + gap + constant + source.newline + source.text[end:]


def _last_import(source: Source) -> ast.stmt:
    head = [n for n in source.tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    if not head:
        raise _Unfit
    return head[-1]


def _needed_imports(source: Source, recipe: Rewrite) -> Iterator[str]:
    used = {place.node.id for place in source.places(ast.Name) if isinstance(place.node, ast.Name)}
    yield from (code for name, code in IMPORTS.items() if name in used and name not in source.modules)
    yield from (code for code in recipe.imports if code not in source.text)


def _with_import(source: Source, statement: str) -> str:
    anchor = _last_import(source)
    _, _, end = _line(anchor, anchor, source)
    return source.text[:end] + statement + source.newline + source.text[end:]


def check(recipe: Rewrite) -> None:
    """Finds mistakes in a recipe before it meets a script.

    Raises:
        ValueError: A pattern does not parse, or a template uses a metavariable that nothing binds.
    """
    bound: set[str] = set()
    for number, rule in enumerate(recipe.rules, 1):
        for pattern in (*rule.match, *rule.unless, *recipe.absent):
            try:
                parse_pattern(pattern)
            except SyntaxError as error:
                raise ValueError(f"rule {number}: {pattern!r} is no pattern: {error.msg}") from error
        # A metavariable must be in every alternative, or a template could meet it unbound.
        bound |= set.intersection(*({name for _, name in METAVARIABLE.findall(p)} for p in rule.match))
        bound |= {name for _, name in METAVARIABLE.findall(rule.scope)}
        for template in (rule.replace or "", rule.before, rule.after, rule.prepend, rule.append):
            missing = {name for _, name in METAVARIABLE.findall(template)} - bound
            if missing:
                raise ValueError(f"rule {number}: expected metavariables bound before, found {sorted(missing)}")
