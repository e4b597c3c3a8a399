"""`python -m autoresearch_rl`."""

from autoresearch_rl.interface.cli import main

main()
