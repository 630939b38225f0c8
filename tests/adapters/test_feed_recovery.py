"""The supervised feed against everything that ends a websocket, at the served twin; and what the library's own does.

The market runs at 600 times the clock and the supervisor's time at 100, so that its delays pass in milliseconds.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import ReadLoopClosed
from binance.ws.constants import WSListenerState
from binance.ws.reconnecting_websocket import ReconnectingWebsocket

from tpctl.adapters.binance.client import BinanceExchange
from tpctl.adapters.binance.clock import ExchangeClock
from tpctl.adapters.binance.endpoints import twin
from tpctl.adapters.secrets import Secret
from tpctl.adapters.streams import socket
from tpctl.adapters.streams.feed import LiveFeed, StreamStatus
from tpctl.adapters.streams.timing import Timing
from tpctl.exits.events import Accepted, Event, MarkPrice, OrderSeen, StreamLost
from tpctl.exits.instrument import PositionSide
from tpctl.exits.intents import PlaceStop
from tpctl.exits.model import PositionKey, PositionMode, WorkingType
from tpctl.ports import Admitted
from tpctl.venue.entries import Entry, ListedEntries
from tpctl.venue.faults import FaultPlan, LinkFault
from tpctl.venue.limits import Limits
from tpctl.venue.market.synthetic import START_MS, SyntheticMarket
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.server import Served, serve
from tpctl.venue.venue import Venue

SPEED = 600.0
HURRY = 100.0
PATIENCE_S = 90.0
XRP = PositionKey("XRPUSDT", PositionSide.LONG)


async def _hurried(seconds: float) -> None:
    await asyncio.sleep(seconds / HURRY)


TIMING = Timing(
    monotonic=lambda: time.monotonic() * HURRY,
    wall=lambda: 1e9 + time.monotonic() * HURRY,
    sleep=_hurried,
    random=lambda: 1.0,
)


@dataclass
class Desk:
    """A feed that is being read, the twin it reads, and what came so far."""

    served: Served
    account: BinanceExchange
    feed: LiveFeed
    came: list[Event] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    stops: int = 0

    @property
    def user(self) -> StreamStatus:
        assert self.feed.status.user is not None
        return self.feed.status.user

    async def read(self) -> None:
        async with aclosing(self.feed.events()) as batches:
            async for batch in batches:
                self.came.extend(batch)
                self.news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self.news.clear()
                await self.news.wait()

    def losses(self) -> int:
        return sum(isinstance(event, StreamLost) for event in self.came)

    async def sees_marks(self) -> None:
        """Wait for a mark that is newer than all so far."""
        newest = self.served.venue.now
        await self.until(lambda: any(isinstance(e, MarkPrice) and e.at > newest for e in self.came[-50:]))

    async def sees_orders(self) -> None:
        """Place a stop and wait until the user stream tells of it."""
        self.stops += 1
        client_id = f"tp-{self.stops}"
        stop = PlaceStop(XRP, client_id, None, Decimal("1.5"), WorkingType.MARK, "test")
        if self.stops > 1:
            self.served.venue.drop(f"tp-{self.stops - 1}")
        assert isinstance(await self.account.submit(Admitted(stop, PositionMode.ONE_WAY)), Accepted)
        await self.until(lambda: any(isinstance(e, OrderSeen) and e.order.client_id == client_id for e in self.came))


@asynccontextmanager
async def desk(faults: FaultPlan | None = None, limits: Limits | None = None) -> AsyncIterator[Desk]:
    market = SyntheticMarket(1, ("XRPUSDT", "BTCUSDT"))
    venue = Venue(builtin_rules(), start_ms=market.start_ms)
    entries = ListedEntries([Entry(START_MS, "XRPUSDT", "LONG", 20, Decimal(2000))])
    async with serve(venue, market, entries, speed=SPEED, limits=limits, faults=faults) as served:
        clock = ExchangeClock(speed=SPEED)
        account = BinanceExchange(twin(served.url), clock, key=Secret("sim"), secret=Secret("sim"))
        feed = LiveFeed(account.endpoints.stream, clock, account, timing=TIMING)
        await account.server_time()
        made = Desk(served, account, feed)
        reading = asyncio.create_task(made.read())
        try:
            await made.until(lambda: made.user.connected and made.feed.status.market.connected)
            yield made
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await account.close()
        assert reading.cancelled()


@pytest.mark.parametrize(
    "fault",
    [
        LinkFault("cut", "market"),
        LinkFault("cut", "private"),
        LinkFault("close", "market"),
        LinkFault("close", "private"),
        LinkFault("silence", "market", ms=10**9),
        LinkFault("half-open", "market"),
        LinkFault("half-open", "private"),
        LinkFault("expire-key", "private"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.link}",
)
def test_the_stream_is_back_after(fault: LinkFault, monkeypatch: pytest.MonkeyPatch) -> None:
    # A dead connection is found out by pings, whose time is the library's.
    monkeypatch.setattr(socket, "_PING_S", 0.3)

    async def scenario() -> None:
        async with desk() as made:
            await made.sees_orders()
            user = fault.link == "private"
            before, losses = (made.user if user else made.feed.status.market).reconnects, made.losses()
            made.served.strike(fault)
            await made.until(lambda: (made.user if user else made.feed.status.market).reconnects > before)
            if user:
                # Once when it went and once when it was back: what happened in between has to be read.
                await made.until(lambda: made.losses() >= losses + 2 and made.user.connected)
            await made.sees_marks()
            await made.sees_orders()

    asyncio.run(scenario())


def test_a_key_replaced_without_a_word_is_found_out_by_the_next_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpctl.adapters.streams.feed.KEEP_KEY_S", 60.0)

    async def scenario() -> None:
        async with desk() as made:
            made.served.strike(LinkFault("rotate-key", "private"))
            await made.until(lambda: made.user.reconnects > 0 and made.user.connected)
            await made.sees_orders()

    asyncio.run(scenario())


def test_a_connection_that_reaches_its_24_hours_is_dialled_again() -> None:
    async def scenario() -> None:
        async with desk(limits=Limits(connection_ms=120_000)) as made:
            await made.until(lambda: made.user.reconnects > 0 and made.feed.status.market.reconnects > 0)
            await made.sees_marks()
            await made.sees_orders()

    asyncio.run(scenario())


def test_a_flood_leaves_the_newest_marks_and_loses_no_word_of_the_account() -> None:
    async def scenario() -> None:
        async with desk() as made:
            await made.sees_marks()
            count = len(made.came)
            made.served.strike(LinkFault("flood", "both", frames=5_000))
            await made.sees_marks()
            await made.sees_orders()
            # The same frame five thousand times is one mark of each symbol.
            assert len(made.came) - count < 1_000
            assert made.feed.status.market.reconnects == made.user.reconnects == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["malformed-frame", "malformed-event"])
def test_a_malformed_frame_costs_one_connection(name: str) -> None:
    async def scenario() -> None:
        began = START_MS + 60_000
        async with desk(FaultPlan({name: 1.0}, 1, start_ms=began, stop_ms=began + 5_001)) as made:
            user = name == "malformed-event"
            while user and made.served.venue.now < began + 5_000 and not made.user.reconnects:
                await made.sees_marks()
                made.served.venue.add_position("XRPUSDT", "LONG", quantity=Decimal(10))
            await made.until(lambda: (made.user if user else made.feed.status.market).reconnects > 0)
            await made.until(lambda: made.user.connected and made.served.venue.now > began + 5_001)
            await made.sees_marks()
            await made.sees_orders()

    asyncio.run(scenario())


class Gate(FaultPlan):
    """A maintenance that lasts until the test ends it, and the handshakes it refused."""

    def __init__(self) -> None:
        super().__init__({}, 1, start_ms=START_MS)
        self.closed = False
        self.refused = 0

    def in_maintenance(self, at: int) -> bool:
        self.refused += self.closed
        return self.closed


def test_the_feed_outlives_more_refused_handshakes_than_the_librarys_five() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with desk(gate) as made:
            gate.closed = True
            made.served.cut()
            await made.until(lambda: gate.refused > 2 * 6)
            gate.closed = False
            await made.until(lambda: made.user.connected and made.feed.status.market.connected)
            await made.sees_marks()
            await made.sees_orders()

    asyncio.run(scenario())


# What the library's own sockets make of the same: the reason why none of them is used.


@asynccontextmanager
async def library(
    plan: FaultPlan | None = None, queue: int = 10_000
) -> AsyncIterator[tuple[Served, ReconnectingWebsocket]]:
    market = SyntheticMarket(1, ("XRPUSDT",))
    venue = Venue(builtin_rules(), start_ms=market.start_ms)
    async with serve(venue, market, ListedEntries([]), speed=SPEED, faults=plan) as served:
        client = AsyncClient("sim", "sim")
        client.FUTURES_URL = f"{served.url}/fapi"
        manager = BinanceSocketManager(client, max_queue_size=queue)
        manager.FSTREAM_URL = served.url.replace("http", "ws") + "/"
        marks = manager.all_mark_price_socket(fast=True)
        try:
            async with marks:
                await marks.recv()
                yield served, marks
        finally:
            await client.close_connection()


async def _dies(marks: ReconnectingWebsocket) -> list[str]:
    """Read until the socket says that it will never deliver again; return what it said on the way."""
    said: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                message = await marks.recv()
            except ReadLoopClosed:
                return said
            if message and message.get("e") == "error":
                said.append(message["type"])


@pytest.mark.parametrize("death", ["overflow", "malformed", "five refusals"])
def test_the_librarys_own_socket_dies_for_good_of(death: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 0.05)
    monkeypatch.setattr(ReconnectingWebsocket, "_get_reconnect_wait", lambda _self, _attempts: 0.01)
    rates = {"malformed": {"malformed-frame": 1.0}, "five refusals": {"maintenance": 3_600.0}}.get(death, {})

    async def scenario() -> None:
        plan = FaultPlan(rates, 1, start_ms=START_MS + 120_000)
        async with library(plan, queue=10 if death == "overflow" else 10_000) as (served, marks):
            if death == "overflow":
                # Nobody reads for a moment, as while a screen is painted.
                served.strike(LinkFault("flood", "market", frames=5_000))
                while marks._handle_read_loop is not None:  # noqa: ASYNC110 - the library tells nobody
                    await asyncio.sleep(0)
            said = await _dies(marks)
            assert ("BinanceWebsocketUnableToConnect" in said) is (death == "five refusals")

    asyncio.run(scenario())


def test_the_librarys_own_socket_never_finds_out_that_a_stream_fell_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 0.05)

    async def scenario() -> None:
        async with library() as (served, marks):
            served.strike(LinkFault("silence", "market", ms=10**9))
            with suppress(TimeoutError):
                # What was on its way already.
                while True:
                    await asyncio.wait_for(marks.recv(), 1.0)
            since = served.venue.now
            # Ten minutes of a market that moves every five seconds.
            while served.venue.now < since + 600_000:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(marks.recv(), 0.2)
            assert marks.ws_state is WSListenerState.STREAMING

    asyncio.run(scenario())
