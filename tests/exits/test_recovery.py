"""Lost answers, lost events, deaths and restarts: nothing twice, nothing forgotten (I6, I9, I10, I23)."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from stage import LOST_AFTER, LOST_BEFORE, XRP_LONG, Stage

from tpctl.exits.draft import ABANDON_MS
from tpctl.exits.episode import OrderState, Phase
from tpctl.exits.ids import Role
from tpctl.exits.instrument import OrderKind
from tpctl.exits.intents import CancelOrder, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import NoteKind
from tpctl.exits.rules import ExecutionRules, ExitRules
from tpctl.venue.venue import Terms

D = Decimal
EXACT = Terms(half_spread_ticks=0, impact_bps=D(0))
LEVELS = [(D("2.5273"), D(320)), (D("2.5455"), D(280)), (D("2.5728"), D(200))]


def started(**execution: object) -> Stage:
    stage = Stage({"XRPUSDT": "2.5"}, rules=ExitRules(execution=ExecutionRules(**execution)), terms=EXACT)
    stage.start()
    return stage


def guarded(**execution: object) -> Stage:
    stage = started(**execution)
    stage.open()
    return stage


# lost answers (I10)


def test_request_lost_before_acceptance_is_sent_again_with_a_new_id_only_after_t_settle() -> None:
    stage = started()
    stage.fault(LOST_BEFORE, PlaceStop, role=Role.STOP)
    stage.open()
    first = stage.orders(Role.STOP)[0]
    assert first.state is OrderState.UNKNOWN
    stage.wait(ABANDON_MS)
    assert len(stage.orders(Role.STOP)) == 1
    stage.wait(3_000)
    second = stage.orders(Role.STOP)[-1]
    assert second.client_id != first.client_id
    assert second.sent_at - first.sent_at > ABANDON_MS
    assert len(stage.stops()) == 1


def test_backstop_guards_while_the_stop_is_unknown() -> None:
    stage = started()
    stage.fault(LOST_BEFORE, PlaceStop, role=Role.STOP)
    stage.open()
    assert stage.episode().protected
    assert len(stage.targets()) == 3


def test_answer_lost_after_acceptance_is_found_and_nothing_is_doubled() -> None:
    stage = started()
    stage.fault(LOST_AFTER, PlaceStop, PlaceTakeProfit, times=5)
    stage.open()
    stage.wait(15_000)
    assert (stage.targets(), len(stage.stops()), len(stage.backstops())) == (LEVELS, 1, 1)
    assert len([i for i in stage.sent if not isinstance(i, CancelOrder)]) == 5


def test_answer_lost_after_acceptance_is_found_without_any_user_event() -> None:
    stage = started()
    stage.open()
    stage.wait(3_000)
    stage.lose_user_events()
    stage.fault(LOST_AFTER, PlaceStop)
    stage.venue.drop(stage.orders(Role.STOP)[0].client_id)
    stage.start()
    stage.wait(12_000)
    assert len(stage.stops()) == 1


@pytest.mark.parametrize("outcome", [LOST_BEFORE, LOST_AFTER])
def test_lost_answer_to_a_reduce_freezes_its_legs_until_known(outcome: str) -> None:
    stage = guarded(take_profit="software")
    stage.fault(outcome, ReduceAtMarket)
    stage.go("2.5273")
    stage.wait(5_000)
    assert sum(isinstance(i, ReduceAtMarket) for i in stage.sent) == 1
    stage.wait(8_000)
    assert stage.quantity() == 480
    assert [a.leg for a in stage.attempts] == [1]


@pytest.mark.parametrize("outcome", [LOST_BEFORE, LOST_AFTER])
def test_lost_answer_to_a_cancel_leaves_one_stop_in_the_end(outcome: str) -> None:
    stage = guarded()
    stage.fault(outcome, CancelOrder)
    stage.go("2.5273")
    stage.wait(10_000)
    assert stage.stops() == [D("2.5026")]


# lost events (W3)


def test_target_filled_while_nobody_listened_is_found_by_the_next_read() -> None:
    stage = guarded()
    stage.wait(2_000)
    stage.lose_user_events()
    stage.go("2.5273")
    assert stage.episode().legs_hit == 0
    stage.distort = lambda events: events
    stage.start()
    stage.wait(3_000)
    assert stage.episode().legs_hit == 1
    assert stage.stops() == [D("2.5026")]
    assert stage.told(NoteKind.EXTERNAL) == []
    assert [(a.leg, a.quantity) for a in stage.attempts] == [(1, 320)]


def test_fee_that_never_came_is_reckoned_at_the_takers_rate() -> None:
    stage = guarded()
    stage.lose_user_events()
    stage.go("2.5273")
    stage.distort = lambda events: events
    stage.start()
    stage.wait(5_000)
    assert stage.attempts[0].profit_usd == D("0.0273") * 320 - D("2.5273") * 320 * D("0.0005")


def test_stop_that_vanished_unseen_is_there_again_after_a_read() -> None:
    stage = guarded()
    stage.lose_user_events()
    stage.venue.drop(stage.orders(Role.STOP)[0].client_id)
    stage.settle()
    stage.distort = lambda events: events
    stage.wait(3_000)
    stage.start()
    stage.wait(3_000)
    assert len(stage.stops()) == 1


# restarts: I6, I9


def phases() -> dict[str, Callable[[Stage], object]]:
    return {
        "planned": lambda stage: None,
        "first target hit": lambda stage: stage.go("2.5273"),
        "second target hit": lambda stage: stage.go("2.5273", "2.5455"),
        "trailing": lambda stage: stage.go("2.5273", "2.56"),
        "reduced by hand": lambda stage: stage.act(lambda v: v.close_position("XRPUSDT", "LONG", D("0.5"))),
        "added to": lambda stage: stage.act(lambda v: v.add_position("XRPUSDT", "LONG", quantity=D(100))),
        "stop unknown": lambda stage: (stage.fault(LOST_AFTER, PlaceStop), stage.go("2.5273")),
        "stop lost": lambda stage: (stage.fault(LOST_BEFORE, PlaceStop), stage.go("2.5273")),
        "cancel unknown": lambda stage: (stage.fault(LOST_AFTER, CancelOrder), stage.go("2.5273")),
        "closing": lambda stage: (
            stage.fault(-2021, PlaceStop),
            stage.fault(-4131, ReduceAtMarket, times=2),
            stage.go("2.5273"),
        ),
        "flat": lambda stage: stage.go("2.6"),
    }


def closed_by_us(stage: Stage) -> Decimal:
    return sum((row.quantity for row in stage.venue.ledger.fills if row.client_id.startswith("tp1-")), D(0))


@pytest.mark.parametrize("phase", phases())
@pytest.mark.parametrize("times", [1, 2])
def test_restart_in_every_phase_doubles_and_forgets_nothing(phase: str, times: int) -> None:
    stage, twin = guarded(), guarded()
    for one in (stage, twin):
        phases()[phase](one)
    for _ in range(times):
        stage.restart()
    for one in (stage, twin):
        one.wait(20_000)
        one.go("2.5728", "2.46")
        one.wait(12_000)
    assert stage.quantity() == twin.quantity() == 0
    assert stage.resting() == []
    assert [(a.id, a.outcome, a.quantity, a.exit_price) for a in stage.attempts] == [
        (a.id, a.outcome, a.quantity, a.exit_price) for a in twin.attempts
    ]
    assert closed_by_us(stage) == closed_by_us(twin)


def test_target_filled_while_dead_is_ours_and_counted_once() -> None:
    stage = guarded()
    stage.distort = lambda events: []
    stage.go("2.5273")
    stage.distort = lambda events: events
    stage.restart()
    stage.wait(3_000)
    assert stage.episode().legs_hit == 1
    assert stage.episode().quantity == 480
    assert stage.told(NoteKind.EXTERNAL) == []
    assert stage.attempts[0].profit_usd == D("0.0273") * 320 - D("2.5273") * 320 * D("0.0005")


def test_position_closed_while_dead_is_swept() -> None:
    stage = guarded()
    stage.distort = lambda events: []
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.distort = lambda events: events
    stage.restart()
    stage.wait(10_000)
    assert stage.flat()
    assert stage.resting() == []


@pytest.mark.parametrize("after", range(8))
def test_death_at_every_send_of_adoption_leaves_one_of_each(after: int) -> None:
    stage = started()
    stage.crash_after = after
    stage.open()
    stage.crash_after = None
    stage.wait(15_000)
    assert (stage.targets(), len(stage.stops()), len(stage.backstops())) == (LEVELS, 1, 1)


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("again", range(3))
def test_two_deaths_around_a_ratchet_leave_one_tighter_stop(after: int, again: int) -> None:
    stage = guarded()
    stage.crash_after = after
    stage.go("2.5273")
    stage.crash_after = again
    stage.wait(2_000)
    stage.crash_after = None
    stage.wait(15_000)
    assert stage.stops() == [D("2.5026")]
    assert stage.quantity() == 480
    assert [a.leg for a in stage.attempts] == [1]


@pytest.mark.parametrize("after", range(3))
def test_death_around_a_software_reduce_executes_the_leg_once(after: int) -> None:
    stage = guarded(take_profit="software")
    stage.crash_after = after
    stage.go("2.5273")
    stage.crash_after = None
    stage.wait(15_000)
    assert stage.quantity() == 480
    fills = [row for row in stage.venue.ledger.fills if "-r" in row.client_id]
    assert sum(row.quantity for row in fills) == 320


# shadow and HALT: I13


def test_i13_shadow_decides_everything_and_sends_nothing() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT, armed=False)
    stage.start()
    stage.open()
    stage.go("2.51", "2.5273", "2.56", "2.60")
    stage.wait(5_000)
    assert stage.sent == []
    assert len(stage.told(NoteKind.PLACED)) >= 5
    assert stage.resting() == []


def test_shadow_does_not_repeat_itself_on_every_mark() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT, armed=False)
    stage.start()
    stage.open()
    stage.go("2.53")
    told = len(stage.notes)
    stage.go(*["2.5301", "2.5302"] * 50)
    assert len(stage.notes) == told
    assert len(stage.episode().orders) < 20


def test_shadow_software_targets_are_told_once() -> None:
    rules = ExitRules(execution=ExecutionRules(take_profit="software"))
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT, armed=False, rules=rules)
    stage.start()
    stage.open()
    stage.go(*["2.5273", "2.5280"] * 20)
    closes = [note for note in stage.told(NoteKind.PLACED) if note.data["order"] == "close"]
    assert len(closes) == 1


def test_halt_withholds_new_targets_but_keeps_stops_and_release_places_them() -> None:
    stage = started()
    stage.halt = "test"
    stage.open()
    assert (len(stage.stops()), len(stage.backstops()), stage.targets()) == (1, 1, [])
    stage.wait(5_000)
    assert stage.targets() == []
    stage.release()
    assert stage.targets() == LEVELS


def test_halt_does_not_block_a_reduce_nor_a_ratchet() -> None:
    stage = guarded()
    stage.halt = "test"
    stage.go("2.5273")
    assert stage.stops() == [D("2.5026")]
    stage.fault(-2021, PlaceStop)
    stage.go("2.5455")
    assert stage.quantity() == 0


def test_restart_under_halt_then_release() -> None:
    stage = started()
    stage.halt = "test"
    stage.open()
    stage.restart()
    stage.wait(3_000)
    assert stage.targets() == []
    stage.release()
    assert stage.targets() == LEVELS


def test_i12_foreign_orders_survive_everything() -> None:
    stage = guarded()
    order = {
        "algoType": "CONDITIONAL",
        "symbol": "XRPUSDT",
        "side": "SELL",
        "type": "STOP_MARKET",
        "triggerPrice": "2.2",
        "quantity": "100",
        "reduceOnly": "true",
        "workingType": "MARK_PRICE",
        "clientAlgoId": "hand-1",
    }
    stage.act(lambda venue: venue.new_algo_order(order))
    stage.go("2.5273")
    stage.restart()
    stage.wait(3_000)
    stage.restart(forget=True)
    stage.wait(3_000)
    assert [o.kind for o in stage.episode().foreign] == [OrderKind.STOP_MARKET]
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.wait(20_000)
    assert [o.client_id for o in stage.resting()] == ["hand-1"]
    assert XRP_LONG not in stage.state.episodes or stage.episode().phase is Phase.FLAT
