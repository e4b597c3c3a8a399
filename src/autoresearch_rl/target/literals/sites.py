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

from autoresearch_rl.target.literals.choices import alternatives, family_of, last_name, text_of
from autoresearch_rl.target.literals.lexicon import Lexicon

Kind = Literal["int", "float", "bool", "choice"]

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
    | manual_seed | seed | zero_grad | register_buffer | __init__ | masked_fill | einsum | clamp | outer
    | repeat_interleave | where | get | setdefault | pop
    | glu | argsort | logsumexp | diff | select | index_add | scatter_add | one_hot | multinomial | diagonal
    | tensor_split | vector_norm | cosine_similarity | bincount | cross""",
    re.VERBOSE,
)

# Seeds come from the harness: a lucky one is noise, not a finding. The vocabulary is the data's, a mask is
# what makes a language model one, and what only measures or reports changes nothing.
SILENT_NAMES = re.compile(
    r"""__\w+__ | \w*seed\w* | axis | keepdim | inplace | set_to_none | batch_first | device
    | strict | non_blocking | pin_memory | weights_only | persistent | ignore_index | padding_idx
    | \w*vocab\w* | (num|n)_(classes|tokens|embeddings) | \w*causal\w* | dropout_p | mean | training
    | kernel_size | stride | dilation | padding | groups | bidirectional | dynamic | fullgraph
    | requires_grad | retain_graph | create_graph | need_weights | enable_gqa | return_\w+ | drop_last
    | shuffle | num_workers | prefetch\w* | verbose | debug | version | (global_)?step | epoch
    | iteration | count
    | (eval|val|log|print|save|checkpoint|ckpt)_(every|interval|iters?|steps|batches|tokens|freq\w*|size)
    | cpu_\w+  # stands in where there is no GPU""",
    re.VERBOSE | re.IGNORECASE,
)

# The sizes of layers: what they multiply is worth a move, see `uses`.
LAYER = re.compile(r"\w*Linear|Embedding|LayerNorm|RMSNorm|Conv1d|MultiheadAttention|GRU|LSTM")


@dataclass(frozen=True, slots=True)
class Site:
    """One literal of a script that can be exchanged."""

    # `WIDTH`, `BETAS[1]`, `HPARAMS[lr]`, `Block.__init__.dropout`, `train.optimizer(lr)`, `f.activation#2`
    name: str
    kind: Kind
    code: str  # exact source text
    span: tuple[int, int]  # start and end in the source, in characters
    choices: tuple[str, ...]  # for "choice": source text of every alternative, the current one included
    line: int  # from 1


def find_sites(source: str, tree: cst.Module, lexicon: Lexicon) -> Mapping[str, Site]:
    """All sites of a script by name, in the order of the source."""
    finder = _Finder(lexicon)
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
    members: tuple[str, ...]  # of its family, or words


def _site(found: _Found, ordinal: int, raw: bytes) -> Site:
    before = raw[: found.span.start].decode("utf-8")
    code = raw[found.span.start : found.span.start + found.span.length].decode("utf-8")
    name = found.name if ordinal == 1 else f"{found.name}#{ordinal}"
    span = len(before), len(before) + len(code)
    return Site(name, found.kind, code, span, _choices(found, code), line_at(before, len(before)))


def _choices(found: _Found, code: str) -> tuple[str, ...]:
    if isinstance(found.node, cst.Attribute):
        return tuple(code.removesuffix(found.node.attr.value) + member for member in found.members)
    return tuple(f"{code[0]}{word}{code[0]}" for word in found.members)


class _Finder(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (ByteSpanPositionProvider,)

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__()
        self.found: list[_Found] = []
        self._lexicon = lexicon
        self._scopes: list[str] = []
        self._constants = [True]  # whether assignments of the innermost scope are constants
        self._branches = 0  # that a word decides about: what they hold is chosen elsewhere

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

    def visit_If(self, node: cst.If) -> None:
        self._branches += _asks_for_word(node.test)

    def leave_If(self, original_node: cst.If) -> None:
        self._branches -= _asks_for_word(original_node.test)

    def visit_IfExp(self, node: cst.IfExp) -> None:
        self._branches += _asks_for_word(node.test)

    def leave_IfExp(self, original_node: cst.IfExp) -> None:
        self._branches -= _asks_for_word(original_node.test)

    def visit_Assign(self, node: cst.Assign) -> None:
        if len(node.targets) == 1:
            self._assignment(node.targets[0].target, node.value)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._assignment(node.target, node.value)

    def visit_Param(self, node: cst.Param) -> None:
        if node.default is not None and not SILENT_NAMES.fullmatch(node.name.value):
            self._value(node.default, self._path(node.name.value))

    def visit_Call(self, node: cst.Call) -> None:
        callee = last_name(node.func)
        if callee is None or SILENT_CALLS.fullmatch(callee):
            return
        family = family_of(node.func, node)
        if family is not None:
            # Named by the family: the name must not change when the choice does.
            callee = family[0].name
            if not self._branches:
                self._add(node.func, "choice", self._path(callee), family[1])
        if callee == "add_argument":
            self._option(node)
            return
        for position, argument in enumerate(node.args):
            key = argument.keyword.value if argument.keyword else str(position)
            if not argument.star and not SILENT_NAMES.fullmatch(key):
                self._value(argument.value, self._path(f"{callee}({key})"))
                self._factors(argument.value, self._path(f"{callee}({key})"), bool(LAYER.fullmatch(callee)))

    def _enter(self, name: str, *, constants: bool) -> None:
        self._scopes.append(name)
        self._constants.append(constants)

    def _leave(self) -> None:
        self._scopes.pop()
        self._constants.pop()

    def _path(self, leaf: str) -> str:
        return ".".join([*self._scopes, leaf])

    def _option(self, node: cst.Call) -> None:
        """An option of a command line, named by itself: `add_argument("--n-head", default=4)`."""
        flags = [text for a in node.args if not a.keyword and (text := text_of(a.value))]
        name = flags[-1].lstrip("-").replace("-", "_") if flags else ""
        for argument in node.args:
            if argument.keyword and argument.keyword.value == "default" and not SILENT_NAMES.fullmatch(name):
                self._value(argument.value, self._path(f"add_argument({name})"))

    def _assignment(self, target: cst.BaseExpression, value: cst.BaseExpression) -> None:
        name = _dotted(target)
        if name is None or SILENT_NAMES.fullmatch(name.rpartition(".")[2]):
            return
        if not self._constants[-1]:
            self._local(name, value)
        elif isinstance(target, cst.Name):
            self._value(value, self._path(name))
            self._arithmetic(value, self._path(name))

    def _local(self, name: str, value: cst.BaseExpression) -> None:
        """In a function, what is bound once where a constant could stand: no counters, nothing of a loop."""
        path = self._path(name)
        if _has_settings(value):
            self._value(value, path)
            return
        settles = len(self._scopes) == 1 or self._scopes[-1] == "__init__"
        if settles and self._lexicon.is_fixed(path):
            self._value(value, path)
            if self._scopes[-1] == "__init__":
                self._factors(value, path, integers=True)
        else:
            self._choice(value, path)

    def _value(self, node: cst.BaseExpression, name: str) -> None:
        if isinstance(node, cst.Tuple | cst.List):
            for index, element in enumerate(node.elements):
                if isinstance(element, cst.Element):
                    self._value(element.value, f"{name}[{index}]")
        elif isinstance(node, cst.Dict):
            for entry in node.elements:
                key = text_of(entry.key) if isinstance(entry, cst.DictElement) else None
                # A table of functions is no choice of one.
                if key and not SILENT_NAMES.fullmatch(key) and not isinstance(entry.value, cst.Attribute):
                    self._value(entry.value, f"{name}[{key}]")
        elif (kind := _literal_kind(node)) is not None:
            self._add(node, kind, name)
        else:
            self._choice(node, name)

    def _choice(self, node: cst.BaseExpression, name: str) -> None:
        members = alternatives(node, name, self._lexicon)
        if members:
            self._add(node, "choice", name, members)

    def _arithmetic(self, node: cst.BaseExpression, name: str) -> None:
        if isinstance(node, cst.BinaryOperation):
            for side in (node.left, node.right):
                kind = _literal_kind(side)
                if kind in ("int", "float"):
                    self._add(side, kind, name)
                self._arithmetic(side, name)

    def _factors(self, node: cst.BaseExpression, name: str, integers: bool) -> None:
        """What an argument is scaled by: `4 * dim` of a layer's size, `0.02 / math.sqrt(depth)`."""
        if not isinstance(node, cst.BinaryOperation):
            return
        if not isinstance(node.operator, cst.Multiply | cst.Divide):
            return
        multiplies = integers and isinstance(node.operator, cst.Multiply)
        for side in (node.left, node.right):
            kind = _literal_kind(side)
            if kind == "float" or (kind == "int" and multiplies):
                self._add(side, kind, name)
            self._factors(side, name, multiplies)

    def _add(self, node: cst.BaseExpression, kind: Kind, name: str, members: tuple[str, ...] = ()) -> None:
        span = self.get_metadata(ByteSpanPositionProvider, node)
        self.found.append(_Found(name, kind, span, node, members))


def _has_settings(node: cst.BaseExpression) -> bool:
    """Whether it is a dictionary, or a list with one, as optimizers take their groups."""
    if isinstance(node, cst.List | cst.Tuple):
        return any(isinstance(e.value, cst.Dict) for e in node.elements)
    return isinstance(node, cst.Dict)


def _asks_for_word(test: cst.BaseExpression) -> bool:
    """Whether a condition compares something with a string."""
    if not isinstance(test, cst.Comparison):
        return False
    sides = [test.left, *(target.comparator for target in test.comparisons)]
    return any(isinstance(side, cst.SimpleString) for side in sides)


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
