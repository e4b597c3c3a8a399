"""What a number of a script is used for, by its name and by where it stands: which moves make sense.

A share of the budget stays between 0 and 1, a table of positions may grow but not shrink, and the size of a
layer changes nothing alone but an error.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from autoresearch_rl.target.literals.choices import leaf
from autoresearch_rl.target.literals.definitions import last_name
from autoresearch_rl.target.literals.sites import LAYER, Site
from autoresearch_rl.target.patterns import Source


class Use(StrEnum):
    """What a number is."""

    SCALE = "scale"  # a positive quantity: what counts is the factor
    MOMENTUM = "momentum"  # what counts is the distance to 1
    SHARE = "share"  # of progress, or of something else: between 0 and 1
    CHANCE = "chance"  # of dropping something
    EPSILON = "epsilon"  # matters only when it is far off
    LONGER = "longer"  # a length that may only grow
    SHORTER = "shorter"  # a length that may only shrink
    FIXED = "fixed"  # no value but this makes sense here


_EPSILON = re.compile(r"eps|epsilon|\w+_eps", re.IGNORECASE)
_CHANCE = re.compile(r"\w*drop\w*|p|label_smoothing", re.IGNORECASE)
_MOMENTUM = re.compile(r"\w*(beta|momentum)s?_?\d?\w*|ema\w*|\w*_ema|gamma", re.IGNORECASE)
_SHARE = re.compile(r"\w*(warm|cool|anneal|frac|ratio|share|portion|percent|pct)\w*", re.IGNORECASE)
_SCALE = re.compile(r"(\w*_)?(lr|rates?|std|scale|gain|clip|cap|temperature|decay|wd|norm)\d?", re.IGNORECASE)
_LENGTH = re.compile(
    r"block_size|(max_?)?(seq|sequence|context|ctx|position)s?(_?(len|length|size))?|max_?len(gth)?|n_ctx"
    r"|n_positions|(max|num)_(position|positions|position_embeddings|tokens_per_row)",
    re.IGNORECASE,
)
_WIDTH = re.compile(r"\w*(dim|width|embd|embed|hidden|channels|features|d_model)\w*|size", re.IGNORECASE)
_LAYER_SIZE = re.compile(
    rf"(.*\.)?(?P<layer>{LAYER.pattern})\((0|1|(in|out)_(features|channels)|embed_dim|embedding_dim"
    r"|num_embeddings|normalized_shape|input_size|hidden_size)\)(#\d+)?|(.*\.)?Conv\dd\(\w+\)(#\d+)?"
)
_ARGUMENT = re.compile(r"(?:.*\.)?(\w+)\((\w+)\)(?:\[\d+\])*(?:#\d+)?")
_ROWS = re.compile(r"(.*\.)?batches\((1|seq_len)\)(#\d+)?")
_PARAMETERS = {
    "Dropout": ("p",),
    "optimizer": ("params", "lr"),
    "norm": ("normalized_shape", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "clip_grad_norm_": ("parameters", "max_norm"),
    "normal_": ("tensor", "mean", "std"),
    "trunc_normal_": ("tensor", "mean", "std"),
    "batches": ("batch_size", "seq_len"),
    "MultiheadAttention": ("embed_dim", "num_heads", "dropout"),
}
"""What the arguments of torch's functions, and of the environment's, are called."""


class Uses:
    """The uses of a script's numbers."""

    def __init__(self, source: Source, numbers: list[Site]) -> None:
        self._parameters = {**_PARAMETERS, **_own_parameters(source)}
        self._between = {name for name in _between_zero_and_one(source) if name}
        self._denominators = {name for name in _denominators(source) if name}
        self._lengths = _Lengths(source)
        self._widths = Counter(site.code for site in numbers if self._is_width(site))

    def word(self, site: Site) -> str:
        """The name that says what a number is: of a constant, a key, or the parameter that takes it."""
        found = _ARGUMENT.fullmatch(site.name)
        if found is None or not found[2].isdecimal():
            return leaf(site.name)
        names = self._parameters.get(found[1], ())
        return names[int(found[2])] if int(found[2]) < len(names) else ""

    def divides(self, site: Site) -> bool:
        """Whether something is divided by the number, so that it cannot be zero."""
        return self.word(site) in self._denominators

    def of(self, site: Site) -> Use:
        """The use of a number."""
        word = self.word(site)
        return self._of_integer(site, word) if site.kind == "int" else self._of_float(site, word)

    def _of_integer(self, site: Site, word: str) -> Use:
        layer = _LAYER_SIZE.fullmatch(site.name)
        if layer and (layer["layer"], word) != ("MultiheadAttention", "num_heads"):
            return Use.FIXED
        if word == "mean" or _EPSILON.fullmatch(word) or (_SCALE.fullmatch(word) and int(site.code) == 0):
            return Use.FIXED  # zeros written as integers where a float is meant
        if self._is_width(site) and self._widths[site.code] > 1:
            return Use.FIXED  # the same width stands elsewhere, too
        if _ROWS.fullmatch(site.name):
            return Use.SHORTER
        return self._lengths.use(word) if _LENGTH.fullmatch(word) else Use.SCALE

    def _is_width(self, site: Site) -> bool:
        """Whether a literal argument is the width of something."""
        if site.kind != "int" or not _ARGUMENT.fullmatch(site.name):
            return False
        return bool(_LAYER_SIZE.fullmatch(site.name) or _WIDTH.fullmatch(self.word(site)))

    def _of_float(self, site: Site, word: str) -> Use:
        value, between = float(site.code), word in self._between
        if word == "mean":
            return Use.FIXED
        for pattern, use in ((_EPSILON, Use.EPSILON), (_CHANCE, Use.CHANCE), (_MOMENTUM, Use.MOMENTUM)):
            if pattern.fullmatch(word):
                return use if 0 <= value < 1 else Use.SCALE
        if (between and 0 <= value <= 1) or (_SHARE.fullmatch(word) and 0 <= value < 1):
            return Use.SHARE
        if _SCALE.fullmatch(word):
            return Use.SCALE
        return Use.MOMENTUM if 0.5 < value < 1 else Use.SCALE


class _Lengths:
    """Which lengths rows of training have, and which are those of tables."""

    def __init__(self, source: Source) -> None:
        self._free: set[str] = set()  # no shorter than what the evaluation needs, whatever they are
        self._trained: set[str] = set()
        self._loads: Counter[str] = Counter()
        for place in source.places(ast.Call):
            assert isinstance(place.node, ast.Call)
            self._note(place.node)
        for kind in (ast.Name, ast.Attribute, ast.Subscript):
            for place in source.places(kind):
                if isinstance(getattr(place.node, "ctx", None), ast.Load) and not _is_evaluated(place.node):
                    self._loads[_name(place.node)] += 1

    def use(self, word: str) -> Use:
        """Which way a length may go."""
        if word in self._free:
            return Use.SCALE
        # Rows alone may be short, but no position table tells how long they may be. One number that is both
        # must not fall below the rows that are evaluated.
        only_rows = word in self._trained and self._loads[word] <= 1
        return Use.SHORTER if only_rows else Use.LONGER

    def _note(self, call: ast.Call) -> None:
        name = last_name(call.func)
        if name == "max" and any(_is_evaluated(a) for a in call.args):
            self._free |= {_name(a) for a in call.args if not _is_evaluated(a)}
        elif name == "batches":
            lengths = [*call.args[1:], *(k.value for k in call.keywords if k.arg == "seq_len")]
            self._trained |= {_name(node) for length in lengths for node in ast.walk(length)}


def _is_evaluated(node: ast.AST) -> bool:
    """Whether it is `env.seq_len`."""
    return isinstance(node, ast.Attribute) and node.attr == "seq_len" and last_name(node.value) == "env"


def _between_zero_and_one(source: Source) -> Iterator[str]:
    """Names that progress is compared with or divided by, or that are taken from 1."""
    for place in source.places(ast.Compare):
        assert isinstance(place.node, ast.Compare)
        sides = [place.node.left, *place.node.comparators]
        if any(_name(side) == "progress" for side in sides):
            yield from map(_name, sides)
    for place in source.places(ast.BinOp):
        node = place.node
        assert isinstance(node, ast.BinOp)
        if isinstance(node.op, ast.Sub) and isinstance(node.left, ast.Constant) and node.left.value == 1:
            yield _name(node.right)
        elif isinstance(node.op, ast.Div) and any(_name(part) == "progress" for part in ast.walk(node.left)):
            guarded = isinstance(node.right, ast.Call) and last_name(node.right.func) == "max"
            yield from map(_name, node.right.args if guarded else [node.right])  # type: ignore[attr-defined]


def _denominators(source: Source) -> Iterator[str]:
    for place in source.places(ast.BinOp):
        assert isinstance(place.node, ast.BinOp)
        if isinstance(place.node.op, ast.Div | ast.FloorDiv | ast.Mod):
            yield _name(place.node.right)


def _own_parameters(source: Source) -> dict[str, tuple[str, ...]]:
    """The parameters of the script's own functions and classes, by their names."""
    found = {}
    for place in source.places(ast.FunctionDef):
        node = place.node
        assert isinstance(node, ast.FunctionDef)
        names = tuple(argument.arg for argument in node.args.posonlyargs + node.args.args)
        if node.name == "__init__" and place.scope:
            found[place.scope[-1]] = names[1:]
        elif not place.scope:
            found[node.name] = names
    return found


def _name(node: ast.AST) -> str:
    """The last name of an expression, or its key."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return last_name(node)
