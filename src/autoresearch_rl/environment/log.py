"""The log of an untrusted script: bounded (head and tail), and stripped before anyone sees it."""

from __future__ import annotations

import re
import threading

HEAD = TAIL = 32 * 1024

# ANSI escape sequences (ECMA-48: CSI, OSC and other strings, two-byte), then any other control characters.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\|$)|[ -/]*[0-~])", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Untrusted text without escape sequences, control and bidirectional characters."""
    text = text.encode("utf-8", "replace").decode()  # no half of a surrogate pair: nobody could print it
    lines = text.replace("\r\n", "\n").replace("\r", "\n")  # a progress bar is many lines, not a long one
    return _CONTROLS.sub("", _ESCAPES.sub("", lines))


def one_line(text: object, limit: int = 300) -> str:
    """Untrusted text as one clean line."""
    return " ".join(clean(str(text)[: 8 * limit]).split())[:limit]


class LogRing:
    """Keeps the first and the last bytes of a stream, whatever its length. Safe between two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._head, self._tail, self.total = b"", b"", 0

    def write(self, data: bytes) -> None:
        """Adds bytes."""
        with self._lock:
            self.total += len(data)
            room = HEAD - len(self._head)
            self._head += data[:room]
            self._tail = (self._tail + data[room:])[-TAIL:] if room < len(data) else self._tail

    def text(self) -> str:
        """What was kept, cleaned, with a line that tells how much is missing."""
        with self._lock:
            missing = self.total - len(self._head) - len(self._tail)
            middle = f"\n... {missing} bytes left out ...\n" if missing else ""
            return clean(self._head.decode(errors="replace") + middle + self._tail.decode(errors="replace"))
