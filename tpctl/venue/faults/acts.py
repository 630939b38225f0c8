"""What the exchange and the operator do to an account by themselves: chosen here, applied to a `Venue`.

Nothing of it is reachable through the API. An act that the exchange refuses (a mode change against open orders) has
been tried, and changes nothing.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from tpctl.venue import api_account, exchange_acts
from tpctl.venue.lifecycle import end_order, move_conditional
from tpctl.venue.refusals import VenueError
from tpctl.venue.venue import PositionView, Venue


@dataclass(frozen=True, slots=True)
class Act:
    """One act; `apply` returns whether the exchange let it happen."""

    name: str
    detail: str
    run: Callable[[Venue], object]

    def apply(self, venue: Venue) -> bool:
        """Do it."""
        try:
            self.run(venue)
        except VenueError:
            return False
        return True


def act_of(name: str, venue: Venue, numbers: random.Random) -> Act | None:
    """Return the act of a fault on this account as it is now, None where there is nothing to do it to."""
    if name == "hand-mode":
        wanted = "false" if venue.hedge else "true"
        return Act(name, f"hedge {wanted}", lambda v: v.change_position_mode({"dualSidePosition": wanted}))
    if name in _ON_ORDERS:
        return _on_orders(name, venue, numbers)
    positions = venue.positions()
    if not positions:
        return None
    position = positions[numbers.randrange(len(positions))]
    return Act(name, f"{position.symbol} {position.side}", _ON_POSITIONS[name](position, numbers))


def _on_orders(name: str, venue: Venue, numbers: random.Random) -> Act | None:
    waiting = [order for order in venue.resting_conditionals() if order.status == "NEW"]
    open_orders = list(venue.resting_orders()) if name == "hand-cancel" else []
    count = len(waiting) + len(open_orders)
    if not count:
        return None
    chosen = numbers.randrange(count)
    if chosen >= len(waiting):
        client_id, order_id = open_orders[chosen - len(waiting)].client_id, open_orders[chosen - len(waiting)].order_id
        return Act(name, client_id, lambda v: _cancel_regular(v, order_id))
    client_id, algo_id = waiting[chosen].client_id, waiting[chosen].algo_id
    if name == "stop-stuck":
        return Act(name, client_id, lambda v: _stick(v, algo_id))
    status = "EXPIRED" if name == "stop-expired" else "CANCELED"
    return Act(name, client_id, lambda v: _end_conditional(v, algo_id, status))


def _cancel_regular(venue: Venue, order_id: int) -> None:
    for order in venue.core.books.open_orders():
        if order.order_id == order_id:
            end_order(venue.core, order, "CANCELED")


def _end_conditional(venue: Venue, algo_id: int, status: str) -> None:
    for order in venue.core.books.resting():
        if order.algo_id == algo_id and order.status == "NEW":
            move_conditional(venue.core, order, status)


def _stick(venue: Venue, algo_id: int) -> None:
    for order in venue.core.books.resting():
        if order.algo_id == algo_id:
            order.stuck = True


_Run = Callable[[Venue], object]
_Choose = Callable[[PositionView, random.Random], _Run]


def _part(numbers: random.Random) -> Decimal:
    return Decimal(numbers.randint(20, 80)) / 100


def _close(position: PositionView, _numbers: random.Random) -> _Run:
    return lambda v: v.close_position(position.symbol, position.side)


def _reduce(position: PositionView, numbers: random.Random) -> _Run:
    part = _part(numbers)
    return lambda v: v.close_position(position.symbol, position.side, part)


def _add(position: PositionView, numbers: random.Random) -> _Run:
    more = position.quantity * position.mark * _part(numbers)
    return lambda v: v.add_position(position.symbol, position.side, notional=more)


def _flip(position: PositionView, _numbers: random.Random) -> _Run:
    # In hedge mode there is no such thing: LONG and SHORT are two positions.
    return lambda v: None if v.hedge else v.flip_position(position.symbol)


def _relever(position: PositionView, numbers: random.Random) -> _Run:
    leverage = numbers.choice((5, 10, 25, 50))
    return lambda v: api_account.change_leverage(v.core, {"symbol": position.symbol, "leverage": str(leverage)})


def _deleverage(position: PositionView, numbers: random.Random) -> _Run:
    part = Decimal(1) if numbers.random() < 0.5 else _part(numbers)
    return lambda v: exchange_acts.deleverage(v.core, position.symbol, position.side, part)


def _halt(position: PositionView, numbers: random.Random) -> _Run:
    ms = numbers.randint(30_000, 300_000)
    return lambda v: exchange_acts.halt(v.core, position.symbol, v.now + ms)


def _settle(position: PositionView, _numbers: random.Random) -> _Run:
    return lambda v: exchange_acts.settle_symbol(v.core, position.symbol)


def _widen(position: PositionView, _numbers: random.Random) -> _Run:
    return lambda v: exchange_acts.widen_filters(v.core, position.symbol)


def _thin(_position: PositionView, numbers: random.Random) -> _Run:
    depth, ms = Decimal(numbers.randint(500, 5_000)), numbers.randint(60_000, 600_000)
    return lambda v: exchange_acts.thin_book(v.core, depth, v.now + ms)


_ON_ORDERS = frozenset({"hand-cancel", "stop-expired", "stop-stuck"})
_ON_POSITIONS: dict[str, _Choose] = {
    "hand-close": _close,
    "hand-reduce": _reduce,
    "hand-add": _add,
    "hand-flip": _flip,
    "hand-leverage": _relever,
    "adl": _deleverage,
    "symbol-halt": _halt,
    "symbol-settle": _settle,
    "filter-change": _widen,
    "thin-book": _thin,
}
