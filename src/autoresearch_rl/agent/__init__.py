"""(iii) The meta-learner: features, policy, PPO, reward."""
