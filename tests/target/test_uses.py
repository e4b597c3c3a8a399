"""What a literal is used for decides about its moves: lengths, shares, sizes of layers, things that stay."""

import pytest
import toy

from autoresearch_rl.target.generators.literals import moves
from autoresearch_rl.target.script import Script


def news(source: str, name: str) -> list[str]:
    return [move.new for sites, move in moves(Script(source)) if sites[0].name == name]


def numbers(source: str, name: str) -> list[float]:
    return [float(new) for new in news(source, name)]


@pytest.mark.parametrize(
    "use",
    [
        "a = SHARE < env.progress",
        "a = env.progress >= 1 - SHARE",
        "progress = env.progress\n    a = progress > SHARE",
        "a = 1.0 - SHARE",
        "a = min(1.0, env.progress / max(SHARE, 1e-9))",
        "a = (1 - env.progress + 0.1) / (0.1 if env.progress > SHARE else 1)",
    ],
)
def test_what_progress_is_compared_with_stays_a_share(use: str) -> None:
    source = f"SHARE = 0.5\n\ndef train(env):\n    {use}\n    return a\n"
    found = numbers(source, "SHARE")
    assert len(found) >= 8
    assert all(0 <= new < 1 for new in found)
    assert {0.0, 0.23, 0.75} <= set(found)


def test_what_is_divided_by_is_never_zero() -> None:
    source = "COOLDOWN = 0.5\n\ndef train(env):\n    return (1 - env.progress) / COOLDOWN\n"
    assert 0.0 not in numbers(source, "COOLDOWN")
    assert len(numbers(source, "COOLDOWN")) == 8


@pytest.mark.parametrize(
    ("body", "longer", "shorter"),
    [
        ("env.batches(8, SEQ_LEN)", False, True),  # nobody knows how long rows may be
        ("env.batches(8, seq_len=SEQ_LEN)", False, True),
        ("model(SEQ_LEN); env.batches(8, SEQ_LEN)", True, False),  # a table of positions, for evaluation, too
        ("model(SEQ_LEN); env.batches(8)", True, False),
        ("model(max(SEQ_LEN, env.seq_len)); env.batches(8, SEQ_LEN)", True, True),
        ("model(max(env.seq_len, SEQ_LEN)); env.batches(8)", True, True),
    ],
)
def test_a_length_never_falls_below_what_is_evaluated(body: str, longer: bool, shorter: bool) -> None:
    found = numbers(f"SEQ_LEN = 128\n\ndef train(env):\n    {body}\n", "SEQ_LEN")
    assert any(new > 128 for new in found) == longer
    assert any(new < 128 for new in found) == shorter


def test_literal_rows_only_get_shorter() -> None:
    source = "def train(env):\n    for x, y in env.batches(8, 128):\n        f(x)\n"
    assert max(numbers(source, "train.batches(1)")) < 128
    assert max(numbers(source, "train.batches(0)")) > 8


@pytest.mark.parametrize(
    "line",
    [
        "vocab_size = 256",
        "VOCAB = 256",
        "SEED = 1",
        "eval_iters = 20",
        "log_interval = 10",
        "kernel_size = 3",
        "CPU_LESS_DEPTH = 2",
        "x = f(is_causal=True, dropout_p=0.1)",
        "x = nn.Linear(3, 4).forward(y.repeat_interleave(2, dim=1))",
        "x = nn.Embedding(256, 64)",
        "x = nn.Conv1d(a, b, 4)",
        "x = nn.init.normal_(w, mean=0.0)",
    ],
)
def test_what_the_environment_fixes_stays(line: str) -> None:
    assert list(moves(Script(f"{line}\n\ndef train(env):\n    return env\n"))) == []


def test_the_inner_width_of_a_perceptron_changes_at_both_ends_at_once() -> None:
    for source, site in ((toy.NANOGPT, "MLP.__init__.Linear"), (toy.MINIMAL, "Layer.__init__.Linear")):
        found = [(sites, move.new) for sites, move in moves(Script(source)) if sites[0].name == f"{site}(1)"]
        assert [new for _, new in found] == ["3", "5", "2", "6", "8", "2", "16", "1"]
        assert {tuple(s.name for s in sites) for sites, _ in found} == {(f"{site}(1)", f"{site}(0)")}


def test_other_sizes_of_layers_stay() -> None:
    assert news(toy.NANOGPT, "CausalSelfAttention.__init__.Linear(1)") == []  # three of one width
    gated = "class A:\n    def __init__(self, d):\n        self.up = nn.Linear(d, 2 * d)\n"
    assert list(moves(Script(gated))) == []
    outer = "def train(env):\n    return nn.Sequential(nn.Linear(64, 99), nn.Linear(99, 64))\n"
    assert {sites[0].code for sites, _ in moves(Script(outer))} == {"99"}


def test_the_width_of_a_block_stays_where_it_stands_twice() -> None:
    block = "class Block:\n    def __init__(self, dim):\n        self.x = nn.Linear(dim, dim)\n\n\n"
    once = block + "def train(env):\n    return Block(64)\n"
    assert "128" in news(once, "train.Block(0)")
    twice = block + "def train(env):\n    return Block(64), Block(dim=64)\n"
    assert list(moves(Script(twice))) == []


def test_speed_is_only_switched_on() -> None:
    source = "def train(env):\n    torch.optim.SGD(p, fused={})\n"
    assert news(source.format("True"), "train.SGD(fused)") == []
    assert news(source.format("False"), "train.SGD(fused)") == ["True"]


def test_locals_that_are_bound_once_are_settings() -> None:
    source = """
def train(env):
    lr = 1e-3
    total = 0.0
    step = 0
    best: float = 5.0
    layers = [{"depth": 2, "act": F.gelu}, {"lr": 0.5}]
    for x in env.batches(8):
        scale = 0.5
        total += lr
        best = min(best, total)
    return env
"""
    assert list(Script(source).sites) == [
        "train.lr",
        "train.layers[0][depth]",
        "train.layers[1][lr]",
        "train.batches(0)",
    ]


def test_what_a_method_counts_up_is_no_setting() -> None:
    source = """
class A:
    def __init__(self):
        self.scale = 0.5
        self.seen = 0

    def forward(self, x):
        self.seen += 1
        return x
"""
    assert list(Script(source).sites) == ["A.__init__.self.scale"]
