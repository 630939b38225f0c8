"""The reducer's workbench: one episode being changed by one event, and what comes out of it.

A draft lives for one call of `decide.step`; the records it handles stay frozen. It never decides anything.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tpctl.exits.episode import Episode, OrderState, OwnOrder, State
from tpctl.exits.ids import ClientId, Role
from tpctl.exits.intents import Intent
from tpctl.exits.model import Attempt, Note, NoteKind, Scalar
from tpctl.exits.units import Millis, Price, Quantity

# A request that was refused is tried again after this, doubled each time up to the bound (reliability N4).
FIRST_RETRY_MS = 500
LAST_RETRY_MS = 30_000


class Draft:
    """One episode under change at event time `now`."""

    __slots__ = ("attempts", "episode", "intents", "notes", "now", "state")

    def __init__(self, state: State, episode: Episode, now: Millis) -> None:
        self.state = state
        self.episode = episode
        self.now = now
        self.intents: list[Intent] = []
        self.notes: list[Note] = []
        self.attempts: list[Attempt] = []

    def set(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of Episode, checked by replace
        """Change fields of the episode."""
        self.episode = replace(self.episode, **changes)

    def set_order(self, client_id: str, **changes: Any) -> None:  # noqa: ANN401 - the fields of OwnOrder
        """Change fields of one of our orders."""
        self.set(
            orders=tuple(replace(o, **changes) if o.client_id == client_id else o for o in self.episode.orders)
        )

    def tell(self, kind: NoteKind, reason: str, **data: Scalar) -> None:
        """Add one event to the story."""
        self.notes.append(Note(self.now, kind, self.episode.key, reason, data))

    def ask(self, intents: Iterable[Intent]) -> None:
        """Add intents."""
        self.intents.extend(intents)

    def new_order(
        self, role: Role, legs: tuple[int, ...], quantity: Quantity | None, trigger: Price | None
    ) -> OwnOrder:
        """Record a new order of ours, with the next revision in its client id, before it is sent (I8)."""
        leg = legs[0] if len(legs) == 1 else 0
        name = ClientId(self.episode.generation, role, leg, self.episode.next_revision)
        order = OwnOrder(str(name), role, legs, quantity, trigger, OrderState.SENT, sent_at=self.now)
        self.set(orders=(*self.episode.orders, order), next_revision=self.episode.next_revision + 1)
        return order

    def failed(self, slot: str) -> None:
        """Note that the request for `slot` was refused, and when it may be tried again."""
        failures = dict(self.episode.failures)
        count = failures.get(slot, 0)
        failures[slot] = count + 1
        wait = min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** min(count, 10))
        self.set(failures=failures, retry_at={**self.episode.retry_at, slot: self.now + wait})

    def succeeded(self, slot: str) -> None:
        """Forget the failures of `slot`."""
        if slot in self.episode.failures:
            self.set(
                failures={k: v for k, v in self.episode.failures.items() if k != slot},
                retry_at={k: v for k, v in self.episode.retry_at.items() if k != slot},
            )

    def may_try(self, slot: str) -> bool:
        """Whether `slot` is not waiting out a refusal."""
        return self.now >= self.episode.retry_at.get(slot, 0)

    def beyond(self, level: Price, *, profit: bool) -> bool:
        """Whether the mark is at or past `level`, in profit's direction or against it; False without a mark."""
        mark = self.episode.mark
        if mark is None:
            return False
        gap = Decimal(self.episode.key.side.sign) * (mark - level)
        return gap >= 0 if profit else gap <= 0


def slot_of(order: OwnOrder) -> str:
    """Return the name under which refusals of orders like this one are counted."""
    return f"{order.role.value}{order.legs[0] if len(order.legs) == 1 else ''}"
