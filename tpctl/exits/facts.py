"""How evidence changes what is known about an episode: prices, the states of orders, queries, reads.

Evidence may come twice, late, out of order or not at all, so every rule here is idempotent and never lowers a
cumulative figure. Nothing is decided here but what the evidence itself decides.

Invariants: I10 (unknown stays unknown until evidence), I12 (foreign orders are only looked at), I14 and I15 (fresh,
sane marks).
"""

from decimal import Decimal

from tpctl.exits.draft import ABANDON_MS, SETTLE_MS, Draft, slot_of, tighter
from tpctl.exits.episode import OrderState, OwnOrder, Phase
from tpctl.exits.fills import claim, take_execution
from tpctl.exits.ids import Role, parse_client_id
from tpctl.exits.intents import CancelOrder
from tpctl.exits.model import Book, LiveOrder, NoteKind, OrderStatus
from tpctl.exits.units import Millis, Price

# A mark that jumps further than this is believed only when the next one confirms it (I15).
JUMP = Decimal("0.05")
_CONFIRMS = Decimal("0.01")


def see_mark(draft: Draft, at: Millis, price: Price) -> None:
    """Take in a mark if it is fresh and sane."""
    episode = draft.episode
    if at < episode.mark_at or price <= 0:
        return
    if episode.mark is not None and _far(price, episode.mark, JUMP):
        suspect = episode.suspect_mark
        if suspect is None or at <= episode.suspect_at or _far(price, suspect, _CONFIRMS):
            draft.set(suspect_mark=price, suspect_at=max(at, episode.suspect_at))
            return
    draft.set(mark=price, mark_at=at, suspect_mark=None, peak=episode.best(price), trough=episode.worst(price))


def _far(price: Price, other: Price, share: Decimal) -> bool:
    return abs(price - other) > share * other


def find_own(draft: Draft, order: LiveOrder) -> OwnOrder | None:
    """Return our order this is the state of: by client id, or as the child of a conditional order of ours."""
    own = draft.episode.order(order.client_id)
    if own is None and order.book is Book.REGULAR:
        own = next((o for o in draft.episode.orders if o.child_id and o.child_id == order.exchange_id), None)
    return own


def see_order(draft: Draft, at: Millis, order: LiveOrder, *, evidence: bool = True) -> None:
    """Take in the state of one of our orders. `evidence` is False for the acknowledgement of the request itself."""
    own = find_own(draft, order)
    if own is None:
        return
    changes: dict[str, object] = {"confirmed": own.confirmed or evidence, "absences": 0}
    if order.book is Book.ALGO:
        changes["exchange_id"] = order.exchange_id
        changes["child_id"] = order.child_id or own.child_id
    elif own.role is Role.REDUCE:
        changes["exchange_id"] = order.exchange_id
    else:
        changes["child_id"] = order.exchange_id
    state = _state_of(own, order)
    if _follows(own, state):
        changes["state"] = state
        if state is OrderState.WORKING and own.working_since is None:
            changes["working_since"] = at
    draft.set_order(own.client_id, **changes)
    claim(draft)
    take_execution(draft, own, order)
    if changes.get("state") is OrderState.GONE and own.state is not OrderState.GONE:
        _tell_gone(draft, own, order)


_ALGO_STATES = {
    OrderStatus.NEW: OrderState.LIVE,
    OrderStatus.TRIGGERING: OrderState.WORKING,
    OrderStatus.TRIGGERED: OrderState.WORKING,
}


def _state_of(own: OwnOrder, order: LiveOrder) -> OrderState:
    """Return our word for the exchange's status. FINISHED is not filled: the child order has the last word (F3)."""
    status = order.status
    if order.book is Book.ALGO:
        if status is not OrderStatus.FINISHED:
            return _ALGO_STATES.get(status, OrderState.GONE)
        whole = own.quantity is not None and max(order.executed, own.executed) >= own.quantity
        return OrderState.DONE if whole or own.state is OrderState.DONE else OrderState.WORKING
    if status.terminal and order.executed > own.executed and order.average_price is None:
        # A placement's answer says how much was filled but not at what price: it is not over until that is known.
        return OrderState.WORKING
    if status is OrderStatus.FILLED:
        return OrderState.DONE
    return OrderState.GONE if status.terminal else OrderState.WORKING


_RANK = {
    OrderState.SENT: 0,
    OrderState.UNKNOWN: 0,
    OrderState.WITHHELD: 0,
    OrderState.REFUSED: 0,
    OrderState.LIVE: 1,
    OrderState.WORKING: 2,
    OrderState.GONE: 3,
    OrderState.DONE: 4,
}


def _follows(own: OwnOrder, state: OrderState) -> bool:
    """Whether the new state can follow: late news never moves an order back, save one that was given up as absent."""
    if own.state is OrderState.GONE and own.absences > 0:
        return True
    return _RANK[state] > _RANK[own.state]


def _tell_gone(draft: Draft, own: OwnOrder, order: LiveOrder) -> None:
    if own.cancel_at is not None:
        draft.tell(NoteKind.CANCELLED, own.role.label, order=own.role.label, client_id=own.client_id)
        return
    if draft.episode.quantity == 0 or draft.episode.phase is Phase.FLAT:
        return
    why = order.reject_reason or order.status.value
    draft.failed(slot_of(own))
    draft.tell(NoteKind.DEGRADED, f"{own.role.label} order ended: {why}", order=own.role.label, client_id=own.client_id)


def see_lookup(draft: Draft, at: Millis, client_id: str, order: LiveOrder | None) -> None:
    """Take in the answer to a query by client id. Absence is evidence only late, and only twice (I10).

    Of an order whose answer is still to come it is none: the request may not have left. Nor is it right after the
    answer, because reads lag behind writes.
    """
    own = draft.episode.order(client_id)
    if own is None or not own.open:
        return
    if order is not None:
        see_order(draft, at, order)
        if own.cancel_at is not None and order.status is OrderStatus.NEW and at - own.cancel_at >= SETTLE_MS:
            draft.set_order(client_id, cancel_at=None)  # still resting: the cancel did not arrive
        return
    if own.state is OrderState.SENT or at - own.settles_from < SETTLE_MS:
        return
    absences = own.absences + 1
    draft.set_order(client_id, absences=absences)
    late = at - own.sent_at > ABANDON_MS
    if absences >= 2 and (late or own.state is not OrderState.UNKNOWN):
        draft.set_order(client_id, state=OrderState.GONE)
        draft.tell(NoteKind.DEGRADED, f"{own.role.label} order is not on the exchange", client_id=client_id)


def see_foreign(draft: Draft, order: LiveOrder) -> None:
    """Take in somebody else's order on this position: shown, counted as protection, never touched (I12)."""
    others = tuple(o for o in draft.episode.foreign if o.exchange_id != order.exchange_id or o.book is not order.book)
    if order.status is OrderStatus.NEW and order.reduces:
        others = (*others, order)
    if others != draft.episode.foreign:
        draft.set(foreign=others)


def adopt_order(draft: Draft, at: Millis, order: LiveOrder) -> None:
    """Take in an order with our prefix that this episode does not know.

    In the first life we know of it is of an earlier run whose memory was lost: it is kept, and its level is not
    loosened (I4). In a later life it was left by the one before, and is cancelled (I11): a stop once another covers the
    position, everything else at once.
    """
    name = parse_client_id(order.client_id)
    if name is None or order.status is not OrderStatus.NEW or order.book is not Book.ALGO:
        return
    episode = draft.episode
    left_over = name.generation != episode.generation and draft.state.lives.get(episode.key, 1) > 1
    if left_over and name.role is not Role.STOP:
        draft.ask(CancelOrder(episode.key, order.client_id, Book.ALGO, "left by the last position"))
        draft.tell(NoteKind.SWEPT, "left by the last position", client_id=order.client_id)
        return
    own = OwnOrder(
        client_id=order.client_id,
        role=name.role,
        legs=(name.leg,) if name.role is Role.TAKE_PROFIT else (),
        quantity=None if order.close_position else order.quantity,
        trigger=order.trigger,
        state=OrderState.LIVE,
        sent_at=at - SETTLE_MS,
        confirmed=True,
        exchange_id=order.exchange_id,
    )
    draft.set(orders=(*episode.orders, own))
    if left_over:
        return
    if name.role is Role.STOP and order.trigger is not None:
        known = draft.episode.stop
        draft.set(stop=order.trigger if known is None else tighter(draft.episode, known, order.trigger))
    draft.tell(NoteKind.EXTERNAL, f"found a {name.role.label} order of an earlier run", client_id=order.client_id)
