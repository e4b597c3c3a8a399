"""Where the names, attributes and keys of a script get their values, as far as it shows.

Nothing is executed. A parameter has the values of the arguments it is called with, an attribute or a key
those it is given anywhere in the script.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from autoresearch_rl.target.literals.sites import Site
from autoresearch_rl.target.patterns import Place, Source

Scope = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """An expression, and the classes and functions around it."""

    node: ast.expr
    scope: Scope


class Definitions:
    """Where the names, attributes and keys of a script get their values."""

    def __init__(self, source: Source, sites: Mapping[str, Site]) -> None:
        self._source = source
        self._starts = {site.span[0]: name for name, site in sites.items() if site.kind in ("int", "float")}
        self._moving: set[tuple[Scope, str]] = set()  # worth something else each time
        self._names: defaultdict[tuple[Scope, str], list[Term]] = defaultdict(list)
        self._fields: defaultdict[str, list[Term]] = defaultdict(list)  # attributes and keys
        self._owned: defaultdict[tuple[str, str], list[Term]] = defaultdict(list)  # `self.x`, by class
        self._pieces: dict[tuple[Scope, str], Term] = {}  # widths of what was split
        self._functions: defaultdict[str, list[tuple[Scope, ast.arguments, bool]]] = defaultdict(list)
        self._classes: dict[Scope, ast.ClassDef] = {}
        self._collect()

    def width(self, term: Term) -> Term | None:
        """The size of the last dimension of a tensor; None when it cannot be told."""
        node = term.node
        if isinstance(node, ast.Name):
            if piece := self._pieces.get((term.scope, node.id)):
                return piece
            known = self._names.get((term.scope, node.id), [])
            return self.width(known[0]) if len(known) == 1 and known[0].node is not node else None
        if not isinstance(node, ast.Call):
            return None
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("contiguous", "to", "float", "clone"):
            return self.width(Term(node.func.value, term.scope))
        layer = self._layer(Term(node.func, term.scope))
        return layer[1] if layer else None

    def site(self, node: ast.expr) -> str | None:
        """The name of the site that a literal is."""
        return self._starts.get(self._source.span(node)[0])

    def of(self, term: Term) -> list[Term]:
        """Where a name, an attribute or a key gets its values."""
        node = term.node
        if isinstance(node, ast.Name):
            return self._lookup(node.id, term.scope)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return self._fields.get(str(node.slice.value), [])
        if not isinstance(node, ast.Attribute):
            return []
        if isinstance(node.value, ast.Name) and node.value.id == "self" and term.scope:
            return self._owned.get((term.scope[0], node.attr)) or self._fields.get(node.attr, [])
        if isinstance(node.value, ast.Name) and (node.value.id,) in self._classes:
            return self._names.get(((node.value.id,), node.attr), [])
        return self._fields.get(node.attr, [])

    def _lookup(self, name: str, scope: Scope) -> list[Term]:
        for depth in range(len(scope), -1, -1):
            key = scope[:depth], name
            if key in self._moving:
                return []
            if key in self._names:
                return self._names[key]
        return []

    def _layer(self, term: Term) -> tuple[Term, Term] | None:
        """The sizes of what goes into a layer and what comes out."""
        for found in self.of(term):
            call = found.node
            if isinstance(call, ast.Call) and last_name(call.func).endswith("Linear") and len(call.args) > 1:
                return Term(call.args[0], found.scope), Term(call.args[1], found.scope)
        return None

    def _collect(self) -> None:
        for place in self._source.places(ast.ClassDef):
            assert isinstance(place.node, ast.ClassDef)
            self._classes[(*place.scope, place.node.name)] = place.node
        for place in self._source.places(ast.FunctionDef):
            self._note_function(place)
        for kind in (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.For):
            for place in self._source.places(kind):
                self._note_assignment(place)
        for place in self._source.places(ast.Dict):
            self._note_dict(place)
        for place in self._source.places(ast.Call):
            self._note_call(place)
        self._note_defaults()

    def _note_function(self, place: Place) -> None:
        node = place.node
        assert isinstance(node, ast.FunctionDef)
        method = place.scope in self._classes
        scope = (*place.scope, node.name)
        name = place.scope[-1] if method and node.name == "__init__" else node.name
        self._functions[name].append((scope, node.args, method))
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                _ = self._names[scope, argument.arg]  # hides what has the same name outside

    def _note_assignment(self, place: Place) -> None:
        node = place.node
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, Term(node.value, place.scope))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._bind(node.target, Term(node.value, place.scope))
        elif isinstance(node, ast.AugAssign | ast.For):
            for name in ast.walk(node.target):
                if isinstance(name, ast.Name):
                    self._moving.add((place.scope, name.id))

    def _bind(self, target: ast.expr, term: Term) -> None:
        scope = term.scope
        if isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, term)
        elif isinstance(target, ast.Name):
            self._names[scope, target.id].append(term)
            if scope in self._classes:
                self._fields[target.id].append(term)
        elif isinstance(target, ast.Attribute):
            self._fields[target.attr].append(term)
            if scope and isinstance(target.value, ast.Name) and target.value.id == "self":
                self._owned[scope[0], target.attr].append(term)
        elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            self._fields[str(target.slice.value)].append(term)

    def _unpack(self, targets: list[ast.expr], term: Term) -> None:
        value, scope = term.node, term.scope
        parts = _parts(value, len(targets))
        if parts:
            for target, part in zip(targets, parts, strict=True):
                self._bind(target, Term(part, scope))
            return
        for target in targets:
            if isinstance(target, ast.Name):
                _ = self._names[scope, target.id]
        last = targets[-1]
        if isinstance(last, ast.Name) and (tensor := _shape_of(value)):
            self._names[scope, last.id] += self._entering(tensor, scope)
        elif isinstance(value, ast.Call) and last_name(value.func) == "split" and value.args:
            for target in targets:
                if isinstance(target, ast.Name):
                    self._pieces[scope, target.id] = Term(value.args[0], scope)

    def _entering(self, tensor: str, scope: Scope) -> list[Term]:
        """The width of a tensor, by the layers of the same function that take it."""
        calls = [place.node for place in self._source.places(ast.Call) if place.scope == scope]
        takers = [c for c in calls if isinstance(c, ast.Call) and c.args and _is_name(c.args[0], tensor)]
        layers = (self._layer(Term(call.func, scope)) for call in takers)
        return next(([layer[0]] for layer in layers if layer), [])

    def _note_dict(self, place: Place) -> None:
        assert isinstance(place.node, ast.Dict)
        for key, value in zip(place.node.keys, place.node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                self._fields[key.value].append(Term(value, place.scope))

    def _note_call(self, place: Place) -> None:
        call = place.node
        assert isinstance(call, ast.Call)
        name = last_name(call.func)
        keywords = {k.arg: Term(k.value, place.scope) for k in call.keywords if k.arg}
        if name == "add_argument" and "default" in keywords:
            if (option := option_name(call)) is not None:
                self._fields[option].append(keywords["default"])
        elif name in ("dict", "SimpleNamespace", "Namespace") or (
            (name,) in self._classes and name not in self._functions
        ):
            for key, term in keywords.items():
                self._fields[key].append(term)
        for scope, arguments, method in self._functions.get(name, ()):
            for parameter, node in _bound(call, arguments, method):
                self._names[scope, parameter].append(Term(node, place.scope))

    def _note_defaults(self) -> None:
        for functions in self._functions.values():
            for scope, arguments, _ in functions:
                for parameter, default in defaults(arguments):
                    given = self._names[scope, parameter]
                    if not given:
                        given.append(Term(default, scope[:-1]))


def last_name(node: ast.AST) -> str:
    """What is right of the last dot; empty for what has no name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def option_name(call: ast.Call) -> str | None:
    """The attribute that `add_argument("-x", "--long-name")` sets."""
    flags = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return flags[-1].lstrip("-").replace("-", "_") if flags else None


def defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    """The parameters that have one, and their defaults."""
    positional = arguments.posonlyargs + arguments.args
    given = len(arguments.defaults)
    yield from (
        (a.arg, d) for a, d in zip(positional[len(positional) - given :], arguments.defaults, strict=True)
    )
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    yield from ((a.arg, d) for a, d in pairs if d is not None)


def _bound(call: ast.Call, arguments: ast.arguments, method: bool) -> Iterator[tuple[str, ast.expr]]:
    """The parameters that a call gives values to, as far as it shows."""
    positional = [a.arg for a in arguments.posonlyargs + arguments.args][int(method) :]
    for name, node in zip(positional, call.args, strict=False):
        if isinstance(node, ast.Starred):
            break
        yield name, node
    yield from ((k.arg, k.value) for k in call.keywords if k.arg)


def _parts(value: ast.expr, count: int) -> list[ast.expr]:
    """The values that a tuple of targets gets, each; empty when it does not show."""
    if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == count:
        return value.elts
    if isinstance(value, ast.IfExp):
        pairs = zip(_parts(value.body, count), _parts(value.orelse, count), strict=False)
        return [ast.copy_location(ast.IfExp(value.test, a, b), value) for a, b in pairs]
    return []


def _shape_of(value: ast.expr) -> str | None:
    """The name of the tensor whose whole shape this is."""
    node = value.func if isinstance(value, ast.Call) and not value.args else value
    if (
        isinstance(node, ast.Attribute)
        and node.attr in ("shape", "size")
        and isinstance(node.value, ast.Name)
    ):
        return node.value.id
    return None


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
