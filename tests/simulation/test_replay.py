"""Replayed studies: real scripts, real candidates, and scores that were fitted to real trials."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface.policy_bench.suites import SUITES
from autoresearch_rl.records import Change, Edit, Trial, Verdict
from autoresearch_rl.simulation.recorded import BASELINE, POOR, RealTrials, read_trials, write_trials
from autoresearch_rl.simulation.replay import ReplayProblem, replay, shipped_problem
from autoresearch_rl.simulation.response import DRAWS, Response, Unknown, noise
from autoresearch_rl.simulation.study import SimulatedStudy
from autoresearch_rl.simulation.validate import fit, held_out
from autoresearch_rl.target.script import Script

LITERALS = ("literals", "scale")


@pytest.fixture(scope="module")
def real() -> RealTrials:
    return read_trials()


@pytest.fixture(scope="module")
def response(real: RealTrials) -> Response:
    return Response(real.half(True))


@pytest.fixture(scope="module")
def studied() -> SimulatedStudy:
    return replay("random", 0, 12)


def changed(problem: ReplayProblem, **values: str) -> str:
    sites = Script(problem.baseline).sites
    edit = Edit(tuple(Change(place, sites[place].code, text) for place, text in values.items()))
    return problem.apply(problem.baseline, edit)


# --- the file


def test_a_file_is_written_as_it_was_read(tmp_path: Path, real: RealTrials) -> None:
    write_trials(tmp_path / "again.gz", real)
    assert read_trials(tmp_path / "again.gz") == real
    write_trials(tmp_path / "more.gz", real)
    assert (tmp_path / "again.gz").read_bytes() == (tmp_path / "more.gz").read_bytes()


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.gz").write_bytes(b"study,bpb\n")
    with pytest.raises(ConfigurationError, match="not a file of real trials"):
        read_trials(tmp_path / "other.gz")


def test_the_halves_share_no_study_and_have_both_starts(real: RealTrials) -> None:
    even, odd = real.half(False), real.half(True)
    assert len(even.trials) + len(odd.trials) == len(real.trials)
    assert not even.studies.keys() & odd.studies.keys()
    for half in (even, odd):
        assert {trial.start for trial in half.trials} == {BASELINE, POOR}


# --- the surrogate


def test_the_suite_foretells_from_the_odd_half_alone(real: RealTrials, response: Response) -> None:
    problem, others = shipped_problem(), [Response(real.half(False)), Response(real)]
    scripts = [changed(problem, WIDTH="128"), changed(problem, LEARNING_RATE="1e-2"), problem.baseline]
    truths = [problem.truth(script) for script in scripts]
    assert truths == [response.bpb(problem.config(script), {}) for script in scripts]
    assert problem.sigma == noise(real.half(True).begun(BASELINE)) != noise(real.half(False).begun(BASELINE))
    for other in others:
        assert truths != [other.bpb(problem.config(script), {}) for script in scripts]


def test_it_foretells_studies_that_it_has_not_seen(real: RealTrials) -> None:
    """The floors are a third below what docs/benchmark.md says."""
    pairs = held_out(real)
    baseline, poor = fit(pairs, BASELINE), fit(pairs, POOR)
    assert baseline.r2 > 0.3
    assert baseline.spearman > 0.55
    assert baseline.gain_spearman > 0.25
    assert poor.r2 > 0.5
    assert poor.spearman > 0.6
    assert poor.gain_spearman > 0.2


def test_what_was_foretold_of_shuffled_trials_is_worthless(real: RealTrials) -> None:
    """Else the floors above would prove nothing."""
    shuffled = [
        replace(pair, foretold=other.foretold, parent=other.parent)
        for pairs in [held_out(real)]
        for pair, other in zip(pairs, pairs[37:] + pairs[:37], strict=True)
        if pair.trial.start == BASELINE
    ]
    assert fit(shuffled, BASELINE).gain_spearman < 0.15


def test_the_poor_start_is_worse_and_noise_is_what_repeated_runs_show(
    real: RealTrials, response: Response
) -> None:
    problem = shipped_problem(poor=True)
    baseline, poor = response.bpb({}, {}), response.bpb(problem.config(problem.baseline), {})
    assert baseline is not None
    assert poor is not None
    assert 3.4 < baseline < 3.9 < 6.0 < poor < 6.8
    assert 0.01 < noise(real.begun(BASELINE)) < 0.06
    assert 0.01 < noise(real.begun(POOR)) < 0.1


def test_heights_and_depths_are_inverse(response: Response) -> None:
    scale = response.scale
    assert [scale.depth(scale.height(bpb)) for bpb in (2.5, 3.7, 7.9)] == pytest.approx([2.5, 3.7, 7.9])
    assert scale.depth(math.inf) == scale.depth(scale.height(50.0)) == 8.0
    assert scale.depth(scale.height(0.1)) > scale.floor, "nothing is below the floor"


def test_what_was_never_tried_rarely_helps(real: RealTrials, response: Response) -> None:
    """The worse of two draws from the effects of its kind, the same whenever it is asked for."""
    places = [f"no_such_recipe_{i}" for i in range(300)]
    kinds = dict.fromkeys(places, ("recipes", ""))
    effects = [response.extra({place: "on"}, kinds) for place in places]
    assert effects == [response.extra({place: "on"}, kinds) for place in places]
    helps = sum(effect < -0.03 for effect in effects) / len(effects)
    known = Unknown(real.half(True), 0, response.scale)._effects["recipes", ""]
    share = sum(effect < -0.03 for effect in known) / len(known)
    assert helps < max(0.05, 2.0 * share**DRAWS)
    assert sorted(effects)[len(effects) // 2] > sorted(known)[len(known) // 2]
    other = Unknown(real.half(True), 1, response.scale)
    assert effects != [other.effect(place, "", ("recipes", "")) for place in places]


def test_values_beyond_those_that_were_seen_do_not_help(response: Response) -> None:
    kinds = {"LEARNING_RATE": LITERALS}
    far = [response.bpb({"LEARNING_RATE": text}, kinds) for text in ("100.0", "1e5", "1e9")]
    found = [bpb for bpb in far if bpb is not None]
    assert found == sorted(found)
    worst = response.bpb({"LEARNING_RATE": "1e-9"}, kinds)
    assert worst is None or worst > 4.0


# --- the problem


def test_candidates_are_real_edits_and_each_has_a_truth(studied: SimulatedStudy) -> None:
    problem = studied.problem
    assert isinstance(problem, ReplayProblem)
    candidates = problem.candidates(problem.baseline)
    assert {c.generator for c in candidates} == {"literals", "recipes", "grammar", "compound"}
    truths = {problem.truth(problem.apply(problem.baseline, c.edit)) for c in candidates[::7]}
    assert len(truths) > len(candidates) / 7 / 3
    recipe = next(c for c in candidates if c.generator == "recipes")
    result = problem.apply(problem.baseline, recipe.edit)
    assert problem.config(result) == {recipe.topic: "on"}
    compile(result, "train.py", "exec")


def test_there_and_back_is_the_same_script() -> None:
    problem = shipped_problem()
    there = changed(problem, WIDTH="128")
    assert problem.config(there) == {"WIDTH": "128"}
    assert problem.apply(there, Edit((Change("WIDTH", "128", "64"),))) == problem.baseline
    with pytest.raises(KeyError):
        problem.apply(there, Edit((Change("WIDTH", "64", "32"),)))


def test_sizes_that_do_not_fit_are_refused_and_cost_no_trial() -> None:
    class Clumsy:
        def __init__(self) -> None:
            self.told: list[Trial] = []
            self.texts: Iterator[str] = iter(("7", "8"))

        def propose(self, state):
            return replace(
                state.candidates[0], edit=Edit((Change("HEADS", "4", next(self.texts)),)), topic=""
            )

        def learn(self, trial):
            self.told.append(trial)
            return {}

    agent = Clumsy()
    study = SimulatedStudy(shipped_problem(), agent, 0).run(1)
    assert agent.told[0].verdict is Verdict.REJECTED
    assert agent.told[1].verdict is not Verdict.REJECTED
    assert sum(t.counts for t in study.trials) == 1


def test_nothing_is_tried_twice_and_joined_edits_are_known(studied: SimulatedStudy) -> None:
    explored = [t.script for t in studied.trials if t.kind == "explore"]
    assert len(set(explored)) == len(explored)
    state = studied.state()
    assert state.join is not None
    first, *others = [c for c in state.candidates if c.generator == "literals"]
    other = next(c for c in others if c.topics != first.topics)
    joined = state.join([first, other])
    assert joined is not None
    assert state.join([first, first]) is None
    problem = studied.problem
    assert isinstance(problem, ReplayProblem)
    before = problem.config(state.script)
    after = problem.config(problem.apply(state.script, joined.edit))
    places = {place for place in before | after if before.get(place) != after.get(place)}
    assert places == {*first.topics, *other.topics}


def test_the_seed_decides(studied: SimulatedStudy) -> None:
    assert replay("random", 0, 12).trials == studied.trials
    assert replay("random", 1, 3).trials != studied.trials[:6]


def test_an_agent_that_knows_finds_more_than_one_that_draws(studied: SimulatedStudy) -> None:
    class Knowing:
        def propose(self, state):
            def truth(candidate) -> float:
                result = problem.apply(state.script, candidate.edit)
                return 9.0 if problem.refuses(result) else problem.truth(result) or 9.0

            return min(state.candidates, key=truth)

        def learn(self, trial):
            return {}

    problem = shipped_problem()
    study = SimulatedStudy(problem, Knowing(), 0).run(5)
    assert studied.best() > study.best() + 0.2


def test_the_suite_has_its_runs(tmp_path: Path) -> None:
    suite = SUITES["replay"](tmp_path, True)
    suite.prepare(["random"], 1)
    run = suite.run("random", 3, 4, lambda _: None)
    assert (run.suite, run.policy, run.seed, len(run.curve)) == ("replay-poor", "random", 3, 4)
    assert 6.0 < run.start < 6.8
    assert suite.stored("random", 3) is None
