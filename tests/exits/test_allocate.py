from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.allocate import MAX_LEGS, allocate, slices
from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument

D = Decimal

XRP = Instrument(
    symbol="XRPUSDT",
    status="TRADING",
    contract_type="PERPETUAL",
    margin_asset="USDT",
    tick=D("0.0001"),
    min_price=D("0.0143"),
    max_price=D("100000"),
    step=D(1),
    min_quantity=D(1),
    max_quantity=D(10_000_000),
    market_step=D(1),
    market_min_quantity=D(1),
    market_max_quantity=D(2_000_000),
    min_notional=D(5),
    percent_up=D("1.05"),
    percent_down=D("0.95"),
    max_orders=200,
    trigger_protect=D("0.05"),
    market_take_bound=D("0.05"),
    liquidation_fee=D("0.015"),
    price_precision=4,
    quantity_precision=0,
)
FRONT = (D("0.40"), D("0.35"), D("0.25"))


def at(fractions: tuple[Decimal, ...], price: str = "1") -> tuple[Decimal, ...]:
    return (D(price),) * len(fractions)


def with_minimum(quantity: int) -> Instrument:
    return replace(XRP, min_quantity=D(quantity), market_min_quantity=D(quantity))


def compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total, -1, -1):
        for rest in compositions(total - first, parts - 1):
            yield (first, *rest)


def closest(total: int, asked: list[Fraction], least: list[int]) -> tuple[int, ...] | None:
    """Try every split. They come with the earlier legs larger first, so the first of equals is the tie's winner."""
    best: tuple[Fraction, tuple[int, ...]] | None = None
    for split in compositions(total, len(asked)):
        if any(count and (count < low or not want) for count, low, want in zip(split, least, asked, strict=True)):
            continue
        cost = sum(((count - want) ** 2 for count, want in zip(split, asked, strict=True)), Fraction(0))
        if best is None or cost < best[0]:
            best = cost, split
    return best and best[1]


def test_40_35_25_of_800_is_320_280_200() -> None:
    allocation = allocate(D(800), FRONT, XRP, at(FRONT))

    assert allocation.quantities == (320, 280, 200)
    assert allocation.merges == ()


shares = st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(any)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 16), shares, st.integers(1, 6))
def test_no_split_is_closer_to_the_asked_fractions(total: int, weights: list[int], minimum: int) -> None:
    fractions = tuple(D(weight) / sum(weights) for weight in weights)
    whole = sum(Fraction(fraction) for fraction in fractions)  # a third three times is 0.99…9
    asked = [Fraction(fraction) / whole * total for fraction in fractions]
    instrument = with_minimum(minimum)
    if total < minimum:
        with pytest.raises(InputsError):
            allocate(D(total), fractions, instrument, at(fractions))
        return
    quantities = allocate(D(total), fractions, instrument, at(fractions)).quantities

    assert quantities == closest(total, asked, [minimum] * len(asked))


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 16),
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 10)), min_size=1, max_size=4),
    st.integers(1, 20),
)
def test_no_split_is_closer_where_the_minimum_notional_differs_by_leg(
    total: int, legs: list[tuple[int, int]], notional: int
) -> None:
    weights = [weight for weight, _ in legs]
    fractions = tuple(D(weight) / 32 for weight in weights)
    least = [max(1, ceil(Fraction(notional, price))) for _, price in legs]
    closed = int(Fraction(sum(weights), 32) * total)
    instrument = replace(XRP, min_notional=D(notional))
    if total < min(least):
        with pytest.raises(InputsError):
            allocate(D(total), fractions, instrument, tuple(D(price) for _, price in legs), reduce_only=False)
        return
    quantities = allocate(
        D(total), fractions, instrument, tuple(D(price) for _, price in legs), reduce_only=False
    ).quantities

    expected = closest(closed, [Fraction(weight, 32) * total for weight in weights], least)
    assert quantities == (expected or (0,) * len(legs))


@settings(max_examples=200, deadline=None)
@given(
    st.decimals(min_value=D("0.001"), max_value=D(100_000), places=3),
    shares,
    st.sampled_from([(D("0.001"), D("0.001")), (D("0.001"), D("0.01")), (D("0.004"), D("0.006")), (D(1), D("0.001"))]),
)
def test_legs_keep_both_steps_and_close_the_position_but_for_less_than_a_step(
    total: Decimal, weights: list[int], steps: tuple[Decimal, Decimal]
) -> None:
    instrument = replace(XRP, step=steps[0], market_step=steps[1], min_quantity=steps[0], market_min_quantity=steps[1])
    fractions = tuple(D(weight) / sum(weights) for weight in weights)
    step = max(*steps, D("0.012") if steps[0] == D("0.004") else D(0))
    if total < step:
        with pytest.raises(InputsError):
            allocate(total, fractions, instrument, at(fractions))
        return
    allocation = allocate(total, fractions, instrument, at(fractions))

    left = total - sum(allocation.quantities)
    assert 0 <= left < step
    assert all(quantity % steps[0] == quantity % steps[1] == 0 for quantity in allocation.quantities)
    assert ("dust" in {reason.code for reason in allocation.merges}) == (left > 0)


def test_a_leg_that_is_too_small_merges_into_its_neighbour_and_says_so() -> None:
    allocation = allocate(D(2), FRONT, XRP, at(FRONT))

    (reason,) = allocation.merges
    assert allocation.quantities == (1, 1, 0)
    assert (reason.stage, reason.code, reason.before, reason.after) == ("quantize", "leg_merged", "0.5", "0")
    assert reason.text == (
        "Leg 3 of 0.5 XRPUSDT merged into leg 2: the smallest order is 1, the legs now close 1 / 1 / 0"
    )


def test_a_leg_a_little_below_the_minimum_is_lifted_rather_than_merged() -> None:
    fractions = (D("0.30"), D("0.30"), D("0.40"))

    assert allocate(D(100), fractions, with_minimum(32), at(fractions)).quantities == (32, 32, 36)


def test_the_smallest_position_leaves_through_the_first_leg_whole() -> None:
    assert allocate(D(1), FRONT, XRP, at(FRONT)).quantities == (1, 0, 0)


def test_equal_legs_give_the_spare_step_to_the_earlier_one() -> None:
    third = (D(1) / 3,) * 3

    assert allocate(D(1000), third, XRP, at(third)).quantities == (334, 333, 333)


def test_the_minimum_notional_binds_only_orders_that_are_not_reduce_only() -> None:
    exempt = allocate(D(10), FRONT, XRP, at(FRONT, "0.9"))
    bound = allocate(D(10), FRONT, XRP, at(FRONT, "0.9"), reduce_only=False)

    assert exempt.quantities == (4, 4, 2)
    assert bound.quantities == (10, 0, 0)
    assert [reason.code for reason in bound.merges] == ["leg_merged", "leg_merged"]
    assert "merged into leg 1" in bound.merges[1].text


def test_what_the_fractions_leave_over_stays_with_the_trail() -> None:
    fractions = (D("0.15"), D("0.20"), D("0.30"))

    assert allocate(D(100), fractions, XRP, at(fractions)).quantities == (15, 20, 30)
    assert sum(allocate(D(101), fractions, XRP, at(fractions)).quantities) == 65


def test_legs_too_small_even_together_are_left_to_the_trail() -> None:
    fractions = (D("0.40"), D("0.25"))

    allocation = allocate(D(11), fractions, with_minimum(10), at(fractions))

    assert allocation.quantities == (0, 0)
    assert all("merged into the trail" in reason.text for reason in allocation.merges)


def test_dust_is_reported_and_left_out() -> None:
    allocation = allocate(D("800.5"), FRONT, XRP, at(FRONT))

    (reason,) = allocation.merges
    assert sum(allocation.quantities) == 800
    assert (reason.stage, reason.code, reason.before, reason.after) == ("quantize", "dust", "800.5", "800")


@pytest.mark.parametrize(("total", "minimum"), [("0.6", 1), ("0.5", 1), ("9", 10)])
def test_a_position_below_the_smallest_order_cannot_be_placed_and_the_error_has_the_numbers(
    total: str, minimum: int
) -> None:
    with pytest.raises(InputsError, match=rf"'{total}' XRPUSDT .* '{minimum}'"):
        allocate(D(total), FRONT, with_minimum(minimum), at(FRONT))


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ((D("0.6"), D("0.5")), "above 1"),
        ((D("-0.1"), D("0.5")), "below zero"),
        ((D("0.01"),) * (MAX_LEGS + 1), "longer than"),
    ],
)
def test_fractions_that_make_no_ladder_are_refused(fractions: tuple[Decimal, ...], words: str) -> None:
    with pytest.raises(InputsError, match=words):
        allocate(D(100), fractions, XRP, at(fractions))


def test_an_instrument_without_a_step_is_refused() -> None:
    with pytest.raises(InputsError, match="no quantity step"):
        allocate(D(100), FRONT, replace(XRP, step=D(0), market_step=D(0)), at(FRONT))


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("2000000", ("2000000",)),
        ("2000001", ("1000001", "1000000")),
        ("5000000", ("1666667", "1666667", "1666666")),
        ("7.9", ("7",)),
        ("0.5", ()),
    ],
)
def test_a_market_close_is_sliced_within_the_largest_order(quantity: str, expected: tuple[str, ...]) -> None:
    assert slices(D(quantity), XRP) == tuple(D(part) for part in expected)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_slices_are_the_fewest_and_sum_to_the_quantity(quantity: int, largest: int) -> None:
    whole = quantity % (largest * 500) or 1
    parts = slices(D(whole), replace(XRP, market_max_quantity=D(largest)))

    assert sum(parts) == whole
    assert len(parts) == ceil(Fraction(whole, largest))
    assert max(parts) <= largest
    assert max(parts) - min(parts) <= 1


def test_no_limit_means_one_slice() -> None:
    unlimited = replace(XRP, market_max_quantity=D(0), max_quantity=D(0))

    assert slices(D(10**9), unlimited) == (10**9,)
    assert slices(D(10**9), replace(XRP, market_max_quantity=D(0))) == (10_000_000,) * 100
