"""`bench agent`: what a decision costs, and that a restored policy goes on as the same."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from autoresearch_rl.agent.random_agent import RandomAgent
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface import bench_agent
from autoresearch_rl.interface.bench_agent import render_agent
from autoresearch_rl.records import Trial


@pytest.mark.parametrize("policy", ["ppo", "thompson"])
def test_costs_are_measured_and_a_restored_policy_goes_on_as_the_same(policy: str) -> None:
    facts = bench_agent.bench_agent(policy, 150, 24, 0)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["trials"] >= 24
    assert 100 < facts["candidates"] < 250
    for clock in ("propose_ms", "learn_ms"):
        assert 0 < facts[clock]["median"] <= facts[clock]["max"]
    restored = facts["restored"]
    assert restored["same"] == restored["proposals"] >= 8
    assert restored["equal"]
    text = render_agent(facts)
    assert f"{restored['same']} of {restored['proposals']} proposals the same" in text
    assert "equal to the last bit" in text


class _Forgetful(RandomAgent):
    """Does not restore the state of its dice."""

    def restore(self, data: bytes) -> None:
        pass

    def learn(self, trial: Trial) -> Mapping[str, float]:
        return {}


def test_a_policy_that_forgets_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_agent, "make_agent", lambda name, seed: _Forgetful(seed))
    facts = bench_agent.bench_agent("random", 150, 24, 0)
    assert facts["restored"]["same"] < facts["restored"]["proposals"]
    assert not facts["restored"]["equal"]
    assert "NOT equal" in render_agent(facts)


def test_where_nothing_is_left_to_try_nothing_is_said_of_the_restored_one() -> None:
    facts = bench_agent.bench_agent("random", 28, 3000, 0)
    assert facts["restored"] == {"proposals": 0, "same": 0, "equal": None}
    assert "not compared: nothing was left to try" in render_agent(facts)


def test_an_unknown_policy_is_one_clear_line() -> None:
    with pytest.raises(ConfigurationError, match=r"^no policy is called 'best'; choose one of: ppo"):
        bench_agent.bench_agent("best", 150, 24, 0)
