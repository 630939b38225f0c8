"""The regime: each class on a market made to be it, and the properties that keep it honest."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from candle_makers import HOUR, mirrored, scaled, walk, wave
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Regime
from tpctl.market.regime import MINIMUM_BARS, WINDOW, RegimeReadings, classify, read_regime, regime
from tpctl.ports import Candle

CALM = RegimeReadings(
    efficiency=0.2,
    channel_efficiency=0.2,
    strength=20.0,
    choppiness=50.0,
    swings=1,
    range_rank=0.5,
    range_ratio=1.0,
)


@pytest.mark.parametrize("drift", [0.004, -0.004])
def test_a_steady_drift_is_trending_up_or_down(drift: float) -> None:
    assert regime(walk(400, sigma=0.002, drift=drift)) is Regime.TRENDING


def test_a_burst_of_wide_bars_is_volatile() -> None:
    assert regime(walk(400, late=4.0)) is Regime.VOLATILE


def test_slow_swings_between_two_levels_are_ranging() -> None:
    assert regime(wave(400, period=20, height=0.02)) is Regime.RANGING


def test_fast_reversals_on_the_spot_are_chop() -> None:
    assert regime(wave(400, period=3, height=0.01)) is Regime.CHOP


def test_driftless_walks_are_mostly_normal_and_never_all_one_class() -> None:
    seen = Counter(regime(walk(300, seed=seed)) for seed in range(60))

    assert seen[Regime.NORMAL] > 30
    assert len(seen) >= 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Regime.NORMAL),
        ({"range_rank": 0.90, "range_ratio": 1.5}, Regime.VOLATILE),
        ({"range_rank": 0.89, "range_ratio": 1.5}, Regime.NORMAL),
        ({"range_rank": 0.90, "range_ratio": 1.49}, Regime.NORMAL),
        ({"efficiency": 0.35, "strength": 25.0}, Regime.TRENDING),
        ({"efficiency": 0.34, "strength": 25.0}, Regime.NORMAL),
        ({"efficiency": 0.35, "strength": 24.9}, Regime.NORMAL),
        ({"choppiness": 61.8}, Regime.CHOP),
        ({"choppiness": 61.7}, Regime.NORMAL),
        ({"swings": 3, "channel_efficiency": 0.15}, Regime.RANGING),
        ({"swings": 2, "channel_efficiency": 0.15}, Regime.NORMAL),
        ({"swings": 3, "channel_efficiency": 0.16}, Regime.NORMAL),
        ({"efficiency": 0.9, "strength": 60.0, "range_rank": 1.0, "range_ratio": 3.0}, Regime.VOLATILE),
        ({"choppiness": 70.0, "swings": 5, "channel_efficiency": 0.0}, Regime.CHOP),
    ],
)
def test_thresholds_are_inclusive_and_the_first_rule_wins(changes: dict[str, float], expected: Regime) -> None:
    assert classify(replace(CALM, **changes)) is expected


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), factor=st.sampled_from([1e-6, 0.01, 3.0, 1e5]))
def test_unit_and_side_do_not_matter(seed: int, factor: float) -> None:
    candles = walk(200, seed=seed)
    plain, larger, inverted = (read_regime(each) for each in (candles, scaled(candles, factor), mirrored(candles)))
    assert isinstance(plain, RegimeReadings)
    assert isinstance(larger, RegimeReadings)
    assert isinstance(inverted, RegimeReadings)

    for other in (larger, inverted):
        assert other.efficiency == pytest.approx(plain.efficiency)
        assert other.channel_efficiency == pytest.approx(plain.channel_efficiency)
        assert other.strength == pytest.approx(plain.strength)
        assert other.choppiness == pytest.approx(plain.choppiness)
        assert other.range_ratio == pytest.approx(plain.range_ratio)
        assert other.swings == plain.swings


def test_readings_stay_in_their_bounds_on_jumps_and_spikes() -> None:
    candles = walk(300, seed=5)
    candles[-1] = replace(candles[-1], high=candles[-1].high * 3, low=candles[-1].low / 3)
    found = read_regime(candles)

    assert isinstance(found, RegimeReadings)
    assert 0 <= found.efficiency <= 1
    assert 0 <= found.strength <= 100
    assert 0 <= found.choppiness <= 100
    assert 0 <= found.range_rank <= 1


def test_more_history_than_the_window_changes_nothing() -> None:
    candles = walk(WINDOW + 200)

    assert read_regime(candles) == read_regime(candles[-WINDOW:])


def test_the_future_changes_nothing() -> None:
    candles = walk(400)
    before = [regime(candles[:end]) for end in range(200, 300, 10)]
    shocked = candles[:300] + scaled(candles[300:], 0.5)

    assert [regime(shocked[:end]) for end in range(200, 300, 10)] == before


def _flat(candle: Candle) -> Candle:
    return replace(candle, open=1.0, high=1.0, low=1.0, close=1.0)


@pytest.mark.parametrize(
    "candles",
    [
        walk(MINIMUM_BARS - 1),
        [_flat(candle) for candle in walk(200)],
        [*(_flat(candle) for candle in walk(480)), *(replace(c, at=c.at + 480 * HOUR) for c in scaled(walk(20), 0.01))],
        walk(300)[:200] + walk(300)[201:],
        [replace(candle, close=float("nan")) for candle in walk(200)],
    ],
    ids=["short", "flat", "mostly flat", "gap", "not a number"],
)
def test_without_usable_data_it_is_unavailable(candles: list[Candle]) -> None:
    assert isinstance(regime(candles), Unavailable)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "XRPUSDT"])
def test_recorded_years_show_every_regime(symbol: str, shared_data: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    rows = (
        duckdb.connect()
        .execute(
            "select ts, open, high, low, close, volume * close from read_parquet(?)"
            " where symbol = ? and ts between 1704067200000 and 1735689600000 order by ts",
            [str(shared_data / "bars_1h_last_2019_2025-04.parquet"), symbol],
        )
        .fetchall()
    )
    candles = [Candle(*row) for row in rows]
    seen = Counter(regime(candles[end - WINDOW : end]) for end in range(WINDOW, len(candles), 12))

    assert set(seen) == set(Regime)
    assert max(seen.values()) < 0.85 * seen.total()
