"""Orders against what is wanted: replacing, refusals, partial fills, slices."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from stage import XRP_LONG, XRP_SHORT, Stage

from tpctl.adapters.binance_map.orders import algo_order
from tpctl.exits.decide import step
from tpctl.exits.episode import LegStatus, OrderState, Phase
from tpctl.exits.events import ContextRead, OrderLookedUp, OrderSeen, PositionSeen
from tpctl.exits.ids import Role
from tpctl.exits.intents import CancelOrder, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import NoteKind, OrderStatus
from tpctl.exits.rules import ExecutionRules, ExitRules
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Terms

D = Decimal
EXACT = Terms(half_spread_ticks=0, impact_bps=D(0))


def guarded(**more: object) -> Stage:
    stage = Stage({"XRPUSDT": "2.5"}, **{"terms": EXACT, **more})  # type: ignore[arg-type]
    stage.start()
    stage.open()
    return stage


def test_i5_old_stop_is_cancelled_only_after_the_new_one_was_seen_resting() -> None:
    stage = guarded()
    old = stage.orders(Role.STOP)[0].client_id
    told = []
    stage.before_send = lambda intent: told.append((type(intent), {o.client_id for o in stage.resting()}))
    stage.go("2.5273")
    new = stage.orders(Role.STOP)[-1].client_id
    cancels = [resting for kind, resting in told if kind is CancelOrder]
    assert [kind for kind, _ in told] == [PlaceStop, CancelOrder]
    assert {old, new} <= cancels[0]


def test_i5_acknowledgement_alone_does_not_confirm_a_new_stop() -> None:
    stage = guarded()
    stage.go("2.52")
    stage.distort = lambda events: [e for e in events if not (isinstance(e, OrderSeen) and "-s-" in e.order.client_id)]
    stage.go("2.5273")
    assert len(stage.stops()) == 2, "both rest until evidence other than the answer came"
    stage.wait(3_000)
    assert len(stage.stops()) == 1, "the query after the read lag was evidence"


def test_i1_take_profits_wait_for_a_stop() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.fault(-1008, PlaceStop, times=4)
    stage.open()
    assert not any(isinstance(intent, PlaceTakeProfit) for intent in stage.sent)
    stage.wait(5_000)
    assert len(stage.stops()) == 1
    assert len(stage.targets()) == 3


@pytest.mark.parametrize("code", [-1111, -4014, -4045, -1008])
def test_refused_stop_is_retried_with_growing_waits(code: int) -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.fault(code, PlaceStop, role=Role.STOP, times=3)
    stage.open()
    stage.wait(10_000)
    tried = [note.at for note in stage.told(NoteKind.PLACED) if note.data["order"] == "stop"]
    assert len(tried) == 4
    gaps = [after - before for before, after in pairwise(tried)]
    assert gaps == sorted(gaps)
    assert gaps[0] >= 500
    assert stage.stops() == [D("2.4700")]


def test_stale_rules_are_read_again_and_levels_put_on_the_new_grid() -> None:
    stage = guarded()
    coarse = replace(stage.instruments["XRPUSDT"], tick=D("0.001"))
    stage.instruments["XRPUSDT"] = coarse
    stage.fault(-4014, PlaceStop, role=Role.STOP)
    stage.go("2.5273")
    stage.wait(3_000)
    assert stage.episode().stop == D("2.503"), "tighter, not looser"
    assert stage.stops() == [D("2.503")]
    assert [trigger for trigger, _ in stage.targets()] == [D("2.545"), D("2.572")]


def test_rules_read_for_one_side_are_followed_on_the_other() -> None:
    """In hedge mode one read tells both positions of a symbol (I16): neither is sent on a grid known to be old."""
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT, hedge=True)
    stage.start()
    stage.open("LONG")
    stage.open("SHORT")
    long = stage.state.episodes[XRP_LONG]
    assert long.instrument is not None
    coarse = replace(long.instrument, tick=D("0.01"))
    stage.hear(ContextRead(stage.now, XRP_SHORT, coarse, stage.context))

    told = stage.state.episodes[XRP_LONG]
    assert told.instrument == coarse
    assert told.stop is not None
    assert told.stop % D("0.01") == 0
    assert told.stop >= (long.stop or 0)
    assert [leg.trigger % D("0.01") for leg in told.legs] == [0] * len(long.legs)


def test_rules_read_for_one_side_leave_the_levels_of_a_side_that_seems_gone() -> None:
    """What seems gone may be there after all: its take-profits are not given up for a size of zero."""
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT, hedge=True)
    stage.start()
    stage.open("LONG")
    stage.open("SHORT")
    gone = step(stage.state, PositionSeen(stage.now + 1, XRP_LONG, D(0), D(0))).state
    long = gone.episodes[XRP_LONG]
    assert (long.phase, long.quantity, long.instrument is None) == (Phase.GUARDED, 0, False)
    assert long.instrument is not None
    coarse = replace(long.instrument, tick=D("0.01"))
    told = step(gone, ContextRead(stage.now + 2, XRP_SHORT, coarse, stage.context))

    assert told.state.episodes[XRP_LONG].legs == long.legs
    assert [note for note in told.notes if note.kind is NoteKind.DEGRADED] == []


@pytest.mark.parametrize("rule", [{"min_quantity": D(7)}, {"tick": D("0.01")}])
def test_every_rule_read_for_one_side_is_known_to_the_other(rule: dict[str, object]) -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT, hedge=True)
    stage.start()
    stage.open("LONG")
    stage.open("SHORT")
    known = stage.state.episodes[XRP_LONG].instrument
    assert known is not None
    changed = replace(known, **rule)  # type: ignore[arg-type]
    told = step(stage.state, ContextRead(stage.now, XRP_SHORT, changed, stage.context))
    assert told.state.episodes[XRP_LONG].instrument == changed


def test_stop_accepted_and_then_rejected_is_there_again_within_two_seconds() -> None:
    stage = guarded()
    rejected = stage.orders(Role.STOP)[0]
    stage.venue.drop(rejected.client_id)
    stage.settle()
    stage.wait(2_000)
    assert stage.stops() == [D("2.4700")]
    assert stage.orders(Role.STOP)[-1].client_id != rejected.client_id
    assert stage.episode().naked_ms == 0, "the backstop held all the time"


def test_operator_who_cancels_our_stop_gets_it_back() -> None:
    stage = guarded()
    stage.act(lambda venue: venue.cancel_algo_order({"clientAlgoId": stage.orders(Role.STOP)[0].client_id}))
    stage.wait(2_000)
    assert stage.stops() == [D("2.4700")]


def test_stop_that_keeps_vanishing_is_not_placed_again_every_second() -> None:
    stage = guarded()
    for _ in range(60):
        for order in stage.resting():
            if "-s-" in order.client_id:
                stage.venue.drop(order.client_id)
        stage.wait(1_000)
    assert sum(isinstance(i, PlaceStop) and i.quantity is not None for i in stage.sent) < 12


def test_stop_without_room_takes_the_place_of_the_farthest_target() -> None:
    stage = guarded()
    stage.fault(-4045, PlaceStop, times=2)
    for order in stage.resting():
        if "-s-" in order.client_id or "-b-" in order.client_id:
            stage.venue.drop(order.client_id)
    stage.settle()
    stage.wait(1_000)
    assert any(isinstance(i, CancelOrder) and "-t3-" in i.client_id for i in stage.sent)
    stage.wait(3_000)
    assert len(stage.stops()) == 1


# fills


def test_partly_filled_target_keeps_its_remainder_and_counts_once() -> None:
    stage = guarded(terms=Terms(half_spread_ticks=0, impact_bps=D(0), depth=D(2_100)))
    stage.venue.core.terms = Terms(half_spread_ticks=0, impact_bps=D(0), depth=D(400))
    stage.go("2.5273")
    leg = stage.episode().legs[0]
    assert 0 < leg.filled < leg.quantity
    assert leg.status is LegStatus.WAITING
    assert stage.stops() == [D("2.4700")], "not before the leg is done"
    stage.go("2.5273", "2.5273")
    assert stage.episode().legs[0].status is LegStatus.HIT
    assert [a.leg for a in stage.attempts] == [1]
    assert stage.attempts[0].quantity == 320


def test_crossed_targets_are_taken_in_one_netted_reduce_after_their_orders_were_lost() -> None:
    stage = guarded(rules=ExitRules(execution=ExecutionRules(take_profit="software")))
    stage.go("2.55")
    reduces = [i for i in stage.sent if isinstance(i, ReduceAtMarket)]
    assert [i.quantity for i in reduces] == [600]
    assert [leg.status for leg in stage.episode().legs] == [LegStatus.HIT, LegStatus.HIT, LegStatus.WAITING]


def test_software_targets_rest_nothing_and_each_fires_once() -> None:
    stage = guarded(rules=ExitRules(execution=ExecutionRules(take_profit="software")))
    assert stage.targets() == []
    stage.go("2.5273", "2.5273", "2.5455", "2.5728")
    assert stage.quantity() == 0
    assert [a.leg for a in stage.attempts] == [1, 2, 3]


def test_software_target_fires_even_where_planned_levels_already_passed_are_skipped() -> None:
    stage = guarded(rules=ExitRules(execution=ExecutionRules(take_profit="software", if_crossed="skip")))
    stage.go("2.5273")
    assert stage.quantity() == 480


def test_refused_reduce_is_waited_out_not_hammered() -> None:
    stage = guarded(rules=ExitRules(execution=ExecutionRules(take_profit="software")))
    stage.fault(-4131, ReduceAtMarket, times=2)
    stage.go("2.5273")
    assert sum(isinstance(i, ReduceAtMarket) for i in stage.sent) == 1
    stage.wait(4_000)
    assert stage.quantity() == 480
    assert [a.leg for a in stage.attempts] == [1]


def test_target_the_exchange_says_is_passed_is_taken_at_market() -> None:
    stage = guarded()
    stage.go("2.52")
    stage.fault(-2021, PlaceTakeProfit)
    stage.venue.drop(stage.orders(Role.TAKE_PROFIT)[0].client_id)
    stage.wait(2_000)
    assert stage.quantity() == 480
    assert [a.leg for a in stage.attempts] == [1]
    stage.wait(3_000)
    assert sum(isinstance(i, ReduceAtMarket) for i in stage.sent) == 1


def test_finished_without_a_fill_is_no_fill() -> None:
    stage = guarded()
    target = stage.orders(Role.TAKE_PROFIT)[0]
    algo = stage.venue.get_algo_order({"clientAlgoId": target.client_id})
    finished = replace(algo_order(algo), status=OrderStatus.FINISHED, updated_at=stage.now)
    stage.hear(OrderSeen(stage.now, finished))
    assert stage.orders(Role.TAKE_PROFIT)[0].state is OrderState.WORKING
    assert stage.episode().legs_hit == 0
    assert stage.attempts == []


# sizes


def small_lots(maximum: str) -> Stage:
    """Return a stage whose market orders may not exceed `maximum` XRP."""
    book = builtin_rules()
    symbols = {**book.symbols, "XRPUSDT": replace(book.symbols["XRPUSDT"], market_max_quantity=D(maximum))}
    stage = Stage({"XRPUSDT": "2.5"}, book=replace(book, symbols=symbols), terms=EXACT)
    stage.instruments["XRPUSDT"] = replace(stage.instruments["XRPUSDT"], market_max_quantity=D(maximum))
    stage.start()
    for _ in range(3):
        stage.open(notional=1_500)
        stage.wait(4_000)
    return stage


def test_position_above_the_largest_market_order_is_guarded_in_slices() -> None:
    stage = small_lots("700")
    assert stage.quantity() == 1_800
    stops = [o.quantity for o in stage.resting() if "-s-" in o.client_id]
    assert sorted(stops) == [600, 600, 600]
    assert stage.venue.rejected == []


def test_position_above_the_largest_market_order_closes_in_slices() -> None:
    stage = small_lots("700")
    stage.fault(-2021, PlaceStop, role=Role.STOP)
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG", D("0.1")))
    assert stage.quantity() == 0
    assert [row.quantity for row in stage.venue.ledger.fills if "-r-" in row.client_id] == [540, 540, 540]


def test_orders_that_came_to_nothing_are_forgotten_in_time() -> None:
    stage = guarded()
    for _ in range(40):
        for order in stage.resting():
            if "-s-" in order.client_id:
                stage.venue.drop(order.client_id)
        stage.wait(31_000)
    assert len(stage.episode(XRP_LONG).orders) < 40


def test_what_was_refused_for_its_grid_waits_for_the_rules_to_be_read() -> None:
    stage = guarded()
    stage.fault(-4014, PlaceStop, role=Role.STOP, times=2)
    stage.lost_contexts = 100

    def stops_tried() -> int:
        return sum(note.reason == "breakeven" for note in stage.told(NoteKind.PLACED))

    stage.go("2.5273")
    assert stops_tried() == 1
    stage.wait(4_000)
    assert stops_tried() == 1, "the same order would be refused again"
    stage.wait(2_000)
    assert stops_tried() == 2, "rules that cannot be read are not waited for"
    stage.lost_contexts = 0
    stage.wait(3_000)
    assert stops_tried() == 3
    assert len(stage.stops()) == 1


def test_an_order_whose_answer_is_to_come_is_not_taken_for_absent() -> None:
    stage = guarded()
    own = stage.orders(Role.STOP)[0]
    waiting = replace(own, state=OrderState.SENT, acked_at=None, sent_at=stage.now)
    episode = stage.episode()
    orders = tuple(waiting if order is own else order for order in episode.orders)
    stage.state = replace(stage.state, episodes={XRP_LONG: replace(episode, orders=orders)})
    for after in (3_000, 9_000, 20_000):
        stage.hear(OrderLookedUp(stage.now + after, XRP_LONG, own.client_id, None))
    assert stage.orders(Role.STOP)[0].state is OrderState.SENT


def test_reads_right_after_an_answer_do_not_make_an_order_absent() -> None:
    stage = guarded()
    own = stage.orders(Role.STOP)[0]
    for after in (500, 1_000, 1_999):
        stage.hear(OrderLookedUp(own.settles_from + after, XRP_LONG, own.client_id, None))
    assert len(stage.told(NoteKind.PLACED)) == 5
    for after in (2_000, 2_500):
        stage.hear(OrderLookedUp(own.settles_from + after, XRP_LONG, own.client_id, None))
    assert "is not on the exchange" in stage.told(NoteKind.DEGRADED)[-1].reason


def test_what_was_refused_is_tried_again_when_the_exchange_answers_again() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.fault(-1008, PlaceStop, times=20)
    stage.open()
    stage.wait(20_000)
    stage.faults.clear()
    assert not stage.stops()
    stage.release()
    assert stage.stops() == [D("2.4700")]
