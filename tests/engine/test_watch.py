"""One run of the loop on an exchange in this process: what is durable, what is asked, and how it ends."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from engine_desk import START, STEP_MS, XRP, Desk, DeskFeed, still

from tpctl.adapters.codec import decode
from tpctl.adapters.journal import Committed, Entry, Journal
from tpctl.adapters.journal_reader import JournalReader
from tpctl.exits.episode import Episode, Scope
from tpctl.exits.errors import CredentialsError, StateFileError, UnavailableError
from tpctl.exits.events import Event, Filled, OrderLookedUp, OrderSeen, StreamLost
from tpctl.exits.ids import Role, parse_client_id
from tpctl.exits.intents import OrderIntent, PlaceStop, PlaceTakeProfit
from tpctl.exits.model import NoteKind, OrderStatus
from tpctl.exits.rules import ExitRules
from tpctl.exits.units import Ratio
from tpctl.ports import Fees
from tpctl.venue.quotes import MarketStep, Quote

OUTAGE = UnavailableError("the exchange does not answer", "wait")
FULL = StateFileError("cannot write journal: no space left", "free some disk space")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return an account that is long 800 XRP at 2.5."""
    desk = Desk(tmp_path, XRPUSDT="2.5000")
    desk.open_long()
    return desk


def roles(desk: Desk) -> list[str]:
    """Return what rests, by the letters of the client ids."""
    names = [parse_client_id(order.client_id) for order in desk.resting()]
    return sorted(f"{name.role.value}{name.leg or ''}" for name in names if name is not None)


ALL = ["b", "s", "t1", "t2", "t3"]


def test_a_position_is_adopted_planned_and_covered(desk: Desk) -> None:
    summary = desk.run(*still("2.5000", 2))

    assert roles(desk) == ALL
    assert (summary.reason, summary.positions, summary.protected) == ("the market ended", 1, 1)
    assert summary.orders_resting == 5
    assert summary.naked_ms == 0
    first = [type(intent).__name__ for intent in desk.exchange.sent[:2]]
    assert first == ["PlaceStop", "PlaceStop"]


def test_a_whole_life_is_told_and_scored(desk: Desk) -> None:
    desk.run(
        *still("2.5000", 2), {"XRPUSDT": "2.5300"}, {"XRPUSDT": "2.5500"}, {"XRPUSDT": "2.5800"}, *still("2.58", 4)
    )

    assert desk.quantity() == 0
    assert desk.resting() == []
    assert [note.data["leg"] for note in desk.told(NoteKind.TP_HIT)] == [1, 2, 3]
    (closed,) = desk.told(NoteKind.CLOSED)
    assert closed.data["quantity"] == 800
    (record,) = json.loads(desk.metrics_path.read_text()).values()
    assert (record["tp_attempts"], record["tp_hits"]) == (3, 3)


def test_what_is_sent_is_in_the_journal_before(desk: Desk) -> None:
    seen: list[str] = []

    def look(intent: OrderIntent) -> None:
        with JournalReader.read_only(desk.journal_path) as journal:
            assert intent in [entry.intent for entry in journal.intents()]
        seen.append(intent.client_id)

    desk.exchange.before_submit = look
    desk.run(
        *still("2.5000", 2), {"XRPUSDT": "2.5300"}, {"XRPUSDT": "2.5500"}, {"XRPUSDT": "2.5800"}, *still("2.58", 4)
    )

    assert len(seen) > 8


def test_that_an_order_rests_is_written_down_with_what_follows(desk: Desk) -> None:
    """A start sees it again: the checkpoint, and each later decision, hold it all the same."""
    desk.run(*still("2.5000", 2))

    with JournalReader.read_only(desk.journal_path) as journal:
        seen = [event.order.status for _, event in journal.events() if isinstance(event, OrderSeen)]
        (row,) = journal.states().values()
    assert OrderStatus.NEW not in seen
    assert row.state is not None
    assert [order.confirmed for order in decode(row.state, Episode).orders] == [True] * 5


def test_a_read_that_fails_is_unknown_not_empty(desk: Desk) -> None:
    def outage(name: str) -> Exception | None:
        return OUTAGE if name == "holdings" and desk.clock.at > START + 2 * STEP_MS else None

    desk.exchange.failing = outage
    summary = desk.run(*still("2.5000", 30))

    assert summary.positions == 1
    assert roles(desk) == ALL
    assert len([note for note in desk.told(NoteKind.DEGRADED) if "cannot be read" in note.reason]) == 1
    assert desk.told(NoteKind.CLOSED) == []


def test_recovery_from_an_outage_is_told_once(desk: Desk) -> None:
    gone: list[bool] = []
    desk.exchange.failing = lambda name: OUTAGE if gone and name in {"holdings", "fills"} else None
    desk.run(*still("2.5", 2), lambda: gone.append(True), *still("2.5", 20), gone.clear, *still("2.5", 4))

    assert [note.reason for note in desk.told(NoteKind.RECOVERED)] == ["the account can be read again"]


def test_a_start_without_answers_goes_on_and_asks_again(desk: Desk) -> None:
    desk.run(*still("2.5", 2))
    desk.notes.clear()
    desk.exchange.failing = lambda _: OUTAGE if desk.clock.at < START + 5 * STEP_MS else None

    summary = desk.run(*still("2.5", 6))

    assert summary.protected == 1
    assert [note.kind for note in desk.notes if note.kind in {NoteKind.DEGRADED, NoteKind.RECOVERED}] == [
        NoteKind.DEGRADED,
        NoteKind.RECOVERED,
    ]


def test_reads_of_the_account_keep_their_distance(desk: Desk) -> None:
    lost: list[list[Event]] = [[StreamLost(START, "again")]] * 5
    desk.run(*still("2.5", 2), *lost, *still("2.5", 12))

    times = [at for name, at in desk.exchange.reads if name == "holdings"]
    assert all(later - earlier >= 1_000 for earlier, later in pairwise(times))
    assert max(later - earlier for earlier, later in pairwise(times)) <= 30_000


def test_executions_the_stream_did_not_tell_are_caught_up_with_their_fees(desk: Desk) -> None:
    def silence() -> None:
        assert desk.feed is not None
        desk.feed.silent = True

    def speak() -> None:
        assert desk.feed is not None
        desk.feed.silent = False

    # What was really paid is in the executions alone: the stated rates are wrong.
    desk.exchange.rates = Fees(maker=Ratio(Decimal(0)), taker=Ratio(Decimal(0)))
    lost: list[Event] = [StreamLost(START, "the connection broke")]
    way = [{"XRPUSDT": price} for price in ("2.5300", "2.5500", "2.5800")]
    desk.run(*still("2.5", 2), silence, *way, speak, lost, *still("2.58", 8))

    assert sorted(str(note.data["leg"]) for note in desk.told(NoteKind.TP_HIT)) == ["1", "2", "3"]
    (closed,) = desk.told(NoteKind.CLOSED)
    sold = [row for row in desk.venue.user_trades({"symbol": "XRPUSDT"}) if row["side"] == "SELL"]
    fees = sum((Decimal(row["commission"]) for row in sold), Decimal(0))
    assert closed.data["fees"] == fees > 0
    (record,) = json.loads(desk.metrics_path.read_text(), parse_float=Decimal).values()
    assert (record["tp_attempts"], record["tp_hits"]) == (3, 3)
    gross = sum((Decimal(row["realizedPnl"]) for row in sold), Decimal(0))
    assert record["total_tp_profit_usd"] == gross - fees
    with JournalReader.read_only(desk.journal_path) as journal:
        events = [event for _, event in journal.events()]
    told = events[events.index(lost[0]) :]
    assert {type(event) for event in told[: _first(told, OrderLookedUp)]} == {StreamLost, Filled}
    assert not any(isinstance(event, Filled) for event in told[_first(told, OrderLookedUp) :])


def _first(events: list[Event], kind: type[Event]) -> int:
    return next(index for index, event in enumerate(events) if isinstance(event, kind))


def test_an_exit_by_hand_the_stream_did_not_tell_is_caught_up(desk: Desk) -> None:
    def silence() -> None:
        assert desk.feed is not None
        desk.feed.silent = True

    def by_hand() -> None:
        desk.venue.close_position("XRPUSDT", "LONG", Decimal("0.25"))

    def speak() -> None:
        assert desk.feed is not None
        desk.feed.silent = False

    lost: list[Event] = [StreamLost(START, "the connection broke")]
    desk.run(*still("2.5", 2), silence, by_hand, {"XRPUSDT": "2.51"}, speak, lost, *still("2.51", 8))

    (told,) = desk.told(NoteKind.EXTERNAL)
    assert (told.data["quantity"], told.data["price"]) == (200, Decimal("2.4999"))
    (stop,) = [order for order in desk.resting() if "-s-" in order.client_id]
    assert stop.quantity == 600


def test_halt_withholds_take_profits_and_lifting_it_lets_them_out(desk: Desk) -> None:
    desk.halt = "wait"
    without: list[list[str]] = []

    def lift() -> None:
        without.append(roles(desk))
        desk.halt = None

    desk.run(*still("2.5", 3), lift, *still("2.5", 3))

    assert without == [["b", "s"]]
    assert roles(desk) == ALL
    assert [note.reason for note in desk.told(NoteKind.HALTED)] == ["HALT: wait; stops stay, no new take-profits"]
    assert [note.reason for note in desk.told(NoteKind.RECOVERED)] == ["HALT was lifted"]


def test_halt_does_not_hold_back_a_ratchet(desk: Desk) -> None:
    def halt() -> None:
        desk.halt = "wait"

    desk.run(*still("2.5", 2), halt, {"XRPUSDT": "2.5300"}, *still("2.53", 3))

    (moved,) = desk.told(NoteKind.STOP_MOVED)
    (stop,) = [order for order in desk.resting() if "-s-" in order.client_id]
    assert stop.trigger == moved.data["to"]


def test_shadow_sends_nothing_and_says_what_it_would(desk: Desk) -> None:
    desk.armed = False

    desk.run(*still("2.5", 3), {"XRPUSDT": "2.5300"})

    assert desk.exchange.sent == []
    assert {note.data["order"] for note in desk.told(NoteKind.PLACED)} >= {"backstop", "stop"}


class Failing(Journal):
    """A journal whose disk is full after so many commits."""

    left: int

    @classmethod
    def after(cls, commits: int, journal: Journal) -> "Failing":
        journal.__class__ = cls
        assert isinstance(journal, Failing)
        journal.left = commits
        return journal

    def commit(self, entry: Entry) -> Committed:
        if self.left <= 0:
            raise FULL
        self.left -= 1
        return super().commit(entry)


@pytest.mark.parametrize("commits", range(22))
def test_a_full_disk_ends_the_run_and_nothing_unwritten_is_sent(desk: Desk, commits: int) -> None:
    def look(intent: OrderIntent) -> None:
        with JournalReader.read_only(desk.journal_path) as journal:
            assert intent in [entry.intent for entry in journal.intents()]

    desk.exchange.before_submit = look
    with pytest.raises(StateFileError, match="no space left"):
        desk.run(
            *still("2.5000", 2),
            {"XRPUSDT": "2.5300"},
            *still("2.53", 30),
            journal=lambda journal: Failing.after(commits, journal),
        )

    assert desk.feed is not None
    assert desk.feed.closed
    stops = [name for name in roles(desk) if name in {"b", "s"}]

    desk.exchange.before_submit = lambda _: None
    desk.run(*still("2.53", 6))  # with room again, a start takes it up where it was

    assert len(stops) <= 3
    assert roles(desk) in (ALL, ["b", "s", "t2", "t3"])


class Cut(Exception):  # noqa: N818 - stands for a kill, not for an error
    """The process is gone."""


@pytest.mark.parametrize("sends", range(1, 10))
@pytest.mark.parametrize("arrives", [False, True])
def test_dying_at_any_request_leaves_nothing_doubled_and_nothing_missing(desk: Desk, sends: int, arrives: bool) -> None:
    """The process dies with its n-th request, which the exchange got or did not get; the next start goes on."""

    def die(intent: OrderIntent) -> None:
        if len(desk.exchange.sent) + 1 == sends and not arrives:
            raise Cut

    def lose(intent: OrderIntent) -> bool:
        if len(desk.exchange.sent) == sends and arrives:
            raise Cut
        return False

    desk.exchange.before_submit, desk.exchange.lose_answer = die, lose
    way = [*still("2.5000", 3), {"XRPUSDT": "2.5300"}, *still("2.53", 3), {"XRPUSDT": "2.5500"}, *still("2.55", 3)]
    with pytest.raises(Cut):
        desk.run(*way)
    desk.exchange.before_submit, desk.exchange.lose_answer = lambda _: None, lambda _: False

    desk.run(*way[3:], *still("2.55", 6))

    assert roles(desk) == ["b", "s", "t3"]
    assert desk.quantity() == 200
    (stop,) = [order for order in desk.resting() if "-s-" in order.client_id]
    assert stop.quantity == 200
    placed = [intent for intent in desk.exchange.sent if isinstance(intent, PlaceStop | PlaceTakeProfit)]
    assert len({intent.client_id for intent in placed}) == len(placed)
    assert len({(type(intent), intent.quantity, intent.trigger) for intent in placed}) == len(placed)
    assert sorted(str(note.data["leg"]) for note in desk.told(NoteKind.TP_HIT)) == ["1", "2"]
    (record,) = json.loads(desk.metrics_path.read_text()).values()
    assert (record["tp_attempts"], record["tp_hits"]) == (2, 2)


def test_a_lost_answer_is_looked_up_not_sent_again(desk: Desk) -> None:
    desk.exchange.lose_answer = lambda intent: isinstance(intent, PlaceStop) and intent.quantity is not None

    desk.run(*still("2.5", 6))

    assert roles(desk) == ALL
    stops = [intent for intent in desk.exchange.sent if isinstance(intent, PlaceStop) and intent.quantity is not None]
    assert len(stops) == 1


def test_the_time_is_event_time(desk: Desk) -> None:
    summary = desk.run(*still("2.5", 100), duration_ms=60_000)

    assert summary.reason == "the time is over"
    assert START + 60_000 <= desk.clock.at <= START + 60_000 + 2 * STEP_MS


def test_once_ends_when_everything_is_in_place(desk: Desk) -> None:
    summary = desk.run(*still("2.5", 100), once=True)

    assert summary.reason == "everything wanted is in place"
    assert roles(desk) == ALL
    assert desk.clock.at < START + 20 * STEP_MS

    sent = len(desk.exchange.sent)
    desk.run(*still("2.5", 100), once=True)
    assert len(desk.exchange.sent) == sent


def test_stopping_keeps_every_order(desk: Desk) -> None:
    def stop() -> None:
        assert desk.watch is not None
        desk.watch.stop("terminated")

    summary = desk.run(*still("2.5", 3), stop, {"XRPUSDT": "2.0"}, {"XRPUSDT": "2.0"})

    assert (summary.reason, summary.protected) == ("terminated", 1)
    assert roles(desk) == ALL
    assert desk.notes[-1].kind is NoteKind.STOPPED


def test_keys_the_exchange_no_longer_takes_end_the_run(desk: Desk) -> None:
    refused = CredentialsError("the key was refused", "make a new one")
    desk.exchange.failing = lambda _: refused if desk.clock.at > START + 3 * STEP_MS else None

    with pytest.raises(CredentialsError):
        desk.run(*still("2.5", 20))

    assert roles(desk) == ALL


def test_a_bug_in_a_read_ends_the_run(desk: Desk) -> None:
    desk.exchange.failing = lambda _: ZeroDivisionError() if desk.clock.at > START + 3 * STEP_MS else None

    with pytest.raises(ZeroDivisionError):
        desk.run(*still("2.5", 20))


class Broken:
    """A feed with a bug."""

    def __init__(self, feed: DeskFeed) -> None:
        self._feed = feed
        self.closed = False

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        async for batch in self._feed.events():
            yield batch
            if self._feed_is_far():
                raise ZeroDivisionError

    def _feed_is_far(self) -> bool:
        return self._feed._exchange.clock.at > START + 2 * STEP_MS

    async def close(self) -> None:
        self.closed = True


def test_a_bug_in_the_feed_ends_the_run_instead_of_hanging_it(desk: Desk) -> None:
    with pytest.raises(ZeroDivisionError):
        desk.run(*still("2.5", 20), feed=Broken)

    assert roles(desk) == ALL


def test_a_metrics_file_that_cannot_be_replaced_stops_no_guard(desk: Desk) -> None:
    def spoil() -> None:
        desk.metrics_path.write_text("not mine to keep")

    desk.run(*still("2.5", 2), spoil, {"XRPUSDT": "2.5300"}, {"XRPUSDT": "2.5500"}, *still("2.55", 3))

    told = [note.reason for note in desk.told(NoteKind.DEGRADED)]
    assert len([reason for reason in told if reason.startswith("the metrics file is not up to date")]) == 1
    assert roles(desk) == ["b", "s", "t3"]
    assert desk.metrics_path.read_text() == "not mine to keep"


def test_a_restart_takes_the_trail_up_where_it_was(desk: Desk) -> None:
    desk.run(*still("2.5", 2), {"XRPUSDT": "2.53"}, {"XRPUSDT": "2.55"}, {"XRPUSDT": "2.56"}, *still("2.55", 2))
    assert desk.watch is not None
    before = desk.watch.state.episodes[XRP]

    desk.run(*still("2.55", 3))

    after = desk.watch.state.episodes[XRP]
    assert (after.generation, after.stop, after.peak) == (before.generation, before.stop, before.peak)
    assert [leg.status for leg in after.legs] == [leg.status for leg in before.legs]


def test_the_journal_gives_back_the_state_of_the_run(desk: Desk) -> None:
    desk.run(*still("2.5", 2), {"XRPUSDT": "2.53"}, *still("2.53", 3))
    assert desk.watch is not None
    ended: Any = desk.watch.state.episodes[XRP]

    desk.run()

    again = desk.watch.state.episodes[XRP]
    same = {"orders", "foreign", "position_at", "looked_at", "context_asked_at", "mark_at", "retry_at", "failures"}
    kept = {name: getattr(ended, name) for name in ended.__slots__ if name not in same}
    assert {name: getattr(again, name) for name in kept} == kept
    assert [o.client_id for o in again.orders if o.role is not Role.REDUCE] == [
        o.client_id for o in replace(ended).orders if o.role is not Role.REDUCE
    ]


def test_a_single_pass_decides_on_a_fresh_mark_though_the_stream_brought_none(desk: Desk) -> None:
    desk.run(*still("2.5", 2))
    (before,) = [order.trigger for order in desk.resting() if "-s-" in order.client_id]
    desk.clock.at += 3_600_000
    desk.venue.step(MarketStep(desk.clock.at, (Quote("XRPUSDT", Decimal("2.57"), Decimal("2.57")),)))
    desk.venue.user_events()

    def second() -> None:
        desk.clock.at += 1_000

    summary = desk.run(*[second] * 15, once=True)

    assert summary.reason == "everything wanted is in place"
    (after,) = [order.trigger for order in desk.resting() if "-s-" in order.client_id]
    assert after > before
    assert desk.watch is not None
    assert desk.watch.state.episodes[XRP].peak == Decimal("2.57")


def test_other_rules_are_followed_from_the_next_decision_on_and_a_plan_keeps_its_levels(desk: Desk) -> None:
    tighter = replace(ExitRules(), trail=replace(ExitRules().trail, callback=Ratio.percent(1)))

    def change() -> None:
        assert desk.watch is not None
        desk.watch.reconfigure(tighter, Scope(), reconcile_ms=60_000, mark_max_age_ms=None)

    desk.venue.step(MarketStep(START, (Quote("BTCUSDT", Decimal(96_000), Decimal(96_000)),)))
    desk.run(*still("2.5", 2))
    before = {(order.client_id, order.trigger) for order in desk.resting()}
    desk.run(*still("2.5", 2), change, *still("2.5", 2), lambda: desk.open_long("BTCUSDT"), *still("2.5", 3))

    assert {(order.client_id, order.trigger) for order in desk.resting()} == before
    assert desk.watch is not None
    by_symbol = {key.symbol: episode.callback for key, episode in desk.watch.state.episodes.items()}
    assert by_symbol == {"XRPUSDT": Ratio.percent(2), "BTCUSDT": Ratio.percent(1)}


def test_the_end_tells_of_every_position_what_rests_for_it(desk: Desk) -> None:
    desk.run(*still("2.5", 2))

    (note,) = desk.told(NoteKind.STANDING)
    assert note.key == XRP
    assert [note.data[name] for name in ("protected", "stops", "take_profits")] == [True, 2, 3]
    for order in desk.resting():
        assert str(order.trigger) in note.reason
