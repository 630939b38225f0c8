"""Candles fetched page by page: nothing twice, nothing lost, nothing believed that is damaged."""

import asyncio
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.adapters.binance.market_pages import daily_rates
from tpctl.adapters.binance_map.fields import Malformed
from tpctl.adapters.candle_cache import RECORD, CandleCache
from tpctl.exits.errors import RateLimitedError, UnavailableError
from tpctl.exits.instrument import Unavailable
from tpctl.ports import Candle

QUARTER = 900_000
DAY = 86_400_000
NOW = 1_789_000_000_000 // QUARTER * QUARTER + 60_000


@dataclass
class Exchange:
    """Has a candle for every quarter of an hour since `listed` but the `holes`; fails where a test says so."""

    listed: int = 0
    now: int = NOW
    holes: frozenset[int] = frozenset()
    fail_at: int | None = None
    error: Exception | None = None
    revised: dict[int, float] = field(default_factory=dict)
    asked: list[tuple[str, int, int]] = field(default_factory=list)

    async def candle_page(self, symbol: str, interval: str, since: int, limit: int) -> tuple[Candle, ...]:
        assert interval == "15m"
        self.asked.append((symbol, since, limit))
        if self.fail_at is not None and len(self.asked) > self.fail_at:
            self.fail_at = None
            assert self.error is not None
            raise self.error
        first = max(-(-since // QUARTER) * QUARTER, self.listed)
        found = []
        at = first
        while len(found) < limit and at <= self.now:
            if at not in self.holes:
                found.append(self.candle(at))
            at += QUARTER
        return tuple(found)

    def candle(self, at: int) -> Candle:
        price = self.revised.get(at, 100.0 + at // QUARTER % 97)
        return Candle(at, price, price + 1, price - 1, price, 5.0)


def cache(exchange: Exchange, folder: Path | None = None, **more: object) -> CandleCache:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    made = CandleCache(exchange, "15m", QUARTER, folder, sleep=sleep, **more)  # type: ignore[arg-type]  # as they came
    made.waits = waits  # type: ignore[attr-defined]  # for the test to look at
    return made


def times(records: bytes) -> list[int]:
    return [row[0] for row in RECORD.iter_unpack(records)]


def load(made: CandleCache, days: float = 10, now: int = NOW, symbol: str = "XRPUSDT") -> bytes:
    return asyncio.run(made.load(symbol, now - int(days * DAY), now))


def expected(since: int, now: int = NOW) -> list[int]:
    return list(range(since // QUARTER * QUARTER, now // QUARTER * QUARTER, QUARTER))


def test_pages_cover_the_window_and_the_open_candle_is_left_out() -> None:
    exchange = Exchange()
    records = load(cache(exchange))

    assert times(records) == expected(NOW - 10 * DAY)
    assert [limit for _, _, limit in exchange.asked] == [499, 960 - 499 + 1]
    first = exchange.candle(times(records)[0])
    assert RECORD.unpack_from(records)[1:] == (first.open, first.high, first.low, first.close, 5.0)


def test_what_is_known_is_not_asked_for_again() -> None:
    exchange = Exchange()
    made = cache(exchange)
    first = load(made)
    asked = len(exchange.asked)

    assert load(made) == first
    assert len(exchange.asked) == asked


def test_a_new_candle_costs_one_small_page_and_the_newest_is_corrected() -> None:
    exchange = Exchange()
    made = cache(exchange)
    newest = times(load(made))[-1]
    exchange.asked.clear()
    exchange.revised[newest] = 7.0
    exchange.now = later = NOW + QUARTER
    records = load(made, now=later)

    assert exchange.asked == [("XRPUSDT", newest, 3)]
    assert times(records) == expected(later - 10 * DAY, later)
    assert RECORD.unpack_from(records, len(records) - 2 * RECORD.size)[4] == 7.0


def test_the_disk_remembers_across_processes(tmp_path: Path) -> None:
    first = load(cache(Exchange(), tmp_path))
    again = Exchange()

    assert load(cache(again, tmp_path)) == first
    assert again.asked == []


def test_a_wider_window_reads_only_what_is_older(tmp_path: Path) -> None:
    exchange = Exchange()
    load(cache(exchange, tmp_path), days=3)
    exchange.asked.clear()
    records = load(cache(exchange, tmp_path), days=12)

    assert times(records) == expected(NOW - 12 * DAY)
    assert sum(limit for _, _, limit in exchange.asked) == 9 * 96


@given(fails=st.integers(0, 6), days=st.integers(1, 25), first=st.integers(1, 25), backwards=st.booleans())
@settings(max_examples=40)
def test_an_interrupted_fetch_goes_on_where_it_stopped(
    tmp_path_factory: pytest.TempPathFactory, fails: int, days: int, first: int, backwards: bool
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    if backwards:
        load(cache(Exchange(), folder), days=first)
    exchange = Exchange(fail_at=fails, error=UnavailableError("gone", "wait"))
    try:
        load(cache(exchange, folder), days=days)
    except UnavailableError:
        seen = sum(limit for _, _, limit in exchange.asked[:-1])
        exchange.asked.clear()
        again = load(cache(exchange, folder), days=days)
        assert times(again) == expected(NOW - days * DAY)
        assert sum(limit for _, _, limit in exchange.asked) <= days * 96 + 10 - seen + 2 * len(exchange.asked)
    assert times(load(cache(exchange, folder), days=days)) == expected(NOW - days * DAY)


def test_used_up_budget_is_waited_for_and_a_ban_is_not() -> None:
    exchange = Exchange(fail_at=1, error=RateLimitedError("used up", "wait", retry_after_ms=42_000))
    made = cache(exchange)

    assert times(load(made)) == expected(NOW - 10 * DAY)
    assert made.waits == [pytest.approx(42.05)]  # type: ignore[attr-defined]  # see `cache`
    banned = Exchange(fail_at=0, error=RateLimitedError("banned", "wait", retry_after_ms=10**9))
    with pytest.raises(RateLimitedError):
        load(cache(banned))


def test_an_impatient_cache_gives_up_and_keeps_what_it_has() -> None:
    exchange = Exchange(fail_at=1, error=RateLimitedError("used up", "wait", retry_after_ms=42_000))
    made = cache(exchange, patient=False)
    with pytest.raises(RateLimitedError):
        load(made)
    exchange.asked.clear()

    assert times(load(made)) == expected(NOW - 10 * DAY)
    assert exchange.asked[0][1] > NOW - 6 * DAY


def test_a_listing_within_the_window_is_all_there_is_and_asked_for_once() -> None:
    exchange = Exchange(listed=(NOW - 2 * DAY) // QUARTER * QUARTER)
    made = cache(exchange)
    records = load(made)
    asked = len(exchange.asked)

    assert times(records)[0] == exchange.listed
    assert load(made) == records
    assert len(exchange.asked) == asked


def test_gaps_stay_gaps() -> None:
    start = (NOW - 5 * DAY) // QUARTER * QUARTER
    holes = frozenset(range(start, start + 20 * QUARTER, QUARTER))

    assert times(load(cache(Exchange(holes=holes)))) == [at for at in expected(NOW - 10 * DAY) if at not in holes]


def test_candles_from_long_ago_are_not_joined_to_new_ones() -> None:
    exchange = Exchange()
    made = cache(exchange)
    load(made, days=2, now=NOW - 300 * DAY)
    exchange.asked.clear()

    assert times(load(made, days=2)) == expected(NOW - 2 * DAY)
    assert sum(limit for _, _, limit in exchange.asked) < 200


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "other symbol", "empty"])
def test_a_damaged_file_is_dropped_said_so_and_fetched_again(tmp_path: Path, damage: str) -> None:
    records = load(cache(Exchange(), tmp_path))
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    changed = {
        "cut": data[:-7],
        "flip": data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
        "header": b"tpctl.candles/9" + data[15:],
        "other symbol": data.replace(b"XRPUSDT", b"BTCUSDT", 1),
        "empty": b"",
    }[damage]
    path.write_bytes(changed)
    exchange = Exchange()
    made = cache(exchange, tmp_path)

    assert load(made) == records
    assert exchange.asked
    assert "damaged" in made.warnings[0]


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    made = cache(Exchange(), blocked / "candles")

    assert times(load(made)) == expected(NOW - 10 * DAY)
    assert len(made.warnings) == 1


def test_names_beyond_ascii_and_with_slashes_stay_inside_the_folder(tmp_path: Path) -> None:
    for symbol in ("币安人生USDT", "../UP"):
        load(cache(Exchange(), tmp_path), symbol=symbol, days=1)

    assert len(list(tmp_path.iterdir())) == 2
    assert not (tmp_path.parent / "UP-15m.candles").exists()


def test_one_symbol_that_fails_does_not_take_the_others_with_it() -> None:
    class Picky(Exchange):
        async def candle_page(self, symbol: str, interval: str, since: int, limit: int) -> tuple[Candle, ...]:
            if symbol == "BAD":
                raise UnavailableError("the candles of BAD: the exchange refused: Invalid symbol. (-1121)", "check it")
            return await super().candle_page(symbol, interval, since, limit)

    told: list[tuple[str, int, int]] = []
    made = cache(Picky())
    found = asyncio.run(
        made.load_all(["A", "BAD", "B"], NOW - DAY, NOW, lambda symbol, done, total: told.append((symbol, done, total)))
    )

    assert list(found) == ["A", "BAD", "B"]
    assert found["BAD"] == Unavailable("the candles of BAD: the exchange refused: Invalid symbol. (-1121)")
    assert found["A"] == found["B"]
    assert {(symbol, done) for symbol, done, _ in told} == {("A", 96), ("B", 96)}
    assert all(done <= total for _, done, total in told)


def test_symbols_nobody_asks_for_any_more_leave_memory() -> None:
    exchange = Exchange()
    made = cache(exchange)

    def asked(*symbols: str) -> set[str]:
        exchange.asked.clear()
        asyncio.run(made.load_all(symbols, NOW - DAY, NOW))
        return {symbol for symbol, _, _ in exchange.asked}

    assert asked("A", "B") == {"A", "B"}
    assert asked("B") == set()
    assert asked("B", "A") == {"A"}


def test_memory_is_bounded_to_a_year_and_some(tmp_path: Path) -> None:
    exchange = replace(Exchange())
    made = cache(exchange, tmp_path, page_rows=20_000)
    load(made, days=395)
    later = NOW + 30 * DAY
    exchange.now = later

    assert len(load(made, days=420, now=later)) // RECORD.size >= 400 * 96
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 402 * 96 * RECORD.size


def test_funding_of_a_day_is_the_rate_times_its_settlements() -> None:
    marks = [
        {"symbol": "XRPUSDT", "lastFundingRate": "0.00010000"},
        {"symbol": "LPTUSDT", "lastFundingRate": "-0.0002"},
        {"symbol": "BTCUSDT_261225", "lastFundingRate": ""},
    ]
    found = daily_rates(marks, [{"symbol": "LPTUSDT", "fundingIntervalHours": 4}])

    assert found == {"XRPUSDT": Decimal("0.0003"), "LPTUSDT": Decimal("-0.0012")}
    with pytest.raises(Malformed):
        daily_rates([{"symbol": "XRPUSDT", "lastFundingRate": "much"}], [])
