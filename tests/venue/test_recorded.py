"""Replaying recorded bars."""

from decimal import Decimal
from pathlib import Path

import pytest

from tpctl.adapters.candles import read_candles
from tpctl.exits.errors import InputsError
from tpctl.market.bars import Bar, BarSeries, Candles, fold_bars, thinned
from tpctl.venue.market.history import KlineStore
from tpctl.venue.market.recorded import RecordedMarket
from tpctl.venue.quotes import MarketStep
from tpctl.venue.rulebook import builtin_rules

D = Decimal

MINUTE = 60_000
START = 1_738_368_000_000  # 2025-02-01T00:00:00Z


def minute(number: int, *prices: str, volume: str = "120") -> Bar:
    first, high, low, close = map(D, prices)
    return Bar(START + number * MINUTE, first, high, low, close, D(volume))


XRP = [
    minute(0, "3.0000", "3.0100", "2.9900", "3.0050"),
    minute(1, "3.0050", "3.0200", "3.0000", "3.0010"),
    minute(4, "2.8000", "2.8500", "2.7900", "2.8400"),
]
ETH = [minute(i, "3300.00", "3310.00", "3290.00", "3305.00", volume="6") for i in range(-3, 5)]


def market(**bars: list[Bar]) -> RecordedMarket:
    return RecordedMarket(Candles(MINUTE, bars))


def lasts(steps: list[MarketStep], symbol: str) -> list[D]:
    return [quote.last for step in steps for quote in step.quotes if quote.symbol == symbol]


def test_it_runs_over_the_time_all_symbols_have_in_common() -> None:
    replay = market(XRPUSDT=XRP, ETHUSDT=ETH)
    steps = list(replay.steps())

    assert (replay.start_ms, replay.end_ms, replay.step_ms) == (START, START + 5 * MINUTE, 5_000)
    assert [step.at for step in steps] == list(range(START, START + 5 * MINUTE, 5_000))
    assert all([quote.symbol for quote in step.quotes] == ["XRPUSDT", "ETHUSDT"] for step in steps)


def test_a_missing_minute_holds_the_price_and_the_next_bar_gaps() -> None:
    steps = list(market(XRPUSDT=XRP, ETHUSDT=ETH).steps())
    quotes = [step.quotes[0] for step in steps]

    assert {quote.last for quote in quotes[24:48]} == {D("3.0010")}
    assert {quote.volume for quote in quotes[24:48]} == {D(0)}
    assert quotes[48].last == D("2.8000")
    assert sum(quote.volume for quote in quotes) == 360


def test_a_symbol_with_a_gap_at_the_start_holds_its_price_from_before() -> None:
    late = [bar for bar in ETH if bar.at != START]

    steps = list(market(XRPUSDT=XRP, ETHUSDT=late).steps())

    assert set(lasts(steps[:12], "ETHUSDT")) == {D("3305.00")}


def test_two_passes_tell_the_same_story() -> None:
    replay = market(XRPUSDT=XRP, ETHUSDT=ETH)

    assert list(replay.steps()) == list(replay.steps())


def test_klines_of_the_steps_are_the_bars_again() -> None:
    replay = market(ETHUSDT=ETH)
    store = KlineStore(builtin_rules(), replay.history)
    for step in replay.steps():
        store.add(step)

    rows = store.klines({"symbol": "ETHUSDT", "interval": "1m"})

    assert [(row[0], *map(D, row[1:6])) for row in rows] == [
        (bar.at, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in ETH
    ]


def test_recorded_mark_bars_make_the_mark() -> None:
    marks = [minute(0, "3.00012345", "3.00900001", "2.99000000", "3.00500000", volume="0")]
    replay = RecordedMarket(Candles(MINUTE, {"XRPUSDT": XRP}), marks=Candles(MINUTE, {"XRPUSDT": marks}))

    quotes = [step.quotes[0] for step in replay.steps()]

    assert quotes[0].mark == D("3.00012345")
    assert (quotes[3].mark, quotes[8].mark, quotes[11].mark) == (D("2.99"), D("3.00900001"), D("3.005"))
    assert quotes[12].mark != quotes[11].mark


def test_history_is_what_precedes_the_start_and_no_more_than_45_days() -> None:
    day = 24 * 60
    older = [minute(-46 * day, "3", "3", "3", "3"), minute(-44 * day, "3", "3", "3", "3")]
    replay = RecordedMarket(
        Candles(MINUTE, {"XRPUSDT": XRP, "ETHUSDT": ETH}), history=lambda _: thinned(older, MINUTE, START)
    )

    found = replay.history("ETHUSDT")

    assert [series.interval_ms // MINUTE for series in found] == [15, 5, 1, 1]
    assert [bar.at for series in found for bar in series.bars] == [older[1].at, *(bar.at for bar in ETH[:3])]


def test_candles_of_the_past_are_the_same_when_it_is_thinned() -> None:
    begin, day = -15 * 24 * 60, 24 * 60
    older = [minute(at, str(3 + at % 7), str(11 + at % 5), "1", str(2 + at % 9)) for at in range(begin, 0)]
    exact, thin = (
        KlineStore(builtin_rules(), RecordedMarket(Candles(MINUTE, {"ETHUSDT": ETH[3:]}), history=told).history)
        for told in (lambda _: (BarSeries(MINUTE, older),), lambda _: thinned(older, MINUTE, START))
    )
    for store in (exact, thin):
        store.add(next(market(ETHUSDT=ETH[3:]).steps()))
    kept = sum(len(series.bars) for series in thinned(older, MINUTE, START))

    for interval, span in (("1m", 26 * 60), ("3m", 26 * 60), ("5m", 62 * 60), ("15m", 15 * day), ("4h", 15 * day)):
        asked = {"symbol": "ETHUSDT", "interval": interval, "limit": "1500", "startTime": str(START - span * MINUTE)}
        # But for what the exchange's quote volume is estimated at.
        rows, thin_rows = ([row[:6] for row in store.klines(asked)] for store in (exact, thin))
        assert rows == thin_rows != []
    assert exact.tickers({"symbol": "ETHUSDT"}) == thin.tickers({"symbol": "ETHUSDT"})
    assert kept < len(older) / 5


def test_recorded_funding_holds_until_its_own_settlement() -> None:
    hour = 60 * MINUTE
    funding = [(START - 8 * hour + 4, D("0.0001")), (START + MINUTE + 7, D("0.0002")), (START + 8 * hour, D("-0.0003"))]
    replay = RecordedMarket(Candles(MINUTE, {"ETHUSDT": ETH[3:]}), funding={"ETHUSDT": funding})

    told = [(step.at, step.funding_rates) for step in replay.steps() if step.funding_rates]

    assert told == [
        (START, (("ETHUSDT", D("0.0002")),)),
        (START + MINUTE + 5_000, (("ETHUSDT", D("-0.0003")),)),
    ]


def test_what_cannot_be_replayed_is_refused() -> None:
    with pytest.raises(InputsError, match="'OLDUSDT' of the recording is not in the rule book"):
        market(OLDUSDT=XRP)
    with pytest.raises(InputsError, match="no time in common"):
        market(XRPUSDT=[minute(0, "3", "3", "3", "3")], ETHUSDT=[minute(9, "3", "3", "3", "3")])
    with pytest.raises(InputsError, match="another length"):
        RecordedMarket(Candles(MINUTE, {"XRPUSDT": XRP}), marks=Candles(60 * MINUTE, {"XRPUSDT": XRP}))


def test_a_recorded_night_replays_to_its_own_hours(shared_data: Path) -> None:
    pytest.importorskip("duckdb")
    since, until = 1_738_533_600_000, 1_738_562_400_000  # 2025-02-02T22:00:00Z, eight hours
    candles = read_candles(shared_data / "bars_1m_2025-01_02.parquet", ["XRPUSDT", "BTCUSDT"], since, until)
    replay = RecordedMarket(candles)
    store = KlineStore(builtin_rules(), replay.history)

    count = 0
    for step in replay.steps():
        store.add(step)
        count += 1

    assert count == 8 * 60 * 12
    rows = store.klines({"symbol": "XRPUSDT", "interval": "1h"})
    hours = list(fold_bars(candles.bars["XRPUSDT"], 60 * MINUTE))
    assert [(row[0], *map(D, row[1:6])) for row in rows] == [
        (bar.at, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in hours
    ]
