"""What others do to the position: closing, adding, turning it round, changing leverage (I24: the operator wins)."""

from dataclasses import replace
from decimal import Decimal

import pytest
from stage import XRP_LONG, XRP_SHORT, Stage

from tpctl.exits.episode import LegStatus, Phase
from tpctl.exits.events import Filled, LeverageChanged, MarginChanged, ModeSeen, PositionSeen, Tick
from tpctl.exits.intents import CancelOrder, PlaceStop
from tpctl.exits.model import Fill, MarginMode, NoteKind, OrderSide, Outcome
from tpctl.venue.venue import Terms

D = Decimal
EXACT = Terms(half_spread_ticks=0, impact_bps=D(0))


def guarded(**more: object) -> Stage:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT, **more)  # type: ignore[arg-type]
    stage.start()
    stage.open()
    return stage


def test_manual_close_ends_the_episode_and_misses_every_leg() -> None:
    stage = guarded()
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.wait(3_000)
    assert stage.flat()
    assert stage.told(NoteKind.CLOSED)[0].reason == "another order"
    assert [(a.leg, a.outcome) for a in stage.attempts] == [(n, Outcome.MISS) for n in (1, 2, 3)]
    assert stage.resting() == []


def test_manual_partial_close_fits_the_stop_at_once_and_the_legs_in_their_proportions() -> None:
    stage = guarded()
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG", D("0.5")))
    assert [o.quantity for o in stage.resting() if "-s-" in o.client_id] == [400]
    stage.wait(4_000)
    assert [quantity for _, quantity in stage.targets()] == [160, 140, 100]
    assert [trigger for trigger, _ in stage.targets()] == [D("2.5273"), D("2.5455"), D("2.5728")], "levels stay"
    assert stage.told(NoteKind.EXTERNAL)[0].data["quantity"] == 400


def test_manual_partial_close_told_by_the_size_alone_is_believed_after_a_second_reading() -> None:
    stage = guarded()
    stage.distort = lambda events: [e for e in events if not isinstance(e, Filled)]
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG", D("0.5")))
    assert stage.episode().accounted == 800
    stage.wait(5_000)
    assert stage.episode().accounted == 400
    assert [quantity for _, quantity in stage.targets()] == [160, 140, 100]


def test_size_that_a_late_fill_explains_is_nobody_elses_act() -> None:
    stage = guarded()
    held: list[object] = []
    stage.distort = lambda events: [e for e in events if isinstance(e, PositionSeen) or held.append(e)]
    stage.go("2.5273")
    assert stage.episode().quantity == 480
    stage.distort = lambda events: events
    stage.hear(*held)  # type: ignore[arg-type]
    stage.wait(5_000)
    assert stage.told(NoteKind.EXTERNAL) == []
    assert stage.episode().legs_hit == 1


def test_addition_is_covered_first_and_planned_again_second() -> None:
    stage = guarded()
    stage.go("2.51")
    sent = len(stage.sent)
    stage.act(lambda venue: venue.add_position("XRPUSDT", "LONG", quantity=D(400)))
    first = stage.sent[sent]
    assert isinstance(first, PlaceStop)
    assert first.quantity == 1_200
    assert first.trigger >= D("2.4700"), "I4"
    assert sum(quantity for _, quantity in stage.targets()) == 1_200
    assert stage.episode().plans == 2
    assert len(stage.backstops()) == 1, "the backstop follows the size by itself"


def test_attempts_of_two_plans_have_different_ids() -> None:
    stage = guarded()
    stage.go("2.5273")
    stage.act(lambda venue: venue.add_position("XRPUSDT", "LONG", quantity=D(400)))
    stage.go("2.56", "2.60", "2.65")
    assert stage.flat()
    ids = [attempt.id for attempt in stage.attempts]
    assert len(ids) == len(set(ids)) == 4
    assert {i.split("-")[1] for i in ids} == {"1", "2"}


def test_addition_at_the_very_entry_price_is_recognised_within_five_seconds() -> None:
    stage = guarded()
    stage.act(lambda venue: venue.add_position("XRPUSDT", "LONG", quantity=D(400)))
    stage.wait(5_000)
    assert stage.episode().quantity == 1_200
    assert [o.quantity for o in stage.resting() if "-s-" in o.client_id] == [1_200]


def test_addition_below_never_closes_what_the_operator_just_bought() -> None:
    stage = guarded()
    stage.go("2.4720")
    stage.context = replace(stage.context, volatility=stage.context.volatility, confidence=D("0.95"))
    stage.act(lambda venue: venue.add_position("XRPUSDT", "LONG", quantity=D(2_000)))
    stage.wait(3_000)
    assert stage.quantity() == 2_800
    assert stage.episode().phase is Phase.GUARDED


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
def test_flip_ends_one_life_and_guards_the_other(side: str) -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.open(side)
    old, new = (XRP_LONG, XRP_SHORT) if side == "LONG" else (XRP_SHORT, XRP_LONG)
    first = stage.episode(old).generation
    stage.act(lambda venue: venue.flip_position("XRPUSDT"))
    assert stage.episode(new).protected
    stage.wait(4_000)
    assert stage.flat(old)
    assert {o.client_id[4:14] for o in stage.resting()} == {stage.episode(new).generation}
    assert first != stage.episode(new).generation
    closed = stage.told(NoteKind.CLOSED)[0]
    assert (closed.key, closed.data["quantity"]) == (old, 800)


def test_close_and_reopen_between_two_events_is_a_new_life() -> None:
    stage = guarded()
    first = stage.episode().generation
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.act(lambda venue: venue.open_position("XRPUSDT", "LONG", quantity=D(500), leverage=20))
    assert stage.episode().generation != first
    assert stage.episode().quantity == 500
    stage.wait(4_000)
    assert sum(quantity for _, quantity in stage.targets()) == 500


def test_leverage_change_reads_the_inputs_again_and_never_loosens() -> None:
    stage = guarded()
    stops = stage.stops()
    stage.hear(LeverageChanged(stage.now, "XRPUSDT", D(5)))
    stage.wait(2_000)
    assert stage.stops() == stops
    assert "leverage changed to 5x" in [note.reason for note in stage.told(NoteKind.EXTERNAL)]


def test_h4_liquidation_that_moved_inside_the_stop_tightens_it() -> None:
    stage = guarded()
    stage.context = replace(
        stage.context,
        leverage=D(75),
        margin=MarginMode.ISOLATED,
        brackets=stage.brackets["XRPUSDT"],
        wallet=D(30),
    )
    before = stage.stops()[0]
    stage.hear(LeverageChanged(stage.now, "XRPUSDT", D(75)))
    stage.wait(2_000)
    assert stage.stops()[0] > before


def test_h4_margin_that_was_taken_away_tightens_the_stop() -> None:
    stage = guarded()
    stage.context = replace(
        stage.context, margin=MarginMode.ISOLATED, brackets=stage.brackets["XRPUSDT"], wallet=D(30), leverage=D(75)
    )
    before = stage.stops()[0]
    stage.hear(MarginChanged(stage.now, "XRPUSDT"))
    stage.wait(2_000)
    assert stage.stops()[0] > before
    assert "margin changed" in [note.reason for note in stage.told(NoteKind.EXTERNAL)]


def test_h5_a_changed_position_mode_is_followed_within_one_event() -> None:
    """What is opened right after is protected at once: no order of the old mode goes out (-4061)."""
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.wait(3_000)
    for hedge in (True, False, True):
        stage.act(lambda venue, on=hedge: venue.change_position_mode({"dualSidePosition": str(on).lower()}))
        stage.open("LONG")
        if hedge:
            stage.open("SHORT")
        held = [episode for episode in stage.state.episodes.values() if episode.phase is not Phase.FLAT]
        assert len(held) == 1 + hedge
        assert all(episode.protected and episode.naked_ms == 0 for episode in held)
        assert {o.position_side for o in stage.resting()} == ({"LONG", "SHORT"} if hedge else {"BOTH"})
        for episode in held:
            stage.act(lambda venue, side=episode.key.side: venue.close_position("XRPUSDT", side.value.upper()))
        stage.wait(5_000)
        assert stage.resting() == []
    assert not stage.venue.rejected
    assert [n.reason for n in stage.told(NoteKind.EXTERNAL) if n.key is None] == [
        "position mode changed to hedge",
        "position mode changed to one-way",
        "position mode changed to hedge",
    ]


def test_h5_a_mode_that_no_event_told_is_read_when_the_exchange_refuses() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.wait(3_000)
    stage.distort = lambda events: [event for event in events if not isinstance(event, ModeSeen)]
    stage.act(lambda venue: venue.change_position_mode({"dualSidePosition": "true"}))
    stage.open("LONG")
    stage.wait(3_000)
    assert {each.code for each in stage.venue.rejected} == {-4061}
    assert stage.episode().protected


def test_leverage_read_that_never_came_is_asked_for_again() -> None:
    stage = guarded()
    stage.lost_contexts = 1
    stage.hear(LeverageChanged(stage.now, "XRPUSDT", D(5)))
    assert stage.episode().context_at is None
    stage.wait(4_000)
    assert stage.episode().context_at is not None


def test_hedge_mode_guards_both_sides_apart() -> None:
    stage = guarded(hedge=True)
    stage.open("SHORT")
    assert stage.episode(XRP_LONG).protected
    assert stage.episode(XRP_SHORT).protected
    assert {o.position_side for o in stage.resting()} == {"LONG", "SHORT"}
    stage.go("2.5273")
    assert stage.episode(XRP_LONG).legs_hit == 1
    stage.wait(3_000)
    stage.go("2.5350")
    assert stage.flat(XRP_SHORT), "its stop was hit"
    assert stage.episode(XRP_LONG).phase is Phase.GUARDED
    stage.wait(5_000)
    assert {o.position_side for o in stage.resting()} == {"LONG"}
    assert not stage.venue.rejected


def test_reduction_below_what_can_be_laddered_leaves_the_rest_to_the_stop() -> None:
    stage = guarded()
    stage.instruments["XRPUSDT"] = replace(
        stage.instruments["XRPUSDT"], min_quantity=D(100), market_min_quantity=D(100)
    )
    stage.hear(LeverageChanged(stage.now, "XRPUSDT", D(20)))
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG", D("0.85")))
    stage.wait(5_000)
    assert stage.episode().quantity == 120
    assert [quantity for _, quantity in stage.targets()] == [120]
    assert [leg.status for leg in stage.episode().legs].count(LegStatus.SKIPPED) == 2


def test_operator_acts_are_never_undone() -> None:
    stage = guarded()
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG", D("0.25")))
    stage.wait(30_000)
    assert stage.quantity() == 600
    assert all(isinstance(i, CancelOrder) or i.quantity is None or i.quantity <= 800 for i in stage.sent)


def test_i1_addition_whose_first_half_is_stopped_at_once_leaves_nothing_naked() -> None:
    stage = guarded()
    stage.venue.drop(stage.resting()[0].client_id)
    stage.settle()
    stage.distort = lambda events: [e for e in events if not isinstance(e, Filled)]
    stage.act(lambda venue: venue.add_position("XRPUSDT", "LONG", quantity=D(800)))
    assert sum(o.quantity for o in stage.resting() if "-s-" in o.client_id) == 1_600


def test_vanished_target_of_a_leg_that_no_longer_fits_waits_for_the_size() -> None:
    stage = guarded()
    stage.distort = lambda events: [e for e in events if not isinstance(e, Filled)]
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG", D("0.9")))
    stage.venue.drop(next(o.client_id for o in stage.resting() if "-t1-" in o.client_id))
    stage.wait(1_000)
    assert not [i for i in stage.sent if "-t1-" in i.client_id][1:], "320 of what may be 80"
    stage.wait(5_000)
    assert sum(quantity for _, quantity in stage.targets()) == 80
    assert not stage.venue.rejected


def test_executions_after_a_turn_keep_no_life_from_ending() -> None:
    """A thin book turns a position piece by piece: what comes after zero opens the other side, and closes nothing."""
    stage = guarded()
    stage.distort = lambda events: []
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.hear(PositionSeen(stage.now, XRP_LONG, D(0), D(0)))
    for number in range(4):
        stage.now += 1_000
        late = Fill("XRPUSDT", 900_000 + number, "77", "web_77", OrderSide.SELL, None, D(10), D("2.5"),
                    D("0.01"), "USDT", D(0), maker=False, at=stage.now)  # fmt: skip
        stage.hear(Filled(stage.now, late), Tick(stage.now))
    assert stage.flat()
    assert not [note for note in stage.told(NoteKind.EXTERNAL) if note.data.get("client_id") == "web_77"]
