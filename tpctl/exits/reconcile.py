"""Desired orders against live orders: the smallest set of intents that leads from one to the other.

It looks at one episode and asks for what is missing, in this order: backstop, working stop, take-profits; it cancels what
is superseded only when its replacement was seen resting. It never looks at prices to decide levels: `progress` does.

Invariants: I1 (a stop first), I2 (quantities within the position), I5 (new before old), I6 (a leg at most once), I10 (nothing
is asked twice while an answer is unknown), I11 (no orphans), I12 (foreign orders are only looked at).
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from decimal import Decimal

from tpctl.exits.allocate import slices
from tpctl.exits.draft import Draft
from tpctl.exits.episode import Episode, LegState, LegStatus, OrderState, OwnOrder, Phase
from tpctl.exits.ids import Role
from tpctl.exits.intents import CancelOrder, LookUp, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import Book, NoteKind
from tpctl.exits.units import ZERO, Millis, Price, Quantity

# Reads may lag writes by one to two seconds (binance-usdm 4.2), so evidence younger than this proves nothing.
SETTLE_MS = 2_000
# A conditional order still triggering after this, with the position unchanged, protects nothing (reliability F3).
STUCK_MS = 3_000
# recvWindow 5 s + clock error + read lag: after this the venue itself must refuse a late packet (reliability 4).
ABANDON_MS = 8_000


def reconcile(draft: Draft) -> None:
    """Ask for what the episode's decisions require and the exchange does not show yet."""
    _look_up_unclear(draft)
    if draft.episode.phase is Phase.FLAT:
        _sweep(draft)
        return
    if draft.episode.instrument is None:
        return
    _keep_backstop(draft)
    if not _closing(draft):
        _keep_stop(draft)
    if _closing(draft):
        _close(draft)
    else:
        _keep_take_profits(draft)


def _closing(draft: Draft) -> bool:
    return draft.episode.phase is Phase.CLOSING


def begin_close(draft: Draft, reason: str) -> None:
    """Decide to close the position at market, once; the resting stop stays until it is flat."""
    if draft.episode.phase in {Phase.CLOSING, Phase.FLAT}:
        return
    draft.set(phase=Phase.CLOSING, close_reason=reason)
    draft.tell(NoteKind.DEGRADED, f"{reason}: closing at market", mark=draft.episode.mark, stop=draft.episode.stop)


def _keep_backstop(draft: Draft) -> None:
    episode = draft.episode
    if episode.backstop is None or any(o.open or o.state is OrderState.WITHHELD for o in episode.of_role(Role.BACKSTOP)):
        return
    if any(order.close_position and order.kind.protective for order in episode.foreign):
        # The exchange takes one closePosition stop per direction (-4130); somebody else's already covers all of it.
        return
    if draft.beyond(episode.backstop, profit=False):
        begin_close(draft, "the disaster level is already passed")
        return
    if not draft.may_try(Role.BACKSTOP.value):
        return
    order = draft.new_order(Role.BACKSTOP, (), None, episode.backstop)
    _place_stop(draft, order, "backstop, rests first and is left alone")


def _keep_stop(draft: Draft) -> None:
    episode = draft.episode
    if episode.stop is None or episode.instrument is None:
        return
    stops = episode.of_role(Role.STOP)
    if any(order.pending for order in stops) or any(_working(order, draft.now) for order in stops):
        return
    wanted = slices(episode.quantity, episode.instrument)
    matching = [o for o in stops if o.trigger == episode.stop and (o.resting or o.state is OrderState.WITHHELD)]
    missing = _missing(wanted, matching)
    if not missing:
        if all(order.confirmed for order in matching if order.state is OrderState.LIVE):
            keep = _cover(wanted, matching)
            _cancel_all(draft, (o for o in stops if o.client_id not in keep), "replaced by a newer stop")
        return
    if draft.beyond(episode.stop, profit=False):
        begin_close(draft, "the stop level is already passed")
        return
    if not draft.may_try(Role.STOP.value):
        return
    for quantity in missing:
        order = draft.new_order(Role.STOP, (), quantity, episode.stop)
        _place_stop(draft, order, episode.stop_cause)


def _place_stop(draft: Draft, order: OwnOrder, reason: str) -> None:
    assert order.trigger is not None
    working = draft.state.rules.execution.working
    draft.ask([PlaceStop(draft.episode.key, order.client_id, order.quantity, order.trigger, working, reason)])
    _tell_placed(draft, order, reason, raw_trigger=order.trigger, raw_quantity=order.quantity)


def _keep_take_profits(draft: Draft) -> None:
    episode = draft.episode
    if not any(order.resting or order.state is OrderState.WITHHELD for order in _stops(episode)):
        return  # a stop first (I1)
    resident = draft.state.rules.execution.take_profit == "resident"
    waiting = {leg.number for leg in episode.legs if leg.status is LegStatus.WAITING}
    targets = episode.of_role(Role.TAKE_PROFIT)
    _cancel_all(draft, (o for o in targets if not resident or o.legs[0] not in waiting), "no longer wanted")
    if any(order.pending for order in episode.of_role(Role.REDUCE)):
        return  # the quantity is reserved until its fate is known (I10)
    crossed: list[LegState] = []
    for leg in episode.legs:
        if leg.status is LegStatus.WAITING and leg.remaining > 0:
            _keep_leg(draft, leg, [o for o in targets if o.legs == (leg.number,)], crossed, resident=resident)
    if crossed:
        _take_crossed(draft, crossed)


def _keep_leg(
    draft: Draft, leg: LegState, orders: list[OwnOrder], crossed: list[LegState], *, resident: bool
) -> None:
    episode = draft.episode
    assert episode.instrument is not None
    if any(order.pending or order.state is OrderState.WORKING for order in orders):
        return
    if any(order.state is OrderState.LIVE and order.cancel_at is not None for order in orders):
        return  # its quantity is spoken for until the cancel is confirmed
    wanted = slices(leg.remaining, episode.instrument)
    matching = [o for o in orders if o.trigger == leg.trigger and (o.resting or o.state is OrderState.WITHHELD)]
    stale = [o for o in orders if o.resting and (o not in matching or o.client_id not in _cover(wanted, matching))]
    if stale:
        _cancel_all(draft, stale, "resized")
        return
    missing = _missing(wanted, matching)
    if not missing:
        return
    slot = f"{Role.TAKE_PROFIT.value}{leg.number}"
    if not draft.may_try(slot):
        return
    if draft.beyond(leg.trigger, profit=True):
        crossed.append(leg)
        return
    if not resident:
        return
    for quantity in missing:
        order = draft.new_order(Role.TAKE_PROFIT, (leg.number,), quantity, leg.trigger)
        reason = f"take-profit {leg.number}"
        working = draft.state.rules.execution.working
        draft.ask(
            [PlaceTakeProfit(episode.key, order.client_id, leg.number, quantity, leg.trigger, working, reason)]
        )
        raw = episode.entry * (1 + episode.key.side.sign * leg.distance.fraction)
        whole = episode.plan.quantity if episode.plan else episode.quantity
        _tell_placed(draft, order, reason, raw_trigger=raw, raw_quantity=leg.fraction * whole)


def _take_crossed(draft: Draft, crossed: list[LegState]) -> None:
    """Take every leg the mark has passed in one reduce (I7), or skip them where the rules say so."""
    episode = draft.episode
    numbers = tuple(leg.number for leg in crossed)
    if draft.state.rules.execution.if_crossed == "skip":
        draft.set(legs=_skip(episode.legs, numbers))
        draft.tell(NoteKind.DEGRADED, f"level already passed: take-profit {_names(numbers)} skipped")
        return
    quantity = min(sum((leg.remaining for leg in crossed), ZERO), episode.quantity)
    if quantity <= 0:
        return
    _reduce(draft, numbers, quantity, f"mark passed take-profit {_names(numbers)}")


def _close(draft: Draft) -> None:
    episode = draft.episode
    reduces = episode.of_role(Role.REDUCE)
    if any(order.pending or order.state is OrderState.WORKING for order in reduces):
        return
    if any(order.state is OrderState.WITHHELD for order in reduces) or not draft.may_try(Role.REDUCE.value):
        return
    if any(order.state is OrderState.DONE and draft.now - order.sent_at < SETTLE_MS for order in reduces):
        return  # the fill is known before the position that it leaves
    if episode.quantity > 0:
        _reduce(draft, (), episode.quantity, episode.close_reason or "close")


def _reduce(draft: Draft, legs: tuple[int, ...], quantity: Quantity, reason: str) -> None:
    instrument = draft.episode.instrument
    assert instrument is not None
    for part in slices(quantity, instrument):
        order = draft.new_order(Role.REDUCE, legs, part, None)
        draft.ask([ReduceAtMarket(draft.episode.key, order.client_id, part, reason)])
        _tell_placed(draft, order, reason, raw_trigger=None, raw_quantity=part)


def _sweep(draft: Draft) -> None:
    """Cancel our leftovers once flat (I11); a closePosition order is given a moment to expire by itself."""
    since_flat = draft.now - (draft.episode.flat_at or draft.now)
    leftovers = [o for o in draft.episode.orders if o.quantity is not None or since_flat >= SETTLE_MS]
    _cancel_all(draft, leftovers, "the position is flat")


def _cancel_all(draft: Draft, orders: Iterable[OwnOrder], reason: str) -> None:
    for order in tuple(orders):
        if order.resting and draft.may_try(f"x{order.client_id}"):
            draft.set_order(order.client_id, cancel_at=draft.now)
            draft.ask([CancelOrder(draft.episode.key, order.client_id, Book.ALGO, reason)])


def _look_up_unclear(draft: Draft) -> None:
    """Ask about every order whose state is older than the evidence for it."""
    for order in draft.episode.orders:
        if not order.open:
            continue
        if order.looked_at is not None and draft.now - order.looked_at < SETTLE_MS:
            continue
        if _unclear(order, draft.now):
            book = Book.REGULAR if order.role is Role.REDUCE or order.child_id else Book.ALGO
            draft.set_order(order.client_id, looked_at=draft.now)
            draft.ask([LookUp(draft.episode.key, order.client_id, book)])


def _unclear(order: OwnOrder, now: Millis) -> bool:
    if order.state is OrderState.UNKNOWN:
        return True
    if order.state is OrderState.LIVE:
        unconfirmed = not order.confirmed and now - order.sent_at >= SETTLE_MS
        return unconfirmed or (order.cancel_at is not None and now - order.cancel_at >= SETTLE_MS)
    return order.working_since is not None and now - order.working_since >= STUCK_MS


def _working(order: OwnOrder, now: Millis) -> bool:
    return order.state is OrderState.WORKING and now - (order.working_since or now) < STUCK_MS


def _stops(episode: Episode) -> tuple[OwnOrder, ...]:
    return tuple(order for order in episode.orders if order.role in {Role.STOP, Role.BACKSTOP})


def _missing(wanted: tuple[Quantity, ...], orders: list[OwnOrder]) -> list[Quantity]:
    """Return the wanted quantities that no order stands for."""
    left = Counter(wanted)
    left.subtract(order.quantity for order in orders if order.quantity is not None)
    return [quantity for quantity, count in left.items() for _ in range(count)]


def _cover(wanted: tuple[Quantity, ...], orders: list[OwnOrder]) -> set[str]:
    """Return the ids of the orders that stand for the wanted quantities, the newest first."""
    left = Counter(wanted)
    kept: set[str] = set()
    for order in reversed(orders):
        if order.quantity is not None and left[order.quantity] > 0:
            left[order.quantity] -= 1
            kept.add(order.client_id)
    return kept


def _skip(legs: tuple[LegState, ...], numbers: Collection[int]) -> tuple[LegState, ...]:
    """Return the legs with some skipped; the next leg that waits takes over what they would have closed."""
    carried = sum((leg.remaining for leg in legs if leg.number in numbers), Decimal(0))
    result: list[LegState] = []
    for leg in legs:
        if leg.number in numbers:
            result.append(replace(leg, status=LegStatus.SKIPPED))
        elif leg.status is LegStatus.WAITING and carried > 0:
            result.append(replace(leg, quantity=leg.quantity + carried))
            carried = Decimal(0)
        else:
            result.append(leg)
    return tuple(result)


def _names(numbers: Collection[int]) -> str:
    return " and ".join(f"TP{number}" for number in sorted(numbers))


def _tell_placed(
    draft: Draft, order: OwnOrder, reason: str, *, raw_trigger: Price | None, raw_quantity: Quantity | None
) -> None:
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

