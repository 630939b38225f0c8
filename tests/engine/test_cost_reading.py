"""Reading what positions cost: each once, neighbours by one reading, again later where the account did not answer."""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from metrics_desk import open_journal
from stage import START, XRP_LONG

from tpctl.adapters.journal import Entry, Journal
from tpctl.engine.costs import BOOKED_MS, CostReader
from tpctl.engine.settle import Report, Settler, read_all_costs
from tpctl.exits.costs import KEPT_MS
from tpctl.exits.errors import UnavailableError
from tpctl.exits.hindsight import Bar
from tpctl.exits.instrument import OrderSide, Unavailable
from tpctl.exits.model import Fill, Note, NoteKind
from tpctl.exits.rules import ExitRules
from tpctl.ports import FundingFee

HOUR = 3_600_000
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Account:
    """An account that bought ten XRP and sold them within each hour named, and paid a cent in the middle."""

    def __init__(self, *hours: int) -> None:
        self.hours = hours
        self.asked: list[tuple[str, int]] = []
        self.fault: Exception | None = None

    async def fills(self, symbol: str, since: int) -> tuple[Fill, ...]:
        self._ask("fills", since)
        trades = [
            (START + hour * HOUR + late, side) for hour in self.hours for late, side in ((0, "buy"), (60_000, "sell"))
        ]
        return tuple(
            Fill(
                symbol,
                at,
                "1",
                "",
                OrderSide(side),
                None,
                Decimal(10),
                Decimal(2),
                Decimal("0.01"),
                "USDT",
                Decimal(0),
                maker=False,
                at=at,
            )
            for at, side in trades
            if at >= since
        )

    async def funding_fees(self, since: int) -> tuple[FundingFee, ...]:
        self._ask("funding", since)
        paid = [START + hour * HOUR + 30_000 for hour in self.hours]
        other = FundingFee("BTCUSDT", Decimal(-7), paid[0])
        return (other, *(FundingFee("XRPUSDT", Decimal("-0.01"), at) for at in paid if at >= since))

    def _ask(self, what: str, since: int) -> None:
        self.asked.append((what, since))
        if self.fault is not None:
            raise self.fault


class NoCandles:
    async def minutes(self, symbol: str, since: int, until: int) -> tuple[Bar, ...]:
        raise UnavailableError("no answer", "try again")


def close(journal: Journal, hour: int) -> Note:
    at = START + hour * HOUR + 60_000
    data: dict[str, Any] = {
        "generation": f"{hour:010x}",
        "opened_at": at - 59_000,
        "quantity": Decimal(10),
        "pnl": Decimal(1),
    }
    note = Note(at, NoteKind.CLOSED, XRP_LONG, "stop", {**data, "policy": "static"})
    journal.commit(Entry(at, notes=(note,)))
    return note


def read(journal: Journal, account: Account, now: int) -> Report:
    report = Report()
    run(read_all_costs(journal, CostReader(account, lambda: now), now, report))
    return report


def test_every_close_on_record_is_read_once_and_neighbours_together(tmp_path: Path) -> None:
    account = Account(1, 2, 3)
    with open_journal(tmp_path / "sim") as journal:
        notes = [close(journal, hour) for hour in (1, 2, 3)]
        report = read(journal, account, notes[-1].at + BOOKED_MS)
        again = read(journal, account, notes[-1].at + BOOKED_MS)

        assert (report.costs, report.costs_open, again.costs) == (3, [], 0)
        assert account.asked == [("fills", START + 1000), ("funding", START + HOUR)]
        journal.integrity()
        found = journal.costs()
    assert [(one.entry_fees, one.funding, one.pnl, one.policy) for one in found] == [
        (Decimal("0.01"), Decimal("0.01"), Decimal(1), "static")
    ] * 3


def test_a_close_that_is_not_booked_yet_and_one_that_was_not_answered_stay_open(tmp_path: Path) -> None:
    account = Account(1)
    with open_journal(tmp_path / "sim") as journal:
        note = close(journal, 1)
        young = read(journal, account, note.at + BOOKED_MS - 1)
        account.fault = UnavailableError("no answer", "try again")
        failed = read(journal, account, note.at + BOOKED_MS)

        assert [(one.reason, one.due) for one in young.costs_open] == [("it closed too short a time ago", False)]
        assert [(one.reason, one.due) for one in failed.costs_open] == [("no answer", True)]
        assert journal.costs() == ()


def test_what_the_exchange_no_longer_keeps_is_unavailable_and_not_asked_for(tmp_path: Path) -> None:
    account = Account(1)
    with open_journal(tmp_path / "sim") as journal:
        note = close(journal, 1)
        read(journal, account, note.at + KEPT_MS)
        (found,) = journal.costs()

    assert account.asked == []
    assert isinstance(found.entry_fees, Unavailable)
    assert isinstance(found.funding, Unavailable)


def test_a_position_opened_long_before_it_was_found_is_looked_for_further_back(tmp_path: Path) -> None:
    account = Account(30)
    with open_journal(tmp_path / "sim") as journal:
        note = close(journal, 30)
        late = {**note.data, "opened_at": note.at + 5 * HOUR, "generation": "later"}
        journal.commit(Entry(note.at, notes=(Note(note.at + 9 * HOUR, NoteKind.CLOSED, XRP_LONG, "stop", late),)))
        read(journal, account, note.at + 10 * HOUR)
        found = {one.generation: one.entry_fees for one in journal.costs()}

    assert found["later"] == Decimal("0.01")
    assert len(account.asked) == 2


def test_a_running_watch_reads_soon_after_the_close_and_tries_again_later(tmp_path: Path) -> None:
    account = Account(1, 2)
    with open_journal(tmp_path / "sim") as journal:
        earlier = close(journal, 1)
        settler = Settler(journal.path, NoCandles(), costs=CostReader(account, lambda: START + 9 * HOUR))
        settler.recover(earlier.at)
        later = close(journal, 2)
        settler.closed(later)

        def settle_at(now: int) -> list[str]:
            run(settler.settle(now, ExitRules(), journal.commit))
            return [one.generation for one in journal.costs()]

        assert not settler.due(earlier.at + BOOKED_MS - 1)
        assert settler.due(earlier.at + BOOKED_MS)
        account.fault = UnavailableError("no answer", "try again")
        assert settle_at(earlier.at + BOOKED_MS) == []
        assert not settler.due(earlier.at + BOOKED_MS)
        account.fault = None
        assert settle_at(earlier.at + BOOKED_MS + 600_000) == [f"{1:010x}"]
        assert settle_at(later.at + BOOKED_MS) == [f"{n:010x}" for n in (1, 2)]

        again = Settler(journal.path, NoCandles(), costs=CostReader(account, lambda: START + 9 * HOUR))
        again.recover(later.at)
        assert not again.due(later.at + BOOKED_MS)
