"""A crash against the book: gaps fill at the open, stops at their level, and what comes first comes first."""

import subprocess
import sys
from decimal import Decimal

import pytest

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import PositionKey
from tpctl.market.risk.account import Exposure
from tpctl.market.risk.replay import CRASHES, Crash, End, Replayed, replay_crash
from tpctl.ports import Candle

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
CRASH = Crash("test", "a test", 0, 4 * 900_000)
D = Decimal


def candles(*rows: tuple[float, float, float, float]) -> list[Candle]:
    return [Candle(index * 900_000, *row, 1.0) for index, row in enumerate(rows)]


FALL = candles((50, 50.5, 49, 49.5), (49.5, 50, 47, 47.5), (44, 45, 40, 42), (42, 46, 42, 45))


def replayed(
    side: PositionSide, stop: str | None, liquidation: str | None = None, rows: list[Candle] = FALL
) -> Replayed:
    key = PositionKey("X", side)
    exposure = Exposure(
        key, D(2), D(1000), D(1000), None if stop is None else D(stop), None if liquidation is None else D(liquidation)
    )
    found = replay_crash(CRASH, 900_000, {"X": rows}, [exposure], planned={}, equity=D(1000)).positions[key]
    assert isinstance(found, Replayed)
    return found


def test_a_candle_that_trades_through_the_stop_fills_at_it_and_tells_the_worst() -> None:
    found = replayed(LONG, "970")

    assert (found.end, found.at, found.fill, found.worst_fill) == (End.STOPPED, 900_000, D(970), D(940))
    assert (found.pnl, found.worst_pnl, found.unprotected) == (D(-60), D(-120), D(-400))
    assert found.slippage == 0


def test_a_gap_fills_at_the_open_beyond_the_stop() -> None:
    found = replayed(LONG, "920")

    assert (found.end, found.at, found.fill) == (End.GAPPED, 2 * 900_000, D(880))
    assert found.slippage == D(40) / D(920)
    assert found.pnl == D(-240)


def test_a_touch_triggers() -> None:
    assert replayed(LONG, "980").at == 0


def test_a_short_is_mirrored() -> None:
    rise = candles((50, 51, 50, 51), (56, 57, 55, 56), (56, 60, 56, 59), (59, 59, 58, 58))

    assert replayed(SHORT, "1030", rows=rise).fill == D(1120)
    assert replayed(SHORT, "1030", rows=rise).end is End.GAPPED
    assert replayed(SHORT, "1010", rows=rise).fill == D(1010)
    assert replayed(LONG, "900", rows=rise).end is End.HELD


def test_without_a_stop_the_liquidation_price_ends_it_and_with_one_nearer_the_stop_does() -> None:
    bare = replayed(LONG, None, "850")

    assert (bare.end, bare.fill, bare.slippage) == (End.LIQUIDATED, D(850), None)
    assert bare.unprotected == D(-300)
    assert replayed(LONG, "960", "850").end is End.STOPPED
    assert replayed(LONG, "860", "870").end is End.LIQUIDATED


def test_what_is_not_met_is_held_to_the_end() -> None:
    found = replayed(LONG, "700")

    assert (found.end, found.fill, found.pnl) == (End.HELD, D(900), D(-200))


def test_a_planned_stop_stands_in_and_a_symbol_not_recorded_is_unavailable() -> None:
    keys = PositionKey("X", LONG), PositionKey("NEW", LONG)
    book = [Exposure(key, D(2), D(1000), D(1000)) for key in keys]
    found = replay_crash(CRASH, 900_000, {"X": FALL}, book, planned={keys[0]: D(970)}, equity=D(600))
    first = found.positions[keys[0]]

    assert isinstance(first, Replayed)
    assert (first.planned, first.stop, found.pnl, found.of_equity) == (True, D(970), D(-60), D("-0.1"))
    assert found.positions[keys[1]] == Unavailable("NEW was not recorded then")


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.name)
def test_known_crashes_last_hours_to_days(crash: Crash) -> None:
    assert 3 * 3_600_000 <= crash.until - crash.since <= 48 * 3_600_000


def test_replaying_needs_no_numpy() -> None:
    code = "import sys, tpctl.market.risk.replay, tpctl.market.risk.readings; print('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
