"""Mutations of the grammar on differently written scripts: they apply, invert, run, and make sense."""

import random
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import torch
import toy
from torch import nn

from autoresearch_rl.records import Candidate, Edit
from autoresearch_rl.target.blocks import locate
from autoresearch_rl.target.edits import apply, splices, validate
from autoresearch_rl.target.generators.grammar import Grammar
from autoresearch_rl.target.generators.grammar.flow import Flow, read_flows
from autoresearch_rl.target.generators.grammar.layers import Modules
from autoresearch_rl.target.generators.grammar.tensors import Kind
from autoresearch_rl.target.normal import spliced
from autoresearch_rl.target.patterns import Source
from autoresearch_rl.target.script import Script

FOLDER = Path(__file__).parent / "scripts"
SHRUNK = {
    "\nDEPTH = 8": "\nDEPTH = 4",
    "\nWIDTH = 512": "\nWIDTH = 128",
    "HEAD_WIDTH = 128": "HEAD_WIDTH = 32",
    "VALUE_GATE = 32": "VALUE_GATE = 8",
    "\nWINDOW = 512": "\nWINDOW = 8",
    "CPU_LESS_BATCH = 128": "CPU_LESS_BATCH = 4096",
    "dim: int = 96": "dim: int = 32",
    "n_layers: int = 3": "n_layers: int = 2",
    "multiple_of: int = 32": "multiple_of: int = 8",
    "D, H, L = 64": "D, H, L = 32",
    "BATCH, CONTEXT = 2e-3, 8, 64": "BATCH, CONTEXT = 2e-3, 8, 16",
    "width = 64": "width = 32",
    "length = 64": "length = 16",
}


def shrunk(source: str) -> str:
    for large, little in SHRUNK.items():
        source = source.replace(large, little)
    return source


SCRIPTS = {
    **toy.SCRIPTS,
    "nanochat": shrunk((toy.TASKS / "nanochat" / "train.py").read_text(encoding="utf-8")),
    **{
        name: shrunk((FOLDER / f"{name}_style.txt").read_text(encoding="utf-8"))
        for name in ("llama", "sequential", "recurrent")
    },
}
LEAST = {
    "stdlib": 100,
    "nanogpt": 90,
    "minimal": 90,
    "nanochat": 60,
    "llama": 90,
    "sequential": 30,
    "recurrent": 70,
}
TRAIN = """

def train(env):
    model = GPT(9, 8)
    torch.optim.SGD(model.parameters(), 0.1)
    return model
"""


@cache
def candidates(script: str) -> list[Candidate]:
    return list(Grammar().propose(Script(SCRIPTS[script])))


def proposed(source: str) -> list[str]:
    """What is proposed for a script, as lines that are new."""
    script = Script(source)
    return [news(script, candidate) for candidate in Grammar().propose(script)]


def result(script: Script, candidate: Candidate) -> str:
    """What `apply` gives, without its checks, which take most of its time."""
    return spliced(script.source, splices(script, candidate.edit))


def news(script: Script, candidate: Candidate) -> str:
    old = script.source.split("\n")
    lines = result(script, candidate).split("\n")
    return "\n".join(line.strip() for line in lines if line not in old)


@pytest.mark.parametrize("name", SCRIPTS)
def test_there_are_many_and_no_two_give_the_same_script(name: str) -> None:
    script = Script(SCRIPTS[name])
    found = candidates(name)
    assert len(found) >= LEAST[name]
    results = [script.normal.after(splices(script, candidate.edit)) for candidate in found]
    assert None not in results
    assert len({script.normal.id, *results}) == len(found) + 1
    assert len({candidate.topic for candidate in found}) == len(found)
    assert all(len(candidate.topic) <= 84 and re.match(r"[a-z]", candidate.topic) for candidate in found)
    assert {(c.generator, c.direction, c.magnitude) for c in found} == {("grammar", 0, 1.0)}


@pytest.mark.parametrize("name", SCRIPTS)
def test_after_any_of_them_there_are_others_and_all_change_something(name: str) -> None:
    found, shared = candidates(name), ("swap key as value", "swap query as key")
    for candidate in drawn(found, 4) + [c for c in found if c.topic.startswith(shared)]:
        script = Script(result(Script(SCRIPTS[name]), candidate))
        others = list(Grammar().propose(script))
        assert others
        assert all(result(script, other) != script.source for other in others), candidate.topic


def test_a_key_that_is_the_value_already_is_not_made_it_again() -> None:
    (swap,) = (c for c in candidates("stdlib") if c.topic.startswith("swap key as value"))
    script = Script(result(Script(toy.STDLIB), swap))
    assert "q, k, k," in script.source
    assert not [c for c in Grammar().propose(script) if "key as value" in c.topic]


@pytest.mark.parametrize("name", SCRIPTS)
def test_they_apply_and_invert_whatever_the_line_ends(name: str) -> None:
    source = SCRIPTS[name]
    source = {"nanogpt": source.replace("\n", "\r\n"), "minimal": source[:-1]}.get(name, source)
    script = Script(source)
    found = list(Grammar().propose(script))
    for candidate in found:
        after = exchanged(source, candidate.edit)
        assert exchanged(after, candidate.edit.inverse) == source
        assert after.count("\r\n") == (after.count("\n") if "\r" in source else 0)
    for candidate in drawn(found, 3):  # the whole of it takes its time
        changed = apply(script, candidate.edit)
        assert validate(changed.source) is None, candidate.topic
        assert apply(changed, candidate.edit.inverse).source == source


def exchanged(text: str, edit: Edit) -> str:
    """The lines of an edit, found by what they read, exchanged."""
    return spliced(text, [(*locate(text, change.old), change.new) for change in edit.changes])


def drawn(found: list[Candidate], size: int) -> list[Candidate]:
    """Of each operator in turn, so that no rule is left out."""
    dice = random.Random(1)
    queues: dict[str, list[Candidate]] = {}
    for candidate in dice.sample(found, len(found)):
        queues.setdefault(candidate.operator, []).append(candidate)
    rounds = [queue[i] for i in range(size) for queue in queues.values() if i < len(queue)]
    return rounds[:size]


@pytest.mark.parametrize("name", SCRIPTS)
def test_they_train_stay_causal_and_are_served_as_trained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "STEPS", 2)
    for candidate in drawn(candidates(name), 10):
        check_runs(result(Script(SCRIPTS[name]), candidate))


def check_runs(source: str) -> None:
    model, losses = toy.train(source)
    assert len(losses) == toy.STEPS
    assert all(0 < loss < 50 for loss in losses)
    idx = torch.randint(toy.VOCAB, (2, toy.LENGTH), generator=torch.Generator().manual_seed(2))
    assert torch.equal(toy.logits(toy.served(source, toy.saved(model)), idx), toy.logits(model, idx))
    check_causal(model, idx)


def check_causal(model: nn.Module, idx: torch.Tensor) -> None:
    with torch.no_grad():
        for parameter in model.parameters():  # away from zeros, which would hide a leak
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    other = idx.clone()
    other[:, 9:] = (other[:, 9:] + 7) % toy.VOCAB
    a, b = toy.logits(model, idx), toy.logits(model, other)
    torch.testing.assert_close(a[:, :9], b[:, :9], rtol=1e-4, atol=1e-4)
    assert (a[:, 9:] - b[:, 9:]).abs().max() > 1e-3
    torch.testing.assert_close(toy.logits(model, idx[1:2]), a[1:2], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["stdlib", "nanogpt"])
def test_there_are_many(name: str) -> None:
    assert len(list(Grammar().propose(Script(SCRIPTS[name])))) > 90


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_that_training_rests_on_is_touched(name: str) -> None:
    script = Script(SCRIPTS[name])
    wanted = (
        "zero_grad",
        ".backward(",
        ".step()",
        "env.batches(",
        "env.watch(",
        "env.report(",
        "cross_entropy(",
    )
    counts = {word: script.source.count(word) for word in wanted}
    for candidate in candidates(name):
        after = result(script, candidate)
        assert {word: after.count(word) for word in wanted} == counts


def test_what_is_known_to_help_is_among_them() -> None:
    news = "\n\n".join(proposed(toy.STDLIB))
    for wanted in (
        "F.relu(self.up(self.norm2(x))).square()",
        "F.gelu(self.up(given)) * self.up_gate(given)",
        "F.scaled_dot_product_attention(F.rms_norm(q, q.shape[-1:]), F.rms_norm(k, k.shape[-1:]), v",
        "self.dropout(self.attention_norm(self.attention(self.norm1(x))))",
        "return x + self.dropout(self.attention(self.norm1(x))) + self.dropout(self.down(",
        "x = x + self.first_gain * first",
        "return 1 - (progress - 1 + COOLDOWN) / COOLDOWN",
        "self.out(y.transpose(1, 2).reshape(b, t, WIDTH) * 2 * torch.sigmoid(self.mixed_gate(x)))",
    ):
        assert wanted in news


def test_no_function_is_wrapped_in_its_like() -> None:
    for name in SCRIPTS:
        script = Script(SCRIPTS[name])
        for candidate in candidates(name):
            lines = news(script, candidate)
            assert not re.search(r"(norm\w*|relu|silu|gelu|tanh)\((self\.|F\.)?\1\(", lines), lines
            assert not re.search(r"square\(\)\.square", lines), lines


HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\n"
MODEL = (
    HEAD
    + """class Block(nn.Module):
    def __init__(self, d, t):
        super().__init__()
        self.up = nn.Linear(d, 4 * d)
        self.time = nn.Linear(t, t)
        self.ln = nn.LayerNorm(d)

    def forward(self, x):
        u = self.up(self.ln(x))
        turned = x.transpose(1, 2)
        mixed = self.time(turned).transpose(1, 2)
        a, b = u.chunk(2, dim=-1)
        return x, F.silu(a) * b, mixed


class GPT(nn.Module):
    def __init__(self, n, d):
        super().__init__()
        self.embed = nn.Embedding(n, d)
        self.blocks = nn.ModuleList([Block(d, 8) for _ in range(2)])
        self.head = nn.Linear(d, n)

    def forward(self, idx):
        x = self.embed(idx)
        logits = self.head(x)
        return torch.tanh(logits)
"""
)


def flow(source: str, name: str) -> Flow:
    return next(flow for flow in read_flows(Modules(Source(source))) if flow.module.name == name)


def test_types_know_widths_and_never_take_time_for_channels() -> None:
    block = flow(MODEL, "Block")
    kinds = {Source(MODEL).code(node): tensor for node, tensor in block.types.items()}
    assert (kinds["self.up(self.ln(x))"].kind, kinds["self.up(self.ln(x))"].width) == (Kind.HIDDEN, "4 * d")
    assert (kinds["self.ln(x)"].kind, kinds["self.ln(x)"].width) == (Kind.NORMED, "d")
    assert kinds["turned"].kind is Kind.TURNED
    assert kinds["self.time(turned)"].kind is Kind.TURNED
    assert "mixed" not in kinds or kinds["mixed"].kind is Kind.TURNED
    assert (kinds["a"].kind, kinds["a"].width) == (Kind.HIDDEN, None)
    assert kinds["F.silu(a) * b"].kind is Kind.ACTIVE


def test_logits_are_only_scaled() -> None:
    changed = [line for new in proposed(MODEL + TRAIN) for line in new.split("\n") if "head(x)" in line]
    assert changed == ["logits = self.head(x) * (1 + self.logit_gain)"]


def test_new_weights_come_to_the_group_that_the_script_has_for_their_like() -> None:
    for new in proposed(SCRIPTS["nanochat"]):
        for name in re.findall(r"self\.(\w+) = nn\.Parameter", new):
            assert "gate" in name
            assert "value_embedding" not in name


def test_in_low_precision_no_vector_of_weights_changes_the_type() -> None:
    low = toy.STDLIB.replace("x = self.token(idx)", "x = self.token(idx).to(torch.bfloat16)")
    scaled = [new for new in proposed(low) if "nn.Parameter(torch.zeros(WIDTH))" in new]
    assert scaled
    assert all(".type_as(" in new for new in scaled)


def test_weights_that_no_optimizer_would_see_are_not_proposed() -> None:
    partly = toy.STDLIB.replace("model.parameters(), lr", "model.blocks.parameters(), lr")
    registered = [new for new in proposed(partly) if re.search(r"self\.\w+ = nn", new)]
    assert registered
    assert not any("self.first_gain" in new or "self.token_gain" in new for new in registered)


@pytest.mark.parametrize(
    "source",
    [
        "def train(env):\n    return None\n",
        "from torch import nn\n\n\nclass A(nn.Module):\n    pass\n\n\ndef train(env):\n    return A()\n",
        "import torch\nclass A(torch.nn.Module):\n\tdef forward(self): return 1\ndef train(e): return A()\n",
    ],
)
def test_scripts_without_anything_to_change_have_no_candidates(source: str) -> None:
    assert proposed(source) == []


def test_a_dropout_of_zero_is_not_left_out() -> None:
    gone = [c for c in Grammar().propose(Script(toy.STDLIB)) if c.topic.startswith("delete@")]
    assert Counter("self.dropout(self.down" in c.topic and c.odds > -1 for c in gone)[True] == 0
    some = toy.STDLIB.replace("DROPOUT = 0.0", "DROPOUT = 0.1")
    assert len(list(Grammar().propose(Script(some)))) == len(list(Grammar().propose(Script(toy.STDLIB)))) + 2
