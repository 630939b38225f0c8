"""Requests to a guarded position: they tighten or reduce, are answered once with a reason, and outlive a restart."""

from dataclasses import replace
from decimal import Decimal

import pytest
from stage import LOST_AFTER, START, XRP_LONG, XRP_SHORT, Stage

from tpctl.exits.episode import Phase
from tpctl.exits.events import ContextRead, Requested
from tpctl.exits.ids import Role
from tpctl.exits.intents import PlaceStop, ReduceAtMarket
from tpctl.exits.model import Note, NoteKind, PositionKey
from tpctl.exits.requests import (
    CloseAll,
    Outcome,
    Rearm,
    Reduce,
    Request,
    StopToBreakeven,
    TightenStop,
    TrailNow,
    answer_in,
)
from tpctl.exits.units import Ratio, trimmed
from tpctl.venue.venue import Terms

D = Decimal
EXACT = Terms(half_spread_ticks=0, impact_bps=D(0))


@pytest.fixture
def stage() -> Stage:
    """A long of 800 at 2.5 with its stop at 2.4526 or so, backstop and three take-profits."""
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.open()
    return stage


def ask(stage: Stage, request: Request, name: str = "a", key: PositionKey = XRP_LONG) -> tuple[Outcome, str]:
    """Ask, and return the one answer."""
    told = len(stage.told(NoteKind.ANSWERED))
    stage.hear(Requested(stage.now, key, name, "test", request))
    (note,) = stage.told(NoteKind.ANSWERED)[told:]
    found = answer_in(note)
    assert found is not None
    assert found[0] == name
    assert note.data["request"] == str(request)
    return found[1].outcome, found[1].text


def test_breakeven_moves_the_stop_by_make_before_break(stage: Stage) -> None:
    stage.go("2.52")
    (before,) = stage.stops()
    outcome, text = ask(stage, StopToBreakeven())
    (after,) = stage.stops()
    assert outcome is Outcome.DONE
    assert D("2.5") < after < D("2.51")
    assert text == f"stop {trimmed(before)} → {after}, breakeven"
    assert [note.data["to"] for note in stage.told(NoteKind.STOP_MOVED)] == [after]


def test_breakeven_of_a_losing_position_is_refused_instead_of_closing_it(stage: Stage) -> None:
    before = stage.stops()
    outcome, text = ask(stage, StopToBreakeven())
    assert outcome is Outcome.REFUSED
    assert "would close at once: the mark is 2.5" in text
    assert stage.stops() == before


def test_a_stop_only_tightens(stage: Stage) -> None:
    (before,) = stage.stops()
    outcome, text = ask(stage, TightenStop(before - D("0.01")))
    assert (outcome, stage.stops()) == (Outcome.REFUSED, [before])
    assert text.startswith("a stop only tightens")
    assert ask(stage, TightenStop(before), "b")[0] is Outcome.UNCHANGED
    assert ask(stage, TightenStop(before + D("0.01001")), "c")[0] is Outcome.DONE
    # Put on the tick toward the market.
    assert stage.stops() == [before + D("0.0101")]


def test_a_level_is_not_set_against_a_stale_mark(stage: Stage) -> None:
    stage.now += 60_000
    outcome, text = ask(stage, TightenStop(D("2.49")))
    assert outcome is Outcome.REFUSED
    assert "s old" in text


def test_trail_now_trails_from_here_on_before_its_activation(stage: Stage) -> None:
    stage.go("2.51")
    outcome, text = ask(stage, TrailNow(Ratio.percent("0.5")))
    assert outcome is Outcome.DONE
    assert stage.stops() == [D("2.4975")]
    assert text.startswith("trailing 0.5% behind the best 2.51: stop ")
    stage.go("2.52")
    assert stage.stops() == [D("2.5074")]
    assert ask(stage, TrailNow(Ratio.percent("0.5")), "b")[0] is Outcome.UNCHANGED
    outcome, text = ask(stage, TrailNow(Ratio.percent("0.9")), "c")
    assert (outcome, text.split(":")[0]) == (Outcome.REFUSED, "a trail never loosens")


def test_a_trail_asked_for_outlives_a_restart(stage: Stage) -> None:
    ask(stage, TrailNow(Ratio.percent("0.5")))
    stage.restart()
    stage.go("2.51", "2.52")
    assert stage.stops() == [D("2.5074")]


def test_rearm_says_why_nothing_changes(stage: Stage) -> None:
    outcome, text = ask(stage, Rearm())
    assert outcome is Outcome.UNCHANGED
    assert "profit" in text


def test_a_part_is_closed_once_and_the_rest_stays_guarded(stage: Stage) -> None:
    outcome, text = ask(stage, Reduce(Ratio.percent(50)))
    assert (outcome, text) == (Outcome.DONE, "reducing by 400 at market, 400 stay")
    assert [i.quantity for i in stage.sent if isinstance(i, ReduceAtMarket)] == [400]
    stage.wait(5_000)
    assert stage.quantity() == 400
    assert [o.quantity for o in stage.resting() if "-s-" in o.client_id] == [400]
    assert sum(quantity for _, quantity in stage.targets()) <= 400
    assert stage.episode().reduce_to is None


@pytest.mark.parametrize("outcome", [-1008, LOST_AFTER])
def test_a_reduction_is_carried_on_over_a_refusal_and_a_lost_answer(stage: Stage, outcome: int | str) -> None:
    stage.fault(outcome, ReduceAtMarket)
    ask(stage, Reduce(Ratio.percent(50)))
    stage.wait(15_000)
    assert stage.quantity() == 400


@pytest.mark.parametrize("sends", range(4))
def test_a_reduction_survives_death_at_every_send(stage: Stage, sends: int) -> None:
    stage.crash_after = sends
    ask(stage, Reduce(Ratio.percent(50)))
    stage.wait(30_000)
    assert stage.quantity() == 400
    # The same request, found again by the restarted process, is not done again.
    stage.hear(Requested(stage.now, XRP_LONG, "a", "test", Reduce(Ratio.percent(50))))
    stage.wait(5_000)
    assert stage.quantity() == 400
    assert len(stage.told(NoteKind.ANSWERED)) == 1


def test_what_fills_meanwhile_counts_towards_a_reduction(stage: Stage) -> None:
    stage.fault(-1008, ReduceAtMarket)
    ask(stage, Reduce(Ratio.percent(50)))
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG", D("0.25")))
    stage.wait(15_000)
    assert stage.quantity() == 400


def test_shares_that_are_no_order_are_refused(stage: Stage) -> None:
    assert ask(stage, Reduce(Ratio.percent("0.001")))[0] is Outcome.REFUSED
    coarse = replace(stage.episode().instrument or pytest.fail("no rules"), min_quantity=D(5))
    stage.hear(ContextRead(stage.now, XRP_LONG, coarse, stage.context))
    outcome, text = ask(stage, Reduce(Ratio.percent("99.5")), "b")
    assert outcome is Outcome.REFUSED
    assert "close instead" in text
    assert stage.quantity() == 800


def test_close_ends_flat_with_nothing_left(stage: Stage) -> None:
    assert ask(stage, CloseAll()) == (Outcome.DONE, "closing 800 at market")
    stage.wait(10_000)
    assert stage.quantity() == 0
    assert stage.resting() == []
    (closed,) = stage.told(NoteKind.CLOSED)
    assert closed.reason == "request"
    assert ask(stage, CloseAll(), "b") == (Outcome.REFUSED, "no position XRPUSDT LONG is managed")


def test_close_needs_no_plan(stage: Stage) -> None:
    stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
    stage.wait(3_000)
    stage.lost_contexts = 1
    stage.open()
    assert stage.episode().phase is Phase.ADOPTING
    assert ask(stage, StopToBreakeven()) == (Outcome.REFUSED, "the position has no plan yet")
    assert "once the symbol's rules are read" in ask(stage, CloseAll(), "b")[1]
    stage.wait(10_000)
    assert stage.quantity() == 0


def test_nobody_s_position_is_answered_too(stage: Stage) -> None:
    outcome, text = ask(stage, CloseAll(), key=XRP_SHORT)
    assert (outcome, text) == (Outcome.REFUSED, "no position XRPUSDT SHORT is managed")
    assert stage.quantity() == 800


def test_an_addition_ends_a_reduction_under_way(stage: Stage) -> None:
    stage.fault(-1008, ReduceAtMarket, times=3)
    ask(stage, Reduce(Ratio.percent(50)))
    stage.act(lambda venue: venue.add_position("XRPUSDT", "LONG", notional=D(600)))
    stage.wait(15_000)
    assert stage.episode().reduce_to is None
    assert stage.quantity() > 800


def test_the_refused_stop_of_a_request_closes_as_any_crossed_stop(stage: Stage) -> None:
    stage.go("2.52")
    stage.fault(-2021, PlaceStop, role=Role.STOP)
    assert ask(stage, StopToBreakeven())[0] is Outcome.DONE
    stage.wait(5_000)
    assert stage.quantity() == 0


def test_halt_and_quiet_marks_keep_no_request_waiting(stage: Stage) -> None:
    stage.wait(3_000)
    stage.go("2.5195")
    assert stage.state.quiet
    stage.halt = "maintenance"
    assert ask(stage, StopToBreakeven())[0] is Outcome.DONE
    assert stage.stops()[0] > D("2.5")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TightenStop(D(0)), "not above zero"),
        (lambda: TightenStop(D("NaN")), "not above zero"),
        (lambda: TrailNow(Ratio(D(0))), "between 0 and 100%"),
        (lambda: Reduce(Ratio(D(0))), "not above 0"),
        (lambda: Reduce(Ratio(D("1.01"))), "at most 100%"),
    ],
)
def test_a_request_that_makes_no_sense_cannot_exist(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_only_an_answer_is_an_answer() -> None:
    assert answer_in(Note(START, NoteKind.STOPPED, None, "ended")) is None
