"""Steering: the front matter of `program.md`, by which a person rules what the agent may try.

    +++
    freeze = ["BATCH_SIZE", "schedule", "train.AdamW*"]
    forbid = ["grammar", "recipes/muon"]
    [weights]
    recipes = 2.0
    "literals/WIDTH" = 3.0
    +++

TOML between two lines of `+++`, at the top; what follows is prose.
"""

from __future__ import annotations

import ast
import math
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import Candidate
from autoresearch_rl.target.patterns import Source
from autoresearch_rl.target.script import Script

FENCE = "+++"
LEAST_WEIGHT, MOST_WEIGHT = 1e-3, 1e3  # also of several that mean the same candidate
LARGEST = 1 << 18  # bytes of a program.md
_KEYS = ("freeze", "forbid", "weights")


@dataclass(frozen=True, slots=True)
class Agenda:
    """What a person has decided about the candidates; nothing, unless said otherwise."""

    freeze: tuple[str, ...] = ()  # names of sites, functions and classes that stay as they are
    forbid: tuple[str, ...] = ()  # generators, or `generator/topic`
    weights: Mapping[str, float] = field(default_factory=dict)  # of the same; 1 where nothing is said

    def frozen(self, script: Script) -> list[tuple[int, int]]:
        """Start and end, in characters, of what must not change."""
        if not self.freeze:
            return []
        return [span for name, span in _places(script) if any(_means(f, name) for f in self.freeze)]

    def unmatched(self, script: Script, generators: Collection[str]) -> list[str]:
        """One line for each name that means nothing: in this script, or among the generators."""
        names = [name for name, _ in _places(script)] if self.freeze else []
        missing = [f for f in self.freeze if not any(_means(f, name) for name in names)]
        found = [f"program.md: nothing to freeze is called {f!r}{_hint(f, names)}" for f in missing]
        for name in (*self.forbid, *self.weights):
            generator = name.partition("/")[0]
            if not any(_matches(generator, known) for known in generators):
                found.append(
                    f"program.md: no generator is called {generator!r}{_hint(generator, [*generators])}"
                )
        return found

    def allows(self, candidate: Candidate) -> bool:
        """Whether neither its generator nor any of its parts is forbidden."""
        names = {candidate.generator, *_names_of(candidate)}
        return not any(_matches(f, name) for f in self.forbid for name in names)

    def weighted(self, candidate: Candidate) -> Candidate:
        """The candidate with the odds that a person gave its topics."""
        names = _names_of(candidate)
        weights = [w for f, w in self.weights.items() if "/" in f and any(_matches(f, n) for n in names)]
        if not weights:
            return candidate
        return replace(candidate, odds=candidate.odds + math.log(_bounded(math.prod(weights))))

    def share(self, generator: str, share: float) -> float:
        """What becomes of a generator's share when a person has weighted it."""
        return share * _bounded(math.prod(w for f, w in self.weights.items() if _matches(f, generator)))


NOTHING_SAID = Agenda()


def parse_agenda(text: str) -> Agenda:
    """The agenda in the front matter of a text; an empty one where there is none.

    Raises:
        ConfigurationError: It is not TOML, or a key or value is not one that we know; one line.
    """
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != FENCE:
        return Agenda()
    end = next((i for i, line in enumerate(lines[1:], 1) if line.strip() == FENCE), None)
    if end is None:
        raise ConfigurationError(f"program.md: the front matter has no end: add a line {FENCE}")
    try:
        table = tomllib.loads("\n".join(lines[1:end]))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"program.md: the front matter is not TOML: {error}") from error
    if unknown := sorted(set(table) - set(_KEYS)):
        raise ConfigurationError(f"program.md: expected {', '.join(_KEYS)}; found {unknown[0]!r}")
    weights = table.get("weights", {})
    return Agenda(_names(table, "freeze"), _names(table, "forbid"), _weights(weights))


def read_program(path: Path) -> str:
    """The text of a `program.md`.

    Raises:
        OSError or UnicodeDecodeError: It is not there, no ordinary file, too large, or no text.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"expected an ordinary file at {path}")
    if path.stat().st_size > LARGEST:
        raise OSError(f"expected at most {LARGEST} bytes in {path}, found {path.stat().st_size}")
    return path.read_text(encoding="utf-8")


class Steering:
    """The agenda of a running study: read again before each trial.

    A slip of the pen must not end a night's work: the last agenda that could be read stays in force, and
    `problem` says what is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.problem = path, ""
        self._text, self._agenda = "", Agenda()

    def read(self) -> Agenda:
        """The agenda as it is now."""
        try:
            text = read_program(self.path)
            if text != self._text:
                self._agenda = parse_agenda(text)
            self._text, self.problem = text, ""
        except FileNotFoundError:
            self._text, self.problem, self._agenda = "", "", Agenda()
        except (OSError, UnicodeDecodeError, ConfigurationError) as error:
            self.problem = f"{error}; what it said before stays in force"
        return self._agenda


def _names(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ConfigurationError(f"program.md: expected {key} = [names], found {value!r}")
    return tuple(value)


def _weights(table: object) -> dict[str, float]:
    if not isinstance(table, dict):
        raise ConfigurationError(f"program.md: expected a table [weights], found {table!r}")
    for name, weight in table.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise ConfigurationError(
                f"program.md: expected a weight from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g} for {name!r}, "
                f"found {_short(weight)}"
            )
    return {name: float(weight) for name, weight in table.items()}


def _places(script: Script) -> Iterator[tuple[str, tuple[int, int]]]:
    """Everything that has a name to freeze it by, and where it stands."""
    for site in script.sites.values():
        yield site.name, site.span
    source = script.syntax
    for kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
        for place in source.places(kind):
            assert isinstance(place.node, kind)
            yield ".".join([*place.scope, place.node.name]), _lines_of(place.node, source)
    for place in source.places(ast.Assign):
        assert isinstance(place.node, ast.Assign)
        for target in place.node.targets:
            if isinstance(target, ast.Name):
                yield ".".join([*place.scope, target.id]), source.span(place.node)


def _lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, source: Source) -> tuple[int, int]:
    """From the first decorator to behind the last line, where an indented line would still belong to it."""
    start, end = source.span(node)
    if node.decorator_list:
        start = source.text.rindex("@", 0, source.span(node.decorator_list[0])[0] + 1)
    newline = source.text.find("\n", end)
    return start, (len(source.text) if newline < 0 else newline + 1) + 1


def _names_of(candidate: Candidate) -> set[str]:
    """By which a person can mean a candidate: where it is from and what it changes, part by part."""
    names = {f"{s.generator}/{topic}" for s in candidate.singles for topic in s.topics}
    names |= {single.generator for single in candidate.singles}
    return names | ({"compound"} if len(candidate.parts) > 1 else set())


def _bounded(weight: float) -> float:
    return min(MOST_WEIGHT, max(LEAST_WEIGHT, weight))


def _short(value: object) -> str:
    return repr(value) if isinstance(value, float | bool) else f"a {type(value).__name__}"


def _means(pattern: str, name: str) -> bool:
    """`BETAS` means `BETAS[0]`, too, and `Block` all that is inside."""
    return _matches(pattern, name) or (name.startswith(pattern) and name[len(pattern)] in "[(.#")


def _matches(pattern: str, name: str) -> bool:
    regex = "".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", pattern))
    return re.fullmatch(regex, name) is not None


def _hint(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, dict.fromkeys(names), n=3)
    return f"; did you mean {', '.join(close)}?" if close else ""
