"""What the exchange's answers to our requests mean: accepted, refused, unknown, or withheld by the guard.

An acknowledgement makes an order live but confirms nothing; a lost answer makes it unknown and reserves its place
(I10); a refusal is waited out, except where it says that the price has passed the level.
"""

from tpctl.exits.draft import STALE_RULES, Draft, slot_of
from tpctl.exits.episode import OrderState, OwnOrder
from tpctl.exits.events import Accepted, Answer, Answered, Refused, Unknown, Withheld
from tpctl.exits.facts import see_order
from tpctl.exits.ids import Role
from tpctl.exits.intents import ReadAccount
from tpctl.exits.model import NoteKind
from tpctl.exits.reconcile import WOULD_TRIGGER, begin_close, make_room

# What the account shows explains these: a position smaller than thought, an order in the way, another position mode
# (binance-usdm 3.3).
_READ_ACCOUNT = frozenset({-2022, -4061, -4118, -4130, -4509})
_ORDER_GONE = frozenset({-2011, -2013})
_DUPLICATE_ID = -4116
_TOO_MANY = frozenset({-4045, -2025})


def see_answer(draft: Draft, event: Answered) -> None:  # noqa: C901 - one branch per kind of answer
    """Take in what became of a request of ours."""
    at, client_id, answer = event.at, event.client_id, event.answer
    own = draft.episode.order(client_id)
    if own is None:
        return
    if event.cancel:
        _see_cancel_answer(draft, own, answer)
        return
    if event.sent_at is not None:
        draft.set_order(client_id, left_at=event.sent_at, acked_at=at)
    match answer:
        case Accepted(order=order):
            if order is not None:
                see_order(draft, at, order, evidence=False)
                _tell_accepted(draft, own)
        case _ if own.state is not OrderState.SENT:
            return  # better evidence came first
        case Unknown(reason=reason):
            draft.set_order(client_id, state=OrderState.UNKNOWN)
            draft.tell(NoteKind.DEGRADED, f"answer lost: {reason}", client_id=client_id)
        case Withheld(retry=True) if own.quantity is not None and own.quantity > draft.episode.quantity:
            # A fill came first: the guard was right, and the next decision has the right size.
            draft.set_order(client_id, state=OrderState.GONE)
            draft.tell(NoteKind.CANCELLED, f"{own.role.label}: overtaken by a fill", client_id=client_id)
        case Withheld(reason=reason, retry=True):
            draft.set_order(client_id, state=OrderState.REFUSED)
            draft.tell(NoteKind.DEGRADED, f"{own.role.label} order withheld: {reason}", client_id=client_id)
            draft.failed(slot_of(own))
        case Withheld():
            draft.set_order(client_id, state=OrderState.WITHHELD)
        case Refused(code=code) if code == _DUPLICATE_ID:
            draft.set_order(client_id, state=OrderState.UNKNOWN)
        case Refused(code=code, text=text):
            _see_refusal(draft, own, code, text)


def _tell_accepted(draft: Draft, own: OwnOrder) -> None:
    now = draft.episode.order(own.client_id) or own
    left, acked = now.left_at, now.acked_at
    draft.tell(
        NoteKind.ACCEPTED,
        own.role.label,
        order=own.role.label,
        leg=own.legs[0] if len(own.legs) == 1 else None,
        client_id=own.client_id,
        latency_ms=draft.now - own.sent_at,
        sent_ms=None if left is None else max(0, left - own.sent_at),
        acknowledged_ms=None if left is None or acked is None else max(0, acked - left),
    )


def _see_refusal(draft: Draft, own: OwnOrder, code: int, text: str) -> None:
    draft.set_order(own.client_id, state=OrderState.REFUSED, code=code)
    draft.tell(NoteKind.REJECTED, text, order=own.role.label, code=code, client_id=own.client_id, trigger=own.trigger)
    draft.failed(slot_of(own))
    if code in WOULD_TRIGGER and own.role in {Role.STOP, Role.BACKSTOP}:
        begin_close(draft, "the exchange says the stop level is already passed")
    elif code in _READ_ACCOUNT:
        draft.ask(ReadAccount(f"the exchange refused with {code}"))
    elif code in _TOO_MANY and own.role in {Role.STOP, Role.BACKSTOP}:
        make_room(draft)
    elif code in STALE_RULES:
        draft.set(context_asked_at=None)


def _see_cancel_answer(draft: Draft, own: OwnOrder, answer: Answer) -> None:
    match answer:
        case Accepted():
            if own.open:
                draft.set_order(own.client_id, state=OrderState.GONE)
                draft.tell(NoteKind.CANCELLED, own.role.label, order=own.role.label, client_id=own.client_id)
        case Refused(code=code) if code in _ORDER_GONE:
            draft.look_up(own)
        case Refused() | Withheld():
            draft.set_order(own.client_id, cancel_at=None)
            draft.failed(f"x{own.client_id}")
        case Unknown():
            draft.set_order(own.client_id, looked_at=None)
