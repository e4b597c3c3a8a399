"""The shape check in real sandboxes: passes what trains, refuses what cannot be scored, comes to no harm."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_rl.environment import shapes
from autoresearch_rl.environment.frozen import FrozenEnvironment, open_environment
from autoresearch_rl.environment.task import TASKS, load_task
from autoresearch_rl.environment.zygote import UNTRUSTED
from autoresearch_rl.records import OutcomeStatus
from autoresearch_rl.target.edits import apply
from autoresearch_rl.target.generators.recipes import Recipes
from autoresearch_rl.target.script import Script
from tiny import BIGRAM, make_task

HEAD = "import os, sys, time\nimport numpy as np\nimport torch\nfrom torch import nn\n"
STYLES = Path(__file__).parents[1] / "target" / "scripts"
MICRO = (TASKS / "micro" / "train.py").read_text()
GOOD = {
    "bigram": BIGRAM,
    **{name: (TASKS / name / "train.py").read_text() for name in ("micro", "stdlib", "nanochat")},
    **{name: (STYLES / f"{name}_style.txt").read_text() for name in ("nanogpt", "minimal")},
}


def script(body: str) -> str:
    """A script whose `train` is `body`, and then returns a bigram model that has learnt nothing."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"{HEAD}def train(env):\n{lines}    return nn.Embedding(env.vocab_size, env.vocab_size)\n"


def micro(before: str, after: str) -> str:
    assert before in MICRO
    return MICRO.replace(before, after)


# name -> the script, and what the reason must hold; a trial refuses each of them, too
BAD = {
    "heads": (micro("HEADS = 4", "HEADS = 3"), "RuntimeError: shape"),
    "widths": (micro("nn.Linear(MLP_RATIO * WIDTH", "nn.Linear(2 * WIDTH"), "cannot be multiplied"),
    "not causal": (micro("is_causal=True", "is_causal=False"), "looks ahead"),
    "mixed rows": (micro("self.head(self.norm(x))", "self.head(self.norm(x - x.mean(0)))"), "mixes rows"),
    "no module": (script("return None"), "returned NoneType; expected a torch.nn.Module"),
    "exit": (script("sys.exit(3)"), "SystemExit: 3"),
    "sudden exit": (script("os._exit(0)"), "ended before it returned a model (exit code 0)"),
    "fault": (script("import ctypes; ctypes.string_at(0)"), "SIGSEGV"),
    "vocabulary": (script("return nn.Embedding(256, 100)"), "expected logits of shape (2, 32, 256)"),
    "NaN": (
        script("m = nn.Embedding(256, 256)\nm.weight.data[:] = float('nan')\nreturn m"),
        "not finite",
    ),
    "lambda": (script("m = nn.Embedding(256, 256)\nm.f = lambda: 0\nreturn m"), "pickle"),
    "too large": (script("return nn.Linear(4000, 4000)"), "MB are allowed"),
    "memory": (script("x = torch.ones(1 << 28)"), "can't allocate memory"),
    "only while training": (
        f"{HEAD}class Model(nn.Embedding):\n"
        "    def forward(self, idx):\n        return super().forward(idx) * SCALE\n"
        "def train(env):\n    global SCALE\n    SCALE = 2\n    return Model(256, 256)\n",
        "'SCALE' is not defined",
    ),
    "control characters": (script("raise ValueError('no\\x1b[31m luck\\n' * 999)"), "no luck no luck"),
    "no batch": (script("next(env.batches(0))"), "ValueError: no batch of 0 x 32 tokens"),
}  # fmt: skip

# What scripts may do, and must find: each asserts that the little world keeps to its rules.
WAYS = {
    "steps": "seen = [(env.progress, x.shape, y.shape) for x, y in env.batches(16)]\n"
    "assert [s[1:] for s in seen] == [((2, 32), (2, 32))] * 3, seen\n"
    "assert [s[0] for s in seen] == [0.0, 0.5, 0.95], seen\n"
    "assert env.progress == 1 and env.time_left() == 0 and env.elapsed() == env.budget",
    "its own sampling": "steps = 0\n"
    "while env.time_left() > 0:\n"
    "    start = np.random.randint(len(env.train_tokens) - 33)\n"
    "    torch.tensor(env.train_tokens[start : start + 33]).long()\n"
    "    steps += 1\n"
    "assert 2 <= steps <= 5, steps",
    "an iterator for each step": "steps = 0\n"
    "while env.time_left() > 0:\n    next(env.batches(4))\n    steps += 1\n"
    "assert steps == 3, steps",
    "a loop within a step": "for x, y in env.batches(4):\n    while env.time_left() > 0:\n        pass",
    "more batches than there are": "it = env.batches(4)\nfor _ in range(100):\n    next(it)",
    "an assumed batch size": "for x, y in env.batches(16):\n    x.reshape(4, 4, -1)",
    "tokens": "tokens = env.train_tokens\n"
    "assert tokens.dtype == np.uint8 and tokens.ndim == 1 and not tokens.flags.writeable\n"
    "assert len(tokens) > 1_000_000 and len(set(tokens[:10_000].tolist())) == 256",
    "a warm-up": "assert [t.shape for t in env.warmup_batch(64, 16)] == [(2, 16)] * 2",
    "reports": "env.report(loss=torch.tensor(float('nan')), lr=1)",
    "a flood of words": "print('x' * 10_000_000)",
    "compilation": "model = torch.compile(nn.Embedding(256, 256), mode='max-autotune', fullgraph=True)\n"
    "@torch.compile(fullgraph=True)\ndef step(x):\n    return model(x).sum()\n"
    "for x, y in env.batches(4):\n    step(x).backward()\n"
    "assert model._orig_mod.weight.grad is not None\nreturn model",
}


@pytest.mark.parametrize("name", GOOD)
def test_what_trains_passes(each_environment: FrozenEnvironment, name: str) -> None:
    assert each_environment.check(GOOD[name], seed=1) is None


@pytest.mark.slow
def test_every_recipe_passes(environment: FrozenEnvironment) -> None:
    """`tests/target/test_recipes.py` trains them all."""
    before = Script(MICRO)
    found = {candidate.topic: candidate for candidate in Recipes().propose(before)}
    assert len(found) >= 60
    refused = {n: environment.check(apply(before, c.edit).source, seed=1) for n, c in found.items()}
    assert {name: reason for name, reason in refused.items() if reason} == {}


@pytest.mark.parametrize("name", WAYS)
def test_a_script_may_go_its_own_way(each_environment: FrozenEnvironment, name: str) -> None:
    assert each_environment.check(script(WAYS[name]), seed=1) is None


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_scored_is_refused(each_environment: FrozenEnvironment, name: str) -> None:
    source, expected = BAD[name]
    small = replace(each_environment, task=replace(each_environment.task, memory_mb=1024))
    reason = small.check(source, seed=1)
    assert reason is not None
    assert expected in reason
    assert len(reason) <= 300
    assert reason.isprintable()


@pytest.mark.parametrize("name", BAD)
def test_a_trial_refuses_it_too(environment: FrozenEnvironment, name: str) -> None:
    task = replace(environment.task, memory_mb=1024)
    assert replace(environment, task=task).run(BAD[name][0], seed=1).status is not OutcomeStatus.OK


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("while True: pass", "no model after 1 s"),
        ("time.sleep(99)", "no model after 1 s"),
        ("os.kill(os.getpid(), 19)", "no model after 1 s"),
        ("while True: env.train_tokens, open('x', 'ab').write(bytes(1 << 20))", ""),
        ("while True: os.fork()", ""),
        ("os.write(env._sock.fileno(), b'x' * 999)", "broke the protocol"),
        ("os.write(env._sock.fileno(), b'x')\ntime.sleep(9)", "broke the protocol"),
        ("os.write(env._sock.fileno(), b'\\x06\\0\\0\\0\\0\\0\\0\\0\\\"what\\\"')", "not a JSON object"),
        ("super(type(env), env).train_tokens", "unknown message: 'data'"),
    ],
)
def test_what_is_hostile_is_refused_and_leaves_nothing(
    each_environment: FrozenEnvironment, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    def count() -> tuple[int, int]:
        folders = len(list(Path("/tmp").glob(f"autoresearch-{os.getpid()}-*")))
        return len(os.listdir("/proc/self/fd")), folders

    each_environment.check(BIGRAM, seed=1)
    before = count()
    monkeypatch.setattr(shapes, "LEAST_LIMIT", 1.0)
    found = each_environment.check(script(body), seed=1)
    assert found is not None
    assert reason in found
    assert count()[1] == before[1]
    assert count()[0] <= before[0] + 1  # a log reader may close its end a moment later


def test_who_lies_passes_and_nothing_more(environment: FrozenEnvironment) -> None:
    """The answer is untrusted: a trial decides."""
    lie = script("sys.modules['inside.wire'].send(env._sock, {'t': 'checked'})\nos._exit(1)")
    assert environment.check(lie, seed=1) is None
    assert environment.run(lie, seed=1).status is not OutcomeStatus.OK


def test_the_seed_is_that_of_the_trial(environment: FrozenEnvironment) -> None:
    body = "assert env.seed == 7\nassert torch.initial_seed() == 7, torch.initial_seed()"
    assert environment.check(script(body), seed=7) is None


def test_large_tasks_may_take_longer(environment: FrozenEnvironment) -> None:
    limits = {name: shapes.time_limit(load_task(name)) for name in ("micro", "stdlib", "nanochat")}
    assert limits == {"micro": 10.0, "stdlib": 20.0, "nanochat": 150.0}


@pytest.fixture
def unsafe(tmp_path: Path) -> Iterator[FrozenEnvironment]:
    opened = open_environment(load_task(str(make_task(tmp_path / "tiny"))), UNTRUSTED)
    yield opened
    opened.close()


def test_it_works_without_a_sandbox_too(unsafe: FrozenEnvironment) -> None:
    assert unsafe.check(BIGRAM, seed=1) is None
    assert "looks ahead" in (unsafe.check(BAD["not causal"][0], seed=1) or "")
    assert "exit code 0" in (unsafe.check(BAD["sudden exit"][0], seed=1) or "")
