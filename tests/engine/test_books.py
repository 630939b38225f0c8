"""What executions lose to the mid: read when they are heard of, of our own orders, soon enough, once a symbol."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tpctl.adapters.binance_map.account import top_of_book
from tpctl.adapters.binance_map.fields import Malformed
from tpctl.engine.books import BookWatch
from tpctl.exits.errors import UnavailableError
from tpctl.exits.instrument import OrderSide
from tpctl.exits.mid import LATE_MS, MidRead, TopOfBook, mid_read
from tpctl.exits.model import Fill

BOOK = TopOfBook(Decimal("1.99"), Decimal("2.01"))
STOP, TARGET, CLOSE = "tp1-0123456789-s-1", "tp1-0123456789-t1-1", "tp1-0123456789-r-1"


def fill(
    client_id: str = STOP, side: str = "sell", price: str = "1.98", at: int = 1000, symbol: str = "XRPUSDT"
) -> Fill:
    amounts = (Decimal(10), Decimal(price), Decimal(0), "USDT", Decimal(0))
    return Fill(symbol, at, "1", client_id, OrderSide(side), None, *amounts, maker=False, at=at)


class Books:
    def __init__(self, *, fault: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.fault = fault
        self.during: Any = lambda: None

    async def top_of_book(self, symbol: str) -> TopOfBook:
        self.asked.append(symbol)
        self.during()
        if self.fault is not None:
            raise self.fault
        return BOOK


def test_a_loss_is_positive_on_either_side() -> None:
    long, short = mid_read(fill(), BOOK, 1200), mid_read(fill(TARGET, "buy", "2.03"), BOOK, 1200)

    assert long is not None
    assert short is not None
    assert (long.order, str(long.key), long.slippage, long.late_ms) == ("stop", "XRPUSDT LONG", Decimal("0.01"), 200)
    assert (short.order, str(short.key), short.slippage) == ("take_profit", "XRPUSDT SHORT", Decimal("0.015"))
    better = mid_read(fill(CLOSE, price="2.02"), BOOK, 900)
    assert better is not None
    # The clock of the exchange may be a little ahead of ours.
    assert (better.order, better.slippage, better.late_ms) == ("close", Decimal("-0.01"), 0)


def test_a_foreign_execution_and_a_late_reading_say_nothing() -> None:
    assert mid_read(fill("web_1"), BOOK, 1000) is None
    assert mid_read(fill(""), BOOK, 1000) is None
    assert mid_read(fill(), BOOK, 1000 + LATE_MS) is not None
    assert mid_read(fill(), BOOK, 1001 + LATE_MS) is None


def read(watch: BookWatch) -> list[MidRead]:
    found: list[MidRead] = []
    asyncio.run(watch.read(found.extend))
    return found


def test_executions_of_a_symbol_share_a_reading_and_what_comes_meanwhile_is_read_too() -> None:
    books = Books()
    watch = BookWatch(books, lambda: 1500)
    for one in (fill(), fill(at=1100), fill(symbol="BTCUSDT"), fill("web_9", symbol="ETHUSDT")):
        watch.filled(one)
    books.during = lambda: watch.filled(fill(at=1400)) if len(books.asked) == 1 else None

    assert watch.due
    assert [(one.key.symbol, one.late_ms) for one in read(watch)] == [
        *(("XRPUSDT", 500), ("XRPUSDT", 400)),
        *(("BTCUSDT", 500), ("XRPUSDT", 100)),
    ]
    assert books.asked == ["XRPUSDT", "BTCUSDT", "XRPUSDT"]
    assert not watch.due


def test_what_is_told_late_or_cannot_be_read_is_left() -> None:
    books = Books(fault=UnavailableError("no answer", "try again"))
    watch = BookWatch(books, lambda: 5000)
    watch.filled(fill(at=5000 - LATE_MS - 1))
    assert not watch.due
    watch.filled(fill(at=4000))

    assert read(watch) == []
    assert (books.asked, watch.due) == (["XRPUSDT"], False)


@pytest.mark.parametrize(("bid", "ask"), [("0", "1"), ("2", "1"), ("", "1"), ("NaN", "1")])
def test_a_book_that_is_none_is_malformed(bid: str, ask: str) -> None:
    with pytest.raises(Malformed):
        top_of_book({"symbol": "XRPUSDT", "bidPrice": bid, "askPrice": ask})
