"""Code that runs inside the sandbox. It imports nothing of this package but its own folder."""
