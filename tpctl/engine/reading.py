"""Reads of the account that become events: a snapshot of it, and what the streams may not have told.

Decides nothing about what was read; a read that failed raises, and is never an empty one.
"""

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import replace

from tpctl.exits.episode import State
from tpctl.exits.events import Event, Filled, OrderLookedUp, Snapshot
from tpctl.exits.ids import Role
from tpctl.exits.model import Book, LiveOrder
from tpctl.exits.units import Millis
from tpctl.ports import AccountReader

# Above this many symbols the orders of all are cheaper to list than those of each.
_MOST_NARROW = 40


async def read_account(reader: AccountReader, state: State, began: Millis, *, wide: bool) -> Snapshot:
    """Return positions and both order books as of `began`.

    A `wide` read lists the orders of all symbols, which finds orphans anywhere and costs 90 of the request weight, at
    the regular interval 180 of 2400 a minute. Another, of which a busy minute may need dozens, lists those of the known
    symbols at a weight of 2 each.
    """
    held = await reader.holdings()
    symbols = {position.key.symbol for position in held.positions} | {key.symbol for key in state.episodes}
    orders = await (reader.open_orders() if wide else _open_orders(reader, symbols))
    return Snapshot(began, held.mode, held.positions, orders)


async def missed_events(reader: AccountReader, state: State, now: Millis) -> list[Event]:
    """Return what the streams may not have told: executions first, then the state of every open order of ours.

    Executions come first so that fees are known when an order shows as filled. They name orders by exchange id; the
    orders found tell which of those ids are ours. An order that is listed still rests; only those that are not, or that
    have triggered, are looked up one by one, so that a hundred positions are caught up with in a moment.
    """
    waiting = [(key, order) for key, episode in state.episodes.items() for order in episode.orders if order.open]
    listed = {
        order.client_id: order
        for order in await _open_orders(reader, {key.symbol for key, _ in waiting})
        if order.book is Book.ALGO
    }
    looked_up: list[Event] = []
    names: dict[str, str] = {}
    for key, order in waiting:
        lives_on = order.role is Role.REDUCE or order.child_id is not None
        found = None if lives_on else listed.get(order.client_id)
        if found is None:
            book = Book.REGULAR if lives_on else Book.ALGO
            found = await reader.find_order(key.symbol, order.client_id, book)
        looked_up.append(OrderLookedUp(now, key, order.client_id, found))
        if found is not None:
            names[found.child_id or found.exchange_id] = order.client_id
    filled: list[Event] = []
    for symbol, since in _oldest(state).items():
        for fill in await reader.fills(symbol, since):
            named = replace(fill, client_id=names.get(fill.order_id, fill.client_id))
            filled.append(Filled(named.at, named))
    return filled + looked_up


async def _open_orders(reader: AccountReader, symbols: AbstractSet[str]) -> tuple[LiveOrder, ...]:
    """Return the open orders of some symbols, as one list where they are many."""
    if len(symbols) > _MOST_NARROW:
        return await reader.open_orders()
    # Side by side, because size and orders are to be of one time, and a position that is flat waits for three reads.
    found = await asyncio.gather(*(reader.open_orders(symbol) for symbol in sorted(symbols)), return_exceptions=True)
    orders: list[LiveOrder] = []
    for part in found:
        if isinstance(part, BaseException):
            raise part
        orders += part
    return tuple(orders)


def _oldest(state: State) -> dict[str, Millis]:
    """Return the symbols with episodes, and when the oldest of each began."""
    since: dict[str, Millis] = {}
    for key, episode in state.episodes.items():
        since[key.symbol] = min(episode.opened_at, since.get(key.symbol, episode.opened_at))
    return since
