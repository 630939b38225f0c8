"""Carries intents out: one lane per position, in order; lanes run side by side, or one after the other in lockstep.

What a plan needs to know is read in a lane of its own: it is many requests, and no order waits for them.

Each request passes the guard at the moment it is sent, and its answer comes back as an event. Nothing is decided here,
and nothing is tried twice: what to do about an answer is the reducer's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tpctl.engine.context import ContextSource
from tpctl.engine.guard import Guard
from tpctl.exits.draft import STALE_RULES
from tpctl.exits.episode import State
from tpctl.exits.errors import TpctlError
from tpctl.exits.events import Answered, Event, OrderLookedUp, Refused, Withheld
from tpctl.exits.intents import CancelOrder, LookUp, OrderIntent, ReadContext
from tpctl.exits.model import PositionKey
from tpctl.ports import Clock, Exchange

# A position, and whether it is the lane of its planning reads; None is the only one.
_Lane: TypeAlias = tuple[PositionKey, bool] | None


class Lanes:
    """Sends order intents and makes targeted reads. `deliver` takes the events they lead to."""

    def __init__(
        self,
        exchange: Exchange,
        contexts: ContextSource,
        guard: Guard,
        clock: Clock,
        *,
        state: Callable[[], State],
        deliver: Callable[[Event], None],
        failed: Callable[[BaseException], None],
        serial: bool,
    ) -> None:
        self._exchange = exchange
        self._contexts = contexts
        self._guard = guard
        self._clock = clock
        self._state = state
        self._deliver = deliver
        self._failed = failed
        self._serial = serial
        self._tails: dict[_Lane, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> set[asyncio.Task[None]]:
        """The requests under way or waiting in their lane."""
        return self._running

    def send(self, intent: OrderIntent | LookUp | ReadContext) -> None:
        """Queue one intent in its position's lane."""
        lane = None if self._serial else (intent.key, isinstance(intent, ReadContext))
        task = asyncio.ensure_future(self._after(self._tails.get(lane), lambda: self._carry_out(intent)))
        self._tails[lane] = task
        self._running.add(task)
        task.add_done_callback(lambda done: self._finished(lane, done))

    async def depart(self) -> None:
        """Let requests just queued go as far as they get without waiting: to the socket."""
        # A lane's task, and the task in which the client library writes.
        for _ in range(3):
            await asyncio.sleep(0)

    async def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is under way; False where the time ran out first."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._running:
                    await asyncio.wait(self._running)
        except TimeoutError:
            return False
        return True

    def _finished(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._tails.get(lane) is task:
            del self._tails[lane]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    @staticmethod
    async def _after(before: asyncio.Task[None] | None, work: Callable[[], Awaitable[None]]) -> None:
        if before is not None and not before.done():
            await asyncio.wait({before})
        await work()

    async def _carry_out(self, intent: OrderIntent | LookUp | ReadContext) -> None:
        if isinstance(intent, LookUp):
            await self._look_up(intent)
        elif isinstance(intent, ReadContext):
            await self._read_context(intent)
        else:
            await self._submit(intent)

    async def _submit(self, intent: OrderIntent) -> None:
        admitted = self._guard.admit(intent, self._state())
        cancel = isinstance(intent, CancelOrder)
        if isinstance(admitted, Withheld):
            self._deliver(Answered(self._clock.now(), intent.key, intent.client_id, admitted, cancel))
            return
        sent_at = self._clock.now()
        answer = await self._exchange.submit(admitted)
        if isinstance(answer, Refused) and answer.code in STALE_RULES:
            self._contexts.forget_rules()
        self._deliver(Answered(self._clock.now(), intent.key, intent.client_id, answer, cancel, sent_at))

    async def _look_up(self, intent: LookUp) -> None:
        began = self._clock.now()
        try:
            found = await self._exchange.find_order(intent.key.symbol, intent.client_id, intent.book)
        except TpctlError:
            return  # not an answer: the reducer asks again
        self._deliver(OrderLookedUp(began, intent.key, intent.client_id, found))

    async def _read_context(self, intent: ReadContext) -> None:
        try:
            read = await self._contexts.read(intent.key)
        except TpctlError:
            return  # the reducer asks again
        self._deliver(read)
