"""Tasks on a prepared corpus: the toy-size nanochat task in real sandboxes, and what must not be there."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from autoresearch_rl.environment import leak
from autoresearch_rl.environment.evaluator import Rows
from autoresearch_rl.environment.frozen import FrozenEnvironment, open_environment, shut
from autoresearch_rl.environment.sandbox import BACKENDS
from autoresearch_rl.environment.shards import Shards, load_shards
from autoresearch_rl.environment.task import TASKS, load_task
from autoresearch_rl.environment.view import View, sandbox_view
from autoresearch_rl.errors import SandboxError, TaskError
from autoresearch_rl.records import OutcomeStatus
from shards import TASK, prepared, texts, write_json_lines
from tiny import make_task, skip_without

NANOCHAT = (TASKS / "nanochat" / "train.py").read_text()
SMALL = {"\nDEPTH = 8": "\nDEPTH = 4", "\nWIDTH = 512": "\nWIDTH = 256", "\nWINDOW = 512": "\nWINDOW = 16"}

# No clock decides anything: a few steps on what `env.train_tokens` gives.
FIXED = NANOCHAT[: NANOCHAT.index("def train(env):")] + (
    "def train(env):\n"
    "    torch.manual_seed(7)\n"
    "    model = GPT(env.vocab_size, env.seq_len, 2, 64, 32)\n"
    "    both = optimizers(model, 64, False)\n"
    "    rows = torch.tensor(env.train_tokens[: 8 * 8 * 65].astype('int64')).view(8, 8, 65)\n"
    "    for batch in rows:\n"
    "        F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten()).backward()\n"
    "        for optimizer in both:\n"
    "            optimizer.step()\n"
    "            optimizer.zero_grad()\n"
    "    return model\n"
)


def small(script: str) -> str:
    for old, new in SMALL.items():
        assert old in script
        script = script.replace(old, new)
    return script


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_task(tmp_path_factory.mktemp("toy") / "toy", small(NANOCHAT), TASK)
    prepared(folder / "corpus", write_json_lines(folder.parent / "source", texts()))
    return folder


@pytest.fixture(scope="module", params=BACKENDS)
def toy(request: pytest.FixtureRequest, task_folder: Path) -> Iterator[FrozenEnvironment]:
    skip_without(request.param)
    opened = open_environment(load_task(str(task_folder)), request.param)
    yield opened
    opened.close()


def test_a_toy_nanochat_trial_learns_in_the_sandbox(toy: FrozenEnvironment) -> None:
    outcome = toy.run(small(NANOCHAT), seed=1)
    assert outcome.status is OutcomeStatus.OK, outcome.reason + outcome.log
    rows = toy.rows["val"]
    uniform = math.log2(512) * rows.targets.size / rows.token_bytes[rows.targets].sum()
    assert outcome.val_bpb is not None
    assert outcome.val_bpb < 0.9 * uniform
    assert outcome.challenges == toy.task.rows
    assert outcome.probes[-1].bpb < outcome.probes[0].bpb
    assert outcome.probes[-1].bpb == pytest.approx(outcome.val_bpb, rel=0.3)  # per byte, as the score


def test_the_score_is_that_of_an_ordinary_process(toy: FrozenEnvironment) -> None:
    """The reference knows tokens and raw text alone: it counts the bytes that the rows stand for itself."""
    outcome = toy.run(small(FIXED), seed=1)
    assert outcome.status is OutcomeStatus.OK, outcome.reason + outcome.log
    module = types.ModuleType("train")
    exec(small(FIXED), module.__dict__)
    env = types.SimpleNamespace(vocab_size=512, seq_len=64, train_tokens=toy.corpus.train_tokens)
    rows = torch.from_numpy(toy.rows["val"].tokens.astype("int64"))
    model = module.train(env).eval()
    with torch.inference_mode():
        logits = model(rows[:, :-1]).double()
    nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
    vocabulary = json.loads((toy.task.folder / "corpus" / "vocabulary.json").read_text())
    spelt = [bytes.fromhex(vocabulary[token]) for token in rows[:, 1:].flatten().tolist()]
    is_text = torch.tensor([len(token) > 0 for token in spelt])
    assert not is_text.all()  # marks between documents cost nothing, and are no bytes
    expected = float(nats[is_text].sum()) / (math.log(2) * len(b"".join(spelt)))
    assert outcome.val_bpb == pytest.approx(expected, abs=1e-6)


def test_nothing_of_the_corpus_can_be_read_inside(toy: FrozenEnvironment) -> None:
    corpus = toy.task.folder / "corpus"
    paths = [str(path) for path in (*corpus.iterdir(), *(corpus.parent.parent / "source").iterdir())]
    script = (
        "import torch\n"
        f"PATHS = {paths!r}\n"
        "def train(env):\n"
        "    for path in PATHS:\n"
        "        try:\n"
        "            open(path, 'rb').read(1)\n"
        "        except OSError:\n"
        "            continue\n"
        "        raise ValueError('readable: ' + path)\n"
        "    return torch.nn.Embedding(512, 512)\n"
    )
    outcome = toy.run(script, seed=0)
    assert outcome.status is OutcomeStatus.OK, outcome.reason


def test_set_up_is_free_until_the_first_token(toy: FrozenEnvironment) -> None:
    slow = small(NANOCHAT).replace("def train(env):\n", "def train(env):\n    import time; time.sleep(2.5)\n")
    outcome = toy.run(slow, seed=1)
    assert outcome.status is OutcomeStatus.OK, outcome.reason
    assert outcome.train_seconds < toy.task.seconds + toy.task.grace


# --- the corpus as data


def test_the_fingerprint_holds_corpus_and_tokenizer(toy: FrozenEnvironment) -> None:
    files = json.loads((toy.task.folder / "corpus" / "meta.json").read_text())["files"]
    assert toy.fingerprint["tokenizer"] == files["vocabulary.json"]
    assert isinstance(toy.corpus, Shards)
    assert toy.fingerprint["corpus"] == load_shards(toy.task).without(toy.corpus.left_out).digest
    assert toy.fingerprint["device"] == "cpu"


def test_held_out_documents_are_those_of_the_source(task_folder: Path) -> None:
    corpus, source = load_shards(load_task(str(task_folder))), {text.encode() for text in texts()}
    held_out = [*corpus.documents["val"].values(), *corpus.documents["test"].values()]
    assert len(held_out) > 50
    assert set(held_out) <= source


def test_rows_are_pieces_of_their_split_without_overlap(task_folder: Path) -> None:
    corpus = load_shards(load_task(str(task_folder)))
    rows = corpus.rows("val", 60, 64)
    assert rows.shape == (60, 65)
    assert np.array_equal(rows, corpus.rows("val", 60, 64))
    spots = [bytes(corpus.tokens["val"]).find(row.tobytes()) for row in rows]
    assert len({spot // (65 * 2) for spot in spots}) == 60


def test_a_copy_of_a_held_out_document_is_found(task_folder: Path, tmp_path: Path) -> None:
    corpus = load_shards(load_task(str(task_folder)))
    telling = leak.telling_lines(corpus)
    name = max(corpus.documents["val"], key=lambda name: sum(owner == name for owner in telling.values()))
    (tmp_path / "copy.txt").write_bytes(b"before\n" + corpus.documents["val"][name] + b"\nafter")
    assert (tmp_path / "copy.txt", name) in leak.scan(corpus, [tmp_path / "copy.txt"])


def test_what_can_be_read_inside_is_not_evaluated(task_folder: Path, tmp_path: Path) -> None:
    """A text may quote a file that Python needs: it is the document that goes."""
    corpus = load_shards(load_task(str(task_folder)))
    telling = leak.telling_lines(corpus)
    name = max(corpus.documents["val"], key=lambda name: sum(owner == name for owner in telling.values()))
    (tmp_path / "needed.py").write_bytes(corpus.documents["val"][name])
    try:
        smaller, view = shut(corpus, View((tmp_path,), ()))
    finally:
        (corpus.folder / leak.CACHE).unlink()
    assert isinstance(smaller, Shards)
    assert smaller.left_out == {name}
    assert smaller.digest != corpus.digest
    assert [path for path, _ in view.files()] == [str(tmp_path / "needed.py")]
    start, end = corpus.bounds["val"][int(name.split("/")[1]) :][:2].tolist()
    gone = {
        row.tobytes() for row in corpus.tokens["val"][: len(corpus.tokens["val"]) // 65 * 65].reshape(-1, 65)
    }
    gone -= {row.tobytes() for row in smaller.rows("val", len(smaller._spots("val", 65)), 64)}
    assert len(gone) == (end - 1) // 65 - start // 65 + 1


def test_a_corpus_below_a_readable_root_is_hidden(task_folder: Path, tmp_path: Path) -> None:
    corpus = load_shards(load_task(str(task_folder)))
    view = View((task_folder,), ()).without(corpus.masked)
    assert [path for path, _ in view.files()] == [str(task_folder / n) for n in ("task.toml", "train.py")]
    assert sandbox_view().without([tmp_path]) == sandbox_view()


@pytest.mark.parametrize("name", ["val.bin", "train.bin", "vocabulary.json", "test.documents.bin"])
def test_a_changed_file_is_noticed(task_folder: Path, name: str) -> None:
    path = task_folder / "corpus" / name
    before = path.read_bytes()
    try:
        path.write_bytes(bytes([before[0] ^ 1]) + before[1:])
        with pytest.raises(TaskError, match=f"damaged .{name} is not what"):
            load_shards(load_task(str(task_folder)))
    finally:
        path.write_bytes(before)


def test_what_is_wrong_with_a_corpus_is_told(task_folder: Path, tmp_path: Path) -> None:
    folder = make_task(tmp_path / "other", constants=TASK)
    with pytest.raises(TaskError, match=r"no prepared corpus at .*: run `autoresearch-rl prepare toy"):
        load_shards(load_task(str(folder)))
    (folder / "corpus").symlink_to(task_folder / "corpus")
    (folder / "task.toml").write_text(TASK.replace("vocab_size = 512", "vocab_size = 1024"))
    with pytest.raises(TaskError, match="prepared with 512 tokens, but task toy has vocab_size 1024"):
        load_shards(load_task(str(folder)))
    with pytest.raises(TaskError, match=r"lower evaluation\.tokens"):
        load_shards(load_task(str(task_folder))).rows("val", 10**6, 64)


def test_a_gpu_is_refused_as_long_as_no_sandbox_has_one(task_folder: Path, tmp_path: Path) -> None:
    constants = TASK.replace("threads = 1", 'threads = 1\ndevice = "cuda"')
    task = load_task(str(make_task(tmp_path / "gpu", constants=constants)))
    with pytest.raises(SandboxError, match="have no GPU yet"):
        open_environment(task)


def test_marks_that_are_no_text_cost_nothing() -> None:
    rows = Rows(np.array([[0, 1, 2, 0]]), np.array([0, 1, 3]))
    nats = np.array([[math.log(2), 3 * math.log(2), 100.0]])
    assert rows.bits_per_byte(nats) == pytest.approx(4 / (1 + 3))
