"""Mark price, next funding and funding paid, as the exchange answers them."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tpctl.adapters.binance import client as module
from tpctl.adapters.binance.client import BinanceReader
from tpctl.adapters.binance.clock import EventClock
from tpctl.adapters.binance.endpoints import twin
from tpctl.adapters.binance_map.account import funding_fees, last_price, premium
from tpctl.adapters.binance_map.fields import Malformed
from tpctl.exits.errors import UnavailableError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Ratio
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue

START = 1_767_571_200_000


def test_the_twins_answers_are_read() -> None:
    venue = Venue(builtin_rules(), start_ms=START)
    venue.step(MarketStep(START + 5000, (Quote("XRPUSDT", Decimal("2.42"), Decimal("2.421")),)))
    found = premium(venue.premium_index({"symbol": "XRPUSDT"}))

    assert (found.mark, found.funding_rate) == (Decimal("2.421"), Ratio(Decimal("0.0001")))
    assert found.next_funding_at == START + 8 * 3_600_000
    assert last_price(venue.ticker_price({"symbol": "XRPUSDT"})) == Decimal("2.42")


def test_a_contract_without_funding_has_none() -> None:
    found = premium({"symbol": "BTCUSDT_260327", "markPrice": "96000.1", "lastFundingRate": "", "nextFundingTime": 0})

    assert isinstance(found.funding_rate, Unavailable)
    assert isinstance(found.next_funding_at, Unavailable)


@pytest.mark.parametrize("payload", [[], {}, {"markPrice": "NaN"}, {"markPrice": None}])
def test_a_garbled_mark_is_malformed(payload: Any) -> None:
    with pytest.raises(Malformed):
        premium(payload)


class Ledger(BinanceReader):
    """A reader whose income pages come from a list."""

    def __init__(self, rows: list[tuple[int, str]]) -> None:
        super().__init__(twin("http://127.0.0.1:1"), EventClock(START))
        self.rows = rows
        self.pages = 0

    async def _income(self, params: Any, what: str) -> Any:
        self.pages += 1
        start, limit = int(params["startTime"]), int(params["limit"])
        chosen = [row for row in self.rows if row[0] >= start][:limit]
        return [{"symbol": "XRPUSDT", "incomeType": "FUNDING_FEE", "income": fee, "time": at} for at, fee in chosen]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_pages_of_payments_lose_and_double_none(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(module, "_INCOME_LIMIT", 3)
    rows = [(START + at // 2, f"-0.{at + 1}") for at in range(count)]
    found = asyncio.run(Ledger(rows).funding_fees(START))

    assert [(fee.at, str(fee.amount)) for fee in found] == rows


def test_more_payments_in_a_millisecond_than_a_page_are_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_INCOME_LIMIT", 3)
    with pytest.raises(UnavailableError):
        asyncio.run(Ledger([(START, "-0.1")] * 5).funding_fees(START))


def test_a_payment_without_a_number_is_malformed() -> None:
    with pytest.raises(Malformed):
        funding_fees([{"symbol": "XRPUSDT", "income": "x", "time": START}])
