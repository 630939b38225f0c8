"""The context of a running watch: read in no time, due when it is, and never older than it may be."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from tpctl.adapters.candle_cache import CandleCache
from tpctl.engine import risk_context
from tpctl.engine.risk_context import MAX_AGE_MS, TTL_MS, RiskContext, account_of, margin_assets, resting_stops
from tpctl.exits.errors import InputsError, UnavailableError
from tpctl.exits.instrument import OrderKind, OrderSide, PositionSide, Unavailable
from tpctl.exits.model import Book, LiveOrder, OrderStatus, Position, PositionKey, WorkingType
from tpctl.ports import Candle, Wallet

HOUR = 3_600_000
D = Decimal
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")
BEGIN = 1_789_000_000_000 // HOUR * HOUR


@dataclass
class Time:
    at: int = BEGIN + 60_000

    def now(self) -> int:
        return self.at


@dataclass
class Market:
    """Hourly candles of walks, from a seed and the symbol."""

    clock: Time
    asked: int = 0
    bad: frozenset[str] = frozenset()
    walks: dict[str, Any] = field(default_factory=dict)

    async def candle_page(self, symbol: str, interval: str, since: int, limit: int) -> tuple[Candle, ...]:
        self.asked += 1
        if symbol in self.bad:
            raise UnavailableError(f"no candles of {symbol}", "wait")
        if symbol not in self.walks:
            rng = np.random.default_rng(sum(map(ord, symbol)))
            common = np.random.default_rng(1).standard_normal(4000)
            self.walks[symbol] = 100 * np.exp(np.cumsum(0.004 * (common + rng.standard_normal(4000))))
        walk = self.walks[symbol]
        first = max(since, BEGIN - 3500 * HOUR)
        rows = []
        for at in range(-(-first // HOUR) * HOUR, min(self.clock.at, first + limit * HOUR) + 1, HOUR):
            index = (at - BEGIN) // HOUR + 3500
            before, price = float(walk[index - 1]), float(walk[index])
            rows.append(Candle(at, before, max(before, price) * 1.001, min(before, price) * 0.999, price, 1.0))
        return tuple(rows[:limit])


def position(symbol: str, side: PositionSide = PositionSide.LONG, mark: str = "100") -> Position:
    return Position(PositionKey(symbol, side), D(10), D(100), D(mark), BEGIN, D(50), D(0), D(100), D(-20))


@dataclass
class Account:
    """An account reader that answers what a test says."""

    open: tuple[Position, ...] = ()
    error: UnavailableError | None = None
    reads: int = 0

    async def positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.open

    async def instruments(self) -> dict[str, Any]:
        @dataclass
        class Rules:
            margin_asset: str = "USDT"

        return {symbol: Rules() for symbol in SYMBOLS}

    async def wallet(self, asset: str) -> Wallet | Unavailable:
        return Wallet(asset, D(5000), D(4000), D(20), D(-20))


def context(
    account: Account | None = None, market: Market | None = None, **more: Any
) -> tuple[RiskContext, Time, Market]:
    market = market or Market(Time())
    cache = CandleCache(market, "1h", HOUR, None)
    made = RiskContext(account or Account(), cache, market.clock, basket=SYMBOLS, **more)  # type: ignore[arg-type]  # a fake
    return made, market.clock, market


def test_before_the_first_measurement_nothing_is_known() -> None:
    made, _, _ = context()

    assert made.current().ess == Unavailable("risk has not been measured yet")
    assert made.due()


def test_a_measurement_is_kept_ten_seconds_and_forgotten_after_a_minute() -> None:
    made, clock, _ = context(Account((position("AUSDT"), position("BUSDT"))))
    asyncio.run(made.refresh())
    found = made.current()

    assert isinstance(found.ess, Decimal)
    assert isinstance(found.systemic, Decimal)
    assert isinstance(found.heat, Decimal)
    assert not made.due()
    assert made.current() is found
    clock.at += TTL_MS
    assert made.due()
    assert made.current() is found
    clock.at += MAX_AGE_MS
    assert made.current().ess == Unavailable("risk was last measured 70 s ago")


def test_a_closed_candle_makes_it_due_at_once() -> None:
    made, clock, _ = context()
    clock.at = BEGIN + HOUR - 1_000
    asyncio.run(made.refresh())
    clock.at += 999
    assert not made.due()
    clock.at += 1

    assert made.due()


def test_candles_are_asked_for_only_when_one_has_closed() -> None:
    made, clock, market = context()
    asyncio.run(made.refresh())
    asked = market.asked
    clock.at += TTL_MS
    asyncio.run(made.refresh())
    assert market.asked == asked
    clock.at += HOUR
    asyncio.run(made.refresh())

    assert market.asked == asked + len(SYMBOLS)


def test_positions_that_cannot_be_read_leave_the_market_and_name_the_reason() -> None:
    made, _, _ = context(Account(error=UnavailableError("the positions: no answer in time", "wait")))
    report = asyncio.run(made.refresh())
    found = made.current()

    assert found.heat == Unavailable("the positions: no answer in time")
    assert isinstance(found.systemic, Decimal)
    assert isinstance(found.ess, Unavailable)
    assert report is made.report


def test_a_symbol_without_candles_is_named_in_the_report() -> None:
    made, _, _ = context(market=Market(Time(), bad=frozenset({"DUSDT"})))
    report = asyncio.run(made.refresh())

    assert report.basket == SYMBOLS[:3]
    assert report.excluded == {"DUSDT": "no candles of DUSDT"}


def test_funding_is_read_now_and_then_and_chooses_the_basket() -> None:
    asked = []

    async def funding() -> dict[str, Decimal]:
        asked.append(1)
        return {"AUSDT": D("0.001"), "BUSDT": D(0), "CUSDT": D(0)}

    made, clock, _ = context(Account((position("AUSDT"), position("BUSDT"))), funding=funding)
    report = asyncio.run(made.refresh())
    clock.at += TTL_MS
    asyncio.run(made.refresh())

    assert len(asked) == 1
    assert report.basket == ("AUSDT", "BUSDT", "CUSDT")
    assert report.readings["var_95"].parts["funding_usd"] == D(1)


def test_a_position_without_a_mark_is_not_measured_at_zero() -> None:
    made, _, _ = context(Account((position("AUSDT", mark="0"),)))
    asyncio.run(made.refresh())

    assert made.current().heat == Unavailable("AUSDT LONG has no mark price")


def test_the_loop_goes_on_while_risk_is_measured() -> None:
    """The arithmetic runs in a thread: a ticking task is never held up for as long as a measurement takes."""
    made, _, _ = context(Account((position("AUSDT"),)))

    async def both() -> int:
        ticks = 0
        work = asyncio.ensure_future(made.refresh())
        while not work.done():
            await asyncio.sleep(0)
            ticks += 1
        return ticks

    assert asyncio.run(both()) > 20


def test_keep_fresh_measures_when_due_until_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    made, clock, _ = context(account)
    paused: list[int] = []

    async def pause(_: float) -> None:
        """Let ten seconds pass after every second look, and end after the fourth."""
        paused.append(account.reads)
        clock.at += TTL_MS if len(paused) % 2 == 0 else 0
        if len(paused) == 4:
            raise asyncio.CancelledError

    monkeypatch.setattr(risk_context.asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(made.keep_fresh())

    assert paused == [1, 1, 2, 2]


def test_without_numpy_every_reading_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk_context, "find_spec", lambda _: None)
    made, _, _ = context()
    asyncio.run(made.keep_fresh())

    assert made.current().ess == Unavailable("measuring risk needs the risk extra")
    with pytest.raises(InputsError, match="risk extra") as caught:
        asyncio.run(made.refresh())
    assert caught.value.hint == "install it: pip install 'tpctl[risk]'"


def test_importing_the_context_does_not_import_numpy() -> None:
    code = "import sys, tpctl.engine.risk_context; print('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


ORDER = LiveOrder(
    symbol="AUSDT",
    client_id="x",
    exchange_id="1",
    book=Book.ALGO,
    kind=OrderKind.STOP_MARKET,
    order_side=OrderSide.SELL,
    position_side=None,
    status=OrderStatus.NEW,
    quantity=D(1),
    trigger=D(95),
    price=None,
    working=WorkingType.MARK,
    close_position=False,
    reduce_only=True,
    executed=D(0),
    average_price=None,
    child_id=None,
    updated_at=0,
)


def test_the_stop_nearest_to_the_market_counts_and_only_what_rests_and_protects() -> None:
    orders = [
        ORDER,
        replace(ORDER, trigger=D(97)),
        replace(ORDER, trigger=D(99), status=OrderStatus.CANCELED),
        replace(ORDER, trigger=D(99), kind=OrderKind.TAKE_PROFIT_MARKET),
        replace(ORDER, trigger=D(99), reduce_only=False),
        replace(ORDER, trigger=None),
        replace(ORDER, order_side=OrderSide.BUY, trigger=D(104)),
        replace(ORDER, order_side=OrderSide.BUY, trigger=D(103), close_position=True),
    ]

    assert resting_stops(orders) == {
        PositionKey("AUSDT", PositionSide.LONG): D(97),
        PositionKey("AUSDT", PositionSide.SHORT): D(103),
    }


def test_the_account_adds_wallets_and_open_pnl() -> None:
    isolated = replace(position("BUSDT"), isolated_wallet=D(30), unrealised=D(5))
    found = account_of((position("AUSDT"), isolated), D(1000))

    assert (found.equity, found.unrealised, found.initial_margin, found.gross_notional) == (
        D(1015),
        D(-15),
        D(200),
        D(2000),
    )


def test_margin_that_is_no_dollar_is_not_added_to_dollars() -> None:
    @dataclass
    class Rules:
        margin_asset: str

    rules: Any = {"AUSDT": Rules("USDT"), "BUSDC": Rules("USDC"), "CBTC": Rules("BTC")}

    assert margin_assets((), Unavailable("not read")) == ("USDT",)
    assert margin_assets((position("AUSDT"), position("BUSDC")), rules) == ("USDT", "USDC")
    assert margin_assets((position("CBTC"),), rules) == Unavailable("CBTC is margined in BTC, not in dollars")
    assert isinstance(margin_assets((position("XUSDT"),), rules), Unavailable)
