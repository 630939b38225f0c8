"""Ends: crossed stops, stuck orders, refused closes, and what counts as flat."""

from decimal import Decimal

import pytest
from stage import XRP_LONG, Stage

from tpctl.exits.episode import Phase
from tpctl.exits.events import PositionSeen
from tpctl.exits.ids import Role
from tpctl.exits.intents import OrderIntent, PlaceStop, ReduceAtMarket
from tpctl.exits.model import NoteKind, Outcome
from tpctl.exits.rules import ExecutionRules, ExitRules
from tpctl.exits.units import ZERO
from tpctl.venue.venue import Terms

D = Decimal
EXACT = Terms(half_spread_ticks=0, impact_bps=D(0))


def guarded(**execution: object) -> Stage:
    stage = Stage({"XRPUSDT": "2.5"}, rules=ExitRules(execution=ExecutionRules(**execution)), terms=EXACT)
    stage.start()
    stage.open()
    return stage


def reduces(stage: Stage) -> list[ReduceAtMarket]:
    return [intent for intent in stage.sent if isinstance(intent, ReduceAtMarket)]


def test_refused_because_passed_closes_at_market_once_and_the_old_stop_stays_till_flat() -> None:
    stage = guarded()
    stage.fault(-2021, PlaceStop, role=Role.STOP)
    resting: list[bool] = []

    def note(intent: OrderIntent) -> None:
        if isinstance(intent, ReduceAtMarket):
            resting.append(bool(stage.stops()))

    stage.before_send = note
    stage.go("2.5273")
    assert stage.quantity() == 0
    assert [i.quantity for i in reduces(stage)] == [480]
    assert resting == [True]
    assert stage.flat()
    assert stage.resting() == []


def test_level_passed_while_its_stop_was_gone_closes_at_market_once() -> None:
    stage = guarded()
    for role in (Role.STOP, Role.BACKSTOP):
        stage.venue.drop(stage.orders(role)[0].client_id)
    stage.go("2.46")
    stage.wait(5_000)
    assert stage.quantity() == 0
    assert len(reduces(stage)) == 1
    assert [a.outcome for a in stage.attempts] == [Outcome.MISS] * 3


def test_breakeven_already_lost_again_closes_at_market() -> None:
    stage = guarded()
    stage.fault("lost before", PlaceStop, role=Role.STOP)
    stage.go("2.5273", "2.4990")
    stage.wait(12_000)
    assert stage.quantity() == 0
    assert len(reduces(stage)) == 1


def test_f3_stop_stuck_triggering_is_no_protection_and_is_closed_at_market() -> None:
    stage = guarded()
    for role in (Role.STOP, Role.BACKSTOP):
        stage.venue.jam(stage.orders(role)[0].client_id)
    stage.go("2.46")
    assert not stage.episode().protected
    stage.wait(6_000)
    assert stage.quantity() == 0
    assert len(reduces(stage)) == 1


def test_o11_stop_that_seems_to_rest_beyond_the_mark_is_overdue_after_three_seconds() -> None:
    stage = guarded()
    stage.venue.jam(stage.orders(Role.STOP)[0].client_id)
    stage.lose_user_events()
    stage.go("2.4650")
    stage.wait(2_000)
    assert reduces(stage) == []
    stage.wait(2_000)
    assert stage.quantity() == 0
    assert len(reduces(stage)) == 1


def test_stuck_target_is_reported_and_not_executed_twice() -> None:
    stage = guarded()
    stage.venue.jam(stage.orders(Role.TAKE_PROFIT)[0].client_id)
    stage.go("2.53")
    stage.wait(10_000)
    assert stage.quantity() == 800
    assert reduces(stage) == []
    assert len([n for n in stage.told(NoteKind.DEGRADED) if "does not end" in n.reason]) == 1


@pytest.mark.parametrize("code", [-2022, -4131, -1008])
def test_refused_close_is_retried_until_flat(code: int) -> None:
    stage = guarded()
    stage.fault(code, ReduceAtMarket, times=2)
    stage.fault(-2021, PlaceStop, role=Role.STOP)
    stage.go("2.5273")
    assert stage.stops(), "the stop guards what could not be closed"
    stage.wait(5_000)
    assert stage.quantity() == 0
    assert len(reduces(stage)) == 3


def test_refused_close_of_a_position_that_is_gone_ends_the_episode() -> None:
    stage = guarded()
    stage.lose_user_events()
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.fault(-2021, PlaceStop, role=Role.STOP)
    stage.hear(PositionSeen(stage.now + 1, XRP_LONG, D(700), D("2.5")))
    stage.wait(6_000)
    assert stage.flat()
    stage.wait(4_000)
    assert stage.resting() == []


def test_lost_answer_to_a_close_is_looked_up_not_repeated() -> None:
    stage = guarded()
    stage.fault(-2021, PlaceStop, role=Role.STOP)
    stage.fault("lost after", ReduceAtMarket)
    stage.go("2.5273")
    stage.wait(10_000)
    assert stage.quantity() == 0
    assert len(reduces(stage)) == 1


# flat


def test_one_empty_read_is_not_flat() -> None:
    stage = guarded()
    stage.empty_reads = 1
    stage.wait(1_000)
    stage.start()
    stage.wait(5_000)
    assert stage.episode().phase is Phase.GUARDED
    assert len(stage.stops()) == 1


def test_two_empty_reads_are_not_flat() -> None:
    stage = guarded()
    stage.wait(1_000)
    stage.empty_reads = 2
    stage.start()
    stage.wait(5_000)
    assert stage.episode().phase is Phase.GUARDED


def test_three_agreeing_reads_are_flat() -> None:
    stage = guarded()
    stage.lose_user_events()
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.wait(1_000)
    stage.start()
    assert stage.episode().phase is Phase.GUARDED
    stage.wait(8_000)
    assert stage.flat()
    stage.wait(4_000)
    assert stage.resting() == []


def test_three_wrong_reads_are_made_good_by_the_first_right_one() -> None:
    stage = guarded()
    stage.wait(2_000)
    stage.empty_reads = 3
    stage.start()
    stage.wait(5_000)
    assert stage.state.lives[XRP_LONG] == 2
    assert stage.episode().protected
    assert len(stage.stops()) == 1


def test_our_own_arithmetic_is_not_flat_until_the_exchange_says_so() -> None:
    stage = guarded()
    stage.distort = lambda events: [e for e in events if not isinstance(e, PositionSeen)]
    stage.go("2.6")
    assert stage.episode().phase is Phase.GUARDED
    assert stage.episode().quantity == 0
    stage.wait(4_000)
    assert stage.flat()
    assert stage.told(NoteKind.CLOSED)[0].data["quantity"] == 800


def test_explicit_flat_ends_at_once_when_everything_is_explained() -> None:
    stage = guarded()
    stage.go("2.6")
    assert stage.told(NoteKind.CLOSED)[0].at == stage.now


def test_flat_told_before_its_fills_waits_for_them() -> None:
    stage = guarded()
    held: list[object] = []
    stage.distort = lambda events: [e for e in events if isinstance(e, PositionSeen) or held.append(e)]
    stage.go("2.46")
    assert stage.told(NoteKind.CLOSED) == []
    stage.distort = lambda events: events
    stage.hear(*held)  # type: ignore[arg-type]
    closed = stage.told(NoteKind.CLOSED)[0]
    assert (closed.reason, closed.data["quantity"]) == ("stop", 800)
    assert closed.data["pnl"] == (D("2.46") - D("2.5")) * 800 - D("2.46") * 800 * D("0.0005")


def test_fills_that_never_come_are_told_by_the_orders_themselves() -> None:
    stage = guarded()
    stage.distort = lambda events: [e for e in events if isinstance(e, PositionSeen)]
    stage.go("2.46")
    stage.wait(3_000)
    closed = stage.told(NoteKind.CLOSED)[0]
    assert (closed.reason, closed.data["quantity"]) == ("stop", 800)
    assert closed.data["pnl"] == (D("2.46") - D("2.5")) * 800 - D("2.46") * 800 * D("0.0005")


def test_i11_nothing_of_ours_rests_five_seconds_after_flat() -> None:
    stage = guarded()
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.wait(5_000)
    assert stage.resting() == []
    stage.wait(10_000)
    assert stage.state.episodes == {}


def test_liquidation_ends_the_episode_with_its_name() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.open(margin="ISOLATED")
    for order in stage.resting():
        stage.venue.jam(order.client_id)
    stage.go("2.2", "2.2")
    stage.wait(3_000)
    assert stage.quantity() == ZERO
    assert stage.told(NoteKind.CLOSED)[0].reason == "liquidation"


def test_new_position_after_a_close_is_a_new_life() -> None:
    stage = guarded()
    first = stage.episode().generation
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.open()
    stage.wait(5_000)
    assert stage.episode().generation != first
    assert stage.state.lives[XRP_LONG] == 2
    assert len(stage.told(NoteKind.CLOSED)) == 1
    # The stop that rests already is the one the new life wants: it stays.
    assert {o.client_id[4:14] for o in stage.resting() if "-s-" not in o.client_id} == {stage.episode().generation}
    assert (len(stage.stops()), len(stage.backstops())) == (1, 1)
    assert sum(quantity for _, quantity in stage.targets()) == 800
