"""Plans end to end: the vectors of exit-rules 1 to 6, the traps of section 16, and what must hold for any input."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Bracket, Instrument, PositionSide, Unavailable
from tpctl.exits.ladder import one_line
from tpctl.exits.model import Context, MarginMode, Plan, Policy, PositionKey, Regime, RiskReadings, Suggestion
from tpctl.exits.planner import PlanRequest, plan_exits
from tpctl.exits.rules import ExecutionRules, ExitRules, LadderRules, ProfileRules, StopRules, TrailRules
from tpctl.exits.stops import AtrMultiple
from tpctl.exits.units import Ratio

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
NOTHING = Unavailable("not measured")
CALM_RISK = RiskReadings(Decimal(1), Decimal("0.2"), Decimal("0.3"), Decimal("0.4"))
WIDE_BRACKETS = (Bracket(Decimal(0), Decimal(10**9), 125, Decimal("0.004"), Decimal(0)),)
RULES = ExitRules()
# A stop's share of the distance to liquidation; a division has its error in the 28th digit.
ROOM = Decimal("0.8") * (1 + Decimal("1e-20"))


def pct(text: str) -> Ratio:
    return Ratio.percent(text)


def instrument(**changed: Any) -> Instrument:
    xrp = Instrument(
        symbol="XRPUSDT",
        status="TRADING",
        contract_type="PERPETUAL",
        margin_asset="USDT",
        tick=Decimal("0.0001"),
        min_price=Decimal("0.0143"),
        max_price=Decimal(100_000),
        step=Decimal("0.1"),
        min_quantity=Decimal("0.1"),
        max_quantity=Decimal(10_000_000),
        market_step=Decimal("0.1"),
        market_min_quantity=Decimal("0.1"),
        market_max_quantity=Decimal(2_000_000),
        min_notional=Decimal(5),
        percent_up=Decimal("1.05"),
        percent_down=Decimal("0.95"),
        max_orders=200,
        trigger_protect=Decimal("0.05"),
        market_take_bound=Decimal("0.05"),
        liquidation_fee=Decimal("0.0125"),
        price_precision=4,
        quantity_precision=1,
    )
    return replace(xrp, **changed)


def context(**changed: Any) -> Context:
    xrp = Context(
        leverage=Decimal(20),
        margin=MarginMode.ISOLATED,
        volatility=pct("2.5"),
        regime=Regime.NORMAL,
        confidence=Decimal("0.85"),
        quote_volume=Decimal(10**9),
        atr=NOTHING,
        taker_fee=pct("0.05"),
        maker_fee=pct("0.02"),
        brackets=WIDE_BRACKETS,
        wallet=Decimal(100),
        risk=CALM_RISK,
    )
    return replace(xrp, **changed)


def suggested(multiple: Decimal | int, why: str = "") -> Suggestion:
    return Suggestion("ab12cd34ef56", Decimal(multiple), why)


def request(side: PositionSide = LONG, **changed: Any) -> PlanRequest:
    """The XRP position of exit-rules 1: 20x, $2000."""
    terms: dict[str, Any] = {
        "key": PositionKey("XRPUSDT", side),
        "quantity": Decimal(800),
        "entry": Decimal("2.5"),
        "mark": Decimal("2.5"),
        "instrument": instrument(),
        "context": context(),
    }
    return PlanRequest(**{**terms, **changed})


def codes(plan: Plan) -> set[str]:
    return {reason.code for reason in plan.reasons}


def warned(plan: Plan) -> set[str]:
    return {reason.code for reason in plan.warnings}


def distances(plan: Plan) -> tuple[Ratio, ...]:
    return tuple(leg.distance for leg in plan.legs)


def fractions(plan: Plan) -> tuple[Decimal, ...]:
    return tuple(leg.fraction * 100 for leg in plan.legs)


def static(stop: str | None = None, **changed: Any) -> Plan:
    """A static plan with nothing known that would scale its stop, so that R is 2.5 %."""
    terms: dict[str, Any] = {
        "confidence": NOTHING,
        "volatility": NOTHING,
        "leverage": Decimal(3),
        "wallet": Decimal(900),
    }
    return plan_exits(
        request(
            policy=Policy.STATIC,
            stop=None if stop is None else pct(stop),
            context=context(**{**terms, **changed}),
        ),
        RULES,
    )


# The ladder end to end.


@pytest.mark.parametrize("side", PositionSide)
def test_xrp_vector_end_to_end(side: PositionSide) -> None:
    plan = plan_exits(request(side), RULES)

    assert distances(plan) == (pct("1.092"), pct("1.820"), pct("2.912"))
    assert fractions(plan) == (40, 35, 25)
    assert [leg.quantity for leg in plan.legs] == [320, 280, 200]
    assert one_line("XRPUSDT", plan.legs) == "XRPUSDT: TP1=1.09%(40%), TP2=1.82%(35%), TP3=2.91%(25%)"
    triggers = [leg.trigger for leg in plan.legs]
    if side is LONG:
        assert triggers == [Decimal("2.5273"), Decimal("2.5455"), Decimal("2.5728")]
        assert plan.stop < plan.entry
    else:
        assert triggers == [Decimal("2.4727"), Decimal("2.4545"), Decimal("2.4272")]
        assert plan.stop > plan.entry
    assert plan.policy is Policy.DYNAMIC
    assert plan.trail is not None
    assert (plan.trail.share, plan.trail.callback, plan.trail.activation) == (0, pct("2"), pct("2"))
    assert not plan.warnings


# exit-rules 1: entry 100, so that distances fall on ticks; leverage's own bracket is not the point here.
@pytest.mark.parametrize(
    ("notional", "changed", "pnl", "expected"),
    [
        ("2000", {"leverage": "20", "confidence": "0.85"}, "0", (("1.092", "1.820", "2.912"), (40, 35, 25))),
        (
            "4997",
            {"leverage": "10", "volatility": "3", "confidence": "0.90"},
            "0",
            (("1.56", "2.6", "4.16"), (40, 35, 25)),
        ),
        (
            "1800",
            {"leverage": "15", "volatility": "4.5", "regime": Regime.TRENDING, "confidence": "0.88"},
            "0",
            (("2.8665", "4.7775", "7.644"), (20, 30, 50)),
        ),
        (
            "1750",
            {"leverage": "20", "volatility": "2.8", "confidence": "0.82"},
            "0",
            (("1.05", "1.75", "2.8"), (30, 30, 40)),
        ),
        (
            "5000",
            {"leverage": "20", "volatility": "1", "regime": Regime.RANGING, "confidence": "0.5", "volume": "50000"},
            "6",
            (("0.5", "0.56448"), (80, 20)),
        ),
        (
            "500",
            {"leverage": "3", "volatility": "5", "regime": Regime.TRENDING, "confidence": "0.9"},
            "0",
            (("5.3235", "8.8725", "10"), (20, 30, 50)),
        ),
    ],
    ids=["XRP", "BTC", "SOL", "ETH", "all tightening", "all widening"],
)
@pytest.mark.parametrize("side", PositionSide)
def test_ladder_vectors_through_the_planner(
    side: PositionSide,
    notional: str,
    changed: dict[str, Any],
    pnl: str,
    expected: tuple[tuple[str, ...], tuple[int, ...]],
) -> None:
    levels, split = expected
    leverage = Decimal(changed["leverage"])
    plan = plan_exits(
        request(
            side,
            quantity=Decimal(notional) / 100,
            entry=Decimal(100),
            mark=Decimal(100) * (1 + side.sign * pct(pnl).fraction),
            instrument=instrument(step=Decimal("0.01"), market_step=Decimal("0.01"), quantity_precision=2),
            context=context(
                leverage=leverage,
                volatility=pct(changed.get("volatility", "2.5")),
                regime=changed.get("regime", Regime.NORMAL),
                confidence=Decimal(changed["confidence"]),
                quote_volume=Decimal(changed.get("volume", 10**9)),
                wallet=Decimal(notional) / leverage,
            ),
        ),
        RULES,
    )

    assert distances(plan) == tuple(pct(text) for text in levels)
    assert fractions(plan) == split
    assert sum(leg.quantity for leg in plan.legs) == plan.quantity
    assert ("levels_merged" in codes(plan)) is (len(levels) == 2)


def test_the_ladder_is_not_scaled_by_the_stop_or_by_the_regime_again() -> None:
    trending = context(regime=Regime.TRENDING)
    near = plan_exits(request(context=trending, stop=pct("1")), RULES)
    far = plan_exits(request(context=trending, stop=pct("3")), RULES)

    assert distances(near) == distances(far)
    assert distances(near)[0] == pct("1.092").scaled(Decimal("1.5"))
    assert len([reason for reason in near.reasons if "TRENDING" in reason.text]) == 1


def test_every_change_has_a_reason_with_before_and_after() -> None:
    plan = plan_exits(request(context=context(risk=replace(CALM_RISK, ess=Decimal(3)))), RULES)

    assert {"high_leverage", "large_position", "high_confidence", "risk_factor", "reward_risk"} <= codes(plan)
    assert all(
        reason.before and reason.after for reason in plan.reasons if reason.code in {"high_leverage", "risk_factor"}
    )
    stages = [reason.stage for reason in plan.reasons]
    order = ["policy", "blend", "risk", "clamp", "stop", "reward_risk", "liquidation", "fees", "quantize"]
    assert stages == sorted(stages, key=order.index)


# Policies.


def test_static_vector_at_the_default_stop() -> None:
    plan = static()

    assert distances(plan) == (pct("1.25"), pct("2.5"), pct("5"))
    assert fractions(plan) == (25, 25, 50)
    assert plan.policy is Policy.STATIC


def test_static_trending_leaves_its_share_to_the_trail() -> None:
    plan = static(regime=Regime.TRENDING)

    assert plan.trail is not None
    assert plan.trail.share == Decimal("0.35")
    assert fractions(plan) == (15, 20, 30)
    assert [leg.quantity for leg in plan.legs] == [120, 160, 240]


@pytest.mark.parametrize("regime", [Regime.RANGING, Regime.CHOP])
def test_static_sideways_has_no_trail(regime: Regime) -> None:
    assert static(regime=regime).trail is None


def test_static_profile_by_symbol_and_strategy() -> None:
    rules = replace(RULES, profiles=ProfileRules(by_strategy={"scalp": "chop"}))

    plan = plan_exits(request(policy=Policy.STATIC, strategy="scalp", stop=pct("2")), rules)

    assert fractions(plan) == (40, 40, 20)


def test_target_vector_through_the_planner() -> None:
    plan = plan_exits(
        request(
            policy=Policy.TARGET,
            entry=Decimal(100),
            mark=Decimal(100),
            quantity=Decimal(10),
            context=context(leverage=Decimal(3), wallet=Decimal(400), volatility=NOTHING, confidence=Decimal("0.75")),
        ),
        RULES,
    )

    assert [leg.distance.show(3) for leg in plan.legs] == ["6.818%"]
    assert fractions(plan) == (100,)
    assert plan.stop_distance.show(3) == "2.159%"
    assert plan.trail is not None
    assert plan.trail.callback.show(3) == "2.727%"


def test_target_blends_the_suggestion_once() -> None:
    plan = plan_exits(
        request(
            policy=Policy.TARGET,
            context=context(
                leverage=Decimal(3),
                wallet=Decimal(900),
                volatility=NOTHING,
                confidence=Decimal("0.75"),
                # Of the 6.818 % the target aims at by itself.
                suggestion=suggested(pct("8") / pct("6.818181818")),
            ),
        ),
        RULES,
    )

    assert plan.legs[0].distance.show(3) == "7.291%"


def test_target_keeps_its_floor_under_risk() -> None:
    stressed = RiskReadings(Decimal(3), Decimal("0.9"), Decimal("0.9"), Decimal("0.9"))
    plan = plan_exits(
        request(policy=Policy.TARGET, context=context(leverage=Decimal(3), wallet=Decimal(900), risk=stressed)), RULES
    )

    assert plan.legs[0].distance == pct("5")
    assert "target_floor" in codes(plan)


@pytest.mark.parametrize(
    ("confidence", "legs", "callback"),
    [(Decimal("0.1"), 3, None), (Decimal("0.5"), 3, "1.000%"), (Decimal("0.9"), 4, "3.382%"), (NOTHING, 3, None)],
)
def test_hybrid(confidence: Decimal | Unavailable, legs: int, callback: str | None) -> None:
    plan = plan_exits(
        request(
            policy=Policy.HYBRID,
            context=context(leverage=Decimal(3), wallet=Decimal(900), volatility=NOTHING, confidence=confidence),
        ),
        RULES,
    )

    assert len(plan.legs) == legs
    assert sum(leg.quantity for leg in plan.legs) == plan.quantity
    assert (plan.trail and plan.trail.callback.show(3)) == callback
    assert ("policy_stop" in codes(plan)) is (legs == 4)


def test_hybrid_never_widens_the_stop_of_the_static_policy() -> None:
    rules = replace(RULES, stop=StopRules(reward_risk=Decimal("0.1")))
    for confidence in ("0.1", "0.5", "0.8", "0.95"):
        known = context(leverage=Decimal(3), wallet=Decimal(900), confidence=Decimal(confidence))
        blended = plan_exits(request(policy=Policy.HYBRID, context=known), rules)
        plain = plan_exits(request(policy=Policy.STATIC, context=known), rules)

        assert blended.stop_distance <= plain.stop_distance
        assert (blended.stop_distance < plain.stop_distance) is (Decimal(confidence) >= Decimal("0.8"))


def test_a_ladder_that_cannot_be_computed_falls_back_to_static_and_says_which_input() -> None:
    plan = plan_exits(request(instrument=instrument(margin_asset="BTC")), RULES)

    assert plan.policy is Policy.STATIC
    assert fractions(plan) == (25, 25, 50)
    (warning,) = [reason for reason in plan.warnings if reason.code == "static_fallback"]
    assert "notional unavailable (margin asset BTC is not a US dollar)" in warning.text


def test_optional_inputs_that_are_missing_are_named() -> None:
    plan = plan_exits(
        request(
            mark=None,
            context=context(volatility=NOTHING, regime=NOTHING, confidence=NOTHING, quote_volume=NOTHING, risk=NOTHING),
        ),
        RULES,
    )

    texts = "\n".join(reason.text for reason in plan.reasons)
    for name in ("volatility", "regime", "confidence", "quote volume", "unrealised PnL", "risk"):
        assert f"{name} unavailable" in texts
    assert "no learned policy blended in" in texts


@pytest.mark.parametrize(
    "wrong",
    [
        {"context": context(leverage=Unavailable("this endpoint lacks it"))},
        {"context": context(leverage=Decimal(0))},
        {"quantity": Decimal(0)},
        {"quantity": Decimal(-1)},
        {"entry": Decimal(0)},
        {"entry": Decimal("NaN")},
        {"mark": Decimal(0)},
        {"quantity": Decimal("1e17"), "entry": Decimal("1e17")},
        {"instrument": instrument(tick=Decimal(0))},
        {"instrument": instrument(step=Decimal(0), market_step=Decimal(0))},
        {"instrument": instrument(symbol="BTCUSDT")},
        {"context": context(confidence=Decimal(85))},
        {"context": context(volatility=pct("-1"))},
        {"context": context(quote_volume=Decimal(-1))},
        {"legs": ()},
        {"legs": ((pct("1"), Decimal("0.6")), (pct("2"), Decimal("0.6")))},
        {"legs": ((pct("2"), Decimal("0.5")), (pct("1"), Decimal("0.5")))},
        {"legs": ((pct("0"), Decimal(1)),)},
        {"legs": ((pct("100"), Decimal(1)),), "key": PositionKey("XRPUSDT", SHORT)},
        {"stop": pct("0")},
        {"stop": AtrMultiple(Decimal(2))},
        {"trail": pct("7")},
        {"trail": AtrMultiple(Decimal(1))},
        {"quantity": Decimal("0.05")},
    ],
    ids=str,
)
def test_missing_or_impossible_inputs_refuse_the_plan(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputsError) as refused:
        plan_exits(request(**wrong), RULES)

    assert refused.value.hint
    assert "\n" not in refused.value.message


def test_unknown_leverage_is_never_taken_for_one() -> None:
    with pytest.raises(InputsError, match="this endpoint lacks it"):
        plan_exits(request(context=context(leverage=Unavailable("this endpoint lacks it"))), RULES)


# Blend and risk.


def test_blend_scales_all_legs_toward_the_suggestion() -> None:
    plain = plan_exits(request(), RULES)
    blended = plan_exits(request(context=context(suggestion=suggested(2, "drift_fast +0.02"))), RULES)

    assert distances(blended) == tuple(distance.scaled(Decimal("1.4")) for distance in distances(plain))
    assert "no_blend" in codes(plain)
    (reason,) = [reason for reason in blended.reasons if reason.stage == "blend"]
    assert reason.text.startswith("learned policy ab12cd34ef56 suggests a mean TP of ")
    assert reason.text.endswith(" (drift_fast +0.02) → +40% TP distance")


def test_a_suggestion_to_leave_the_plan_as_it_is_is_told() -> None:
    plan = plan_exits(request(context=context(suggestion=suggested(1))), RULES)

    assert distances(plan) == distances(plan_exits(request(), RULES))
    assert "learned policy ab12cd34ef56 suggests no other distance" in [reason.text for reason in plan.reasons]


def test_blended_levels_are_clamped_again() -> None:
    plan = plan_exits(request(context=context(suggestion=suggested(10))), RULES)

    assert distances(plan)[-1] == pct("10")
    assert all(distance <= pct("10") for distance in distances(plan))
    assert "clamp" in {reason.stage for reason in plan.reasons}


@pytest.mark.parametrize("multiple", ["-1", "0", "NaN", "Infinity"])
def test_a_suggestion_without_profit_is_not_used_and_does_not_block_the_plan(multiple: str) -> None:
    plan = plan_exits(request(context=context(suggestion=suggested(Decimal(multiple)))), RULES)

    assert distances(plan) == distances(plan_exits(request(), RULES))
    assert "suggestion_refused" in warned(plan)


def test_risk_scales_take_profits_once_and_the_stop_only_by_its_own_factor() -> None:
    stressed = replace(CALM_RISK, systemic=Decimal("0.85"))
    known = {"leverage": Decimal(3), "wallet": Decimal(900), "confidence": NOTHING, "volatility": NOTHING}
    rules = replace(RULES, stop=StopRules(reward_risk=Decimal("0.1")))
    calm = plan_exits(request(context=context(**known)), rules)
    tense = plan_exits(request(context=context(**known, risk=stressed)), rules)

    assert distances(tense) == tuple(distance.scaled(Decimal("0.75")) for distance in distances(calm))
    assert (calm.stop_distance, tense.stop_distance) == (pct("2.5"), pct("3"))


def test_given_levels_are_left_as_they_are() -> None:
    stressed = replace(CALM_RISK, ess=Decimal(3))
    legs = ((pct("1"), Decimal("0.5")), (pct("12"), Decimal("0.3")))

    plan = plan_exits(request(legs=legs, context=context(risk=stressed, suggestion=suggested(3))), RULES)

    assert distances(plan) == (pct("1"), pct("12"))
    assert [leg.quantity for leg in plan.legs] == [400, 240]
    assert plan.trail is not None
    assert plan.trail.share == Decimal("0.2")
    assert "levels_given" in codes(plan)


# Stop, reward:risk, liquidation.


def test_reward_risk_is_reached_by_tightening_the_stop() -> None:
    plan = plan_exits(request(), RULES)

    assert plan.reward_risk >= Decimal("1.5")
    assert "reward_risk" in codes(plan)
    assert plan.stop_distance == pct("1.2012")


@pytest.mark.parametrize(("side", "stop"), [(LONG, "2.475"), (SHORT, "2.525")])
def test_reward_risk_holds_on_the_grid_too(side: PositionSide, stop: str) -> None:
    # Ticks of 0.005 take the levels to 0.025 / 0.045 / 0.070 of profit, 0.04325 on average. A stop 0.030 away, where
    # the planned one rounds to, would earn 1.44 times its risk.
    plan = plan_exits(request(side, instrument=instrument(tick=Decimal("0.005"))), RULES)

    assert plan.stop == Decimal(stop)
    assert plan.reward_risk == Decimal("1.73")
    assert plan.stop_distance == pct("1")
    assert "reward_risk_grid" in codes(plan)


def test_reward_risk_short_at_the_floor_is_a_warning_and_a_refusal_where_asked() -> None:
    near = ((pct("0.6"), Decimal(1)),)
    plan = plan_exits(request(legs=near), RULES)

    assert plan.stop_distance == pct("0.5")
    assert "reward_risk_short" in warned(plan)
    with pytest.raises(InputsError, match="reward:risk"):
        plan_exits(request(legs=near, min_reward_risk=Decimal("1.5")), RULES)


def test_a_higher_minimum_reward_risk_tightens_further() -> None:
    plan = plan_exits(request(min_reward_risk=Decimal(3)), RULES)

    assert plan.reward_risk >= 3
    assert plan.stop_distance < plan_exits(request(), RULES).stop_distance


def test_a_given_stop_is_neither_scaled_nor_tightened_for_reward() -> None:
    plan = plan_exits(request(stop=pct("3")), RULES)

    assert plan.stop_distance == pct("3")
    assert plan.stop == Decimal("2.425")
    assert "reward_risk_short" in warned(plan)


def test_a_given_stop_is_still_clamped_short_of_liquidation() -> None:
    plan = plan_exits(request(stop=pct("4.5")), RULES)

    assert plan.liquidation is not None
    assert plan.entry - plan.stop <= Decimal("0.8") * (plan.entry - plan.liquidation)
    assert "liquidation_clamp" in codes(plan)
    assert plan.liquidation < plan.backstop <= plan.stop


def test_stop_and_trail_in_atr() -> None:
    plan = plan_exits(
        request(stop=AtrMultiple(Decimal(2)), trail=AtrMultiple(Decimal("1.5")), context=context(atr=Decimal("0.02"))),
        RULES,
    )

    assert plan.stop_distance == pct("1.6")
    assert plan.trail is not None
    assert (plan.trail.callback, plan.trail.atr_multiple) == (pct("1.2"), Decimal("1.5"))


def test_the_atr_style_hangs_the_policys_trail_within_the_callbacks_bounds() -> None:
    rules = replace(RULES, trail=TrailRules(style="atr"))

    hung = plan_exits(request(context=context(atr=Decimal("0.02"))), rules)
    wild = plan_exits(request(context=context(atr=Decimal("0.2"))), rules)
    by_hand = plan_exits(request(trail=pct("1"), context=context(atr=Decimal("0.02"))), rules)

    assert [plan.trail and (plan.trail.callback, plan.trail.atr_multiple) for plan in (hung, wild, by_hand)] == [
        (pct("2.4"), Decimal(3)),
        (pct("5"), Decimal(3)),
        (pct("1"), None),
    ]
    (reason,) = [reason for reason in hung.reasons if reason.code == "atr_trail"]
    assert (reason.text, reason.before, reason.after) == ("trail of 3atr at an hourly ATR of 0.02", "2%", "2.4000%")


def test_the_percent_style_flattens_the_schedule_of_any_policy() -> None:
    rules = replace(RULES, trail=TrailRules(style="percent"))
    plan = plan_exits(request(policy=Policy.STATIC, context=context(regime=Regime.TRENDING)), rules)

    assert plan.trail is not None
    assert plan.trail.schedule == ((plan.trail.activation, Decimal(1)),)


def test_a_profile_without_a_trail_gets_none_by_any_style() -> None:
    for style in ("tiered", "percent", "atr"):
        rules = replace(RULES, trail=TrailRules(style=style))
        asked = request(policy=Policy.STATIC, context=context(regime=Regime.RANGING, atr=Decimal("0.02")))
        assert plan_exits(asked, rules).trail is None


def test_liquidation_is_computed_from_wallet_and_brackets() -> None:
    plan = plan_exits(request(), RULES)

    # Wallet 100 less cost 2000, over 800 units at a maintenance rate of 0.4 % less one.
    assert plan.liquidation is not None
    assert round(plan.liquidation, 6) == Decimal("2.384538")
    assert "liquidation_bound" not in warned(plan)


@pytest.mark.parametrize("missing", ["wallet", "brackets"])
def test_unknown_liquidation_is_bounded_and_said(missing: str) -> None:
    plan = plan_exits(request(stop=pct("9"), context=context(**{missing: Unavailable("no key")})), RULES)

    assert plan.liquidation is None
    assert plan.stop_distance <= pct("4")
    (warning,) = [reason for reason in plan.warnings if reason.code == "liquidation_bound"]
    assert f"{missing} unavailable (no key)" in warning.text


def test_leverage_above_the_bracket_is_refused() -> None:
    narrow = (Bracket(Decimal(0), Decimal(10**6), 10, Decimal("0.02"), Decimal(0)),)

    with pytest.raises(InputsError, match="10x"):
        plan_exits(request(context=context(brackets=narrow)), RULES)


def test_over_leveraged_is_refused_with_the_numbers() -> None:
    with pytest.raises(InputsError, match="over-leveraged: at 500x"):
        plan_exits(request(context=context(leverage=Decimal(500), brackets=NOTHING)), RULES)


def test_the_margin_loss_cap_tightens_the_stop() -> None:
    rules = replace(RULES, stop=StopRules(max_margin_loss=Decimal("0.2")))

    assert plan_exits(request(), rules).stop_distance == pct("1")


def test_a_stop_the_mark_has_crossed_is_kept_with_a_warning() -> None:
    plan = plan_exits(request(mark=Decimal("2.46")), RULES)

    assert plan.stop == Decimal("2.47")
    assert "stop_crossed" in warned(plan)


@pytest.mark.parametrize(("side", "mark"), [(LONG, "2.46"), (SHORT, "2.54")])
def test_a_crossed_stop_can_be_measured_from_the_mark(side: PositionSide, mark: str) -> None:
    plan = plan_exits(request(side, mark=Decimal(mark), anchor_stop_at_mark=True), RULES)

    assert side.sign * (Decimal(mark) - plan.stop) > 0
    assert abs(plan.stop / Decimal(mark) - 1) == pytest.approx(Decimal("0.012012"), abs=Decimal("0.0001"))
    assert "stop_reanchored" in warned(plan)
    assert "stop_crossed" not in warned(plan)


def test_a_stop_measured_from_the_mark_still_lies_short_of_liquidation() -> None:
    plan = plan_exits(request(mark=Decimal("2.42"), stop=pct("3"), anchor_stop_at_mark=True), RULES)

    assert plan.liquidation is not None
    assert plan.stop < Decimal("2.42")
    assert plan.entry - plan.stop <= Decimal("0.8") * (plan.entry - plan.liquidation)


def test_a_mark_beyond_the_liquidation_share_leaves_the_stop_crossed() -> None:
    plan = plan_exits(request(mark=Decimal("2.39"), anchor_stop_at_mark=True), RULES)

    assert plan.stop > Decimal("2.39")
    assert "stop_crossed" in warned(plan)


def test_an_uncrossed_stop_is_not_anchored() -> None:
    assert plan_exits(request(anchor_stop_at_mark=True), RULES) == plan_exits(request(), RULES)


# Fees and the grid.


def test_levels_inside_the_fees_move_out_to_the_fee_floor() -> None:
    dear = context(taker_fee=pct("0.6"))
    plan = plan_exits(request(context=dear), RULES)

    net = plan.entry * Decimal("1.006") / Decimal("0.994")
    assert plan.legs[0].trigger == Decimal("2.5302")
    assert plan.legs[0].trigger > net > plan.legs[0].trigger - plan.entry * Decimal("0.0001")
    (reason,) = [reason for reason in plan.reasons if reason.code == "fee_floor"]
    assert reason.before == "1.092%"


def test_fees_that_were_assumed_are_a_reason() -> None:
    assumed = context(fees_assumed=Unavailable("the exchange does not answer"))
    (reason,) = [r for r in plan_exits(request(context=assumed), RULES).reasons if r.code == "fees_assumed"]

    text = "fees of the account unavailable (the exchange does not answer): the exchange's base rates are used"
    assert reason.text == text
    assert "fees_assumed" not in codes(plan_exits(request(), RULES))


@pytest.mark.parametrize("side", PositionSide)
def test_levels_on_one_tick_merge(side: PositionSide) -> None:
    coarse = instrument(tick=Decimal("0.05"), price_precision=2)
    plan = plan_exits(request(side, instrument=coarse, entry=Decimal("2.51"), mark=Decimal("2.51")), RULES)

    triggers = [side.sign * leg.trigger for leg in plan.legs]
    assert triggers == sorted(set(triggers))
    assert sum(leg.quantity for leg in plan.legs) == plan.quantity
    assert "levels_merged" in codes(plan)
    assert [leg.number for leg in plan.legs] == list(range(1, len(plan.legs) + 1))


def test_a_stop_without_a_tick_before_entry_goes_to_the_first_one_there_is() -> None:
    coarse = instrument(tick=Decimal("0.01"), min_price=Decimal("0.01"), price_precision=2)
    plan = plan_exits(
        request(
            quantity=Decimal(10_000),
            entry=Decimal("0.203"),
            mark=Decimal("0.203"),
            instrument=coarse,
            stop=pct("0.5"),
            context=context(leverage=Decimal(3), wallet=Decimal(700)),
        ),
        RULES,
    )

    assert plan.stop == Decimal("0.20")
    assert "stop_widened" in warned(plan)


def test_a_stop_without_any_tick_short_of_liquidation_is_refused() -> None:
    coarse = instrument(tick=Decimal("0.05"), min_price=Decimal("0.05"), price_precision=2)

    with pytest.raises(InputsError, match="no tick"):
        plan_exits(request(quantity=Decimal(8000), entry=Decimal("0.25"), mark=None, instrument=coarse), RULES)


def test_legs_too_small_merge_and_the_rest_closes_all() -> None:
    whole = instrument(step=Decimal(1), market_step=Decimal(1), min_quantity=Decimal(1), market_min_quantity=Decimal(1))
    plan = plan_exits(request(quantity=Decimal(2), instrument=whole), RULES)

    assert sum(leg.quantity for leg in plan.legs) == 2
    assert len(plan.legs) == 2
    assert "leg_merged" in codes(plan)
    assert sum(fractions(plan)) == 100


def test_fractions_are_of_the_initial_size_and_nothing_stays_open() -> None:
    plan = plan_exits(request(), RULES)

    remaining = plan.quantity - sum(leg.quantity for leg in plan.legs)
    assert [leg.quantity / plan.quantity for leg in plan.legs] == [leg.fraction for leg in plan.legs]
    assert remaining == 0


def test_a_symbol_that_does_not_trade_is_a_warning_not_a_refusal() -> None:
    assert "not_tradable" in warned(plan_exits(request(instrument=instrument(status="SETTLING")), RULES))


def test_breakeven_is_net_of_fees_by_default_and_on_the_tick() -> None:
    net = plan_exits(request(), RULES)
    bare = plan_exits(request(), replace(RULES, execution=ExecutionRules(breakeven="entry")))

    assert (net.breakeven, bare.breakeven) == (Decimal("2.5026"), Decimal("2.5"))


def test_an_absurd_rule_is_explained_not_a_traceback() -> None:
    with pytest.raises(InputsError):
        plan_exits(request(SHORT, stop=pct("3"), instrument=instrument(max_price=Decimal("2.51"))), RULES)


def test_same_inputs_same_plan() -> None:
    assert plan_exits(request(), RULES) == plan_exits(request(), ExitRules())


def test_configured_ladder_is_used() -> None:
    even = (Decimal("0.5"), Decimal("0.5"))
    rules = replace(
        RULES,
        ladder=LadderRules(
            distances=(pct("2"), pct("4")),
            split=even,
            large_notional_split=even,
            trending_split=even,
            low_volume_split=even,
        ),
    )

    assert len(plan_exits(request(), rules).legs) == 2


# What holds for any input.

reading = st.one_of(st.just(NOTHING), st.decimals("0", "1", places=2))
ratio = st.decimals("0.1", "9", places=2).map(Ratio.percent)


@st.composite
def requests(draw: st.DrawFn) -> PlanRequest:
    tick = draw(st.sampled_from(["0.0001", "0.001", "0.01", "0.05", "0.1", "1", "5"]))
    step = draw(st.sampled_from(["0.001", "0.1", "1", "5", "10"]))
    entry = Decimal(tick) * draw(st.integers(3, 200_000)) + draw(st.sampled_from([Decimal(0), Decimal(tick) / 3]))
    quantity = Decimal(step) * draw(st.integers(1, 5_000))
    leverage = draw(st.integers(1, 150))
    mark = draw(st.one_of(st.none(), st.decimals("0.8", "1.2", places=3).map(lambda share: entry * share)))
    legs = draw(
        st.one_of(
            st.none(),
            st.none(),
            st.lists(ratio, min_size=1, max_size=4, unique=True).map(
                lambda found: tuple((each, Decimal("0.25")) for each in sorted(found))
            ),
        )
    )
    places = max(-int(Decimal(tick).as_tuple().exponent), 0)
    return PlanRequest(
        key=PositionKey("XRPUSDT", draw(st.sampled_from(PositionSide))),
        quantity=quantity,
        entry=entry,
        mark=mark,
        instrument=instrument(
            tick=Decimal(tick),
            min_price=Decimal(tick),
            max_price=Decimal(0),
            step=Decimal(step),
            market_step=Decimal(step),
            min_quantity=Decimal(step),
            market_min_quantity=Decimal(step) * draw(st.integers(1, 20)),
            price_precision=places,
            quantity_precision=3,
            margin_asset=draw(st.sampled_from(["USDT", "USDT", "BTC"])),
        ),
        context=context(
            leverage=Decimal(leverage),
            volatility=draw(st.one_of(st.just(NOTHING), ratio)),
            regime=draw(st.one_of(st.just(NOTHING), st.sampled_from(Regime))),
            confidence=draw(reading),
            quote_volume=draw(st.one_of(st.just(NOTHING), st.integers(0, 200_000).map(Decimal))),
            taker_fee=draw(st.sampled_from([pct("0"), pct("0.05"), pct("0.4")])),
            brackets=draw(st.sampled_from([NOTHING, WIDE_BRACKETS])),
            wallet=draw(
                st.one_of(
                    st.just(NOTHING),
                    st.decimals("0.5", "3", places=1).map(lambda share: share * quantity * entry / leverage),
                )
            ),
            risk=draw(st.one_of(st.just(NOTHING), st.builds(RiskReadings, reading, reading, reading, reading))),
            suggestion=draw(st.one_of(st.just(NOTHING), st.decimals("-1", "10", places=2).map(suggested))),
        ),
        policy=draw(st.one_of(st.none(), st.sampled_from(Policy))),
        legs=legs,
        stop=draw(st.one_of(st.none(), st.none(), ratio)),
        anchor_stop_at_mark=draw(st.booleans()),
    )


def attempt(wanted: PlanRequest) -> Plan | InputsError:
    try:
        return plan_exits(wanted, RULES)
    except InputsError as error:
        return error


@settings(max_examples=200)
@given(requests())
def test_any_plan_is_ordered_on_grid_whole_and_short_of_liquidation(wanted: PlanRequest) -> None:
    plan = attempt(wanted)
    if isinstance(plan, InputsError):
        assert plan.hint
        return
    sign, rules = wanted.key.side.sign, wanted.instrument
    prices = [plan.backstop, plan.stop, *(leg.trigger for leg in plan.legs)]
    assert all(price > 0 and price % rules.tick == 0 for price in [*prices, plan.breakeven])
    assert sign * plan.backstop <= sign * plan.stop < sign * plan.entry
    triggers = [sign * leg.trigger for leg in plan.legs]
    assert triggers == sorted(set(triggers))
    fee = wanted.context.taker_fee.fraction
    for leg in plan.legs:
        assert sign * (leg.trigger - plan.entry) - fee * (leg.trigger + plan.entry) > 0
        assert leg.quantity % rules.step == 0
        assert leg.quantity >= rules.market_min_quantity
    closed = sum((leg.quantity for leg in plan.legs), Decimal(0))
    left = plan.trail.share if plan.trail else Decimal(0)
    assert plan.quantity * (1 - left) - rules.step < closed <= plan.quantity * (1 - left)
    if left == 0:
        assert closed == plan.quantity
    if plan.liquidation is not None:
        assert sign * (plan.entry - plan.stop) <= ROOM * sign * (plan.entry - plan.liquidation)
        assert sign * (plan.backstop - plan.liquidation) > 0
    elif isinstance(wanted.context.brackets, Unavailable):
        assert sign * (plan.entry - plan.stop) <= ROOM * plan.entry / plan.leverage
    if plan.reward_risk < RULES.stop.reward_risk:
        assert "reward_risk_short" in warned(plan)


@settings(max_examples=300)
@given(requests(), st.decimals("0.05", "10", places=2), st.none() | st.sampled_from(["0.5", "1.5", "3"]))
def test_no_suggestion_moves_a_stop_away_or_grows_what_is_closed(
    wanted: PlanRequest, multiple: Decimal, least: str | None
) -> None:
    asked = replace(wanted, min_reward_risk=None if least is None else Decimal(least))
    own = attempt(replace(asked, context=replace(asked.context, suggestion=NOTHING)))
    blended = attempt(replace(asked, context=replace(asked.context, suggestion=suggested(multiple))))
    if isinstance(own, InputsError) or isinstance(blended, InputsError):
        assert type(own) is type(blended)
        return

    sign = wanted.key.side.sign
    assert sign * (blended.stop - own.stop) >= 0
    assert sign * (blended.backstop - own.backstop) >= 0
    assert blended.stop_distance <= own.stop_distance
    assert blended.quantity == own.quantity
    if own.trail is not None and blended.trail is not None:
        assert blended.trail.callback <= own.trail.callback
        assert blended.trail.activation <= own.trail.activation
    # Levels may merge where a suggestion draws them together; together they close what they did, at most all of it.
    assert sum((leg.quantity for leg in blended.legs), Decimal(0)) <= own.quantity


def test_a_stop_tightened_for_reward_stays_where_it_is_when_targets_are_lifted() -> None:
    own = plan_exits(request(), RULES)
    lifted = plan_exits(request(context=context(suggestion=suggested(2))), RULES)

    assert "reward_risk" in codes(own)
    assert (lifted.stop, lifted.stop_distance, lifted.backstop) == (own.stop, own.stop_distance, own.backstop)
    assert lifted.reward_risk > own.reward_risk
    (kept,) = [reason for reason in lifted.reasons if reason.code == "stop_kept"]
    assert kept.after == str(own.stop)


def test_a_target_lifted_by_a_suggestion_widens_neither_its_stop_nor_its_trail() -> None:
    known = {"leverage": Decimal(3), "wallet": Decimal(900), "volatility": NOTHING, "confidence": Decimal("0.9")}
    own = plan_exits(request(policy=Policy.TARGET, context=context(**known)), RULES)
    lifted = plan_exits(request(policy=Policy.TARGET, context=context(**known, suggestion=suggested(2))), RULES)

    assert lifted.legs[0].distance > own.legs[0].distance
    assert (lifted.stop, lifted.trail) == (own.stop, own.trail)


def test_a_suggestion_that_leaves_no_plan_is_left_out() -> None:
    asked = {"min_reward_risk": Decimal("1.5"), "stop": pct("0.8")}
    own = plan_exits(request(**asked), RULES)
    kept = plan_exits(request(**asked, context=context(suggestion=suggested(Decimal("0.1")))), RULES)

    assert (distances(kept), kept.stop) == (distances(own), own.stop)
    (reason,) = [reason for reason in kept.reasons if reason.code == "no_blend"]
    assert "with what ab12cd34ef56 suggests, reward:risk of" in reason.text


@settings(max_examples=100)
@given(requests())
def test_a_short_is_the_mirror_of_a_long(wanted: PlanRequest) -> None:
    # Fees and maintenance margin are not symmetric around entry; everything else is.
    tick = wanted.instrument.tick
    entry = wanted.entry // tick * tick
    assume(entry > 2 * tick)
    same = replace(
        wanted, entry=entry, mark=None, context=replace(wanted.context, taker_fee=pct("0"), brackets=NOTHING)
    )
    plan = attempt(same)
    mirrored = attempt(replace(same, key=PositionKey("XRPUSDT", wanted.key.side.other)))
    if isinstance(plan, InputsError) or isinstance(mirrored, InputsError):
        assert type(plan) is type(mirrored)
        return

    assert [leg.trigger + other.trigger for leg, other in zip(plan.legs, mirrored.legs, strict=True)] == [
        2 * entry
    ] * len(plan.legs)
    assert [leg.quantity for leg in plan.legs] == [leg.quantity for leg in mirrored.legs]
    assert plan.stop + mirrored.stop == plan.backstop + mirrored.backstop == plan.breakeven + mirrored.breakeven
    assert plan.reward_risk == mirrored.reward_risk
    assert (plan.stop_distance, plan.trail, plan.policy) == (mirrored.stop_distance, mirrored.trail, mirrored.policy)
