"""The synthetic market, and the candles made of it."""

from decimal import Decimal
from itertools import islice, pairwise
from math import log, sqrt
from statistics import correlation, fmean, pstdev

import pytest

from tpctl.exits.errors import InputsError
from tpctl.venue.market.history import INTERVALS, KlineStore
from tpctl.venue.market.synthetic import DEFAULT_SYMBOLS, START_MS, SyntheticMarket
from tpctl.venue.refusals import VenueError
from tpctl.venue.rulebook import builtin_rules

D = Decimal

RULES = builtin_rules().symbols
DAY_STEPS = 17_280


def test_one_seed_is_one_story() -> None:
    assert list(islice(SyntheticMarket(7).steps(), 500)) == list(islice(SyntheticMarket(7).steps(), 500))
    assert list(islice(SyntheticMarket(7).steps(), 50)) != list(islice(SyntheticMarket(8).steps(), 50))


def test_a_symbol_moves_the_same_in_any_company() -> None:
    market = SyntheticMarket(7)
    asked = [market.history("XRPUSDT"), list(islice(market.steps(), 300)), market.history("XRPUSDT")]
    alone = SyntheticMarket(7, ["XRPUSDT"])

    assert [step.quotes[0] for step in asked[1]] == [step.quotes[0] for step in islice(alone.steps(), 300)]
    assert asked[0] == asked[2] == alone.history("XRPUSDT")


def test_prices_and_volumes_are_on_the_exchange_grids() -> None:
    for step in islice(SyntheticMarket(3).steps(), 2_000):
        for quote in step.quotes:
            rules = RULES[quote.symbol]
            assert quote.last > 0
            assert quote.last % rules.tick == 0
            assert quote.volume >= 0
            assert quote.volume % rules.step == 0
            assert abs(quote.mark / quote.last - 1) < D("0.1")
            assert quote.mark == round(quote.mark, 8)


def test_steps_are_five_seconds_from_a_fixed_start_without_end() -> None:
    market = SyntheticMarket(1)

    assert [step.at for step in islice(market.steps(), 4)] == [START_MS + i * 5_000 for i in range(4)]
    assert market.end_ms is None
    assert market.symbols == DEFAULT_SYMBOLS


def test_returns_look_like_a_market() -> None:
    closes: dict[str, list[float]] = {symbol: [] for symbol in DEFAULT_SYMBOLS}
    for number, step in enumerate(islice(SyntheticMarket(11).steps(), 3 * DAY_STEPS)):
        if number % 12 == 0:
            for quote in step.quotes:
                closes[quote.symbol].append(float(quote.last))
    moves = {symbol: [log(b / a) for a, b in pairwise(path)] for symbol, path in closes.items()}

    for path in moves.values():
        sigma = pstdev(path)
        size = [abs(move) for move in path]
        centre, spread = fmean(size), pstdev(size)
        clustering = fmean((a - centre) * (b - centre) for a, b in zip(size, size[10:], strict=False)) / spread**2
        assert 0.01 < sigma * sqrt(1440) < 0.15
        assert fmean(move**4 for move in path) / sigma**4 > 3.5
        assert clustering > 0.03
    assert all(correlation(moves["BTCUSDT"], moves[symbol]) > 0.35 for symbol in DEFAULT_SYMBOLS)


def test_an_unknown_symbol_is_refused_with_the_near_one() -> None:
    with pytest.raises(InputsError, match="no symbol 'XPRUSDT'") as caught:
        SyntheticMarket(1, ["XPRUSDT"])
    assert caught.value.hint == "did you mean XRPUSDT?"


def test_history_ends_where_the_market_starts() -> None:
    market = SyntheticMarket(5)
    first = next(iter(market.steps()))
    for quote in first.quotes:
        days, minutes = market.history(quote.symbol)

        assert minutes.bars[-1].close == quote.last
        assert minutes.bars[-1].at + 60_000 == START_MS
        assert days.bars[-1].at + 900_000 == minutes.bars[0].at
        assert abs(days.bars[-1].close - minutes.bars[0].open) <= RULES[quote.symbol].tick
        assert START_MS - days.bars[0].at == 45 * 86_400_000
        for series in (days, minutes):
            assert all(b.at - a.at == series.interval_ms for a, b in pairwise(series.bars))
            assert all(0 < bar.low <= min(bar.open, bar.close) for bar in series.bars)
            assert all(bar.high >= max(bar.open, bar.close) for bar in series.bars)


def store_after(steps: int) -> KlineStore:
    market = SyntheticMarket(5, ["XRPUSDT", "BTCUSDT"])
    store = KlineStore(builtin_rules(), market.history)
    for step in islice(market.steps(), steps):
        store.add(step)
    return store


@pytest.mark.parametrize("interval", INTERVALS)
def test_klines_ascend_without_holes_and_end_with_the_open_candle(interval: str) -> None:
    now = START_MS + 99 * 5_000
    width = INTERVALS[interval]

    rows = store_after(100).klines({"symbol": "XRPUSDT", "interval": interval, "limit": "1500"})

    assert len(rows) >= 45
    assert all(b[0] - a[0] == width for a, b in pairwise(rows))
    assert rows[-1][0] <= now <= rows[-1][6] == rows[-1][0] + width - 1
    assert all(D(row[3]) <= min(D(row[1]), D(row[4])) <= max(D(row[1]), D(row[4])) <= D(row[2]) for row in rows)
    assert all(len(row) == 12 and isinstance(row[5], str) and isinstance(row[8], int) for row in rows)


def test_longer_candles_are_made_of_the_shorter_ones() -> None:
    store = store_after(3_000)
    minutes = store.klines({"symbol": "XRPUSDT", "interval": "1m", "limit": "1500"})
    hours = store.klines({"symbol": "XRPUSDT", "interval": "1h", "limit": "6"})

    for hour in hours:
        inside = [row for row in minutes if hour[0] <= row[0] <= hour[6]]
        assert (hour[1], hour[4]) == (inside[0][1], inside[-1][4])
        assert D(hour[2]) == max(D(row[2]) for row in inside)
        assert D(hour[3]) == min(D(row[3]) for row in inside)
        assert D(hour[5]) == sum(D(row[5]) for row in inside)


def test_limits_and_ranges_choose_the_rows() -> None:
    store = store_after(500)
    rows = store.klines({"symbol": "XRPUSDT", "interval": "5m", "limit": "1000"})

    def some(**params: str) -> list[int]:
        return [row[0] for row in store.klines({"symbol": "XRPUSDT", "interval": "5m", **params})]

    times = [row[0] for row in rows]
    assert len(some()) == len(rows[-500:]) == len(some(limit="500"))
    assert some(limit="3") == times[-3:]
    assert some(startTime=str(times[-9]), limit="2") == times[-9:-7]
    assert some(endTime=str(times[-9]), limit="2") == times[-10:-8]
    assert some(startTime=str(times[-9]), endTime=str(times[-8])) == times[-9:-7]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "XRPUSDT", "interval": "1s"}, -1120),
        ({"symbol": "XRPUSDT"}, -1120),
        ({"symbol": "XRPUSDT", "interval": "1m", "limit": "2000"}, -1130),
        ({"symbol": "XRPUSDT", "interval": "1m", "limit": "0"}, -1130),
        ({"symbol": "XRPUSDT", "interval": "1m", "startTime": "soon"}, -1130),
        ({"symbol": "DOGEUSDT", "interval": "1m"}, -1121),
        ({"interval": "1m"}, -1102),
    ],
)
def test_bad_kline_requests_are_refused(params: dict[str, str], code: int) -> None:
    with pytest.raises(VenueError) as caught:
        store_after(2).klines(params)
    assert caught.value.code == code


def test_the_day_ticker_sums_the_last_day() -> None:
    store = store_after(DAY_STEPS + 2_000)
    ticker = store.tickers({"symbol": "BTCUSDT"})
    minutes = [
        row
        for row in store.klines({"symbol": "BTCUSDT", "interval": "1m", "limit": "1500"})
        if row[0] > ticker["closeTime"] - 86_400_000
    ]

    assert len(minutes) == 1440
    assert D(ticker["volume"]) == sum(D(row[5]) for row in minutes)
    assert abs(D(ticker["quoteVolume"]) - sum(D(row[7]) for row in minutes)) < 1
    assert (ticker["openPrice"], ticker["lastPrice"]) == (minutes[0][1], minutes[-1][4])
    assert 10**8 < D(ticker["quoteVolume"]) < 10**11
    assert [row["symbol"] for row in store.tickers({})] == ["XRPUSDT", "BTCUSDT"]


def test_old_minutes_are_forgotten_but_not_the_hours() -> None:
    store = store_after(3 * DAY_STEPS)

    assert len(store.klines({"symbol": "XRPUSDT", "interval": "1m", "limit": "1500"})) == 1500
    hours = store.klines({"symbol": "XRPUSDT", "interval": "1h", "limit": "1500"})
    assert all(b[0] - a[0] == 3_600_000 for a, b in pairwise(hours))
    assert len(hours) == 48 * 24
