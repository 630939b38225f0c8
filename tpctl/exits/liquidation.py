"""Decides where a position would be liquidated, and what leverage its size permits.

It never guesses a bracket: the table comes from the exchange and differs by account. Sources: exit-rules 15,
binance-usdm 4.9.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Bracket, PositionSide
from tpctl.exits.units import ZERO, Money, Price, Quantity, plain, trimmed


def cums(rows: Sequence[tuple[Money, Decimal]]) -> tuple[Money, ...]:
    """Return the maintenance amounts of (floor, maintenance rate) rows in ascending order, the first being zero.

    They make the maintenance margin continuous: cum_n = floor_n · (mmr_n - mmr_{n-1}) + cum_{n-1}.
    """
    amounts = [ZERO] if rows else []
    for (_, rate), (floor, next_rate) in pairwise(rows):
        amounts.append(floor * (next_rate - rate) + amounts[-1])
    return tuple(amounts)


def bracket_for(notional: Money, brackets: Sequence[Bracket]) -> Bracket:
    """Return the bracket of a notional: above its floor, up to and including its cap.

    Above the last cap the last bracket still maintains a position that grew there; see `check_leverage` for opening.
    Raises `InputsError` for an empty table.
    """
    if not brackets:
        raise InputsError("the leverage bracket table is empty", "read the brackets of the symbol again")
    return next((bracket for bracket in brackets if notional <= bracket.cap), brackets[-1])


def maintenance(notional: Money, brackets: Sequence[Bracket]) -> Money:
    """Return the maintenance margin of a notional, in the margin asset."""
    bracket = bracket_for(notional, brackets)
    return notional * bracket.maintenance_rate - bracket.cum


def max_leverage(notional: Money, brackets: Sequence[Bracket]) -> int:
    """Return the highest leverage a notional may be held at; raises `InputsError` above the last bracket."""
    bracket = bracket_for(notional, brackets)
    if notional > bracket.cap:
        raise InputsError(
            f"notional '{trimmed(notional)}' is above the last leverage bracket, which ends at '{plain(bracket.cap)}'",
            "reduce the position",
        )
    return bracket.max_leverage


def check_leverage(leverage: Decimal, notional: Money, brackets: Sequence[Bracket]) -> None:
    """Refuse a leverage above what the bracket of the notional permits, with `InputsError`."""
    allowed = max_leverage(notional, brackets)
    if leverage > allowed:
        raise InputsError(
            f"leverage '{trimmed(leverage)}x' is above '{allowed}x', the most for a notional of '{trimmed(notional)}'",
            f"use {allowed}x or less, or reduce the position",
        )


def liquidation_price(
    side: PositionSide, quantity: Quantity, entry: Price, wallet: Money, brackets: Sequence[Bracket]
) -> Price | None:
    """Return the mark price at which equity falls to the maintenance margin, None where no price does that.

    `wallet` is WB - TMM + UPNL: the isolated wallet, or for cross the balance less what the other positions need. The
    bracket is the one that holds the notional at the answer. Equity less maintenance moves one way with the price, so
    that bracket is unique and found by its sign at each cap rather than by guessing and iterating. Not rounded.

    Raises `InputsError` for a size or entry not above zero, an empty table, and a short whose wallet is below what any
    price could cure.
    """
    if quantity <= 0 or entry <= 0:
        raise InputsError(
            f"a position of '{trimmed(quantity)}' at '{trimmed(entry)}' has no liquidation price",
            "give a size and an entry above zero",
        )
    bracket_for(ZERO, brackets)
    sign = side.sign
    at_zero = wallet - sign * quantity * entry
    if sign > 0 and at_zero >= 0:
        return None
    if sign < 0 and at_zero <= 0:
        raise InputsError(
            f"wallet '{trimmed(wallet)}' is below zero by more than the short is worth",
            "read the account again; this position cannot be alive",
        )
    bracket = next(
        (row for row in brackets if sign * _surplus(row.cap, row, sign, at_zero) >= 0),
        brackets[-1],
    )
    return (at_zero + bracket.cum) / (quantity * (bracket.maintenance_rate - sign))


def _surplus(notional: Money, bracket: Bracket, sign: int, at_zero: Money) -> Money:
    """Return equity less maintenance margin at a notional: it rises with the price for a long, falls for a short."""
    return at_zero + sign * notional - (notional * bracket.maintenance_rate - bracket.cum)
