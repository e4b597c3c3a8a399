"""What can stand in for what: activations, norms, optimizers, initialisations, data types, words.

A choice that crashes is worse than one that is missing. So a member of a family is offered only where it
takes every argument of the call, and a word only where the script itself, or the callee, knows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import libcst as cst

from autoresearch_rl.target.literals.lexicon import Lexicon

_NONE: frozenset[str] = frozenset()
_INPLACE = frozenset({"inplace"})
_NORM = frozenset({"normalized_shape", "eps", "elementwise_affine", "weight", "device", "dtype"})
_RATES = frozenset({"params", "lr", "betas", "eps", "weight_decay", "foreach", "maximize", "capturable"})
_ADAM = _RATES | {"amsgrad", "differentiable", "fused"}


@dataclass(frozen=True, slots=True)
class Family:
    """Attributes that can stand in for each other: `nn.GELU`, `nn.ReLU`, ..."""

    name: str
    modules: tuple[str, ...]  # the name left of the dot
    members: Mapping[str, frozenset[str]]  # and the keywords that each takes
    most: int  # arguments by position that mean the same to all of them
    value: bool = True  # whether it may stand where it is not called

    def fitting(self, call: cst.Call | None) -> tuple[str, ...]:
        """The members that take the arguments of a call; all of them where there is none."""
        if call is None:
            return tuple(self.members) if self.value else ()
        if any(argument.star for argument in call.args):
            return ()
        keywords = {argument.keyword.value for argument in call.args if argument.keyword}
        if len(call.args) - len(keywords) > self.most:
            return ()
        return self.taking(keywords)

    def taking(self, keywords: frozenset[str] | set[str]) -> tuple[str, ...]:
        """The members that take these keywords."""
        return tuple(member for member, known in self.members.items() if keywords <= known)


FAMILIES = (
    Family(
        "activation",
        ("F", "functional"),
        {"gelu": _NONE} | dict.fromkeys(("relu", "silu", "mish", "elu", "leaky_relu", "hardswish"), _INPLACE),
        most=1,
    ),
    Family(
        "activation",
        ("nn",),
        {"GELU": _NONE} | dict.fromkeys(("ReLU", "SiLU", "Mish", "ELU", "LeakyReLU", "Hardswish"), _INPLACE),
        most=0,
    ),
    Family("norm", ("nn",), {"LayerNorm": _NORM | {"bias"}, "RMSNorm": _NORM}, most=3),
    Family("norm", ("F", "functional"), {"layer_norm": _NORM | {"bias"}, "rms_norm": _NORM}, most=3),
    Family(
        "optimizer",
        ("optim",),
        {
            "AdamW": _ADAM,
            "Adam": _ADAM,
            "NAdam": _RATES | {"momentum_decay", "decoupled_weight_decay", "differentiable"},
            "RAdam": _RATES | {"decoupled_weight_decay", "differentiable"},
            "Adamax": _RATES | {"differentiable"},
        },
        most=2,
        value=False,
    ),
    Family(
        "init",
        ("init",),
        {
            "xavier_uniform_": frozenset({"gain"}),
            "xavier_normal_": frozenset({"gain"}),
            "orthogonal_": frozenset({"gain"}),
            "kaiming_uniform_": frozenset({"a", "mode", "nonlinearity"}),
            "kaiming_normal_": frozenset({"a", "mode", "nonlinearity"}),
        },
        most=1,
        value=False,
    ),
)

DTYPES = ("bfloat16", "float16", "float32")
AUTOCAST = ("autocast(dtype)", "autocast(1)")  # where they are a choice: elsewhere, tensors must agree

WORDS = (
    ("gelu", "relu", "silu"),
    ("cosine", "linear", "constant"),
    ("true", "false"),
    ("yes", "no"),
    ("on", "off"),
)

TORCH_ACTIVATIONS = ("gelu", "relu")  # the words that `nn.TransformerEncoderLayer` knows


def family_of(
    node: cst.BaseExpression, call: cst.Call | None = None
) -> tuple[Family, tuple[str, ...]] | None:
    """The family of an attribute and the members that can stand there; None where it has no alternative.

    Args:
        node: what may be a member.
        call: the call that it is the callee of, if any.
    """
    if not isinstance(node, cst.Attribute):
        return None
    module, member = last_name(node.value), node.attr.value
    for family in FAMILIES:
        if module in family.modules and member in family.members:
            fitting = family.fitting(call)
            return (family, fitting) if member in fitting and len(fitting) > 1 else None
    return None


def alternatives(node: cst.BaseExpression, place: str, lexicon: Lexicon) -> tuple[str, ...]:
    """What can stand for a name or a word that is not called, itself included; empty when nothing can.

    Args:
        node: what stands there.
        place: the name of the site, without an ordinal.
        lexicon: what the script says of the name.
    """
    name = leaf(place)
    if (text := text_of(node)) is not None:
        return _words(text, place, lexicon.words(name))
    if isinstance(node, cst.Attribute) and node.attr.value in DTYPES:
        return DTYPES if place.endswith(AUTOCAST) else ()
    if (found := family_of(node)) is None:
        return ()
    # Later it may be called by the name it was given.
    taking = found[0].taking(lexicon.keywords[name.lower()])
    return taking if len(taking) > 1 else ()


def _words(text: str, place: str, compared: tuple[str, ...] | None) -> tuple[str, ...]:
    if place.endswith("Layer(activation)"):
        return TORCH_ACTIVATIONS if text in TORCH_ACTIVATIONS else ()
    if compared is None:  # passed on to who knows whom: common words only
        return next((group for group in WORDS if text in group), ())
    return tuple(dict.fromkeys((*compared, text))) if len(compared) > 1 else ()


def leaf(place: str) -> str:
    """The word in a site's name that says what it is: `lr` of `train.optimizer(lr)` and of `HPARAMS[lr]`."""
    key = re.search(r"[(\[]([^\d\W]\w*)[)\]](\[\d+\])*(#\d+)?$", place)
    plain = re.sub(r"(\[\d+\])*(#\d+)?$", "", place)
    return key[1] if key else plain.rpartition(".")[2]


def text_of(node: cst.BaseExpression) -> str | None:
    """The text of a plain string in single quotes of either kind."""
    if not isinstance(node, cst.SimpleString) or node.prefix or len(node.quote) != 1:
        return None
    return None if "\\" in node.raw_value else node.raw_value


def last_name(node: cst.BaseExpression) -> str | None:
    """What is right of the last dot."""
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else None
