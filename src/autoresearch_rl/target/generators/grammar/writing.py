"""How a mutation is written down: replacements in the text, in the manner of the script."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from autoresearch_rl.target.generators.grammar.flow import Flow
from autoresearch_rl.target.generators.grammar.layers import Module, Modules
from autoresearch_rl.target.normal import Splice, spliced
from autoresearch_rl.target.patterns import Place, Source

NN, F = "torch.nn.", "torch.nn.functional."
SCALAR = "()"  # the size of a single number
TOPIC = 80  # characters
_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_WEIGHTS = ("gain", "scale", "gate", "scalar", "lambda")  # names of new weights, as scripts group theirs
_ATOMS = (ast.Name, ast.Call, ast.Attribute, ast.Subscript, ast.Constant)
_CONDITIONAL = (ast.Lambda, ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp, ast.IfExp, ast.BoolOp)


@dataclass(frozen=True, slots=True)
class Draft:
    """A mutation: which rule, what it does and where, the replacements, and how likely it helps."""

    operator: str
    topic: str
    splices: tuple[Splice, ...]
    odds: float


class Writer:
    """Writes pieces of code for one script. What cannot be written is None, and its draft is dropped."""

    def __init__(self, source: Source, modules: Modules) -> None:
        self.source, self.modules = source, modules
        kinds = (ast.Call, ast.BinOp, ast.Name, ast.Attribute, ast.Subscript, ast.IfExp, ast.Compare)
        self.places = {place.node: place for kind in kinds for place in source.places(kind)}
        self._scopes = {place.node: place.scope for place in source.runs()}
        attributes = (place.node for place in source.places(ast.Attribute))
        self._attributes = {node.attr for node in attributes if isinstance(node, ast.Attribute)}

    def draft(
        self, operator: str, variant: str, where: ast.AST, changes: Sequence[Splice | None], odds: float
    ) -> Iterator[Draft]:
        """A draft of these changes; none where one of them could not be written."""
        splices = tuple(change for change in changes if change is not None)
        if len(splices) == len(changes):
            topic = self._topic(f"{operator} {variant}".strip(), where)
            yield Draft(operator, topic, splices, odds)

    def _topic(self, rule: str, node: ast.AST) -> str:
        place = self.places.get(node)
        scope = ".".join(place.scope if place else self._scopes.get(node, ()))
        text = f"{rule}@{scope}:" + re.sub(r"\s+", " ", self.code(node))
        return text if len(text) <= TOPIC else f"{text[: TOPIC - 3]}..."

    # Names

    def called(self, full_name: str) -> str | None:
        """How this script may call `torch.nn.functional.silu`; None where nothing of it is imported."""
        fitting = [
            (len(module), alias)
            for alias, module in self._imports.items()
            if full_name == module or full_name.startswith(f"{module}.")
        ]
        if not fitting:
            return None
        length, alias = max(fitting)
        return alias + full_name[length:]

    @cached_property
    def _imports(self) -> dict[str, str]:
        """What is imported where everything can see it."""
        top: set[str] = set()
        for node in self.source.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                top |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        return {alias: module for alias, module in self.source.modules.items() if alias in top}

    def new_name(self, base: str, kind: str) -> str:
        """An attribute that the script does not have yet: `up_norm`.

        Some scripts group weights by words in their names, so a new name has no such word but its own.
        """
        base = "" if any(word in base for word in self._grouped) else f"{base}_"
        taken = self._attributes | self.source.names
        names = [f"{base}{kind}", *(f"{base}{kind}{i}" for i in range(2, 99))]
        return next(name for name in names if name not in taken)

    @cached_property
    def weight(self) -> str:
        """What new weights are called after, so that they come into a group of weights like them."""
        return next((word for word in _WEIGHTS if word in self._grouped), _WEIGHTS[0])

    @cached_property
    def _grouped(self) -> set[str]:
        """Words of `"gate" in name`."""
        compared = (place.node for place in self.source.places(ast.Compare))
        left = (node.left for node in compared if isinstance(node, ast.Compare))
        return {n.value for n in left if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value}

    def local_name(self, base: str, flow: Flow) -> str:
        """A name that a method does not use yet."""
        taken = {n.id for n in ast.walk(flow.function) if isinstance(n, ast.Name)}
        taken |= {a.arg for a in ast.walk(flow.function) if isinstance(a, ast.arg)} | set(self.source.modules)
        return next(name for name in (base, *(f"{base}{i}" for i in range(2, 99))) if name not in taken)

    # Expressions

    def code(self, node: ast.AST) -> str:
        """The text of a node; on several lines only inside of brackets."""
        return self.source.code(node)

    def operand(self, node: ast.AST) -> str:
        """The text of an expression, in parentheses unless it can be multiplied and called."""
        text = self.code(node)
        return text if isinstance(node, _ATOMS) else f"({text})"

    def replaced(self, node: ast.AST, text: str) -> Splice:
        """Other code in place of an expression, in parentheses where it needs them."""
        place, (start, end) = self.places.get(node), self.source.span(node)
        enclosed = self.source.text[start - 1 : start] + self.source.text[end : end + 1] == "()"
        bare = enclosed or (place is not None and _stands_alone(place)) or _is_atom(text)
        return start, end, text if bare else f"({text})"

    def inside(self, node: ast.AST, splices: Sequence[Splice]) -> str:
        """The text of an expression with replacements inside."""
        start, _ = self.source.span(node)
        return spliced(self.code(node), [(a - start, b - start, text) for a, b, text in splices])

    def renamed(self, node: ast.AST, old: str, new: str) -> str:
        """The text of an expression with a name exchanged."""
        names = [n for n in ast.walk(node) if isinstance(n, ast.Name) and n.id == old]
        return self.inside(node, [(*self.source.span(n), new) for n in names])

    # Statements

    def above(self, statement: ast.stmt, *codes: str) -> Splice | None:
        """New statements above one."""
        found = self._lines(statement)
        if found is None or getattr(statement, "decorator_list", None):
            return None
        indent, top, _ = found
        return top, top, self._indented(indent, codes)

    def below(self, statement: ast.stmt, *codes: str) -> Splice | None:
        """New statements below one."""
        found = self._lines(statement)
        if found is None:
            return None
        indent, _, bottom = found
        return bottom, bottom, self._indented(indent, codes)

    def _indented(self, indent: str, codes: Sequence[str]) -> str:
        """Lines at an indentation; four spaces are one more level."""
        level = "\t" if indent.startswith("\t") else "    "
        return "".join(f"{indent}{code.replace('    ', level)}{self.source.newline}" for code in codes)

    def without(self, statement: ast.stmt, body: Sequence[ast.stmt]) -> Splice | None:
        """A statement deleted, where others are left."""
        found = self._lines(statement)
        return (found[1], found[2], "") if found and len(body) > 1 else None

    def _lines(self, statement: ast.stmt) -> tuple[str, int, int] | None:
        """Indentation, start and end of the lines of a statement; None where others stand on them, too."""
        text, (start, end) = self.source.text, self.source.span(statement)
        top, newline = text.rfind("\n", 0, start) + 1, text.find("\n", end)
        rest = text[end:newline].strip()
        alone = not text[top:start].strip() and (not rest or rest.startswith("#")) and newline >= 0
        return (text[top:start], top, newline + 1) if alone else None

    def registered(self, module: Module, name: str, value: str | None) -> Splice | None:
        """A new attribute at the end of what the constructor builds; before it sets weights."""
        if module.anchor is None or value is None or not self.is_trained(module):
            return None
        return self.below(module.anchor, f"self.{name} = {value}")

    def parameter(self, maker: str, arguments: str) -> str | None:
        """How a weight is made: `nn.Parameter(torch.zeros(...))`."""
        made, tensor = self.called(NN + "Parameter"), self.called(f"torch.{maker}")
        return f"{made}({tensor}({arguments}))" if made and tensor else None

    def is_sayable(self, width: str | None, module: Module) -> bool:
        """Whether a width can be written down in the constructor."""
        if width is None or module.init is None:
            return False
        arguments = module.init.args
        names = {a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs}
        for statement in module.init.body:
            for target in statement.targets if isinstance(statement, ast.Assign) else ():
                names |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
        return set(_WORD.findall(width)) <= names | self.modules.globals | {"self", "len"}

    # What training needs of new weights

    def is_trained(self, module: Module) -> bool:
        """Whether weights that are added to a class surely come to the optimizer.

        They do where all parameters are asked for; a script that lists those of its parts may miss new ones
        of the whole.
        """
        return module is not self.whole or self._asks_for_all

    @cached_property
    def whole(self) -> Module | None:
        """The class of the model itself: the last one that is no part of another."""
        used = {name for module in self.modules.classes.values() for name in self._made_of(module)}
        outer = [module for name, module in self.modules.classes.items() if name not in used]
        return outer[-1] if outer and outer[-1].init is not None else None

    def parts_of(self, module: Module) -> list[Module]:
        """A class, and all that it is made of."""
        found = [module]
        for one in found:
            parts = (self.modules.classes[name] for name in self._made_of(one))
            found += [part for part in parts if part not in found]
        return found

    def _made_of(self, module: Module) -> list[str]:
        made = (layer.made for layer in module.layers.values())
        names = [n.id for call in made for n in ast.walk(call) if isinstance(n, ast.Name)]
        return [name for name in dict.fromkeys(names) if name in self.modules.classes and name != module.name]

    @cached_property
    def _asks_for_all(self) -> bool:
        """Whether somebody other than a constructor or clipping asks a whole model for its parameters."""
        for place in self.source.places(ast.Attribute):
            node = place.node
            assert isinstance(node, ast.Attribute)
            asked = node.attr in ("parameters", "named_parameters") and isinstance(node.value, ast.Name)
            clips = place.statement is not None and "clip_grad" in self.code(place.statement)
            if asked and not clips and place.scope[-1:] != ("__init__",):
                return True
        return False

    @cached_property
    def needs_all_gradients(self) -> bool:
        """Whether weights that are not used any more would stop an optimizer of the script's own."""
        own = any(
            isinstance(n, ast.ClassDef) and any(ast.unparse(b).endswith("Optimizer") for b in n.bases)
            for n in self.source.tree.body
        )
        return own and "grad is" not in self.source.text

    def is_zero(self, value: ast.expr) -> bool:
        """Whether a number is nothing, or a name that the script sets to nothing."""
        name = ast.unparse(value).rpartition(".")[2]
        zero = rf"(?m)\b{re.escape(name)}\b(\s*:\s*float)?['\"]?\s*[=:]\s*0(\.0*)?\b(?![.\d])"
        return name in ("0", "0.0") or re.search(zero, self.source.text) is not None

    # Several uses of one value

    def held(
        self, node: ast.expr, base: str, statement: ast.stmt | None, flow: Flow
    ) -> tuple[list[Splice], str] | None:
        """A name for the value of an expression: itself, or one that a new statement above gives it.

        The caller replaces the expression by the name.
        """
        if isinstance(node, ast.Name):
            return [], node.id
        plain = isinstance(statement, ast.Assign | ast.Return | ast.AugAssign | ast.Expr)
        if statement is None or not plain or _is_conditional(node, statement):
            return None
        name, text = self.local_name(base, flow), self.code(node)
        line = self.above(statement, f"{name} = ({text})" if "\n" in text else f"{name} = {text}")
        return ([line], name) if line else None


def _is_conditional(node: ast.AST, statement: ast.stmt) -> bool:
    """Whether an expression may be evaluated more than once or never."""
    around = [n for n in ast.walk(statement) if isinstance(n, _CONDITIONAL)]
    return any(inner is node for outer in around for inner in ast.walk(outer))


def _is_atom(text: str) -> bool:
    """Whether code can stand anywhere without parentheses."""
    return isinstance(ast.parse(f"({text})", mode="eval").body, _ATOMS)


def _stands_alone(place: Place) -> bool:
    """Whether a sum or product needs no parentheses there: as an argument, a value, or a term of a sum."""
    parent = place.parent
    if isinstance(parent, ast.Call):
        return place.field == "args"
    if isinstance(parent, ast.BinOp):
        return isinstance(parent.op, ast.Add)
    return isinstance(parent, ast.keyword | ast.Assign | ast.AugAssign | ast.Return | ast.Expr)
