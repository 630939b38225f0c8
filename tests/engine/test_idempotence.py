"""One-shots from cron change nothing when nothing is due: run a hundred times, the exchange's orders are the same."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from engine_desk import START, XRP, Desk, still

from tpctl.adapters.journal_reader import JournalReader
from tpctl.venue.quotes import MarketStep, Quote


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path, XRPUSDT="2.5")
    desk.open_long()
    return desk


def seconds(desk: Desk, count: int) -> list[Callable[[], None]]:
    """Return steps in which a second passes and the market stands still."""

    def second() -> None:
        desk.clock.at += 1_000

    return [second] * count


def orders(desk: Desk) -> list[tuple[str, str, Decimal, str]]:
    return sorted((o.client_id, o.status, o.trigger, str(o.quantity)) for o in desk.resting())


def test_a_hundred_single_passes_leave_the_same_orders(desk: Desk) -> None:
    desk.run(*still("2.5", 3))
    before, sent = orders(desk), len(desk.exchange.sent)

    for _ in range(100):
        desk.run(*seconds(desk, 12), once=True)

    assert orders(desk) == before
    assert len(desk.exchange.sent) == sent


def test_a_trail_that_is_due_acts_in_the_first_of_a_hundred_passes_only(desk: Desk) -> None:
    desk.run(*still("2.5", 2))
    (before,) = [order.trigger for order in desk.resting() if "-s-" in order.client_id]
    desk.clock.at = START + 3_600_000
    price = Decimal("2.565")
    desk.venue.step(MarketStep(desk.clock.at, (Quote("XRPUSDT", price, price),)))
    desk.venue.user_events()

    seen = []
    for _ in range(100):
        desk.run(*seconds(desk, 12), once=True)
        seen.append(orders(desk))

    assert all(each == seen[0] for each in seen[1:])
    assert next(trigger for name, _, trigger, _ in seen[0] if "-s-" in name) > before
    with JournalReader.read_only(desk.journal_path) as journal:
        moves = [note.kind.value for _, note in journal.notes() if note.kind.value in {"stop_moved", "trail_moved"}]
        assert len(moves) <= 2
        assert journal.states()[XRP].lives == 1
