"""The twin's trader."""

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from tpctl.exits.errors import InputsError
from tpctl.venue.entries import Entries, Entry, ListedEntries, NoEntries, SeededEntries, read_entries
from tpctl.venue.market.synthetic import DEFAULT_SYMBOLS, START_MS, SyntheticMarket
from tpctl.venue.refusals import VenueError
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue

HOUR = 3_600_000


@dataclass(frozen=True)
class Position:
    symbol: str
    side: str


@dataclass
class Account:
    """An exchange that fills everything but what it was told to refuse."""

    refuses: set[str] = field(default_factory=set)
    opened: list[tuple[str, str, int, Decimal, str]] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)

    def positions(self) -> list[Position]:
        return [Position(symbol, side) for symbol, side in self.held.items()]

    def open_position(self, symbol: str, side: str, *, notional=None, leverage=None, margin="CROSSED") -> None:
        if symbol in self.refuses:
            raise VenueError(-2019, "Margin is insufficient.")
        self.opened.append((symbol, side, leverage, notional, margin))
        self.held[symbol] = side


def run(entries: Entries, account: Account, hours: int, close_after: int = 0) -> None:
    for number in range(hours * 720):
        entries.on_step(account, START_MS + number * 5_000)
        assert len(account.held) <= 6
        if close_after and number % close_after == close_after - 1 and account.held:
            del account.held[min(account.held)]


def test_it_opens_the_four_first_positions_at_the_start() -> None:
    account = Account()
    SeededEntries(1, DEFAULT_SYMBOLS, rate=0).on_step(account, START_MS)

    assert account.opened == [
        ("XRPUSDT", "LONG", 20, Decimal(2000), "CROSSED"),
        ("BTCUSDT", "LONG", 10, Decimal(5000), "CROSSED"),
        ("ETHUSDT", "SHORT", 20, Decimal(1750), "CROSSED"),
        ("SOLUSDT", "LONG", 15, Decimal(1800), "CROSSED"),
    ]


def test_it_opens_only_what_the_market_has() -> None:
    account = Account()
    run(SeededEntries(1, ["XRPUSDT", "DOGEUSDT"], rate=60), account, hours=2)

    assert account.held["XRPUSDT"] == "LONG"
    assert set(account.held) == {"XRPUSDT", "DOGEUSDT"}


def test_later_entries_vary_within_their_bounds_at_the_rate_asked_for() -> None:
    account = Account()
    run(SeededEntries(3, DEFAULT_SYMBOLS, rate=6), account, hours=60, close_after=30)
    later = account.opened[4:]

    assert 290 < len(later) < 430
    assert {side for _, side, *_ in later} == {"LONG", "SHORT"}
    assert {symbol for symbol, *_ in later} == set(DEFAULT_SYMBOLS)
    leverages = [leverage for _, _, leverage, _, _ in later]
    assert (min(leverages), max(leverages)) == (3, 25)
    notionals = [notional for *_, notional, _ in later]
    assert 200 <= min(notionals) < 400
    assert 4000 < max(notionals) <= 6000


def test_one_seed_makes_one_script() -> None:
    scripts = []
    for seed in (5, 5, 6):
        account = Account()
        run(SeededEntries(seed, DEFAULT_SYMBOLS), account, hours=12, close_after=100)
        scripts.append(account.opened)

    assert scripts[0] == scripts[1] != scripts[2]


def test_what_the_engine_closes_never_shifts_the_arrivals() -> None:
    def arrivals(close_after: int) -> dict[int, tuple[str, int, Decimal]]:
        account, entries, seen = Account(), SeededEntries(5, DEFAULT_SYMBOLS), {}
        for number in range(20 * 720):
            before = len(account.opened)
            entries.on_step(account, START_MS + number * 5_000)
            for _, side, leverage, notional, _ in account.opened[before:]:
                seen[number] = (side, leverage, notional)
            if number % close_after == 0 and account.held:
                del account.held[min(account.held)]
        return seen

    often, seldom = arrivals(30), arrivals(400)
    common = often.keys() & seldom.keys()

    assert len(common) > 20
    assert all(often[number] == seldom[number] for number in common)
    assert set(seldom) < set(often)


def test_a_refused_entry_is_noted_and_the_script_goes_on() -> None:
    account = Account(refuses={"BTCUSDT"})
    entries = SeededEntries(1, DEFAULT_SYMBOLS, rate=0)
    entries.on_step(account, START_MS)

    assert [symbol for symbol, *_ in account.opened] == ["XRPUSDT", "ETHUSDT", "SOLUSDT"]
    assert [(note.entry.symbol, note.reason) for note in entries.refused] == [("BTCUSDT", "Margin is insufficient.")]


def test_nobody_opens_nothing() -> None:
    account = Account()
    run(NoEntries(), account, hours=1)

    assert account.opened == []


def test_listed_entries_come_at_their_times_add_and_never_close() -> None:
    account = Account()
    entries = ListedEntries(
        [
            Entry(START_MS + 7_000, "ETHUSDT", "SHORT", 5, Decimal(300)),
            Entry(START_MS - HOUR, "XRPUSDT", "LONG", 20, Decimal(2000)),
            Entry(START_MS + 10_000, "XRPUSDT", "LONG", 20, Decimal(500)),
            Entry(START_MS + 15_000, "XRPUSDT", "SHORT", 20, Decimal(500)),
        ]
    )
    times = []
    for at in range(START_MS, START_MS + 30_000, 5_000):
        before = len(account.opened)
        entries.on_step(account, at)
        times += [(at - START_MS, symbol) for symbol, *_ in account.opened[before:]]

    assert times == [(0, "XRPUSDT"), (10_000, "ETHUSDT"), (10_000, "XRPUSDT")]
    assert [note.reason for note in entries.refused] == ["XRPUSDT is held long"]


CSV = """time,symbol,side,leverage,notional
2026-01-05T00:30:00Z,XRPUSDT,long,20,2000
1767573000000,ETHUSDT,SHORT,5,350.50
"""
JSON_LINES = """{"time":"2026-01-05T01:30:00+01:00","symbol":"XRPUSDT","side":"LONG","leverage":20,"notional":2000}

{"time": 1767573000000, "symbol": "ETHUSDT", "side": "short", "leverage": 5, "notional": 350.50}
"""


@pytest.mark.parametrize("text", [CSV, JSON_LINES])
def test_entries_are_read_from_csv_and_json_lines(tmp_path: Path, text: str) -> None:
    path = tmp_path / "entries"
    path.write_text(text)

    assert read_entries(path, DEFAULT_SYMBOLS) == [
        Entry(START_MS + HOUR // 2, "XRPUSDT", "LONG", 20, Decimal(2000)),
        Entry(START_MS + HOUR // 2, "ETHUSDT", "SHORT", 5, Decimal("350.50")),
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("2026-01-05T00:30:00Z,XPRUSDT,long,20,2000", r"line 2: symbol 'XPRUSDT' is not in the market"),
        ("2026-01-05T00:30:00Z,XRPUSDT,buy,20,2000", r"line 2: side 'buy' is neither"),
        ("2026-01-05T00:30:00Z,XRPUSDT,long,20x,2000", r"line 2: leverage '20x' is out of range"),
        ("2026-01-05T00:30:00Z,XRPUSDT,long,0,2000", r"line 2: leverage '0' is out of range"),
        ("2026-01-05T00:30:00Z,XRPUSDT,long,20,NaN", r"line 2: notional 'NaN' is not an amount"),
        ("2026-01-05T00:30:00Z,XRPUSDT,long,20,-5", r"line 2: notional '-5' is not an amount"),
        ("2026-01-05T00:30:00,XRPUSDT,long,20,5", r"line 2: time '2026-01-05T00:30:00' has no zone"),
        ("later,XRPUSDT,long,20,5", r"line 2: time 'later' is not a time"),
        ("2026-01-05T00:30:00Z,XRPUSDT,long", r"line 2 has no leverage"),
    ],
)
def test_a_malformed_entry_is_named_by_its_line(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "entries.csv"
    path.write_text(f"time,symbol,side,leverage,notional\n{line}\n")

    with pytest.raises(InputsError, match=why):
        read_entries(path, DEFAULT_SYMBOLS)


def test_a_file_that_is_no_list_of_entries_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "entries"
    for text, why in (
        ("a,b\n1,2\n", "no column 'time'"),
        ('{"time": 1\n', "line 1 is not JSON"),
        ("", "no column 'time'"),
    ):
        path.write_text(text)
        with pytest.raises(InputsError, match=why):
            read_entries(path, DEFAULT_SYMBOLS)
    with pytest.raises(InputsError, match="does not exist"):
        read_entries(tmp_path / "gone", DEFAULT_SYMBOLS)


def test_the_twin_fills_the_script() -> None:
    market = SyntheticMarket(1)
    venue = Venue(builtin_rules(), start_ms=market.start_ms)
    entries = SeededEntries(1, market.symbols, rate=30)
    for step in islice(market.steps(), 720):
        venue.step(step)
        entries.on_step(venue, step.at)

    held = {position.symbol: position for position in venue.positions()}
    assert len(held) == 6
    assert (held["XRPUSDT"].side, held["XRPUSDT"].leverage) == ("LONG", 20)
    assert abs(held["XRPUSDT"].quantity * held["XRPUSDT"].entry - 2000) < 5
    assert not entries.refused
