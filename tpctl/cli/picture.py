"""The engine's state as the table shows it: what views may know of it, and no more."""

from decimal import Decimal

from tpctl.exits.episode import Episode, LegStatus, OrderState, Phase, State
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Unavailable
from tpctl.exits.quiet import catch_up
from tpctl.exits.units import Millis, Price
from tpctl.settings.schema import Settings
from tpctl.views.view import NextTarget, PositionRow, Protection, WatchView


def picture(state: State, settings: Settings, at: Millis, *, armed: bool, halt: str | None) -> WatchView:
    """Return one look at the account."""
    held = (episode for episode in state.episodes.values() if episode.phase is not Phase.FLAT)
    rows = tuple(_row(catch_up(state, episode)) for episode in held)
    return WatchView(
        at=at,
        profile=settings.name,
        env=settings.profile.env.value,
        mode="armed" if armed else "shadow",
        positions=tuple(sorted(rows, key=lambda row: str(row.key))),
        banner="" if halt is None else f"HALT: {halt}",
    )


def _row(episode: Episode) -> PositionRow:
    mark = episode.mark
    sign = episode.key.side.sign
    unknown = Unavailable("no mark yet")
    trailing = episode.stop_cause == "trail"
    return PositionRow(
        key=episode.key,
        quantity=episode.quantity,
        entry=episode.entry,
        mark=unknown if mark is None else _on_tick(mark, episode),
        pnl=unknown if mark is None else sign * (mark - episode.entry) * episode.quantity,
        leverage=episode.plan.leverage if episode.plan else Unavailable("no plan yet"),
        stop=episode.stop,
        target=_target(episode),
        trail=episode.callback if trailing else None,
        protection=_protection(episode),
    )


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
