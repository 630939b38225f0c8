"""Reads of the account: one at a time, apart from each other, and what was asked during a failing one is not lost."""

import asyncio
from collections.abc import Coroutine

import pytest
from engine_desk import START, DeskExchange, EventTime

from tpctl.engine.account_reads import AccountReads
from tpctl.exits.episode import State
from tpctl.exits.errors import UnavailableError
from tpctl.exits.events import Event, Released, Snapshot
from tpctl.exits.model import Note, NoteKind
from tpctl.exits.rules import ExitRules
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue


class Bench:
    """The reads of an account, with what they told and delivered."""

    def __init__(self) -> None:
        self.clock = EventTime()
        self.exchange = DeskExchange(Venue(builtin_rules(), start_ms=START), self.clock)
        self.notes: list[Note] = []
        self.heard: list[Event] = []
        self.tasks: list[asyncio.Task[None]] = []
        state = State("desk", ExitRules())
        self.reads = AccountReads(
            self.exchange,
            self.clock,
            state=lambda: state,
            begin=self._begin,
            tell=self.notes.extend,
            deliver=self.heard.extend,
            failed=pytest.fail,
        )

    def _begin(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self.tasks.append(task)
        return task

    async def read(self) -> None:
        """Let a second pass, begin what is due, and wait for it."""
        self.clock.at += 1_000
        self.reads.begin_if_due()
        if self.tasks:
            await self.tasks[-1]


def test_a_read_of_everything_asked_for_during_a_failing_one_is_made() -> None:
    async def story() -> list[str]:
        bench = Bench()
        bench.reads.ask("start", wide=True)
        await bench.read()

        def fail(name: str) -> Exception | None:
            bench.reads.ask("the operator asked", wide=True)
            return UnavailableError("no answer", "check the network")

        bench.reads.ask("an order moved")
        bench.exchange.failing = fail
        await bench.read()
        bench.exchange.failing = lambda _: None
        bench.exchange.reads.clear()
        await bench.read()
        return [name for name, _ in bench.exchange.reads]

    # Where nothing is held, only a read of everything lists orders.
    assert "open_orders" in asyncio.run(story())


def test_failing_reads_are_told_once_and_so_is_their_end() -> None:
    async def story() -> Bench:
        bench = Bench()
        bench.exchange.failing = lambda _: UnavailableError("no answer", "check the network")
        bench.reads.ask("start", wide=True)
        for _ in range(3):
            await bench.read()
        bench.exchange.failing = lambda _: None
        for _ in range(3):
            await bench.read()
        return bench

    bench = asyncio.run(story())
    assert [note.kind for note in bench.notes] == [NoteKind.DEGRADED, NoteKind.RECOVERED]
    assert bench.reads.done == 1
    assert [type(event) for event in bench.heard] == [Snapshot, Released], "what was refused is tried at once"


def test_reads_keep_their_distance_and_are_never_two_at_once() -> None:
    async def story() -> int:
        bench = Bench()
        for _ in range(5):
            bench.reads.ask("again")
            bench.reads.begin_if_due()
            bench.clock.at += 300
            await asyncio.sleep(0)
        await asyncio.gather(*bench.tasks)
        return len(bench.tasks)

    assert asyncio.run(story()) == 2
