"""The sites of a script: the places where one literal can be exchanged for another.

Precision comes before recall. Whether a literal is a site depends on where it stands, never on its
value, and a name holds no value either: so after an edit the same site is found under the same name,
and the edit can be undone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, CodeSpan, MetadataWrapper

Kind = Literal["int", "float", "bool", "choice"]


@dataclass(frozen=True, slots=True)
class Family:
    """Attributes that can stand in for each other: `nn.GELU`, `nn.ReLU`, ..."""

    name: str
    modules: tuple[str, ...]  # the name left of the dot
    members: tuple[str, ...]


FAMILIES = (
    Family("activation", ("F", "functional"), ("gelu", "relu", "silu", "mish", "elu", "leaky_relu")),
    Family("activation", ("nn",), ("GELU", "ReLU", "SiLU", "Mish", "ELU", "LeakyReLU")),
    Family("norm", ("nn",), ("LayerNorm", "RMSNorm")),
)

WORDS = (
    ("gelu", "relu", "silu"),
    ("cosine", "linear", "constant"),
)

# Literals in these calls say where or what, not how much.
SILENT_CALLS = re.compile(
    r"""view | reshape | expand | repeat | permute | transpose | movedim | flatten | unflatten | squeeze
    | unsqueeze | size | stride | chunk | split | unbind | cat | stack | roll | flip | gather | scatter
    | index_select | narrow | unfold | zeros | ones | empty | full | rand | randn | randint | arange
    | linspace | range | enumerate | zip | slice | sum | mean | var | std | norm | amax | amin | max | min
    | argmax | argmin | sort | topk | cumsum | cumprod | any | all | prod | softmax | log_softmax | Softmax
    | LogSoftmax | normalize | pad | tril | triu | pow | sqrt | rsqrt | log | exp | sin | cos
    | int | float | bool | str | len | round | abs | divmod | print | format | report | open | exit | super
    | next | iter | isinstance | issubclass | getattr | setattr | hasattr | to | item | tensor | device
    | manual_seed | seed | zero_grad | register_buffer""",
    re.VERBOSE,
)

# Seeds come from the harness: a lucky one is noise, not a finding.
SILENT_NAMES = re.compile(
    r"""__\w+__ | \w*seed\w* | axis | keepdim | is_causal | inplace | set_to_none | batch_first | device
    | strict | non_blocking | pin_memory | weights_only | persistent | ignore_index | padding_idx""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Site:
    """One literal of a script that can be exchanged."""

    name: str  # `WIDTH`, `BETAS[1]`, `Block.__init__.dropout`, `train.AdamW(betas)[0]`, `train.activation#2`
    kind: Kind
    code: str  # exact source text
    span: tuple[int, int]  # start and end in the source, in characters
    choices: tuple[str, ...]  # for "choice": source text of every alternative, the current one included
    line: int  # from 1


def find_sites(source: str, tree: cst.Module) -> Mapping[str, Site]:
    """All sites of a script by name, in the order of the source."""
    finder = _Finder()
    MetadataWrapper(tree, unsafe_skip_copy=True).visit(finder)
    raw = source.encode("utf-8")
    seen: Counter[str] = Counter()
    sites: dict[str, Site] = {}
    for found in sorted(finder.found, key=lambda f: f.span.start):
        seen[found.name] += 1
        site = _site(found, seen[found.name], raw)
        sites[site.name] = site
    return MappingProxyType(sites)


def line_at(source: str, offset: int) -> int:
    """The line, from 1, of a character offset; lines end as Python ends them."""
    return 1 + len(re.findall(r"\r\n|\r|\n", source[:offset]))


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    kind: Kind
    span: CodeSpan  # in UTF-8 bytes
    node: cst.BaseExpression


def _site(found: _Found, ordinal: int, raw: bytes) -> Site:
    before = raw[: found.span.start].decode("utf-8")
    code = raw[found.span.start : found.span.start + found.span.length].decode("utf-8")
    name = found.name if ordinal == 1 else f"{found.name}#{ordinal}"
    span = len(before), len(before) + len(code)
    line = line_at(before, len(before))
    return Site(name, found.kind, code, span, _choices(found.node, code), line)


class _Finder(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (ByteSpanPositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Found] = []
        self._scopes: list[str] = []
        self._constants = [True]  # whether assignments of the innermost scope are constants

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._enter(node.name.value, constants=False)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._leave()

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._enter(node.name.value, constants=True)

    def leave_ClassDef(self, original_node: cst.ClassDef) -> None:
        self._leave()

    def visit_Decorator(self, node: cst.Decorator) -> bool:
        return False

    def visit_FormattedString(self, node: cst.FormattedString) -> bool:
        return False

    def visit_Assign(self, node: cst.Assign) -> None:
        self._assignment(node.targets[0].target, node.value)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._assignment(node.target, node.value)

    def visit_Param(self, node: cst.Param) -> None:
        if node.default is not None and not SILENT_NAMES.fullmatch(node.name.value):
            self._value(node.default, self._path(node.name.value))

    def visit_Call(self, node: cst.Call) -> None:
        callee = _last_name(node.func)
        if callee is None or SILENT_CALLS.fullmatch(callee):
            return
        family = _family(node.func)
        if family is not None:
            # Named by the family: the name must not change when the choice does.
            callee = family.name
            self._add(node.func, "choice", self._path(callee))
        for position, argument in enumerate(node.args):
            key = argument.keyword.value if argument.keyword else str(position)
            if not argument.star and not SILENT_NAMES.fullmatch(key):
                self._value(argument.value, self._path(f"{callee}({key})"))

    def _enter(self, name: str, *, constants: bool) -> None:
        self._scopes.append(name)
        self._constants.append(constants)

    def _leave(self) -> None:
        self._scopes.pop()
        self._constants.pop()

    def _path(self, leaf: str) -> str:
        return ".".join([*self._scopes, leaf])

    def _assignment(self, target: cst.BaseExpression, value: cst.BaseExpression) -> None:
        name = _dotted(target)
        if name is None or SILENT_NAMES.fullmatch(name):
            return
        if not self._constants[-1]:
            self._choice(value, self._path(name))
        elif isinstance(target, cst.Name):
            self._value(value, self._path(name))
            self._arithmetic(value, self._path(name))

    def _value(self, node: cst.BaseExpression, name: str) -> None:
        if isinstance(node, cst.Tuple | cst.List):
            for index, element in enumerate(node.elements):
                if isinstance(element, cst.Element):
                    self._value(element.value, f"{name}[{index}]")
            return
        kind = _literal_kind(node)
        if kind is not None:
            self._add(node, kind, name)
        else:
            self._choice(node, name)

    def _choice(self, node: cst.BaseExpression, name: str) -> None:
        if _family(node) is not None or _words(node):
            self._add(node, "choice", name)

    def _arithmetic(self, node: cst.BaseExpression, name: str) -> None:
        if isinstance(node, cst.BinaryOperation):
            for side in (node.left, node.right):
                kind = _literal_kind(side)
                if kind in ("int", "float"):
                    self._add(side, kind, name)
                self._arithmetic(side, name)

    def _add(self, node: cst.BaseExpression, kind: Kind, name: str) -> None:
        span = self.get_metadata(ByteSpanPositionProvider, node)
        self.found.append(_Found(name, kind, span, node))


def _literal_kind(node: cst.BaseExpression) -> Kind | None:
    """The kind of a plain number or truth value; None for hexadecimal, imaginary and everything else."""
    if isinstance(node, cst.Name) and node.value in ("True", "False"):
        return "bool"
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Minus):
        plain = not node.expression.lpar and node.operator.whitespace_after.empty
        node = node.expression if plain else node
    if isinstance(node, cst.Float):
        return "float"
    decimal = isinstance(node, cst.Integer) and node.value.replace("_", "").isdecimal()
    return "int" if decimal else None


def _dotted(node: cst.BaseExpression) -> str | None:
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        base = _dotted(node.value)
        return None if base is None else f"{base}.{node.attr.value}"
    return None


def _last_name(node: cst.BaseExpression) -> str | None:
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else None


def _family(node: cst.BaseExpression) -> Family | None:
    if not isinstance(node, cst.Attribute):
        return None
    module, member = _last_name(node.value), node.attr.value
    return next((f for f in FAMILIES if module in f.modules and member in f.members), None)


def _words(node: cst.BaseExpression) -> tuple[str, ...]:
    if not isinstance(node, cst.SimpleString) or node.prefix or len(node.quote) != 1:
        return ()
    return next((words for words in WORDS if node.raw_value in words), ())


def _choices(node: cst.BaseExpression, code: str) -> tuple[str, ...]:
    family = _family(node)
    if family is not None and isinstance(node, cst.Attribute):
        return tuple(code.removesuffix(node.attr.value) + member for member in family.members)
    return tuple(f"{code[0]}{word}{code[0]}" for word in _words(node))
