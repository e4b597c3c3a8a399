"""Whether the surrogate foresees what real edits gain."""

from __future__ import annotations

from dataclasses import replace

from autoresearch_rl.agent.scripts import Scripts
from autoresearch_rl.simulation.ranking import lift, told
from autoresearch_rl.simulation.recorded import BASELINE, POOR, read_trials


def test_from_a_poor_script_the_edits_that_should_gain_most_really_do() -> None:
    found = lift(read_trials().begun(POOR))
    assert found is not None
    assert found.studies == 5
    assert found.mean - 2.0 * found.error > 1.0


def test_where_no_edit_has_gained_there_is_nothing_to_say() -> None:
    real = read_trials()
    first_runs = [trials[0] for trials in real.studies.values()]
    assert lift(replace(real, trials=tuple(first_runs))) is None


def test_agents_see_the_scripts_that_really_ran() -> None:
    real = read_trials().begun(BASELINE)
    for trials in real.studies.values():
        history, scripts = list(told(trials, real.defaults)), Scripts()
        scripts.read(history)
        assert [scripts.config(trial.script) for trial in history] == [trial.config for trial in trials]
