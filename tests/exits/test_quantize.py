import gzip
import json
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument, OrderKind, OrderSide, PositionSide
from tpctl.exits.quantize import (
    Direction,
    FilterCheck,
    check_price,
    check_quantity,
    check_status,
    common_step,
    market_step,
    round_quantity,
    round_stop,
    round_tp,
    snap,
    would_trigger,
)
from tpctl.exits.units import plain

D = Decimal
DOWN, UP, NEAREST = Direction.DOWN, Direction.UP, Direction.NEAREST
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
BUY, SELL = OrderSide.BUY, OrderSide.SELL

# binance-usdm 3.1, the live BTCUSDT of 2026-09.
BTC = Instrument(
    symbol="BTCUSDT",
    status="TRADING",
    contract_type="PERPETUAL",
    margin_asset="USDT",
    tick=D("0.10"),
    min_price=D("556.80"),
    max_price=D("4529764"),
    step=D("0.001"),
    min_quantity=D("0.001"),
    max_quantity=D("1000"),
    market_step=D("0.001"),
    market_min_quantity=D("0.001"),
    market_max_quantity=D("120"),
    min_notional=D("50"),
    percent_up=D("1.05"),
    percent_down=D("0.95"),
    max_orders=200,
    trigger_protect=D("0.05"),
    market_take_bound=D("0.05"),
    liquidation_fee=D("0.0125"),
    price_precision=2,
    quantity_precision=3,
)
WHOLE = replace(
    BTC,
    symbol="XRPUSDT",
    step=D(1),
    min_quantity=D(1),
    market_step=D(1),
    market_min_quantity=D(1),
    quantity_precision=0,
    min_notional=D(5),
)

TICKS = st.sampled_from(
    [D("0.1"), D("0.10"), D("0.05"), D("0.25"), D("0.0003"), D("1E-7"), D("1E-8"), D(1), D(5), D(7), D(25), D("1E+1")]
)


def failed(checks: tuple[FilterCheck, ...]) -> list[tuple[str, int | None]]:
    return [(check.filter, check.code) for check in checks if not check.ok]


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        ("95234.567891", "0.1", "95234.5"),
        ("1.23456789", "0.00001", "1.23456"),
        ("1.998374", "0.00001", "1.99837"),
        ("0.0527891", "0.001", "0.052"),
        ("742.891234", "1", "742"),
        ("101.37", "0.05", "101.35"),
        ("12.7", "5", "10"),
        ("123", "10", "120"),
        ("0.123456", "0.00001", "0.12345"),
        ("1237", "10", "1230"),
        ("0.6", "1", "0"),
        ("0.37", "0.05", "0.35"),
        ("0.00000037", "1E-7", "0.0000003"),
        ("37", "25", "25"),
    ],
)
def test_vectors_of_exit_rules_14_snap_down_and_print_the_step_s_decimals(value: str, step: str, expected: str) -> None:
    assert plain(snap(D(value), D(step), DOWN)) == expected


@settings(max_examples=200, deadline=None)
@given(st.decimals(min_value=-(10**15), max_value=10**15, places=12), TICKS)
def test_snapping_agrees_with_rational_arithmetic_on_any_tick(value: Decimal, step: Decimal) -> None:
    steps, unit = Fraction(value) / Fraction(step), Fraction(step)

    assert Fraction(snap(value, step, DOWN)) == floor(steps) * unit
    assert Fraction(snap(value, step, UP)) == ceil(steps) * unit
    assert Fraction(snap(value, step, NEAREST)) == round(steps) * unit


@settings(max_examples=100, deadline=None)
@given(st.decimals(min_value=0, max_value=10**12, places=12), TICKS, st.sampled_from(Direction))
def test_a_snapped_value_stays_where_it_is_and_carries_the_step_s_exponent(
    value: Decimal, step: Decimal, direction: Direction
) -> None:
    snapped = snap(value, step, direction)

    assert snap(snapped, step, direction) == snapped
    assert snapped.as_tuple().exponent == step.as_tuple().exponent


def test_no_digit_is_lost_whatever_context_the_caller_has() -> None:
    value = D("123456789012345678901234567890.123456789")
    with localcontext() as context:
        context.prec = 4
        snapped = snap(value, D("0.00025"), DOWN)
        above = snap(value, D("0.00025"), UP)

    assert snapped == D("123456789012345678901234567890.12325")
    assert above == D("123456789012345678901234567890.12350")


def test_nearest_breaks_a_tie_toward_the_even_multiple() -> None:
    assert snap(D("0.25"), D("0.1"), NEAREST) == D("0.2")
    assert snap(D("0.35"), D("0.1"), NEAREST) == D("0.4")


def test_a_zero_step_switches_the_rule_off() -> None:
    assert plain(snap(D("1.2345"), D(0), DOWN)) == "1.2345"


@pytest.mark.parametrize("zero", ["0", "-0", "-0.0000001"])
def test_zero_is_never_negative(zero: str) -> None:
    assert plain(snap(D(zero), D("0.01"), UP)) == "0.00"


@pytest.mark.parametrize(("value", "step"), [("NaN", "1"), ("Infinity", "1"), ("-Infinity", "1"), ("1", "NaN")])
@pytest.mark.parametrize("direction", Direction)
def test_what_is_not_finite_has_no_place_on_a_grid(value: str, step: str, direction: Direction) -> None:
    with pytest.raises(InputsError):
        snap(D(value), D(step), direction)


def test_a_number_too_large_to_hold_exactly_raises_instead_of_rounding() -> None:
    with pytest.raises(InputsError):
        snap(D("1E+500"), D("0.1"), DOWN)


@settings(max_examples=100, deadline=None)
@given(st.decimals(min_value=1000, max_value=10**6, places=8))
def test_both_exits_round_toward_entry(price: Decimal) -> None:
    assert round_tp(BTC, LONG, price) <= price <= round_tp(BTC, SHORT, price)
    assert round_stop(BTC, SHORT, price) <= price <= round_stop(BTC, LONG, price)
    assert round_tp(BTC, LONG, price) == round_stop(BTC, SHORT, price)
    assert round_stop(BTC, LONG, price) - round_tp(BTC, LONG, price) in {0, BTC.tick}


def test_quantities_go_down_on_the_steps_they_must_keep() -> None:
    coarse = replace(BTC, step=D("0.004"), market_step=D("0.006"))

    assert round_quantity(BTC, D("0.0527891")) == D("0.052")
    assert round_quantity(coarse, D("0.0359")) == D("0.032")
    assert round_quantity(coarse, D("0.0359"), market=True) == D("0.024")
    assert round_quantity(WHOLE, D("0.6")) == 0


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("0.001", "0.001", "0.001"),
        ("0.001", "1", "1"),
        ("0.004", "0.006", "0.012"),
        ("0", "0.5", "0.5"),
        ("5", "0", "5"),
    ],
)
def test_the_common_step_is_the_smallest_both_steps_divide(one: str, other: str, expected: str) -> None:
    assert common_step(D(one), D(other)) == D(expected)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("95234.5", []),
        ("95234.50", []),
        ("95234.55", [("PRICE_FILTER", -4014)]),
        ("95234.567", [("PRICE_PRECISION", -1111), ("PRICE_FILTER", -4014)]),
        ("500", [("PRICE_FILTER", -4013)]),
        ("556.8", []),
        ("4529764", []),
        ("4529764.1", [("PRICE_FILTER", -4002)]),
        ("0", [("PRICE_FILTER", -4001), ("PRICE_FILTER", -4013)]),
    ],
)
def test_a_price_is_refused_by_the_filter_and_code_of_the_exchange(price: str, expected: list[tuple[str, int]]) -> None:
    assert failed(check_price(BTC, D(price))) == expected


def test_a_trigger_price_out_of_range_has_codes_of_its_own() -> None:
    assert ("PRICE_FILTER", -4006) in failed(check_price(BTC, D(-1), trigger=True))
    assert failed(check_price(BTC, D("4529764.1"), trigger=True)) == [("PRICE_FILTER", -4007)]


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        (BUY, "105", []),
        (BUY, "105.1", [("PERCENT_PRICE", -4016)]),
        (BUY, "50", []),
        (SELL, "95", []),
        (SELL, "94.9", [("PERCENT_PRICE", -4024)]),
        (SELL, "200", []),
    ],
)
def test_the_price_band_binds_limit_orders_on_their_aggressive_side_only(
    side: OrderSide, price: str, expected: list[tuple[str, int]]
) -> None:
    low = replace(BTC, min_price=D("0.1"))

    assert failed(check_price(low, D(price), mark=D(100), order_side=side, limit_order=True)) == expected
    assert failed(check_price(low, D(price), mark=D(100), order_side=side)) == []


def test_the_price_band_is_not_judged_without_a_mark() -> None:
    checks = check_price(BTC, D("95000"), order_side=SELL, limit_order=True)

    assert "PERCENT_PRICE" not in {check.filter for check in checks}


@pytest.mark.parametrize(
    ("quantity", "market", "expected"),
    [
        ("0.052", False, []),
        ("0.0525", False, [("QUANTITY_PRECISION", -1111), ("LOT_SIZE", -4023)]),
        ("0", False, [("LOT_SIZE", -4003), ("LOT_SIZE", -4004), ("MIN_NOTIONAL", -4164)]),
        ("121", False, []),
        ("121", True, [("MARKET_LOT_SIZE", -4005)]),
        ("1001", False, [("LOT_SIZE", -4005)]),
        ("0.001", False, [("MIN_NOTIONAL", -4164)]),
    ],
)
def test_a_quantity_is_refused_by_the_filter_and_code_of_the_exchange(
    quantity: str, market: bool, expected: list[tuple[str, int]]
) -> None:
    assert failed(check_quantity(BTC, D(quantity), market=market, price=D(49000), reduce_only=False)) == expected


@pytest.mark.parametrize("quantity", ["0.5", "0.6"])
def test_vectors_of_exit_rules_14_that_cannot_be_placed(quantity: str) -> None:
    rounded = round_quantity(WHOLE, D(quantity))

    checks = check_quantity(WHOLE, rounded, market=True, price=None, reduce_only=True)

    assert failed(checks) == [("MARKET_LOT_SIZE", -4003), ("MARKET_LOT_SIZE", -4004)]


def test_a_reduce_only_order_is_exempt_from_the_minimum_notional_and_an_unpriced_one_not_judged() -> None:
    exempt = check_quantity(BTC, D("0.001"), market=True, price=D(1), reduce_only=True)
    unpriced = check_quantity(BTC, D("0.001"), market=True, price=None, reduce_only=False)

    assert exempt[-1] == FilterCheck("MIN_NOTIONAL", True, "notional 50, exempt: reduce-only", None)
    assert "MIN_NOTIONAL" not in {check.filter for check in unpriced}


def test_a_market_order_answers_to_the_lot_size_where_there_is_no_market_lot_size() -> None:
    bare = replace(BTC, market_step=D(0), market_min_quantity=D(0), market_max_quantity=D(0))

    assert failed(check_quantity(bare, D(1001), market=True, price=None, reduce_only=True)) == [("LOT_SIZE", -4005)]


def test_rules_that_are_zero_are_switched_off() -> None:
    off = replace(BTC, tick=D(0), min_price=D(0), max_price=D(0), step=D(0), min_quantity=D(0), max_quantity=D(0))
    off = replace(off, min_notional=D(0), percent_up=D(0), percent_down=D(0))

    assert failed(check_price(off, D("0.07"), mark=D(1), order_side=SELL, limit_order=True)) == []
    assert failed(check_price(off, D("7000000"), mark=D(1), order_side=BUY, limit_order=True)) == []
    assert failed(check_quantity(off, D("0.007"), market=False, price=D(1), reduce_only=False)) == []


@pytest.mark.parametrize(
    ("status", "code"),
    [("TRADING", None), ("PENDING_TRADING", -4140), ("TRADING_HALT", -4140), ("SETTLING", -4141), ("CLOSE", -4141)],
)
def test_a_symbol_that_is_not_trading_takes_no_orders(status: str, code: int | None) -> None:
    check = check_status(replace(BTC, status=status))

    assert (check.ok, check.code) == (code is None, code)
    assert status in check.limit


STOPS = [OrderKind.STOP, OrderKind.STOP_MARKET]
TARGETS = [OrderKind.TAKE_PROFIT, OrderKind.TAKE_PROFIT_MARKET, OrderKind.TRAILING_STOP_MARKET]


@pytest.mark.parametrize(
    ("kinds", "side", "at_99", "at_100", "at_101"),
    [
        (STOPS, SELL, True, True, False),
        (STOPS, BUY, False, True, True),
        (TARGETS, SELL, False, True, True),
        (TARGETS, BUY, True, True, False),
        ([OrderKind.LIMIT, OrderKind.MARKET], SELL, False, False, False),
    ],
)
def test_an_order_whose_trigger_is_already_met_would_be_answered_2021(
    kinds: list[OrderKind], side: OrderSide, at_99: bool, at_100: bool, at_101: bool
) -> None:
    for kind in kinds:
        answers = [would_trigger(kind, side, D(100), D(reference)) for reference in (99, 100, 101)]

        assert answers == [at_99, at_100, at_101], kind


def test_every_recorded_instrument_accepts_what_was_snapped_for_it(shared_data: Path) -> None:
    with gzip.open(shared_data / "exchangeInfo_mainnet_20250811.json.gz") as file:
        symbols = json.load(file)["info"]["symbols"]

    for symbol in symbols:
        rules = {rule["filterType"]: rule for rule in symbol["filters"]}
        price, lot, market = rules["PRICE_FILTER"], rules["LOT_SIZE"], rules["MARKET_LOT_SIZE"]
        instrument = replace(
            BTC,
            tick=D(price["tickSize"]),
            min_price=D(price["minPrice"]),
            max_price=D(price["maxPrice"]),
            step=D(lot["stepSize"]),
            min_quantity=D(lot["minQty"]),
            max_quantity=D(lot["maxQty"]),
            market_step=D(market["stepSize"]),
            market_min_quantity=D(market["minQty"]),
            market_max_quantity=D(market["maxQty"]),
            price_precision=symbol["pricePrecision"],
            quantity_precision=symbol["quantityPrecision"],
        )
        off_tick = instrument.min_price + instrument.tick * D("12.37")
        off_step = instrument.min_quantity + instrument.step * D("3.9")
        for side in PositionSide:
            assert failed(check_price(instrument, round_tp(instrument, side, off_tick))) == [], symbol["symbol"]
            assert failed(check_price(instrument, round_stop(instrument, side, off_tick))) == [], symbol["symbol"]
        rounded = round_quantity(instrument, off_step, market=True)
        assert failed(check_quantity(instrument, rounded, market=True, price=None, reduce_only=True)) == []
        assert market_step(instrument) == instrument.step
