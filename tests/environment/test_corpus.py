from pathlib import Path

import numpy as np
import pytest

from autoresearch_rl.environment.corpus import Corpus, is_held_out, library, load_stdlib
from autoresearch_rl.environment.view import sandbox_view
from autoresearch_rl.errors import TaskError


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_stdlib()


def test_two_readings_give_the_same_split(corpus: Corpus) -> None:
    assert load_stdlib().digest == corpus.digest


def test_no_document_is_in_two_splits(corpus: Corpus) -> None:
    names = [name for documents in corpus.documents.values() for name in documents]
    assert len(names) == len(set(names)) > 500


def test_held_out_documents_are_hidden_from_the_sandbox_and_the_others_are_not(corpus: Corpus) -> None:
    hidden = sandbox_view().hidden

    def is_hidden(name: str) -> bool:
        return any((library() / name).is_relative_to(path) for path in hidden)

    assert all(is_hidden(name) for split in ("val", "test") for name in corpus.documents[split])
    assert not any(is_hidden(name) for split in ("train", "probe") for name in corpus.documents[split])


def test_rows_are_fixed_distinct_pieces_of_their_split(corpus: Corpus) -> None:
    rows = corpus.rows("val", 200, 64)
    assert rows.shape == (200, 65)
    assert np.array_equal(rows, load_stdlib().rows("val", 200, 64))
    text = b"\0".join(corpus.documents["val"].values())
    assert all(row.tobytes() in text for row in rows)
    assert len({row.tobytes() for row in rows}) > 190


def test_the_manifest_notices_a_changed_byte(tmp_path: Path) -> None:
    for name in ("a.py", "b.py", "c.py", "test/x.py", "test/y.py", "test/z.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"name = '{name}'\n" * 20)
    documents = {"train": {"a.py": b"one"}, "probe": {}, "val": {}, "test": {}}
    changed = {**documents, "train": {"a.py": b"two"}}
    assert Corpus(documents).digest != Corpus(changed).digest


def test_a_library_without_tests_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    with pytest.raises(TaskError, match="no document for"):
        load_stdlib(tmp_path)


def test_too_few_rows_are_an_error_that_tells_how_to_mend_it(corpus: Corpus) -> None:
    with pytest.raises(TaskError, match=r"lower evaluation\.bytes"):
        corpus.rows("probe", 10**6, 128)


def test_held_out_parts_are_recognised_at_any_depth() -> None:
    assert is_held_out(Path("test/test_os.py"))
    assert is_held_out(Path("ctypes/test/test_x.py"))
    assert is_held_out(Path("turtle.py"))
    assert not is_held_out(Path("json/decoder.py"))
    assert not is_held_out(Path("email/turtle.py"))
