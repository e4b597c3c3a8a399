"""Which integers must divide which, read off differently written scripts, and what that leaves to propose."""

import pytest
import toy

from autoresearch_rl.target.generators.literals import moves
from autoresearch_rl.target.literals.divisors import Divisors
from autoresearch_rl.target.script import Script

TRAIN = "\n\ndef train(env):\n    return env\n"


def divisors(source: str) -> Divisors:
    script = Script(source)
    return Divisors(script.syntax, script.sites)


def news(source: str, name: str) -> list[int]:
    return [int(move.new) for sites, move in moves(Script(source)) if sites[0].name == name]


ATTENTION = """
class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.key = nn.Linear(dim, dim)

    def forward(self, x):
        b, t, c = x.shape
        {}


def train(env):
    return Attention(WIDTH, HEADS)
"""

WRITTEN = {
    "floor": "q = self.key(x).view(b, t, self.heads, c // self.heads)",
    "minus one": "q = self.key(x).view(b, t, self.heads, -1)",
    "tuple": "q = self.key(x).reshape((b, t, self.heads, -1))",
    "unflatten": "q = self.key(x).unflatten(-1, (self.heads, -1))",
    "via a name": "k = self.key(x)\n        q = k.view(b, t, self.heads, -1)",
    "remainder": "assert c % self.heads == 0\n        self.key(x)",
    "error": "if c % self.heads != 0:\n            raise ValueError\n        self.key(x)",
    "whole number": "q = self.key(x).view(b, t, self.heads, int(c / self.heads))",
    "attention": "return nn.MultiheadAttention(WIDTH, HEADS)(x, x, x)",
    "by keyword": "return nn.MultiheadAttention(num_heads=self.heads, embed_dim=WIDTH)(x, x, x)",
    "split": "q, k, v = self.qkv(x).split(WIDTH, dim=2)\n        return q.view(b, t, self.heads, -1)",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_heads_divide_the_width_however_it_is_written(written: str) -> None:
    source = "from torch import nn\n\nWIDTH = 96\nHEADS = 6\n" + ATTENTION.format(WRITTEN[written])
    found = divisors(source)
    assert found.keep({"HEADS": 8})
    assert found.keep({"WIDTH": 192})
    assert found.keep({"WIDTH": 80, "HEADS": 8})
    assert not found.keep({"HEADS": 5})
    assert not found.keep({"WIDTH": 100})
    assert set(news(source, "HEADS")) == {1, 2, 3, 4, 8, 12, 16, 24}
    assert all(new % 24 == 0 for new in news(source, "WIDTH"))  # of the heads, and of 8 as before
    assert {48, 72, 120, 192} <= set(news(source, "WIDTH"))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (toy.STDLIB, ("WIDTH", "HEADS")),
        (toy.NANOGPT, ("GPTConfig.n_embd", "GPTConfig.n_head")),
        (toy.MINIMAL, ("dict(dim)", "dict(heads)")),
    ],
    ids=["stdlib", "nanogpt", "minimal"],
)
def test_every_head_has_four_channels_or_more(source: str, names: tuple[str, str]) -> None:
    width, heads = (int(Script(source).sites[name].code) for name in names)
    assert set(news(source, names[1])) == {n for n in (1, 2, 8, 16, 32) if width // n >= 4}
    for new in news(source, names[0]):
        assert new % heads == 0
        assert new // heads >= 4
        assert new % 8 == 0


def test_heads_of_keys_divide_heads_of_queries() -> None:
    source = "N_HEAD = 8\nN_KV_HEAD = 2\nx = f(N_HEAD, N_KV_HEAD)" + TRAIN
    assert news(source, "N_KV_HEAD") == [1, 4, 8]
    assert all(new % 2 == 0 for new in news(source, "N_HEAD"))


def test_grouped_attention_says_which_heads_divide_which() -> None:
    source = (
        """
CONFIG = {"queries": 6, "shared": 3}


class A(nn.Module):
    def forward(self, x):
        q = self.q(x).view(b, t, CONFIG["queries"], 8).transpose(1, 2)
        k = self.norm(self.k(x).reshape((b, t, CONFIG["shared"], 8))).transpose(1, 2)
        return F.scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=True)
"""
        + TRAIN
    )
    assert news(source, "CONFIG[shared]") == [1, 2, 6]
    assert all(new % 3 == 0 for new in news(source, "CONFIG[queries]"))


def test_a_literal_divides_too() -> None:
    source = "HEAD_DIM = 24\nhalf = HEAD_DIM // 2" + TRAIN
    assert all(new % 2 == 0 for new in news(source, "HEAD_DIM"))
    rotary = "HEAD_DIM = 6\nsteps = torch.arange(0, HEAD_DIM, 2)" + TRAIN
    assert set(news(rotary, "HEAD_DIM")) == {2, 4, 8, 12, 24, 48}


def test_a_stated_product_is_kept() -> None:
    source = "WIDTH = 64\nHEADS = 4\nHEAD_DIM = 16\nassert WIDTH == HEADS * HEAD_DIM" + TRAIN
    assert news(source, "HEADS") == news(source, "HEAD_DIM") == news(source, "WIDTH") == []
    assert divisors(source).keep({"HEADS": 8, "HEAD_DIM": 8})
    assert divisors(source).keep({"HEADS": 8, "WIDTH": 128})


def test_what_a_divisor_divides_may_be_unknown() -> None:
    source = "HEADS = 12\n\ndef train(env):\n    return env.width // HEADS\n"
    assert news(source, "HEADS") == [3, 6, 24, 48]


def test_what_did_not_hold_need_not_hold() -> None:
    source = "WIDTH = 100\nPARTS = 3\nsize = WIDTH // PARTS" + TRAIN
    assert divisors(source).keep({"PARTS": 7})
    assert divisors(source).keep({"WIDTH": 50})


def test_loops_are_free() -> None:
    source = (
        "EVERY = 4\n\ndef train(env):\n    for i in range(9):\n        if i % EVERY == 0:\n            f(i)\n"
    )
    assert set(news(source, "EVERY")) == {3, 5, 2, 6, 8, 16, 1}


def test_both_sides_of_a_condition_count() -> None:
    source = (
        "WIDTH = 512\nHEAD = 64\n\ndef train(env):\n    less = 4 if env.small else 1\n"
        "    width, head = WIDTH // less, HEAD // less\n    return width // head, torch.arange(0, head, 2)\n"
    )
    found = divisors(source)
    assert found.keep({"HEAD": 32})
    assert not found.keep({"HEAD": 4})  # a fourth of it is odd
    assert not found.keep({"WIDTH": 528})


@pytest.mark.parametrize(
    "source",
    [
        "A = 2 ** 9999999999\nB = A // 3",
        "A = 5\nB = A // 0",
        "A = B\nB = A\nC = A // B",
        "A = 4\nA += 1\nB = A // 2",
        "def f(a, b=2, *c, d=3, **e):\n    return a // b % d\nx = f(*y)",
        "class A:\n    a: int\n    b = a, c = 3, 4\n    d = b // c",
        "x[1:2] // y[...]\n(a, b), c = d, e = 3\nz = a // b",
        "A = -8\nB = A // 4\nC = 7.5 // A",
    ],
)
def test_odd_scripts_are_read_without_a_fuss(source: str) -> None:
    list(moves(Script(source + TRAIN)))
