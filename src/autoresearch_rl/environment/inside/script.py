"""Imports the script under its own name, so that its classes are found again by the server."""

from __future__ import annotations

import linecache
import sys
import traceback
import types
from typing import Any

NAME = "train"


def load(source: str, name: str = NAME) -> Any:
    """Runs the script's top level as a module of that name and returns the module."""
    module = types.ModuleType(name)
    module.__file__ = f"{NAME}.py"
    sys.modules[name] = module
    linecache.cache[f"{NAME}.py"] = (len(source), None, source.splitlines(keepends=True), f"{NAME}.py")
    exec(compile(source, f"{NAME}.py", "exec", dont_inherit=True), module.__dict__)
    return module


def print_traceback(error: BaseException) -> None:
    """Prints the traceback from the script's own first line on: our frames are not its author's concern."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename != f"{NAME}.py":
        trace = trace.tb_next
    traceback.print_exception(error.with_traceback(trace))


def describe(error: BaseException) -> str:
    """One line about an error, for the verdict; the traceback is in the log."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__
