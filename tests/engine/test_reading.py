"""A snapshot of the account: the orders of several symbols are asked for side by side, and one failure is a failure."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from engine_desk import START, DeskExchange, EventTime

from tpctl.engine.reading import read_account
from tpctl.exits.episode import State
from tpctl.exits.errors import UnavailableError
from tpctl.exits.events import Snapshot
from tpctl.exits.model import LiveOrder
from tpctl.exits.rules import ExitRules
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue

PRICES = {"BTCUSDT": Decimal(96_000), "ETHUSDT": Decimal(3_400), "XRPUSDT": Decimal("2.5")}


@dataclass
class Meeting(DeskExchange):
    """An exchange that answers about orders only once it was asked about all symbols; of `unread` it has no answer."""

    unread: str | None = None
    together: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(len(PRICES)))

    async def open_orders(self, symbol: str | None = None) -> tuple[LiveOrder, ...]:
        await self.together.wait()
        if symbol == self.unread:
            raise UnavailableError("no answer", "check the network")
        return await super().open_orders(symbol)


def meeting() -> Meeting:
    venue = Venue(builtin_rules(), start_ms=START)
    venue.step(MarketStep(START, tuple(Quote(symbol, price, price) for symbol, price in PRICES.items())))
    for symbol in PRICES:
        venue.open_position(symbol, "LONG", notional=Decimal(2000), leverage=10)
    return Meeting(venue, EventTime())


def read(exchange: Meeting) -> Snapshot:
    async def timed() -> Snapshot:
        async with asyncio.timeout(5):
            return await read_account(exchange, State("desk", ExitRules()), START, wide=False)

    return asyncio.run(timed())


def test_the_orders_of_several_symbols_are_asked_for_side_by_side() -> None:
    assert {position.key.symbol for position in read(meeting()).positions} == PRICES.keys()


def test_one_symbol_that_cannot_be_read_fails_the_read() -> None:
    exchange = meeting()
    exchange.unread = "ETHUSDT"
    with pytest.raises(UnavailableError):
        read(exchange)
