"""(i) The frozen environment: task, corpus, sandbox, trial runner, trusted evaluator."""
