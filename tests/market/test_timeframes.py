"""One market over three timeframes: exact joining, scaled readings, and a choice that always says why."""

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from candle_makers import HOUR, START, walk
from hypothesis import given
from hypothesis import strategies as st

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Regime
from tpctl.exits.units import Ratio
from tpctl.market.timeframes import FAST_CANDLES, SLOW_CANDLES, View, choose, join_candles, views_of
from tpctl.ports import Candle

FIVE = HOUR // 12
OUT = Unavailable("the exchange does not answer")


def fives(count: int = FAST_CANDLES, seed: int = 1, start: int = START) -> tuple[Candle, ...]:
    """Return a random walk in candles of five minutes."""
    walked = walk(count, seed, sigma=0.006 / math.sqrt(12))
    return tuple(replace(candle, at=start + index * FIVE) for index, candle in enumerate(walked))


def view(name: str, volatility: str | None, regime: Regime | None = Regime.NORMAL, atr: str | None = "1") -> View:
    return View(
        name,
        OUT if volatility is None else Ratio.percent(volatility),
        OUT if regime is None else regime,
        OUT if atr is None else Decimal(atr),
    )


def test_longer_candles_are_exactly_their_parts() -> None:
    rows = fives(36)

    (first, *_), hourly = join_candles(rows, FIVE, 3 * FIVE), join_candles(rows, FIVE, HOUR)

    assert first == Candle(
        rows[0].at,
        rows[0].open,
        max(row.high for row in rows[:3]),
        min(row.low for row in rows[:3]),
        rows[2].close,
        sum(row.quote_volume for row in rows[:3]),
    )
    assert join_candles(join_candles(rows, FIVE, 3 * FIVE), 3 * FIVE, HOUR) == hourly
    assert len(hourly) == 3


@given(st.integers(0, 11), st.integers(0, 11), st.sets(st.integers(0, 47), max_size=3))
def test_a_longer_candle_is_whole_or_left_out(early: int, late: int, missing: set[int]) -> None:
    rows = [row for index, row in enumerate(fives(48)) if index not in missing][early : 48 - late]

    joined = join_candles(rows, FIVE, HOUR)

    held = {row.at for row in rows}
    whole = {at for at in range(START, START + 4 * HOUR, HOUR) if all(at + i * FIVE in held for i in range(12))}
    assert {candle.at for candle in joined} == whole


def test_lengths_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        join_candles(fives(3), FIVE, 7 * FIVE // 2)


def test_every_timeframe_sees_the_same_walk_alike() -> None:
    """A walk has one volatility and one average range whatever the bars: within what sampling leaves."""
    fast = fives(12 * SLOW_CANDLES)
    views = views_of(fast[-FAST_CANDLES:], join_candles(fast, FIVE, HOUR))

    assert [found.timeframe for found in views] == ["5m", "15m", "1h"]
    for found in views:
        assert isinstance(found.volatility, Ratio)
        assert isinstance(found.atr, Decimal)
        assert isinstance(found.regime, Regime)
        assert float(found.volatility.fraction) == pytest.approx(0.006 * math.sqrt(24), rel=0.3)
        # The mean range of a walk is sqrt(8/pi) deviations.
        assert float(found.atr) == pytest.approx(fast[-1].close * 0.006 * math.sqrt(8 / math.pi), rel=0.3)


def test_bars_that_cannot_be_read_leave_their_views_out_only() -> None:
    fast, slow = fives(), tuple(walk(SLOW_CANDLES))

    without_fast, without_slow = views_of(OUT, slow), views_of(fast, OUT)

    assert [found.volatility == OUT for found in without_fast] == [True, True, False]
    assert [found.regime == OUT for found in without_slow] == [False, False, True]


def test_a_broken_candle_is_not_joined_into_a_sane_one() -> None:
    rows = fives()
    broken = replace(rows[-5], high=math.nan)

    fast, middle, _ = views_of((*rows[:-5], broken, *rows[-4:]), OUT)

    assert isinstance(fast.volatility, Unavailable)
    assert isinstance(middle.volatility, Unavailable)
    assert "not a number" in middle.volatility.reason


def test_the_middle_of_three_readings_counts() -> None:
    chosen = choose([view("5m", "6", atr="9"), view("15m", "2", atr="3"), view("1h", "3", atr="4")])

    assert chosen.volatility == Ratio.percent("3")
    assert chosen.atr == Decimal(4)
    assert [reason.text for reason in chosen.reasons] == [
        "volatility 3.0% from 1h candles, the middle: 5m 6.0%, 15m 2.0%, 1h 3.0%",
        "regime normal from 1h candles, seen by 3 of 3: 5m normal, 15m normal, 1h normal",
        "hourly ATR 4 from 1h candles, the middle: 5m 9, 15m 3, 1h 4",
    ]


@pytest.mark.parametrize(
    ("seen", "chosen", "words"),
    [
        (("volatile", "volatile", "normal"), "volatile", "from 15m candles, seen by 2 of 3"),
        (("volatile", "trending", "trending"), "trending", "from 1h candles, seen by 2 of 3"),
        (("volatile", "trending", "chop"), "chop", "from 1h candles, the slowest: no two agree"),
        (("volatile", "trending", None), "trending", "from 15m candles, the slowest of 2: no two agree"),
        (("volatile", "volatile", None), "volatile", "from 15m candles, seen by 2 of 2"),
        ((None, None, "ranging"), "ranging", "from 1h candles, the only one that could be measured"),
    ],
)
def test_the_regime_two_see_counts_else_the_slowest(seen: tuple[str | None, ...], chosen: str, words: str) -> None:
    views = [
        view(name, "3", None if regime is None else Regime(regime))
        for name, regime in zip(("5m", "15m", "1h"), seen, strict=True)
    ]

    found = choose(views)

    assert found.regime is Regime(chosen)
    assert words in found.reasons[1].text


def test_of_two_readings_the_slower_counts_and_the_third_is_said_to_be_missing() -> None:
    chosen = choose([view("5m", "6"), view("15m", "2"), view("1h", None)])

    assert chosen.volatility == Ratio.percent("2")
    assert chosen.reasons[0].text == (
        "volatility 2.0% from 15m candles, the slowest of 2: "
        "5m 6.0%, 15m 2.0%, 1h unavailable (the exchange does not answer)"
    )


def test_without_any_reading_nothing_is_chosen_and_nothing_is_said_to_be() -> None:
    chosen = choose([view(name, None, None, None) for name in ("5m", "15m", "1h")])

    assert (chosen.volatility, chosen.regime, chosen.atr, chosen.reasons) == (OUT, OUT, OUT, ())
