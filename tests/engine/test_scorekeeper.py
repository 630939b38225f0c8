"""Outcomes reach the file once; a miss is judged on the path that followed, by marks or, after a restart, candles."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.metrics_file import MetricsFile
from tpctl.engine.scorekeeper import Scorekeeper, aftermaths_of
from tpctl.exits.errors import StateFileError
from tpctl.exits.events import MarkPrice
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Attempt, Outcome
from tpctl.exits.scoring import HORIZON_MS, Aftermath, watch_after
from tpctl.ports import Candle

OPENED = 1_767_571_200_000
EXIT = OPENED + 600_000
MINUTE = 60_000


def miss(number: int = 1, *, symbol: str = "XRPUSDT", exit_price: str = "2.49", at: int = EXIT) -> Attempt:
    return Attempt(
        id=f"0123456789-{number}",
        strategy_id="dynamic",
        symbol=symbol,
        position_side=PositionSide.LONG,
        leg=1,
        entry_time=OPENED,
        entry_price=Decimal("2.50"),
        target_price=Decimal("2.55"),
        exit_time=at,
        exit_price=Decimal(exit_price),
        quantity=Decimal(100),
        profit_usd=Decimal(-1),
        outcome=Outcome.MISS,
        reason="trail",
    )


def after(attempt: Attempt) -> Aftermath:
    found = watch_after(attempt, Decimal("2.45"))
    assert isinstance(found, Aftermath)
    return found


class Books:
    """A journal, a metrics file, and keepers of them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tp_metrics.json"
        self.journal = Journal.open(folder / "journal.db", "test", at=OPENED, code_version="test")

    def keeper(self, *, new_world: bool = False) -> Scorekeeper:
        return Scorekeeper(self.journal, MetricsFile(self.path), new_world=new_world)

    def write(self, *attempts: Attempt) -> list[tuple[str, Aftermath]]:
        aftermaths = [(attempt.symbol, after(attempt)) for attempt in attempts]
        self.journal.commit(Entry(EXIT, attempts=attempts, aftermaths=tuple(found for _, found in aftermaths)))
        return aftermaths

    def premature(self) -> list[bool | None]:
        return [attempt.premature for attempt in self.journal.attempts()]


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path)


def mark(price: str, at: int, symbol: str = "XRPUSDT") -> MarkPrice:
    return MarkPrice(at, symbol, Decimal(price))


def bar(minute: int, low: float, high: float) -> Candle:
    """Return the candle so many minutes after the one the exit lies in."""
    return Candle(EXIT + minute * MINUTE, low, high, low, high, 1.0)


@pytest.mark.parametrize(
    ("prices", "premature"),
    [(("2.50", "2.55"), True), (("2.50", "2.45", "2.60"), False), (("2.50", "2.54"), None)],
)
def test_a_miss_is_judged_on_the_marks_that_follow(
    books: Books, prices: tuple[str, ...], premature: bool | None
) -> None:
    keeper = books.keeper()
    keeper.watch(books.write(miss()))
    for number, price in enumerate(prices, 1):
        keeper.see_mark(mark(price, EXIT + number * 1000))
        keeper.see_mark(mark("9", EXIT + number * 1000, "BTCUSDT"))

    assert books.premature() == [premature]


def test_the_end_of_the_horizon_is_a_verdict(books: Books) -> None:
    keeper = books.keeper()
    keeper.watch(books.write(miss()))
    keeper.see_mark(mark("2.55", EXIT + HORIZON_MS + 1))

    assert books.premature() == [False]


def test_symbols_whose_misses_are_judged_are_forgotten(books: Books) -> None:
    keeper = books.keeper()
    for number in range(20):
        symbol = f"S{number}USDT"
        keeper.watch(books.write(miss(number, symbol=symbol)))
        assert keeper.symbols == {symbol}
        keeper.see_mark(mark("2.56", EXIT + 1, symbol))
        keeper.see_candles(symbol, [])

    assert (keeper.symbols, keeper._watched, keeper._earlier) == (frozenset(), {}, {})
    assert books.premature() == [True] * 20


def test_what_is_new_is_due_and_published_once_asked(books: Books) -> None:
    keeper = books.keeper()
    keeper.publish()
    assert not keeper.due
    keeper.watch(books.write(miss()))
    assert keeper.due
    keeper.publish()
    keeper.see_mark(mark("2.50", EXIT + 1))
    assert not keeper.due
    keeper.see_mark(mark("2.56", EXIT + 2))
    assert keeper.due
    keeper.publish()

    (record,) = json.loads(books.path.read_text()).values()
    assert (record["tp_attempts"], record["premature_exits"], record["missed_opportunities_usd"]) == (1, 1, 6)
    assert not keeper.due


def test_a_file_that_counts_more_than_the_journal_is_kept(books: Books, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Books(tmp_path / "other")
    other.write(miss(1), miss(2))
    other.keeper().publish()
    books.path.write_bytes(other.path.read_bytes())
    books.write(miss(1))

    with pytest.raises(StateFileError, match="counts 2 attempts"):
        books.keeper().publish()


def test_a_restart_judges_what_it_did_not_see_on_candles_then_goes_on_with_marks(books: Books) -> None:
    books.write(miss(1), miss(2, symbol="BTCUSDT"), miss(3, at=EXIT + 1))
    keeper = books.keeper()

    assert keeper.unjudged(EXIT + 10 * MINUTE) == {"XRPUSDT": EXIT, "BTCUSDT": EXIT}
    keeper.see_candles("XRPUSDT", [bar(0, 2.0, 3.0), bar(1, 2.48, 2.52), bar(2, 2.5, 2.56)])
    keeper.see_candles("BTCUSDT", [bar(1, 2.48, 2.52)])

    # The candle of the exit's own minute tells nothing: what of it came before the exit?
    assert books.premature() == [True, None, True]
    keeper.see_mark(mark("2.45", EXIT + 11 * MINUTE, "BTCUSDT"))
    assert books.premature() == [True, False, True]


def test_a_path_nobody_can_show_leaves_the_miss_unjudged(books: Books) -> None:
    books.write(miss())
    keeper = books.keeper()
    keeper.unjudged(EXIT + MINUTE)

    keeper.see_mark(mark("2.55", EXIT + 5 * MINUTE))

    assert books.premature() == [None]
    assert books.keeper().unjudged(EXIT + MINUTE) == {"XRPUSDT": EXIT}


@pytest.mark.parametrize(("new_world", "now"), [(True, EXIT + MINUTE), (False, EXIT - 1)])
def test_another_markets_misses_are_not_judged_on_this_one(books: Books, new_world: bool, now: int) -> None:
    books.write(miss())
    keeper = books.keeper(new_world=new_world)

    assert keeper.unjudged(now) == {}
    keeper.see_candles("XRPUSDT", [bar(1, 2.5, 2.6)])
    keeper.see_mark(mark("2.55", EXIT + 5 * MINUTE))
    assert books.premature() == [None]


def test_a_candle_that_holds_both_levels_is_not_called_premature(books: Books) -> None:
    books.write(miss())
    keeper = books.keeper()
    keeper.unjudged(EXIT + MINUTE)
    keeper.see_candles("XRPUSDT", [bar(1, 2.4, 2.6)])

    assert books.premature() == [False]


def test_attempts_without_a_plan_are_not_watched() -> None:
    assert aftermaths_of([miss()], {}) == ([], [])
