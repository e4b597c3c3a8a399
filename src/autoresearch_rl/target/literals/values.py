"""What the expressions of a script are worth: names and attributes traced to the literals they come from.

Where a name has several values, they are taken one after the other, in `WORLDS`, so that what belongs
together stays together.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

from autoresearch_rl.target.literals.definitions import Definitions, Scope, Term, last_name

WORLDS = 2
LARGEST = 2**63

Number = int | float


class Values:
    """What expressions are worth, now or after an edit of literals."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions

    def of(self, term: Term, world: int = 0, changed: Mapping[str, Number] | None = None) -> Number | None:
        """The value of an expression; None when it cannot be told.

        Args:
            term: the expression.
            world: which of several values a name has, and which side of a condition counts.
            changed: new values of sites, by name.
        """
        return _Evaluation(self.definitions, world, changed or {}).of(term)

    def reads(self, term: Term) -> set[str]:
        """The sites whose literals the value of an expression rests on."""
        found: set[str] = set()
        for world in range(WORLDS):
            evaluation = _Evaluation(self.definitions, world, {})
            evaluation.of(term)
            found |= evaluation.reads
        return found


class _Evaluation:
    """One evaluation: in one world, with some literals changed."""

    def __init__(self, definitions: Definitions, world: int, changed: Mapping[str, Number]) -> None:
        self._definitions, self._world, self._changed = definitions, world, changed
        self._open: set[tuple[int, Scope]] = set()
        self.reads: set[str] = set()

    def of(self, term: Term) -> Number | None:
        key = id(term.node), term.scope
        if key in self._open:
            return None
        self._open.add(key)
        try:
            return self._value(term)
        finally:
            self._open.discard(key)

    def _value(self, term: Term) -> Number | None:
        node, scope = term.node, term.scope
        if isinstance(node, ast.Constant):
            return self._literal(node, node.value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            value = self.of(Term(node.operand, scope))
            return self._literal(node, None if value is None else -value)
        if isinstance(node, ast.BinOp):
            return self._operation(node, scope)
        if isinstance(node, ast.IfExp):
            return self.of(Term(node.orelse if self._world % 2 else node.body, scope))
        if isinstance(node, ast.Call):
            return self._call(node, scope)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return self._element(node, scope)
        return self._pick(self._definitions.of(term))

    def _literal(self, node: ast.expr, value: object) -> Number | None:
        name = self._definitions.site(node)
        if name is not None:
            self.reads.add(name)
            value = self._changed.get(name, value)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def _pick(self, terms: list[Term]) -> Number | None:
        found = [value for term in terms if (value := self.of(term)) is not None]
        return found[self._world % len(found)] if found else None

    def _element(self, node: ast.Subscript, scope: Scope) -> Number | None:
        assert isinstance(node.slice, ast.Constant)
        if not isinstance(node.slice.value, int):
            return self._pick(self._definitions.of(Term(node, scope)))
        for term in self._definitions.of(Term(node.value, scope)):
            parts = term.node.elts if isinstance(term.node, ast.Tuple | ast.List) else []
            if -len(parts) <= node.slice.value < len(parts):
                return self.of(Term(parts[node.slice.value], term.scope))
        return None

    def _operation(self, node: ast.BinOp, scope: Scope) -> Number | None:
        left, right = self.of(Term(node.left, scope)), self.of(Term(node.right, scope))
        operation = _OPERATIONS.get(type(node.op))
        if left is None or right is None or operation is None or max(abs(left), abs(right)) > LARGEST:
            return None
        try:
            value = operation(left, right)
        except (ArithmeticError, ValueError):
            return None
        return value if isinstance(value, int | float) else None

    def _call(self, node: ast.Call, scope: Scope) -> Number | None:
        function = _FUNCTIONS.get(last_name(node.func))
        if function is None:
            return None
        arguments = [self.of(Term(argument, scope)) for argument in node.args]
        known = [value for value in arguments if value is not None]
        if not known or (len(known) < len(arguments) and function not in (max, min)):
            return None
        try:
            return function(*known) if len(known) > 1 or function not in (max, min) else known[0]
        except (ArithmeticError, ValueError, TypeError):
            return None


def _power(base: Number, exponent: Number) -> Number:
    result: Number = float(base) ** exponent  # floats overflow where integers would fill the memory
    return int(result) if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0 else result


_OPERATIONS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "int": int,
    "round": round,
    "max": max,
    "min": min,
    "abs": abs,
}
