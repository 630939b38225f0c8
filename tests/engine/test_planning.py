"""Plans composed for an operator: what he gives wins, every order is accepted by the twin, and figures add up."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from tpctl.adapters.binance_map.account import positions
from tpctl.adapters.binance_map.orders import AlgoList, regular_orders
from tpctl.adapters.rules import parse_brackets, parse_instruments
from tpctl.engine.plan_request import Given, bare_context, hypothetical_request, position_request
from tpctl.engine.planning import Situation, compose
from tpctl.exits.errors import InputsError
from tpctl.exits.figures import Funding, opened_at
from tpctl.exits.ids import Role
from tpctl.exits.instrument import OrderKind, OrderSide, PositionSide, Unavailable
from tpctl.exits.model import (
    Book,
    Context,
    Fill,
    LiveOrder,
    MarginMode,
    OrderStatus,
    Policy,
    Position,
    PositionKey,
    PositionMode,
    Regime,
    RiskReadings,
    WorkingType,
)
from tpctl.exits.planned import MAX_CONDITIONALS, Standing
from tpctl.exits.rules import ExecutionRules, ExitRules
from tpctl.exits.sheet import PlanSheet
from tpctl.exits.units import Ratio
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue, VenueError

D = Decimal
RULES = ExitRules()
START = 1_767_571_200_000
INSTRUMENTS = parse_instruments(builtin_rules().exchange_info)
BRACKETS = parse_brackets(list(builtin_rules().brackets.values()))
XRP = INSTRUMENTS["XRPUSDT"]
NOTHING = Unavailable("not measured here")
PRICES = {
    "BTCUSDT": "96000",
    "ETHUSDT": "3350",
    "XRPUSDT": "2.42",
    "SOLUSDT": "192",
    "ADAUSDT": "0.96",
    "BNBUSDT": "705",
    "DOGEUSDT": "0.335",
    "TONUSDT": "5.4",
    "TRXUSDT": "0.252",
    "LTCUSDT": "108",
    "DOTUSDT": "7.05",
    "DASHUSDT": "37",
    "ETCUSDT": "26",
    "XLMUSDT": "0.45",
    "XMRUSDT": "215",
    "ZECUSDT": "55",
    "USDCUSDT": "1.0002",
}


def pct(text: str) -> Ratio:
    return Ratio.percent(text)


def context(symbol: str = "XRPUSDT", **changed: Any) -> Context:
    return replace(bare_context(BRACKETS[symbol], "not measured here"), **changed)


def idea(
    entry: str = "0.5", *, rules: ExitRules = RULES, situation: Situation | None = None, **asked: Any
) -> PlanSheet:
    """Plan a hypothetical XRPUSDT position, 20x and 2000 USD unless asked for otherwise."""
    wanted = Given(entry=D(entry), **{"leverage": D(20), "notional": D(2000), **asked})
    request, notes = hypothetical_request("XRPUSDT", XRP, context(), NOTHING, wanted)
    return compose(request, RULES, Situation("test", notes=notes))


def held(side: PositionSide = PositionSide.LONG, **changed: Any) -> Position:
    position = Position(
        key=PositionKey("XRPUSDT", side),
        quantity=D(800),
        entry_price=D("0.5"),
        mark_price=D("0.5"),
        updated_at=START,
        liquidation_price=None,
        isolated_wallet=D(0),
        initial_margin=D(20),
        unrealised=D(0),
    )
    return replace(position, **changed)


def planned(position: Position, *, rules: ExitRules = RULES, **situation: Any) -> PlanSheet:
    known = context(leverage=D(20), wallet=D(1000), margin=MarginMode.CROSS)
    request = position_request(position, XRP, known, Given())
    return compose(request, rules, Situation("test", position=position, **situation))


# What is given, assumed and refused


def test_a_notional_is_filled_up_to_the_step_and_a_quantity_goes_down_to_it() -> None:
    assert idea("0.5231", notional=D(2000)).plan.quantity == D("3823.4")
    assert idea("0.5231", notional=None, quantity=D("3823.39")).plan.quantity == D("3823.3")


def test_a_position_without_a_size_is_planned_at_the_documented_one_and_says_so() -> None:
    sheet = idea(notional=None)

    assert sheet.notional == 1000
    assert [reason.code for reason in sheet.reasons if reason.stage == "inputs"] == [
        "size_assumed",
        "fees_assumed",
    ]


def test_an_isolated_position_is_backed_by_its_initial_margin() -> None:
    sheet = idea(margin=MarginMode.ISOLATED)

    assert sheet.context.wallet == sheet.margin == 100
    assert isinstance(sheet.liquidation.price, Decimal)


def test_a_cross_position_without_a_wallet_has_no_liquidation_price_but_a_bound() -> None:
    sheet = idea(margin=MarginMode.CROSS)

    assert isinstance(sheet.liquidation.price, Unavailable)
    assert "at most" in sheet.liquidation.price.reason


def test_what_is_given_wins_over_what_was_measured() -> None:
    measured = context(volatility=pct("9"), regime=Regime.CHOP, confidence=D("0.1"), quote_volume=D(1))
    wanted = Given(
        entry=D("0.5"),
        leverage=D(20),
        notional=D(2000),
        volatility=pct("2.5"),
        regime=Regime.NORMAL,
        confidence=D("0.85"),
        quote_volume=D(10**9),
        fee=pct("0.04"),
        risk=RiskReadings(D("2.8"), D("0.2"), D("0.3"), D("0.4")),
    )
    request, _ = hypothetical_request("XRPUSDT", XRP, measured, NOTHING, wanted)
    sheet = compose(request, RULES, Situation("test"))

    assert [leg.distance for leg in sheet.plan.legs] == [pct(x) for x in ("0.7644", "1.274", "2.0384")]
    assert sheet.fee == pct("0.04")
    assert sheet.risk.tp_factor == D("0.70")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"leverage": None}, "leverage of XRPUSDT LONG is unavailable"),
        ({"leverage": D(126)}, "leverage '126x' is above"),
        ({"notional": None, "quantity": D("0.04")}, "is below the step"),
        ({"legs": ((pct("1"), D("0.6")), (pct("2"), D("0.6")))}, "are not a split"),
        ({"legs": ((pct("2"), D("0.5")), (pct("1"), D("0.5")))}, "are not ascending"),
        ({"min_reward_risk": D(50)}, "reward:risk of XRPUSDT LONG is"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_value(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputsError, match=message):
        idea(**asked)


def test_without_an_entry_and_a_mark_there_is_no_plan() -> None:
    with pytest.raises(InputsError, match="entry of XRPUSDT is unavailable"):
        hypothetical_request("XRPUSDT", XRP, context(), NOTHING, Given(leverage=D(20)))


# Orders


def test_orders_come_stop_first_with_ids_that_depend_on_the_position_alone() -> None:
    sheet = planned(held())
    again = planned(held())
    later = planned(held(updated_at=START + 1))

    assert [order.role for order in sheet.orders] == [Role.BACKSTOP, Role.STOP, *[Role.TAKE_PROFIT] * 3]
    assert [order.client_id for order in sheet.orders] == [order.client_id for order in again.orders]
    assert not {order.client_id for order in sheet.orders} & {order.client_id for order in later.orders}
    assert [wire["clientAlgoId"] for wire in sheet.wires] == [order.client_id for order in sheet.orders]


@pytest.mark.parametrize("side", list(PositionSide))
@pytest.mark.parametrize("mode", list(PositionMode))
def test_wire_parameters_follow_the_position_mode_and_the_role(side: PositionSide, mode: PositionMode) -> None:
    """binance-usdm 2.2, 4.1: closePosition has neither quantity nor reduceOnly; hedge mode no reduceOnly at all."""
    backstop, stop, *targets = planned(held(side), mode=mode).wires
    closing = "SELL" if side is PositionSide.LONG else "BUY"

    assert all(wire["side"] == closing for wire in (backstop, stop, *targets))
    assert backstop["closePosition"] == "true"
    assert not {"quantity", "reduceOnly"} & backstop.keys()
    for wire in (stop, *targets):
        assert ("reduceOnly" in wire) is (mode is PositionMode.ONE_WAY)
        assert "closePosition" not in wire
    for wire in (backstop, stop, *targets):
        assert wire.get("positionSide") == (side.value.upper() if mode is PositionMode.HEDGE else None)
        assert wire["workingType"] == "MARK_PRICE"


def test_a_passed_take_profit_is_taken_at_market_and_the_others_rest() -> None:
    sheet = planned(held(mark_price=D("0.508")))

    assert [order.role for order in sheet.orders][-1] is Role.REDUCE
    assert sheet.orders[-1].legs == (1,)
    assert [order.legs for order in sheet.orders if order.role is Role.TAKE_PROFIT] == [(2,), (3,)]
    assert sheet.refused == ()


def test_a_passed_take_profit_is_skipped_where_the_rules_say_so() -> None:
    rules = replace(RULES, execution=ExecutionRules(if_crossed="skip"))
    sheet = planned(held(mark_price=D("0.508")), rules=rules)
    targets = [order for order in sheet.orders if order.role is Role.TAKE_PROFIT]

    assert [order.legs for order in targets] == [(2,), (3,)]
    assert sum(order.quantity or 0 for order in targets) == 800


def test_software_take_profits_leave_only_stops_to_rest() -> None:
    sheet = planned(held(), rules=replace(RULES, execution=ExecutionRules(take_profit="software")))

    assert [order.role for order in sheet.orders] == [Role.BACKSTOP, Role.STOP]
    assert "software_targets" in [reason.code for reason in sheet.reasons]


def foreign(trigger: str, **changed: Any) -> LiveOrder:
    order = LiveOrder(
        symbol="XRPUSDT",
        client_id="web_1",
        exchange_id="1",
        book=Book.ALGO,
        kind=OrderKind.STOP_MARKET,
        order_side=OrderSide.SELL,
        position_side=None,
        status=OrderStatus.NEW,
        quantity=D(0),
        trigger=D(trigger),
        price=None,
        working=WorkingType.MARK,
        close_position=True,
        reduce_only=True,
        executed=D(0),
        average_price=None,
        child_id=None,
        updated_at=START,
    )
    return replace(order, **changed)


def test_somebody_elses_closing_stop_takes_the_place_of_the_backstop() -> None:
    """The exchange takes one closePosition stop per direction (-4130)."""
    sheet = planned(held(), standing=Standing(live=(foreign("0.48"),)), differ=True)

    assert Role.BACKSTOP not in [order.role for order in sheet.orders]
    assert sheet.diff is not None
    assert [order.client_id for order in sheet.diff.foreign] == ["web_1"]


def test_the_conditional_orders_of_the_account_are_counted() -> None:
    crowd = tuple(foreign("1", symbol="BTCUSDT", client_id=f"web_{n}") for n in range(MAX_CONDITIONALS - 3))
    sheet = planned(held(), standing=Standing(live=crowd))

    assert [order.legs for order in sheet.refused] == [(2,), (3,)]
    assert {check.code for order in sheet.refused for check in order.refusals} == {-4045}
    assert [w.code for w in sheet.warnings] == ["would_be_refused"] * 2


def resting(sheet: PlanSheet, **changed: Any) -> tuple[LiveOrder, ...]:
    """Return the sheet's conditional orders as the exchange would list them."""
    return tuple(
        foreign(
            str(order.trigger),
            client_id=order.client_id,
            kind=order.kind,
            quantity=order.quantity or D(0),
            close_position=order.quantity is None,
            order_side=sheet.plan.key.side.closing,
            **changed,
        )
        for order in sheet.orders
    )


def test_the_difference_is_empty_once_every_order_rests() -> None:
    live = resting(planned(held()))
    diff = planned(held(), standing=Standing(live=live), differ=True).diff

    assert diff is not None
    assert (diff.due, diff.extra, diff.foreign) == ((), (), ())
    assert len(diff.rests) == 5


def test_a_tighter_stop_of_ours_counts_and_a_looser_one_does_not() -> None:
    live = resting(planned(held()))
    stop = next(order for order in live if not order.close_position and order.kind is OrderKind.STOP_MARKET)
    others = tuple(order for order in live if order is not stop)
    assert stop.trigger is not None

    for shift, due in ((D("0.001"), 0), (D("-0.001"), 1)):
        moved = replace(stop, trigger=stop.trigger + shift)
        diff = planned(held(), standing=Standing(live=(*others, moved)), differ=True).diff
        assert diff is not None
        assert len(diff.due) == due


# Figures


def test_what_a_leg_earns_is_what_the_exchange_would_pay_out() -> None:
    """Opened at 0.5 and closed at the trigger, both at the taker fee."""
    sheet = idea()
    leg, figures = sheet.plan.legs[0], sheet.legs[0]
    fees = D("0.0005") * leg.quantity * (D("0.5") + leg.trigger)

    assert figures.gain.pnl == leg.quantity * (leg.trigger - D("0.5")) - fees
    assert figures.gain.percent.fraction == figures.gain.pnl / (leg.quantity * D("0.5"))
    assert figures.gain.roi.fraction == figures.gain.percent.fraction * 20
    assert sheet.total is not None
    assert sheet.total.pnl == pytest.approx(sum(legs.gain.pnl for legs in sheet.legs))


@pytest.mark.parametrize("side", list(PositionSide))
def test_closing_at_breakeven_loses_nothing_and_a_tick_earlier_does(side: PositionSide) -> None:
    sheet = idea(side=side)
    entry, out = D("0.5"), sheet.plan.breakeven

    def net(price: Decimal) -> Decimal:
        return side.sign * (price - entry) - D("0.0005") * (entry + price)

    assert net(out) >= 0 > net(out - side.sign * XRP.tick)


def test_funding_moves_the_breakeven_by_what_was_paid() -> None:
    paid = Funding(paid=D(2), next_at=START, rate=pct("0.01"), due=D("0.04"))
    sheet = planned(held(), funding=paid)
    price = sheet.breakeven_with_funding
    assert isinstance(price, Decimal)

    net = 800 * (price - D("0.5")) - D("0.0005") * 800 * (D("0.5") + price) - 2
    assert abs(net) < D("1e-18")


def fill(trade_id: int, side: OrderSide, quantity: str) -> Fill:
    return Fill("XRPUSDT", trade_id, "1", "", side, None, D(quantity), D("0.5"), D(0), "USDT", D(0), False, trade_id)


def test_a_position_was_opened_by_the_fill_that_left_zero() -> None:
    key = PositionKey("XRPUSDT", PositionSide.LONG)
    buy, sell = OrderSide.BUY, OrderSide.SELL
    story = (fill(1, buy, "5"), fill(2, sell, "5"), fill(3, buy, "4"), fill(4, buy, "8"), fill(5, sell, "2"))

    assert opened_at(key, D(10), story) == 3
    assert isinstance(opened_at(key, D(10), story[3:]), Unavailable)


def test_the_exchanges_liquidation_price_is_shown_and_a_different_own_one_is_a_warning() -> None:
    known = replace(context(leverage=D(20), margin=MarginMode.ISOLATED), wallet=D(20))
    ours = compose(
        position_request(held(), XRP, known, Given()), RULES, Situation("test", position=held())
    ).liquidation.computed
    assert ours is not None
    for factor, codes in (("1.004", []), ("1.02", ["liquidation_differs"])):
        position = held(liquidation_price=ours * D(factor))
        sheet = compose(position_request(position, XRP, known, Given()), RULES, Situation("test", position=position))
        assert sheet.liquidation.price == ours * D(factor)
        assert [w.code for w in sheet.warnings] == codes


# Every order of every plan is accepted


@st.composite
def stories(draw: st.DrawFn) -> dict[str, Any]:
    symbol = draw(st.sampled_from(sorted(PRICES)))
    return {
        "symbol": symbol,
        "hedge": draw(st.booleans()),
        "side": draw(st.sampled_from(list(PositionSide))),
        "leverage": draw(st.integers(1, 125)),
        "notional": D(draw(st.integers(5, 200))) * D(10) ** draw(st.integers(0, 4)),
        "pieces": draw(st.integers(1, 4)),
        "margin": draw(st.sampled_from(list(MarginMode))),
        "drift": draw(st.decimals("-0.03", "0.08", places=4)),
        "policy": draw(st.sampled_from([None, *Policy])),
        "volatility": draw(st.sampled_from([NOTHING, pct("0.4"), pct("1"), pct("2.5"), pct("6")])),
        "regime": draw(st.sampled_from([NOTHING, *Regime])),
        "confidence": draw(st.sampled_from([NOTHING, D("0.1"), D("0.5"), D("0.75"), D("0.95")])),
        "if_crossed": draw(st.sampled_from(["take", "skip"])),
    }


@settings(max_examples=200)
@given(stories())
def test_the_twin_accepts_every_order_of_every_plan(story: dict[str, Any]) -> None:
    """A position is opened on the twin, the market moves on, and the plan's wire parameters are sent as they stand."""
    symbol, side = story["symbol"], story["side"]
    venue = Venue(builtin_rules(), start_ms=START, hedge=story["hedge"], wallet=D(10**7))
    _move(venue, symbol, D(PRICES[symbol]))
    margin = "ISOLATED" if story["margin"] is MarginMode.ISOLATED else "CROSSED"
    try:
        venue.open_position(
            symbol, side.value.upper(), notional=story["notional"], leverage=story["leverage"], margin=margin
        )
        for _ in range(1, story["pieces"]):
            # More than one market order may close: its stops and legs go out in slices.
            venue.add_position(symbol, side.value.upper(), notional=story["notional"])
    except VenueError:
        assume(False)
    _move(venue, symbol, D(PRICES[symbol]) * (1 + story["drift"]))
    found = positions(venue.position_risk_v3({}))
    assume(found)  # the move may have liquidated it
    sheet = _plan_on(venue, found[0], story)
    assume(sheet is not None)
    assert sheet is not None
    assert sheet.refused == ()
    venue.rejected.clear()
    for wire in sheet.wires:
        send = venue.new_algo_order if "algoType" in wire else venue.new_order
        send(dict(wire))
    assert venue.rejected == []
    event(f"{len(sheet.wires)} orders, {'some' if any('algoType' not in w for w in sheet.wires) else 'none'} at market")


def _move(venue: Venue, symbol: str, price: Decimal) -> None:
    tick = INSTRUMENTS[symbol].tick
    at = price // tick * tick
    venue.step(MarketStep(venue.now + 5000, (Quote(symbol, at, at),)))


def _plan_on(venue: Venue, position: Position, story: dict[str, Any]) -> PlanSheet | None:
    isolated = story["margin"] is MarginMode.ISOLATED
    known = context(
        story["symbol"],
        leverage=D(story["leverage"]),
        margin=story["margin"],
        wallet=position.isolated_wallet if isolated else venue.wallet,
        volatility=story["volatility"],
        regime=story["regime"],
        confidence=story["confidence"],
    )
    request = position_request(position, INSTRUMENTS[story["symbol"]], known, Given(policy=story["policy"]))
    live = regular_orders(venue.open_orders({})) + AlgoList().orders(venue.open_algo_orders({}), whole=True)
    situation = Situation(
        "test",
        mode=PositionMode.HEDGE if story["hedge"] else PositionMode.ONE_WAY,
        position=position,
        standing=Standing(live=live),
    )
    rules = replace(RULES, execution=ExecutionRules(if_crossed=story["if_crossed"]))
    try:
        return compose(request, rules, situation)
    except InputsError:
        return None
