"""What a position cost beside its exits' fees, from the account's history: exact, or unavailable with the reason."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tpctl.exits.costs import Closing, Entries, entries_of, funding_of
from tpctl.exits.instrument import OrderSide, PositionSide, Unavailable
from tpctl.exits.model import Fill, PositionKey

KEY = PositionKey("XRPUSDT", PositionSide.LONG)
HOUR = 3_600_000
CLOSING = Closing("g", KEY, opened_at=10 * HOUR, closed_at=20 * HOUR, quantity=Decimal(10), pnl=Decimal(5))


def fill(at: int, side: str, quantity: str, fee: str = "0.1", **changes: object) -> Fill:
    made = Fill(
        *(
            "XRPUSDT",
            at,
            "1",
            "",
            OrderSide(side),
            None,
            Decimal(quantity),
            Decimal(2),
            Decimal(fee),
            "USDT",
            Decimal(0),
        ),
        maker=False,
        at=at,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields by name


BUY, SELL = "buy", "sell"
LIFE = (
    fill(2 * HOUR, BUY, "3"),
    fill(3 * HOUR, SELL, "3"),
    fill(10 * HOUR, BUY, "4"),
    fill(12 * HOUR, BUY, "6", "0.2"),
    fill(15 * HOUR, SELL, "3"),
    fill(20 * HOUR, SELL, "7"),
)


def test_the_entries_are_what_enlarged_it_since_it_was_nothing() -> None:
    assert entries_of(CLOSING, LIFE) == Entries(10 * HOUR, Decimal("0.3"))


def test_a_partial_exit_between_two_entries_does_not_end_its_life() -> None:
    story = (*LIFE[:3], fill(11 * HOUR, SELL, "3"), fill(12 * HOUR, BUY, "9", "0.2"), fill(20 * HOUR, SELL, "10"))

    assert entries_of(replace(CLOSING, quantity=Decimal(13)), story) == Entries(10 * HOUR, Decimal("0.3"))


def test_what_came_after_the_close_is_another_position() -> None:
    after = (*LIFE, fill(20 * HOUR + 1, BUY, "5", "9"), fill(21 * HOUR, SELL, "5"))

    assert entries_of(CLOSING, after) == Entries(10 * HOUR, Decimal("0.3"))


def test_the_exchange_may_stamp_the_last_exit_after_the_close_was_noted() -> None:
    late = (*LIFE[:-1], fill(20 * HOUR + 300, SELL, "7"))

    assert entries_of(CLOSING, late) == Entries(10 * HOUR, Decimal("0.3"))


def test_another_position_may_begin_in_the_millisecond_of_the_close() -> None:
    """As on a crash day of the recorded market: stopped out, and sold short in the same step."""
    turned = (*LIFE, fill(20 * HOUR, SELL, "5", "9", trade_id=20 * HOUR + 1))
    payments = [(16 * HOUR, Decimal("-0.5")), (20 * HOUR + 5_000, Decimal("-0.1"))]

    entries = entries_of(CLOSING, turned)

    assert entries == Entries(10 * HOUR, Decimal("0.3"))
    assert isinstance(entries, Entries)
    # What is booked after the close may be the next position's.
    assert funding_of(CLOSING, entries, turned, payments) == Decimal("0.5")


@pytest.mark.parametrize(
    ("fills", "quantity", "reason"),
    [
        (LIFE[3:], "10", "do not reach back"),
        ((), "10", "do not reach back"),
        (LIFE, "12", "do not add up"),
        ((fill(9 * HOUR, BUY, "11"), *LIFE[4:]), "10", "do not add up"),
    ],
)
def test_executions_that_do_not_tell_it_are_no_zero(fills: tuple[Fill, ...], quantity: str, reason: str) -> None:
    found = entries_of(replace(CLOSING, quantity=Decimal(quantity)), fills)

    assert isinstance(found, Unavailable)
    assert reason in found.reason


def test_fees_in_another_asset_are_not_taken_for_dollars() -> None:
    story = (*LIFE[:3], replace(LIFE[3], fee_asset="BNB"), *LIFE[4:])

    assert entries_of(CLOSING, story) == Entries(10 * HOUR, Unavailable("fees were paid in BNB"))


def test_funding_is_what_was_booked_while_it_was_held() -> None:
    entries = Entries(10 * HOUR, Decimal(0))
    payments = [
        (8 * HOUR, Decimal(-9)),
        (16 * HOUR, Decimal("-0.5")),
        (18 * HOUR, Decimal("0.2")),
        (20 * HOUR + 5_000, Decimal("-0.1")),
    ]

    assert funding_of(CLOSING, entries, LIFE, payments) == Decimal("0.4")
    # Traded again within the minute: what is booked then may be the next position's.
    again = (*LIFE, fill(20 * HOUR + 1_000, BUY, "5"))
    assert funding_of(CLOSING, entries, again, payments) == Decimal("0.3")
    assert funding_of(CLOSING, entries, LIFE, []) == 0


def hedged(side: PositionSide, *story: Fill) -> tuple[Fill, ...]:
    return tuple(replace(one, position_side=side) for one in story)


def test_in_hedge_mode_each_side_has_its_own_entries_and_funding_only_while_it_was_alone() -> None:
    own = hedged(PositionSide.LONG, *LIFE)
    other = hedged(PositionSide.SHORT, fill(11 * HOUR, SELL, "8", "7"))
    entries = Entries(10 * HOUR, Decimal("0.3"))
    payments = [(16 * HOUR, Decimal("-0.5"))]

    assert entries_of(CLOSING, sorted((*own, *other), key=lambda one: one.at)) == entries
    assert funding_of(CLOSING, entries, own, payments) == Decimal("0.5")
    assert isinstance(funding_of(CLOSING, entries, (*own, *other), payments), Unavailable)
    # Two payments at once are those of two sides, though the other never traded meanwhile.
    assert isinstance(funding_of(CLOSING, entries, own, [*payments, (16 * HOUR, Decimal("0.4"))]), Unavailable)
    # Without a payment there is nothing to tell apart.
    assert funding_of(CLOSING, entries, (*own, *other), []) == 0
