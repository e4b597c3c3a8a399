"""Which numbers of a script must divide which others, so that an edit of one does not break the other.

Read off the script's own expressions: `WIDTH // HEADS`, `assert WIDTH % HEADS == 0`,
`x.view(b, t, HEADS, WIDTH // HEADS)`, `nn.MultiheadAttention(WIDTH, HEADS)`, `x.chunk(3)`. What held before
an edit has to hold after it; what cannot be told is no reason to forbid anything.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

from autoresearch_rl.target.literals.definitions import Definitions, Scope, Term, last_name
from autoresearch_rl.target.literals.sites import Site
from autoresearch_rl.target.literals.values import WORLDS, Number, Values
from autoresearch_rl.target.patterns import Place, Source

LEAST_HEAD = 4  # channels of an attention head; fewer can hardly tell positions apart
_HEADS = re.compile(r"(n|num|q)?_?(q|query|attn|attention)?_?heads?|nh|nhead", re.IGNORECASE)
_KEY_HEADS = re.compile(r"\w*(kv|groups?)_?heads?\w*|\w*query_groups?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Relation:
    """The whole is a multiple of the part, or the same."""

    whole: Term
    part: Term
    equal: bool = False
    of_heads: bool = False  # the part counts heads, so that the quotient is the width of one

    def holds(self, values: Values, world: int, changed: Mapping[str, Number]) -> bool | None:
        """Whether it does; None when a side is unknown."""
        whole, part = values.of(self.whole, world, changed), values.of(self.part, world, changed)
        if not isinstance(whole, int) or not isinstance(part, int):
            return None
        if self.equal:
            return whole == part
        return part > 0 and whole > 0 and whole % part == 0

    def is_roomy(self, values: Values, world: int, changed: Mapping[str, Number]) -> bool:
        """Whether heads are wide enough, and evenly so for rotary positions; True where there are none."""
        whole, part = values.of(self.whole, world, changed), values.of(self.part, world, changed)
        if not self.of_heads or whole is None or not part:
            return True
        return whole / part >= LEAST_HEAD and whole / part % 2 == 0


class Divisors:
    """The relations between the integers of a script."""

    def __init__(self, source: Source, sites: Mapping[str, Site]) -> None:
        self.definitions = Definitions(source, sites)
        self.values = Values(self.definitions)
        self._sites = sites
        self._by_site: dict[str, list[tuple[Relation, int]]] = {}
        self._loose: set[str] = set()
        self._proposals: dict[str, set[int]] = {}
        self._multiples: dict[str, int] = {}
        for relation in _relations(source, self.definitions):
            self._note(relation)

    def keep(self, changed: Mapping[str, Number]) -> bool:
        """Whether every relation that holds now still holds with these new values of sites."""
        pairs = dict.fromkeys(pair for site in changed for pair in self._by_site.get(site, ()))
        return all(
            relation.holds(self.values, world, changed) is not False
            and (
                relation.is_roomy(self.values, world, changed)
                or not relation.is_roomy(self.values, world, {})
            )
            for relation, world in pairs
        )

    def of(self, site: str) -> list[int]:
        """All divisors of what the site must divide, ascending; empty when it is no divisor."""
        return sorted(self._proposals.get(site, ()))

    def multiple(self, site: str) -> int:
        """What the site must be a multiple of: 1 when nothing."""
        return self._multiples.get(site, 1)

    def is_loose(self, site: str) -> bool:
        """Whether it divides something unknown, so that only powers of two are safe."""
        return site in self._loose

    def _note(self, relation: Relation) -> None:
        wholes, parts = self.values.reads(relation.whole), self.values.reads(relation.part)
        for world in range(WORLDS):
            held = relation.holds(self.values, world, {})
            if held is None and not relation.equal and self.values.of(relation.part, world) is not None:
                self._loose |= parts - wholes
            if not held:
                continue
            for site in wholes | parts:
                self._by_site.setdefault(site, []).append((relation, world))
            if not relation.equal:
                self._propose(relation, world, wholes, parts)

    def _propose(self, relation: Relation, world: int, wholes: set[str], parts: set[str]) -> None:
        whole, part = self.values.of(relation.whole, world), self.values.of(relation.part, world)
        assert isinstance(whole, int)
        assert isinstance(part, int)
        for site in parts - wholes:
            self._proposals.setdefault(site, set()).update(_divisors(whole))
        for site in wholes - parts:
            unit = self._unit(relation, world, site, part)
            self._multiples[site] = math.lcm(self._multiples.get(site, 1), unit)

    def _unit(self, relation: Relation, world: int, site: str, part: int) -> int:
        """The least step of a site that keeps the whole a multiple; below `part` where it is multiplied."""
        old = int(self._sites[site].code) if self._sites[site].kind == "int" else part
        steps = (n for n in sorted(_divisors(part)) if old % n == 0)
        return next((n for n in steps if relation.holds(self.values, world, {site: old + n})), 1)


def _divisors(number: int) -> Iterator[int]:
    for small in range(1, math.isqrt(min(number, 1 << 24)) + 1):
        if number % small == 0:
            yield from (small, number // small)


def _relations(source: Source, definitions: Definitions) -> Iterator[Relation]:
    for place in source.places(ast.BinOp):
        yield from _of_operation(place)
    for place in source.places(ast.Call):
        yield from _of_call(place, definitions)
    for place in source.places(ast.Assert):
        yield from _of_equation(place)
    yield from _of_names(source)


def _of_operation(place: Place) -> Iterator[Relation]:
    node = place.node
    assert isinstance(node, ast.BinOp)
    remainder = isinstance(node.op, ast.Mod) and _is_checked(place)
    quotient = isinstance(node.op, ast.Div) and _is_call_of("int", place.parent)
    if isinstance(node.op, ast.FloorDiv) or remainder or quotient:
        yield _divides(node.left, node.right, place.scope)


def _is_call_of(name: str, node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) == name


def _is_checked(place: Place) -> bool:
    """Whether a remainder decides what is right, not where a loop stands."""
    statement = place.statement
    if isinstance(statement, ast.If):
        return isinstance(statement.body[0], ast.Raise)
    return isinstance(statement, ast.Assert)


def _of_equation(place: Place) -> Iterator[Relation]:
    node = place.node
    assert isinstance(node, ast.Assert)
    if isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.Eq):
        yield Relation(
            Term(node.test.left, place.scope), Term(node.test.comparators[0], place.scope), equal=True
        )


def _of_call(place: Place, definitions: Definitions) -> Iterator[Relation]:
    call, scope = place.node, place.scope
    assert isinstance(call, ast.Call)
    name, arguments = last_name(call.func), list(call.args)
    keywords = {k.arg: k.value for k in call.keywords if k.arg}
    sides = _SIDES.get(name)
    if sides is not None:
        for (whole_at, whole_key), (part_at, part_key) in sides:
            whole = arguments[whole_at] if whole_at < len(arguments) else keywords.get(whole_key)
            part = arguments[part_at] if part_at < len(arguments) else keywords.get(part_key)
            if whole is not None and part is not None:
                yield _divides(whole, part, scope)
    elif name == "scaled_dot_product_attention" and "enable_gqa" in keywords and len(arguments) > 1:
        queries, keys = (_heads_of(Term(side, scope), definitions) for side in arguments[:2])
        if queries is not None and keys is not None:
            yield Relation(queries, keys)
    elif name == "arange" and len(arguments) == 3:
        yield _divides(arguments[1], arguments[2], scope)
    elif isinstance(call.func, ast.Attribute) and name in ("view", "reshape", "unflatten", "chunk", "split"):
        width = definitions.width(Term(call.func.value, scope))
        yield from _of_shape(place, name, width)


def _heads_of(term: Term, definitions: Definitions) -> Term | None:
    """How many heads a tensor has, by the view [B, T, H, D] that it was made with."""
    for found in [term, *definitions.of(term)]:
        for node in ast.walk(found.node):
            if isinstance(node, ast.Call) and last_name(node.func) in ("view", "reshape"):
                sizes = _sizes(node)
                if len(sizes) == 4:
                    return Term(sizes[2], found.scope)
    return None


def _sizes(call: ast.Call) -> list[ast.expr]:
    """The sizes that a view is given, one by one or as a tuple."""
    first = call.args[0] if len(call.args) == 1 else None
    return first.elts if isinstance(first, ast.Tuple) else call.args


def _of_shape(place: Place, name: str, width: Term | None) -> Iterator[Relation]:
    """`width` is that of the tensor whose shape changes; None when unknown."""
    call, scope = place.node, place.scope
    assert isinstance(call, ast.Call)
    if name in ("view", "reshape", "unflatten"):
        sizes = _sizes(ast.Call(call.func, call.args[1:], []) if name == "unflatten" else call)
        trailing = sizes if name == "unflatten" else sizes[2:]  # behind rows and positions
        free = [size for size in trailing if _is_minus_one(size)]
        fixed = [size for size in trailing if not _is_minus_one(size)]
        if fixed and (name != "unflatten" or len(sizes) > 1):
            part = Term(reduce(_product, fixed), scope)
            unknown = Term(ast.copy_location(ast.Constant(None), call), scope)
            yield Relation(
                width or unknown,
                part,
                equal=not free,
                of_heads=bool(free) and len(fixed) == 1 and _counts_heads(fixed[0]),
            )
        return
    if call.args and width is not None:
        parent = place.parent
        pieces = parent.targets[0] if isinstance(parent, ast.Assign) else None
        count = len(pieces.elts) if isinstance(pieces, ast.Tuple) else None
        if name == "split" and count:
            whole = _product(ast.copy_location(ast.Constant(count), call), call.args[0])
            yield Relation(width, Term(whole, scope), equal=True)
        else:
            yield Relation(width, Term(call.args[0], scope))


def _of_names(source: Source) -> Iterator[Relation]:
    """Heads of keys and values divide those of queries; attention checks it itself, unseen."""
    queries: dict[str, Term] = {}
    keys: dict[str, Term] = {}
    for kind in (ast.Name, ast.Attribute):
        for place in source.places(kind):
            assert isinstance(place.node, ast.expr)
            name = last_name(place.node)
            found = keys if _KEY_HEADS.fullmatch(name) else queries if _HEADS.fullmatch(name) else None
            if found is not None and isinstance(getattr(place.node, "ctx", None), ast.Load):
                found.setdefault(name, Term(place.node, place.scope))
    if len(queries) == len(keys) == 1:
        (whole,), (part,) = queries.values(), keys.values()
        yield Relation(whole, part)


def _divides(whole: ast.expr, part: ast.expr, scope: Scope) -> Relation:
    return Relation(
        Term(whole, scope), Term(part, scope), of_heads=_counts_heads(part) and not _counts_heads(whole)
    )


def _counts_heads(node: ast.expr) -> bool:
    name = str(node.slice.value) if _is_key(node) else last_name(node)  # type: ignore[attr-defined]
    return bool(_HEADS.fullmatch(name))


def _is_key(node: ast.expr) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)


def _is_minus_one(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and ast.unparse(node) == "-1"


def _product(left: ast.expr, right: ast.expr) -> ast.expr:
    return ast.copy_location(ast.BinOp(left, ast.Mult(), right), left)


_Side = tuple[int, str]  # the position and the keyword of an argument
_SIDES: dict[str, tuple[tuple[_Side, _Side], ...]] = {
    "MultiheadAttention": (((0, "embed_dim"), (1, "num_heads")),),
    "TransformerEncoderLayer": (((0, "d_model"), (1, "nhead")),),
    "TransformerDecoderLayer": (((0, "d_model"), (1, "nhead")),),
    "GroupNorm": (((1, "num_channels"), (0, "num_groups")),),
    "Conv1d": (((0, "in_channels"), (6, "groups")), ((1, "out_channels"), (6, "groups"))),
}
