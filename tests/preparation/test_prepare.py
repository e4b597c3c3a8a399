"""Text to tokens, end to end: exact to the byte, split without overlap, the same after any interruption."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_rl.environment.corpus import SPLITS
from autoresearch_rl.environment.shards import FILES, OFFSET, TOKEN, files_of
from autoresearch_rl.errors import ConfigurationError, SourceError
from autoresearch_rl.preparation import prepare as preparing
from autoresearch_rl.preparation.prepare import Prepared, prepare
from autoresearch_rl.preparation.sources import Piece, find, read
from autoresearch_rl.preparation.vocabulary import Encoder, train
from shards import VOCABULARY, prepared, texts, write_json_lines

MULTIBYTE = "naïve café 東京 🙂👩‍🚀 שלום Übung ﷽ 🜁 "


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every tenth document twice, once with other space around its words."""
    documents = list(texts()) + [f"  {text}\n" for text in texts()[::10]]
    return write_json_lines(tmp_path_factory.mktemp("text") / "source", documents)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Prepared:
    return prepared(tmp_path_factory.mktemp("made") / "corpus", source)


def documents_of(made: Prepared, split: str) -> list[bytes]:
    """The raw bytes of a split's documents, by way of the files alone."""
    vocabulary = list(map(bytes.fromhex, json.loads((made.folder / "vocabulary.json").read_text())))
    tokens_file, documents_file = (made.folder / name for name in files_of(split))
    tokens, starts = np.fromfile(tokens_file, TOKEN), np.fromfile(documents_file, OFFSET)
    assert starts[-1] == len(tokens)
    found = [tokens[a:b].tolist() for a, b in pairwise(starts)]
    assert all(part[0] == VOCABULARY - 1 and VOCABULARY - 1 not in part[1:] for part in found)
    return [b"".join(vocabulary[token] for token in part) for part in found]


# --- splits and bytes


def test_every_document_is_in_one_split_whole_and_once(made: Prepared) -> None:
    found = {split: documents_of(made, split) for split in SPLITS}
    together = sorted(document for documents in found.values() for document in documents)
    words = sorted({" ".join(text.split()) for text in texts()})
    assert sorted(" ".join(document.decode().split()) for document in together) == words
    assert made.meta["left_out"]["copies"] >= len(texts()) // 10
    for split, documents in found.items():
        facts = made.meta["splits"][split]
        assert (facts["documents"], facts["bytes"]) == (len(documents), sum(map(len, documents)))
        assert facts["documents"] > 5


def test_the_held_out_splits_get_their_share(made: Prepared) -> None:
    counts = {split: made.meta["splits"][split]["documents"] for split in SPLITS}
    assert counts["val"] / sum(counts.values()) == pytest.approx(0.1, abs=0.04)
    assert counts["test"] / sum(counts.values()) == pytest.approx(0.1, abs=0.04)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(train([*texts()[:80], MULTIBYTE * 3], VOCABULARY))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_the_bytes_of_the_tokens_are_the_bytes_of_the_text(encoder: Encoder, found: list[str]) -> None:
    sizes = np.array([len(token) for token in encoder.vocabulary])
    assert sizes[encoder.mark] == 0
    for text, tokens in zip(found, encoder.encode(found), strict=True):
        assert sizes[tokens].sum() == len(text.encode())


def test_tokens_may_end_within_a_character(encoder: Encoder) -> None:
    """Here decoding single tokens, the usual mistake, gives another count."""
    text = "🜁 ﷽ 👩‍🚀 " * 3
    tokens = encoder.encode([text])[0]
    spelt = [encoder.vocabulary[token] for token in tokens]
    assert any(0x80 <= token[0] < 0xC0 for token in spelt if token)
    assert sum(map(len, spelt)) == len(text.encode())
    assert sum(len(token.decode("utf-8", "replace").encode()) for token in spelt) != len(text.encode())


def test_no_text_can_spell_the_mark(encoder: Encoder) -> None:
    text = "<|endoftext|><|bos|></s>[CLS]"
    assert encoder.encode([text])[0].tolist().count(encoder.mark) == 1


def test_the_vocabulary_needs_enough_text_and_a_sensible_size() -> None:
    with pytest.raises(ConfigurationError, match="tokens only, and the task's vocab_size is 8192"):
        train(["a short text"], 8192)
    with pytest.raises(ConfigurationError, match="must be even, from 258 to 65536"):
        train(["text"], 70000)


# --- the same result, always


def digests(made: Prepared) -> dict[str, str]:
    return dict(made.meta["files"])


def test_another_run_elsewhere_gives_the_same_bytes(made: Prepared, source: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(source, tmp_path / "moved"))
    assert digests(prepared(tmp_path / "again", moved)) == digests(made)


def test_a_second_run_does_nothing(made: Prepared, source: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in made.folder.iterdir()}
    again = prepared(made.folder, source)
    assert not again.fresh
    assert {path.name: path.stat().st_mtime_ns for path in made.folder.iterdir()} == before


def test_other_text_or_settings_do_not_overwrite_a_corpus(made: Prepared, source: Path) -> None:
    with pytest.raises(ConfigurationError, match="made from other text or with other settings"):
        prepared(made.folder, source, held_out=0.2)


@pytest.mark.parametrize("step", ["_trained", "_encode_piece", "_join", "_write"])
def test_a_run_that_breaks_off_in_any_step_goes_on(
    made: Prepared, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """After the first call of a step, then after the second, and so on, until it comes through."""
    real, broken = getattr(preparing, step), 0
    for allowed in range(60):
        calls = 0

        def breaks(*arguments: object, allowed: int = allowed) -> object:
            nonlocal calls
            calls += 1
            result = real(*arguments)
            if calls > allowed:
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(preparing, step, breaks)
        try:
            again = prepared(tmp_path / "again", source)
        except KeyboardInterrupt:
            broken += 1
            continue
        break
    assert broken >= 1
    assert digests(again) == digests(made)
    assert {path.name for path in again.folder.iterdir()} == {*FILES, "meta.json", "tokenizer.json"}


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from shards import prepared
prepared(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("part", ["plan.json", "tokenizer.json", "00000", "00002"])
def test_a_killed_run_goes_on_to_the_same_bytes(
    made: Prepared, source: Path, tmp_path: Path, part: str
) -> None:
    out, code = tmp_path / "out", KILLED.format(paths=[str(Path(__file__).parent.parent)])
    with subprocess.Popen([sys.executable, "-c", code, str(out), str(source)]) as process:
        while process.poll() is None and not (out / ".work" / part).exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    left = {path.name for path in (out / ".work").glob("*")}
    assert digests(prepared(out, source)) == digests(made)
    assert part in left or not left


def test_what_was_begun_with_other_settings_is_begun_anew(
    made: Prepared, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "_join", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            prepared(tmp_path / "out", source, held_out=0.2)
    assert digests(prepared(tmp_path / "out", source)) == digests(made)


def test_held_out_splits_stop_growing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "ENOUGH", 5000)
    meta = prepared(tmp_path / "out", source).meta
    assert all(5000 <= meta["splits"][split]["bytes"] < 9000 for split in ("probe", "val", "test"))
    assert meta["left_out"]["not needed"] > 50


# --- sources


def test_parquet_json_lines_and_text_give_the_same_documents(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    documents = list(texts()[-40:])
    write_json_lines(tmp_path / "jsonl", documents, 1)
    for kind in ("parquet", "text"):
        (tmp_path / kind).mkdir()
    table = pyarrow.table({"id": list(range(40)), "text": documents})
    parquet.write_table(table, tmp_path / "parquet" / "a.parquet", row_group_size=7)
    for number, text in enumerate(documents):
        (tmp_path / "text" / f"{number:03}.txt").write_bytes(text.encode())
    found = {
        kind: [text for piece in find(tmp_path / kind) for text in read(piece)]
        for kind in ("jsonl", "parquet", "text")
    }
    assert found["jsonl"] == found["parquet"] == found["text"] == documents


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.jsonl", b'{"text": "fine"}\n{"body": 1}\n', 'a.jsonl, line 2: expected a JSON object .* "text"'),
        ("a.jsonl", b"not json\n", "line 1: expected a JSON object"),
        ("a.jsonl", b'{"text": 3}\n', '"text" must be text, but is int'),
        ("a.txt", b"caf\xe9", r"a\.txt is not UTF-8 text .byte 3."),
        ("a.parquet", b"PAR1 not really", "cannot be read as parquet"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=complaint):
        list(read(Piece((tmp_path / name,))))


def test_half_a_surrogate_pair_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "half \\ud83d of one"}\n')
    assert list(read(Piece((tmp_path / "a.jsonl",)))) == ["half ? of one"]


def test_a_parquet_file_without_text_names_its_columns(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"body": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="has no column text, but body"):
        list(read(Piece((tmp_path / "a.parquet",))))


@pytest.mark.parametrize("module", ["pyarrow", "tokenizers"])
def test_a_missing_library_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigurationError, match=r"pip install 'autoresearch-rl\[nanochat\]'"):
        list(read(Piece((tmp_path / "a.parquet",)))) if module == "pyarrow" else train(["text"], 512)


def test_an_empty_or_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"holds no documents: expected files of the kinds \.parquet"
    ):
        find(tmp_path)
    with pytest.raises(ConfigurationError, match=r"no folder .*nowhere"):
        find(tmp_path / "nowhere")


def test_too_little_text_is_told(tmp_path: Path) -> None:
    source = write_json_lines(tmp_path / "source", [f"{text} {n}" for n, text in enumerate(texts()[:8])], 1)
    with pytest.raises(ConfigurationError, match=r"no document fell into the .* split"):
        prepare(find(source), tmp_path / "out", 300, lambda *_: None, 0.001)


def test_importing_the_package_imports_no_extra() -> None:
    code = "import sys, autoresearch_rl.preparation.prepare as p; sys.exit(any(m in sys.modules for m in %r))"
    modules = ["torch", "pyarrow", "tokenizers"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    assert (
        subprocess.run([sys.executable, "-c", code % modules], env=environment, check=False).returncode == 0
    )
