"""Positions found in any state: in profit, in loss, without inputs, beside foreign orders, too small."""

from dataclasses import replace
from decimal import Decimal

import pytest
from stage import XRP_LONG, XRP_SHORT, Stage

from tpctl.adapters.binance_map.account import positions
from tpctl.exits.decide import step
from tpctl.exits.episode import LegStatus, Phase, Scope, State
from tpctl.exits.events import Answered, PositionSeen, Snapshot, Tick, Unknown
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Unavailable
from tpctl.exits.intents import CancelOrder, ReadAccount, ReduceAtMarket
from tpctl.exits.model import Book, NoteKind, PositionMode, Regime
from tpctl.exits.rules import ExecutionRules, ExitRules
from tpctl.exits.snapshot import AGREEING_READS
from tpctl.venue.venue import Terms

D = Decimal
EXACT = Terms(half_spread_ticks=0, impact_bps=D(0))
ONE_WAY_STOP = {"symbol": "XRPUSDT", "side": "SELL", "type": "STOP_MARKET", "workingType": "MARK_PRICE"}


def before_start(side: str = "LONG", **execution: object) -> Stage:
    """Return a stage with a position nobody guards yet."""
    stage = Stage({"XRPUSDT": "2.5"}, rules=ExitRules(execution=ExecutionRules(**execution)), terms=EXACT)
    stage.distort = lambda events: []
    stage.open(side)
    stage.distort = lambda events: events
    return stage


def test_found_position_is_protected_at_once() -> None:
    stage = before_start()
    stage.start()
    assert (len(stage.stops()), len(stage.backstops()), len(stage.targets())) == (1, 1, 3)
    assert stage.episode().naked_ms == 0


def test_first_plan_knows_the_profit_from_the_context_mark() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.open()
    assert stage.episode().mark == D("2.5")
    assert "unrealised PnL unavailable" not in str(stage.told(NoteKind.PLANNED)[0].data["reasons"])


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
def test_targets_passed_before_adoption_are_taken_in_one_reduce(side: str) -> None:
    stage = before_start(side)
    stage.go("2.55" if side == "LONG" else "2.45")
    stage.start()
    assert [i.quantity for i in stage.sent if isinstance(i, ReduceAtMarket)] == [600]
    key = XRP_LONG if side == "LONG" else XRP_SHORT
    assert [leg.status for leg in stage.episode(key).legs] == [LegStatus.HIT, LegStatus.HIT, LegStatus.WAITING]
    assert [a.leg for a in stage.attempts] == [1, 2]
    assert stage.stops() == [D("2.5273") if side == "LONG" else D("2.4727")]


def test_targets_passed_before_adoption_are_skipped_where_the_rules_say_so() -> None:
    stage = before_start(if_crossed="skip")
    stage.go("2.55")
    stage.start()
    assert not any(isinstance(i, ReduceAtMarket) for i in stage.sent)
    assert [leg.status for leg in stage.episode().legs] == [LegStatus.SKIPPED, LegStatus.SKIPPED, LegStatus.WAITING]
    assert stage.targets() == [(D("2.5728"), D(800))], "the next level takes over their size"
    assert stage.attempts == []


def test_stop_passed_before_adoption_is_measured_from_the_mark_with_a_warning_not_closed() -> None:
    stage = before_start()
    stage.go("2.44")
    stage.start()
    assert stage.quantity() == 800
    assert stage.stops()
    assert stage.stops()[0] < D("2.44")
    assert "stop measured from the mark" in str(stage.told(NoteKind.PLANNED)[0].data["reasons"])


def test_without_leverage_a_close_position_stop_rests_and_it_is_said_once() -> None:
    stage = before_start()
    stage.context = replace(stage.context, leverage=Unavailable("not read"))
    stage.start()
    stage.wait(20_000)
    assert len(stage.backstops()) == 1
    assert stage.stops() == []
    assert len([n for n in stage.told(NoteKind.DEGRADED) if "no plan" in n.reason]) == 1
    stage.context = replace(stage.context, leverage=D(20))
    stage.wait(35_000)
    assert len(stage.targets()) == 3
    assert len(stage.backstops()) == 1


def test_context_that_never_came_is_asked_for_again() -> None:
    stage = before_start()
    stage.lost_contexts = 2
    stage.start()
    stage.wait(6_000)
    assert len(stage.stops()) == 1


def test_context_lost_after_an_addition_is_asked_for_again() -> None:
    stage = before_start()
    stage.start()
    stage.go("2.51")
    stage.lost_contexts = 1
    stage.act(lambda venue: venue.add_position("XRPUSDT", "LONG", quantity=D(100)))
    stage.wait(4_000)
    assert stage.episode().phase is Phase.GUARDED
    assert sum(quantity for _, quantity in stage.targets()) == 900


def test_position_below_the_smallest_order_gets_a_close_position_stop() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.instruments["XRPUSDT"] = replace(stage.instruments["XRPUSDT"], min_quantity=D(10), market_min_quantity=D(10))
    stage.start()
    stage.act(lambda venue: venue.open_position("XRPUSDT", "LONG", quantity=D("4"), leverage=20))
    stage.wait(5_000)
    assert len(stage.backstops()) == 1
    assert stage.stops() == []
    assert stage.episode().protected


def test_excluded_symbol_is_left_alone() -> None:
    stage = before_start()
    stage.state = replace(stage.state, scope=Scope(excluded=frozenset({"XRPUSDT"})))
    stage.start()
    stage.wait(5_000)
    assert (stage.sent, stage.state.episodes) == ([], {})


# foreign orders (I12)


def foreign(stage: Stage, client_id: str, **params: str) -> None:
    order = {**ONE_WAY_STOP, "algoType": "CONDITIONAL", "clientAlgoId": client_id, **params}
    stage.act(lambda venue: venue.new_algo_order(order))


def test_foreign_close_position_stop_counts_and_is_never_doubled_or_touched() -> None:
    stage = before_start()
    foreign(stage, "app-1", triggerPrice="2.40", closePosition="true")
    stage.start()
    stage.wait(3_000)
    assert stage.backstops() == []
    assert len(stage.stops()) == 1
    assert not stage.venue.rejected, "no -4130"
    assert [o.client_id for o in stage.episode().foreign] == ["app-1"]
    stage.go("2.5273", "2.5455", "2.5728")
    assert all(i.client_id.startswith("tp1-") for i in stage.sent)


def test_foreign_stop_that_goes_away_is_replaced_by_our_backstop() -> None:
    stage = before_start()
    foreign(stage, "app-1", triggerPrice="2.40", closePosition="true")
    stage.start()
    stage.act(lambda venue: venue.cancel_algo_order({"clientAlgoId": "app-1"}))
    assert len(stage.backstops()) == 1


def test_foreign_close_position_stop_nobody_told_about_is_found_by_its_refusal() -> None:
    stage = before_start()
    stage.start()
    stage.venue.drop(stage.orders(Role.BACKSTOP)[0].client_id)
    stage.distort = lambda events: [e for e in events if "app-1" not in str(e)]
    foreign(stage, "app-1", triggerPrice="2.40", closePosition="true")
    stage.wait(40_000)
    assert [row.code for row in stage.venue.rejected] == [-4130]
    assert [o.client_id for o in stage.episode().foreign] == ["app-1"]


def test_foreign_take_profit_does_not_count_as_protection() -> None:
    stage = before_start()
    foreign(stage, "app-2", type="TAKE_PROFIT_MARKET", triggerPrice="2.60", closePosition="true")
    stage.start()
    assert len(stage.backstops()) == 1


# an earlier run whose memory is lost


def test_lost_state_directory_keeps_the_orders_and_never_loosens_the_stop() -> None:
    stage = before_start()
    stage.start()
    stage.go("2.5273")
    tight = stage.stops()
    resting = {o.client_id for o in stage.resting() if "-b-" in o.client_id or "-s-" in o.client_id}
    stage.restart(forget=True)
    stage.wait(3_000)
    assert stage.stops() == tight
    assert resting <= {o.client_id for o in stage.resting()}
    assert sum(quantity for _, quantity in stage.targets()) == 480
    cancelled = {i.client_id for i in stage.sent if isinstance(i, CancelOrder)}
    assert not resting & cancelled


def test_lost_state_directory_with_no_position_left_sweeps_its_orders_after_three_reads() -> None:
    stage = before_start()
    stage.start()
    stage.distort = lambda events: []
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.restart(forget=True)
    stage.distort = lambda events: events
    assert stage.resting(), "one read is not enough"
    stage.wait(5_000)
    assert stage.resting() == []


@pytest.mark.parametrize("explained", [False, True])
def test_an_orphan_whose_cancel_may_not_have_arrived_is_cancelled_again_by_the_next_read(explained: bool) -> None:
    stage = before_start()
    stage.start()
    (row,) = positions(stage.venue.position_risk_v3({}))
    name = next(order.client_id for order in stage.resting() if "-t1-" in order.client_id)
    lost = step(
        State(stage.state.account, stage.state.rules), Answered(10, XRP_LONG, name, Unknown("late"), cancel=True)
    )
    assert [type(intent) for intent in lost.intents] == [ReadAccount]
    held = (row,) if explained else ()
    earlier = step(lost.state, Snapshot(10, PositionMode.ONE_WAY, held, ()))
    later = step(earlier.state, Snapshot(11, PositionMode.ONE_WAY, held, ()))

    again = [intent for intent in earlier.intents + later.intents if isinstance(intent, CancelOrder)]
    expected = [] if explained else [CancelOrder(XRP_LONG, name, Book.ALGO, "no position is left for it")]
    assert again == expected
    assert later.state.orphans == {}


def test_one_empty_read_at_a_start_without_memory_cancels_no_protection() -> None:
    stage = before_start()
    stage.start()
    stage.empty_reads = 1
    stage.restart(forget=True)
    stage.wait(5_000)
    assert len(stage.stops()) == 1
    assert stage.episode().protected
    assert not any("-s-" in i.client_id for i in stage.sent if isinstance(i, CancelOrder))


def test_regime_is_taken_into_the_plan() -> None:
    stage = before_start()
    stage.context = replace(stage.context, regime=Regime.TRENDING)
    stage.start()
    assert [quantity for _, quantity in stage.targets()] == [160, 240, 400]


def test_a_zero_of_the_same_millisecond_heard_again_ends_nothing() -> None:
    """A position opened by hand is told twice at once, margin first: the older statement may come a second time."""
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.open()
    found, resting = stage.episode(), stage.resting()
    stage.hear(PositionSeen(found.changed_at, XRP_LONG, D(0), D(0)))
    stage.wait(60_000)

    assert stage.resting() == resting
    assert (stage.episode().generation, stage.episode().quantity) == (found.generation, found.quantity)
    assert stage.told(NoteKind.CLOSED) == []


def test_a_size_on_the_way_to_a_close_heard_again_begins_nothing() -> None:
    """A gap takes all targets in one millisecond, each size is told, and one may come again (reliability W1)."""
    stage = before_start()
    stage.start()
    stage.go("2.7")
    closed, sent = stage.state.episodes[XRP_LONG], len(stage.sent)
    assert closed.phase is Phase.FLAT
    stage.hear(PositionSeen(closed.changed_at, XRP_LONG, D(320), closed.entry))
    stage.wait(60_000)

    assert [type(intent) for intent in stage.sent[sent:]] == []
    assert len(stage.told(NoteKind.CLOSED)) == len(stage.told(NoteKind.ADOPTED)) == 1


def test_a_position_opened_in_the_millisecond_of_a_close_at_the_same_entry_is_found_by_the_read() -> None:
    stage = before_start()
    stage.start()
    (row,) = positions(stage.venue.position_risk_v3({}))
    stage.go("2.7")
    closed = stage.state.episodes[XRP_LONG]
    told = step(stage.state, PositionSeen(closed.changed_at, XRP_LONG, row.quantity, row.entry_price))
    assert told.intents == (ReadAccount("a size of a position that is closed was told"),)
    read = replace(row, updated_at=closed.changed_at)
    found = step(told.state, Snapshot(stage.now, PositionMode.ONE_WAY, (read,), ())).state.episodes[XRP_LONG]

    assert found.generation != closed.generation
    assert (found.phase, found.quantity) == (Phase.ADOPTING, row.quantity)


def test_a_zero_of_the_same_millisecond_that_comes_late_is_believed_to_the_reads_alone() -> None:
    """What a read shows decides: nothing is withdrawn for a statement that may be the older one (I1)."""
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.open()
    found = stage.episode()
    told = step(stage.state, PositionSeen(found.changed_at, XRP_LONG, D(0), D(0)))
    assert told.intents == (ReadAccount("a size and zero were told of one moment"),)
    state = step(told.state, Tick(found.changed_at + 3_000)).state
    assert state.episodes[XRP_LONG].phase is found.phase
    for number in range(AGREEING_READS + 1):
        state = step(state, Snapshot(found.changed_at + 4_000 + number, PositionMode.ONE_WAY, (), ())).state
    state = step(state, Tick(found.changed_at + 9_000)).state
    assert state.episodes[XRP_LONG].phase is Phase.FLAT


def test_the_stop_of_the_last_life_stays_until_the_new_life_has_its_own() -> None:
    """What looked like a close and an opening may be one position: it is covered at every moment (I1, I5)."""
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.open()
    found = stage.episode()
    (row,) = positions(stage.venue.position_risk_v3({}))
    covered: list[bool] = []
    stage.after_step = lambda *_: covered.append(bool(stage.stops() or stage.backstops()))
    stage.hear(
        PositionSeen(found.position_at + 1, XRP_LONG, D(0), D(0)),
        Snapshot(found.position_at + 3, PositionMode.ONE_WAY, (replace(row, updated_at=found.position_at + 2),), ()),
    )
    stage.wait(10_000)

    new = stage.episode()
    assert new.generation != found.generation
    assert all(covered)
    assert new.naked_ms == 0
    assert {o.client_id.split("-")[1] for o in stage.resting() if "-s-" not in o.client_id} == {new.generation}
    assert (len(stage.stops()), len(stage.backstops()), len(stage.targets())) == (1, 1, 3)


def test_a_life_that_ends_on_earlier_evidence_than_it_began_on_has_no_negative_length() -> None:
    """A read is stamped when it began: opened, closed and opened again within a moment, the ends come out of order."""
    stage = before_start()
    stage.start()
    found = stage.episode()
    (row,) = positions(stage.venue.position_risk_v3({}))
    gone = step(stage.state, PositionSeen(found.position_at + 1, XRP_LONG, D(0), D(0)))
    again = replace(row, updated_at=found.position_at + 2)
    ended = step(gone.state, Snapshot(found.opened_at - 19, PositionMode.ONE_WAY, (again,), ()))

    (closed,) = [note for note in ended.notes if note.kind is NoteKind.CLOSED]
    assert closed.data["duration_ms"] == 0
    assert {(attempt.entry_time, attempt.exit_time) for attempt in ended.attempts} == {(found.opened_at,) * 2}
    assert ended.state.episodes[XRP_LONG].generation != found.generation
