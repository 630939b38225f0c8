"""`step(state, event) -> (state, intents, notes)`: the one reducer of live, replay, rehearsal and tests.

It routes an event to the episodes it concerns, lets `facts` take it in, `progress` draw the consequences and `reconcile`
ask for what is missing. It does no I/O and reads no clock: the same state and event give the same decision (I21).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tpctl.exits import facts
from tpctl.exits.draft import Draft
from tpctl.exits.episode import Decision, Episode, OrderState, Phase, State
from tpctl.exits.events import (
    Answered,
    ContextRead,
    Event,
    Filled,
    LeverageChanged,
    MarkPrice,
    OrderLookedUp,
    OrderSeen,
    PositionSeen,
    Released,
    Snapshot,
    StreamLost,
    Tick,
)
from tpctl.exits.ids import generation_of, is_ours, parse_client_id
from tpctl.exits.intents import CancelOrder, Intent, LookUp, ReadAccount
from tpctl.exits.model import Attempt, Book, LiveOrder, Note, NoteKind, OrderSide, OrderStatus, PositionKey, PositionSide
from tpctl.exits.progress import check_liquidation, on_time, progress, take_plan, watch_protection
from tpctl.exits.reconcile import SETTLE_MS, reconcile
from tpctl.exits.units import ZERO, Millis, Price, Quantity

# Flat takes three agreeing reads or an explicit event (design 4).
AGREEING_READS = 3


def step(state: State, event: Event) -> Decision:  # noqa: C901 - one branch per kind of event
    """Return what `event` leads to."""
    match event:
        case MarkPrice():
            return _on_mark(state, event)
        case Tick(at=at):
            return _each(state, tuple(state.episodes), at, _on_tick)
        case OrderSeen(at=at, order=order):
            return _on_order(state, at, order)
        case Filled(at=at, fill=fill):
            closes = fill.position_side or (PositionSide.LONG if fill.order_side == OrderSide.SELL else PositionSide.SHORT)
            key = PositionKey(fill.symbol, closes)
            return _each(state, (key,), at, lambda draft: facts.see_fill(draft, at, fill))
        case PositionSeen(at=at, key=key, quantity=quantity, entry_price=entry):
            return _on_size(state, at, key, quantity, entry)
        case Answered(at=at, key=key, client_id=client_id, answer=answer, cancel=cancel):
            return _each(
                state, (key,), at, lambda draft: facts.see_answer(draft, at, client_id, answer, cancel=cancel)
            )
        case OrderLookedUp(at=at, key=key, client_id=client_id, order=found):
            return _each(state, (key,), at, lambda draft: facts.see_lookup(draft, at, client_id, found))
        case ContextRead():
            return _each(state, (event.key,), event.at, lambda draft: _on_context(draft, event))
        case Snapshot():
            return _on_snapshot(state, event)
        case LeverageChanged(at=at, symbol=symbol, leverage=leverage):
            keys = tuple(key for key in state.episodes if key.symbol == symbol)
            return _each(state, keys, at, lambda draft: _on_leverage(draft, str(leverage)))
        case StreamLost(reason=reason):
            return Decision(state, (ReadAccount(reason),))
        case Released(at=at):
            return _each(state, tuple(state.episodes), at, _on_release)


def recover(state: State) -> State:
    """Return the state as a restart must see it: whatever was on its way when we died is unknown (I9, I10)."""
    episodes = {key: _recover_episode(episode) for key, episode in state.episodes.items()}
    return replace(state, episodes=episodes)


def _recover_episode(episode: Episode) -> Episode:
    orders = tuple(
        replace(order, state=OrderState.UNKNOWN if order.state is OrderState.SENT else order.state, looked_at=None)
        for order in episode.orders
        if order.state is not OrderState.WITHHELD
    )
    asked = episode.context_asked_at if episode.plan is not None and episode.phase is not Phase.ADOPTING else None
    return replace(episode, orders=orders, context_asked_at=asked)


def _each(state: State, keys: tuple[PositionKey, ...], at: Millis, change: Callable[[Draft], None]) -> Decision:
    """Apply one change to the episodes named, and draw the consequences."""
    episodes = dict(state.episodes)
    intents: list[Intent] = []
    notes: list[Note] = []
    attempts: list[Attempt] = []
    changed: set[PositionKey] = set()
    for key in keys:
        before = episodes.get(key)
        if before is None:
            continue
        draft = Draft(state, before, at)
        change(draft)
        _conclude(draft)
        if draft.episode is not before:
            episodes[key] = draft.episode
            changed.add(key)
        if _ended(draft.episode):
            del episodes[key]
            changed.add(key)
        intents += draft.intents
        notes += draft.notes
        attempts += draft.attempts
    if not changed and not intents and not notes:
        return Decision(state)
    state = replace(state, episodes=episodes)
    return Decision(state, tuple(intents), tuple(notes), tuple(attempts), frozenset(changed))


def _conclude(draft: Draft) -> None:
    progress(draft)
    reconcile(draft)
    watch_protection(draft)


def _ended(episode: Episode) -> bool:
    """Whether nothing of the episode is left on the exchange."""
    return episode.phase is Phase.FLAT and not any(order.open for order in episode.orders)


def _on_mark(state: State, event: MarkPrice) -> Decision:
    keys = tuple(key for side in PositionSide if (key := PositionKey(event.symbol, side)) in state.episodes)
    if not keys:
        return Decision(state)
    return _each(state, keys, event.at, lambda draft: _take_mark(draft, event))


def _take_mark(draft: Draft, event: MarkPrice) -> None:
    facts.see_mark(draft, event.at, event.price)


def _on_tick(draft: Draft) -> None:
    on_time(draft)


def _on_release(draft: Draft) -> None:
    for order in draft.episode.orders:
        if order.state is OrderState.WITHHELD:
            draft.set_order(order.client_id, state=OrderState.REFUSED)


def _on_leverage(draft: Draft, leverage: str) -> None:
    draft.set(context_asked_at=None)
    draft.tell(NoteKind.EXTERNAL, f"leverage changed to {leverage}x")


def _on_context(draft: Draft, event: ContextRead) -> None:
    episode = draft.episode
    if episode.phase is Phase.FLAT or episode.quantity == 0:
        return
    draft.set(instrument=event.instrument, context=event.context)
    if episode.plan is None or episode.phase is Phase.ADOPTING:
        take_plan(draft)
    else:
        check_liquidation(draft)


def _key_of(order: LiveOrder) -> PositionKey:
    return PositionKey(order.symbol, order.closes)


def _on_order(state: State, at: Millis, order: LiveOrder) -> Decision:
    key = _key_of(order)
    return _each(state, (key,), at, lambda draft: _take_order(draft, at, order))


def _take_order(draft: Draft, at: Millis, order: LiveOrder) -> None:
    if is_ours(order.client_id):
        facts.see_order(draft, at, order)
    else:
        facts.see_foreign(draft, order)


def _on_size(
    state: State, at: Millis, key: PositionKey, quantity: Quantity, entry: Price, mark: Price | None = None
) -> Decision:
    episode = state.episodes.get(key)
    if episode is not None and not (episode.phase is Phase.FLAT and quantity > 0):
        return _each(state, (key,), at, lambda draft: facts.see_size(draft, at, quantity, entry))
    if quantity == 0 or not state.scope.covers(key.symbol):
        return Decision(state)
    if episode is not None and at <= episode.position_at:
        return Decision(state)
    return _adopt(state, at, key, quantity, entry, mark, leftover=episode)


def _adopt(
    state: State,
    at: Millis,
    key: PositionKey,
    quantity: Quantity,
    entry: Price,
    mark: Price | None,
    leftover: Episode | None,
) -> Decision:
    """Begin a new life of a position; what the last one left resting is cancelled on the way (I11)."""
    count = state.lives.get(key, 0) + 1
    episode = Episode(
        key=key,
        generation=generation_of(state.account, key, at, count),
        opened_at=at,
        entry=entry,
        quantity=quantity,
        accounted=quantity,
        position_at=at,
        mark=mark,
        peak=mark,
        unprotected_since=at,
    )
    cancels: tuple[Intent, ...] = ()
    if leftover is not None:
        cancels = tuple(
            CancelOrder(key, order.client_id, Book.ALGO, "left by the last position")
            for order in leftover.orders
            if order.open
        )
    state = replace(state, episodes={**state.episodes, key: episode}, lives={**state.lives, key: count})
    decision = _each(state, (key,), at, lambda draft: None)
    changed = decision.changed | {key}
    return replace(decision, intents=(*cancels, *decision.intents), changed=changed)


def _on_snapshot(state: State, event: Snapshot) -> Decision:
    decision = Decision(replace(state, mode=event.mode))
    seen: set[PositionKey] = set()
    for position in event.positions:
        seen.add(position.key)
        read = _on_size(
            decision.state, event.at, position.key, position.quantity, position.entry_price, position.mark_price
        )
        decision = _then(decision, read)
    for key, episode in tuple(decision.state.episodes.items()):
        orders = tuple(order for order in event.orders if _key_of(order) == key)
        absent = key not in seen and episode.phase is not Phase.FLAT and episode.position_at < event.at
        take = partial(_take_read, event=event, orders=orders, absent=absent)
        decision = _then(decision, _each(decision.state, (key,), event.at, take))
    return _then(decision, _sweep_orphans(decision.state, event, seen))


def _then(first: Decision, second: Decision) -> Decision:
    return Decision(
        second.state,
        first.intents + second.intents,
        first.notes + second.notes,
        first.attempts + second.attempts,
        first.changed | second.changed,
    )


def _take_read(draft: Draft, *, event: Snapshot, orders: tuple[LiveOrder, ...], absent: bool) -> None:
    listed: set[str] = set()
    foreign: list[LiveOrder] = []
    for order in orders:
        if not is_ours(order.client_id):
            if order.reduces and order.status is OrderStatus.NEW:
                foreign.append(order)
            continue
        listed.add(order.client_id)
        if draft.episode.order(order.client_id) is None:
            facts.adopt_order(draft, event.at, order)
        else:
            facts.see_order(draft, event.at, order)
    draft.set(foreign=tuple(foreign))
    for own in draft.episode.orders:
        missing = own.state is OrderState.LIVE and own.client_id not in listed
        if missing and event.at - own.sent_at >= SETTLE_MS and own.looked_at != event.at:
            draft.set_order(own.client_id, looked_at=event.at)
            draft.ask([LookUp(draft.episode.key, own.client_id, Book.ALGO)])
    if absent:
        reads = draft.episode.absent_reads + 1
        draft.set(absent_reads=reads)
        if reads >= AGREEING_READS:
            facts.see_size(draft, event.at, ZERO, ZERO)
        else:
            draft.ask([ReadAccount("confirm that the position is gone")])


def _sweep_orphans(state: State, event: Snapshot, seen: set[PositionKey]) -> Decision:
    """Cancel orders of ours that belong to no position (I11)."""
    intents: list[Intent] = []
    notes: list[Note] = []
    for order in event.orders:
        key = _key_of(order)
        if key in state.episodes or key in seen or parse_client_id(order.client_id) is None:
            continue
        intents.append(CancelOrder(key, order.client_id, order.book, "no position is left for it"))
        notes.append(Note(event.at, NoteKind.SWEPT, key, "orphan cancelled", {"client_id": order.client_id}))
    return Decision(state, tuple(intents), tuple(notes))
