"""One-time work before a task on a corpus of its own: download, split, tokens. No trial runs this code."""
