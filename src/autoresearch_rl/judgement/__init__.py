"""Judgement: what is kept, and when to stop."""
