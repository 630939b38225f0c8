"""What a full read of the account proves, and what it does not.

A listed order exists; a missing one is looked up, because lists lag. A missing position is gone only when three
different reads agree (design 4): a failed or empty read is unknown, not flat.

Invariants: I9 (nothing forgotten), I11 (no orphans), I12 (foreign orders untouched).
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace

from tpctl.exits import facts
from tpctl.exits.draft import SETTLE_MS, STALE_MS, Draft
from tpctl.exits.episode import Decision, OrderState, Orphan, Phase, State, replace_state
from tpctl.exits.events import Answered, Snapshot, Unknown
from tpctl.exits.ids import Role, is_ours, parse_client_id
from tpctl.exits.intents import CancelOrder, Intent, ReadAccount
from tpctl.exits.model import Book, LiveOrder, Note, NoteKind, OrderStatus, Position, PositionKey
from tpctl.exits.size import see_size
from tpctl.exits.units import ZERO, Millis

# Flat takes three agreeing reads or an explicit event (design 4).
AGREEING_READS = 3


def take_read(draft: Draft, *, at: Millis, orders: Iterable[LiveOrder], position: Position | None, sized: bool) -> None:
    """Take in what a read shows of one position and its orders; None where it does not show the position.

    With `sized` its size is taken in too, before anything is decided on its orders. Its mark counts where no fresher
    one has come, as after a start or while the stream is silent.
    """
    if position is not None and sized:
        see_size(draft, at, position.quantity, position.entry_price, changed_at=position.updated_at)
    if position is not None and position.mark_price > ZERO and at - draft.episode.mark_at > STALE_MS:
        facts.see_mark(draft, at, position.mark_price)
    listed: set[str] = set()
    foreign: list[LiveOrder] = []
    for order in orders:
        own = facts.find_own(draft, order)
        if own is not None:
            listed.add(own.client_id)
            facts.see_order(draft, at, order)
        elif is_ours(order.client_id):
            facts.adopt_order(draft, at, order)
            listed.add(order.client_id)
        elif order.reduces and order.status is OrderStatus.NEW:
            foreign.append(order)
    draft.set(foreign=tuple(foreign))
    for own in draft.episode.orders:
        missing = own.state is OrderState.LIVE and own.client_id not in listed
        if (
            missing
            and at - own.settles_from >= SETTLE_MS
            and (own.looked_at is None or at - own.looked_at >= SETTLE_MS)
        ):
            draft.look_up(own)
    if position is None:
        _miss(draft, at)


def _miss(draft: Draft, at: Millis) -> None:
    """Count a read that does not show the position."""
    episode = draft.episode
    if episode.phase is Phase.FLAT or episode.stated == 0 or at <= max(episode.position_at, episode.absent_at):
        return
    draft.set(absent_reads=episode.absent_reads + 1, absent_at=at)
    if draft.episode.absent_reads >= AGREEING_READS:
        # No change is dated by an absence: if the reads were wrong all the same, the next right one is believed.
        see_size(draft, at, ZERO, ZERO, changed_at=episode.changed_at)
    else:
        draft.ask(ReadAccount("confirm that the position is gone"))


def see_orphan_answer(state: State, event: Answered) -> Decision:
    """Take in what became of the cancel of an orphan: one that may not have arrived leaves it a suspect.

    The next read that shows no position for it cancels it again, without waiting for one of all symbols.
    """
    name = parse_client_id(event.client_id)
    if name is None or not event.cancel or not isinstance(event.answer, Unknown):
        return Decision(state)
    book = Book.REGULAR if name.role is Role.REDUCE else Book.ALGO
    orphan = Orphan(event.key, book, AGREEING_READS - 1, event.at)
    state = replace_state(state, orphans={**state.orphans, event.client_id: orphan})
    return Decision(state, (ReadAccount("whether an order without a position was cancelled"),))


def sweep_orphans(state: State, event: Snapshot, seen: AbstractSet[PositionKey]) -> Decision:
    """Cancel orders of ours that belong to no position (I11), once three different reads showed none.

    Most reads list the orders of known symbols only, so a suspect stays one until a position explains it.
    """
    known = seen | state.episodes.keys()
    orphans = {client_id: orphan for client_id, orphan in state.orphans.items() if orphan.key not in known}
    for order in event.orders:
        key = PositionKey(order.symbol, order.closes)
        ours = parse_client_id(order.client_id) is not None and state.scope.allows(order.symbol)
        if ours and key not in known:
            orphans.setdefault(order.client_id, Orphan(key, order.book, 0, 0))
    intents: list[Intent] = []
    notes: list[Note] = []
    for client_id, orphan in tuple(orphans.items()):
        if event.at <= orphan.at:
            continue
        orphans[client_id] = replace(orphan, reads=orphan.reads + 1, at=event.at)
        if orphans[client_id].reads >= AGREEING_READS:
            del orphans[client_id]
            intents.append(CancelOrder(orphan.key, client_id, orphan.book, "no position is left for it"))
            notes.append(Note(event.at, NoteKind.SWEPT, orphan.key, "orphan cancelled", {"client_id": client_id}))
    if orphans:
        intents.append(ReadAccount("confirm that orders are left without a position"))
    return Decision(replace_state(state, orphans=orphans), tuple(intents), tuple(notes))
