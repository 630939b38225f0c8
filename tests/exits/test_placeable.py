"""Rounding by role and judging by filter, on rules of any shape."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.instrument import Instrument, PositionSide
from tpctl.exits.placeable import Field, Role, Terms, place, quick_check, rounded
from tpctl.exits.quantize import Direction

XRP = Instrument(
    symbol="XRPUSDT",
    status="TRADING",
    contract_type="PERPETUAL",
    margin_asset="USDT",
    tick=Decimal("0.0001"),
    min_price=Decimal("0.0143"),
    max_price=Decimal(100000),
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
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
STEPS = [Decimal(text) for text in ("0.05", "5", "10", "0.25", "0.0000001", "0.001", "1", "25", "0.1")]

steps = st.sampled_from(STEPS)
numbers = st.decimals(min_value=Decimal("0.0000001"), max_value=Decimal(10**9), places=9).filter(lambda x: x > 0)
terms = st.builds(
    Terms, direction=st.sampled_from(Direction), side=st.none() | st.sampled_from(PositionSide), role=st.none()
) | st.builds(Terms, side=st.sampled_from(PositionSide), role=st.sampled_from(Role))


@pytest.mark.parametrize(
    ("side", "role", "expected"),
    [
        (LONG, Role.TP, "1.2345"),
        (SHORT, Role.TP, "1.2346"),
        (LONG, Role.STOP, "1.2346"),
        (SHORT, Role.STOP, "1.2345"),
        (LONG, Role.LIMIT, "1.2345"),
        (SHORT, Role.LIMIT, "1.2346"),
    ],
)
def test_prices_go_toward_entry_by_side_and_role(side: PositionSide, role: Role, expected: str) -> None:
    for field in (Field.PRICE, Field.STOP_PRICE):
        assert place(XRP, field, Decimal("1.23456789"), Terms(side=side, role=role)).value == Decimal(expected)


@pytest.mark.parametrize(
    ("direction", "expected"), [(Direction.DOWN, "1.2345"), (Direction.UP, "1.2346"), (Direction.NEAREST, "1.2346")]
)
def test_without_a_role_the_direction_decides_prices_but_never_quantities(direction: Direction, expected: str) -> None:
    asked = Terms(direction)

    assert place(XRP, Field.PRICE, Decimal("1.23456789"), asked).value == Decimal(expected)
    assert place(XRP, Field.QUANTITY, Decimal("742.891234"), asked).value == Decimal("742.8")


def test_a_quantity_that_trades_at_market_is_held_to_the_market_limits() -> None:
    size = Decimal(3_000_000)

    assert place(XRP, Field.QUANTITY, size, Terms()).placeable
    for role in (Role.TP, Role.STOP, Role.MARKET):
        assert place(XRP, Field.QUANTITY, size, Terms(side=LONG, role=role)).codes == (-4005,)


@pytest.mark.parametrize(
    ("field", "given_", "codes"),
    [
        (Field.PRICE, "0.00009", (-4001, -4013)),
        (Field.STOP_PRICE, "0.00009", (-4006, -4013)),
        (Field.PRICE, "100001", (-4002,)),
        (Field.STOP_PRICE, "100001", (-4007,)),
        (Field.QUANTITY, "0.04", (-4003, -4004)),
        (Field.QUANTITY, "10000001", (-4005,)),
    ],
)
def test_a_refusal_carries_the_exchanges_codes(field: Field, given_: str, codes: tuple[int, ...]) -> None:
    found = place(XRP, field, Decimal(given_), Terms())

    assert not found.placeable
    assert found.codes == codes


@pytest.mark.parametrize(("status", "code"), [("SETTLING", -4141), ("PENDING_TRADING", -4140)])
def test_a_contract_that_does_not_trade_takes_nothing(status: str, code: int) -> None:
    found = place(replace(XRP, status=status), Field.PRICE, Decimal("1.5"), Terms())

    assert found.codes == (code,)
    assert not found.changed


@pytest.mark.parametrize(
    ("side", "role", "trigger", "code"),
    [
        (LONG, Role.STOP, "1.9", None),
        (LONG, Role.STOP, "2.0", -2021),
        (LONG, Role.TP, "2.1", None),
        (LONG, Role.TP, "2.0", -2021),
        (SHORT, Role.STOP, "2.1", None),
        (SHORT, Role.STOP, "2.0", -2021),
        (SHORT, Role.TP, "1.9", None),
        (SHORT, Role.TP, "2.0", -2021),
    ],
)
def test_a_trigger_the_mark_already_met_is_refused(side: PositionSide, role: Role, trigger: str, code: int) -> None:
    found = place(XRP, Field.STOP_PRICE, Decimal(trigger), Terms(side=side, role=role, mark=Decimal(2)))

    assert found.codes == (() if code is None else (code,))


def test_a_limit_price_far_on_the_aggressive_side_of_the_mark_is_refused() -> None:
    asked = Terms(side=LONG, role=Role.LIMIT, mark=Decimal(2))

    assert place(XRP, Field.PRICE, Decimal("1.9"), asked).placeable
    assert place(XRP, Field.PRICE, Decimal("1.8999"), asked).codes == (-4024,)
    assert place(XRP, Field.PRICE, Decimal(9), asked).placeable


def test_a_rule_that_is_off_leaves_the_value_alone_and_counts_no_steps() -> None:
    found = place(replace(XRP, tick=Decimal(0)), Field.PRICE, Decimal("1.23456789"), Terms())

    assert (found.value, found.steps, found.changed) == (Decimal("1.23456789"), None, False)


@settings(max_examples=200)
@given(step=steps, value=numbers, asked=terms, field=st.sampled_from(Field))
def test_rounding_is_idempotent_on_the_grid_within_a_step_and_never_raises_a_quantity(
    step: Decimal, value: Decimal, asked: Terms, field: Field
) -> None:
    instrument = replace(XRP, tick=step, step=step, market_step=step)
    found = place(instrument, field, value, asked)

    assert Fraction(found.value) % Fraction(step) == 0
    assert abs(Fraction(found.value) - Fraction(value)) < Fraction(step)
    assert found.steps is not None
    assert Fraction(found.value) == found.steps * Fraction(step)
    assert rounded(instrument, field, found.value, asked) == found.value
    if field is Field.QUANTITY:
        assert found.value <= value


@settings(max_examples=200)
@given(
    step=steps,
    value=numbers,
    asked=terms,
    field=st.sampled_from(Field),
    low=st.sampled_from([Decimal(0), Decimal("0.1"), Decimal(500)]),
    high=st.sampled_from([Decimal(0), Decimal(1000), Decimal(10**6)]),
    market_low=st.sampled_from([Decimal(0), Decimal(7)]),
    places=st.integers(0, 8),
)
def test_the_quick_check_never_accepts_what_the_filters_refuse(
    *,
    step: Decimal,
    value: Decimal,
    asked: Terms,
    field: Field,
    low: Decimal,
    high: Decimal,
    market_low: Decimal,
    places: int,
) -> None:
    instrument = replace(
        XRP,
        tick=step,
        min_price=low,
        max_price=high,
        step=step,
        min_quantity=low,
        max_quantity=high,
        market_step=step,
        market_min_quantity=market_low,
        market_max_quantity=high,
        price_precision=places,
        quantity_precision=places,
    )
    quick = quick_check(instrument, field, asked)
    found = place(instrument, field, value, asked)

    if quick is not None and quick(found.value):
        assert found.placeable


def test_the_quick_check_accepts_what_is_ordinary() -> None:
    for field, value in ((Field.PRICE, "1.5"), (Field.STOP_PRICE, "1.5"), (Field.QUANTITY, "100")):
        quick = quick_check(XRP, field, Terms())

        assert quick is not None
        assert quick(Decimal(value))
    assert quick_check(replace(XRP, status="SETTLING"), Field.PRICE, Terms()) is None
