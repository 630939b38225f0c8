"""`step(state, event) -> (state, intents, notes)`: the one reducer of live, replay, rehearsal and tests.

It routes an event to the episodes it concerns, lets `facts` and its kin take it in, `progress` draw the consequences
and `reconcile` ask for what is missing. It does no I/O and reads no clock: the same state and event give the same
decision (I21).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from tpctl.exits import facts
from tpctl.exits.answers import see_answer
from tpctl.exits.draft import ABANDON_MS, Draft
from tpctl.exits.episode import (
    Decision,
    Episode,
    OrderState,
    Phase,
    QuietMark,
    State,
    replace_decision,
    replace_episode,
    replace_order,
    replace_state,
)
from tpctl.exits.events import (
    Answered,
    ContextRead,
    Event,
    Filled,
    LeverageChanged,
    MarginChanged,
    MarkPrice,
    ModeSeen,
    OrderLookedUp,
    OrderSeen,
    PositionSeen,
    Released,
    Requested,
    RiskRead,
    Snapshot,
    StreamLost,
    Tick,
)
from tpctl.exits.fills import see_fill
from tpctl.exits.ids import Role, generation_of, is_ours
from tpctl.exits.instrument import OrderSide, PositionSide
from tpctl.exits.intents import CancelOrder, Intent, ReadAccount
from tpctl.exits.model import Attempt, Book, Fill, LiveOrder, Note, NoteKind, PositionKey, PositionMode, RiskReadings
from tpctl.exits.on_request import answer_note, no_position, see_request
from tpctl.exits.on_risk import risk_waits, see_risk
from tpctl.exits.progress import atr_due, end_episode, on_time, progress, watch_protection
from tpctl.exits.quiet import awake, catch_up, keys_of, quiet_mark, still_quiet
from tpctl.exits.reconcile import reconcile
from tpctl.exits.replan import see_context, take_rules
from tpctl.exits.size import see_size, see_size_again
from tpctl.exits.snapshot import see_orphan_answer, sweep_orphans, take_read
from tpctl.exits.units import ZERO, Millis, Price, Quantity


def step(state: State, event: Event) -> Decision:  # noqa: C901, PLR0911, PLR0912 - one branch per kind of event
    """Return what `event` leads to."""
    match event:
        case MarkPrice():
            return _on_mark(state, event)
        case Tick(at=at):
            return _on_tick(state, at)
        case OrderSeen(at=at, order=order):
            return _each(state, (_key_of(order),), at, lambda draft: _take_order(draft, at, order))
        case Filled(at=at, fill=fill):
            return _each(state, (_closed_by(fill),), at, lambda draft: see_fill(draft, fill))
        case PositionSeen(at=at, key=key, quantity=quantity, entry_price=entry):
            return _on_size(state, at, key, quantity, entry)
        case Answered(key=key) if key not in state.episodes:
            return see_orphan_answer(state, event)
        case Answered(at=at, key=key):
            return _each(state, (key,), at, lambda draft: see_answer(draft, event))
        case OrderLookedUp(at=at, key=key, client_id=client_id, order=found):
            return _each(state, (key,), at, lambda draft: facts.see_lookup(draft, at, client_id, found))
        case ContextRead(at=at, key=key):
            return _each(state, keys_of(key.symbol), at, lambda draft: _take_context(draft, event))
        case Snapshot():
            return _on_snapshot(state, event)
        case LeverageChanged(at=at, symbol=symbol, leverage=leverage):
            return _each(
                state, keys_of(symbol), at, lambda draft: _read_again(draft, f"leverage changed to {leverage}x")
            )
        case MarginChanged(at=at, symbol=symbol):
            return _each(state, keys_of(symbol), at, lambda draft: _read_again(draft, "margin changed"))
        case ModeSeen(at=at, mode=mode):
            return _on_mode(state, at, mode)
        case StreamLost(reason=reason):
            return Decision(state, (ReadAccount(reason),))
        case RiskRead(at=at, readings=readings):
            return _on_risk(state, at, readings)
        case Requested():
            return _on_request(state, event)
        case Released(at=at):
            return _each(state, tuple(state.episodes), at, _on_release)


def recover(state: State) -> State:
    """Return the state as a restart must see it: whatever was on its way when we died is unknown (I9, I10)."""
    episodes = {key: _recover_episode(episode) for key, episode in state.episodes.items()}
    return replace_state(state, episodes=episodes, quiet={}, orphans={})


def _recover_episode(episode: Episode) -> Episode:
    orders = tuple(
        replace_order(
            order, state=OrderState.UNKNOWN if order.state is OrderState.SENT else order.state, looked_at=None
        )
        for order in episode.orders
        if order.state is not OrderState.WITHHELD
    )
    asked = episode.context_asked_at if episode.plan is not None and episode.phase is not Phase.ADOPTING else None
    return replace_episode(episode, orders=orders, context_asked_at=asked)


def _key_of(order: LiveOrder) -> PositionKey:
    return PositionKey(order.symbol, order.closes)


def _closed_by(fill: Fill) -> PositionKey:
    """Return the position this execution reduces, if it does."""
    reduces = PositionSide.LONG if fill.order_side is OrderSide.SELL else PositionSide.SHORT
    return PositionKey(fill.symbol, fill.position_side or reduces)


def _each(state: State, keys: tuple[PositionKey, ...], at: Millis, change: Callable[[Draft], None]) -> Decision:
    """Apply one change to the episodes named, and draw the consequences."""
    asleep, state = state, awake(state, {key.symbol for key in keys})
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
        progress(draft)
        reconcile(draft)
        watch_protection(draft)
        if draft.episode is not before:
            episodes[key] = draft.episode
            changed.add(key)
        if _ended(draft.episode, at):
            del episodes[key]
            changed.add(key)
        intents += draft.intents
        notes += draft.notes
        attempts += draft.attempts
    if changed:
        state = replace_state(state, episodes=episodes)
    if state is not asleep:
        woken = (key for symbol in {key.symbol for key in keys} for key in keys_of(symbol) if key in asleep.episodes)
        changed.update(key for key in woken if state.episodes.get(key) is not asleep.episodes[key])
    return Decision(state, tuple(intents), tuple(notes), tuple(attempts), frozenset(changed))


def _ended(episode: Episode, now: Millis) -> bool:
    """Whether nothing of the episode is left on the exchange, nor any late news of it to be expected."""
    if episode.phase is not Phase.FLAT or any(order.open for order in episode.orders):
        return False
    return now - (episode.flat_at or now) >= ABANDON_MS


def _on_mark(state: State, event: MarkPrice) -> Decision:
    symbol = event.symbol
    quiet = state.quiet.get(symbol)
    if quiet is not None:
        still = still_quiet(quiet, event.at, event.price)
        if still is not None:
            return Decision(_with_quiet(state, {**state.quiet, symbol: still}))
    keys = tuple(key for key in keys_of(symbol) if key in state.episodes)
    if not keys:
        return Decision(state)
    decision = _each(state, keys, event.at, lambda draft: facts.see_mark(draft, event.at, event.price))
    return _quieten(decision, (symbol,), event.at)


def _with_quiet(state: State, quiet: Mapping[str, QuietMark]) -> State:
    # Built directly: `replace` costs more than all the rest of a quiet mark.
    return State(
        *(state.account, state.rules, state.mode, state.scope, state.episodes, state.lives),
        *(quiet, state.orphans, state.experiment),
    )


def _on_tick(state: State, at: Millis) -> Decision:
    quiet = state.quiet
    rules = state.rules.trail
    loud = tuple(
        key for key, episode in state.episodes.items() if key.symbol not in quiet or atr_due(episode, rules, at)
    )
    decision = _each(state, loud, at, on_time)
    caught = {}
    for key, episode in decision.state.episodes.items():
        if key.symbol in quiet and (now := catch_up(state, episode)) is not episode:
            caught[key] = now
    if caught:
        after = replace_state(decision.state, episodes={**decision.state.episodes, **caught})
        decision = replace_decision(decision, state=after, changed=decision.changed | set(caught))
    return _quieten(decision, {key.symbol for key in loud}, at) if loud else decision


def _quieten(decision: Decision, symbols: Iterable[str], now: Millis) -> Decision:
    """Note for which symbols marks inside a band will lead to nothing."""
    state = decision.state
    found = {}
    for symbol in symbols:
        mark = quiet_mark(state.of_symbol(symbol), state.rules, now)
        if mark is not None:
            found[symbol] = mark
    if not found:
        return decision
    return replace_decision(decision, state=_with_quiet(state, {**state.quiet, **found}))


def _on_risk(state: State, at: Millis, readings: RiskReadings) -> Decision:
    """Let only those episodes hear of it that it moves: a measurement comes every few seconds."""
    keys = tuple(key for key, episode in state.episodes.items() if risk_waits(episode, readings, state.rules.risk))
    return _each(state, keys, at, lambda draft: see_risk(draft, readings)) if keys else Decision(state)


def _on_mode(state: State, at: Millis, mode: PositionMode) -> Decision:
    """Take the mode at once: an order that names no side, or names one, would be refused in the other (-4061)."""
    if mode is state.mode:
        return Decision(state)
    note = Note(at, NoteKind.EXTERNAL, None, f"position mode changed to {mode.value.replace('_', '-')}")
    return Decision(replace_state(state, mode=mode), (ReadAccount("the position mode changed"),), (note,))


def _on_request(state: State, event: Requested) -> Decision:
    if event.key not in state.episodes:
        return Decision(state, notes=(answer_note(event, no_position(event)),))
    return _each(state, (event.key,), event.at, lambda draft: see_request(draft, event))


def _on_release(draft: Draft) -> None:
    # At once; what fails again waits as long as it would have.
    draft.set(retry_at={slot: min(at, draft.now) for slot, at in draft.episode.retry_at.items()})
    for order in draft.episode.orders:
        if order.state is OrderState.WITHHELD:
            draft.set_order(order.client_id, state=OrderState.REFUSED)


def _take_context(draft: Draft, event: ContextRead) -> None:
    if draft.episode.key == event.key:
        see_context(draft, event)
    elif draft.episode.instrument is not None:
        take_rules(draft, event.instrument)


def _read_again(draft: Draft, what: str) -> None:
    """Have the inputs read again: what was changed moves the liquidation price (H4)."""
    draft.set(context_asked_at=None)
    draft.tell(NoteKind.EXTERNAL, what)


def _take_order(draft: Draft, at: Millis, order: LiveOrder) -> None:
    if facts.find_own(draft, order) is not None:
        facts.see_order(draft, at, order)
    elif not is_ours(order.client_id):
        facts.see_foreign(draft, order)


def _on_size(
    state: State,
    at: Millis,
    key: PositionKey,
    quantity: Quantity,
    entry: Price,
    *,
    mark: Price | None = None,
    changed_at: Millis | None = None,
) -> Decision:
    """Take in a size. `changed_at` is when the exchange says that it changed last; a read may show an older state."""
    episode = state.episodes.get(key)
    if episode is None:
        if quantity == 0 or not state.scope.covers(key.symbol):
            return Decision(state)
        return _adopt(state, at, key, quantity, entry, mark=mark, changed_at=changed_at)
    stated_at = at if changed_at is None else changed_at
    if stated_at == episode.changed_at:
        unclear = _of_one_moment(state, episode, at, quantity, entry, read=changed_at is not None)
        if unclear is not None:
            return unclear
    if not _over(episode) or quantity == 0:
        return _each(state, (key,), at, lambda draft: see_size(draft, at, quantity, entry, changed_at=stated_at))
    if stated_at < episode.changed_at:
        return Decision(state)
    # In one millisecond the order of hearing counts: a position taken for a ghost would go without a stop.
    ended = Decision(state) if episode.phase is Phase.FLAT else _each(state, (key,), at, end_episode)
    begun = _adopt(ended.state, at, key, quantity, entry, mark=mark, changed_at=changed_at, last=episode)
    stay = {order.client_id for order in begun.state.episodes[key].orders}
    swept = tuple(each for each in ended.intents if not (isinstance(each, CancelOrder) and each.client_id in stay))
    return _then(replace_decision(ended, intents=swept), begun)


def _of_one_moment(
    state: State, episode: Episode, at: Millis, quantity: Quantity, entry: Price, *, read: bool
) -> Decision | None:
    """Return what becomes of a size and zero of one millisecond, whichever came first; None where that is clear.

    A `read` shows what is there, an event may come late or twice.
    """
    if not _over(episode):
        if quantity > 0 or read or episode.accounted == 0:
            return None
        # No execution tells of a close: zero may have been said before the size.
        return Decision(state, (ReadAccount("a size and zero were told of one moment"),))
    if quantity == 0:
        return None
    if episode.phase is not Phase.FLAT and quantity == episode.accounted:
        # Nor here: zero was said first.
        changed_at = episode.changed_at
        change = partial(see_size_again, at=at, quantity=quantity, entry=entry, changed_at=changed_at)
        return _each(state, (episode.key,), at, change)
    if not read and entry == episode.entry:
        # Several fills of that millisecond closed it, and this is a size in between. A position opened then at the very
        # same entry would be told the same way: the read finds it.
        return Decision(state, (ReadAccount("a size of a position that is closed was told"),))
    return None


def _over(episode: Episode) -> bool:
    return episode.phase is Phase.FLAT or episode.stated == 0


def _adopt(
    state: State,
    at: Millis,
    key: PositionKey,
    quantity: Quantity,
    entry: Price,
    *,
    mark: Price | None,
    changed_at: Millis | None,
    last: Episode | None = None,
) -> Decision:
    """Begin a new life of a position; what the last one left resting is cancelled on the way (I11).

    Its stop stays until that of the new life rests: it covers the position meanwhile, if it is the same one after all.
    """
    state = awake(state, {key.symbol})
    count = state.lives.get(key, 0) + 1
    leftover = () if last is None else tuple(order for order in last.orders if order.open)
    kept = tuple(order for order in leftover if order.role is Role.STOP and order.resting)
    episode = Episode(
        key=key,
        generation=generation_of(state.account, key, at, count),
        opened_at=at,
        entry=entry,
        quantity=quantity,
        accounted=quantity,
        accounted_at=at,
        stated=quantity,
        position_at=at,
        changed_at=at if changed_at is None else changed_at,
        mark=mark,
        mark_at=0 if mark is None else at,
        peak=mark,
        trough=mark,
        unprotected_since=at,
        orders=kept,
    )
    intents: list[Intent] = [
        CancelOrder(key, order.client_id, Book.ALGO, "left by the last position")
        for order in leftover
        if order.role is not Role.REDUCE and order not in kept
    ]
    if mark is None:
        # Found by an event, so the orders that rest on it are not known yet.
        intents.append(ReadAccount("a position was opened"))
    state = replace_state(state, episodes={**state.episodes, key: episode}, lives={**state.lives, key: count})
    decision = _each(state, (key,), at, lambda _: None)
    return replace_decision(decision, intents=(*intents, *decision.intents), changed=decision.changed | {key})


def _on_snapshot(state: State, event: Snapshot) -> Decision:
    decision = Decision(replace_state(state, mode=event.mode))
    seen = {position.key: position for position in event.positions}
    going_on = {key for key, episode in state.episodes.items() if key in seen and not _over(episode)}
    for position in event.positions:
        if position.key in going_on:
            continue
        read = _on_size(
            decision.state,
            event.at,
            position.key,
            position.quantity,
            position.entry_price,
            mark=position.mark_price if position.mark_price > ZERO else None,
            changed_at=position.updated_at,
        )
        decision = _then(decision, read)
    listed: defaultdict[PositionKey, list[LiveOrder]] = defaultdict(list)
    for order in event.orders:
        listed[_key_of(order)].append(order)
    for key in tuple(decision.state.episodes):
        take = partial(take_read, at=event.at, orders=listed[key], position=seen.get(key), sized=key in going_on)
        decision = _then(decision, _each(decision.state, (key,), event.at, take))
    decision = _then(decision, sweep_orphans(decision.state, event, seen.keys()))
    # Here and not with the next frame of marks, where an order may be waiting behind a hundred positions.
    return _quieten(decision, {key.symbol for key in decision.state.episodes}, event.at)


def _then(first: Decision, second: Decision) -> Decision:
    return Decision(
        second.state,
        first.intents + second.intents,
        first.notes + second.notes,
        first.attempts + second.attempts,
        first.changed | second.changed,
    )
