from pathlib import Path

import pytest

from autoresearch_rl.environment import leak
from autoresearch_rl.environment.corpus import Corpus, load_stdlib
from autoresearch_rl.environment.view import View, sandbox_view

SECRET = b"".join(
    b"    held_out_line_%d = 'nobody else has this line of text %d'\n" % (i, i) for i in range(40)
)
PUBLIC = b"".join(
    b"    public_line_%d = 'everybody may read this line of text %d'\n" % (i, i) for i in range(40)
)


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(
        {"train": {"a.py": PUBLIC}, "probe": {}, "val": {"test/v.py": SECRET}, "test": {"test/t.py": PUBLIC}}
    )


def test_a_copy_inside_another_file_is_found(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "clean.txt").write_bytes(PUBLIC)
    (tmp_path / "cache.bin").write_bytes(b"\x00\x01binary\n" + SECRET + b"\x00")
    assert leak.scan(corpus, sorted(tmp_path.iterdir())) == [(tmp_path / "cache.bin", "test/v.py")]


def test_a_few_shared_lines_are_no_leak(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "quote.txt").write_bytes(b"\n".join(SECRET.split(b"\n")[:4]))
    assert leak.scan(corpus, [tmp_path / "quote.txt"]) == []


def test_what_leaks_is_hidden_and_remembered_until_a_file_changes(corpus: Corpus, tmp_path: Path) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    (root / "copy.py").write_bytes(SECRET)
    (root / "fine.py").write_bytes(PUBLIC)
    view = View((root,), ())
    closed, leaks = leak.closed_view(corpus, view, cache)
    assert leaks == [root / "copy.py"]
    assert [path for path, _ in closed.files()] == [str(root / "fine.py")]
    assert leak.closed_view(corpus, view, cache)[1] == leaks
    (root / "late.py").write_bytes(SECRET)
    assert leak.closed_view(corpus, view, cache)[1] == [root / "copy.py", root / "late.py"]


def test_two_environments_share_the_cache(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "copy.py").write_bytes(SECRET)
        (tmp_path / name / "fine.py").write_bytes(PUBLIC)
        views.append(View((tmp_path / name,), ()))
    first = [leak.closed_view(corpus, view, tmp_path / "cache") for view in views]
    monkeypatch.setattr(leak, "telling_lines", lambda _: pytest.fail("it began another scan"))
    assert [leak.closed_view(corpus, view, tmp_path / "cache") for view in views] == first


def test_a_damaged_cache_only_costs_time(corpus: Corpus, tmp_path: Path) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    cache.mkdir()
    (root / "copy.py").write_bytes(SECRET)
    (cache / leak.CACHE).write_text('{"key": ')
    assert leak.closed_view(corpus, View((root,), ()), cache)[1] == [root / "copy.py"]


def test_entries_are_the_roots_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("open/a.py", "mixed/b.py", "mixed/secret/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    view = View((tmp_path,), (tmp_path / "mixed/secret",))
    assert view.entries() == [tmp_path / "mixed/b.py", tmp_path / "open"]
    assert {path for path, _ in view.files()} == {str(tmp_path / "mixed/b.py"), str(tmp_path / "open/a.py")}


def test_a_second_scan_of_this_machine_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, cache = load_stdlib(), leak.cache_folder()
    first = leak.closed_view(corpus, sandbox_view(), cache)
    monkeypatch.setattr(leak, "telling_lines", lambda _: pytest.fail("it began another scan"))
    assert leak.closed_view(corpus, sandbox_view(), cache) == first
