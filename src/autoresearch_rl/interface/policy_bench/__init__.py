"""`bench policies`: which policy finds more, with equal tasks, seeds and trials, in pairs."""
