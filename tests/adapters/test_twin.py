"""The account and the feeds against the served twin: the real client, real sockets, the exchange's own refusals."""

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import islice

import pytest

from tpctl.adapters.binance.client import BinanceExchange
from tpctl.adapters.binance.clock import EventClock, ExchangeClock
from tpctl.adapters.binance.endpoints import twin
from tpctl.adapters.secrets import Secret
from tpctl.adapters.streams.discover import discover
from tpctl.adapters.streams.feed import LiveFeed
from tpctl.adapters.streams.lockstep import LockstepFeed
from tpctl.exits.events import Accepted, Filled, MarkPrice, OrderSeen, PositionSeen, Refused, StreamLost
from tpctl.exits.instrument import OrderKind, PositionSide
from tpctl.exits.intents import CancelOrder, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import Book, OrderStatus, PositionMode, WorkingType
from tpctl.ports import Admitted
from tpctl.venue.entries import Entry, ListedEntries, SeededEntries
from tpctl.venue.limits import Limits
from tpctl.venue.market.synthetic import START_MS, SyntheticMarket
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.server import serve
from tpctl.venue.venue import Venue

SYMBOLS = ("XRPUSDT", "BTCUSDT")
STEPS = 240


class ShortMarket:
    """The synthetic market's first steps."""

    def __init__(self, length):
        self._market = SyntheticMarket(1, SYMBOLS)
        self._length = length
        self.symbols = SYMBOLS
        self.start_ms = START_MS
        self.step_ms = 5_000
        self.end_ms = START_MS + length * 5_000

    def steps(self):
        return islice(self._market.steps(), self._length)

    def history(self, symbol):
        return self._market.history(symbol)


@asynccontextmanager
async def served(steps=STEPS, *, rate=None, speed=None, hedge=False, limits=None):
    """Serve a twin that opens one position after 30 s, or many at a rate; yield account, clock and status."""
    market = ShortMarket(steps)
    venue = Venue(builtin_rules(), start_ms=market.start_ms)
    later = ListedEntries([Entry(START_MS + 30_000, "XRPUSDT", "LONG", 20, Decimal(2000))])
    entries = later if rate is None else SeededEntries(1, market.symbols, rate=rate)
    async with serve(venue, market, entries, speed=speed, limits=limits) as host:
        found = await discover(host.url)
        clock = EventClock() if found.lockstep else ExchangeClock(speed=found.speed)
        account = BinanceExchange(twin(host.url), clock, key=Secret("sim"), secret=Secret("sim"))
        try:
            await account.server_time()
            if hedge:
                await account._wire._open().futures_change_position_mode(dualSidePosition="true")
            yield account, clock, found
        finally:
            await account.close()


def lockstep(account, clock, **options):
    return LockstepFeed(account.endpoints.stream, clock, account, **options)


async def until_open(feed_events, account):
    """Follow the feed until there is a position; return the positions.

    A position may be opened before the user stream is connected: what came before `StreamLost` must be read.
    """
    async for batch in feed_events:
        if any(isinstance(event, PositionSeen | StreamLost) for event in batch):
            held = await account.positions()
            if held:
                return held
    raise AssertionError("the trader opened nothing")


def stop(position, client_id="tp-stop", quantity=None, factor="0.9"):
    factor = Decimal(factor) if position.key.side is PositionSide.LONG else 2 - Decimal(factor)
    trigger = round(position.mark_price * factor, 1 if position.key.symbol == "BTCUSDT" else 4)
    return PlaceStop(position.key, client_id, quantity, trigger, WorkingType.MARK, "test")


def leg(position, quantity):
    target = stop(position, factor="1.1").trigger
    return PlaceTakeProfit(position.key, "tp-leg", 1, quantity, target, WorkingType.MARK, "test")


@pytest.mark.parametrize("mode", PositionMode)
def test_exits_are_placed_listed_found_and_cancelled_in_both_modes(mode):
    async def scenario():
        async with served(hedge=mode is PositionMode.HEDGE) as (account, clock, _):
            events = lockstep(account, clock, mode=mode).events()
            assert await account.position_mode() is mode
            [position, *_] = await until_open(events, account)
            key, quantity = position.key, position.quantity

            async def submit(intent):
                return await account.submit(Admitted(intent, mode))

            backstop = await submit(stop(position, "tp-backstop", None, "0.8"))
            working = await submit(stop(position, "tp-working", quantity))
            target = await submit(leg(position, quantity))
            for answer in (backstop, working, target):
                assert isinstance(answer, Accepted), answer
                assert answer.order.status is OrderStatus.NEW
                assert answer.order.reduces
                assert answer.order.closes is key.side
                assert answer.order.working is WorkingType.MARK
            assert backstop.order.close_position
            assert (working.order.quantity, target.order.kind) == (quantity, OrderKind.TAKE_PROFIT_MARKET)

            listed = {order.client_id: order for order in await account.open_orders(key.symbol)}
            assert listed == {a.order.client_id: a.order for a in (backstop, working, target)}
            assert {order.client_id for order in await account.open_orders()} == set(listed)
            assert (await account.find_order(key.symbol, "tp-working", Book.ALGO)).trigger == working.order.trigger
            assert await account.find_order(key.symbol, "tp-unheard-of", Book.ALGO) is None
            assert await account.find_order(key.symbol, "tp-unheard-of", Book.REGULAR) is None

            second = await submit(stop(position, "tp-second", None, "0.8"))
            assert (type(second), second.code) == (Refused, -4130)
            crossed = await submit(stop(position, "tp-crossed", quantity, "1.1"))
            assert (type(crossed), crossed.code) == (Refused, -2021)

            assert await submit(CancelOrder(key, "tp-working", Book.ALGO, "test")) == Accepted(None)
            again = await submit(CancelOrder(key, "tp-working", Book.ALGO, "test"))
            assert (type(again), again.code) == (Refused, -2011)

            closed = await submit(ReduceAtMarket(key, "tp-close", quantity, "test"))
            assert (closed.order.status, closed.order.executed) == (OrderStatus.FILLED, quantity)
            assert key not in {held.key for held in await account.positions()}
            fills = await account.fills(key.symbol, START_MS)
            assert sum(fill.quantity for fill in fills if fill.order_id == closed.order.exchange_id) == quantity

            caused = await anext(events)
            states = [(e.order.client_id, e.order.book, e.order.status) for e in caused if isinstance(e, OrderSeen)]
            assert ("tp-working", Book.ALGO, OrderStatus.CANCELED) in states
            assert ("tp-backstop", Book.ALGO, OrderStatus.EXPIRED) in states
            assert sum(e.fill.quantity for e in caused if isinstance(e, Filled)) == quantity
            sizes = [(e.key, e.quantity) for e in caused if isinstance(e, PositionSeen)]
            assert (key, 0) in sizes
            await events.aclose()

    asyncio.run(scenario())


def test_everything_that_can_be_read_is_read():
    async def scenario():
        async with served() as (account, clock, _):
            events = lockstep(account, clock).events()
            [position, *_] = await until_open(events, account)
            symbol = position.key.symbol
            rules = (await account.instruments())[symbol]
            config = await account.symbol_config(symbol)
            brackets = await account.brackets(symbol)
            wallet = await account.wallet("USDT")
            fees = await account.fees(symbol)
            candles = await account.candles(symbol, "1m", 120)

            assert rules.tradable
            assert position.quantity % rules.step == 0
            assert 1 <= config.leverage <= brackets[0].max_leverage
            assert wallet.cross_wallet > 0
            assert wallet.maintenance_margin > 0
            assert 0 <= fees.maker.fraction <= fees.taker.fraction
            assert len(candles) == 120
            assert candles[-1].at + 60_000 <= clock.now()
            assert await account.quote_volume(symbol) > 0
            assert await account.server_time() == clock.now()
            assert account.budget.used_weight > 0
            await events.aclose()

    asyncio.run(scenario())


async def story(steps=STEPS, limits=None, mode=None):
    """Guard every position with a stop as it appears; return everything the feed said."""
    said = []
    async with served(steps, rate=240.0, limits=limits) as (account, clock, _):
        number = 0
        async for batch in lockstep(account, clock, mode=mode).events():
            said.append((clock.now(), repr(batch)))
            news = (event for event in batch if isinstance(event, PositionSeen | StreamLost))
            if any(isinstance(event, StreamLost) or event.quantity for event in news):
                for position in await account.positions():
                    number += 1
                    await account.submit(Admitted(stop(position, f"tp-{number}", None, "0.999"), PositionMode.ONE_WAY))
    return said


def test_the_same_seed_tells_the_same_story():
    """I21, over real sockets."""
    first, second = asyncio.run(story()), asyncio.run(story())

    assert first == second
    assert len(first) > STEPS
    text = "".join(batch for _, batch in first)
    assert all(name in text for name in ("Filled", "OrderSeen", "PositionSeen", "MarkPrice"))
    assert text.count("StreamLost") == 1


def test_connections_that_end_and_keys_that_expire_change_no_decision_in_lockstep():
    limits = Limits(connection_ms=120_000, listen_key_ms=300_000)
    first, second = asyncio.run(story(limits=limits)), asyncio.run(story(limits=limits))

    assert first == second
    assert "".join(batch for _, batch in first).count("StreamLost") > 3
    times = [at for at, _ in first]
    assert times == sorted(times)
    assert times[-1] - times[0] == (STEPS - 1) * 5_000


def test_every_step_brings_the_mark_of_every_symbol():
    async def scenario():
        async with served(40) as (account, clock, _):
            return [list(batch) async for batch in lockstep(account, clock).events()]

    batches = asyncio.run(scenario())
    assert [type(event) for event in batches[0]][-1] is StreamLost
    for batch in batches[1:]:
        assert {event.symbol for event in batch if isinstance(event, MarkPrice)} == set(SYMBOLS)


def test_a_twin_at_speed_is_read_live_and_answers_orders():
    async def scenario():
        async with served(2_000, speed=600.0) as (account, clock, found):
            assert found.speed == 600.0
            assert found.stale_s == 10.0
            feed = LiveFeed(account.endpoints.stream, clock, account, stale_s=found.stale_s)
            events = feed.events()
            [position, *_] = await until_open(events, account)
            answer = await account.submit(Admitted(stop(position, "tp-s", None, "0.7"), PositionMode.ONE_WAY))
            async for batch in events:
                seen = [e.order for e in batch if isinstance(e, OrderSeen) and e.order.client_id == "tp-s"]
                if seen:
                    break
            assert feed.status.user.connected
            await events.aclose()
            return answer, seen

    answer, seen = asyncio.run(scenario())
    assert isinstance(answer, Accepted)
    assert seen[0].status is OrderStatus.NEW
