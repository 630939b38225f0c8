"""The reducer's workbench: one episode being changed by one event, and what comes out of it.

A draft lives for one call of `decide.step`; the records it handles stay frozen. It never decides anything.
"""

from decimal import Decimal
from typing import Any

from tpctl.exits.episode import Episode, LegState, OrderState, OwnOrder, State, replace_episode, replace_order
from tpctl.exits.ids import ClientId, Role
from tpctl.exits.intents import Intent, LookUp
from tpctl.exits.model import Attempt, Book, Note, NoteKind, Scalar, WorkingType
from tpctl.exits.units import Millis, Price, Quantity

# Reads may lag writes by one to two seconds (binance-usdm 4.2), so evidence younger than this proves nothing.
SETTLE_MS = 2_000
# A conditional order still triggering after this, with the position unchanged, protects nothing (reliability F3).
STUCK_MS = 3_000
# recvWindow 5 s + clock error + read lag: after this the venue itself must refuse a late packet (reliability 4).
ABANDON_MS = 8_000
# A mark older than this decides nothing (I14).
STALE_MS = 3_000
# A request that was refused is tried again after this, doubled each time up to the bound (reliability N4).
FIRST_RETRY_MS = 500
LAST_RETRY_MS = 30_000
# The exchange's word that our idea of its grid is out of date (binance-usdm 3.3).
STALE_RULES = frozenset({-1111, -4014, -4023, -4003, -4004, -4005, -1013})
# Rules that cannot be read for so long are not waited for.
_RULES_MS = 5_000
# An order that came to nothing is remembered this long, in case evidence about it is late.
_REMEMBER_MS = 600_000
_CAME_TO_NOTHING = frozenset({OrderState.GONE, OrderState.REFUSED})


class Draft:
    """One episode under change at event time `now`, which is never before the episode began.

    What a stream tells may be stamped a moment before the read that found the position was answered, or by a clock that
    was set back since; a life that ended before it began could be in no record.
    """

    __slots__ = ("attempts", "episode", "intents", "notes", "now", "state")

    def __init__(self, state: State, episode: Episode, now: Millis) -> None:
        self.state = state
        self.episode = episode
        self.now = max(now, episode.opened_at)
        self.intents: list[Intent] = []
        self.notes: list[Note] = []
        self.attempts: list[Attempt] = []

    def set(self, **changes: Any) -> None:
        """Change fields of the episode; what changes nothing leaves it the same."""
        episode = self.episode
        for name, value in changes.items():
            if getattr(episode, name) != value:
                self.episode = replace_episode(episode, **changes)
                return

    def set_order(self, client_id: str, **changes: Any) -> None:
        """Change fields of one of our orders; what changes nothing leaves the episode the same."""
        order = self.episode.order(client_id)
        if order is None or all(getattr(order, name) == value for name, value in changes.items()):
            return
        now = replace_order(order, **changes)
        self.set(orders=tuple(now if o is order else o for o in self.episode.orders))

    def set_leg(self, leg: LegState) -> None:
        """Put a changed leg in the place of the one with its number."""
        self.set(legs=tuple(leg if old.number == leg.number else old for old in self.episode.legs))

    def tell(self, kind: NoteKind, reason: str, **data: Scalar) -> None:
        """Add one event to the story."""
        self.notes.append(Note(self.now, kind, self.episode.key, reason, data))

    def ask(self, *intents: Intent) -> None:
        """Add intents."""
        self.intents.extend(intents)

    def look_up(self, order: OwnOrder) -> None:
        """Ask the exchange about one of our orders; a triggered one lives on in the regular book."""
        book = Book.REGULAR if order.role is Role.REDUCE or order.child_id else Book.ALGO
        self.set_order(order.client_id, looked_at=self.now)
        self.ask(LookUp(self.episode.key, order.client_id, book))

    def new_order(
        self, role: Role, legs: tuple[int, ...], quantity: Quantity | None, trigger: Price | None
    ) -> OwnOrder:
        """Record a new order of ours, with the next revision in its client id, before it is sent (I8)."""
        leg = legs[0] if len(legs) == 1 else 0
        name = ClientId(self.episode.generation, role, leg, self.episode.next_revision)
        order = OwnOrder(str(name), role, legs, quantity, trigger, OrderState.SENT, self.now, plan=self.episode.plans)
        kept = (old for old in self.episode.orders if not self._forgettable(old))
        self.set(orders=(*kept, order), next_revision=self.episode.next_revision + 1)
        return order

    def _forgettable(self, order: OwnOrder) -> bool:
        old = self.now - order.sent_at > _REMEMBER_MS
        return old and order.state in _CAME_TO_NOTHING and not order.executed

    def failed(self, slot: str) -> None:
        """Note that the request for `slot` came to nothing, and when it may be tried again.

        The wait doubles until the slot has been left in peace for as long as the longest wait.
        """
        since = self.now - self.episode.retry_at.get(slot, 0)
        count = 0 if since > LAST_RETRY_MS else self.episode.failures.get(slot, 0)
        wait = min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** min(count, 10))
        self.set(
            failures={**self.episode.failures, slot: count + 1},
            retry_at={**self.episode.retry_at, slot: self.now + wait},
        )

    def may_try(self, slot: str) -> bool:
        """Whether `slot` is not waiting out a refusal, nor for rules to be read."""
        return self.now >= self.episode.retry_at.get(slot, 0) and not self._awaits_rules(slot)

    def _awaits_rules(self, slot: str) -> bool:
        """Whether what was refused for the grid waits for the rules, by which the same would be refused again."""
        if self.episode.context_at is not None:
            return False
        newest = next((order for order in reversed(self.episode.orders) if slot_of(order) == slot), None)
        return newest is not None and newest.code in STALE_RULES and self.now - newest.sent_at < _RULES_MS

    def beyond(self, level: Price, *, profit: bool) -> bool:
        """Whether a fresh mark is at or past `level`, in profit's direction or against it."""
        mark = self.episode.mark
        if mark is None or self.now - self.episode.mark_at > STALE_MS:
            return False
        gap = Decimal(self.episode.key.side.sign) * (mark - level)
        return gap >= 0 if profit else gap <= 0

    def stopped(self, level: Price) -> bool:
        """Whether a stop at `level` should have triggered; where last prices trigger, only the exchange can tell.

        Of an execution we may hear before the mark that led to it: a mark older than a take-profit that executed is not
        where the price is, and the stop behind that target has not been passed by it.
        """
        if self.state.rules.execution.working is not WorkingType.MARK or not self.beyond(level, profit=False):
            return False
        taken = (order.filled_at for order in self.episode.orders if order.legs and order.filled_at is not None)
        return all(at <= self.episode.mark_at for at in taken)


def slot_of(order: OwnOrder) -> str:
    """Return the name under which refusals of orders like this one are counted."""
    if order.role is Role.TAKE_PROFIT:
        return leg_slot(order.legs[0])
    return order.role.value


def leg_slot(number: int) -> str:
    """Return the name under which refusals of a leg's take-profit are counted."""
    return f"{Role.TAKE_PROFIT.value}{number}"


def tighter(episode: Episode, one: Price, other: Price) -> Price:
    """Return the tighter of two stop levels (I4)."""
    return max(one, other) if episode.key.side.sign > 0 else min(one, other)


def tell_placed(
    draft: Draft, order: OwnOrder, reason: str, *, raw_trigger: Price | None, raw_quantity: Quantity | None
) -> None:
    """Tell that an order was asked for, with its numbers before and after rounding."""
    draft.tell(
        NoteKind.PLACED,
        reason,
        order=order.role.label,
        leg=order.legs[0] if len(order.legs) == 1 else None,
        side=draft.episode.key.side.closing.value,
        quantity=order.quantity,
        trigger=order.trigger,
        raw_quantity=raw_quantity,
        raw_trigger=raw_trigger,
        client_id=order.client_id,
    )
