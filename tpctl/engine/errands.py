"""What a watch does beside its loop: measures risk, asks the learned policy, settles what closed, reads books.

No tick waits for any of it, and whatever fails in it, the positions are guarded. In lockstep it is done in line with
the market's steps instead, so that the story does not depend on how long it takes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from tpctl.adapters.journal import Entry
from tpctl.engine.books import BookWatch
from tpctl.engine.settle import Settler
from tpctl.exits.episode import State
from tpctl.exits.errors import LockedError, TpctlError
from tpctl.exits.events import Event, Filled, RiskRead
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Note, NoteKind, RiskReadings
from tpctl.ports import Adviser, Clock, RiskMeter


class Errands:
    """The errands of one run; those that are None are not run.

    `begin` runs something beside the loop, `tell` makes notes durable and tells them, `deliver` lets the loop decide on
    what was learned, `keep` makes it durable and raises `LockedError` while another process writes.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        lockstep: bool,
        state: Callable[[], State],
        begin: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
        tell: Callable[[Sequence[Note]], None],
        deliver: Callable[[Sequence[Event]], None],
        keep: Callable[[Entry], object],
        risk: RiskMeter | None,
        adviser: Adviser | None,
        settler: Settler | None,
        books: BookWatch | None,
    ) -> None:
        self._clock = clock
        self._lockstep = lockstep
        self._state = state
        self._begin = begin
        self._tell = tell
        self._deliver = deliver
        self._keep = keep
        self._risk = risk
        self._adviser = adviser
        self._settler = settler
        self._books = books
        self._running: dict[str, asyncio.Task[None]] = {}
        self._risk_failed = False
        # The market's readings told to be missing; None before the first measurement.
        self._unmeasured: frozenset[str] | None = None

    @property
    def measuring(self) -> bool:
        """Whether risk is being measured now."""
        return self._under_way("risk")

    async def start(self) -> None:
        """Say which learned policy is used; in lockstep, measure before the first step."""
        self._tell_policy()
        if self._risk is not None and self._lockstep:
            await self._measure(self._risk)

    def recover(self) -> None:
        """Take up what an earlier run left to settle."""
        if self._settler is not None:
            self._settler.recover(self._clock.now())

    async def run_in_line(self, quiet: Callable[[], Awaitable[None]]) -> None:
        """Run what is due before the market's next step; `quiet` waits until what it led to is applied."""
        if self._risk is not None and self._risk.due():
            await self._measure(self._risk)
            await quiet()
        if self._adviser is not None and self._adviser.due():
            await self._advise(self._adviser)
            await quiet()
        if self._settler is not None and self._settler.due(self._clock.now()):
            await self._settle(self._settler)
        if self._books is not None and self._books.due:
            await self._look(self._books)

    def on_tick(self) -> None:
        """Begin what is due. Outside lockstep it runs beside the loop."""
        risk, adviser, settler = self._risk, self._adviser, self._settler
        if risk is not None and self._may_begin("risk") and risk.due():
            self._run("risk", self._measure(risk))
        if risk is not None and self._unmeasured is not None and self._tell_unmeasured(risk.current()):
            self._deliver((RiskRead(self._clock.now(), risk.current()),))
        self._tell_policy()
        if adviser is not None and self._may_begin("advice") and adviser.due():
            self._run("advice", self._advise(adviser))
        if settler is not None and self._may_begin("settling") and settler.due(self._clock.now()):
            self._run("settling", self._settle(settler))

    def heard(self, event: Event | None, notes: Sequence[Note]) -> None:
        """Hear of what was just made durable."""
        if self._books is not None and isinstance(event, Filled):
            self._books.filled(event.fill)
            if self._may_begin("books") and self._books.due:
                self._run("books", self._look(self._books))
        if self._settler is not None:
            for note in notes:
                if note.kind is NoteKind.CLOSED:
                    self._settler.closed(note)
        if self._adviser is not None and notes:
            self._tell(self._adviser.see(notes))

    def cancel(self) -> None:
        """Leave what is under way."""
        for task in self._running.values():
            task.cancel()

    def _under_way(self, name: str) -> bool:
        return name in self._running and not self._running[name].done()

    def _may_begin(self, name: str) -> bool:
        return not self._lockstep and not self._under_way(name)

    def _run(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._running[name] = self._begin(work)

    def _say(self, kind: NoteKind, reason: str) -> None:
        self._tell([Note(self._clock.now(), kind, None, reason)])

    def _tell_policy(self) -> None:
        """Say which learned policy is used, at the start and whenever that has changed."""
        if self._adviser is not None:
            self._tell(self._adviser.news())

    async def _advise(self, adviser: Adviser) -> None:
        notes, events = await adviser.advise(self._state)
        self._tell(notes)
        self._deliver(events)

    async def _look(self, books: BookWatch) -> None:
        # Another process may be writing: a book that cannot be kept now is not kept.
        with contextlib.suppress(LockedError):
            await books.read(lambda found: self._keep(Entry(at=self._clock.now(), mids=found)))

    async def _settle(self, settler: Settler) -> None:
        # Another process may be writing: what is not settled now is settled later.
        with contextlib.suppress(LockedError):
            await settler.settle(self._clock.now(), self._state().rules, self._keep)

    async def _measure(self, risk: RiskMeter) -> None:
        try:
            await risk.refresh()
        except (TpctlError, ArithmeticError, ValueError) as error:
            # Whatever the numbers do, the positions are guarded; what is not measured is unavailable before long.
            if not self._risk_failed:
                self._say(NoteKind.DEGRADED, f"risk cannot be measured: {error}")
            self._risk_failed = True
            return
        self._risk_failed = False
        self._unmeasured = self._unmeasured or frozenset()
        readings = risk.current()
        self._deliver((RiskRead(self._clock.now(), readings),))
        self._tell_unmeasured(readings)

    def _tell_unmeasured(self, readings: RiskReadings) -> bool:
        """Say when the market's readings stop being measured, or are too old, and when they are there again.

        Return whether something was said. Those of the book are not: one position alone has no correlation.
        """
        market = {"ESS": readings.ess, "systemic risk": readings.systemic}
        missing = {name: value.reason for name, value in market.items() if isinstance(value, Unavailable)}
        if self._unmeasured == missing.keys():
            return False
        worse = missing.keys() - (self._unmeasured or frozenset())
        self._unmeasured = frozenset(missing)
        if worse:
            text = "; ".join(f"{name} is not measured: {missing[name]}" for name in market if name in worse)
            self._say(NoteKind.DEGRADED, f"{text}; its factor is skipped")
        else:
            self._say(NoteKind.RECOVERED, "risk is measured again")
        return True
