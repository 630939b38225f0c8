"""Requests leave in order, one at a time per position; what comes back is an event, what does not is no answer."""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any

import pytest
from engine_desk import bounded

from tpctl.engine.guard import Guard
from tpctl.engine.lanes import Lanes
from tpctl.exits.episode import State
from tpctl.exits.errors import CredentialsError, UnavailableError
from tpctl.exits.events import Accepted, Answer, Answered, Event, OrderLookedUp, Refused, Withheld
from tpctl.exits.ids import ClientId, Role
from tpctl.exits.instrument import PositionSide
from tpctl.exits.intents import CancelOrder, LookUp, PlaceStop, ReadContext
from tpctl.exits.model import Book, PositionKey, WorkingType
from tpctl.exits.rules import ExitRules
from tpctl.ports import Admitted

XRP = PositionKey("XRPUSDT", PositionSide.LONG)
BTC = PositionKey("BTCUSDT", PositionSide.SHORT)
OUTAGE = UnavailableError("the exchange does not answer", "wait")


def cancel(key: PositionKey, number: int) -> CancelOrder:
    return CancelOrder(key, str(ClientId("0123456789", Role.STOP, 0, number)), Book.ALGO, "test")


class Exchange:
    """Holds every request until the test answers it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, asyncio.Future[Answer]] = {}
        self.found: Exception | None = None

    async def submit(self, admitted: Admitted) -> Answer:
        name = admitted.intent.client_id
        self.asked.append(name)
        self.answers[name] = asyncio.get_running_loop().create_future()
        return await self.answers[name]

    async def find_order(self, symbol: str, client_id: str, book: Book) -> None:
        if self.found is not None:
            raise self.found


class Contexts:
    def __init__(self) -> None:
        self.forgotten = 0
        self.held: asyncio.Future[Event] | None = None

    async def read(self, key: PositionKey) -> Event:
        if self.held is not None:
            return await self.held
        raise OUTAGE

    def forget_rules(self) -> None:
        self.forgotten += 1


class Clock:
    def now(self) -> int:
        return 1_000


class Setup:
    """Lanes with everything around them, built inside the loop."""

    def __init__(self, *, serial: bool = False, armed: bool = True) -> None:
        self.exchange: Any = Exchange()
        self.contexts: Any = Contexts()
        self.events: list[Event] = []
        self.failures: list[BaseException] = []
        state = State(account="test", rules=ExitRules())
        self.lanes = Lanes(
            self.exchange,
            self.contexts,
            Guard(armed=armed, halted=lambda: None),
            Clock(),
            state=lambda: state,
            deliver=self.events.append,
            failed=self.failures.append,
            serial=serial,
        )

    async def answer(self, intent: CancelOrder, answer: Answer) -> None:
        self.exchange.answers[intent.client_id].set_result(answer)
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(scenario: Coroutine[None, None, None]) -> None:
    bounded(scenario)


def test_no_order_waits_for_what_a_plan_needs_to_know() -> None:
    async def scenario() -> None:
        setup = Setup()
        setup.contexts.held = asyncio.get_running_loop().create_future()
        setup.lanes.send(ReadContext(XRP))
        stop = cancel(XRP, 1)
        setup.lanes.send(stop)
        await settle()
        assert setup.exchange.asked == [stop.client_id]
        await setup.answer(stop, Accepted(None))
        setup.contexts.held.set_exception(OUTAGE)
        assert await setup.lanes.idle(1)

    run(scenario())


def test_one_position_is_served_in_order_one_request_at_a_time() -> None:
    async def scenario() -> None:
        setup = Setup()
        first, second, third = (cancel(XRP, number) for number in (1, 2, 3))
        for intent in (first, second, third):
            setup.lanes.send(intent)
        await settle()
        assert setup.exchange.asked == [first.client_id]
        await setup.answer(first, Accepted(None))
        assert setup.exchange.asked == [first.client_id, second.client_id]
        await setup.answer(second, Refused(-2011, "unknown order"))
        await setup.answer(third, Accepted(None))
        assert [event.client_id for event in setup.events if isinstance(event, Answered)] == [
            intent.client_id for intent in (first, second, third)
        ]
        assert await setup.lanes.idle(1)

    run(scenario())


@pytest.mark.parametrize(("serial", "together"), [(False, 2), (True, 1)])
def test_positions_do_not_wait_for_each_other_save_in_lockstep(serial: bool, together: int) -> None:
    async def scenario() -> None:
        setup = Setup(serial=serial)
        one, other = cancel(XRP, 1), cancel(BTC, 2)
        setup.lanes.send(one)
        setup.lanes.send(other)
        await settle()
        assert len(setup.exchange.asked) == together
        await setup.answer(one, Accepted(None))
        await setup.answer(other, Accepted(None))
        assert len(setup.events) == 2

    run(scenario())


@pytest.mark.parametrize("serial", [False, True])
def test_a_lane_in_which_nothing_waits_is_forgotten(serial: bool) -> None:
    async def scenario() -> None:
        setup = Setup(serial=serial)
        for number in range(50):
            key = PositionKey(f"S{number}USDT", PositionSide.LONG)
            first, second = cancel(key, 1), cancel(key, 2)
            setup.exchange.answers.clear()
            setup.lanes.send(first)
            setup.lanes.send(second)
            await settle()
            assert len(setup.lanes._tails) == 1
            await setup.answer(first, Accepted(None))
            await setup.answer(second, Accepted(None))
        assert len(setup.events) == 100
        assert (setup.lanes._tails, setup.lanes.running) == ({}, set())

    run(scenario())


def test_what_the_guard_withholds_never_reaches_the_exchange() -> None:
    async def scenario() -> None:
        setup = Setup(armed=False)
        setup.lanes.send(cancel(XRP, 1))
        await settle()
        (event,) = setup.events
        assert setup.exchange.asked == []
        assert isinstance(event, Answered)
        assert event.answer == Withheld("shadow mode")
        assert event.cancel

    run(scenario())


def test_an_order_for_an_unknown_position_is_withheld() -> None:
    async def scenario() -> None:
        setup = Setup()
        name = str(ClientId("0123456789", Role.STOP, 0, 1))
        setup.lanes.send(PlaceStop(XRP, name, Decimal(1), Decimal(2), WorkingType.MARK, "test"))
        await settle()
        (event,) = setup.events
        assert setup.exchange.asked == []
        assert isinstance(event, Answered)
        assert isinstance(event.answer, Withheld)

    run(scenario())


@pytest.mark.parametrize(("code", "forgotten"), [(-1111, 1), (-4014, 1), (-4003, 1), (-2021, 0), (-2011, 0)])
def test_a_refusal_for_the_grid_makes_the_rules_be_read_again(code: int, forgotten: int) -> None:
    async def scenario() -> None:
        setup = Setup()
        intent = cancel(XRP, 1)
        setup.lanes.send(intent)
        await settle()
        await setup.answer(intent, Refused(code, "no"))
        assert setup.contexts.forgotten == forgotten

    run(scenario())


def test_a_query_that_fails_is_no_answer() -> None:
    async def scenario() -> None:
        setup = Setup()
        setup.exchange.found = OUTAGE
        setup.lanes.send(LookUp(XRP, "tp1-0123456789-s-1", Book.ALGO))
        setup.lanes.send(ReadContext(XRP))
        assert await setup.lanes.idle(1)
        assert (setup.events, setup.failures) == ([], [])

    run(scenario())


def test_an_order_that_is_not_there_is_an_answer() -> None:
    async def scenario() -> None:
        setup = Setup()
        setup.lanes.send(LookUp(XRP, "tp1-0123456789-s-1", Book.ALGO))
        assert await setup.lanes.idle(1)
        assert setup.events == [OrderLookedUp(1_000, XRP, "tp1-0123456789-s-1", None)]

    run(scenario())


def test_a_failure_that_is_no_answer_is_told_and_the_lane_goes_on() -> None:
    async def scenario() -> None:
        setup = Setup()
        first, second = cancel(XRP, 1), cancel(XRP, 2)
        setup.lanes.send(first)
        setup.lanes.send(second)
        await settle()
        refused = CredentialsError("the key was refused", "make a new one")
        setup.exchange.answers[first.client_id].set_exception(refused)
        await settle()
        assert setup.failures == [refused]
        assert setup.exchange.asked == [first.client_id, second.client_id]
        await setup.answer(second, Accepted(None))

    run(scenario())


def test_waiting_for_idle_ends_in_time() -> None:
    async def scenario() -> None:
        setup = Setup()
        intent = cancel(XRP, 1)
        setup.lanes.send(intent)
        await settle()
        assert not await setup.lanes.idle(0)
        await setup.answer(intent, Accepted(None))
        assert await setup.lanes.idle(0)

    run(scenario())


def test_a_request_just_queued_departs_before_its_sender_goes_on() -> None:
    async def scenario() -> None:
        setup = Setup()
        intent = cancel(XRP, 1)
        setup.lanes.send(intent)
        assert setup.exchange.asked == []
        await setup.lanes.depart()
        assert setup.exchange.asked == [intent.client_id]
        await setup.answer(intent, Accepted(None))

    run(scenario())
