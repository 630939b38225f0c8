"""One plan as an operator and a script read it: levels, orders, money, odds, and what was known when it was made.

A record only. `engine.planning` fills it in; views show it; nothing decides by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tpctl.exits.figures import Funding, Gain
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Context, MarginMode, Plan, Reason
from tpctl.exits.odds import Odds
from tpctl.exits.partials import PartialLevel
from tpctl.exits.planned import Diff, PlannedOrder
from tpctl.exits.risk import RiskEffect
from tpctl.exits.units import Money, Price, Ratio


@dataclass(frozen=True, slots=True)
class LegSheet:
    """What one leg earns and how likely it is reached. `bootstrap` is None where odds were not asked for."""

    gain: Gain
    odds: Odds | None
    bootstrap: Odds | None


@dataclass(frozen=True, slots=True)
class Liquidation:
    """Where the position is liquidated; `price` None where no price does that. `distance` is a fraction of entry.

    `computed` is our own figure where `price` is the exchange's.
    """

    price: Price | Unavailable | None
    distance: Ratio | Unavailable | None
    computed: Price | None = None


@dataclass(frozen=True, slots=True)
class PlanSheet:
    """A plan and everything shown beside it.

    `legs` belong to the plan's legs in order, `wires` to `orders`: the exact parameters that would be sent. `margin` is
    the initial margin. `ratchet` is where the stop goes after each take-profit, `trail_schedule` the callback by peak
    profit, `partials` the partial levels toward the last leg at the profit known now (exit-rules 8, 9, 10).
    """

    plan: Plan
    hypothetical: bool
    generation: str
    mark: Price | Unavailable
    notional: Money
    margin: Money
    margin_mode: MarginMode
    context: Context
    fee: Ratio
    legs: tuple[LegSheet, ...]
    total: Gain | None
    stop: Gain
    backstop: Gain
    ratchet: tuple[Price, ...]
    trail_schedule: tuple[tuple[Ratio, Ratio], ...]
    partials: tuple[PartialLevel, ...]
    liquidation: Liquidation
    breakeven_with_funding: Price | Unavailable
    funding: Funding
    pnl: Ratio | Unavailable
    risk: RiskEffect
    orders: tuple[PlannedOrder, ...]
    wires: tuple[Mapping[str, str], ...]
    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    diff: Diff | None = None

    @property
    def refused(self) -> tuple[PlannedOrder, ...]:
        """The orders the exchange would refuse."""
        return tuple(order for order in self.orders if order.refusals)
