"""Which candles are usable at all."""

from dataclasses import replace

import pytest
from candle_makers import HOUR, walk

from tpctl.exits.instrument import Unavailable
from tpctl.market.series import STILL_BARS, newest_run

CANDLES = walk(60)


def _reason(found: object) -> str:
    assert isinstance(found, Unavailable)
    return found.reason


def test_a_whole_series_is_used_as_it_is() -> None:
    assert newest_run(CANDLES, 48, interval_ms=HOUR) == CANDLES


def test_too_few_candles_say_how_many_are_needed() -> None:
    assert _reason(newest_run(CANDLES[:47], 48)) == "47 candles, at least 48 are needed"


def test_what_lies_before_a_gap_is_not_used() -> None:
    holed = CANDLES[:5] + CANDLES[6:]

    assert newest_run(holed, 48, interval_ms=HOUR) == CANDLES[6:]


def test_a_recent_gap_leaves_too_little() -> None:
    assert "missing" in _reason(newest_run(CANDLES[:30] + CANDLES[31:], 48, interval_ms=HOUR))


@pytest.mark.parametrize("broken", [CANDLES[::-1], [*CANDLES, CANDLES[-1]]], ids=["reversed", "repeated"])
def test_disordered_candles_are_refused(broken: list) -> None:
    assert "out of order" in _reason(newest_run(broken, 48))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
def test_a_price_that_is_none_is_refused(name: str, value: float) -> None:
    broken = [*CANDLES[:40], replace(CANDLES[40], **{name: value}), *CANDLES[41:]]

    assert str(CANDLES[40].at) in _reason(newest_run(broken, 48))


def test_a_close_above_its_high_is_refused() -> None:
    broken = [*CANDLES[:-1], replace(CANDLES[-1], close=CANDLES[-1].high * 1.01)]

    assert "exceed" in _reason(newest_run(broken, 48))


def test_a_price_that_stands_still_is_unknown_not_calm() -> None:
    price = CANDLES[-1].close
    halted = [
        replace(candle, open=price, high=price, low=price, close=price) if index >= 60 - STILL_BARS else candle
        for index, candle in enumerate(CANDLES)
    ]

    assert "did not move" in _reason(newest_run(halted, 48))
    assert newest_run([*halted[:-1], replace(halted[-1], high=price * 1.001)], 48) is not None
