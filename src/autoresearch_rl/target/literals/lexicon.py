"""What a script says of its names: how often each is bound, with what it is compared and called."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

_LOOPS = (ast.For, ast.AsyncFor, ast.While)


class Lexicon:
    """One pass over a script's syntax tree. Names are the last ones of dotted ones, in lower case."""

    def __init__(self, tree: ast.AST) -> None:
        self.keywords: defaultdict[str, set[str]] = defaultdict(set)  # of all calls, by the callee's name
        self._words: defaultdict[str, list[str]] = defaultdict(list)
        self._bindings: Counter[str] = Counter()
        self._keys: dict[str, list[str]] = {}
        self._lookups: list[tuple[str, str]] = []
        self._visit(tree, (), in_loop=False)
        for table, name in self._lookups:
            self._words[name] += self._keys.get(table, [])

    def words(self, name: str) -> tuple[str, ...] | None:
        """The words that a name is compared with, or can look up; None when there is neither."""
        found = self._words.get(name.lower())
        return None if found is None else tuple(dict.fromkeys(found))

    def is_fixed(self, path: str) -> bool:
        """Whether a local variable, such as `train.lr` or `Block.__init__.self.scale`, is bound just once."""
        scope, _, attribute = path.rpartition(".self.")
        # What one method sets another may count up.
        return self._bindings[f"{scope.partition('.')[0]}.self.{attribute}" if scope else path] == 1

    def _visit(self, node: ast.AST, scope: tuple[str, ...], *, in_loop: bool) -> None:
        for target, counts in _targets(node):
            self._bind(target, scope, 2 if in_loop else counts)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            self._note_table(node)
        elif isinstance(node, ast.Compare):
            self._note_comparison(node)
        elif isinstance(node, ast.Subscript):
            self._note_lookup(node)
        elif isinstance(node, ast.Match):
            self._words[_last(node.subject)] += [c for case in node.cases for c in _constants(case.pattern)]
        elif isinstance(node, ast.Call):
            self.keywords[_last(node.func)] |= {k.arg for k in node.keywords if k.arg}
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope, in_loop = (*scope, node.name), False
        in_loop = in_loop or isinstance(node, _LOOPS)
        for child in ast.iter_child_nodes(node):
            self._visit(child, scope, in_loop=in_loop)

    def _bind(self, target: ast.expr, scope: tuple[str, ...], counts: int) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                self._bindings[".".join([*scope, node.id])] += counts
            elif isinstance(node, ast.Attribute) and scope:
                self._bindings[f"{scope[0]}.self.{node.attr}"] += counts

    def _note_table(self, node: ast.Assign | ast.AnnAssign) -> None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(node.value, ast.Dict):
            self._keys[_last(target)] = _texts(node.value.keys)

    def _note_comparison(self, node: ast.Compare) -> None:
        sides = [node.left, *node.comparators]
        names = [name for side in sides if (name := _last(side))]
        known = [text for side in sides for text in _constants(side)]
        for name in names if known else ():
            self._words[name] += known

    def _note_lookup(self, node: ast.Subscript) -> None:
        name = _last(node.slice)
        if name and isinstance(node.value, ast.Dict):
            self._words[name] += _texts(node.value.keys)
        elif name and (table := _last(node.value)):
            self._lookups.append((table, name))


def _targets(node: ast.AST) -> Iterator[tuple[ast.expr, int]]:
    """What a node binds; what is counted up is bound twice."""
    if isinstance(node, ast.Assign):
        yield from ((target, 1) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
        yield node.target, 1
    elif isinstance(node, ast.AugAssign | ast.For | ast.AsyncFor):
        yield node.target, 2


def _constants(node: ast.AST) -> list[str]:
    """The texts that a side of a comparison or a case is made of."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return _texts(node.elts)
    if isinstance(node, ast.MatchValue):
        return _texts([node.value])
    if isinstance(node, ast.MatchOr):
        return [text for pattern in node.patterns for text in _constants(pattern)]
    return _texts([node]) if isinstance(node, ast.expr) else []


def _texts(nodes: Sequence[ast.expr | None]) -> list[str]:
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def _last(node: ast.AST) -> str:
    """The last name of an expression, in lower case: `cfg.norm`, `cfg["norm"]` and `NORM` are one."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value).lower()
    if isinstance(node, ast.Attribute):
        return node.attr.lower()
    return node.id.lower() if isinstance(node, ast.Name) else ""
