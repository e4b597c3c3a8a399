"""Rewriting rules: what a recipe does to a script.

A rule finds a pattern and acts on it; what its metavariables were bound to holds for the rules after it. All
rules look at the original script, and none may touch what another has changed. Where a later rule finds
nothing, the next match of an earlier one is tried, so the rules of a recipe fit together or none applies.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice, pairwise

from autoresearch_rl.target.normal import Splice, spliced
from autoresearch_rl.target.parsing import parsed
from autoresearch_rl.target.patterns import (
    IMPORTS,
    METAVARIABLE,
    MODULES,
    Bindings,
    Bound,
    Match,
    Source,
    fill,
    find,
    parse_pattern,
)

MAX_MATCHES = 20  # of one rule that are tried


class _Unfit(Exception):
    """This match cannot be acted on: a statement shares its line with another, say."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One step. Without an action it only finds, so that later rules know the names."""

    match: tuple[str, ...]  # patterns; the first that is found counts
    scope: str = ""  # the class and function it must stand in: `$C.__init__`, `train`; metavariables bind
    where: Mapping[str, str] = field(
        default_factory=dict
    )  # metavariable -> regular expression to be found in it
    unless: tuple[str, ...] = ()  # patterns that must not be found, with the metavariables bound so far
    optional: bool = False
    every: bool = False  # act on every match, not only on the first
    replace: str | None = None  # the matched expression or statements; empty deletes
    before: str = ""  # statements in front of the one that holds the match
    after: str = ""
    prepend: str = ""  # statements at the start of the body of what was matched
    append: str = ""

    @property
    def templates(self) -> tuple[str, ...]:
        """All that it writes."""
        return (self.replace or "", self.before, self.after, self.prepend, self.append)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Rules that belong together, and what they need at the top of the script."""

    rules: tuple[Rule, ...]
    constants: tuple[str, ...] = ()  # `NAME = value  # comment`, after the script's own
    helper: str = ""  # functions and classes, before the first of the script
    imports: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()  # patterns in whose presence the recipe has nothing to do


@dataclass(frozen=True, slots=True)
class _Step:
    """How far the rules of a recipe have come."""

    splices: tuple[Splice, ...]
    bindings: Bindings


def rewrite(source: Source, recipe: Rewrite) -> str | None:
    """The text with all rules applied, parsed once more; None where they do not fit."""
    if any(next(find(pattern, source, {}), None) for pattern in recipe.absent):
        return None
    rules = _without_clashes(recipe.rules, source.names)
    try:
        top = tuple(_top(recipe, source))
    except _Unfit:
        return None
    step = next(_apply(rules, source, _Step(top, {})), None)
    if step is None:
        return None
    text = spliced(source.text, step.splices)
    try:
        parsed(text)
    except SyntaxError:
        return None
    return text


def _without_clashes(rules: tuple[Rule, ...], taken: Set[str]) -> tuple[Rule, ...]:
    """The rules with other names for variables of their own, where the script uses the name."""
    own = {name for rule in rules for text in rule.templates for name in _assigned(text)}
    known = " ".join(pattern for rule in rules for pattern in rule.match)
    clashes = (own & taken) - set(re.findall(r"\w+", known))
    if not clashes:
        return rules
    pattern = re.compile(rf"(?<![\w.$])({'|'.join(sorted(clashes))})(?!\w)")

    def renamed(text: str) -> str:
        return pattern.sub(r"\1_", text)

    return tuple(
        replace(
            rule,
            replace=None if rule.replace is None else renamed(rule.replace),
            before=renamed(rule.before),
            after=renamed(rule.after),
            prepend=renamed(rule.prepend),
            append=renamed(rule.append),
        )
        for rule in rules
    )


@cache
def _assigned(template: str) -> frozenset[str]:
    """The variables that a template assigns, but for those that the script has given it."""
    try:
        tree = ast.parse(textwrap.dedent(METAVARIABLE.sub("given_", template)))
    except SyntaxError:  # part of a statement
        return frozenset()
    names = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return frozenset(n.id for n in names if n.id != "given_")


def _apply(rules: tuple[Rule, ...], source: Source, step: _Step) -> Iterator[_Step]:
    if not rules:
        yield step
        return
    fits = False
    for following in islice(_steps(rules[0], source, step), MAX_MATCHES):
        fits = True
        yield from _apply(rules[1:], source, following)
    if rules[0].optional and not fits:
        yield from _apply(rules[1:], source, step)


def _steps(rule: Rule, source: Source, step: _Step) -> Iterator[_Step]:
    """What a rule makes of a script: one result a match, or one in all for `every`."""
    for pattern in rule.match:
        matches = [m for m in _in_scope(pattern, rule, source, step.bindings) if _holds(rule, m, source)]
        groups = [_outermost(matches, source)] if rule.every and matches else [[match] for match in matches]
        for group in groups:
            bindings = step.bindings if rule.every else group[0].bindings
            try:
                new = tuple(splice for match in group for splice in _splices(rule, match, source))
            except _Unfit:
                continue
            if _disjoint(step.splices + new):
                yield _Step(step.splices + new, bindings)
        if matches:
            return


def _disjoint(splices: tuple[Splice, ...]) -> bool:
    """Insertions may share a place; nothing may fall into what is replaced."""
    return all(after[0] >= before[1] for before, after in pairwise(sorted(splices, key=lambda s: s[:2])))


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
    if wanted and len(wanted) < len(found) and isinstance(match.nodes[0], ast.Return):
        return None  # it ends a function within
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


def _outermost(matches: list[Match], source: Source) -> list[Match]:
    """Matches inside other matches are left alone."""
    outer: list[Match] = []
    for match in sorted(matches, key=lambda m: source.span(m.nodes[0])):
        if not outer or source.span(match.nodes[0])[0] >= source.span(outer[-1].nodes[-1])[1]:
            outer.append(match)
    return outer


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
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _top(recipe: Rewrite, source: Source) -> Iterator[Splice]:
    """What goes to the top of the script: imports, then constants, then helpers."""
    imports = _last_import(source)
    end_of_imports = _line(imports, imports, source)[2]
    statements = _needed_imports(source, recipe)
    if statements:
        yield end_of_imports, end_of_imports, _lines(statements, source)
    if recipe.constants:
        yield _with_constants(recipe, source, end_of_imports)
    blocks = _new_blocks(recipe, source)
    if blocks:
        start = _first_definition(source)
        yield start, start, _lines([f"{block}\n\n" for block in blocks], source)


def _lines(texts: Sequence[str], source: Source) -> str:
    return "".join(f"{text}\n" for text in texts).replace("\n", source.newline)


def _with_constants(recipe: Rewrite, source: Source, end_of_imports: int) -> Splice:
    if {constant.partition("=")[0].strip() for constant in recipe.constants} & source.names:
        raise _Unfit
    body = source.tree.body
    first = next((i for i, n in enumerate(body) if isinstance(n, ast.FunctionDef | ast.ClassDef)), len(body))
    own = [n for n in body[:first] if isinstance(n, ast.Assign) and source.code(n.targets[0]).isupper()]
    if not own:
        return end_of_imports, end_of_imports, source.newline + _lines(recipe.constants, source)
    _, _, end = _line(own[-1], own[-1], source)
    return end, end, _lines(recipe.constants, source)


def _new_blocks(recipe: Rewrite, source: Source) -> list[str]:
    """The functions and classes of the helper; what the script has already, word for word, is used."""
    blocks = re.split(r"\n\n\n(?=\S)", recipe.helper) if recipe.helper else []
    text = source.text.replace("\r\n", "\n")
    new = {
        re.sub(r"\A(?:@.*\n)*(?:class|def) (\w+)[\s\S]*", r"\1", b): b for b in blocks if f"{b}\n" not in text
    }
    if new.keys() & source.names:
        raise _Unfit
    return list(new.values())


def _first_definition(source: Source) -> int:
    """Where the first function or class begins, with the comments right above it."""
    first = next((n for n in source.tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)), None)
    if first is None:
        raise _Unfit
    _, start, _ = _line(first, first, source)
    while (above := source.text[: max(0, start - 1)].rpartition("\n")[2]).startswith("#"):
        start -= len(above) + 1
    return start


def _last_import(source: Source) -> ast.stmt:
    head = [n for n in source.tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    if not head:
        raise _Unfit
    return head[-1]


def _needed_imports(source: Source, recipe: Rewrite) -> list[str]:
    """Imports of what the recipe writes; the short names of modules mean what they mean in patterns."""
    actions = (text for rule in recipe.rules for text in rule.templates)
    text = "\n".join([recipe.helper, *recipe.constants, *actions])
    used = [name for name in IMPORTS if re.search(rf"(?<![\w.]){name}\.", text)]
    wrong = [name for name in used if source.modules.get(name, MODULES[name]) != MODULES[name]]
    if wrong:
        raise _Unfit
    new = [IMPORTS[name] for name in used if name not in source.modules]
    return new + [code for code in recipe.imports if code not in source.text]


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
        for template in rule.templates:
            missing = {name for _, name in METAVARIABLE.findall(template)} - bound
            if missing:
                raise ValueError(
                    f"rule {number}: expected metavariables bound before, found {sorted(missing)}"
                )
