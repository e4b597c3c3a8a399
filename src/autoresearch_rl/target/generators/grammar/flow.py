"""What the expressions of a module's methods are: a method is read once, from top to bottom.

A type is known where a layer, a norm or an activation says it, and for what is handed to a layer. Where
nothing says it there is no type, and no rule applies.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from autoresearch_rl.target.generators.grammar.layers import (
    ACTIVATION_NAME,
    NORM_NAME,
    Layer,
    Module,
    Modules,
    Role,
    Shape,
)
from autoresearch_rl.target.generators.grammar.tensors import (
    ACTIVATIONS,
    ATTENTION,
    CASTS,
    ELEMENTWISE,
    NORMS,
    OUTSIDE,
    Kind,
    Tensor,
    active,
    added,
    bindings,
    contracted,
    ends_turned,
    given,
    normed,
    path_of,
    reshaped,
)


class Flow:
    """One method of a module, read from top to bottom."""

    def __init__(self, modules: Modules, module: Module, function: ast.FunctionDef) -> None:
        self.modules, self.module, self.function = modules, module, function
        self.types: dict[ast.AST, Tensor] = {}
        self.layers: dict[ast.AST, Layer] = {}  # by the call of it
        self.returned: list[Tensor] = []
        self.names: dict[str, Tensor] = {}
        self._sizes: dict[str, str] = {}  # `C` of `B, T, C = x.shape` -> width
        self._loops: dict[str, Layer] = {}
        self._vocabulary = {
            ast.unparse(layer.made.args[0])
            for layer in module.layers.values()
            if layer.role is Role.EMBEDDING and layer.made.args
        }
        self._bind_loops()
        self._read_parameters()
        for statement in function.body:
            self._statement(statement)

    @property
    def shape(self) -> Shape | None:
        """How wide the first argument and the result are; None when nothing is known."""
        takes = self.first
        gives = self.returned[-1] if self.returned else None
        if takes is None or gives is None or takes.kind is Kind.IDS or gives.kind in OUTSIDE:
            return None
        return Shape(takes.width, gives.width, gives.kind is Kind.STREAM)

    @property
    def first(self) -> Tensor | None:
        """The type of the first argument."""
        return self.parameters.get(self.first_name)

    @property
    def first_name(self) -> str:
        """The name of the first argument; empty where there is none."""
        arguments = self.function.args.posonlyargs + self.function.args.args
        return arguments[1].arg if len(arguments) > 1 else ""

    def layer_of(self, function: ast.expr) -> Layer | None:
        """The layer that is called: `self.up`, `block` in a loop, `self.layers[i]`."""
        if isinstance(function, ast.Name):
            return self._loops.get(function.id)
        path = path_of(function)
        return self.module.layers.get(path) if path else None

    # What arguments are is told by what is done with them.

    def _read_parameters(self) -> None:
        self.parameters: dict[str, Tensor] = {}
        own = {a.arg for a in self.function.args.posonlyargs + self.function.args.args} - {"self"}
        calls = [n for n in ast.walk(self.function) if isinstance(n, ast.Call) and n.args]
        calls.sort(key=lambda n: (n.lineno, n.col_offset))
        for call in calls:
            layer = self.layer_of(call.func)
            if layer and layer.role is Role.EMBEDDING:
                self._want(call.args[0], Tensor(Kind.IDS), own)
            elif layer and layer.takes:
                self._want(call.args[0], Tensor(Kind.STREAM, self._width(layer.takes)), own)
        for node in ast.walk(self.function):
            if isinstance(node, ast.BinOp) and (shape := self._matrix(node.right)):
                self._want(node.left, Tensor(Kind.STREAM, self._width(shape[0])), own)
        for call in calls:
            if self._is_norm(call):
                self._want(call.args[0], Tensor(Kind.STREAM), own)
        self.names |= self.parameters

    def _want(self, node: ast.expr, tensor: Tensor, own: set[str]) -> None:
        if isinstance(node, ast.Name) and node.id in own:
            self.parameters.setdefault(node.id, tensor)
        elif isinstance(node, ast.Call) and node.args and self._is_norm(node):
            self._want(node.args[0], tensor, own)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            self._want(node.left, tensor, own)

    def _is_norm(self, call: ast.Call) -> bool:
        layer = self.layer_of(call.func)
        name = self.modules.full_name(call.func)
        own = isinstance(call.func, ast.Name) and call.func.id in self.modules.globals
        return (layer is not None and layer.role in (Role.NORM, Role.DROPOUT)) or (
            name in NORMS or (own and isinstance(call.func, ast.Name) and is_norm_name(call.func.id))
        )

    # Statements

    def _bind_loops(self) -> None:
        for node in ast.walk(self.function):
            if isinstance(node, ast.For | ast.comprehension):
                for target, value in bindings(node.target, node.iter):
                    if layer := self._one_of(value):
                        self._loops[target] = layer

    def _one_of(self, value: ast.expr) -> Layer | None:
        """Any of the layers that a loop goes through: a list of them, blocks in a row, `(self.q, self.k)`."""
        if isinstance(value, ast.Tuple | ast.List):
            found = [self.module.layers.get(path_of(one) or "") for one in value.elts]
            alike = {(one.role, one.takes, one.gives) if one else None for one in found}
            return found[0] if len(alike) == 1 else None
        path = path_of(value)
        layer = self.module.layers.get(path or "")
        blocks = layer if layer and layer.role is Role.BLOCK and layer.takes == layer.gives else None
        return self.module.layers.get(f"{path}[]") or blocks

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            return
        if isinstance(node, ast.Assign):
            tensor = self._type(node.value)
            for target in node.targets:
                self._bind(target, node.value, tensor)
        elif isinstance(node, ast.AugAssign):
            value, old = self._type(node.value), self._type(node.target)
            if isinstance(node.target, ast.Name) and (value or old):
                self.names[node.target.id] = added(old, value) or Tensor(Kind.STREAM)
        elif isinstance(node, ast.Return) and node.value is not None:
            if tensor := self._type(node.value):
                self.returned.append(tensor)
        else:
            self._inside(node)

    def _inside(self, node: ast.stmt) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self._statement(child)
            elif isinstance(child, ast.expr):
                self._type(child)

    def _bind(self, target: ast.expr, value: ast.expr, tensor: Tensor | None) -> None:
        if isinstance(target, ast.Name):
            self._name(target.id, tensor)
        elif isinstance(target, ast.Tuple):
            self._unpack(target, value, tensor)

    def _unpack(self, target: ast.Tuple, value: ast.expr, tensor: Tensor | None) -> None:
        names = [t.id if isinstance(t, ast.Name) else "_" for t in target.elts]
        if isinstance(value, ast.Tuple) and len(value.elts) == len(names):
            for name, one in zip(names, value.elts, strict=True):
                self._name(name, self.types.get(one))
        elif width := self._measured(value):
            self._sizes[names[-1]] = width
        elif tensor is not None and tensor.kind is Kind.PAIR:
            self._name(names[0], replace(tensor, kind=Kind.HIDDEN))
        else:  # `.split(width, dim=2)`, `.chunk(2, dim=-1)`, or unknown
            for name in names:
                self._name(name, tensor)

    def _name(self, name: str, tensor: Tensor | None) -> None:
        if tensor is None:
            self.names.pop(name, None)
        else:
            self.names[name] = tensor

    def _measured(self, value: ast.expr) -> str | None:
        """The width of what `x.shape` or `x.size()` is about."""
        node = value.func if isinstance(value, ast.Call) else value
        if isinstance(node, ast.Attribute) and node.attr in ("shape", "size"):
            tensor = self._type(node.value)
            return tensor.width if tensor else None
        return None

    # Expressions

    def _type(self, node: ast.AST) -> Tensor | None:
        if node in self.types:
            return self.types[node]
        reader = _READERS.get(type(node), Flow._type_other)
        tensor = reader(self, node)
        if tensor is not None:
            self.types[node] = tensor
        return tensor

    def _type_other(self, node: ast.AST) -> Tensor | None:
        for child in ast.iter_child_nodes(node):
            self._type(child)
        return None

    def _type_name(self, node: ast.Name) -> Tensor | None:
        return self.names.get(node.id)

    def _type_condition(self, node: ast.IfExp) -> Tensor | None:
        self._type(node.test)
        found, other = self._type(node.body), self._type(node.orelse)
        return found or other

    def _type_comprehension(self, node: ast.GeneratorExp | ast.ListComp) -> Tensor | None:
        self._type_other(node)
        return self.types.get(node.elt)

    def _type_subscript(self, node: ast.Subscript) -> Tensor | None:
        value = self._type(node.value)
        self._type(node.slice)
        first = isinstance(node.slice, ast.Constant) and node.slice.value == 0
        return replace(value, kind=Kind.HIDDEN) if value and value.kind is Kind.PAIR and first else None

    def _type_operation(self, node: ast.BinOp) -> Tensor | None:
        left, right = self._type(node.left), self._type(node.right)
        if isinstance(node.op, ast.Add | ast.Sub):
            return added(left, right or self._addend(node.right, left))
        if isinstance(node.op, ast.MatMult):
            return self._product(node.right, right)
        found = left or right
        both = left and right and Kind.ACTIVE in (left.kind, right.kind)
        return replace(found, kind=Kind.ACTIVE) if found and both else found

    def _addend(self, node: ast.expr, stream: Tensor | None) -> Tensor | None:
        """What a part of unknown insides adds to the stream is as wide as the stream."""
        path = path_of(node.func) if isinstance(node, ast.Call) else None
        own = path in self.module.layers or path in self.module.methods
        if stream is None or stream.kind is not Kind.STREAM or not own:
            return None
        self.types[node] = Tensor(Kind.HIDDEN, stream.width)
        return self.types[node]

    def _product(self, node: ast.expr, right: Tensor | None) -> Tensor | None:
        """`weights @ values` is as wide as the values; `x @ self.matrix` as the matrix says."""
        if shape := self._matrix(node):
            return Tensor(Kind.HIDDEN, self._width(shape[-1]))
        return right if right and right.kind is Kind.HEADS else None

    def _matrix(self, node: ast.expr) -> list[str] | None:
        shape = self.module.matrices.get(path_of(node) or "")
        return shape if shape and len(shape) == 2 else None

    def _type_call(self, node: ast.Call) -> Tensor | None:
        for child in (*node.args, *(k.value for k in node.keywords)):
            self._type(child)
        first = self.types.get(node.args[0]) if node.args else None
        if layer := self.layer_of(node.func):
            self.layers[node] = layer
            return self._layer(layer, node, first)
        path = path_of(node.func)
        if path and path in self.module.methods:
            return self._method(path, first)
        name = self.modules.full_name(node.func)
        if name:
            return self._function(name, node, first)
        if isinstance(node.func, ast.Name):
            return self._own_function(node.func.id, first)
        return self._tensor_method(node)

    def _layer(self, layer: Layer, node: ast.Call, first: Tensor | None) -> Tensor | None:
        if first is not None and first.kind is Kind.TURNED:
            return first
        if first is None and node.args and layer.takes and not ends_turned(node.args[0]):
            self.types[node.args[0]] = first = Tensor(Kind.MIXED, self._width(layer.takes))
        tensor = given(layer, first, self._width(layer.gives))
        asked = tensor is not None and tensor.kind is Kind.HIDDEN and layer.gives in self._vocabulary
        return Tensor(Kind.LOGITS, layer.gives) if asked else tensor

    def _method(self, name: str, first: Tensor | None) -> Tensor | None:
        shape = self.modules.shape_of(f"{self.module.name}.{name}")
        if shape is None:
            return None
        return Tensor(Kind.STREAM if shape.residual else Kind.HIDDEN, shape.gives)

    def _function(self, name: str, node: ast.Call, first: Tensor | None) -> Tensor | None:
        if name in ACTIVATIONS:
            return active(first)
        if name in NORMS:
            return normed(first)
        if name == ATTENTION:
            return Tensor(Kind.HEADS)
        if name == "torch.einsum":
            return contracted(node, self.types.get(node.args[-1]))
        if name in ("torch.matmul", "torch.bmm") and len(node.args) == 2:
            return self._product(node.args[1], self.types.get(node.args[1]))
        if name == "torch.nn.functional.embedding":
            return Tensor(Kind.EMBEDDED)
        return first if name == "torch.nn.functional.dropout" else None

    def _own_function(self, name: str, first: Tensor | None) -> Tensor | None:
        if first is None or name not in self.modules.globals:
            return None
        if is_norm_name(name):
            return normed(first)
        return active(first) if ACTIVATION_NAME.search(name) else None

    def _tensor_method(self, node: ast.Call) -> Tensor | None:
        if not isinstance(node.func, ast.Attribute):
            return self._type_other(node.func)
        value, name = self._type(node.func.value), node.func.attr
        if value is None or name in CASTS:
            return value
        if name in ELEMENTWISE:
            return active(value)
        return reshaped(name, node.args, node.keywords, value, self._width)

    def _width(self, text: str | None) -> str | None:
        """A width in the words of the constructor."""
        text = self._sizes.get(text or "", text)
        text = self.module.aliases.get(text or "", text)
        return None if text is None or text == "-1" or text.startswith("self.") else text


_Reader = Callable[[Flow, Any], Tensor | None]
_READERS: Mapping[type[ast.AST], _Reader] = {
    ast.Name: Flow._type_name,
    ast.IfExp: Flow._type_condition,
    ast.Subscript: Flow._type_subscript,
    ast.GeneratorExp: Flow._type_comprehension,
    ast.ListComp: Flow._type_comprehension,
    ast.BinOp: Flow._type_operation,
    ast.Call: Flow._type_call,
}


def is_norm_name(name: str) -> bool:
    """Whether a function is a norm, by its name."""
    return NORM_NAME.search(name) is not None and "grad" not in name


def read_flows(modules: Modules) -> list[Flow]:
    """All methods of all modules, each class after those that it is made of.

    Twice, for what a class gives is known only after it was read.
    """
    flows: list[Flow] = []
    for _ in range(2):
        flows = []
        modules.forget()
        for name in modules.classes:
            flows += _class_flows(modules, modules.read(name))
    return flows


def _class_flows(modules: Modules, module: Module) -> Iterator[Flow]:
    methods = [f for n, f in module.methods.items() if not n.startswith("_") and n != "forward"]
    for function in (*methods, module.methods.get("forward")):
        if function is not None:
            flow = Flow(modules, module, function)
            name = module.name if function.name == "forward" else f"{module.name}.{function.name}"
            modules.shapes[name] = flow.shape
            yield flow
