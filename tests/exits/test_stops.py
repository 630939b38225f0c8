from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Bracket, Instrument, PositionSide, Unavailable
from tpctl.exits.model import Leg, Plan, Policy, PositionKey
from tpctl.exits.rules import ExecutionRules, StopRules, TargetRules
from tpctl.exits.stops import (
    AtrMultiple,
    LiquidationRoom,
    backstop_distance,
    breakeven,
    cap_margin_loss,
    clamp_to_liquidation,
    liquidation_room,
    parse_distance,
    ratchet_stop,
    spec_distance,
    stop_distance,
    tighten_for_reward,
)
from tpctl.exits.units import Ratio

NOTHING = Unavailable("not measured")
RULES = StopRules()
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ONE = Decimal(1)


def pct(text: str) -> Ratio:
    return Ratio.percent(text)


def instrument(tick: str = "0.1") -> Instrument:
    zero = Decimal(0)
    return Instrument(
        symbol="BTCUSDT",
        status="TRADING",
        contract_type="PERPETUAL",
        margin_asset="USDT",
        tick=Decimal(tick),
        min_price=zero,
        max_price=zero,
        step=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        max_quantity=Decimal(1000),
        market_step=Decimal("0.001"),
        market_min_quantity=Decimal("0.001"),
        market_max_quantity=Decimal(120),
        min_notional=Decimal(50),
        percent_up=Decimal("1.05"),
        percent_down=Decimal("0.95"),
        max_orders=200,
        trigger_protect=Decimal("0.05"),
        market_take_bound=Decimal("0.05"),
        liquidation_fee=Decimal("0.0125"),
        price_precision=8,
        quantity_precision=3,
    )


def plan(side: PositionSide, entry: str, stop: str, triggers: tuple[str, ...], level: str | None = None) -> Plan:
    share = Decimal(1) / len(triggers)
    return Plan(
        key=PositionKey("BTCUSDT", side),
        policy=Policy.DYNAMIC,
        quantity=Decimal(len(triggers)),
        entry=Decimal(entry),
        leverage=Decimal(10),
        legs=tuple(
            Leg(number, pct("1"), Decimal(trigger), share, Decimal(1)) for number, trigger in enumerate(triggers, 1)
        ),
        stop_distance=pct("1"),
        stop=Decimal(stop),
        backstop_distance=pct("2"),
        backstop=Decimal(stop),
        trail=None,
        breakeven=Decimal(level or entry),
        reward_risk=Decimal(2),
        liquidation=None,
    )


# exit-rules 6: 2.5 % x (2 - confidence scale) x volatility scale x mode, x 1.20 under systemic risk.
@pytest.mark.parametrize(
    ("confidence", "volatility", "systemic", "distance"),
    [
        (NOTHING, NOTHING, "1", "2.500%"),
        ("0.40", NOTHING, "1", "3.750%"),
        ("0.10", NOTHING, "1", "3.750%"),
        ("0.75", NOTHING, "1", "2.159%"),
        ("0.95", NOTHING, "1", "1.250%"),
        ("1", NOTHING, "1", "1.250%"),
        ("0.75", "2", "1", "2.303%"),
        (NOTHING, "0", "1", "2.000%"),
        (NOTHING, "9", "1", "3.750%"),
        (NOTHING, NOTHING, "1.2", "3.000%"),
    ],
)
def test_stop_distance(
    confidence: str | Unavailable, volatility: str | Unavailable, systemic: str, distance: str
) -> None:
    result, reasons = stop_distance(
        confidence if isinstance(confidence, Unavailable) else Decimal(confidence),
        volatility if isinstance(volatility, Unavailable) else pct(volatility),
        Decimal(systemic),
        RULES,
        TargetRules(),
    )

    assert result.show(3) == distance
    skipped = {reason.code for reason in reasons if reason.before is None}
    assert ("confidence_unavailable" in skipped) is isinstance(confidence, Unavailable)
    assert ("volatility_unavailable" in skipped) is isinstance(volatility, Unavailable)


def test_mode_scales_the_stop() -> None:
    assert stop_distance(NOTHING, NOTHING, ONE, RULES, TargetRules(mode="critical"))[0] == pct("3.25")


def test_reward_risk_tightens_the_stop_and_says_from_what_to_what() -> None:
    tightened, (reason,) = tighten_for_reward(pct("2.5"), pct("3"), Decimal("1.5"), RULES)

    assert tightened == pct("2")
    assert (reason.before, reason.after) == ("2.5%", "2%")
    assert reason.text == "stop tightened for reward:risk 1.2 → 1.5"


def test_reward_risk_stops_at_the_floor() -> None:
    tightened, (reason,) = tighten_for_reward(pct("2.5"), pct("0.6"), Decimal("1.5"), RULES)

    assert tightened == pct("0.5")
    assert "held at the 0.5% floor" in reason.text


@pytest.mark.parametrize("stop", ["2", "0.3"])
def test_reward_risk_never_widens(stop: str) -> None:
    assert tighten_for_reward(pct(stop), pct("3" if stop == "2" else "0.1"), Decimal("1.5"), RULES) == (
        pct(stop),
        (),
    )


def test_margin_loss_cap_is_off_by_default_and_in_fractions_of_margin() -> None:
    assert cap_margin_loss(pct("2.5"), Decimal(20), RULES) == (pct("2.5"), ())

    capped, (reason,) = cap_margin_loss(pct("2.5"), Decimal(20), StopRules(max_margin_loss=Decimal("0.3")))

    assert capped == pct("1.5")
    assert (reason.before, reason.after) == ("2.5%", "1.5%")


def test_margin_loss_cap_never_widens() -> None:
    assert cap_margin_loss(pct("2.5"), Decimal(20), StopRules(max_margin_loss=Decimal("0.9"))) == (pct("2.5"), ())


def test_liquidation_clamp() -> None:
    room = LiquidationRoom(Decimal(98), pct("2"))

    clamped, (reason,) = clamp_to_liquidation(pct("2.5"), room, Decimal(50), RULES)

    assert clamped == pct("1.6")
    assert (reason.before, reason.after) == ("2.5%", "1.6%")
    assert clamp_to_liquidation(pct("1.6"), room, Decimal(50), RULES) == (pct("1.6"), ())


def test_over_leveraged_is_refused_with_the_numbers() -> None:
    with pytest.raises(InputsError, match="over-leveraged") as refused:
        clamp_to_liquidation(pct("0.1"), LiquidationRoom(None, pct("0.24")), Decimal(125), RULES)

    for number in ("125x", "0.24%", "0.192%", "0.2%"):
        assert number in refused.value.message


def test_exactly_the_smallest_stop_is_not_refused() -> None:
    assert clamp_to_liquidation(pct("1"), LiquidationRoom(None, pct("0.25")), Decimal(125), RULES)[0] == pct("0.2")


def test_backstop_is_wider_than_the_stop_but_short_of_liquidation() -> None:
    assert backstop_distance(pct("2"), LiquidationRoom(None, None), RULES) == pct("2.5")
    assert backstop_distance(pct("2"), LiquidationRoom(None, pct("2.5")), RULES) == pct("2.25")
    assert backstop_distance(pct("2"), LiquidationRoom(None, pct("2.1")), RULES) == pct("2")


BRACKETS = (
    Bracket(Decimal(0), Decimal(50_000), 125, Decimal("0.004"), Decimal(0)),
    Bracket(Decimal(50_000), Decimal(1_000_000), 100, Decimal("0.01"), Decimal(300)),
)


def test_room_from_wallet_and_brackets() -> None:
    # exit-rules 15: long 1 @ 20 000, wallet 1000, mmr .004 is liquidated at 19076.3052.
    room = liquidation_room(LONG, ONE, Decimal(20_000), leverage=Decimal(20), wallet=Decimal(1000), brackets=BRACKETS)

    assert room.price is not None
    assert round(room.price, 4) == Decimal("19076.3052")
    assert room.distance is not None
    assert room.distance.show(4) == "4.6185%"
    assert room.bound is None


def test_room_without_brackets_is_bounded_by_leverage() -> None:
    room = liquidation_room(SHORT, ONE, Decimal(20_000), leverage=Decimal(20), wallet=Decimal(1000), brackets=NOTHING)

    assert room == LiquidationRoom(None, pct("5"), "leverage brackets unavailable (not measured)")


def test_room_without_a_wallet_counts_the_maintenance_margin_the_brackets_tell() -> None:
    room = liquidation_room(LONG, ONE, Decimal(20_000), leverage=Decimal(125), wallet=NOTHING, brackets=BRACKETS)

    # 1/125 is 0.8 %; maintenance takes 0.4 % of it, so 80 % of the naive bound would lie beyond liquidation.
    assert room.price is None
    assert room.distance is not None
    assert pct("0.40") < room.distance < pct("0.41")
    assert room.bound == "wallet unavailable (not measured)"


def test_a_position_already_beyond_liquidation_is_refused() -> None:
    with pytest.raises(InputsError, match="over-leveraged"):
        liquidation_room(LONG, ONE, Decimal(20_000), leverage=Decimal(20), wallet=Decimal(1), brackets=BRACKETS)


def test_a_long_that_cannot_be_liquidated_still_ends_at_zero() -> None:
    room = liquidation_room(LONG, ONE, Decimal(20_000), leverage=ONE, wallet=Decimal(30_000), brackets=BRACKETS)

    assert room == LiquidationRoom(None, Ratio(ONE))


# binance-usdm 4.8.
def test_breakeven_nets_zero_after_both_fees() -> None:
    fee_in, fee_out = pct("0.02"), pct("0.05")
    entry = Decimal(50_000)
    long, short = breakeven(LONG, entry, fee_in, fee_out), breakeven(SHORT, entry, fee_in, fee_out)

    assert round(long, 4) == round(entry * Decimal("1.0002") / Decimal("0.9995"), 4)
    assert round(short, 4) == round(entry * Decimal("0.9998") / Decimal("1.0005"), 4)
    assert abs(long - entry - fee_in.of(entry) - fee_out.of(long)) < Decimal("1e-20")
    assert abs(entry - short - fee_in.of(entry) - fee_out.of(short)) < Decimal("1e-20")


# exit-rules 8, breakeven "entry".
@pytest.mark.parametrize(
    ("side", "entry", "stop", "triggers", "levels"),
    [
        (LONG, "50000", "49000", ("51000", "52000"), (None, "50000", "51000")),
        (SHORT, "50000", "51000", ("49000", "48000"), (None, "50000", "49000")),
        (LONG, "3000", "2940", ("3150", "3300"), (None, "3000", "3150")),
    ],
)
def test_ratchet_vectors(
    side: PositionSide, entry: str, stop: str, triggers: tuple[str, ...], levels: tuple[str | None, ...]
) -> None:
    planned = plan(side, entry, stop, triggers)
    rules = ExecutionRules(breakeven="entry")

    moved = [ratchet_stop(planned, done, instrument(), rules) for done in range(3)]

    assert moved == [None if level is None else Decimal(level) for level in levels]
    assert ratchet_stop(planned, 5, instrument(), rules) == moved[2]


def test_ratchet_rounds_tighter() -> None:
    assert ratchet_stop(
        plan(LONG, "50000", "49000", ("51000",), "50050.025"), 1, instrument(), ExecutionRules()
    ) == Decimal("50050.1")
    assert ratchet_stop(
        plan(SHORT, "50000", "51000", ("49000",), "49949.975"), 1, instrument(), ExecutionRules()
    ) == Decimal("49949.9")


@pytest.mark.parametrize(
    ("rules", "levels"),
    [
        (ExecutionRules(ratchet="breakeven"), ("50000", "50000", "50000")),
        (ExecutionRules(ratchet="moving_target"), ("50000", "51000", "52000")),
        (ExecutionRules(ratchet="moving_target", ratchet_targets_back=2), (None, "50000", "51000")),
        (ExecutionRules(ratchet="percent_below_trigger", ratchet_percent=pct("2")), ("49980", "50960", "51940")),
        (ExecutionRules(ratchet="percent_below_highest", ratchet_percent=pct("2")), ("53900", "53900", "53900")),
    ],
)
def test_ratchet_styles(rules: ExecutionRules, levels: tuple[str | None, ...]) -> None:
    planned = plan(LONG, "50000", "49000", ("51000", "52000", "53000"))

    moved = [ratchet_stop(planned, done, instrument(), rules, peak=Decimal(55_000)) for done in (1, 2, 3)]

    assert moved == [None if level is None else Decimal(level) for level in levels]


def test_percent_below_highest_falls_back_on_the_trigger_that_filled() -> None:
    rules = ExecutionRules(ratchet="percent_below_highest", ratchet_percent=pct("2"))
    planned = plan(SHORT, "50000", "51000", ("49000",))

    assert ratchet_stop(planned, 1, instrument(), rules) == Decimal(49_980)
    assert ratchet_stop(planned, 1, instrument(), rules, peak=Decimal(49_500)) == Decimal(49_980)
    assert ratchet_stop(planned, 1, instrument(), rules, peak=Decimal(48_000)) == Decimal(48_960)


def test_the_ratchet_stays_a_tick_short_of_the_level_that_filled() -> None:
    # The fee floor may put TP1 on the very tick that breakeven rounds to; a stop there would trigger at once.
    assert ratchet_stop(plan(LONG, "10", "9", ("11",), "10.5"), 1, instrument("1"), ExecutionRules()) == Decimal(10)
    assert ratchet_stop(plan(SHORT, "10", "11", ("9",), "9.5"), 1, instrument("1"), ExecutionRules()) == Decimal(10)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("2atr", AtrMultiple(Decimal(2))),
        ("1.5ATR", AtrMultiple(Decimal("1.5"))),
        ("2.5%", pct("2.5")),
        ("150bps", pct("1.5")),
    ],
)
def test_distances_parse(text: str, spec: Ratio | AtrMultiple) -> None:
    assert parse_distance(text, "stop") == spec


@pytest.mark.parametrize("text", ["2", "atr", "-1atr", "0%", "-2%", "0atr", "nanatr"])
def test_malformed_distances_are_refused(text: str) -> None:
    with pytest.raises(InputsError):
        parse_distance(text, "stop")


def test_atr_distance_needs_an_atr() -> None:
    spec = AtrMultiple(Decimal(2))

    assert spec_distance(spec, Decimal(300), Decimal(20_000), "stop") == pct("3")
    with pytest.raises(InputsError, match="not measured"):
        spec_distance(spec, NOTHING, Decimal(20_000), "stop")


@settings(max_examples=150)
@given(
    side=st.sampled_from(PositionSide),
    steps=st.lists(st.integers(1, 500), min_size=1, max_size=5),
    ratchet=st.sampled_from(
        ["previous_tp", "breakeven", "moving_target", "percent_below_trigger", "percent_below_highest"]
    ),
    back=st.integers(1, 3),
    tick=st.sampled_from(["0.1", "0.05", "1", "25"]),
)
def test_ratchet_levels_only_tighten_and_never_trigger_where_the_price_stands(
    side: PositionSide, steps: list[int], ratchet: str, back: int, tick: str
) -> None:
    size = Decimal(tick)
    entry = Decimal(50_000)
    triggers = [entry + side.sign * size * sum(steps[: n + 1]) for n in range(len(steps))]
    planned = plan(side, str(entry), str(entry - side.sign * size), tuple(map(str, triggers)))
    rules = ExecutionRules(ratchet=ratchet, ratchet_targets_back=back)  # type: ignore[arg-type]  # sampled words

    moved = [ratchet_stop(planned, done, instrument(tick), rules) for done in range(len(steps) + 1)]

    assert moved[0] is None
    levels = [side.sign * level for level in moved if level is not None]
    assert levels == sorted(levels)
    for trigger, level in zip(triggers, moved[1:], strict=True):
        if level is not None:
            assert side.sign * (trigger - level) >= size
            assert level % size == 0
