"""Trains the policy on simulated studies, so that it comes to a real one knowing how to do research."""
