"""(ii) The mutable target: the script as a syntax tree, its edits, and where they come from."""
