"""The supervised streams, on virtual time and scripted connections, and on real loopback websockets."""

import asyncio
import heapq
import itertools
import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import serve

from tpctl.adapters.binance.clock import EventClock
from tpctl.adapters.streams.discover import TwinStatus, discover
from tpctl.adapters.streams.feed import KEEP_KEY_S, LiveFeed
from tpctl.adapters.streams.lockstep import LockstepFeed
from tpctl.adapters.streams.socket import ROTATE_S, Disconnected, Stream, dial
from tpctl.adapters.streams.timing import Timing
from tpctl.exits.errors import ExchangeRejected, UnavailableError
from tpctl.exits.events import MarkPrice, OrderSeen, StreamLost

NOW = 1_789_000_000_000


class World:
    """Time that moves only when told, and the connections dialled in it."""

    def __init__(self):
        self.now = 0.0
        self.slept = 0.0
        self.delays = []
        self.links = []
        self.urls = []
        self.refusals = 0
        self._sleepers = []
        self._order = itertools.count()

    @property
    def timing(self):
        return Timing(lambda: self.now, lambda: 1e9 + self.now + self.slept, self.sleep, lambda: 1.0)

    async def sleep(self, seconds):
        self.delays.append(seconds)
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), future))
        await future

    async def settle(self):
        for _ in range(50):
            await asyncio.sleep(0)

    async def run_for(self, seconds):
        end = self.now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await self.settle()
        self.now = end
        await self.settle()

    async def dial(self, url):
        self.urls.append(url)
        if self.refusals:
            self.refusals -= 1
            raise Disconnected("refused")
        link = Link()
        self.links.append(link)
        return link


class Link:
    """A connection the test feeds."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.closed = False
        self.sent = []

    async def recv(self):
        item = await self.queue.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def send(self, message):
        self.sent.append(message)

    async def close(self):
        self.closed = True

    def say(self, payload):
        self.queue.put_nowait(payload if isinstance(payload, bytes | Exception) else json.dumps(payload).encode())

    def drop(self, reason="closed"):
        self.say(Disconnected(reason))


class Log:
    """A sink that writes down what it is told."""

    def __init__(self):
        self.said = []

    def frame(self, raw):
        self.said.append(raw)

    def opened(self):
        self.said.append("opened")

    def lost(self, reason):
        self.said.append(f"lost: {reason}")


class Keys:
    """Gives listen keys; `forgotten` makes the next extension fail."""

    def __init__(self):
        self.given = 0
        self.kept = []
        self.failures = []

    async def start_listen_key(self):
        self.given += 1
        return f"key{self.given}"

    async def keep_listen_key(self, key):
        self.kept.append(key)
        if self.failures:
            raise self.failures.pop(0)


class Fixed:
    def now(self):
        return NOW


def play(scenario):
    """Run an async scenario in a world of its own."""

    async def main():
        world = World()
        return await scenario(world)

    return asyncio.run(main())


class Running:
    """A stream under way, and its end."""

    def __init__(self, world, **options):
        self.log = Log()
        options = {"stale_s": None, "dial": world.dial, "timing": world.timing} | options
        self.stream = Stream(self.log, self.address, **options)
        self.world = world

    async def address(self):
        return "ws://exchange"

    async def __aenter__(self):
        self.task = asyncio.ensure_future(self.stream.run())
        await self.world.settle()
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait({self.task})
        assert all(link.closed for link in self.world.links)
        assert self.task.cancelled()


# One stream


def test_frames_arrive_and_leaving_closes_the_connection():
    async def scenario(world):
        async with Running(world) as run:
            world.links[0].say(b"1")
            world.links[0].say(b"2")
            await world.settle()
            assert run.stream.connected
            return run.log.said

    assert play(scenario) == ["opened", b"1", b"2"]


def test_every_loss_is_told_once_and_the_stream_comes_back():
    async def scenario(world):
        async with Running(world) as run:
            world.refusals = 3
            world.links[0].drop("the exchange closed the connection (1001)")
            await world.run_for(60)
            world.links[1].say(b"again")
            await world.settle()
            assert run.stream.reconnects == 1
            return run.log.said

    assert play(scenario) == ["opened", "lost: the exchange closed the connection (1001)", "opened", b"again"]


def test_an_exchange_that_cannot_be_reached_at_first_is_told_too():
    async def scenario(world):
        world.refusals = 2
        async with Running(world) as run:
            await world.run_for(60)
            return run.log.said

    assert play(scenario) == ["lost: refused", "opened"]


def test_reconnects_never_end_and_their_delays_stop_growing_at_ten_seconds():
    async def scenario(world):
        world.refusals = 100
        async with Running(world) as run:
            await world.run_for(4000)
            assert run.stream.connected
            return world.delays

    delays = play(scenario)
    assert len(delays) >= 100
    assert delays[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert max(delays[:100]) == 10.0


def test_a_connection_that_breaks_at_once_is_not_dialled_in_a_hurry():
    async def scenario(world):
        async with Running(world):
            for _ in range(5):
                world.links[-1].drop()
                await world.run_for(0.4)
            return len(world.links)

    assert play(scenario) < 4


def test_a_steady_connection_is_replaced_at_once():
    async def scenario(world):
        async with Running(world) as run:
            await world.run_for(3600)
            world.links[0].drop()
            await world.settle()
            return len(world.links), run.stream.connected

    assert play(scenario) == (2, True)


def test_silence_where_frames_are_due_ends_the_connection():
    async def scenario(world):
        async with Running(world, stale_s=10) as run:
            await world.run_for(9)
            world.links[0].say(b"alive")
            await world.run_for(9)
            assert len(world.links) == 1
            await world.run_for(2)
            return run.log.said, len(world.links)

    said, links = play(scenario)
    assert said == ["opened", b"alive", "lost: the stream was silent for 10 s", "opened"]
    assert links == 2


def test_before_its_last_hour_a_connection_is_replaced_without_a_gap():
    async def scenario(world):
        async with Running(world) as run:
            await world.run_for(ROTATE_S)
            old, new = world.links
            old.say(b"overlap")
            new.say(b"overlap")
            await world.settle()
            assert not old.closed
            await world.run_for(10)
            assert old.closed
            assert not new.closed
            new.say(b"new")
            await world.settle()
            return run.log.said

    assert play(scenario) == ["opened", b"overlap", b"overlap", b"new"]


def test_a_connection_that_cannot_be_replaced_is_kept():
    async def scenario(world):
        async with Running(world) as run:
            await world.run_for(ROTATE_S - 1)
            world.refusals = 1
            await world.run_for(30)
            world.links[0].say(b"still here")
            await world.run_for(60)
            return run.log.said, len(world.links)

    assert play(scenario) == (["opened", b"still here"], 2)


def test_a_gap_during_replacement_is_told():
    async def scenario(world):
        opened = world.dial

        async def slow(url):
            link = await opened(url)
            if len(world.links) == 2:
                world.links[0].drop()
                await world.settle()
            return link

        async with Running(world, dial=slow) as run:
            await world.run_for(ROTATE_S + 10)
            return run.log.said

    assert play(scenario) == ["opened", "lost: the connection broke while it was being replaced"]


def test_a_failed_address_counts_as_a_failed_connection():
    async def scenario(world):
        failures = [UnavailableError("no key", "wait")]

        async def address():
            if failures:
                raise failures.pop()
            return "ws://exchange"

        log = Log()
        task = asyncio.ensure_future(Stream(log, address, stale_s=None, dial=world.dial, timing=world.timing).run())
        await world.run_for(2)
        task.cancel()
        await asyncio.wait({task})
        return log.said

    assert play(scenario) == ["lost: no key", "opened"]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["frame", "drop", "wait", "long", "refuse", "restart", "rotate"]), max_size=25))
def test_after_any_story_the_stream_is_connected_and_every_gap_was_told(story):
    """Between two frames of different connections there is a loss told, unless one replaced the other in time."""

    async def scenario(world):
        async with Running(world, stale_s=None) as run:
            for act in story:
                if act == "frame" and run.stream.connected:
                    world.links[-1].say(b"x")
                elif act == "drop":
                    world.links[-1].drop()
                elif act == "refuse":
                    world.refusals += 1
                elif act == "restart":
                    run.stream.restart("told to")
                elif act != "frame":
                    await world.run_for({"wait": 1, "long": 100, "rotate": ROTATE_S}[act])
                await world.settle()
            await world.run_for(7200)
            assert run.stream.connected
            assert sum(not link.closed for link in world.links) == 1
            marks = [item for item in run.log.said if isinstance(item, str)]
            assert all(first != second for first, second in itertools.pairwise(m[:4] for m in marks if m != "gap"))

    play(scenario)


# The live feed


def marks(*pairs, at=NOW):
    rows = [{"e": "markPriceUpdate", "E": at, "s": symbol, "p": price} for symbol, price in pairs]
    return {"stream": "!markPrice@arr@1s", "data": rows}


def algo(client_id, at=NOW, state="NEW"):
    order = {"s": "A", "caid": client_id, "aid": 1, "S": "SELL", "o": "STOP_MARKET", "X": state, "q": "1", "tp": "2"}
    return {"e": "ALGO_UPDATE", "E": at, "T": at, "o": order}


class Reading:
    """A live feed being read; batches are taken one by one."""

    def __init__(self, world, keys=None, **options):
        self.keys = Keys() if keys is None else keys
        self.feed = LiveFeed("ws://x", Fixed(), self.keys or None, dial=world.dial, timing=world.timing, **options)
        self.world = world

    async def __aenter__(self):
        self.events = self.feed.events()
        self.first = await self.batch()
        return self

    async def batch(self):
        """Take the batch that is waiting, moving time on by half a second."""
        await self.world.settle()
        waiting = asyncio.ensure_future(anext(self.events))
        await self.world.run_for(0.5)
        return await waiting

    async def __aexit__(self, *_):
        await self.events.aclose()
        assert all(link.closed for link in self.world.links)

    @property
    def market(self):
        return next(
            link for link, url in reversed([*zip(self.world.links, self.world.urls, strict=True)]) if "market" in url
        )

    @property
    def user(self):
        return next(
            link for link, url in reversed([*zip(self.world.links, self.world.urls, strict=True)]) if "private" in url
        )


def kinds(batch):
    return [type(event) for event in batch]


def test_the_feed_subscribes_to_marks_and_to_the_account():
    async def scenario(world):
        async with Reading(world):
            return world.urls

    assert play(scenario) == ["ws://x/market/stream?streams=!markPrice@arr@1s", "ws://x/private/ws?listenKey=key1"]


def test_connecting_says_that_the_account_must_be_read():
    async def scenario(world):
        async with Reading(world) as reading:
            return reading.first

    assert kinds(play(scenario)) == [StreamLost]


def test_a_quiet_feed_still_lets_time_pass():
    async def scenario(world):
        async with Reading(world) as reading:
            return [await reading.batch() for _ in range(3)]

    assert play(scenario) == [[], [], []]


def test_a_slow_consumer_gets_the_latest_mark_of_each_symbol_and_every_fact():
    async def scenario(world):
        async with Reading(world) as reading:
            for second in range(50_000):
                reading.feed.take_marks(json.dumps(marks(("A", str(second + 1)), ("B", "7"), at=NOW + second)).encode())
            for number in range(1000):
                reading.feed.take_facts(json.dumps(algo(f"tp-{number}")).encode())
            return await reading.batch()

    batch = play(scenario)
    facts = [event.order.client_id for event in batch if isinstance(event, OrderSeen)]
    latest = {event.symbol: event.price for event in batch if isinstance(event, MarkPrice)}
    assert facts == [f"tp-{number}" for number in range(1000)]
    assert latest == {"A": Decimal(50_000), "B": Decimal(7)}
    assert len(batch) == 1002


def test_a_mark_older_than_one_delivered_is_dropped():
    """I14."""

    async def scenario(world):
        async with Reading(world) as reading:
            reading.market.say(marks(("A", "2"), at=NOW))
            first = await reading.batch()
            reading.market.say(marks(("A", "1"), at=NOW - 1000))
            reading.market.say(marks(("A", "2"), at=NOW))
            return first, await reading.batch()

    first, second = play(scenario)
    assert [event.price for event in first] == [2]
    assert second == []


@pytest.mark.parametrize("damage", [b"{", b"\xff", {"e": "ALGO_UPDATE", "E": 1, "T": 1, "o": {}}])
def test_a_damaged_user_frame_means_the_account_must_be_read(damage):
    async def scenario(world):
        async with Reading(world) as reading:
            reading.user.say(damage)
            await world.run_for(2)
            batch = await reading.batch()
            reading.user.say(algo("tp-1"))
            return batch, await reading.batch()

    lost, after = play(scenario)
    assert kinds(lost) == [StreamLost, StreamLost]
    assert "malformed" in lost[0].reason
    assert kinds(after) == [OrderSeen]


def test_an_expired_key_is_replaced_at_once():
    async def scenario(world):
        async with Reading(world) as reading:
            await world.run_for(60)
            await reading.batch()
            reading.user.say({"e": "listenKeyExpired", "E": NOW, "listenKey": "key1"})
            batch = await reading.batch()
            return batch, world.urls[-1]

    batch, url = play(scenario)
    assert batch[0].reason == "the listen key expired"
    assert kinds(batch) == [StreamLost, StreamLost]
    assert url.endswith("key2")


def test_the_key_is_kept_every_twenty_minutes():
    async def scenario(world):
        async with Reading(world) as reading:
            await world.run_for(3 * KEEP_KEY_S)
            return reading.keys.kept, world.urls[-1]

    kept, url = play(scenario)
    assert kept == ["key1"] * 3
    assert url.endswith("key1") or "market" in url


def test_a_key_the_exchange_forgot_is_replaced_and_a_failed_extension_tried_again():
    async def scenario(world):
        async with Reading(world) as reading:
            reading.keys.failures = [
                UnavailableError("timeout", "wait"),
                ExchangeRejected("forgotten", "ask anew", -1125),
            ]
            await world.run_for(KEEP_KEY_S)
            assert len(reading.keys.kept) == 1
            await world.run_for(15)
            return reading.keys.kept, reading.keys.given, kinds(await reading.batch())

    kept, given_keys, batch = play(scenario)
    assert kept == ["key1", "key1"]
    assert given_keys == 2
    assert batch == [StreamLost, StreamLost]


def test_a_machine_that_slept_starts_its_streams_anew():
    """T2."""

    async def scenario(world):
        async with Reading(world, stale_s=1e9) as reading:
            await world.run_for(60)
            await reading.batch()
            world.slept = 3600.0
            await world.run_for(1)
            return kinds(await reading.batch()), len(world.links)

    assert play(scenario) == ([StreamLost, StreamLost], 4)


def test_the_status_tells_how_the_streams_fare():
    async def scenario(world):
        async with Reading(world) as reading:
            reading.market.say(marks(("A", "1"), ("B", "0")))
            reading.user.say({"e": "TRADE_LITE", "E": 1})
            await reading.batch()
            world.now += 4
            fresh = reading.feed.status
            world.refusals = 1000
            reading.market.drop()
            await world.settle()
            return fresh, reading.feed.status

    fresh, lost = play(scenario)
    assert fresh.market.connected
    assert 4000 <= fresh.market.age_ms < 5000
    assert (fresh.dropped, fresh.ignored) == (1, 1)
    assert not lost.market.connected
    assert lost.user.connected


def test_a_feed_without_an_account_reads_the_market_only():
    async def scenario(world):
        async with Reading(world, keys=()) as reading:
            reading.market.say(marks(("A", "1")))
            return kinds(await reading.batch()), world.urls, reading.feed.status.user

    batch, urls, user = play(scenario)
    assert batch == [MarkPrice]
    assert len(urls) == 1
    assert user is None


def test_closing_ends_the_feed():
    async def scenario(world):
        reading = Reading(world)
        events = reading.feed.events()
        waiting = asyncio.ensure_future(anext(events))
        await world.settle()
        await waiting
        waiting = asyncio.ensure_future(anext(events, "ended"))
        await world.settle()
        await reading.feed.close()
        return await waiting

    assert play(scenario) == "ended"


# Real websockets


def test_a_real_connection_that_the_server_closes_is_dialled_again():
    async def main():
        visits = []

        async def handler(socket):
            visits.append(socket.request.path)
            await socket.send(json.dumps(algo(f"tp-{len(visits)}")))
            if len(visits) == 1:
                await socket.close(1001)
            else:
                await socket.wait_closed()

        async def no_sleep(_seconds):
            await asyncio.sleep(0)

        async with serve(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            log = Log()

            async def address():
                return f"ws://127.0.0.1:{port}/private/ws?listenKey=k"

            stream = Stream(log, address, stale_s=None, timing=Timing(sleep=no_sleep), rotate_s=1e9)
            task = asyncio.ensure_future(stream.run())
            while len([item for item in log.said if isinstance(item, bytes)]) < 2:
                assert not task.done()
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        return [item if isinstance(item, str) else json.loads(item)["o"]["caid"] for item in log.said]

    assert asyncio.run(main()) == [
        "opened",
        "tp-1",
        "lost: the exchange closed the connection (1001)",
        "opened",
        "tp-2",
    ]


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9/private/ws?listenKey=canary", "not a url listenKey=canary"])
def test_a_failed_dial_never_repeats_the_address(url):
    with pytest.raises(Disconnected) as caught:
        asyncio.run(dial(url))

    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


# Step by step


class Twin:
    """A twin in memory: steps are prepared frames by socket, barriers come behind them."""

    def __init__(self, world, steps):
        self.steps = steps
        self.step = 0
        self.barrier = 0
        self.links = {}
        self.pending = []
        self.world = world
        self.hiccups = 0

    async def dial(self, url):
        self.world.urls.append(url)
        link = Link()
        self.world.links.append(link)
        if "pace" in url:
            link.send = self.obey(link)
        else:
            assert url.endswith("&barrier=1")
            self.links["market" if "market" in url else "user"] = link
            link.say({"e": "barrier", "E": NOW, "n": self.barrier})
        return link

    def obey(self, link):
        async def send(message):
            op = json.loads(message)["op"]
            if op == "advance" and self.step < len(self.steps):
                self.deliver(self.steps[self.step])
                self.step += 1
            pending, self.pending = self.pending, []
            self.deliver(pending)
            self.barrier += 1
            for data in self.links.values():
                data.say({"e": "barrier", "E": self.now, "n": self.barrier})
            if self.hiccups and op == "advance":
                self.hiccups -= 1
                link.drop()
                return
            done = self.step >= len(self.steps)
            link.say({"now": self.now, "step": self.step, "barrier": self.barrier, "done": done})

        return send

    @property
    def now(self):
        return NOW + self.step * 1000

    def deliver(self, frames):
        for name, frame in frames:
            self.links[name].say(frame)


def follow(steps, react=None, keys=True, prepare=None):
    """Read a twin to its end; `react(twin, batch)` may cause user events. Return the batches and the clock."""

    async def scenario(world):
        twin = Twin(world, steps)
        if prepare:
            prepare(twin)
        clock = EventClock(NOW)
        holder = Keys() if keys else None
        feed = LockstepFeed(
            "ws://t", clock, holder, dial=twin.dial, timing=Timing(lambda: 0.0, sleep=lambda _: asyncio.sleep(0))
        )
        batches = []
        async for batch in feed.events():
            batches.append((clock.now(), list(batch)))
            if react:
                react(twin, batch)
        assert all(link.closed for link in world.links)
        return batches, holder, world

    return play(scenario)


def names(batch):
    return [event.symbol if isinstance(event, MarkPrice) else event.order.client_id for event in batch]


def test_a_step_is_delivered_whole_in_order_of_time_marks_first():
    step = [
        ("user", algo("late", NOW + 900)),
        ("user", algo("same", NOW + 1000)),
        ("market", marks(("A", "1"), at=NOW + 1000)),
    ]
    batches, _, _ = follow([step])

    assert kinds(batches[0][1]) == [StreamLost]
    assert names(batches[1][1]) == ["late", "A", "same"]
    assert [at for at, _ in batches] == [NOW, NOW + 1000]


def test_a_socket_s_own_order_is_kept_even_where_its_times_go_back():
    step = [("user", algo("first", NOW + 900)), ("user", algo("second", NOW + 100))]
    batches, _, _ = follow([step])

    assert names(batches[1][1]) == ["first", "second"]


def test_what_our_own_requests_cause_comes_before_the_next_step():
    def react(twin, batch):
        if any(isinstance(event, MarkPrice) for event in batch):
            twin.pending.append(("user", algo(f"reply-{twin.step}", twin.now)))

    batches, _, _ = follow([[("market", marks(("A", "1"), at=NOW + n))] for n in (1, 2)], react)

    assert [names(batch) for _, batch in batches[1:]] == [["A"], ["reply-1"], ["A"], ["reply-2"]]


def test_an_empty_step_is_a_batch_too():
    batches, _, _ = follow([[], []])

    assert [batch for _, batch in batches[1:]] == [[], []]


@pytest.mark.parametrize("loss", ["drop", "malformed"])
def test_a_data_socket_that_breaks_is_dialled_anew_and_said_to_be_lost(loss):
    broken = []

    def react(twin, _batch):
        if twin.step == 1 and not broken:
            broken.append(loss)
            link = twin.links["user"]
            link.drop("broken") if loss == "drop" else link.say(b"{")

    steps = [[("user", algo("a", NOW))], [], [("user", algo("c", NOW))]]
    batches, keys, _ = follow(steps, react)

    lost = [event for _, batch in batches[1:] for event in batch if isinstance(event, StreamLost)]
    assert len(lost) == 1
    assert keys.given == 2
    assert names(batches[-1][1]) == ["c"]


def test_an_expired_key_in_lockstep_is_replaced():
    steps = [[("user", {"e": "listenKeyExpired", "E": NOW, "listenKey": "key1"})], [("user", algo("b", NOW))]]
    batches, keys, _ = follow(steps)

    assert keys.given == 2
    assert [event.reason for event in batches[1][1]] == ["the listen key expired"]
    assert names(batches[2][1]) == ["b"]


def test_a_lost_answer_to_an_advance_neither_loses_nor_skips_a_step():
    def prepare(twin):
        twin.hiccups = 1

    batches, _, world = follow([[("user", algo(f"s{n}", NOW))] for n in range(3)], prepare=prepare)

    assert [names(batch) for _, batch in batches[1:]] == [["s0"], ["s1"], ["s2"]]
    assert sum("pace" in url for url in world.urls) == 2


def test_the_key_is_kept_by_the_twin_s_time():
    _, keys, _ = follow([[] for _ in range(2500)])

    assert keys.kept == ["key1", "key1"]


def test_a_market_without_an_account_is_followed():
    batches, _, world = follow([[("market", marks(("A", "1")))]], keys=False)

    assert names(batches[1][1]) == ["A"]
    assert not any("private" in url for url in world.urls)


def test_a_twin_that_is_gone_is_unavailable():
    async def main():
        async for _ in LockstepFeed(
            "ws://127.0.0.1:9", EventClock(), timing=Timing(sleep=lambda _: asyncio.sleep(0))
        ).events():
            pass

    with pytest.raises(UnavailableError, match="twin"):
        asyncio.run(main())


@pytest.mark.parametrize(("speed", "patience"), [(None, 10), (600.0, 10), (1.0, 10), (0.5, 20)])
def test_a_market_that_crawls_may_be_silent_for_longer(speed, patience):
    status = TwinStatus(NOW, speed)

    assert status.stale_s == patience
    assert status.lockstep is (speed is None)


def test_discovery_of_nothing_is_unavailable():
    with pytest.raises(UnavailableError, match="no twin"):
        asyncio.run(discover("http://127.0.0.1:9"))
