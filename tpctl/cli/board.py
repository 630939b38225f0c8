"""From the reducer's episodes to the dashboard's board: what a view may know of the state, and no more."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TypeGuard

from tpctl.cli.day_tally import Day
from tpctl.exits.episode import Episode, LegState, LegStatus, OrderState, OwnOrder, Phase
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import RiskReadings
from tpctl.exits.rules import TrailRules
from tpctl.exits.stages import LIQUIDATION_BOUND
from tpctl.exits.units import ZERO, Millis, Money, Price, Ratio
from tpctl.views.dashboard.board import (
    Detail,
    Figures,
    Level,
    LevelState,
    NextTarget,
    PositionRow,
    Protection,
)

_NO_MARK = Unavailable("no mark has come yet")
_NO_PLAN = Unavailable("there is no plan yet")


def position_row(episode: Episode, course: tuple[Price, ...]) -> PositionRow:
    """Return one position's line; `course` are its marks, a minute apart."""
    mark = episode.mark
    sign = episode.key.side.sign
    plan = episode.plan
    per_unit = None if mark is None else sign * (mark - episode.entry)
    risk = None if plan is None else abs(plan.entry - plan.stop)
    leverage = episode.context.leverage if plan is None and episode.context is not None else None
    return PositionRow(
        key=episode.key,
        quantity=episode.quantity,
        entry=episode.entry,
        mark=_NO_MARK if mark is None else _on_tick(mark, episode),
        pnl=_NO_MARK if per_unit is None else per_unit * episode.quantity,
        r=_NO_MARK if per_unit is None else per_unit / risk if risk else _NO_PLAN,
        leverage=plan.leverage if plan is not None else leverage or _NO_PLAN,
        liquidation=_liquidation(episode),
        stop=episode.stop,
        trail=episode.callback if episode.stop_cause == "trail" else None,
        target=_target(episode),
        protection=_protection(episode),
        course=course,
    )


def _liquidation(episode: Episode) -> Ratio | Unavailable | None:
    plan = episode.plan
    if plan is None:
        return _NO_PLAN
    if plan.liquidation is None:
        # Where it could not be computed the plan warns of that; else no price liquidates the position.
        unknown = [warning.text for warning in plan.warnings if warning.code == LIQUIDATION_BOUND]
        return Unavailable(unknown[0]) if unknown else None
    if episode.mark is None:
        return _NO_MARK
    return Ratio(episode.key.side.sign * (episode.mark - plan.liquidation) / episode.mark)


def _on_tick(mark: Price, episode: Episode) -> Price:
    """Return the mark with the digits prices of this symbol have; the exchange gives it with eight decimals."""
    return mark if episode.instrument is None else mark.quantize(episode.instrument.tick)


def _target(episode: Episode) -> NextTarget | None:
    for leg in episode.legs:
        if leg.status is LegStatus.WAITING:
            way = leg.trigger - episode.entry
            done = Decimal(0) if episode.mark is None else (episode.mark - episode.entry) / way
            return NextTarget(leg.number, len(episode.legs), leg.trigger, min(max(done, Decimal(0)), Decimal(1)))
    return None


def _protection(episode: Episode) -> Protection:
    live = {order.role for order in episode.orders if order.state is OrderState.LIVE}
    if {Role.STOP, Role.BACKSTOP} <= live:
        return Protection.FULL
    if Role.STOP in live:
        return Protection.STOP
    if Role.BACKSTOP in live:
        return Protection.BACKSTOP
    return Protection.FOREIGN if episode.protected else Protection.NONE


def detail(episode: Episode, now: Millis, rules: TrailRules) -> Detail:
    """Return the ladder of one position and why it is as it is."""
    from tpctl.cli.trail_positions import trail_row

    row = trail_row(episode, now, rules)
    story = [text for text in (row.reason, row.stop_reason) if text]
    if episode.complaint:
        story.insert(0, episode.complaint)
    plan = episode.plan
    reasons = () if plan is None else tuple(reason.text for reason in (*plan.warnings, *plan.reasons))
    sign = episode.key.side.sign
    levels = sorted(_levels(episode), key=lambda level: sign * level.price, reverse=True)
    return Detail(episode.key, tuple(levels), "; ".join(story), reasons)


def _levels(episode: Episode) -> Iterable[Level]:
    for leg in episode.legs:
        yield Level(f"TP{leg.number}", leg.trigger, leg.quantity, _leg_state(episode, leg))
    if episode.mark is not None:
        yield Level("mark", _on_tick(episode.mark, episode), None, LevelState.MARKER)
    yield Level("entry", episode.entry, None, LevelState.MARKER)
    if episode.stop is not None:
        orders = [order for order in episode.of_role(Role.STOP) if order.trigger == episode.stop]
        cause = "" if episode.stop_cause == "stop" else episode.stop_cause
        yield Level("stop", episode.stop, None, _order_state(orders), cause)
    if episode.backstop is not None:
        yield Level("backstop", episode.backstop, None, _order_state(episode.of_role(Role.BACKSTOP)))
    for order in episode.foreign:
        if order.kind.protective and order.trigger is not None:
            yield Level("foreign", order.trigger, order.quantity or None, LevelState.RESTING)
    # Farther away than the price itself it tells nothing, and its digits would crowd the rest out.
    if episode.plan is not None and _near(episode.plan.liquidation, episode.entry):
        yield Level("liq", _on_tick(episode.plan.liquidation, episode), None, LevelState.MARKER)


def _near(price: Price | None, entry: Price) -> TypeGuard[Price]:
    return price is not None and abs(price - entry) <= entry


def _leg_state(episode: Episode, leg: LegState) -> LevelState:
    if leg.status is LegStatus.HIT:
        return LevelState.HIT
    if leg.status is LegStatus.SKIPPED:
        return LevelState.SKIPPED
    orders = [
        order
        for order in episode.orders
        if order.role is Role.TAKE_PROFIT and leg.number in order.legs and order.plan == episode.plans
    ]
    return _order_state(orders)


def _order_state(orders: Sequence[OwnOrder]) -> LevelState:
    if any(order.resting for order in orders):
        return LevelState.RESTING
    if orders and orders[-1].state is OrderState.WITHHELD:
        return LevelState.WITHHELD
    return LevelState.PENDING


def figures(episodes: Sequence[Episode], day: Day, rejected: int) -> Figures:
    """Return risk now and the day so far."""
    held = [episode for episode in episodes if episode.phase is not Phase.FLAT]
    marked = all(episode.mark is not None for episode in held)
    stopped = marked and all(episode.stop is not None or episode.backstop is not None for episode in held)
    return Figures(
        positions=len(held),
        protected=sum(episode.protected for episode in held),
        notional=_sum(e.quantity * (e.mark or ZERO) for e in held) if marked else _NO_MARK,
        unrealised=_sum(_gain(e, e.mark) for e in held) if marked else _NO_MARK,
        at_risk=_sum(min(_gain(e, e.stop or e.backstop) - _gain(e, e.mark), ZERO) for e in held)
        if stopped
        else Unavailable("a stop is not known yet"),
        readings=_readings(held),
        closed=day.closed,
        won=day.won,
        realised=day.realised,
        hits=day.hits,
        attempts=day.attempts,
        unprotected_ms=day.unprotected_ms,
        rejected=rejected,
    )


def _gain(episode: Episode, price: Price | None) -> Money:
    return ZERO if price is None else episode.key.side.sign * (price - episode.entry) * episode.quantity


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, ZERO)


def _readings(held: Sequence[Episode]) -> RiskReadings | Unavailable:
    """Return the readings of the newest plan; they are of the whole book, so any position's will do."""
    known = [(e.context_at or 0, e.context.risk) for e in held if e.context is not None]
    if not known:
        return Unavailable("no position has planning inputs yet")
    measured = [(at, risk) for at, risk in known if not isinstance(risk, Unavailable)]
    return max(measured or known, key=lambda pair: pair[0])[1]


def with_mark(episode: Episode, mark: Price, at: Millis, peak: Price | None) -> Episode:
    """Return the episode with a newer mark than its own, as a pulse tells it."""
    if at < episode.mark_at:
        return episode
    return replace(episode, mark=mark, mark_at=at, peak=peak or episode.peak)
