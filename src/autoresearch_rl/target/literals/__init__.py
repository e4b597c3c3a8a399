"""The literals of a script: where they stand, what they are for and divide, and what they may become."""
