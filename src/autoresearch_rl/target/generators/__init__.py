"""Where candidates come from: each generator looks at a script and names edits that could be tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from autoresearch_rl.records import Candidate, Trial
from autoresearch_rl.target.script import Script


class Generator(Protocol):
    """One source of candidates. It knows the script and the history, and nothing of who chooses."""

    @property
    def name(self) -> str:
        """By which a person steers it, and trials remember it."""
        ...

    @property
    def share(self) -> float:
        """Its part of the attention of an agent that knows nothing yet, relative to the others."""
        ...

    @property
    def remembers(self) -> bool:
        """Whether what it proposes depends on the history, not on the script alone."""
        ...

    def propose(self, script: Script, history: Sequence[Trial] = ()) -> Iterator[Candidate]:
        """Edits of `script`, each of which can be applied and undone.

        They are checked for nothing else: `Space` drops what does not parse or was tried before.

        Args:
            script: What the edits are applied to; it validates.
            history: All trials of the study in order of completion.
        """
        ...
