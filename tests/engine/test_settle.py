"""Settling what closed: once, from whole paths only, and on from where it stopped."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest
from metrics_desk import VECTOR, open_journal
from stage import START, XRP_LONG, Stage

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.minutes import PagedMinutes
from tpctl.engine.settle import Report, Settler, settle_all
from tpctl.exits.errors import RateLimitedError, StateFileError, UnavailableError
from tpctl.exits.events import ContextRead
from tpctl.exits.hindsight import MINUTE_MS, Bar
from tpctl.exits.model import Attempt, Note, NoteKind, Outcome
from tpctl.exits.rules import ExitRules
from tpctl.exits.scoring import HORIZON_MS, watch_after
from tpctl.ports import Candle

STAGE = Stage({"XRPUSDT": "2"})
FOREVER = 10**15
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def breathe() -> None:
    await asyncio.sleep(0)


class Tape:
    """One-minute candles at 2.00, but for what a test puts in or leaves out."""

    def __init__(self, **moves: Any) -> None:
        self.without: set[int] = set()
        self.moves: dict[int, Bar] = {}
        self.asked = 0
        self.fault: Exception | None = None

    async def minutes(self, symbol: str, since: int, until: int) -> Sequence[Bar]:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        flat = (Decimal(2),) * 4
        every = range(-(-since // MINUTE_MS) * MINUTE_MS, min(until, since + 10**9), MINUTE_MS)
        return [self.moves.get(at, Bar(at, *flat)) for at in every if at not in self.without]


def close(journal: Journal, number: int, *, minutes: int = 30, plans: int = 1, quantity: int = 1000) -> int:
    """Journal one position as a watch does; return when it closed."""
    opened = START + number * 86_400_000
    closed = opened + minutes * MINUTE_MS
    read = ContextRead(opened + 5, XRP_LONG, STAGE.instruments["XRPUSDT"], STAGE.context, Decimal(2))
    journal.commit(Entry(opened + 5, event=read))
    data: dict[str, Any] = {
        "average_exit": Decimal("1.99"),
        "entry": Decimal(2),
        "quantity": Decimal(1000),
        "pnl": Decimal(-11),
        "generation": f"{number:010x}",
        "opened_at": opened,
        "policy": "dynamic",
        "stop_initial": Decimal("1.96"),
        "plans": plans,
        "quantity_planned": Decimal(quantity),
    }
    journal.commit(Entry(closed, notes=(Note(closed, NoteKind.CLOSED, XRP_LONG, "stop", data),)))
    return closed


def miss(number: int, **changes: Any) -> Attempt:
    return replace(
        VECTOR,
        **{
            "id": f"miss{number}",
            "symbol": "XRPUSDT",
            "outcome": Outcome.MISS,
            "reason": "stop",
            "entry_price": Decimal(2),
            "target_price": Decimal("2.1"),
            "exit_price": Decimal("1.99"),
            "entry_time": START,
            "exit_time": START + 10 * MINUTE_MS,
            **changes,
        },
    )


def settle(journal: Journal, tape: Any, now: int = FOREVER) -> Report:
    return run(settle_all(journal, tape, ExitRules(), now, breathe))


def test_a_position_is_settled_once_and_what_was_measured_stays(tmp_path: Path) -> None:
    tape = Tape()
    with open_journal(tmp_path / "sim") as journal:
        closed = close(journal, 0)
        tape.moves[closed + 10 * MINUTE_MS] = Bar(closed + 10 * MINUTE_MS, *map(Decimal, ("2", "2.2", "1.9", "2")))
        first = settle(journal, tape)
        kept = journal.settlements()
        tape.moves.clear()
        again = settle(journal, tape)

        assert (first.positions, first.open, again.positions) == (1, [], 0)
        assert journal.settlements() == kept
        journal.integrity()
    (found,) = kept
    assert [after.best for after in found.after] == [2, Decimal("2.2"), Decimal("2.2")]
    assert found.risk == 40
    assert found.regret is not None
    assert found.regret > 200
    profits = {other.name: other.pnl for other in found.alternatives}
    assert profits["no_exit"] == -1  # the exit fee of 0.05 % of 2000


def test_what_is_too_young_stays_open_and_so_does_what_lacks_a_candle(tmp_path: Path) -> None:
    tape = Tape()
    with open_journal(tmp_path / "sim") as journal:
        closed = close(journal, 0)
        young = settle(journal, tape, now=closed + HORIZON_MS)
        assert (young.positions, tape.asked) == (0, 0)
        assert [(one.reason, one.due) for one in young.open] == [("240 minutes are not over yet", False)]

        tape.without.add(START + 3 * MINUTE_MS - START % MINUTE_MS)
        holed = settle(journal, tape)
        assert holed.positions == 0
        assert [one.due for one in holed.open] == [True]
        assert "1 of 270 one-minute candles are missing" in holed.open[0].reason
        assert journal.settlements() == ()

        tape.fault = UnavailableError("no answer", "try again")
        assert [one.reason for one in settle(journal, tape).open] == ["no answer"]

        tape.fault = None
        tape.without.clear()
        assert settle(journal, tape).positions == 1


def test_a_settlement_that_dies_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    with open_journal(whole) as journal:
        for number in range(3):
            close(journal, number)
        journal.record(START, [miss(n, stop_initial=Decimal("1.9")) for n in range(2)])
        settle(journal, Tape())
        expected = journal.settlements(), journal.attempts()
    with open_journal(parts) as journal:
        for number in range(3):
            close(journal, number)
        journal.record(START, [miss(n, stop_initial=Decimal("1.9")) for n in range(2)])
        commit, deaths = Journal.commit, 0
        # Dies at every commit, before it and after it, until there is nothing left to do.
        for late in (False, True) * 5:

            def dying(self: Journal, entry: Entry, late: bool = late) -> Any:
                if late:
                    commit(self, entry)
                raise StateFileError("died", "go on")

            monkeypatch.setattr(Journal, "commit", dying)
            try:
                settle(journal, Tape())
            except StateFileError:
                deaths += 1
        monkeypatch.setattr(Journal, "commit", commit)

        assert deaths == 10
        assert (journal.settlements(), journal.attempts()) == expected


def test_a_resized_position_has_its_path_but_no_alternatives(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        close(journal, 0, plans=2)
        close(journal, 1, quantity=900)
        assert settle(journal, Tape()).positions == 2
        for found in journal.settlements():
            assert len(found.after) == 3
            assert {other.reason for other in found.alternatives} == {
                "its size was changed by somebody else while it was held"
            }


def test_a_position_closed_by_an_older_version_stays_open_and_says_so(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        bare = {"entry": Decimal(2), "quantity": Decimal(1), "pnl": Decimal(0), "average_exit": Decimal(2)}
        journal.commit(Entry(START, notes=(Note(START, NoteKind.CLOSED, XRP_LONG, "stop", bare),)))
        (left,) = settle(journal, Tape()).open

    assert (left.due, left.reason) == (False, "an older tpctl closed it, which left out what is needed")


@pytest.mark.parametrize(
    ("bar", "premature", "after"),
    [
        (("2", "2.2", "2", "2"), True, 8 * MINUTE_MS),
        (("2", "2.05", "1.89", "2"), False, None),
        # Both in one candle: what cannot be told is not called premature.
        (("2", "2.2", "1.89", "2"), False, None),
        (("2", "2", "2", "2"), False, None),
    ],
)
def test_a_miss_is_judged_by_the_path_after_it(
    tmp_path: Path, bar: tuple[str, ...], premature: bool, after: int | None
) -> None:
    tape = Tape()
    with open_journal(tmp_path / "sim") as journal:
        attempt = miss(0)
        aftermath = watch_after(attempt, Decimal("1.9"))
        assert aftermath is not None
        journal.commit(Entry(START, attempts=(attempt,), aftermaths=(aftermath,)))
        at = START + 17 * MINUTE_MS
        tape.moves[at] = Bar(at, *map(Decimal, bar))

        assert settle(journal, tape).misses == 1
        (judged,) = journal.attempts()
        assert judged.premature is premature
        assert judged.missed_usd == (Decimal("0.11") * attempt.quantity if premature else 0)
        with JournalScan.open(journal.path) as scan:
            ((_, _, _, verdict),) = scan.hindsights_after(0)
        assert verdict.after_ms == after
        assert settle(journal, tape).misses == 0


def test_an_outcome_from_elsewhere_is_judged_by_the_stop_it_came_with_or_not_at_all(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        journal.record(START, [miss(0, stop_initial=Decimal("1.9")), miss(1)])
        report = settle(journal, Tape())

        assert report.misses == 1
        assert [(one.reason, one.due) for one in report.open] == [("the stop it had is not on record", False)]


def test_a_running_watch_settles_when_four_hours_are_over_and_tries_again_later(tmp_path: Path) -> None:
    tape = Tape()
    with open_journal(tmp_path / "sim") as journal:
        earlier = close(journal, 0)
        settler = Settler(journal.path, tape)
        settler.recover(earlier)
        later = close(journal, 1)
        settler.closed([note for _, note in journal.notes()][-1])

        def settle_at(now: int) -> int:
            return run(settler.settle(now, ExitRules(), journal.commit))

        due = earlier + HORIZON_MS + 2 * MINUTE_MS
        assert not settler.due(due - 1)
        assert settler.due(due)
        tape.fault = UnavailableError("no answer", "try again")
        assert settle_at(due) == 0
        assert not settler.due(due)
        tape.fault = None
        assert settle_at(due + 600_000) == 1
        assert settle_at(later + HORIZON_MS + 2 * MINUTE_MS) == 1
        assert [one.generation for one in journal.settlements()] == [f"{n:010x}" for n in range(2)]
        assert not settler.due(FOREVER)


def test_what_is_settled_and_what_closed_in_another_world_is_left_alone(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        closed = close(journal, 0)
        other = Settler(journal.path, Tape(), since=closed + 1)
        other.recover(closed)
        assert not other.due(FOREVER)

        settle(journal, Tape())
        again = Settler(journal.path, Tape())
        again.recover(closed)
        assert not again.due(FOREVER)


class Pages:
    """A page reader of candles at 2.00 that counts, and can be short of budget."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.limited = 0

    async def candle_page(self, symbol: str, interval: str, since: int, limit: int) -> tuple[Candle, ...]:
        if self.limited:
            self.limited -= 1
            raise RateLimitedError("used up", "wait", retry_after_ms=1000)
        self.asked.append((since, limit))
        return tuple(Candle(since + n * MINUTE_MS, 2.0, 2.0, 2.0, 2.0, 0.0) for n in range(limit))


def test_candles_are_read_in_pages_once_and_never_beyond_the_closed_ones() -> None:
    pages, waits = Pages(), []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    now = 1_000 * MINUTE_MS + 30_000
    source = PagedMinutes(pages, lambda: now, patient=True, sleep=sleep)
    pages.limited = 1
    bars = run(source.minutes("XRPUSDT", 0, 900 * MINUTE_MS))

    assert [bar.at for bar in bars] == [n * MINUTE_MS for n in range(900)]
    assert pages.asked == [(0, 499), (499 * MINUTE_MS, 401)]
    assert len(waits) == 1
    assert len(run(source.minutes("XRPUSDT", 100 * MINUTE_MS, 200 * MINUTE_MS))) == 100
    assert len(pages.asked) == 2
    # The candle of minute 1000 is still open.
    assert run(source.minutes("XRPUSDT", 990 * MINUTE_MS, 1_100 * MINUTE_MS))[-1].at == 999 * MINUTE_MS
    pages.limited = 1
    hasty = PagedMinutes(pages, lambda: now, patient=False)
    with pytest.raises(RateLimitedError):
        run(hasty.minutes("XRPUSDT", 0, MINUTE_MS))
