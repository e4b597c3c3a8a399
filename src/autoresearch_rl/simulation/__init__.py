"""Studies whose truth is known: to calibrate the judgement, to train the agent and to compare agents."""
