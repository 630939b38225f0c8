"""Reads what closed positions cost from the account's history: executions and funding payments, each read once.

A reading that failed is tried again later; what the exchange no longer has is unavailable for good.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Protocol

from tpctl.exits.costs import BOOKED_WITHIN_MS, KEPT_MS, Closing, Costs, Entries, entries_of, funding_of
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Fill
from tpctl.exits.units import Millis
from tpctl.ports import FundingFee

# A close is on the account's books this long after it.
BOOKED_MS: Millis = 2 * BOOKED_WITHIN_MS
# How far before it was found a position may have been opened: looked for near by first.
_BEFORE_MS = (3_600_000, 7 * 86_400_000)
_TOO_OLD = Unavailable("the exchange keeps executions and payments for three months")


class Ledger(Protocol):
    """The account's history. Both raise `TpctlError` where it cannot be read."""

    async def fills(self, symbol: str, since: Millis) -> tuple[Fill, ...]:
        """Return the account's executions of a symbol since a time, oldest first."""
        ...

    async def funding_fees(self, since: Millis) -> tuple[FundingFee, ...]:
        """Return the account's funding payments since a time."""
        ...


class CostReader:
    """Tells what positions cost. Neighbours in time share one reading."""

    def __init__(self, ledger: Ledger, now: Callable[[], Millis]) -> None:
        self._ledger = ledger
        self._now = now
        self._fills: dict[str, tuple[Millis, Millis, Sequence[Fill]]] = {}
        self._paid: tuple[Millis, Millis, Sequence[FundingFee]] | None = None

    async def costs(self, closing: Closing) -> Costs:
        """Return what a position cost; raises `TpctlError` where the account cannot be read now."""
        entries, fills = await self._entries(closing)
        if isinstance(entries, Unavailable):
            return _costs(closing, entries, entries)
        payments = [
            (fee.at, fee.amount)
            for fee in await self._payments(entries.at, closing.closed_at)
            if fee.symbol == closing.key.symbol
        ]
        return _costs(closing, entries.fees, funding_of(closing, entries, fills, payments))

    async def _entries(self, closing: Closing) -> tuple[Entries | Unavailable, Sequence[Fill]]:
        oldest = self._now() - KEPT_MS
        if closing.opened_at < oldest:
            return _TOO_OLD, ()
        found: Entries | Unavailable = _TOO_OLD
        fills: Sequence[Fill] = ()
        for before in _BEFORE_MS:
            fills = await self._executions(closing, max(oldest, closing.opened_at - before))
            found = entries_of(closing, fills)
            if isinstance(found, Entries):
                break
        return found, fills

    async def _executions(self, closing: Closing, since: Millis) -> Sequence[Fill]:
        symbol = closing.key.symbol
        known = self._fills.get(symbol)
        if known is None or since < known[0] or closing.closed_at + BOOKED_MS > known[1]:
            now = self._now()
            known = self._fills[symbol] = (since, now, await self._ledger.fills(symbol, since))
        return known[2]

    async def _payments(self, since: Millis, until: Millis) -> Sequence[FundingFee]:
        known = self._paid
        if known is None or since < known[0] or until + BOOKED_MS > known[1]:
            now = self._now()
            known = self._paid = (since, now, await self._ledger.funding_fees(since))
        return known[2]


def _costs(closing: Closing, entry_fees: Decimal | Unavailable, funding: Decimal | Unavailable) -> Costs:
    return Costs(
        *(closing.generation, closing.key, closing.closed_at, closing.policy, closing.pnl),
        entry_fees=entry_fees,
        funding=funding,
    )
