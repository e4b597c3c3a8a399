"""What can stand in for what: members that take the call's arguments, words that the script knows."""

import inspect

import pytest
import torch

from autoresearch_rl.target.literals.choices import FAMILIES
from autoresearch_rl.target.script import Script


def choices(source: str) -> dict[str, tuple[str, ...]]:
    return {site.name: site.choices for site in Script(source).sites.values() if site.kind == "choice"}


@pytest.mark.parametrize(
    ("call", "others"),
    [
        ("F.gelu(x)", "F.relu F.silu F.mish F.elu F.leaky_relu F.hardswish"),
        ("F.relu(x, inplace=True)", "F.silu F.mish F.elu F.leaky_relu F.hardswish"),
        ("F.gelu(x, approximate='tanh')", ""),
        ("F.leaky_relu(x, 0.1)", ""),
        ("nn.SiLU()", "nn.GELU nn.ReLU nn.Mish nn.ELU nn.LeakyReLU nn.Hardswish"),
        ("nn.ReLU(True)", ""),
        ("nn.LayerNorm(8, eps=1e-6)", "nn.RMSNorm"),
        ("nn.LayerNorm(8, bias=False)", ""),
        ("nn.RMSNorm(8, elementwise_affine=False)", "nn.LayerNorm"),
        ("F.rms_norm(x, (8,))", "F.layer_norm"),
        ("F.layer_norm(x, (8,), w, b, 1e-5)", ""),
        ("optim.AdamW(p, lr=r)", "optim.Adam optim.NAdam optim.RAdam optim.Adamax"),
        ("optim.AdamW(p, lr=r, fused=True)", "optim.Adam"),
        ("optim.AdamW(p, **more)", ""),
        ("optim.AdamW(p, r, (a, b))", ""),
        ("optim.SGD(p, lr=r, momentum=m)", ""),
        ("optim.NAdam(p, momentum_decay=m)", ""),
        ("nn.init.xavier_uniform_(w, gain=g)", "nn.init.xavier_normal_ nn.init.orthogonal_"),
        ("nn.init.kaiming_normal_(w, mode=m)", "nn.init.kaiming_uniform_"),
        ("torch.autocast(kind, dtype=torch.bfloat16)", "torch.float16 torch.float32"),
        ("torch.zeros(n, dtype=torch.bfloat16)", ""),
        ("x.to(dtype=torch.bfloat16)", ""),
        ("nn.TransformerEncoderLayer(d, h, activation='gelu')", "'relu'"),
        ("nn.TransformerEncoderLayer(d, h, activation='tanh')", ""),
    ],
)
def test_a_choice_takes_the_arguments_of_the_call(call: str, others: str) -> None:
    sites = Script(f"def train(env):\n    return {call}\n").sites.values()
    found = [choice for site in sites for choice in site.choices if choice != site.code]
    assert sorted(found) == sorted(others.split())


def test_the_members_exist_and_take_what_they_are_said_to_take() -> None:
    modules = {"F": torch.nn.functional, "nn": torch.nn, "optim": torch.optim, "init": torch.nn.init}
    for family in FAMILIES:
        module = modules[family.modules[0]]
        for member, keywords in family.members.items():
            if member == "gelu":  # without a signature
                continue
            taken = set(inspect.signature(getattr(module, member)).parameters)
            common = {
                "weight",
                "normalized_shape",
                "device",
                "dtype",
                "elementwise_affine",
            }  # one family, two forms
            assert keywords - taken <= common, member


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('if ACT == "gelu":\n    f()\nelif ACT == "tanh":\n    g()', ('"gelu"', '"tanh"')),
        ('x = f() if ACT in ("gelu", "selu") else g()', ('"gelu"', '"selu"')),
        ('x = {"gelu": f, "swish": g}[ACT]', ('"gelu"', '"swish"')),
        ('TABLE = {"gelu": f, "swish": g}\nx = TABLE[ACT]', ('"gelu"', '"swish"')),
        (
            'match ACT:\n    case "gelu":\n        f()\n    case "a" | "b":\n        g()',
            ('"gelu"', '"a"', '"b"'),
        ),
        ('x = f() if ACT == "gelu" else g()', None),  # who knows what else there is
        ("x = getattr(F, ACT)(y)", ('"gelu"', '"relu"', '"silu"')),
    ],
)
def test_words_are_those_that_the_script_knows(source: str, expected: tuple[str, ...] | None) -> None:
    assert choices(f'ACT = "gelu"\n{source}\n').get("ACT") == expected


def test_a_norm_that_is_called_under_another_name_takes_that_calls_arguments() -> None:
    assert choices("NORM = nn.LayerNorm\nx = NORM(8)\n")["NORM"] == ("nn.LayerNorm", "nn.RMSNorm")
    assert choices("NORM = nn.LayerNorm\nx = NORM(8, bias=False)\n") == {}


def test_what_a_word_decides_about_is_no_choice() -> None:
    source = 'def f(act):\n    if act == "gelu":\n        return nn.GELU()\n    return nn.ReLU()\n'
    assert list(choices(source)) == ["f.activation"]
    assert choices('def f(act):\n    return nn.GELU() if act == "gelu" else nn.ReLU()\n') == {}
    assert choices("def f(x):\n    return {'a': F.gelu, 'b': F.relu}[x]\n") == {}


def test_a_site_keeps_its_name_when_its_choice_changes() -> None:
    source = "def train(env):\n    return torch.optim.AdamW(p, lr=0.1, betas=(0.9, 0.95))\n"
    other = source.replace("AdamW", "NAdam")
    assert Script(source).sites.keys() == Script(other).sites.keys()
