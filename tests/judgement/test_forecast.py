"""Forecasts: what they may know, how far they are off, and what they make of strange curves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_rl.judgement.curves import Curve
from autoresearch_rl.judgement.forecast import LEVEL, Forecast, Forecaster, Mode
from autoresearch_rl.judgement.powerlaw import extrapolate
from made_curves import Recipe, edited, made_study

MODES: tuple[Mode, ...] = ("ensemble", "paper", "last")
LOOKS = (0.3, 0.5, 0.7)


def forecasts(curves: list[Curve], mode: Mode = "ensemble") -> list[list[Forecast]]:
    forecaster, told = Forecaster(mode), []
    for curve in curves:
        told.append([forecaster.forecast(curve, look) for look in LOOKS])
        forecaster.add(curve)
    return told


def errors(curves: list[Curve], mode: Mode = "ensemble") -> np.ndarray:
    return np.array(
        [
            [abs(one.value - curve.final) for one in row]
            for row, curve in zip(forecasts(curves, mode), curves, strict=True)
        ]
    )


def same(one: Forecast, other: Forecast) -> bool:
    numbers = [(f.value, f.low, f.high, f.sd, f.lower(0.05)) for f in (one, other)]
    return numbers[0] == numbers[1]


@pytest.mark.parametrize("mode", MODES)
def test_a_forecast_knows_neither_later_runs_nor_the_rest_of_its_own(mode: Mode) -> None:
    curves, rng = made_study(1, 14), np.random.default_rng(2)
    before = forecasts(curves, mode)
    for k in range(len(curves)):
        changed = curves[:k] + [
            Curve.of(
                [(p, v) for p, v in zip(c.progress, c.values, strict=True) if k == i and p <= 0.5]
                + [(p, float(rng.normal(9, 3))) for p in np.linspace(0.51, 1.0, 9)]
            )
            for i, c in enumerate(curves[k:], start=k)
        ]
        after = forecasts(changed, mode)
        assert all(same(a, b) for i in range(k) for a, b in zip(before[i], after[i], strict=True))
        assert all(same(before[k][look], after[k][look]) for look in (0, 1))
        assert not same(before[k][2], after[k][2]), "the change would be seen where it may be"


def test_adding_the_same_runs_again_gives_the_same_forecasts() -> None:
    curves = made_study(3, 12)
    assert all(
        same(a, b)
        for one, other in zip(forecasts(curves), forecasts(curves), strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_it_beats_the_power_law_where_learning_rates_cool_down() -> None:
    curves = made_study(4, 40)
    ours, law = (np.median(errors(curves, mode), axis=0) for mode in ("ensemble", "paper"))
    assert (ours < law / 5).all(), (ours, law)
    assert (ours < [0.01, 0.005, 0.004]).all(), ours


def test_intervals_cover_and_stops_rarely_hit_a_winner() -> None:
    covered, below = [], []
    for seed in range(6):
        curves = made_study(100 + seed, 50)
        for row, curve in zip(forecasts(curves), curves, strict=True):
            covered.append([one.low <= curve.final <= one.high for one in row])
            below.append([curve.final < one.lower(0.05) for one in row])
    assert np.mean(covered, axis=0) == pytest.approx(LEVEL, abs=0.05)
    assert (np.mean(below, axis=0) <= 0.06).all()


def test_a_sudden_worse_script_gets_a_wide_interval_and_does_not_spoil_the_rest() -> None:
    rng = np.random.default_rng(5)
    forecaster = Forecaster()
    for _ in range(20):
        forecaster.add(edited(Recipe(), rng, 0.3).run(rng))
    good, bad = Recipe().run(rng), Recipe(floor=1.3, range=0.5, exponent=0.6).run(rng)
    usual, unusual = forecaster.forecast(good, 0.5), forecaster.forecast(bad, 0.5)
    assert usual is not None
    assert unusual is not None
    assert unusual.high - unusual.low > 5 * (usual.high - usual.low)
    assert unusual.lower(0.025) > good.final, "it is stopped for all that"
    forecaster.add(bad)
    after = forecaster.forecast(good, 0.5)
    assert after is not None
    assert after.value == pytest.approx(usual.value, abs=0.002)


def test_runs_that_diverge_late_say_nothing_of_others() -> None:
    rng = np.random.default_rng(12)
    forecaster, clean = Forecaster(), Forecaster()
    for k in range(20):
        curve = edited(Recipe(), rng, 0.3).run(rng)
        late = curve.values * np.where((curve.progress > 0.8) & (k % 5 == 0), 4.0, 1.0)
        forecaster.add(Curve(curve.progress, late, curve.rates))
        clean.add(curve)
    told, calm = forecaster.forecast(curve, 0.5), clean.forecast(curve, 0.5)
    assert told is not None
    assert calm is not None
    assert told.value == pytest.approx(calm.value, abs=0.005)


def test_the_learning_rate_tells_when_the_drop_is_still_to_come() -> None:
    def study(seed: int, report: bool) -> list[Curve]:
        rng = np.random.default_rng(seed)
        scripts = [
            replace(edited(Recipe(), rng, 3), gain=0.15, cooldown=rng.uniform(0.2, 0.95)) for _ in range(50)
        ]
        return [script.run(rng, report=report) for script in scripts]

    told, untold = (
        np.mean(np.concatenate([errors(study(seed, report))[10:] for seed in range(3)]), axis=0)
        for report in (True, False)
    )
    assert (told[1:] < 0.9 * untold[1:]).all(), (told, untold)


def test_without_earlier_runs_it_is_near_the_power_law_and_unsure() -> None:
    curve = Recipe().run(np.random.default_rng(7))
    told = Forecaster().forecast(curve, 0.5)
    assert told is not None
    law = Forecaster("paper").forecast(curve, 0.5)
    assert law is not None
    assert min(law.value, curve.until(0.5).final) <= told.value <= max(law.value, curve.until(0.5).final)
    assert told.low < curve.final < told.high


def test_without_a_reading_there_is_no_forecast_and_with_one_there_is() -> None:
    rng = np.random.default_rng(8)
    curve = Recipe().run(rng, readings=4)
    for forecaster in (Forecaster(), Forecaster("paper"), Forecaster("last")):
        assert forecaster.forecast(curve, 0.2) is None
        assert forecaster.forecast(Curve.of([]), 1.0) is None
        told = forecaster.forecast(curve, 0.3)
        assert told is not None
        assert told.low < told.value == curve.values[0] < told.high


def test_only_completed_runs_teach() -> None:
    with pytest.raises(ValueError, match="up to the end of its budget"):
        Forecaster().add(Recipe().run(np.random.default_rng(9)).until(0.6))


def test_a_curve_takes_readings_as_logs_have_them() -> None:
    nan, inf = float("nan"), float("inf")
    readings = [
        (0.5, 2.0),
        (0.0, 9.0),
        (nan, 1.0),
        (0.2, 3.0),
        (0.7, inf),
        (0.5, 1.0),
        (0.6, nan),
        (1.0, 1.2),
    ]
    curve = Curve.of(readings)
    assert curve.progress.tolist() == [0.2, 0.5, 1.0]
    assert curve.values.tolist() == [3.0, 1.5, 1.2]
    assert curve.complete
    assert not curve.until(0.9).complete
    assert np.isnan(curve.rate)


strange = st.lists(
    st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 1.0, 3.0, -1.0, 1e29])),
    min_size=1,
    max_size=12,
)


@given(st.lists(strange, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_strange_curves_give_finite_forecasts_or_none(values: list[list[float]]) -> None:
    forecaster = Forecaster()
    for row in values:
        curve = Curve.of(zip(np.linspace(0.1, 1, len(row)), row, strict=True))
        told = forecaster.forecast(curve, 0.5)
        if told is not None:
            assert np.isfinite([told.value, told.low, told.high, told.sd, told.lower(0.05)]).all()
            assert told.low <= told.value <= told.high
        if curve.complete:
            forecaster.add(curve)


@given(st.floats(0.01, 100))
@settings(max_examples=10, deadline=None)
def test_forecasts_do_not_depend_on_the_unit(factor: float) -> None:
    curves = made_study(10, 8)
    scaled = [Curve(c.progress, factor * c.values, c.rates) for c in curves]
    for one, other in zip(forecasts(curves), forecasts(scaled), strict=True):
        for a, b in zip(one, other, strict=True):
            assert [factor * a.value, factor * a.low] == pytest.approx([b.value, b.low], rel=1e-6)


def test_the_power_law_is_found_and_its_parts_are_not_negative() -> None:
    t = np.linspace(0.05, 0.5, 30)
    assert extrapolate(t, 1.1 + 0.3 * t**-0.5) == pytest.approx(1.4, abs=1e-3)
    assert extrapolate(t, 1.0 + t) == pytest.approx(1.0 + t.mean()), "b >= 0: no rising law"
    assert extrapolate(t, t**-0.5 - 2, at=50.0) >= 0, "a >= 0: it ends above 0"
    assert extrapolate(t[:2], np.array([3.0, 2.0])) == 2.0
