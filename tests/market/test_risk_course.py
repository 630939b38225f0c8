"""Stress and systemic risk over time: nothing from the future, nothing from how much was loaded, and real crashes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_makers import DAY, HOUR, QUARTER, from_moves, panel, prices

from tpctl.exits.instrument import Unavailable
from tpctl.market.risk.course import Course, market_course
from tpctl.market.risk.prices import Panel, build_panel

FIELDS = ("stress", "ratios", "systemic", "shift", "turbulence_rank", "absorption", "falling")
MARKET = panel("A B C D", 70, seed=5)


def _course(found: Panel, samples: int | None = None) -> Course:
    course = market_course(found, samples)
    assert isinstance(course, Course), course
    return course


WHOLE = _course(MARKET)


@given(hours=st.integers(30 * 24, 69 * 24), seed=st.integers(0, 999))
@settings(max_examples=8)
def test_a_reading_uses_candles_up_to_its_time_only(hours: int, seed: int) -> None:
    """Another future after the cut, or none, changes nothing up to it."""
    cut = int(MARKET.at[hours])
    rng = np.random.default_rng(seed)
    wild = rng.standard_normal((len(MARKET) - hours - 1, 4)) * 0.05
    returns = np.vstack([MARKET.returns[: hours + 1], wild])
    closes = np.vstack([MARKET.closes[: hours + 1], MARKET.closes[hours] * np.exp(np.cumsum(wild, axis=0))])
    spans = np.vstack([MARKET.spans[: hours + 1], np.abs(wild) * 1.1])
    other = replace(MARKET, returns=returns, closes=closes, spans=spans)
    whole, ended, changed = WHOLE, _course(MARKET.until(cut)), _course(other)
    upto = int(np.searchsorted(whole.at, cut, side="right"))

    assert ended.at.tolist() == whole.at[:upto].tolist()
    for name in FIELDS:
        seen = getattr(whole, name)[:upto]
        np.testing.assert_allclose(getattr(ended, name), seen, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(getattr(changed, name)[:upto], seen, rtol=1e-9, atol=1e-12)


def test_the_newest_sample_does_not_depend_on_how_much_was_loaded() -> None:
    whole, newest = _course(MARKET), _course(MARKET, 1)

    for name in FIELDS:
        np.testing.assert_allclose(getattr(newest, name)[-1], getattr(whole, name)[-1], rtol=1e-5)


def test_scale_and_order_of_symbols_change_nothing() -> None:
    scaled = replace(MARKET, closes=MARKET.closes * np.array([1e-6, 1.0, 7.0, 1e5]))
    order = [2, 0, 3, 1]
    mixed = Panel(
        tuple(MARKET.symbols[k] for k in order),
        MARKET.interval_ms,
        MARKET.at,
        MARKET.closes[:, order],
        MARKET.returns[:, order],
        MARKET.spans[:, order],
        {},
    )
    first = _course(MARKET, 1)

    for other in (scaled, mixed):
        for name in FIELDS:
            np.testing.assert_allclose(getattr(_course(other, 1), name), getattr(first, name), rtol=1e-8)


def test_a_wilder_last_day_is_more_stress_and_a_calmer_one_less() -> None:
    def with_last_day(factor: float) -> float:
        series = {}
        for symbol, one in prices("A B C D", 60, seed=9).items():
            moves = np.diff(np.log(np.r_[100.0, one.close]))
            moves[-24:] *= factor
            series[symbol] = from_moves(symbol, moves)
        found = build_panel(series)
        assert isinstance(found, Panel)
        return float(_course(found, 1).stress[-1])

    calm, usual, wild = with_last_day(0.2), with_last_day(1.0), with_last_day(6.0)

    assert calm < usual < wild
    assert wild > 2.5


def test_readings_move_with_the_market() -> None:
    course = _course(MARKET)

    for values in (course.stress, course.systemic):
        known = values[np.isfinite(values)]
        assert len(known) > 800
        assert known.std() > 0.05


def test_too_little_history_and_long_gaps_are_unavailable() -> None:
    short = market_course(panel("A B C", 20))
    assert short == Unavailable("479 candles in common, at least 672 are needed")

    early, late = prices("A B C", 10), prices("A B C", 25, start=MARKET.at[0] // DAY * DAY + 200 * DAY)
    joined = {}
    for symbol, one in early.items():
        two = late[symbol]
        columns = (np.r_[getattr(one, name), getattr(two, name)] for name in ("at", "open", "high", "low", "close"))
        joined[symbol] = type(one)(symbol, HOUR, *columns)
    found = build_panel(joined)
    assert isinstance(found, Panel)
    assert market_course(found) == Unavailable("gaps in the candles leave too few of the last weeks")


def test_two_symbols_have_stress_but_no_systemic_risk() -> None:
    course = _course(panel("A B", 60), 1)

    assert np.isfinite(course.stress[-1])
    assert np.isnan(course.systemic[-1])


def test_a_market_that_stood_still_has_no_stress_to_tell() -> None:
    moves = np.zeros(60 * 24)
    moves[-30:] = 0.01
    found = build_panel({name: from_moves(name, moves) for name in "ABC"})
    assert isinstance(found, Panel)

    assert np.isnan(_course(found, 1).stress[-1])


# Recorded markets

CRASHES = {
    "luna": ("2022-05-08", "2022-05-14"),
    "ftx": ("2022-11-07", "2022-11-12"),
    "august": ("2023-08-17", "2023-08-18"),
    "february": ("2025-02-03", "2025-02-04"),
}
CALM_QUARTERS = [("2022-07", "2022-10"), ("2023-01", "2023-04"), ("2023-07", "2023-10"), ("2024-07", "2024-10")]


def _within(course: Course, begin: str, end: str) -> np.ndarray:
    at = course.at.astype("datetime64[ms]")
    return (at > np.datetime64(begin)) & (at <= np.datetime64(end))


def test_the_recorded_basket(recorded: Panel) -> None:
    assert recorded.interval_ms == QUARTER
    assert len(recorded.symbols) == 8
    assert recorded.excluded.keys() == {"TONUSDT"}


@pytest.mark.parametrize("name", CRASHES)
def test_known_crashes_are_over_critical(years: Course, name: str) -> None:
    inside = _within(years, *CRASHES[name])

    assert np.nanmax(years.stress[inside]) > 5.0
    assert np.nanmax(years.systemic[inside]) > 0.95


@pytest.mark.parametrize(("begin", "end"), CALM_QUARTERS)
def test_the_median_of_a_calm_quarter_is_about_one(years: Course, begin: str, end: str) -> None:
    inside = _within(years, begin, end)

    assert 0.9 < np.median(years.stress[inside]) < 1.1
    assert 0.35 < np.median(years.systemic[inside]) < 0.6


def test_calm_months_stay_below_critical_nearly_always(recorded: Panel, years: Course) -> None:
    """Calm by what prices did: a deviation below 0.6 % an hour and no hour beyond 4 %."""
    hours = recorded.returns[: len(recorded) // 4 * 4].mean(axis=1).reshape(-1, 4).sum(axis=1)
    month = recorded.at[3::4][: len(hours)].astype("datetime64[ms]").astype("datetime64[M]")
    calm = [m for m in np.unique(month) if hours[month == m].std() < 0.006 and np.abs(hours[month == m]).max() < 0.04]
    known = np.isfinite(years.systemic)
    inside = known & np.isin(years.at.astype("datetime64[ms]").astype("datetime64[M]"), calm)

    assert len(calm) >= 8
    assert 0.9 < np.median(years.stress[inside]) < 1.1
    assert (years.stress[inside] > 2.5).mean() < 0.01
    assert (years.systemic[inside] > 0.8).mean() < 0.06


def test_calibration_is_that_of_learning_9(years: Course) -> None:
    """About 10 % above 1.5 and 1 to 2 % above 2.5 for stress; 5 % above 0.8 for systemic risk, 0.5 typical."""
    stress = years.stress[np.isfinite(years.stress)]
    systemic = years.systemic[np.isfinite(years.systemic)]

    assert len(stress) > 26_000
    assert 0.08 < (stress > 1.5).mean() < 0.15
    assert 0.01 < (stress > 2.5).mean() < 0.02
    assert 0.04 < (systemic > 0.8).mean() < 0.06
    assert 0.45 < np.median(systemic) < 0.55


def test_a_crash_is_known_when_its_candle_closes_and_not_before(recorded: Panel) -> None:
    """XRP fell by 27 % in the quarter of an hour that closed at 21:45 on 17 August 2023."""
    closed = int(np.datetime64("2023-08-17T21:45", "ms").astype(np.int64))
    before, after = (_course(recorded.until(at), 1) for at in (closed - QUARTER, closed))

    assert before.stress[-1] < 2.5
    assert after.stress[-1] > 5.0
    assert after.systemic[-1] > 0.8


def test_truncating_recorded_candles_changes_no_reading_before(recorded: Panel, years: Course) -> None:
    for index in (3_000, 14_321, 26_000):
        ended = _course(recorded.until(int(years.at[index])), 1)
        for name in FIELDS:
            np.testing.assert_allclose(getattr(ended, name)[-1], getattr(years, name)[index], rtol=1e-5)
