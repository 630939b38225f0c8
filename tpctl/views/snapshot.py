"""How everything stood at one instant, as the JSON document a running watch writes when asked (tpctl.snapshot/1).

Records to JSON and nothing else; what is not known is null.
"""

from collections.abc import Mapping

from tpctl.exits.episode import Episode, LegState, OwnOrder, Phase, State
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import LiveOrder
from tpctl.exits.trailing import peak_profit
from tpctl.exits.units import Millis
from tpctl.views.machine import Json, document, rfc3339


def snapshot(
    state: State, at: Millis, *, profile: str, env: str, mode: str, vitals: Mapping[str, Json], settings: Json
) -> str:
    """Return the document; `vitals` are the signs of the run itself, `settings` what it was told to do."""
    open_ones = [episode for episode in state.episodes.values() if episode.phase is not Phase.FLAT]
    data: dict[str, Json] = {
        "position_mode": state.mode.value,
        "symbols": sorted(state.scope.symbols) or None,
        "excluded": sorted(state.scope.excluded),
        "positions": [_position(episode) for episode in sorted(open_ones, key=lambda each: str(each.key))],
        "watch": dict(vitals),
        "settings": settings,
    }
    return document("snapshot", at, profile, env, mode, data)


def _position(episode: Episode) -> dict[str, Json]:
    plan, peak = episode.plan, episode.peak
    leverage = None if episode.context is None else episode.context.leverage
    return {
        "symbol": episode.key.symbol,
        "position_side": episode.key.side.value,
        "generation": episode.generation,
        "phase": episode.phase.value,
        "opened_at": rfc3339(episode.opened_at),
        "quantity": episode.quantity,
        "entry": episode.entry,
        "leverage": None if isinstance(leverage, Unavailable) else leverage,
        "mark": episode.mark,
        "mark_at": rfc3339(episode.mark_at) if episode.mark_at else None,
        "peak": peak,
        "peak_profit": None if peak is None else peak_profit(episode.key.side, episode.entry, peak),
        "protected": episode.protected,
        "unprotected_since": None if episode.unprotected_since is None else rfc3339(episode.unprotected_since),
        "naked_ms": episode.naked_ms,
        "stop": episode.stop,
        "stop_cause": episode.stop_cause,
        "backstop": episode.backstop,
        "callback": episode.callback,
        "callback_at": None if episode.callback_at is None else rfc3339(episode.callback_at),
        "policy": None if plan is None else plan.policy.value,
        "legs": [_leg(leg) for leg in episode.legs],
        "orders": [_order(order) for order in episode.orders if order.open],
        "foreign": [_foreign(order) for order in episode.foreign],
        "complaint": episode.complaint,
        "reduce_to": episode.reduce_to,
        "realised": episode.realised,
        "fees": episode.fees,
    }


def _leg(leg: LegState) -> dict[str, Json]:
    return {
        "leg": leg.number,
        "trigger": leg.trigger,
        "fraction": leg.fraction,
        "quantity": leg.quantity,
        "filled": leg.filled,
        "status": leg.status.value,
    }


def _order(order: OwnOrder) -> dict[str, Json]:
    return {
        "order": order.role.label,
        "client_id": order.client_id,
        "exchange_id": order.exchange_id,
        "legs": list(order.legs) if order.role is Role.TAKE_PROFIT else None,
        "quantity": order.quantity,
        "trigger": order.trigger,
        "state": order.state.value,
        "confirmed": order.confirmed,
        "executed": order.executed,
        "cancelling": order.cancel_at is not None,
        "sent_at": rfc3339(order.sent_at),
    }


def _foreign(order: LiveOrder) -> dict[str, Json]:
    return {
        "client_id": order.client_id,
        "type": order.kind.value,
        "order_side": order.order_side.value,
        "quantity": None if order.close_position else order.quantity,
        "trigger": order.trigger,
        "price": order.price,
        "close_position": order.close_position,
        "reduce_only": order.reduce_only,
    }
