"""The reducer's ordinary days: ladder, ratchet, stop, trail, and the quiet marks in between."""

from dataclasses import replace
from decimal import Decimal

import pytest
from stage import START, XRP_LONG, XRP_SHORT, Stage

from tpctl.exits.decide import step
from tpctl.exits.episode import Phase
from tpctl.exits.events import Filled, MarkPrice, OrderSeen, PositionSeen, Snapshot, StreamLost
from tpctl.exits.ids import Role
from tpctl.exits.intents import PlaceStop, ReadAccount
from tpctl.exits.model import LiveOrder, NoteKind, Outcome, PositionMode, Regime, WorkingType
from tpctl.exits.quiet import loud_first
from tpctl.exits.rules import ExecutionRules, ExitRules, LadderRules, TrailRules
from tpctl.exits.units import Ratio
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.venue import Terms

D = Decimal
# Fills at the price of the step itself, so that entries and levels are those of the vectors.
FLAT_SPREAD = Terms(half_spread_ticks=0, impact_bps=D(0))


def xrp(**execution: object) -> Stage:
    """Return a stage with the XRP position of exit-rules 1 and 7: 800 at 2.5, 20x."""
    stage = Stage({"XRPUSDT": "2.5"}, rules=ExitRules(execution=ExecutionRules(**execution)), terms=FLAT_SPREAD)
    stage.start()
    stage.open()
    return stage


def test_plan_rests_backstop_then_stop_then_forty_thirtyfive_twentyfive() -> None:
    stage = xrp()
    assert [(type(i).__name__, i.client_id[15:16]) for i in stage.sent] == [
        ("PlaceStop", "b"),
        ("PlaceStop", "s"),
        ("PlaceTakeProfit", "t"),
        ("PlaceTakeProfit", "t"),
        ("PlaceTakeProfit", "t"),
    ]
    assert stage.targets() == [(D("2.5273"), D(320)), (D("2.5455"), D(280)), (D("2.5728"), D(200))]
    assert stage.stops() == [D("2.4700")]
    assert stage.backstops() == [D("2.4625")]
    plan = stage.told(NoteKind.PLANNED)[0]
    assert plan.data["ladder"] == "TP1=1.09%(40%), TP2=1.82%(35%), TP3=2.91%(25%)"


@pytest.mark.parametrize(("mode", "breakeven"), [("entry", "2.5000"), ("net", "2.5026")])
def test_xrp_ratchets_to_breakeven_then_to_each_target_before(mode: str, breakeven: str) -> None:
    stage = xrp(breakeven=mode)
    stage.go("2.5272")
    assert stage.stops() == [D("2.4700")], "a mark short of the target moves nothing"
    stage.go("2.5273")
    assert (stage.quantity(), stage.stops()) == (D(480), [D(breakeven)])
    stage.go("2.5455")
    assert (stage.quantity(), stage.stops()) == (D(200), [D("2.5273")])
    stage.go("2.5728")
    assert (stage.quantity(), stage.resting()) == (0, [])
    assert stage.flat()
    assert [(a.leg, a.outcome, a.quantity) for a in stage.attempts] == [
        (1, Outcome.HIT, 320),
        (2, Outcome.HIT, 280),
        (3, Outcome.HIT, 200),
    ]
    assert stage.venue.rejected == []


def test_profit_of_attempts_and_close_is_net_of_the_exit_fees_on_the_exchanges_books() -> None:
    stage = xrp()
    stage.go("2.5273", "2.5455", "2.5728")
    fills = [row for row in stage.venue.ledger.fills if row.client_id.startswith("tp1-")]
    net = sum((row.realised - row.fee for row in fills), D(0))
    assert sum((attempt.profit_usd for attempt in stage.attempts), D(0)) == net
    closed = stage.told(NoteKind.CLOSED)[0]
    assert closed.data["pnl"] == net
    assert closed.data["naked_ms"] == 0


def test_short_is_the_mirror_image() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=FLAT_SPREAD, rules=ExitRules(execution=ExecutionRules(breakeven="entry")))
    stage.start()
    stage.open("SHORT")
    assert stage.stops() == [D("2.5300")]
    assert stage.targets() == [(D("2.4727"), D(320)), (D("2.4545"), D(280)), (D("2.4272"), D(200))]
    stage.go("2.4727")
    assert stage.stops() == [D("2.5000")]
    stage.go("2.4545")
    assert stage.stops() == [D("2.4727")]
    stage.go("2.4272")
    assert stage.quantity() == 0
    assert stage.flat(XRP_SHORT)


def test_gap_through_all_levels_takes_each_leg_once_in_order() -> None:
    stage = xrp()
    stage.go("2.6")
    assert stage.quantity() == 0
    assert [(a.leg, a.outcome) for a in stage.attempts] == [(n, Outcome.HIT) for n in (1, 2, 3)]
    assert stage.resting() == []


def test_gap_through_two_levels_moves_the_stop_once_to_the_first() -> None:
    stage = xrp()
    stage.go("2.55")
    assert stage.stops() == [D("2.5273")]
    assert stage.quantity() == 200


def test_stop_hit_closes_all_and_records_every_waiting_leg_as_missed() -> None:
    stage = xrp()
    stage.go("2.5273", "2.5020")
    assert stage.quantity() == 0
    assert [(a.leg, a.outcome, a.reason) for a in stage.attempts] == [
        (1, Outcome.HIT, "take_profit"),
        (2, Outcome.MISS, "breakeven"),
        (3, Outcome.MISS, "breakeven"),
    ]
    assert {a.exit_price for a in stage.attempts[1:]} == {D("2.5020")}
    assert stage.told(NoteKind.CLOSED)[0].reason == "breakeven"
    stage.wait(3_000)
    assert stage.resting() == []


def test_backstop_closes_what_the_stop_does_not_cover() -> None:
    stage = xrp()
    stage.venue.drop(stage.orders(Role.STOP)[0].client_id)
    stage.go("2.45")
    assert stage.quantity() == 0
    assert stage.told(NoteKind.STOP_HIT)[0].reason == "backstop"


# trailing (exit-rules 9)


def trailing(**trail: object) -> Stage:
    """Return a stage whose position rides on its trail alone: the ladder is out of reach."""
    far = LadderRules(distances=tuple(map(Ratio.percent, (30, 40, 50))), max_distance=Ratio.percent(90))
    rules = ExitRules(ladder=far, trail=TrailRules(**trail))
    stage = Stage({"XRPUSDT": "2.5"}, rules=rules, terms=FLAT_SPREAD)
    stage.start()
    stage.open()
    return stage


def test_trail_follows_the_best_price_and_never_steps_back() -> None:
    stage = trailing()
    stage.go("2.55")
    assert stage.episode().stop_cause == "trail"
    first = stage.stops()
    assert first == [D("2.4990")], "2 % behind 2.55"
    stage.go("2.54", "2.53")
    assert stage.stops() == first
    stage.go("2.58")
    assert stage.stops() == [D("2.5284")]


def test_trail_waits_for_a_step_worth_an_order() -> None:
    stage = trailing(min_step=D("0.10"))
    stage.go("2.55")
    orders = len(stage.sent)
    stage.go("2.5510", "2.5520", "2.5530", "2.5540", "2.5550")
    assert len(stage.sent) == orders, "a tenth of 2 % of the price is 0.0051"
    stage.go("2.5553")
    assert len(stage.sent) == orders + 2


def test_callback_is_rearmed_from_the_original_never_compounding() -> None:
    stage = trailing()
    stage.wait(300_000)
    stage.go("2.60", "2.63")
    assert stage.episode().callback == Ratio.percent("1.5")
    for _ in range(1_000):
        stage.move({"XRPUSDT": "2.63"}, after_ms=1_000)
    assert stage.episode().callback == Ratio.percent("1.5")
    changes = [note for note in stage.told(NoteKind.TRAIL_MOVED) if "Callback" in note.reason]
    assert len(changes) == 1


def test_callback_does_not_change_on_a_young_position() -> None:
    stage = trailing()
    stage.go("2.60", "2.63")
    assert stage.episode().callback == Ratio.percent(2)


def test_callback_changes_are_thirty_seconds_apart() -> None:
    stage = trailing()
    stage.wait(300_000)
    stage.go("2.60", "2.63")
    stage.go("2.76")
    assert stage.episode().callback == Ratio.percent("1.5")
    stage.wait(30_000)
    assert stage.episode().callback == Ratio.percent(1)


def test_percent_below_highest_moves_in_steps_too() -> None:
    stage = xrp(ratchet="percent_below_highest")
    stage.go("2.5273")
    orders = len(stage.sent)
    stage.go("2.5274", "2.5275", "2.5276")
    assert len(stage.sent) == orders


# live adjustment (exit-rules 1)


def test_levels_not_yet_hit_are_pulled_in_once_when_a_sideways_market_has_paid_well() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=FLAT_SPREAD)
    stage.context = replace(
        stage.context, leverage=D(3), confidence=D("0.9"), volatility=Ratio.percent(5), regime=Regime.RANGING
    )
    stage.start()
    stage.open(notional=500)
    before = [trigger for trigger, _ in stage.targets()]
    stage.go("2.60", "2.71")
    waiting = [leg for leg in stage.episode().legs if leg.remaining > 0]
    after = [leg.trigger for leg in waiting]
    assert stage.episode().live_adjusted or not waiting
    assert after <= before[-len(after) :]


# marks that may not decide (I14, I15)


def test_late_mark_is_ignored() -> None:
    stage = xrp()
    at = stage.now
    stage.hear(MarkPrice(at - 1, "XRPUSDT", D("2.40")))
    assert stage.episode().mark == D("2.5")


@pytest.mark.parametrize("price", ["0", "-1"])
def test_mark_that_is_no_price_is_ignored(price: str) -> None:
    stage = xrp()
    stage.hear(MarkPrice(stage.now, "XRPUSDT", D(price)))
    assert stage.episode().mark == D("2.5")


def test_jump_is_believed_only_when_the_next_mark_confirms_it() -> None:
    stage = xrp()
    stage.hear(MarkPrice(stage.now + 1, "XRPUSDT", D("2.8")))
    assert stage.episode().mark == D("2.5")
    stage.hear(MarkPrice(stage.now + 1, "XRPUSDT", D("2.8")))
    assert stage.episode().mark == D("2.5"), "the same frame again confirms nothing"
    stage.hear(MarkPrice(stage.now + 2, "XRPUSDT", D("2.79")))
    assert stage.episode().mark == D("2.79")


def test_jump_that_the_next_mark_takes_back_never_happened() -> None:
    stage = xrp()
    sent = len(stage.sent)
    stage.hear(MarkPrice(stage.now + 1, "XRPUSDT", D("1.5")), MarkPrice(stage.now + 2, "XRPUSDT", D("2.5")))
    stage.wait(10_000)
    assert len(stage.sent) == sent


def test_stale_mark_decides_nothing() -> None:
    stage = xrp(working=WorkingType.MARK)
    state = stage.state
    episode = replace(stage.episode(), mark=D("2.40"), mark_at=stage.now - 60_000)
    state = replace(state, quiet={}, episodes={XRP_LONG: replace(episode, orders=())})
    decision = step(state, StreamLost(stage.now, "reconnected"))
    decision = step(decision.state, PositionSeen(stage.now, XRP_LONG, D(800), D("2.5")))
    assert [type(i) for i in decision.intents][:2] == [PlaceStop, PlaceStop], "the exchange judges, not an old mark"


@pytest.mark.parametrize(("side", "target", "behind"), [("LONG", "2.53", "2.5026"), ("SHORT", "2.47", "2.4975")])
def test_target_heard_of_before_its_mark_does_not_close_what_is_left(side: str, target: str, behind: str) -> None:
    stage = Stage({"XRPUSDT": "2.5"}, terms=FLAT_SPREAD)
    stage.start()
    stage.open(side)
    key = XRP_LONG if side == "LONG" else XRP_SHORT
    stage.now += 900
    stage.venue.step(MarketStep(stage.now, (Quote("XRPUSDT", D(target), D(target)),)))
    stage.settle()
    assert stage.episode(key).mark == D("2.5"), "the mark that is known is from before, and beyond the breakeven"
    assert (stage.episode(key).phase, stage.stops(), stage.quantity()) == (Phase.GUARDED, [D(behind)], 480)
    stage.go(target)
    assert (stage.stops(), stage.quantity(), stage.told(NoteKind.CLOSED)) == ([D(behind)], 480, [])


def test_stop_behind_a_target_that_a_newer_mark_has_passed_closes_at_market() -> None:
    stage = xrp()
    stage.now += 900
    for last in ("2.53", "2.5"):
        stage.venue.step(MarketStep(stage.now, (Quote("XRPUSDT", D(last), D(last)),)))
    stage.hear(MarkPrice(stage.now, "XRPUSDT", D("2.5")))
    assert (stage.quantity(), stage.resting()) == (0, [])
    assert stage.told(NoteKind.CLOSED)[0].reason == "breakeven level is already passed"


# evidence twice, late and out of order


def test_everything_heard_twice_changes_nothing() -> None:
    stage = xrp()
    stage.go("2.5273", "2.5455")
    heard = [e for e in stage.heard if isinstance(e, OrderSeen | Filled | PositionSeen | MarkPrice | Snapshot)]
    sent, attempts, episode = len(stage.sent), len(stage.attempts), stage.episode()
    stage.hear(*heard)
    stage.wait(5_000)
    after = stage.episode()
    assert (len(stage.sent), len(stage.attempts)) == (sent, attempts)
    assert (after.quantity, after.realised, after.fees, after.stop) == (
        episode.quantity,
        episode.realised,
        episode.fees,
        episode.stop,
    )


def test_size_told_late_is_not_believed() -> None:
    stage = xrp()
    stage.go("2.5273")
    before = stage.episode()
    stage.hear(
        PositionSeen(stage.now - 1, XRP_LONG, D(800), D("2.5")), PositionSeen(stage.now - 1, XRP_LONG, D(0), D(0))
    )
    after = stage.episode()
    assert (after.quantity, after.stated, after.position_at) == (480, 480, before.position_at)
    assert after.differs_since is None


def test_late_news_of_the_last_position_brings_no_ghost_to_life() -> None:
    stage = xrp()
    heard = [e for e in stage.heard if isinstance(e, PositionSeen)]
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.wait(4_000)
    stage.hear(*heard)
    assert stage.flat()
    assert stage.state.lives[XRP_LONG] == 1


def test_snapshot_that_lags_behind_the_close_brings_no_ghost_to_life() -> None:
    stage = xrp()
    stage.hear(StreamLost(stage.now, "test"))
    stage.wait(1_000)
    lagging = next(e for e in reversed(stage.heard) if isinstance(e, Snapshot))
    stage.go("2.6")
    stage.hear(replace(lagging, at=stage.now))
    assert stage.flat()


def test_child_order_with_an_id_of_its_own_is_still_ours() -> None:
    stage = xrp()

    def rename(order: LiveOrder) -> LiveOrder:
        return replace(order, client_id="x-child") if order.child_id is None and order.book == "regular" else order

    stage.distort = lambda events: [
        replace(e, order=rename(e.order))
        if isinstance(e, OrderSeen)
        else replace(e, fill=replace(e.fill, client_id="x-child"))
        if isinstance(e, Filled)
        else e
        for e in events
    ]
    stage.go("2.5273")
    stage.wait(3_000)
    assert stage.episode().legs_hit == 1
    assert stage.told(NoteKind.EXTERNAL) == []
    assert stage.attempts[0].profit_usd == D("0.0273") * 320 - D("2.5273") * 320 * D("0.0005")


# the quiet band


def test_quiet_mark_leads_to_nothing_but_is_remembered() -> None:
    stage = xrp()
    stage.wait(2_000)
    decision = step(stage.state, MarkPrice(stage.now + 1, "XRPUSDT", D("2.511")))
    assert (decision.intents, decision.notes, decision.changed) == ((), (), frozenset())
    assert decision.state.episodes is stage.state.episodes
    stage.hear(MarkPrice(stage.now + 1, "XRPUSDT", D("2.511")), MarkPrice(stage.now + 2, "XRPUSDT", D("2.509")))
    stage.wait(1_000)
    assert stage.episode().peak == D("2.511")


def test_of_the_marks_of_a_moment_those_that_may_matter_come_first() -> None:
    stage = xrp()
    stage.wait(2_000)
    assert set(stage.state.quiet) == {"XRPUSDT"}
    fact = StreamLost(stage.now, "test")
    still, other = MarkPrice(stage.now, "XRPUSDT", D("2.501")), MarkPrice(stage.now, "BTCUSDT", D(100_000))
    moved = MarkPrice(stage.now, "XRPUSDT", D("2.53"))
    assert loud_first(stage.state, [fact, still, other]) == [fact, other, still]
    assert loud_first(stage.state, [moved, fact, still, other]) == [moved, fact, other, still]
    assert loud_first(stage.state, [other, moved]) == [moved, other]
    for batch in ([], [fact], [still], [moved, other]):
        assert loud_first(stage.state, batch) == batch


def test_mark_for_a_symbol_without_a_position_leads_to_nothing() -> None:
    stage = xrp()
    decision = step(stage.state, MarkPrice(stage.now, "BTCUSDT", D(100_000)))
    assert decision.state is stage.state


def test_stream_lost_asks_for_a_read() -> None:
    stage = Stage({"XRPUSDT": "2.5"})
    assert step(stage.state, StreamLost(START, "test")).intents == (ReadAccount("test"),)


def test_mode_comes_from_the_account() -> None:
    stage = Stage({"XRPUSDT": "2.5"}, hedge=True)
    stage.start()
    assert stage.state.mode is PositionMode.HEDGE
