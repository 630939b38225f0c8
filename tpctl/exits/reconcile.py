"""Desired orders against live orders: the smallest set of intents that leads from one to the other.

It looks at one episode and asks for what is missing, in this order: backstop, working stop, take-profits; it cancels
what is superseded only when its replacement was seen resting. It never looks at prices to decide levels: `progress`
does.

Invariants: I1 (a stop first), I2 (quantities within the position), I5 (new before old), I6 (a leg at most once), I10
(nothing is asked twice while an answer is unknown), I11 (no orphans), I12 (foreign orders are only looked at).
"""

from collections.abc import Collection, Iterable

from tpctl.exits.allocate import slices
from tpctl.exits.draft import SETTLE_MS, STUCK_MS, Draft, leg_slot, tell_placed
from tpctl.exits.episode import LegState, LegStatus, OrderState, OwnOrder, Phase
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Instrument
from tpctl.exits.intents import CancelOrder, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import Book, NoteKind
from tpctl.exits.quantize import market_limits, round_quantity
from tpctl.exits.size import is_dust
from tpctl.exits.units import ZERO, Millis, Price, Quantity, trimmed

# The exchange refuses an order that would trigger at once: its price has already passed the level.
WOULD_TRIGGER = frozenset({-2021, -4142})


def reconcile(draft: Draft) -> None:
    """Ask for what the episode's decisions require and the exchange does not show yet."""
    _look_up_unclear(draft)
    episode = draft.episode
    if episode.phase is Phase.FLAT:
        _sweep(draft)
        return
    instrument = episode.instrument
    if instrument is None or episode.quantity == 0:
        return
    _keep_backstop(draft)
    if not _closing(draft):
        _keep_stop(draft, instrument)
    if _closing(draft):
        _close(draft, instrument)
    else:
        _come_down(draft, instrument)
        _keep_take_profits(draft, instrument)


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
    if episode.backstop is None or any(_stands(order) for order in episode.of_role(Role.BACKSTOP)):
        return
    if any(order.close_position and order.kind.protective for order in episode.foreign):
        # The exchange takes one closePosition stop per direction (-4130); somebody else's already covers all of it.
        return
    if draft.stopped(episode.backstop):
        begin_close(draft, "the disaster level is already passed")
        return
    if not draft.may_try(Role.BACKSTOP.value):
        return
    _place_stop(draft, Role.BACKSTOP, None, episode.backstop, "backstop, rests first and is left alone")


def _stands(order: OwnOrder) -> bool:
    """Whether an order takes the place of a new one."""
    return order.open or order.state is OrderState.WITHHELD


def _keep_stop(draft: Draft, instrument: Instrument) -> None:
    episode = draft.episode
    if episode.stop is None or is_dust(episode):
        return
    stops = episode.of_role(Role.STOP)
    if any(order.pending or _working(order, draft.now) for order in stops):
        return
    wanted = slices(episode.quantity, instrument)
    matching = [o for o in stops if o.trigger == episode.stop and (o.resting or o.state is OrderState.WITHHELD)]
    missing = _missing(wanted, matching)
    if not missing:
        if all(order.confirmed for order in matching if order.state is OrderState.LIVE):
            keep = _cover(wanted, matching)
            _cancel_all(draft, (o for o in stops if o.client_id not in keep), "replaced by a newer stop")
        return
    if draft.stopped(episode.stop):
        begin_close(draft, "the stop level is already passed")
        return
    if not draft.may_try(Role.STOP.value):
        return
    for quantity in missing:
        _place_stop(draft, Role.STOP, quantity, episode.stop, episode.stop_cause)


def _place_stop(draft: Draft, role: Role, quantity: Quantity | None, trigger: Price, reason: str) -> None:
    order = draft.new_order(role, (), quantity, trigger)
    working = draft.state.rules.execution.working
    draft.ask(PlaceStop(draft.episode.key, order.client_id, quantity, trigger, working, reason))
    tell_placed(draft, order, reason, raw_trigger=trigger, raw_quantity=quantity)


def make_room(draft: Draft) -> None:
    """Give up the farthest take-profit for a stop the exchange has no room for (-4045); stops are never given up."""
    targets = [order for order in draft.episode.of_role(Role.TAKE_PROFIT) if order.resting]
    if not targets or draft.episode.protected:
        return
    farthest = max(targets, key=lambda order: order.legs)
    draft.failed(leg_slot(farthest.legs[0]))
    _cancel_all(draft, (farthest,), "makes room for the stop")


def _keep_take_profits(draft: Draft, instrument: Instrument) -> None:
    episode = draft.episode
    resident = draft.state.rules.execution.take_profit == "resident"
    waiting = {leg.number for leg in episode.legs if leg.status is LegStatus.WAITING}
    targets = episode.of_role(Role.TAKE_PROFIT)
    _cancel_all(draft, (o for o in targets if not resident or o.legs[0] not in waiting), "no longer wanted")
    reduces = episode.of_role(Role.REDUCE)
    if any(order.pending or order.state is OrderState.WORKING for order in reduces):
        return  # what it closes is reserved until its fate is known (I10)
    crossed: list[LegState] = []
    for leg in episode.legs:
        if leg.status is LegStatus.WAITING and leg.remaining > 0:
            orders = [order for order in targets if order.legs == (leg.number,)]
            wanted = slices(leg.remaining, instrument) if resident else ()
            if _is_crossed(draft, leg, orders, wanted):
                crossed.append(leg)
    withheld = {number for order in reduces if order.state is OrderState.WITHHELD for number in order.legs}
    if any(leg.number not in withheld for leg in crossed) and draft.may_try(Role.REDUCE.value):
        _take_crossed(draft, crossed, instrument)


def _is_crossed(draft: Draft, leg: LegState, orders: list[OwnOrder], wanted: tuple[Quantity, ...]) -> bool:
    """Keep one leg's orders resting, `wanted` in all; return whether the price has passed its level instead."""
    if any(order.pending or order.state is OrderState.WORKING for order in orders):
        return False
    if any(order.state is OrderState.LIVE and order.cancel_at is not None for order in orders):
        return False  # its quantity is spoken for until the cancel is confirmed
    matching = [o for o in orders if o.trigger == leg.trigger and (o.resting or o.state is OrderState.WITHHELD)]
    cover = _cover(wanted, matching)
    stale = [o for o in orders if (o.resting or o.state is OrderState.WITHHELD) and o.client_id not in cover]
    if stale:
        _cancel_all(draft, stale, "resized")
        return False
    missing = _missing(wanted, matching)
    if wanted and not missing:
        return False
    if _refused_as_passed(leg, orders) or draft.beyond(leg.trigger, profit=True):
        return True
    stops = (*draft.episode.of_role(Role.STOP), *draft.episode.of_role(Role.BACKSTOP))
    a_stop_rests = any(order.resting or order.state is OrderState.WITHHELD for order in stops)
    if a_stop_rests and draft.may_try(leg_slot(leg.number)):
        _place_target(draft, leg, missing)
    return False


def _place_target(draft: Draft, leg: LegState, quantities: list[Quantity]) -> None:
    episode = draft.episode
    if leg.remaining > episode.quantity:
        return  # the legs are fitted once it is known where the rest went (I2)
    for quantity in quantities:
        order = draft.new_order(Role.TAKE_PROFIT, (leg.number,), quantity, leg.trigger)
        reason = f"take-profit {leg.number}"
        working = draft.state.rules.execution.working
        draft.ask(PlaceTakeProfit(episode.key, order.client_id, leg.number, quantity, leg.trigger, working, reason))
        raw = episode.entry * (1 + episode.key.side.sign * leg.distance.fraction)
        whole = episode.plan.quantity if episode.plan else episode.quantity
        tell_placed(draft, order, reason, raw_trigger=raw, raw_quantity=leg.fraction * whole)


def _refused_as_passed(leg: LegState, orders: list[OwnOrder]) -> bool:
    """Whether the exchange's last word on a leg was that its price has passed the level."""
    last = orders[-1] if orders else None
    return last is not None and last.code in WOULD_TRIGGER and last.trigger == leg.trigger


def _take_crossed(draft: Draft, crossed: list[LegState], instrument: Instrument) -> None:
    """Take every leg the mark has passed in one reduce (I7)."""
    numbers = tuple(leg.number for leg in crossed)
    quantity = min(sum((leg.remaining for leg in crossed), ZERO), draft.episode.quantity)
    _reduce(draft, numbers, slices(quantity, instrument), f"mark passed take-profit {names(numbers)}")


def _close(draft: Draft, instrument: Instrument) -> None:
    reduces = draft.episode.of_role(Role.REDUCE)
    if any(order.pending or order.state in {OrderState.WORKING, OrderState.WITHHELD} for order in reduces):
        return
    if not is_dust(draft.episode) and draft.may_try(Role.REDUCE.value):
        _reduce(draft, (), slices(draft.episode.quantity, instrument), draft.episode.close_reason or "close")


def _come_down(draft: Draft, instrument: Instrument) -> None:
    """Reduce at market to the size a request named, until it is reached or what is missing is no order."""
    goal = draft.episode.reduce_to
    if goal is None:
        return
    reduces = draft.episode.of_role(Role.REDUCE)
    if any(order.pending or order.state in {OrderState.WORKING, OrderState.WITHHELD} for order in reduces):
        return
    excess = round_quantity(instrument, max(ZERO, draft.episode.quantity - goal), market=True)
    smallest, _ = market_limits(instrument)
    if excess <= 0 or excess < smallest:
        draft.set(reduce_to=None)
    elif draft.may_try(Role.REDUCE.value):
        _reduce(draft, (), slices(excess, instrument), f"reduce to {trimmed(goal)}, as asked for")


def _reduce(draft: Draft, legs: tuple[int, ...], parts: tuple[Quantity, ...], reason: str) -> None:
    for part in parts:
        order = draft.new_order(Role.REDUCE, legs, part, None)
        draft.ask(ReduceAtMarket(draft.episode.key, order.client_id, part, reason))
        tell_placed(draft, order, reason, raw_trigger=None, raw_quantity=part)


def _sweep(draft: Draft) -> None:
    """Cancel our leftovers once flat (I11); a closePosition order is given a moment to expire by itself."""
    since_flat = draft.now - (draft.episode.flat_at or draft.now)
    leftovers = [o for o in draft.episode.orders if o.quantity is not None or since_flat >= SETTLE_MS]
    _cancel_all(draft, leftovers, "the position is flat")


def _cancel_all(draft: Draft, orders: Iterable[OwnOrder], reason: str) -> None:
    """Cancel those that rest; what was withheld is only forgotten."""
    for order in tuple(orders):
        if order.state is OrderState.WITHHELD:
            draft.set_order(order.client_id, state=OrderState.GONE)
        elif order.resting and draft.may_try(f"x{order.client_id}"):
            draft.set_order(order.client_id, cancel_at=draft.now)
            draft.ask(CancelOrder(draft.episode.key, order.client_id, Book.ALGO, reason))


def _look_up_unclear(draft: Draft) -> None:
    """Ask about every order whose state is older than the evidence for it."""
    for order in draft.episode.orders:
        if not order.open or not _unclear(order, draft.now):
            continue
        if order.looked_at is None and order.state is OrderState.WORKING and order.trigger is not None:
            draft.tell(
                NoteKind.DEGRADED, f"{order.role.label} order triggered and does not end", client_id=order.client_id
            )
        if order.looked_at is None or draft.now - order.looked_at >= SETTLE_MS:
            draft.look_up(order)


def _unclear(order: OwnOrder, now: Millis) -> bool:
    if order.state is OrderState.UNKNOWN:
        return True
    if order.state is OrderState.LIVE:
        unconfirmed = not order.confirmed and now - order.settles_from >= SETTLE_MS
        return unconfirmed or (order.cancel_at is not None and now - order.cancel_at >= SETTLE_MS)
    return order.working_since is not None and now - order.working_since >= STUCK_MS


def _working(order: OwnOrder, now: Millis) -> bool:
    return order.state is OrderState.WORKING and now - (order.working_since or now) < STUCK_MS


def _missing(wanted: tuple[Quantity, ...], orders: list[OwnOrder]) -> list[Quantity]:
    """Return the wanted quantities that no order stands for."""
    left = list(wanted)
    for order in orders:
        if order.quantity in left:
            left.remove(order.quantity)
    return left


def _cover(wanted: tuple[Quantity, ...], orders: list[OwnOrder]) -> set[str]:
    """Return the ids of the orders that stand for the wanted quantities, the newest first."""
    left = list(wanted)
    kept: set[str] = set()
    for order in reversed(orders):
        if order.quantity in left:
            left.remove(order.quantity)
            kept.add(order.client_id)
    return kept


def names(numbers: Collection[int]) -> str:
    """Return take-profits by name: `TP1 and TP2`."""
    return " and ".join(f"TP{number}" for number in sorted(numbers))
