"""Decides what a closed position cost beside the fees of its exits: the fees of its entries, and its funding.

Both come from the account's own history, which names neither position nor side of a payment: what cannot be told apart
is unavailable with its reason. Positive is paid, negative received.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Fill, PositionKey
from tpctl.exits.units import ZERO, Millis, Money, Quantity

# A payment is booked up to a minute after its hour (binance-usdm 4.8).
BOOKED_WITHIN_MS: Millis = 60_000
_SKEW_MS: Millis = 5_000
# How long the exchange keeps executions and payments.
KEPT_MS: Millis = 90 * 86_400_000


@dataclass(frozen=True, slots=True)
class Closing:
    """A closed position: what its exits sold in all, and its profit after their fees."""

    generation: str
    key: PositionKey
    opened_at: Millis
    closed_at: Millis
    quantity: Quantity
    pnl: Money
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Costs:
    """What one closed position cost beside its exits' fees, in its margin asset. `pnl` is after those."""

    generation: str
    key: PositionKey
    closed_at: Millis
    policy: str | None
    pnl: Money
    entry_fees: Money | Unavailable
    funding: Money | Unavailable


@dataclass(frozen=True, slots=True)
class Entries:
    """How a position was built: when its first execution was, and the fees of all that enlarged it.

    `last_exit` is the id of the execution that closed it, where that is known; what is numbered above it is of other
    positions.
    """

    at: Millis
    fees: Money | Unavailable
    last_exit: int | None = field(default=None, compare=False)


def entries_of(closing: Closing, fills: Sequence[Fill]) -> Entries | Unavailable:
    """Return how a position was built, going back from its last exit until nothing is left of it.

    `fills` are the account's executions of the symbol, oldest first. Which of those about its close was the last exit
    is what adds up: another position may begin in the same millisecond, and the exchange stamps by a clock that may be
    ahead of the one the close was noted by.
    """
    own = [
        fill
        for fill in fills
        if fill.position_side in {None, closing.key.side} and fill.at <= closing.closed_at + _SKEW_MS
    ]
    exits = [place for place, fill in enumerate(own) if fill.order_side is closing.key.side.closing]
    noted = [place for place in exits if own[place].at <= closing.closed_at]
    about = [place for place in noted if own[place].at >= closing.closed_at - _SKEW_MS]
    for place in (*reversed(about), *reversed(exits[len(noted) :])):
        found = _entries_before(closing, own[: place + 1])
        if isinstance(found, Entries):
            return found
    return _entries_before(closing, own)


def _entries_before(closing: Closing, fills: Sequence[Fill]) -> Entries | Unavailable:
    key, left, sold = closing.key, ZERO, ZERO
    grown: list[Fill] = []
    for fill in reversed(fills):
        if fill.order_side is key.side.closing:
            left, sold = left + fill.quantity, sold + fill.quantity
        elif left:
            left -= fill.quantity
            grown.append(fill)
            if left <= 0:
                break
    if left > 0 or not grown:
        return Unavailable("the executions that were read do not reach back to its opening")
    if left < 0 or sold != closing.quantity:
        return Unavailable("the account's executions do not add up to it")
    return Entries(grown[-1].at, _fees(key.symbol, grown), fills[-1].trade_id)


def _fees(symbol: str, fills: Iterable[Fill]) -> Money | Unavailable:
    total = ZERO
    for fill in fills:
        if fill.fee and not symbol.endswith(fill.fee_asset or "?"):
            return Unavailable(f"fees were paid in {fill.fee_asset or 'an asset that was not named'}")
        total += fill.fee
    return total


def funding_of(
    closing: Closing, entries: Entries, fills: Iterable[Fill], payments: Iterable[tuple[Millis, Money]]
) -> Money | Unavailable:
    """Return what a position paid in funding; `payments` are all of its symbol as booked, negative for paid.

    A payment booked in the minute after the close is its own, unless the symbol was traded again in that minute.
    """
    until, hedged = closing.closed_at + BOOKED_WITHIN_MS, False
    for fill in fills:
        beyond = entries.last_exit is not None and fill.trade_id > entries.last_exit
        if closing.closed_at < fill.at <= until or (beyond and fill.at == closing.closed_at):
            until = closing.closed_at
        hedged |= fill.position_side is closing.key.side.other and entries.at <= fill.at <= closing.closed_at
    own = [(at, amount) for at, amount in payments if entries.at <= at <= until]
    if own and (hedged or (_hedge(fills) and len({at for at, _ in own}) < len(own))):
        return Unavailable("both sides were open, and funding is kept by symbol")
    return -sum((amount for _, amount in own), ZERO)


def _hedge(fills: Iterable[Fill]) -> bool:
    return any(fill.position_side is not None for fill in fills)
