"""The git repository of a study: one commit of `train.py` per kept script."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from autoresearch_rl.errors import StorageError

AUTHOR = ("AutoResearch-RL", "agent@localhost")

# The person's own configuration must neither be needed nor get in the way: no hooks, no signing, no line
# ending conversion, no background jobs that outlive the study.
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.fsmonitor=false",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
)


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a study. `trial` is None when a person made it."""

    sha: str
    trial: int | None
    subject: str


class Workspace:
    """A git repository with the branch `autoresearch/<study>` checked out.

    The caller holds the study's lock: no other program writes here, so lock files that git left behind
    when it was killed are removed.

    Raises:
        StorageError: git is missing or refuses; every method raises it.
    """

    def __init__(self, folder: Path, study: str) -> None:
        self.folder = folder
        self.branch = f"autoresearch/{study}"
        self._ref = f"refs/heads/{self.branch}"
        self._open()

    @property
    def script(self) -> Path:
        """The work tree's `train.py`."""
        return self.folder / "train.py"

    def commit(self, source: str, message: str, trailer_trial: int) -> str:
        """Write `train.py` and commit it with the trailer `Trial: <trailer_trial>`; returns the sha."""
        self._write(source)
        self._git("add", "--force", "--", self.script.name)
        text = f"{message.strip()}\n\nTrial: {trailer_trial}\n"
        options = ("--quiet", "--allow-empty", "--cleanup=verbatim", "--file=-")
        self._git("commit", *options, "--only", "--", self.script.name, stdin=text)
        return self._git("rev-parse", "--verify", self._ref).strip()

    def ensure(self, source: str, message: str, trial: int) -> str:
        """Commit unless this trial has a commit already; returns the sha of its commit either way."""
        known = {commit.trial: commit.sha for commit in self.commits()}
        return known[trial] if trial in known else self.commit(source, message, trial)

    def commits(self) -> list[Commit]:
        """The commits of the study's branch, oldest first."""
        if not self._git("for-each-ref", self._ref):
            return []
        log = self._git("log", "-z", "--reverse", "--first-parent", "--format=%H%n%B", self._ref)
        return [_commit(entry) for entry in log.split("\0") if entry]

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_stale_locks()
        except OSError as error:
            raise StorageError(f"expected a writable folder {self.folder}, found: {error}") from error
        self._git("init", "--quiet", "--template=")  # harmless when the repository exists
        self._git("symbolic-ref", "HEAD", self._ref)

    def _remove_stale_locks(self) -> None:
        git = self.folder / ".git"
        for lock in [*git.glob("*.lock"), *git.glob("refs/**/*.lock")]:
            lock.unlink(missing_ok=True)

    def _write(self, source: str) -> None:
        try:
            self.script.write_bytes(source.encode("utf-8"))
        except OSError as error:
            raise StorageError(f"expected a writable {self.script}, found: {error}") from error

    def _git(self, *arguments: str, stdin: str = "") -> str:
        # The repository is named outright: git must never climb to one around the studies' home.
        where = ("-C", str(self.folder), "--git-dir=.git", "--work-tree=.")
        settings = (part for setting in _SETTINGS for part in ("-c", setting))
        done = _run(["git", *where, *settings, *arguments], stdin.encode("utf-8", "replace"))
        if done.returncode != 0:
            raise StorageError(f"git {arguments[0]} in {self.folder} failed: {_reason(done.stderr)}")
        return done.stdout.decode("utf-8", "replace")


def _run(command: list[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, input=stdin, capture_output=True, env=_environment(), check=False)
    except FileNotFoundError as error:
        message = "expected git on the PATH, found none; install it, for example with `apt install git`"
        raise StorageError(message) from error


def _environment() -> dict[str, str]:
    name, email = AUTHOR
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return clean | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
        "LC_ALL": "C",
    }


def _commit(entry: str) -> Commit:
    sha, _, body = entry.partition("\n")
    lines = body.strip().splitlines() or [""]
    # Only the last line counts: a message is written by others and may quote a trailer.
    trailer = re.fullmatch(r"Trial: (\d+)", lines[-1])
    return Commit(sha, int(trailer[1]) if trailer else None, lines[0])


def _reason(stderr: bytes) -> str:
    """The last line that states the error; advice may follow it."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
    return next((line for line in reversed(lines) if line.startswith(("fatal:", "error:"))), lines[-1])
