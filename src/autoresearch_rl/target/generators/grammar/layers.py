"""What the modules of a script are made of, read from their constructors. Nothing is executed.

Widths are texts: `4 * dim` is what `self.up` gives, and says nothing but that it is the same as another
`4 * dim` in the same constructor.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import takewhile

from autoresearch_rl.target.patterns import Source, canonical

NORM_NAME = re.compile(r"(?i)norm(?!al(?!i))|^ln\b|^ln_")  # not `normal`
ACTIVATION_NAME = re.compile(r"(?i)gelu$|relu|silu|swish|^act|activation")
_ATOM = re.compile(r"[\w.]+")


class Role(StrEnum):
    """What a layer does, as far as the grammar has to know."""

    LINEAR = "linear"
    EMBEDDING = "embedding"
    NORM = "norm"
    ACTIVATION = "activation"
    DROPOUT = "dropout"
    RECURRENT = "recurrent"  # gives a pair: what it says at each position, and its state
    BLOCK = "block"  # several layers; as wide where it ends as where it begins
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class _Type:
    """Where the arguments of a constructor say how wide a layer is: position and keyword."""

    role: Role
    takes: tuple[int, str] | None = None
    gives: tuple[int, str] | None = None


_SHAPE, _MODEL = (0, "normalized_shape"), (0, "d_model")
_CELL = _Type(Role.RECURRENT, (0, "input_size"), (1, "hidden_size"))
_TYPES: Mapping[str, _Type] = {
    "Linear": _Type(Role.LINEAR, (0, "in_features"), (1, "out_features")),
    "Embedding": _Type(Role.EMBEDDING, None, (1, "embedding_dim")),
    "LayerNorm": _Type(Role.NORM, _SHAPE, _SHAPE),
    "RMSNorm": _Type(Role.NORM, _SHAPE, _SHAPE),
    "TransformerEncoderLayer": _Type(Role.BLOCK, _MODEL, _MODEL),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), _CELL),
    **dict.fromkeys(("Dropout", "Identity"), _Type(Role.DROPOUT)),
}
_ACTIVATIONS = (
    "GELU ReLU SiLU Mish ELU LeakyReLU Tanh Sigmoid Softplus Hardswish SELU ReLU6 CELU PReLU Softsign"
)
LAYER_TYPES: Mapping[str, _Type] = {
    **{f"torch.nn.{name}": found for name, found in _TYPES.items()},
    **{f"torch.nn.{name}": _Type(Role.ACTIVATION) for name in _ACTIVATIONS.split()},
}


@dataclass(frozen=True, slots=True)
class Layer:
    """A sub-module: what it does, how wide that is, and the call that makes it."""

    role: Role
    made: ast.Call
    takes: str | None = None
    gives: str | None = None
    residual: bool = False  # what it takes is part of the sum that it gives
    parts: tuple[Layer | None, ...] = ()  # of an `nn.Sequential`; None for what is not known
    optional: bool = False  # may be None instead


@dataclass
class Module:
    """A class of the script that is a module."""

    node: ast.ClassDef
    base: str  # full name of its first base
    methods: Mapping[str, ast.FunctionDef]
    layers: dict[str, Layer] = field(default_factory=dict)  # `up`, `transformer.wte`, `blocks[]`
    matrices: dict[str, list[str]] = field(default_factory=dict)  # weights of its own, and their sizes
    aliases: dict[str, str] = field(default_factory=dict)  # `self.dim` -> `dim`
    anchor: ast.stmt | None = None  # the last statement of the constructor that makes a layer

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.node.name

    @property
    def init(self) -> ast.FunctionDef | None:
        """Its constructor."""
        return self.methods.get("__init__")


@dataclass(frozen=True, slots=True)
class Shape:
    """How wide a class is from `forward`'s first argument to its result, in the words of its constructor."""

    takes: str | None
    gives: str | None
    residual: bool


class Modules:
    """All classes of a script that are modules, and their layers.

    What a class of the script gives depends on its `forward`; `shape_of` answers that, and is set by the
    reader of methods.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.classes = {m.name: m for m in self._classes()}
        self.shapes: dict[str, Shape | None] = {}
        self._read: set[str] = set()

    def read(self, name: str) -> Module:
        """The class of this name with its layers."""
        module = self.classes[name]
        if name not in self._read:
            self._read.add(name)
            self._read_constructor(module)
        return module

    def forget(self) -> None:
        """Constructors are read again: more may be known by now of what their layers give."""
        self._read.clear()

    def shape_of(self, name: str) -> Shape | None:
        """Set by `flow.read_flows`; None while a class is being read, so that recursion ends."""
        return self.shapes.get(name)

    def full_name(self, node: ast.AST) -> str:
        """The full name of what comes from an imported module; empty for anything else."""
        return canonical(node, self.source.modules) or ""

    def _classes(self) -> Iterator[Module]:
        known: set[str] = set()
        for node in self.source.tree.body:
            if not isinstance(node, ast.ClassDef) or not node.bases:
                continue
            base = self.full_name(node.bases[0]) or ast.unparse(node.bases[0])
            if base.startswith("torch.nn.") or base in known:
                known.add(node.name)
                methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
                yield Module(node, base, methods)

    def _read_constructor(self, module: Module) -> None:
        if module.init is None:
            return
        for statement in module.init.body:
            found = dict(self._assigned(statement, module))
            module.layers.update(found)
            if found or not module.layers:  # nothing is set before it is there
                module.anchor = statement

    def _assigned(self, statement: ast.stmt, module: Module) -> Iterator[tuple[str, Layer]]:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and (path := _appended_to(node)):
                yield from self._members(f"{path}[]", node.args[0], module)
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                for path, value in _pairs(target, node.value):
                    if isinstance(value, ast.Name | ast.Attribute):
                        module.aliases[f"self.{path}"] = self.source.code(value)
                    yield from self._members(path, value, module)

    def _members(self, path: str, value: ast.expr, module: Module) -> Iterator[tuple[str, Layer]]:
        call = value.body if isinstance(value, ast.IfExp) else value
        if not isinstance(call, ast.Call):
            return
        name = self.full_name(call.func)
        if name == "torch.nn.Parameter" and (tensor := _innermost(call)):
            module.matrices[path] = [ast.unparse(size) for size in tensor.args]
        elif name == "torch.nn.ModuleList":
            elements = _elements(call)
            if len({_called(element) for element in elements}) == 1:
                yield from self._members(f"{path}[]", elements[0], module)
        elif name == "torch.nn.ModuleDict":
            for key, member in _items(call):
                yield from self._members(f"{path}.{key}", member, module)
        elif layer := self.layer(call):
            yield path, replace(layer, optional=call is not value)

    def layer(self, call: ast.Call) -> Layer | None:
        """What this call of a constructor makes; None when it is none."""
        name = self.full_name(call.func)
        if name == "torch.nn.Sequential":
            return self._sequential(call)
        if name in LAYER_TYPES:
            return self._typed(LAYER_TYPES[name], call)
        if isinstance(call.func, ast.Name) and call.func.id in self.classes:
            return self._own(self.classes[call.func.id], call)
        return Layer(Role.OTHER, call) if name.startswith("torch.nn.") and name[9:10].isupper() else None

    def _typed(self, kind: _Type, call: ast.Call) -> Layer:
        takes, gives = (self._argument(call, place) for place in (kind.takes, kind.gives))
        return Layer(kind.role, call, takes, gives)

    def _argument(self, call: ast.Call, place: tuple[int, str] | None) -> str | None:
        if place is None or any(isinstance(a, ast.Starred) for a in call.args):
            return None
        index, keyword = place
        named = {k.arg: k.value for k in call.keywords}
        value = call.args[index] if index < len(call.args) else named.get(keyword)
        if isinstance(value, ast.Tuple) and len(value.elts) == 1:
            value = value.elts[0]
        return None if value is None else ast.unparse(value)

    def _sequential(self, call: ast.Call) -> Layer:
        elements = _elements(call)
        parts = [self.layer(a) if isinstance(a, ast.Call) else None for a in elements]
        known = [part for part in parts if part is not None]
        whole = bool(known) and len(known) == len(parts)
        takes = next((p.takes for p in known if p.takes), None) if whole else None
        gives = next((p.gives for p in reversed(known) if p.gives), None) if whole else None
        residual = whole and all(p.residual for p in known)
        embeds = whole and known[0].role is Role.EMBEDDING
        role = Role.BLOCK if takes and gives and not embeds else Role.OTHER
        listed = (self.layer(a) if isinstance(a, ast.Call) else None for a in call.args)
        return Layer(role, call, takes, gives, residual, tuple(listed))

    def _own(self, module: Module, call: ast.Call) -> Layer:
        """A class of the script: like its base, a norm by its name, or whatever its `forward` does."""
        bound = _bound(module, call)
        kind = LAYER_TYPES.get(module.base)
        if kind and module.init is None:
            return self._typed(kind, call)
        if kind and (above := _super_call(module)):
            layer = self._typed(kind, above)
            takes, gives = (self._said(text, module, bound) for text in (layer.takes, layer.gives))
            return replace(layer, made=call, takes=takes, gives=gives)
        if NORM_NAME.search(module.name):
            width = self._argument(call, (0, "dim"))
            return Layer(Role.NORM, call, width, width)
        shape = self.shape_of(module.name)
        if shape is None:
            named = ACTIVATION_NAME.search(module.name) and not self.read(module.name).layers
            return Layer(Role.ACTIVATION if named else Role.OTHER, call)
        takes, gives = (self._said(text, module, bound) for text in (shape.takes, shape.gives))
        return Layer(Role.BLOCK, call, takes, gives, shape.residual)

    def _said(self, text: str | None, module: Module, bound: Mapping[str, str]) -> str | None:
        """A width in the words of who calls the constructor; None where it cannot be said."""
        if text is None:
            return None
        names = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", text))
        if any(name not in bound and name not in self.globals for name in names):
            return None
        if text in bound:
            return bound[text]
        return re.sub(r"(?<![\w.])[A-Za-z_]\w*", lambda m: _atomic(bound.get(m[0], m[0]), text), text)

    @cached_property
    def globals(self) -> set[str]:
        """Names that mean the same everywhere in the script."""
        found = {"int", "max", "min", "round"}
        for node in self.source.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            found |= {t.id for t in targets if isinstance(t, ast.Name)}
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(node.name)
        return found


def _atomic(text: str, whole: str) -> str:
    return text if text == whole or _ATOM.fullmatch(text) else f"({text})"


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Attributes of `self` that are assigned, and what to."""
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        yield target.attr, value
    elif isinstance(target, ast.Tuple):
        if isinstance(value, ast.GeneratorExp | ast.ListComp):
            values = [value.elt] * len(target.elts)
        else:
            values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        for one, its in zip(target.elts, values, strict=False):
            yield from _pairs(one, its)


def _called(node: ast.expr) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ast.unparse(node)


def _elements(call: ast.Call) -> list[ast.expr]:
    """What a container holds; of a comprehension, one element."""
    found: list[ast.expr] = []
    for argument in call.args:
        value = argument.value if isinstance(argument, ast.Starred) else argument
        if isinstance(value, ast.GeneratorExp | ast.ListComp):
            found.append(value.elt)
        elif isinstance(value, ast.List | ast.Tuple):
            found += value.elts
        else:
            found.append(value)
    return found


def _items(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    value = call.args[0] if call.args else None
    if isinstance(value, ast.Call):  # `dict(...)`
        yield from ((k.arg, k.value) for k in value.keywords if k.arg)
    elif isinstance(value, ast.Dict):
        for key, member in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value, member


def _appended_to(call: ast.Call) -> str | None:
    """`layers` of `self.layers.append(...)`."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "append" or len(call.args) != 1:
        return None
    to = call.func.value
    own = isinstance(to, ast.Attribute) and isinstance(to.value, ast.Name) and to.value.id == "self"
    return to.attr if own and isinstance(to, ast.Attribute) else None


def _innermost(call: ast.Call) -> ast.Call | None:
    """`torch.randn(a, b)` of `nn.Parameter(0.02 * torch.randn(a, b))`; None for fewer than two sizes."""
    calls = [n for n in ast.walk(call) if isinstance(n, ast.Call) and n is not call and len(n.args) >= 2]
    return calls[-1] if calls else None


def _bound(module: Module, call: ast.Call) -> dict[str, str]:
    """The constructor's parameters, each with the text of what it is called with."""
    if module.init is None:
        return {}
    arguments = module.init.args
    names = [a.arg for a in arguments.posonlyargs + arguments.args]
    defaults = dict(zip(reversed(names), reversed(arguments.defaults), strict=False))
    plain = list(takewhile(lambda a: not isinstance(a, ast.Starred), call.args))
    given = {**defaults, **dict(zip(names[1:], plain, strict=False))}
    given |= {k.arg: k.value for k in call.keywords if k.arg}
    return {name: ast.unparse(value) for name, value in given.items()}


def _super_call(module: Module) -> ast.Call | None:
    for node in ast.walk(module.init) if module.init else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "super().__init__" and node.args:
            return node
    return None
