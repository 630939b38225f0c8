"""What executions change: the order's and the legs' filled quantities, the size, fees and profit.

An order's own state is cumulative, so it may come twice, late or out of order; an execution has an id and counts once.
An execution whose order is not known is kept for a moment: it may turn out to be the child of one of our orders.

Invariants: I6 (a leg at most once), I24 (the operator's acts are recognised).
"""

from dataclasses import replace

from tpctl.exits.draft import SETTLE_MS, Draft
from tpctl.exits.episode import OwnOrder, Phase
from tpctl.exits.ids import Role
from tpctl.exits.legs import fill_legs
from tpctl.exits.model import Fill, LiveOrder, NoteKind
from tpctl.exits.size import take_off

# How the exchange names the orders of its own acts (binance-usdm 4.6).
_VENUE_ACTS = {
    "autoclose-": "liquidation",
    "adl_autoclose": "auto-deleveraging",
    "settlement_autoclose-": "settlement",
    "delivery_autoclose-": "settlement",
}


def take_execution(draft: Draft, own: OwnOrder, order: LiveOrder) -> None:
    """Book what the order executed beyond what is booked already."""
    if order.average_price is None or order.executed <= own.executed:
        return
    quantity = order.executed - own.executed
    spent = order.executed * order.average_price - own.spent
    draft.set_order(
        own.client_id,
        executed=order.executed,
        spent=own.spent + spent,
        filled_at=order.updated_at if own.filled_at is None else own.filled_at,
    )
    episode = draft.episode
    draft.set(exit_quantity=episode.exit_quantity + quantity, exit_spent=episode.exit_spent + spent)
    take_off(draft, order.updated_at, quantity)
    if draft.episode.phase is Phase.FLAT:
        return
    if own.legs:
        fill_legs(draft, own, quantity, spent / quantity)
        return
    episode = draft.episode
    draft.set(rest_quantity=episode.rest_quantity + quantity, rest_spent=episode.rest_spent + spent)
    if own.executed == 0 and own.role in {Role.STOP, Role.BACKSTOP}:
        cause = episode.stop_cause if own.role is Role.STOP else "backstop"
        draft.set(close_reason=episode.close_reason or cause)
        executed = episode.order(own.client_id)
        draft.tell(
            NoteKind.STOP_HIT,
            cause,
            price=order.average_price,
            trigger=own.trigger,
            quantity=order.executed,
            client_id=own.client_id,
            filled_ms=None if executed is None else executed.took_ms,
        )


def see_fill(draft: Draft, fill: Fill) -> None:
    """Take in one execution on this position; openings are told by the size."""
    episode = draft.episode
    if fill.trade_id in episode.trades or fill.at < episode.opened_at:
        return
    if fill.order_side is not episode.key.side.closing:
        return
    draft.set(trades=(*episode.trades, fill.trade_id))
    own = episode.order(fill.client_id) or _by_order_id(draft, fill.order_id)
    if own is not None:
        _book_own(draft, own, fill)
    elif _venue_act(fill) is not None:
        _book_foreign(draft, fill)
    elif episode.stated == 0 and fill.at > episode.position_at:
        # There was nothing left to close: it opens or grows what came after this position.
        return
    else:
        since = draft.now if episode.unclaimed_since is None else episode.unclaimed_since
        draft.set(unclaimed=(*episode.unclaimed, fill), unclaimed_since=since)


def _by_order_id(draft: Draft, order_id: str) -> OwnOrder | None:
    for own in draft.episode.orders:
        if order_id and order_id in {own.child_id, own.exchange_id if own.role is Role.REDUCE else None}:
            return own
    return None


def claim(draft: Draft) -> None:
    """Book the executions whose order has become known as one of ours."""
    for fill in draft.episode.unclaimed:
        own = _by_order_id(draft, fill.order_id)
        if own is not None:
            left = tuple(other for other in draft.episode.unclaimed if other is not fill)
            draft.set(unclaimed=left, unclaimed_since=draft.episode.unclaimed_since if left else None)
            _book_own(draft, own, fill)


def release_unclaimed(draft: Draft, *, last: bool = False) -> None:
    """Take executions nobody claimed for somebody else's, once evidence had its time; `last` waits no more."""
    episode = draft.episode
    since = episode.unclaimed_since
    if since is None or not (last or draft.now - since >= SETTLE_MS):
        return
    draft.set(unclaimed=(), unclaimed_since=None)
    for fill in episode.unclaimed:
        _book_foreign(draft, fill)


def _book_own(draft: Draft, own: OwnOrder, fill: Fill) -> None:
    draft.set_order(own.client_id, fees=own.fees + fill.fee, traded=own.traded + fill.quantity)
    _book_money(draft, fill)


def _book_money(draft: Draft, fill: Fill) -> None:
    episode = draft.episode
    draft.set(
        traded=episode.traded + fill.quantity,
        realised=episode.realised + fill.realised,
        fees=episode.fees + fill.fee,
    )


def _book_foreign(draft: Draft, fill: Fill) -> None:
    episode = draft.episode
    if fill.at >= episode.accounted_at and fill.quantity > episode.accounted:
        # It turned the position round: only the first part of it closed this one.
        fill = replace(fill, quantity=episode.accounted)
    if not fill.quantity:
        return
    _book_money(draft, fill)
    episode = draft.episode
    spent = fill.quantity * fill.price
    draft.set(
        exit_quantity=episode.exit_quantity + fill.quantity,
        exit_spent=episode.exit_spent + spent,
        rest_quantity=episode.rest_quantity + fill.quantity,
        rest_spent=episode.rest_spent + spent,
    )
    take_off(draft, fill.at, fill.quantity)
    who = _venue_act(fill) or "another order"
    if draft.episode.accounted == 0:
        draft.set(close_reason=draft.episode.close_reason or who)
    draft.tell(
        NoteKind.EXTERNAL, f"reduced by {who}", price=fill.price, quantity=fill.quantity, client_id=fill.client_id
    )


def _venue_act(fill: Fill) -> str | None:
    return next((act for prefix, act in _VENUE_ACTS.items() if fill.client_id.startswith(prefix)), None)
