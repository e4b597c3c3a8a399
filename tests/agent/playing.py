"""Builders of records, and a small simulated study for the agents to play."""

from collections.abc import Sequence

import numpy as np

from autoresearch_rl.agent.agents import Agent
from autoresearch_rl.agent.reward import losses, novelty, reward
from autoresearch_rl.records import Candidate, Change, Edit, State, Trial, TrialKind, Verdict

INCUMBENT = 2.0
BASELINE = 2.5


def make_candidate(site="lr", old="1.0", new="2.0", operator="scale", direction=1, magnitude=0.7):
    sites = (site,) if isinstance(site, str) else site
    edit = Edit(tuple(Change(s, old, new) for s in sites))
    return Candidate(edit, "literals", operator, direction, magnitude)


def make_trial(number, candidate=None, verdict=Verdict.DISCARD, gain=None, reward=0.0, **changes):
    edit = candidate.edit if candidate else Edit(())
    fields = {
        "number": number,
        "kind": TrialKind.EXPLORE,
        "parent": "a" * 64,
        "script": "b" * 64,
        "edit": edit,
        "candidate": candidate,
        "confirms": None,
        "seed": number,
        "verdict": verdict,
        "reason": "",
        "incumbent_bpb": INCUMBENT,
        "val_bpb": None if gain is None else INCUMBENT - gain,
        "reward": reward,
        "train_seconds": 3.0,
        "wall_seconds": 4.0,
        "peak_memory_mb": 100.0,
        "sandbox": "none",
        "started": 0.0,
        "seconds": {},
    }
    return Trial(**(fields | changes))


def make_state(history: Sequence[Trial] = (), candidates: Sequence[Candidate] = (), number=None, **changes):
    fields = {
        "number": len(history) if number is None else number,
        "script": "x = 1",
        "incumbent_bpb": INCUMBENT,
        "baseline_bpb": BASELINE,
        "noise": 0.001,
        "history": tuple(history),
        "candidates": tuple(candidates),
    }
    return State(**(fields | changes))


class Bandit:
    """Twelve sites, a third of which always help; the incumbent stays where it is."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        sites = [f"site_{chr(97 + i)}" for i in range(12)]
        self.good = set(self.rng.choice(sites, 4, replace=False))
        steps = [(-1, "0.5"), (-1, "0.9"), (1, "1.1"), (1, "2.0")]
        self.candidates = [
            make_candidate(site, new=new, direction=d, magnitude=abs(float(np.log(float(new)))))
            for site in sites
            for d, new in steps
        ]

    def is_good(self, candidate: Candidate) -> bool:
        return candidate.edit.changes[0].site in self.good

    def run(self, number: int, candidate: Candidate, history: Sequence[Trial]) -> Trial:
        gain = (0.02 if self.is_good(candidate) else -0.05) + 0.005 * float(self.rng.standard_normal())
        verdict = Verdict.KEEP if gain > 0.0 else Verdict.DISCARD
        earned = reward(verdict, gain, 3.0, 3.0, novelty(candidate, history), losses(history))
        return make_trial(number, candidate, verdict, gain, earned)


def play(agent: Agent, bandit: Bandit, trials: int, history: Sequence[Trial] = ()) -> list[Trial]:
    """Algorithm 1 without the training: ask, run, tell. Returns the whole history."""
    history = list(history)
    for _ in range(trials):
        state = make_state(history, bandit.candidates)
        trial = bandit.run(state.number, agent.propose(state), history)
        agent.learn(trial)
        history.append(trial)
    return history
