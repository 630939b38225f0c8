"""What exits are worth: money, percent, R and ROI on margin after fees, funding, and the breakeven they make.

Decides figures an operator reads beside a plan; nothing here shapes one. Both fees are taken at the same rate, because
every exit of ours is born at market (exit-rules 6, binance-usdm 4.8). R is the distance from entry to the stop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import Fill, Plan, PositionKey
from tpctl.exits.units import ZERO, Millis, Money, Price, Quantity, Ratio


@dataclass(frozen=True, slots=True)
class Gain:
    """What closing a quantity at a price nets after both fees; negative for a loss.

    `percent` is of the quantity's value at entry, `r` in multiples of what it risks down to the stop, `roi` of the
    margin the quantity ties up. `r_before_fees` is the bare price distance in R.
    """

    pnl: Money
    percent: Ratio
    r: Decimal
    roi: Ratio
    r_before_fees: Decimal


def gain(plan: Plan, quantity: Quantity, price: Price, fee: Ratio) -> Gain:
    """Return what closing `quantity` of the plan's position at `price` nets; `fee` is paid on both sides."""
    moved = plan.key.side.sign * (price - plan.entry)
    each = moved - fee.of(plan.entry + price)
    percent = Ratio(each / plan.entry)
    risk = abs(plan.entry - plan.stop)
    return Gain(quantity * each, percent, each / risk, percent.scaled(plan.leverage), moved / risk)


def total_gain(plan: Plan, fee: Ratio) -> Gain | None:
    """Return what all legs together net; None where the trail alone takes the profit."""
    size = sum((leg.quantity for leg in plan.legs), ZERO)
    if not size:
        return None
    average = sum((leg.quantity * leg.trigger for leg in plan.legs), ZERO) / size
    return gain(plan, size, average, fee)


@dataclass(frozen=True, slots=True)
class Funding:
    """Funding of a position, in the margin asset; positive is paid, negative received.

    `rate` is the exchange's estimate of the next payment, which moves until `next_at` (ms UTC); `due` is that payment
    at today's mark.
    """

    paid: Money | Unavailable
    next_at: Millis | Unavailable
    rate: Ratio | Unavailable
    due: Money | Unavailable


def funding_due(side: PositionSide, notional: Money, rate: Ratio) -> Money:
    """Return what the next funding costs: longs pay where the rate is positive, shorts receive (binance-usdm 4.8)."""
    return side.sign * rate.of(notional)


def breakeven_with_funding(side: PositionSide, entry: Price, quantity: Quantity, fee: Ratio, paid: Money) -> Price:
    """Return the exit price that nets zero after both fees and the funding paid so far, off the grid."""
    sign = side.sign
    return (entry * (sign + fee.fraction) + paid / quantity) / (sign - fee.fraction)


def opened_at(key: PositionKey, quantity: Quantity, fills: Sequence[Fill]) -> Millis | Unavailable:
    """Return when a position of `quantity` was opened: the fill that took it away from zero, going back from now.

    `fills` are the account's executions of the symbol, oldest first. Unavailable where they do not reach back that far.
    """
    left = quantity
    for fill in reversed(fills):
        if fill.position_side not in {None, key.side}:
            continue
        grows = fill.order_side is not key.side.closing
        left += -fill.quantity if grows else fill.quantity
        if grows and left <= 0:
            return fill.at
    return Unavailable("the position is older than the executions that were read")
