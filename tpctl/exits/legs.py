"""Take-profit legs: how executions fill them, how quantity passes between them, when an attempt is recorded.

A leg is hit when its quantity is filled; its attempt is recorded once, when what it earned after fees is known.

Invariants: I6 (a leg at most once), I7 (in order), I17 (each outcome once).
"""

from collections.abc import Collection
from dataclasses import replace

from tpctl.exits.draft import SETTLE_MS, Draft
from tpctl.exits.episode import LegState, LegStatus, OwnOrder
from tpctl.exits.model import Attempt, NoteKind, Outcome, Plan
from tpctl.exits.units import ONE, ZERO, Millis, Money, Price, Quantity


def carry_over(
    legs: tuple[LegState, ...], numbers: Collection[int], status: LegStatus, at: Millis
) -> tuple[LegState, ...]:
    """Return the legs with some ended; the next leg that waits takes over what they had left to close."""
    carried = sum((leg.remaining for leg in legs if leg.number in numbers), ZERO)
    result: list[LegState] = []
    for leg in legs:
        if leg.number in numbers:
            hit_at = at if status is LegStatus.HIT else None
            result.append(replace(leg, status=status, quantity=leg.filled, hit_at=hit_at))
        elif leg.status is LegStatus.WAITING and carried > 0 and leg.number > min(numbers):
            result.append(replace(leg, quantity=leg.quantity + carried))
            carried = ZERO
        else:
            result.append(leg)
    return tuple(result)


def fill_legs(draft: Draft, own: OwnOrder, quantity: Quantity, price: Price) -> None:
    """Give an execution to the order's legs, in order (I7); what no leg takes closed the rest of the position."""
    left = quantity
    # An order of an earlier plan that executes all the same counts for the level that took its place.
    draft.set_order(own.client_id, plan=draft.episode.plans)
    for number in own.legs:
        leg = next((leg for leg in draft.episode.legs if leg.number == number), None)
        if leg is None or leg.status is not LegStatus.WAITING:
            continue
        part = min(left, leg.remaining)
        if part <= 0:
            continue
        left -= part
        leg = replace(leg, filled=leg.filled + part, spent=leg.spent + part * price)
        if leg.remaining <= 0:
            leg = replace(leg, status=LegStatus.HIT, hit_at=draft.now)
        draft.set_leg(leg)
        if leg.status is LegStatus.HIT:
            _tell_hit(draft, leg, own.client_id)
    if left > 0:
        episode = draft.episode
        draft.set(rest_quantity=episode.rest_quantity + left, rest_spent=episode.rest_spent + left * price)


def _tell_hit(draft: Draft, leg: LegState, client_id: str) -> None:
    episode = draft.episode
    order = episode.order(client_id)
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
        client_id=client_id,
        filled_ms=None if order is None else order.took_ms,
    )


def record_hits(draft: Draft, *, last: bool = False) -> None:
    """Record the attempts of legs that are hit, once their fees came or had their time to; `last` waits no more."""
    plan = draft.episode.plan
    for leg in draft.episode.legs:
        if plan is None or leg.status is not LegStatus.HIT or leg.recorded or leg.hit_at is None:
            continue
        waited = last or draft.now - leg.hit_at >= SETTLE_MS
        if waited or all(order.traded >= order.executed for order in _orders_of(draft, leg)):
            price = leg.spent / leg.filled
            draft.attempts.append(_attempt(draft, plan, leg, price, reason=None))
            draft.set_leg(replace(leg, recorded=True))


def record_misses(draft: Draft, reason: str, price: Price) -> None:
    """Record what the legs that still waited would have closed, at the price the rest was closed at."""
    plan = draft.episode.plan
    for leg in draft.episode.legs:
        if plan is not None and leg.status is LegStatus.WAITING and leg.remaining > 0 and not leg.recorded:
            draft.attempts.append(_attempt(draft, plan, leg, price, reason=reason))
            draft.set_leg(replace(leg, recorded=True))


def _attempt(draft: Draft, plan: Plan, leg: LegState, price: Price, *, reason: str | None) -> Attempt:
    """Return the outcome record of one leg: of a hit, or of a miss for a `reason`.

    Its id makes it count once (I17). Profit is net of the exit's fees.
    """
    episode = draft.episode
    outcome, quantity = (Outcome.HIT, leg.filled) if reason is None else (Outcome.MISS, leg.remaining)
    gross = episode.key.side.sign * (price - episode.entry) * quantity
    return Attempt(
        id=f"{episode.generation}-{episode.plans}-{leg.number}",
        strategy_id=plan.policy.value,
        symbol=episode.key.symbol,
        position_side=episode.key.side,
        leg=leg.number,
        entry_time=episode.opened_at,
        entry_price=episode.entry,
        target_price=leg.trigger,
        exit_time=draft.now if leg.hit_at is None else leg.hit_at,
        exit_price=price,
        quantity=quantity,
        profit_usd=gross - _exit_fees(draft, leg, outcome, quantity),
        outcome=outcome,
        reason=reason or "take_profit",
        stop_initial=episode.stop_initial,
        leverage=plan.leverage,
        regime=episode.regime,
        arm=episode.arm,
    )


def _exit_fees(draft: Draft, leg: LegState, outcome: Outcome, quantity: Quantity) -> Money:
    """Return the share of the exit fees that falls on a leg: of its own orders when hit, of the rest when missed."""
    if outcome is Outcome.HIT:
        return sum((fees_of(draft, o) * min(ONE, quantity / o.executed) for o in _orders_of(draft, leg)), ZERO)
    rest = draft.episode.rest_quantity
    fees = sum((fees_of(draft, o) for o in draft.episode.orders if not o.legs), ZERO)
    return fees * quantity / rest if rest > 0 else ZERO


def _orders_of(draft: Draft, leg: LegState) -> list[OwnOrder]:
    """Return the orders that executed for one leg of the running plan."""
    plan = draft.episode.plans
    return [o for o in draft.episode.orders if leg.number in o.legs and o.plan == plan and o.executed > 0]


def fees_of(draft: Draft, order: OwnOrder) -> Money:
    """Return the fees of one order; at the taker's rate for executions that never came with theirs."""
    context = draft.episode.context
    missing = order.executed - order.traded
    if missing <= 0 or context is None or not order.executed:
        return order.fees
    return order.fees + context.taker_fee.of(order.spent * missing / order.executed)
