"""Applying a plan document: read back exactly, refused on drift, pinned so that exactly its orders rest, once."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from stage import Stage
from test_planning import INSTRUMENTS, XRP, context, held, idea, planned

from tpctl.adapters.binance_map.account import positions
from tpctl.engine.apply import PlannedPosition, check_plan, pin, read_plan
from tpctl.engine.plan_request import Given, position_request
from tpctl.engine.planning import Situation, compose
from tpctl.exits.episode import LegStatus, OrderState, Phase
from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import MarginMode, Plan, Position, PositionKey
from tpctl.exits.rules import ExecutionRules, ExitRules, LadderRules
from tpctl.exits.sheet import PlanSheet
from tpctl.exits.units import Ratio
from tpctl.views.plan import PlanReport, document_text

D = Decimal
KEY = PositionKey("XRPUSDT", PositionSide.LONG)


def document(*sheets: PlanSheet) -> bytes:
    report = PlanReport(sheets, ts=0, profile="sim", env="sim", origin="here", fetched_at=None, age_ms=None)
    return document_text(report).encode()


def read(sheet: PlanSheet) -> PlannedPosition:
    (found,) = read_plan(document(sheet), "plan.json").plans
    return found


@pytest.mark.parametrize("side", list(PositionSide))
def test_a_plan_is_read_back_as_it_was(side: PositionSide) -> None:
    sheet = planned(held(side))
    found = read(sheet)

    exact = replace(sheet.plan, liquidation=found.plan.liquidation, reward_risk=found.plan.reward_risk)
    assert found.plan == replace(
        exact,
        warnings=sheet.warnings,
        reasons=sheet.reasons,
        stop_distance=found.plan.stop_distance,
        backstop_distance=found.plan.backstop_distance,
    )
    assert found.mark == D("0.5")


def test_a_trail_that_follows_the_atr_is_read_back_as_one() -> None:
    sheet = planned(held())
    assert sheet.plan.trail is not None
    trail = replace(sheet.plan.trail, atr_multiple=D("2.5"))
    content = json.loads(document(replace(sheet, plan=replace(sheet.plan, trail=trail))))

    (found,) = read_plan(json.dumps(content).encode(), "plan.json").plans
    del content["data"]["plans"][0]["trail"]["atr_multiple"]
    (older,) = read_plan(json.dumps(content).encode(), "plan.json").plans

    assert found.plan.trail == trail
    assert older.plan.trail == replace(trail, atr_multiple=None)


def test_a_plan_whose_levels_were_tampered_with_cannot_be_read() -> None:
    content = json.loads(document(planned(held())))
    content["data"]["plans"][0]["stop"]["trigger"] = "0.6"

    with pytest.raises(InputsError, match=r"is damaged: levels out of order"):
        read_plan(json.dumps(content).encode(), "plan.json")


@pytest.mark.parametrize("value", ["NaN", "1e400", 0.5, None, "x"])
def test_a_number_that_is_none_is_damage(value: Any) -> None:
    content = json.loads(document(planned(held())))
    content["data"]["plans"][0]["legs"][0]["quantity"] = value

    with pytest.raises(InputsError, match="is damaged"):
        read_plan(json.dumps(content).encode(), "plan.json")


def test_two_plans_for_one_position_are_refused() -> None:
    with pytest.raises(InputsError, match="two plans for one position"):
        read_plan(document(planned(held()), planned(held())), "plan.json")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"entry_price": D("0.5004"), "mark_price": D("0.502")}, None),
        ({"quantity": D("799.9")}, "size of XRPUSDT LONG is '799.9', the plan was made for '800'"),
        ({"entry_price": D("0.501")}, "entry of XRPUSDT LONG is '0.501'"),
        ({"mark_price": D("0.5026")}, "mark of XRPUSDT LONG is '0.5026'"),
        ({"liquidation_price": D("0.4999")}, "lies beyond liquidation"),
        ({"key": PositionKey("XRPUSDT", PositionSide.SHORT)}, "there is no open position XRPUSDT LONG"),
    ],
)
def test_drift_is_refused_with_both_values(changed: dict[str, Any], said: str | None) -> None:
    found = read(planned(held()))
    account = [held(**changed)]
    if said is None:
        assert check_plan(found, account, XRP, ExecutionRules()) is account[0]
    else:
        with pytest.raises(InputsError, match=said):
            check_plan(found, account, XRP, ExecutionRules())


def test_a_level_the_mark_has_passed_since_is_drift() -> None:
    near = planned(held(), rules=_with_legs())
    found = read(near)

    with pytest.raises(InputsError, match="has passed a level"):
        check_plan(found, [held(mark_price=D("0.5024"))], XRP, ExecutionRules())


def _with_legs() -> ExitRules:
    distances = tuple(Ratio.percent(percent) for percent in ("0.7", "1", "2"))
    return replace(ExitRules(), ladder=LadderRules(min_distance=Ratio.percent("0.4"), distances=distances))


# Pinned to the position, on the twin


def staged() -> tuple[Stage, Plan]:
    """Open 800 XRP at the twin and plan them by hand-made levels, so that no other plan could give them."""
    stage = Stage({"XRPUSDT": "0.5"})
    stage.venue.open_position("XRPUSDT", "LONG", quantity=D(800), leverage=20)
    position = _position(stage)
    legs = ((Ratio.percent("1.23"), D("0.7")), (Ratio.percent("3.21"), D("0.3")))
    known = context(leverage=D(20), margin=MarginMode.CROSS, wallet=D(100_000))
    request = position_request(position, INSTRUMENTS["XRPUSDT"], known, Given(legs=legs, stop=Ratio.percent("1.11")))
    sheet = compose(request, stage.state.rules, Situation(stage.state.account, position=position))
    return stage, read(sheet).plan


def _position(stage: Stage) -> Position:
    (position,) = positions(stage.venue.position_risk_v3({}))
    return position


def _ids(stage: Stage) -> list[str]:
    return sorted(order.client_id for order in stage.resting())


def test_the_pinned_plans_orders_rest_and_no_others() -> None:
    stage, plan = staged()
    stage.state = pin(stage.state, [(plan, _position(stage))], (), stage.now)
    stage.start()

    episode = stage.episode(KEY)
    assert [(leg.trigger, leg.quantity) for leg in episode.legs] == [(leg.trigger, leg.quantity) for leg in plan.legs]
    assert sorted((o.trigger, o.quantity) for o in stage.resting()) == sorted(
        [(plan.backstop, D(0)), (plan.stop, plan.quantity), *((leg.trigger, leg.quantity) for leg in plan.legs)]
    )
    assert episode.phase is Phase.GUARDED
    assert stage.venue.rejected == []


def test_pinning_again_sends_nothing() -> None:
    stage, plan = staged()
    for _ in range(2):
        stage.state = pin(stage.state, [(plan, _position(stage))], (), stage.now)
        stage.start()
        stage.wait(5_000)
    first, sent = _ids(stage), len(stage.sent)

    stage.state = pin(stage.state, [(plan, _position(stage))], (), stage.now)
    stage.start()

    assert (len(stage.sent), _ids(stage)) == (sent, first)
    assert sent == len(first)


def test_pinning_with_a_lost_memory_finds_its_own_orders_by_their_ids() -> None:
    stage, plan = staged()
    empty = stage.state
    stage.state = pin(empty, [(plan, _position(stage))], (), stage.now)
    stage.start()
    sent = len(stage.sent)

    stage.state = pin(empty, [(plan, _position(stage))], stage._snapshot().orders, stage.now)
    stage.start()
    stage.wait(5_000)

    assert len(stage.sent) == sent
    assert {order.state for order in stage.episode(KEY).orders} == {OrderState.LIVE}


def test_a_new_plan_replaces_the_legs_and_never_loosens_the_stop() -> None:
    stage, plan = staged()
    stage.state = pin(stage.state, [(plan, _position(stage))], (), stage.now)
    stage.start()
    wider = replace(plan, stop=plan.backstop, legs=plan.legs[:1])

    stage.state = pin(stage.state, [(wider, _position(stage))], (), stage.now)
    stage.start()
    stage.wait(5_000)

    episode = stage.episode(KEY)
    assert episode.stop == plan.stop
    assert [leg.status for leg in episode.legs] == [LegStatus.WAITING]
    assert len(stage.resting()) == 3


def test_a_position_that_closed_and_opened_again_begins_a_new_life() -> None:
    stage, plan = staged()
    stage.state = pin(stage.state, [(plan, _position(stage))], (), stage.now)
    stage.start()
    before = stage.episode(KEY).generation
    stage.venue.close_position("XRPUSDT", "LONG")
    stage.move({"XRPUSDT": "0.5100"})
    stage.venue.open_position("XRPUSDT", "LONG", quantity=D(800))
    stage.venue.user_events()

    stage.state = pin(stage.state, [(replace(plan), _position(stage))], (), stage.now)

    assert stage.state.episodes[KEY].generation != before
    assert stage.state.lives[KEY] >= 2


def test_a_hypothetical_plan_fits_the_position_it_was_made_for() -> None:
    sheet = idea(notional=None, quantity=D(800))
    found = read(sheet)

    assert check_plan(found, [held()], XRP, ExecutionRules()).quantity == 800
