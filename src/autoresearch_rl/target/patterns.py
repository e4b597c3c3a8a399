"""Patterns of Python code: matched on syntax, whatever the spacing, the quotes or the imports' names.

A pattern is Python source with metavariables. `$X` stands for one expression or one name (also an attribute,
a parameter, a class), `$$ARGS` for the remaining arguments of a call, `...` for any number of arguments or
statements. A metavariable that stands twice must match the same code twice. `F`, `nn`, `torch` and `math`
mean the modules of these names, however the script imports them.

The tree is Python's own: unlike libcst's it ignores spacing and knows where each node stands, and code is
replaced in the text itself, so that everything else keeps its bytes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from autoresearch_rl.target.parsing import parsed

METAVARIABLE = re.compile(r"\$(\$?)([A-Z][A-Z0-9]*)")
IMPORTS = {
    "F": "import torch.nn.functional as F",
    "nn": "from torch import nn",
    "torch": "import torch",
    "math": "import math",
}
"""What the short names of patterns and templates mean."""

MODULES = {"F": "torch.nn.functional", "nn": "torch.nn", "torch": "torch", "math": "math"}
_PLACEHOLDER = re.compile(r"_(one|many)_([A-Z][A-Z0-9]*)_")
_IGNORED = {
    "ctx",
    "type_comment",
    "kind",
    "decorator_list",
    "returns",
    "annotation",
    "type_params",
    "defaults",
}


@dataclass(frozen=True, slots=True)
class Bound:
    """What a metavariable stands for: its text, and a normal form by which it is compared."""

    text: str
    key: str
    atom: bool = True  # can stand anywhere without parentheses


Bindings = Mapping[str, Bound]


class Source:
    """A parsed text: where its nodes stand, in which class and function, and what its imports are called.

    Raises:
        SyntaxError or another error of `ast.parse`: It does not parse.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = parsed(text)
        self._raw = text.encode("utf-8")
        self._ascii = len(self._raw) == len(text)
        self._starts = [0, *(m.end() for m in re.finditer(rb"\r\n|\r|\n", self._raw))]
        self.modules: dict[str, str] = {}
        self._nodes: dict[type[ast.AST], list[Place]] = {}
        self._runs: list[Place] = []
        self._visit(self.tree, None, ())
        self.newline = "\r\n" if "\r\n" in text else "\n"

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Start and end of a node, in characters."""
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.arg)
        start = self._offset(node.lineno, node.col_offset)
        return start, self._offset(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def code(self, node: ast.AST) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def places(self, kind: type[ast.AST]) -> Sequence[Place]:
        """All nodes of a type, outermost first, in the order of the text."""
        return self._nodes.get(kind, ())

    def runs(self) -> Sequence[Place]:
        """Every statement, to begin a run of statements with."""
        return self._runs

    @cached_property
    def names(self) -> set[str]:
        """Every name that the script uses for something of its own or of others."""
        found = {p.node.id for p in self.places(ast.Name) if isinstance(p.node, ast.Name)}
        for kind in (ast.FunctionDef, ast.ClassDef):
            found |= {p.node.name for p in self.places(kind) if isinstance(p.node, kind)}
        return found | set(self.modules)

    def _offset(self, line: int, column: int) -> int:
        offset = self._starts[line - 1] + column
        return offset if self._ascii else len(self._raw[:offset].decode("utf-8"))

    def _visit(self, node: ast.AST, statement: ast.stmt | None, scope: tuple[str, ...]) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._note_import(node)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            scope = (*scope, node.name)
        for name in node._fields:
            value = getattr(node, name, None)
            for index, child in enumerate(value) if isinstance(value, list) else ((0, value),):
                if isinstance(child, ast.AST) and child._fields:  # `Load` and the like have none
                    inner = child if isinstance(child, ast.stmt) else statement
                    place = Place(child, inner, scope, node, name, index)
                    self._nodes.setdefault(type(child), []).append(place)
                    if inner is child:
                        self._runs.append(place)
                    self._visit(child, inner, scope)

    def _note_import(self, node: ast.Import | ast.ImportFrom) -> None:
        base = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            name = alias.name if alias.asname or base else alias.name.partition(".")[0]
            self.modules[alias.asname or name] = base + name


@dataclass(frozen=True, slots=True)
class Place:
    """A node, the innermost statement that holds it (or is it), and the classes and functions around it."""

    node: ast.AST
    statement: ast.stmt | None
    scope: tuple[str, ...]
    parent: ast.AST
    field: str
    index: int


@dataclass(frozen=True, slots=True)
class Match:
    """Where a pattern was found: one expression, or one or more statements in a row."""

    nodes: tuple[ast.AST, ...]
    place: Place
    bindings: Bindings


def find(pattern: str, source: Source, bindings: Bindings) -> Iterator[Match]:
    """All matches of a pattern, in the order of the text, that agree with `bindings`."""
    nodes = parse_pattern(pattern)
    matcher = _Matcher(source)
    if len(nodes) == 1:
        for place in source.places(type(nodes[0])):
            for found in matcher.match(nodes[0], place.node, bindings):
                yield Match((place.node,), place, found)
                break
        return
    for place in source.runs():
        run = getattr(place.parent, place.field)[place.index : place.index + len(nodes)]
        if len(run) == len(nodes):
            for found in matcher.sequence(nodes, run, bindings):
                yield Match(tuple(run), place, found)
                break


@lru_cache(maxsize=1024)
def parse_pattern(pattern: str) -> list[Any]:
    """The nodes of a pattern: one expression, or its statements.

    Raises:
        SyntaxError: It is not Python with metavariables.
    """
    encoded = METAVARIABLE.sub(lambda m: f"_{'many' if m[1] else 'one'}_{m[2]}_", pattern)
    body = ast.parse(encoded.strip("\n")).body
    if len(body) == 1 and isinstance(body[0], ast.Expr):
        return [body[0].value]
    return body


def fill(template: str, bindings: Bindings) -> str:
    """A template with its metavariables replaced by what they stand for.

    Raises:
        KeyError: A metavariable is not bound.
    """

    def text(match: re.Match[str]) -> str:
        bound = bindings[match[2]]
        if bound.atom or _is_enclosed(template, match):
            return bound.text
        return f"({bound.text})"

    template = _without_empty(template, bindings)
    return METAVARIABLE.sub(text, template)


def _without_empty(template: str, bindings: Bindings) -> str:
    """No commas where there are no further arguments."""
    for many, name in METAVARIABLE.findall(template):
        if many and not bindings[name].text:
            template = re.sub(rf",\s*\$\${name}(?![A-Z0-9])|\$\${name}(?![A-Z0-9])\s*,?\s*", "", template)
    return template


def _is_enclosed(template: str, match: re.Match[str]) -> bool:
    before, after = template[: match.start()].rstrip(" "), template[match.end() :].lstrip(" ")
    opened = before[-1:] in set("([{,") or (before[-1:] == "=" and before[-2:-1] not in set("=!<>"))
    return bool(match[1]) or (opened and after[:1] in set(")]},"))


class _Matcher:
    def __init__(self, source: Source) -> None:
        self._source = source

    def match(self, pattern: Any, node: Any, bindings: Bindings) -> Iterator[Bindings]:
        """All ways in which a node matches; most nodes match in one way or none."""
        if isinstance(pattern, list):
            yield from self.sequence(pattern, node, bindings)
        elif isinstance(pattern, str):
            yield from self._name(pattern, node, bindings)
        elif not isinstance(pattern, ast.AST):
            if type(pattern) is type(node) and pattern == node:
                yield bindings
        elif (name := _metavariable(pattern)) and isinstance(node, ast.expr):
            yield from self._bind(name, node, bindings)
        elif type(pattern) is type(node):
            yield from self._node(pattern, node, bindings)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(pattern, ast.Name | ast.Attribute):
            yield from self._dotted(pattern, node, bindings)

    def sequence(self, patterns: Sequence[Any], nodes: Any, bindings: Bindings) -> Iterator[Bindings]:
        """Matches lists; `...` and `$$X` take as many elements as they must."""
        if not isinstance(nodes, list):
            return
        if not patterns:
            if not nodes:
                yield bindings
            return
        first, rest = patterns[0], patterns[1:]
        many = _many(first)
        if many is not None:
            for size in range(len(nodes) + 1):
                for found in self._bind_many(many, nodes[:size], bindings):
                    yield from self.sequence(rest, nodes[size:], found)
        elif nodes:
            for found in self.match(first, nodes[0], bindings):
                yield from self.sequence(rest, nodes[1:], found)

    def _node(self, pattern: ast.AST, node: ast.AST, bindings: Bindings) -> Iterator[Bindings]:
        if isinstance(pattern, ast.Call) and isinstance(node, ast.Call):
            yield from self._call(pattern, node, bindings)
            return
        if isinstance(pattern, ast.Name | ast.Attribute) and canonical(pattern, MODULES):
            yield from self._dotted(pattern, node, bindings)
            return
        if isinstance(pattern, ast.arguments) and isinstance(node, ast.arguments):
            yield from self.sequence(pattern.args, node.posonlyargs + node.args, bindings)
            return
        fields = [name for name in pattern._fields if name not in _IGNORED]
        yield from self._fields(pattern, node, fields, bindings)

    def _fields(
        self, pattern: ast.AST, node: ast.AST, fields: Sequence[str], bindings: Bindings
    ) -> Iterator[Bindings]:
        if not fields:
            yield bindings
            return
        name, *rest = fields
        for found in self.match(getattr(pattern, name), getattr(node, name), bindings):
            yield from self._fields(pattern, node, rest, found)

    def _dotted(self, pattern: ast.AST, node: ast.AST, bindings: Bindings) -> Iterator[Bindings]:
        wanted = canonical(pattern, MODULES)
        if wanted and wanted == canonical(node, self._source.modules):
            yield bindings

    def _call(self, pattern: ast.Call, node: ast.Call, bindings: Bindings) -> Iterator[Bindings]:
        for found in self.match(pattern.func, node.func, bindings):
            yield from self._arguments(pattern, node, found)

    def _arguments(self, pattern: ast.Call, node: ast.Call, bindings: Bindings) -> Iterator[Bindings]:
        """By position in order, by keyword in any; a trailing `$$X` takes what is left."""
        positional = list(pattern.args)
        many = _many(positional[-1]) if positional else None
        if many is not None:
            positional.pop()
        keywords = {k.arg: k for k in node.keywords}
        wanted = [k.arg for k in pattern.keywords]
        if any(name not in keywords for name in wanted) or len(positional) > len(node.args):
            return
        left: list[ast.AST] = [*node.args[len(positional) :]]
        left += [k for k in node.keywords if k.arg not in wanted]
        if left and many is None:
            return
        pairs = [*zip(positional, node.args, strict=False)]
        pairs += [(k.value, keywords[k.arg].value) for k in pattern.keywords]
        for found in self._pairs(pairs, bindings):
            yield from self._bind_many(many or "", left, found)

    def _pairs(self, pairs: Sequence[tuple[ast.AST, ast.AST]], bindings: Bindings) -> Iterator[Bindings]:
        if not pairs:
            yield bindings
            return
        for found in self.match(*pairs[0], bindings):
            yield from self._pairs(pairs[1:], found)

    def _name(self, pattern: str, node: Any, bindings: Bindings) -> Iterator[Bindings]:
        found = _PLACEHOLDER.fullmatch(pattern)
        if found and isinstance(node, str):
            yield from _agree(found[2], Bound(node, node), bindings)
        elif pattern == node:
            yield bindings

    def _bind(self, name: str, node: ast.expr, bindings: Bindings) -> Iterator[Bindings]:
        atom = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.Constant | ast.List)
        yield from _agree(name, Bound(self._source.code(node), ast.unparse(node), atom), bindings)

    def _bind_many(self, name: str, nodes: Sequence[ast.AST], bindings: Bindings) -> Iterator[Bindings]:
        if not name:
            yield bindings
            return
        text = ", ".join(map(self._source.code, nodes))
        yield from _agree(name, Bound(text, ", ".join(map(ast.unparse, nodes))), bindings)


def _agree(name: str, bound: Bound, bindings: Bindings) -> Iterator[Bindings]:
    if name not in bindings:
        yield {**bindings, name: bound}
    elif bindings[name].key == bound.key:
        yield bindings


def _metavariable(node: ast.AST) -> str | None:
    found = _PLACEHOLDER.fullmatch(node.id) if isinstance(node, ast.Name) else None
    return found[2] if found else None


def _many(node: Any) -> str | None:
    """The name of a `$$X`, an empty name for `...`, None for anything else."""
    node = node.value if isinstance(node, ast.Expr) else node
    if isinstance(node, ast.Constant) and node.value is ...:
        return ""
    text = node.id if isinstance(node, ast.Name) else node.arg if isinstance(node, ast.arg) else ""
    found = _PLACEHOLDER.fullmatch(text)
    return found[2] if found and found[1] == "many" else None


def canonical(node: ast.AST, modules: Mapping[str, str]) -> str | None:
    """The full name of what comes from a module; None for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in modules:
        return None
    if any(_PLACEHOLDER.fullmatch(part) for part in parts):
        return None
    return ".".join([modules[node.id], *reversed(parts)])
