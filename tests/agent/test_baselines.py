"""What the baselines learn, and how the optimizers of black boxes are asked and told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from optuna.samplers import BaseSampler, RandomSampler
from playing import Bandit, make_candidate, make_state, make_trial, play

from autoresearch_rl.agent.agents import Agent, make_agent
from autoresearch_rl.agent.baselines import EPSILON, GreedyAgent
from autoresearch_rl.agent.optuna_agent import ATTEMPTS, OptunaAgent
from autoresearch_rl.agent.random_agent import RandomAgent
from autoresearch_rl.errors import StorageError
from autoresearch_rl.records import Candidate, State, Trial, TrialKind, Verdict, script_id
from autoresearch_rl.simulation.problem import MadeProblem, Shape
from autoresearch_rl.simulation.study import SimulatedStudy

OPTIMIZERS = ("tpe", "cmaes")
NUMBERS = Shape(numbers=8, choices=0, recipes=0, mutations=0, inert=0.0, coupled=0.0, curvature=0.1)

# --- what they learn


class Known(Bandit):
    """Its scripts can be told apart."""

    def run(self, number: int, candidate: Candidate, history: Sequence[Trial]) -> Trial:
        trial = super().run(number, candidate, history)
        return replace(trial, parent=script_id("x = 1"), script=script_id(str(candidate)))


def share_of_good(agent: Agent, bandit: Bandit) -> float:
    """Of the last of a hundred choices."""
    return fmean(bandit.is_good(t.candidate) for t in play(agent, bandit, 100)[-40:] if t.candidate)


@pytest.mark.parametrize("name", ["greedy", "improvement", "thompson"])
def test_it_learns_which_places_are_good(name: str) -> None:
    """A third of them are; one who does not learn finds no more."""
    shares = [share_of_good(make_agent(name, seed), Known(seed)) for seed in range(2)]
    assert min(shares) > 0.7
    assert share_of_good(RandomAgent(0), Known(0)) < 0.5


def late(agent: Agent, seed: int) -> float:
    """Mean true gain of the last proposals in a simulated study, a crash as a large loss."""
    study = SimulatedStudy(MadeProblem(NUMBERS, seed), agent, seed).run(45)
    proposed = [trial.script for trial in study.trials if trial.kind is TrialKind.EXPLORE][-15:]
    truths = [study.truth(script) for script in proposed]
    return fmean(NUMBERS.start - (2.0 * NUMBERS.start if bpb is None else bpb) for bpb in truths)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_learns_where_good_values_are(name: str) -> None:
    """The control draws values at random from the same ranges."""
    for seed in range(2):
        blind = OptunaAgent("blind", lambda seed: RandomSampler(seed), seed)
        assert late(make_agent(name, seed), seed) > late(blind, seed) + 0.5


def test_greedy_takes_what_gained_before_what_is_untried_before_what_lost() -> None:
    good, new, lost, bad = (make_candidate(site) for site in ("good", "new", "lost", "bad"))
    history = [
        make_trial(0, good, Verdict.KEEP, gain=0.5),
        make_trial(1, bad, Verdict.CRASH),
        make_trial(2, lost, gain=-0.1),
        make_trial(3, lost, gain=-0.1),
    ]
    agent = GreedyAgent(0)

    def share(*candidates: Candidate) -> float:
        """How often the first one is chosen."""
        chosen = [agent.propose(make_state(history, candidates)) for _ in range(200)]
        return chosen.count(candidates[0]) / 200

    assert share(good, new, bad) > 1.0 - 1.5 * EPSILON
    assert share(new, bad) > 1.0 - 1.5 * EPSILON
    assert share(lost, bad) > 1.0 - 1.5 * EPSILON, "a failure says more than a loss"


def test_greedy_does_not_prefer_edits_for_having_many_parts() -> None:
    parts = tuple(make_candidate(f"new{i}") for i in range(3))
    edit = replace(parts[0].edit, changes=tuple(c for part in parts for c in part.edit.changes))
    compound = Candidate(edit, "compound", "compound", 0, 1.0, parts=parts)
    good = make_candidate("good")
    others = [make_trial(n, make_candidate("other"), gain=-0.05) for n in (1, 2)]
    history = [make_trial(0, good, Verdict.KEEP, gain=0.5), *others]
    chosen = [GreedyAgent(seed).propose(make_state(history, [good, compound])) for seed in range(50)]
    assert chosen.count(good) > 40


# --- the optimizers of black boxes


class Notes(RandomSampler):
    """Writes down what it is told."""

    def __init__(self, told: list[tuple[dict[str, float], float]]) -> None:
        super().__init__(seed=0)
        self.told = told

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        self.told.append((dict(trial.params), values[0]))


def noting() -> tuple[OptunaAgent, list[tuple[dict[str, float], float]]]:
    told: list[tuple[dict[str, float], float]] = []
    return OptunaAgent("notes", lambda _: Notes(told), 0), told


LADDER = [make_candidate("lr", "1.0", new) for new in ("0.1", "0.3", "3.0", "10.0")]


def lr_of(candidate: Candidate) -> float:
    return float(candidate.edit.changes[0].new)


def test_scores_reach_the_values_that_they_are_of_in_any_order() -> None:
    agent, told = noting()
    asked = {n: agent.propose(make_state(candidates=LADDER, number=n)) for n in range(4)}
    for n in (2, 0, 3, 1):
        agent.learn(make_trial(n, asked[n], gain=-lr_of(asked[n])))
    steps = [params["lr"] for params, _ in told]
    assert [score - 2.0 for _, score in told] == pytest.approx([lr_of(asked[n]) for n in (2, 0, 3, 1)])
    assert sorted(steps) == [params["lr"] for params, _ in sorted(told, key=lambda pair: pair[1])]
    assert len({candidate.edit for candidate in asked.values()}) == 4


def test_a_failure_is_as_bad_as_the_worst_and_a_pruned_run_as_its_forecast() -> None:
    agent, told = noting()
    results: list[tuple[Verdict, dict[str, Any]]] = [
        (Verdict.REJECTED, {}),
        (Verdict.DISCARD, {"val_bpb": 7.0}),
        (Verdict.CRASH, {}),
        (Verdict.PRUNED, {"forecast": 3.0}),
        (Verdict.PRUNED, {"forecast": float("nan")}),
        (Verdict.TIMEOUT, {}),
    ]
    for number, (verdict, fields) in enumerate(results):
        candidate = agent.propose(make_state(candidates=LADDER, number=number))
        agent.learn(make_trial(number, candidate, verdict, **fields))
    assert [score for _, score in told] == [2.0, 7.0, 7.0, 3.0, 7.0, 7.0]


def test_what_was_proposed_before_a_restart_and_comes_back_late_is_not_learnt_from() -> None:
    agent, _ = noting()
    candidate = agent.propose(make_state(candidates=LADDER, number=3))
    other, told = noting()
    other.restore(agent.checkpoint())
    before = other.checkpoint()
    other.learn(make_trial(3, candidate, gain=0.1))
    assert other.checkpoint() == before
    assert told == []


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_is_tried_twice(name: str) -> None:
    """Three values of one number: two trials, then something else."""
    agent, history = make_agent(name, 0), [reference()]
    ladder = [make_candidate("DEPTH", "1", new, operator="step") for new in ("2", "4")]
    switch = make_candidate("TIE", "False", "True", operator="toggle")
    chosen = []
    for number in range(1, 4):
        state = make_state(history, [*ladder, switch], number)
        chosen.append(agent.propose(state))
        history.append(tried(state, chosen[-1], 1.9))
        agent.learn(history[-1])
    assert {str(candidate) for candidate in chosen[:2]} == {"DEPTH: 1 -> 2", "DEPTH: 1 -> 4"}
    assert chosen[2] in (*ladder, switch)


def test_several_workers_are_given_different_edits() -> None:
    agent, history = make_agent("tpe", 0), [reference()]
    ladder = [make_candidate("DEPTH", "1", new, operator="step") for new in ("2", "4")]
    chosen = {str(agent.propose(make_state(history, ladder, number))) for number in (1, 2)}
    assert chosen == {"DEPTH: 1 -> 2", "DEPTH: 1 -> 4"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_edits_start_from_what_leads_and_leave_alone_what_is_frozen(name: str) -> None:
    agent = make_agent(name, 0)
    agent.propose(make_state(candidates=[*LADDER, make_candidate("WIDTH", "64", "128")]))
    leader = [make_candidate("lr", "0.37", "0.74")]
    for number in range(1, 10):
        changes = agent.propose(make_state(candidates=leader, number=number)).edit.changes
        assert [(change.site, change.old) for change in changes] == [("lr", "0.37")]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_script_without_numbers_gets_what_there_is(name: str) -> None:
    switches = [make_candidate(site, "False", "True", operator="toggle") for site in "abc"]
    agent = make_agent(name, 0)
    assert {agent.propose(make_state(candidates=switches)).topics[0] for _ in range(40)} == set("abc")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_proposal_says_who_made_it(name: str) -> None:
    candidate = make_agent(name, 0).propose(make_state(candidates=LADDER))
    assert (candidate.generator, candidate.operator, candidate.topics) == (name, "sample", ("lr",))


@pytest.mark.parametrize(
    "damage",
    [
        {"log": [None, [0, 1.0], [0, 1.0]]},  # told twice
        {"log": [None, [5, 1.0]]},
        {"log": 3},
        {"knobs": [["lr"]]},
        {"knobs": [["lr", "1.0", "no such scale", 0.1, 10.0, []]]},
        {"first_bpb": None},
        {"agent": "random"},
    ],
)
def test_a_damaged_list_of_what_was_told_is_refused(damage: dict[str, Any]) -> None:
    agent = make_agent("cmaes", 0)
    agent.propose(make_state(candidates=LADDER))
    before = agent.checkpoint()
    with pytest.raises(StorageError, match="not a checkpoint of the cmaes agent") as caught:
        agent.restore(json.dumps({**json.loads(before), **damage}).encode())
    assert len(str(caught.value).splitlines()) == 1
    assert agent.checkpoint() == before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optuna_that_samples_otherwise_is_noticed(name: str) -> None:
    """Else scores would be taken for those of other values."""
    agent = make_agent(name, 0)
    play(agent, Bandit(0), 15)
    fields = json.loads(agent.checkpoint())
    fields |= {"optuna": "4.0.1", "seed": 1}
    with pytest.raises(StorageError, match=r"Optuna 4\.0\.1.*install that"):
        agent.restore(json.dumps(fields).encode())


def reference() -> Trial:
    """The baseline, measured."""
    baseline = script_id("x = 1")
    return replace(make_trial(0, val_bpb=2.0), kind=TrialKind.REFERENCE, parent=baseline, script=baseline)


def tried(state: State, candidate: Candidate, bpb: float) -> Trial:
    """An edit of the state's script, measured."""
    script = script_id(str(candidate))
    return make_trial(state.number, candidate, parent=script_id(state.script), script=script, val_bpb=bpb)


def test_a_sampler_that_knows_nothing_new_is_not_asked_for_ever() -> None:
    class Stuck(RandomSampler):
        def sample_independent(self, *_: Any) -> float:
            return 0.0

    def stuck(_: int) -> BaseSampler:
        return Stuck()

    agent = OptunaAgent("stuck", stuck, 0)
    assert agent.propose(make_state([reference()], LADDER)) in LADDER
    assert len(json.loads(agent.checkpoint())["log"]) == 2 * ATTEMPTS
