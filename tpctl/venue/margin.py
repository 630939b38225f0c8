"""What positions and orders need in margin, and where the exchange takes a position away (binance-usdm 4.9).

Pure arithmetic on the state. Derived independently of `exits.liquidation`: maintenance margin is piecewise linear in
the mark, so the price at which equity meets it is found exactly, segment by segment, instead of by iteration.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tpctl.exits.units import ZERO, Money, Price, Quantity
from tpctl.venue.account import Holding
from tpctl.venue.core import Core
from tpctl.venue.orders import Order
from tpctl.venue.rulebook import SymbolRules


@dataclass(frozen=True, slots=True)
class Balances:
    """The account in money, as the balance endpoints show it."""

    wallet: Money
    cross_wallet: Money
    unrealised: Money
    cross_unrealised: Money
    position_margin: Money
    order_margin: Money
    maintenance: Money
    cross_maintenance: Money
    available: Money


def maintenance_margin(rules: SymbolRules, notional: Money) -> Money:
    """Return the maintenance margin of a position of this notional (>= 0)."""
    tier = rules.tier(notional)
    return notional * tier.rate - tier.cum


def holding_maintenance(core: Core, holding: Holding) -> Money:
    """Return the maintenance margin of a position at the current mark."""
    return maintenance_margin(core.rules.symbols[holding.symbol], abs(holding.amount) * core.mark_of(holding.symbol))


def initial_margin(core: Core, holding: Holding) -> Money:
    """Return the initial margin of a position at the current mark."""
    return abs(holding.amount) * core.mark_of(holding.symbol) / core.account.leverage(holding.symbol)


def opening_part(core: Core, order: Order) -> Quantity:
    """Return how much of an open order would enlarge a position if it filled now."""
    if order.reducing:
        return ZERO
    closable = core.account.holding(order.symbol, order.position_side).closable(buy=order.buy)
    return max(ZERO, order.remaining - closable)


def order_margin(core: Core, symbol: str | None = None) -> Money:
    """Return the initial margin that open orders hold."""
    total = ZERO
    for order in core.books.open_orders(symbol):
        price = order.price or core.mark_of(order.symbol)
        total += opening_part(core, order) * price / core.account.leverage(order.symbol)
    return total


def balances(core: Core) -> Balances:
    """Return the account's balances at the current marks."""
    unrealised = cross_unrealised = position = cross_position = needed = cross_needed = ZERO
    for holding in core.account.open_holdings():
        profit = holding.unrealised(core.mark_of(holding.symbol))
        margin = initial_margin(core, holding)
        minimum = holding_maintenance(core, holding)
        unrealised += profit
        position += margin
        needed += minimum
        if not core.account.isolated(holding.symbol):
            cross_unrealised += profit
            cross_position += margin
            cross_needed += minimum
    cross_wallet = core.account.cross_wallet()
    held = order_margin(core)
    return Balances(
        wallet=core.account.wallet,
        cross_wallet=cross_wallet,
        unrealised=unrealised,
        cross_unrealised=cross_unrealised,
        position_margin=position,
        order_margin=held,
        maintenance=needed,
        cross_maintenance=cross_needed,
        available=max(ZERO, cross_wallet + cross_unrealised - cross_position - held),
    )


def liquidation_price(core: Core, holding: Holding) -> Price | None:
    """Return the mark at which the position is liquidated, other symbols standing still; None where there is none."""
    if not holding.amount:
        return None
    rules = core.rules.symbols[holding.symbol]
    if core.account.isolated(holding.symbol):
        return meeting_price(rules, holding.isolated_wallet, [(holding.amount, holding.cost)])
    base = core.account.cross_wallet()
    legs: list[tuple[Quantity, Money]] = []
    for other in core.account.open_holdings():
        if core.account.isolated(other.symbol):
            continue
        if other.symbol == holding.symbol:
            legs.append((other.amount, other.cost))
        else:
            base += other.unrealised(core.mark_of(other.symbol)) - holding_maintenance(core, other)
    return meeting_price(rules, base, legs)


def meeting_price(rules: SymbolRules, base: Money, legs: Sequence[tuple[Quantity, Money]]) -> Price | None:
    """Return the price above zero where `base` plus the open profit of `legs` meets their maintenance margin.

    A leg is (signed amount, signed cost). Two legs may meet it twice; the one a net long position falls to, or a net
    short one rises to, is the liquidation price.
    """
    if len(legs) == 1:
        return _single_meeting(rules, base, *legs[0])
    edges = sorted({tier.floor / abs(amount) for tier in rules.tiers for amount, _ in legs} | {ZERO})
    roots: list[Price] = []
    for index, low in enumerate(edges):
        high = edges[index + 1] if index + 1 < len(edges) else None
        slope = offset = ZERO
        for amount, cost in legs:
            # Judged mid-segment: at the edges themselves division may round to the wrong side.
            tier = rules.tier(abs(amount) * (low + high) / 2) if high is not None else rules.tiers[-1]
            slope += amount - abs(amount) * tier.rate
            offset += tier.cum - cost
        if not slope:
            continue
        root = -(base + offset) / slope
        if root > low and (high is None or root <= high):
            roots.append(root)
    if not roots:
        return None
    return min(roots) if sum((amount for amount, _ in legs), ZERO) > 0 else max(roots)


def _single_meeting(rules: SymbolRules, base: Money, amount: Quantity, cost: Money) -> Price | None:
    """Return what `meeting_price` does for one leg, which meets it once at most: tier by tier from below."""
    size = abs(amount)
    for index, tier in enumerate(rules.tiers):
        slope = amount - size * tier.rate
        if not slope:
            continue
        root = -(base + tier.cum - cost) / slope
        last = index + 1 == len(rules.tiers)
        if root > tier.floor / size and (last or root <= rules.tiers[index + 1].floor / size):
            return root
    return None
