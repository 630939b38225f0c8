"""Which candles can be measured together: gaps, flat lines, halts, damage, and candles of other lengths."""

from dataclasses import replace

import numpy as np
import pytest
from risk_makers import DAY, HOUR, QUARTER, START, from_moves, prices, without

from tpctl.exits.instrument import Unavailable
from tpctl.market.risk.prices import Panel, PriceSeries, build_panel, fold, from_candles, join
from tpctl.ports import Candle


def _panel(series: dict[str, PriceSeries]) -> Panel:
    found = build_panel(series)
    assert isinstance(found, Panel), found
    return found


def test_a_panel_holds_returns_ranges_and_closing_times() -> None:
    series = prices("A B", 2)
    panel = _panel(series)

    assert panel.symbols == ("A", "B")
    assert len(panel) == 47
    assert panel.at[0] == START + 2 * HOUR
    assert panel.newest == START + 2 * DAY
    assert panel.returns[:, 0] == pytest.approx(np.diff(np.log(series["A"].close)))
    assert (panel.spans >= np.abs(panel.returns)).all()


def test_a_flat_symbol_a_halted_one_and_one_with_holes_are_left_out_with_their_reasons() -> None:
    series = prices("A B C D E", 20)
    still = series["B"]
    moves = np.r_[np.diff(np.log(still.close[:-30])), np.zeros(31)]
    series["B"] = from_moves("B", moves)
    series["C"] = series["C"].until(START + 20 * DAY - 7 * HOUR)
    series["D"] = without(series["D"], first=100, count=40)

    panel = _panel(series)

    assert panel.symbols == ("A", "E")
    assert panel.excluded["B"] == "the price did not move in the last 24 candles"
    assert panel.excluded["C"] == "no candle for 420 min: halted or delisted"
    assert panel.excluded["D"] == "440 of 480 candles"


def test_a_symbol_one_candle_behind_is_kept_and_the_rows_end_with_it() -> None:
    series = prices("A B C", 10)
    series["B"] = series["B"].until(START + 10 * DAY - HOUR)

    panel = _panel(series)

    assert panel.symbols == ("A", "B", "C")
    assert panel.newest == START + 10 * DAY - HOUR


def test_one_symbol_that_goes_on_longer_does_not_make_the_others_stale() -> None:
    series = {**prices("A B", 20), **prices("LONG", 40, seed=2)}

    panel = _panel(series)

    assert panel.symbols == ("A", "B", "LONG")
    assert panel.newest == START + 20 * DAY


def test_a_halt_of_hours_is_a_return_and_a_gap_of_days_is_none() -> None:
    series = prices("A B", 30)
    halted = _panel({name: without(one, first=200, count=5) for name, one in series.items()})
    apart = _panel({name: without(one, first=200, count=72) for name, one in series.items()})

    assert len(halted) == 30 * 24 - 5 - 1
    jump = np.log(series["A"].close[205] / series["A"].close[199])
    assert halted.returns[199, 0] == pytest.approx(jump)
    assert len(apart) == 30 * 24 - 72 - 2
    assert np.abs(apart.returns).max() < 0.05


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("close", np.nan, "a price is not a number"),
        ("low", 0.0, "a price is not above zero"),
        ("high", 1.0, "a candle has a high or low that its own prices exceed"),
    ],
)
def test_damaged_candles_are_left_out(column: str, value: float, reason: str) -> None:
    series = prices("A B", 5)
    damaged = getattr(series["B"], column).copy()
    damaged[7] = value
    series["B"] = replace(series["B"], **{column: damaged})

    assert _panel(series).excluded == {"B": reason}


def test_repeated_candles_are_left_out() -> None:
    series = prices("A B", 5)
    at = series["B"].at.copy()
    at[3] = at[2]
    series["B"] = replace(series["B"], at=at)

    assert _panel(series).excluded == {"B": "candles are out of order, repeated or shorter than their interval"}


def test_nothing_to_measure_says_why() -> None:
    assert build_panel({}) == Unavailable("there are no candles")
    assert build_panel({}, {"A": "the exchange refused"}) == Unavailable("A: the exchange refused")


def test_minutes_fold_into_quarters_and_an_open_one_is_left_out() -> None:
    minutes = prices("A", 1, interval=60_000)["A"]
    quarters = fold(minutes.until(START + 47 * 60_000), QUARTER)

    assert len(quarters) == 3
    assert quarters.open[0] == minutes.open[0]
    assert quarters.high[1] == minutes.high[15:30].max()
    assert quarters.low[2] == minutes.low[30:45].min()
    assert quarters.close[2] == minutes.close[44]


def test_candles_of_two_files_join_and_the_later_named_counts() -> None:
    whole = prices("A", 2)["A"]
    other = replace(whole.since(START + DAY), close=whole.since(START + DAY).close + 1.0)
    joined = join(whole.until(START + DAY + 3 * HOUR), other)

    assert joined.at.tolist() == whole.at.tolist()
    assert joined.close[23] == whole.close[23]
    assert joined.close[24] == whole.close[24] + 1.0


def test_candles_of_the_exchange_become_arrays() -> None:
    series = from_candles("A", HOUR, [Candle(START, 1.0, 3.0, 0.5, 2.0, 9.0), Candle(START + HOUR, 2.0, 2.5, 2, 2, 1)])

    assert series.at.tolist() == [START, START + HOUR]
    assert series.close.tolist() == [2.0, 2.0]
