"""What can be read inside the sandbox: Python, its packages, system libraries; not the held-out text."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from autoresearch_rl.environment.corpus import HELD_OUT, TEST_FOLDERS, library

INSIDE = Path(__file__).parent / "inside"
INTERPRETER = Path(sys.executable).resolve()  # a venv's own is a link; its packages are named one by one
CPU_INFO = ("/sys/devices/system/cpu", "/sys/devices/system/node")


@dataclass(frozen=True)
class View:
    """Readable roots, and the paths below them that are hidden. Real paths, but for `links` and `also`."""

    roots: tuple[Path, ...]
    hidden: tuple[Path, ...] = field(repr=False)
    links: tuple[Path, ...] = ()  # symbolic links to roots, by which programs are found
    listed: tuple[Path, ...] = ()  # folders of roots that are files: to import one, Python lists its folder

    def without(self, paths: Iterable[Path]) -> View:
        """This view with more hidden."""
        resolved = {path.resolve() for path in paths}
        below = {p for p in resolved if any(p.is_relative_to(root) for root in self.roots) and p.exists()}
        return replace(self, hidden=tuple(sorted({*self.hidden, *below})))

    def also(self, paths: Iterable[Path]) -> View:
        """This view with more readable. Of a file's folder no other content is, but its names may be seen."""
        added = tuple(paths)
        listed = {path.parent for path in added if path.is_file()}
        return replace(self, roots=(*self.roots, *added), listed=(*self.listed, *sorted(listed)))

    def entries(self) -> list[Path]:
        """The largest readable files and folders that hold nothing hidden, and every path to them."""
        hidden = set(self.hidden)
        parents = {parent for path in hidden for parent in path.parents}
        return [entry for root in self.roots for entry in _open_entries(root, hidden, parents)]

    def folders(self) -> list[Path]:
        """The folders that hold something hidden below the roots: their names may be listed, no more."""
        parents = {parent for path in self.hidden for parent in path.parents}
        closed = {path for path in parents if any(path.is_relative_to(root) for root in self.roots)}
        return sorted(closed | set(self.listed))

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every regular file that can be read inside, links followed, with its size and times."""
        for entry in self.entries():
            if entry.is_file():
                yield str(entry), entry.stat()
            else:
                yield from _files_below(str(entry))


def _files_below(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    # What we may not list, the sandbox may not either: it has no more rights than we have.
    with contextlib.suppress(PermissionError, FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files_below(entry.path)
            elif entry.is_file():
                yield entry.path, entry.stat()


def _open_entries(path: Path, hidden: set[Path], parents: set[Path]) -> Iterator[Path]:
    if path in hidden:
        return
    if path not in parents:
        yield path
        return
    for child in sorted(path.iterdir()):
        yield from _open_entries(child, hidden, parents)


@cache
def sandbox_view() -> View:
    """The view for the running interpreter."""
    links = _compiler()
    programs = [link.resolve() for link in links]
    headers = _headers() if links else []
    roots = [p for p in (*_python_roots(), *_system_roots(), INSIDE, *programs, *headers) if p.exists()]
    kept = [p for p in dict.fromkeys(roots) if not any(p != o and p.is_relative_to(o) for o in roots)]
    hidden = [path for path in _hidden() if any(path.is_relative_to(root) for root in kept)]
    return View(tuple(kept), tuple(sorted(hidden)), tuple(link for link in links if link.is_symlink()))


def _python_roots() -> list[Path]:
    base = Path(sys.base_prefix).resolve()
    # A system Python shares /usr/lib with everything else: take its library alone.
    library_root = library() if base == Path("/usr") else base / "lib"
    return [library_root, INTERPRETER, *package_folders()]


def package_folders() -> list[Path]:
    """The folders of installed packages, torch's included wherever it came from."""
    packages = [Path(sysconfig.get_paths()[key]).resolve() for key in ("purelib", "platlib")]
    torch = importlib.util.find_spec("torch")
    if torch and torch.origin:
        packages.append(Path(torch.origin).resolve().parent.parent)
    return list(dict.fromkeys(packages))


def _system_roots() -> list[Path]:
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    names = [f"/lib/{triplet}", f"/usr/lib/{triplet}"] if triplet else []
    names += ["/lib64", "/usr/lib64", "/etc/ld.so.cache", *CPU_INFO]
    return [Path(name).resolve() for name in names if Path(name).exists()]


def _compiler() -> list[Path]:
    """What `torch.compile` runs on a CPU, where it is installed."""
    needed = [Path("/usr/bin", name) for name in ("g++", "gcc", "as", "ld", "openssl")]
    return needed if all(path.exists() for path in needed) else []


def _headers() -> list[Path]:
    compiler = [Path("/usr/lib/gcc"), Path("/usr/libexec/gcc"), Path("/usr/include")]
    return [*(path.resolve() for path in compiler), Path(sysconfig.get_paths()["include"]).resolve()]


def _hidden() -> Iterator[Path]:
    root = library()
    for name in HELD_OUT:
        if (root / name).exists():
            yield root / name
            yield from (root / "__pycache__").glob(f"{Path(name).stem}.*.pyc")
    for folder, names, _ in os.walk(root):
        if folder == str(root):
            names[:] = sorted(set(names) - {"site-packages", "dist-packages"} - HELD_OUT)
        yield from (Path(folder, name) for name in TEST_FOLDERS.intersection(names))
        names[:] = [name for name in names if name not in TEST_FOLDERS]
    if root / "site-packages" not in package_folders():  # a venv does not use those of its base
        yield root / "site-packages"
    yield from _other_pythons(root)


def _other_pythons(own: Path) -> Iterator[Path]:
    """Libraries of other Pythons: they hold the same documents."""
    for parent in {own.parent, Path("/usr/lib64"), Path("/lib64").resolve()}:
        for path in parent.glob("py[tp]*"):
            if path.is_dir() and path.resolve() != own and path.name != "pypy":
                yield path.resolve()
