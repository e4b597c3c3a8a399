"""AutoResearch-RL: an agent that edits a training script, runs it, keeps what is better, and learns by PPO.

`create_study(...)` opens a study, `Study.run(trials=20)` lets it go on, and `Study.ask` and
`Study.tell` are the two halves of a trial for those who bring their own loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoresearch_rl.opening import create_study
    from autoresearch_rl.study import Study

__all__ = ["Study", "create_study"]
__version__ = "0.1.0"

_HOMES = {"Study": "study", "create_study": "opening"}


def __getattr__(name: str) -> Any:
    """Imports the public names when they are used: `import autoresearch_rl` stays light, without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
