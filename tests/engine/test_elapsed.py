"""Waiting on a clock that is set back: what was stamped ahead of it holds nothing up (reliability T2)."""

import asyncio
from collections.abc import Coroutine, Sequence

import pytest
from engine_desk import ACCOUNT, START, DeskExchange, EventTime

from tpctl.engine.account_reads import AccountReads
from tpctl.engine.elapsed import passed
from tpctl.exits.episode import Scope, State
from tpctl.exits.events import Event
from tpctl.exits.rules import ExitRules
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue


@pytest.mark.parametrize(("since", "over"), [(9_000, True), (9_001, False), (10_000, False), (10_001, True)])
def test_time_has_passed_since_then_or_the_clock_was_set_back(since: int, over: bool) -> None:
    assert passed(10_000, since, 1_000) is over


def test_reads_go_on_at_once_when_the_clock_is_set_back() -> None:
    clock = EventTime(START)
    exchange = DeskExchange(Venue(builtin_rules(), start_ms=START), clock)
    heard: list[Event] = []

    def begin(work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        return asyncio.ensure_future(work)

    def take(events: Sequence[Event]) -> None:
        heard.extend(events)

    def fail(error: BaseException) -> None:
        raise error

    async def two_reads() -> None:
        state = State(ACCOUNT, ExitRules(), scope=Scope())
        reads = AccountReads(
            exchange, clock, state=lambda: state, begin=begin, tell=lambda _: None, deliver=take, failed=fail
        )
        for at in (START, START - 51_000, START - 50_500):
            clock.at = at
            reads.ask_if_old(30_000)
            reads.ask("a position was opened")
            reads.begin_if_due()
            assert reads.task is not None
            await reads.task

    asyncio.run(two_reads())
    assert [event.at for event in heard] == [START, START - 51_000]
