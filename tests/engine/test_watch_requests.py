"""A running watch takes what other processes ask for: in order, exactly once, and says what became of it."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from engine_desk import ACCOUNT, XRP, Desk, still

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.requests import RequestDesk
from tpctl.exits.events import Requested
from tpctl.exits.intents import ReduceAtMarket
from tpctl.exits.model import NoteKind, PositionKey
from tpctl.exits.requests import CloseAll, Outcome, Reduce, Request, RequestAnswer, StopToBreakeven
from tpctl.exits.units import Ratio

HALF = Reduce(Ratio.percent(50))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path, XRPUSDT="2.5")
    desk.open_long()
    return desk


class Sender:
    """Another process with requests for the watch of a desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.filed: list[str] = []

    def files(self, request: Request, key: PositionKey = XRP, patience_ms: int = 60_000) -> Callable[[], None]:
        def act() -> None:
            with RequestDesk.open(self._desk.journal_path, ACCOUNT) as requests:
                self.filed.append(requests.file(key, request, "test", patience_ms))

        return act

    def answers(self) -> list[RequestAnswer | None]:
        with JournalReader.read_only(self._desk.journal_path, ACCOUNT) as reader:
            return [filed.answer for filed in reader.requests()]


@pytest.fixture
def sender(desk: Desk) -> Sender:
    return Sender(desk)


def outcomes(sender: Sender) -> list[Outcome | None]:
    return [None if answer is None else answer.outcome for answer in sender.answers()]


def test_a_request_is_done_within_a_tick_and_answered(desk: Desk, sender: Sender) -> None:
    desk.run(*still("2.5", 2), {"XRPUSDT": "2.52"}, sender.files(StopToBreakeven()), *still("2.52", 2))

    (answer,) = sender.answers()
    assert answer is not None
    assert answer.outcome is Outcome.DONE
    (note,) = desk.told(NoteKind.ANSWERED)
    assert (note.reason, note.data["source"]) == (answer.text, "test")
    assert [str(o.trigger) for o in desk.resting() if "-s-" in o.client_id] == [answer.text.split()[3].rstrip(",")]


def test_requests_are_taken_in_their_order(desk: Desk, sender: Sender) -> None:
    desk.run(*still("2.5", 2), sender.files(CloseAll()), sender.files(HALF), *still("2.5", 3))

    assert outcomes(sender) == [Outcome.DONE, Outcome.REFUSED]
    assert desk.quantity() == 0


def test_a_request_filed_while_nobody_watches_is_taken_by_the_next_start_once(desk: Desk, sender: Sender) -> None:
    desk.run(*still("2.5", 2))
    sender.files(HALF)()

    for _ in range(3):
        desk.run(*still("2.5", 3))

    assert desk.quantity() == 400
    assert outcomes(sender) == [Outcome.DONE]
    assert [i.quantity for i in desk.exchange.sent if isinstance(i, ReduceAtMarket)] == [400]


def test_a_watch_that_dies_when_it_takes_a_request_leaves_it_to_the_next(desk: Desk, sender: Sender) -> None:
    class DeathError(RuntimeError):
        pass

    class Mortal:
        """A journal whose process dies just before, or just after, the request's transaction."""

        def __init__(self, journal: Journal, *, after: bool) -> None:
            self._journal = journal
            self._after = after

        def commit(self, entry: Entry) -> object:
            if isinstance(entry.event, Requested):
                if self._after:
                    self._journal.commit(entry)
                raise DeathError
            return self._journal.commit(entry)

        def __getattr__(self, name: str) -> object:
            return getattr(self._journal, name)

    for after in (False, True):
        with pytest.raises(DeathError):
            desk.run(
                *still("2.5", 2),
                *([] if after else [sender.files(HALF)]),
                *still("2.5", 2),
                journal=lambda journal, after=after: Mortal(journal, after=after),
            )
        assert desk.quantity() == 800
        assert outcomes(sender) == [Outcome.DONE if after else None]
    desk.run(*still("2.5", 8))

    assert desk.quantity() == 400
    assert outcomes(sender) == [Outcome.DONE]


def test_a_request_nobody_took_in_time_is_not_done_later(desk: Desk, sender: Sender) -> None:
    desk.run(*still("2.5", 2), sender.files(CloseAll(), patience_ms=-1), *still("2.5", 2))

    assert outcomes(sender) == [Outcome.EXPIRED]
    assert desk.quantity() == 800


def test_a_position_nobody_guards_is_answered(desk: Desk, sender: Sender) -> None:
    other = PositionKey("BTCUSDT", XRP.side)
    desk.run(*still("2.5", 2), sender.files(CloseAll(), other), *still("2.5", 2))

    assert sender.answers() == [RequestAnswer(Outcome.REFUSED, "no position BTCUSDT LONG is managed")]


def test_a_shadow_watch_never_says_that_something_was_done(desk: Desk, sender: Sender) -> None:
    desk.armed = False
    desk.run(*still("2.5", 2), sender.files(CloseAll()), *still("2.5", 2))

    (answer,) = sender.answers()
    assert answer == RequestAnswer(Outcome.WITHHELD, "closing 800 at market (shadow mode, nothing is sent)")
    assert desk.exchange.sent == []


def test_a_view_in_the_same_process_asks_without_the_journal_s_table(desk: Desk, sender: Sender) -> None:
    names: list[str] = []

    def press() -> None:
        assert desk.watch is not None
        names.append(desk.watch.ask(XRP, HALF, "dashboard"))

    desk.run(*still("2.5", 2), press, *still("2.5", 3))

    assert desk.quantity() == Decimal(400)
    (note,) = desk.told(NoteKind.ANSWERED)
    assert note.data["request_id"] == names[0]
    assert sender.answers() == []
