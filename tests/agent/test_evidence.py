"""What the history says of a candidate, in one number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from autoresearch_rl.agent.evidence import log_expected_improvement


@pytest.mark.parametrize("sd", [0.1, 1.0, 8.0])
@pytest.mark.parametrize("distance", [-3.0, -0.5, 0.0, 2.0])
def test_expected_improvement_is_the_integral_that_it_stands_for(distance: float, sd: float) -> None:
    mean = distance * sd
    integral, _ = quad(lambda gain: gain * norm.pdf(gain, mean, sd), 0.0, mean + 12.0 * sd)
    found = log_expected_improvement(np.array([mean]), np.array([sd]))
    assert found[0] == pytest.approx(math.log(integral), abs=1e-6)


def test_what_cannot_gain_has_the_least() -> None:
    means, deviations = np.array([-40.0, -1.0, -1e6]), np.array([1.0, 0.0, 1.0])
    assert log_expected_improvement(means, deviations).tolist() == [-12.0, -12.0, -12.0]
