"""How evidence changes what is known about an episode: fills, order states, sizes, prices, reads.

Evidence may come twice, late, out of order or not at all, so every rule here is idempotent and never lowers a cumulative
figure. Nothing is decided here but what the evidence itself decides: a leg is hit when its quantity is filled.

Invariants: I6 (a leg at most once), I10 (unknown stays unknown until evidence), I14 and I15 (fresh, sane marks), I24 (the
operator's acts are recognised).
"""

from dataclasses import replace
from decimal import Decimal

from tpctl.exits.draft import Draft, slot_of
from tpctl.exits.episode import LegState, LegStatus, OrderState, OwnOrder, Phase
from tpctl.exits.events import Accepted, Answer, Refused, Unknown, Withheld
from tpctl.exits.ids import Role, parse_client_id
from tpctl.exits.intents import LookUp, ReadAccount
from tpctl.exits.model import Attempt, Book, Fill, LiveOrder, NoteKind, OrderStatus, Outcome
from tpctl.exits.reconcile import ABANDON_MS, SETTLE_MS, begin_close
from tpctl.exits.units import ZERO, Millis, Price, Quantity

# A mark that jumps further than this is believed only when the next one confirms it (I15).
JUMP = Decimal("0.05")
_CONFIRMS = Decimal("0.01")
# Streams and queries print entry prices with different numbers of digits; a smaller difference is no addition.
_SAME_ENTRY = Decimal("0.000001")
_WOULD_TRIGGER = frozenset({-2021, -4142})
_REDUCE_REFUSED = frozenset({-2022, -4118})
_ORDER_GONE = frozenset({-2011, -2013})


def see_mark(draft: Draft, at: Millis, price: Price) -> bool:
    """Take in a mark; return whether it is fresh and sane enough to decide on."""
    episode = draft.episode
    if at < episode.mark_at or price <= 0:
        return False
    if episode.mark is not None and _far(price, episode.mark, JUMP):
        suspect = episode.suspect_mark
        if suspect is None or _far(price, suspect, _CONFIRMS):
            draft.set(suspect_mark=price, mark_at=at)
            return False
    sign = episode.key.side.sign
    peak = episode.peak
    better = peak is None or sign * (price - peak) > 0
    draft.set(mark=price, mark_at=at, suspect_mark=None, peak=price if better else peak)
    return True


def _far(price: Price, other: Price, share: Decimal) -> bool:
    return abs(price - other) > share * other


def see_order(draft: Draft, at: Millis, order: LiveOrder, *, evidence: bool = True) -> None:
    """Take in the state of one of our orders. `evidence` is False for the acknowledgement of the request itself."""
    own = draft.episode.order(order.client_id) or _by_child(draft, order)
    if own is None:
        return
    before = own.state
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
    _take_execution(draft, own.client_id, at, order)
    now = draft.episode.order(own.client_id)
    assert now is not None
    if now.state is OrderState.LIVE and before is not OrderState.LIVE:
        draft.succeeded(slot_of(now))
    if now.state is OrderState.GONE and before is not OrderState.GONE:
        _tell_gone(draft, now, order)


def _by_child(draft: Draft, order: LiveOrder) -> OwnOrder | None:
    if order.book is Book.REGULAR:
        for own in draft.episode.orders:
            if own.child_id is not None and own.child_id == order.exchange_id:
                return own
    return None


def _state_of(own: OwnOrder, order: LiveOrder) -> OrderState:
    """Return our word for the exchange's status. FINISHED is not filled: the child order has the last word (F3)."""
    status = order.status
    if order.book is Book.ALGO:
        if status is OrderStatus.NEW:
            return OrderState.LIVE
        if status in {OrderStatus.TRIGGERING, OrderStatus.TRIGGERED}:
            return OrderState.WORKING
        if status is OrderStatus.FINISHED:
            whole = own.quantity is not None and max(order.executed, own.executed) >= own.quantity
            return OrderState.DONE if whole or own.state is OrderState.DONE else OrderState.WORKING
        return OrderState.GONE
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


def _take_execution(draft: Draft, client_id: str, at: Millis, order: LiveOrder) -> None:
    """Book what the order executed beyond what is booked already; cumulative, so duplicates change nothing."""
    own = draft.episode.order(client_id)
    assert own is not None
    if order.average_price is None or order.executed <= own.executed:
        return
    quantity = order.executed - own.executed
    spent = order.executed * order.average_price - own.spent
    first = own.executed == 0
    draft.set_order(client_id, executed=order.executed, spent=own.spent + spent)
    episode = draft.episode
    accounted = max(ZERO, episode.accounted - quantity)
    draft.set(
        exit_quantity=episode.exit_quantity + quantity,
        exit_spent=episode.exit_spent + spent,
        accounted=accounted,
        quantity=min(episode.quantity, accounted),
        stated=None,
    )
    if own.legs:
        _fill_legs(draft, own, quantity, spent / quantity)
        return
    draft.set(
        rest_quantity=draft.episode.rest_quantity + quantity, rest_spent=draft.episode.rest_spent + spent
    )
    if first and own.role in {Role.STOP, Role.BACKSTOP}:
        cause = draft.episode.stop_cause if own.role is Role.STOP else "backstop"
        draft.set(close_reason=draft.episode.close_reason or cause)
        draft.tell(
            NoteKind.STOP_HIT,
            cause,
            price=order.average_price,
            trigger=own.trigger,
            quantity=order.executed,
            client_id=client_id,
        )


def _fill_legs(draft: Draft, own: OwnOrder, quantity: Quantity, price: Price) -> None:
    """Give an execution to the order's legs, in order (I7)."""
    left = quantity
    for number in own.legs:
        leg = next((candidate for candidate in draft.episode.legs if candidate.number == number), None)
        if leg is None or leg.status is not LegStatus.WAITING:
            continue
        part = min(left, leg.remaining)
        if part <= 0:
            continue
        left -= part
        leg = replace(leg, filled=leg.filled + part, spent=leg.spent + part * price)
        if leg.remaining <= 0:
            leg = replace(leg, status=LegStatus.HIT)
        draft.set(legs=tuple(leg if old.number == number else old for old in draft.episode.legs))
        if leg.status is LegStatus.HIT:
            _tell_hit(draft, leg)
    if left > 0:
        draft.set(
            rest_quantity=draft.episode.rest_quantity + left, rest_spent=draft.episode.rest_spent + left * price
        )


def _tell_hit(draft: Draft, leg: LegState) -> None:
    episode = draft.episode
    price = leg.spent / leg.filled
    sign = episode.key.side.sign
    draft.tell(
        NoteKind.TP_HIT,
        f"take-profit {leg.number}",
        leg=leg.number,
        price=price,
        trigger=leg.trigger,
        quantity=leg.filled,
        fraction=leg.fraction,
        percent=sign * (price - episode.entry) / episode.entry,
        remaining=episode.quantity,
    )
    draft.attempts.append(attempt_of(draft, leg, Outcome.HIT, "take_profit", price, leg.filled))


def attempt_of(
    draft: Draft, leg: LegState, outcome: Outcome, reason: str, price: Price, quantity: Quantity
) -> Attempt:
    """Return the outcome record of one leg; its id makes it count once (I17). Profit is net of the exit's fees."""
    episode = draft.episode
    assert episode.plan is not None
    gross = episode.key.side.sign * (price - episode.entry) * quantity
    return Attempt(
        id=f"{episode.generation}-{episode.plans}-{leg.number}",
        strategy_id=episode.plan.policy.value,
        symbol=episode.key.symbol,
        position_side=episode.key.side,
        leg=leg.number,
        entry_time=episode.opened_at,
        entry_price=episode.entry,
        target_price=leg.trigger,
        exit_time=draft.now,
        exit_price=price,
        quantity=quantity,
        profit_usd=gross - _exit_fees(draft, leg, outcome, quantity),
        outcome=outcome,
        reason=reason,
    )


def _exit_fees(draft: Draft, leg: LegState, outcome: Outcome, quantity: Quantity) -> Decimal:
    """Return the share of the exit fees that falls on a leg: of its own orders when hit, of the rest when missed."""
    if outcome is Outcome.HIT:
        shares = (
            order.fees * quantity / order.executed if len(order.legs) > 1 else order.fees
            for order in draft.episode.orders
            if leg.number in order.legs and order.executed > 0
        )
        return sum(shares, ZERO)
    rest = draft.episode.rest_quantity
    fees = sum((order.fees for order in draft.episode.orders if not order.legs), ZERO)
    return fees * quantity / rest if rest > 0 else ZERO


def see_fill(draft: Draft, at: Millis, fill: Fill) -> None:
    """Take in one execution on this position: fees and profit of ours, everything of somebody else's."""
    episode = draft.episode
    if fill.trade_id in episode.trades or fill.at < episode.opened_at:
        return
    own = episode.order(fill.client_id) or _by_order_id(draft, fill.order_id)
    if own is None and parse_client_id(fill.client_id) is not None:
        return  # an earlier generation's order; the sweep deals with it
    if fill.order_side is not episode.key.side.closing:
        return
    draft.set(
        trades=(*episode.trades, fill.trade_id),
        realised=episode.realised + fill.realised,
        fees=episode.fees + fill.fee,
    )
    if own is not None:
        draft.set_order(own.client_id, fees=own.fees + fill.fee)
        return
    who = _who(fill.client_id)
    draft.set(
        exit_quantity=draft.episode.exit_quantity + fill.quantity,
        exit_spent=draft.episode.exit_spent + fill.quantity * fill.price,
        rest_quantity=draft.episode.rest_quantity + fill.quantity,
        rest_spent=draft.episode.rest_spent + fill.quantity * fill.price,
        accounted=max(ZERO, draft.episode.accounted - fill.quantity),
        quantity=min(draft.episode.quantity, max(ZERO, draft.episode.accounted - fill.quantity)),
        stated=None,
        close_reason=draft.episode.close_reason or who,
    )
    draft.tell(NoteKind.EXTERNAL, f"reduced by {who}", price=fill.price, quantity=fill.quantity, client_id=fill.client_id)


def _by_order_id(draft: Draft, order_id: str) -> OwnOrder | None:
    for own in draft.episode.orders:
        if order_id and order_id in {own.child_id, own.exchange_id if own.role is Role.REDUCE else None}:
            return own
    return None


def _who(client_id: str) -> str:
    """Return who closed, by the client ids the exchange uses for its own acts (binance-usdm 4.6)."""
    if client_id.startswith("autoclose-"):
        return "liquidation"
    if client_id.startswith("adl_autoclose"):
        return "auto-deleveraging"
    if client_id.startswith(("settlement_autoclose-", "delivery_autoclose-")):
        return "settlement"
    return "another order"


def see_size(draft: Draft, at: Millis, quantity: Quantity, entry: Price) -> None:
    """Take in the size of the position as the exchange states it."""
    episode = draft.episode
    if at < episode.position_at or episode.phase is Phase.FLAT:
        return
    draft.set(quantity=min(quantity, episode.accounted), stated=quantity, position_at=at, absent_reads=0)
    if quantity == episode.accounted:
        draft.set(differs_since=None)
    elif quantity > episode.accounted and abs(entry - episode.entry) > _SAME_ENTRY * episode.entry:
        see_increase(draft, quantity, entry)
    else:
        # A fill of ours may be on its way, or this figure older than one that came first: time will tell.
        draft.set(differs_since=episode.differs_since or at)


def see_increase(draft: Draft, quantity: Quantity, entry: Price) -> None:
    """Take in that somebody enlarged the position: cover first, plan again second (I24)."""
    before = draft.episode.accounted
    draft.set(
        quantity=quantity,
        accounted=quantity,
        entry=entry,
        differs_since=None,
        context_asked_at=None,
        phase=Phase.ADOPTING if draft.episode.phase is Phase.GUARDED else draft.episode.phase,
    )
    draft.tell(NoteKind.EXTERNAL, "increased by another order", quantity=quantity, before=before, entry=entry)


def see_foreign(draft: Draft, order: LiveOrder) -> None:
    """Take in somebody else's order on this position: shown, counted as protection, never touched (I12)."""
    others = tuple(o for o in draft.episode.foreign if o.exchange_id != order.exchange_id or o.book is not order.book)
    if order.status is OrderStatus.NEW and order.reduces:
        others = (*others, order)
    if others != draft.episode.foreign:
        draft.set(foreign=others)


def see_answer(draft: Draft, at: Millis, client_id: str, answer: Answer, *, cancel: bool) -> None:
    """Take in what became of a request of ours."""
    own = draft.episode.order(client_id)
    if own is None:
        return
    if cancel:
        _see_cancel_answer(draft, own, answer)
        return
    match answer:
        case Accepted(order=order):
            if order is not None:
                see_order(draft, at, order, evidence=False)
                _tell_accepted(draft, client_id)
        case Unknown(reason=reason):
            if own.state is OrderState.SENT:
                draft.set_order(client_id, state=OrderState.UNKNOWN)
                draft.tell(NoteKind.DEGRADED, f"answer lost: {reason}", client_id=client_id)
        case Withheld(reason=reason):
            if own.state is OrderState.SENT:
                draft.set_order(client_id, state=OrderState.WITHHELD)
        case Refused(code=code, text=text):
            if own.state is OrderState.SENT:
                _see_refusal(draft, own, code, text)


def _tell_accepted(draft: Draft, client_id: str) -> None:
    own = draft.episode.order(client_id)
    assert own is not None
    draft.tell(
        NoteKind.ACCEPTED,
        own.role.label,
        order=own.role.label,
        leg=own.legs[0] if len(own.legs) == 1 else None,
        client_id=client_id,
        latency_ms=draft.now - own.sent_at,
    )


def _see_refusal(draft: Draft, own: OwnOrder, code: int, text: str) -> None:
    draft.set_order(own.client_id, state=OrderState.REFUSED, code=code)
    draft.tell(
        NoteKind.REJECTED, text, order=own.role.label, code=code, client_id=own.client_id, trigger=own.trigger
    )
    draft.failed(slot_of(own))
    if code in _WOULD_TRIGGER and own.role in {Role.STOP, Role.BACKSTOP}:
        begin_close(draft, "the exchange says the stop level is already passed")
    elif code in _REDUCE_REFUSED:
        draft.ask([ReadAccount("a reduce-only order was refused")])


def _see_cancel_answer(draft: Draft, own: OwnOrder, answer: Answer) -> None:
    match answer:
        case Accepted():
            if own.open:
                draft.set_order(own.client_id, state=OrderState.GONE)
                draft.tell(NoteKind.CANCELLED, own.role.label, order=own.role.label, client_id=own.client_id)
        case Withheld():
            draft.set_order(own.client_id, cancel_at=None)
            draft.failed(f"x{own.client_id}")
        case Refused(code=code):
            if code in _ORDER_GONE:
                draft.set_order(own.client_id, looked_at=draft.now)
                draft.ask([LookUp(draft.episode.key, own.client_id, Book.ALGO)])
            else:
                draft.set_order(own.client_id, cancel_at=None)
                draft.failed(f"x{own.client_id}")
        case Unknown():
            draft.set_order(own.client_id, looked_at=None)


def see_lookup(draft: Draft, at: Millis, client_id: str, order: LiveOrder | None) -> None:
    """Take in the answer to a query by client id. Absence is evidence only late, and only twice (I10)."""
    own = draft.episode.order(client_id)
    if own is None or not own.open:
        return
    if order is not None:
        see_order(draft, at, order)
        after = draft.episode.order(client_id)
        if after is not None and after.state is OrderState.LIVE and after.cancel_at is not None:
            draft.set_order(client_id, cancel_at=None)  # still resting: the cancel did not arrive
        return
    absences = own.absences + 1
    draft.set_order(client_id, absences=absences)
    late = at - own.sent_at > ABANDON_MS
    if absences >= 2 and (late or own.state is not OrderState.UNKNOWN):
        draft.set_order(client_id, state=OrderState.GONE)
        draft.tell(NoteKind.DEGRADED, f"{own.role.label} order is not on the exchange", client_id=client_id)


def _tell_gone(draft: Draft, own: OwnOrder, order: LiveOrder) -> None:
    if own.cancel_at is not None:
        draft.tell(NoteKind.CANCELLED, own.role.label, order=own.role.label, client_id=own.client_id)
        return
    if draft.episode.quantity == 0 or draft.episode.phase is Phase.FLAT:
        return
    why = order.reject_reason or order.status.value
    draft.failed(slot_of(own))
    draft.tell(NoteKind.DEGRADED, f"{own.role.label} order ended: {why}", order=own.role.label, client_id=own.client_id)


def adopt_order(draft: Draft, at: Millis, order: LiveOrder) -> None:
    """Take in an order with our prefix that this episode did not place: a lost state directory, or another host."""
    name = parse_client_id(order.client_id)
    if name is None or order.status is not OrderStatus.NEW:
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
    draft.set(orders=(*draft.episode.orders, own))
    draft.tell(NoteKind.EXTERNAL, f"found a {name.role.label} order of an earlier run", client_id=order.client_id)
