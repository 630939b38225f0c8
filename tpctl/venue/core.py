"""The state of the twin that all of its parts work on: rules, prices, time, account, books, records.

Holds state and answers questions about prices; decides nothing. Time is the newest market step's. Ids are counters, so
that one story always gets the same ids.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

from tpctl.exits.units import ZERO, Millis, Money, Price
from tpctl.venue.account import Account
from tpctl.venue.filters import on_grid_down, on_grid_up
from tpctl.venue.ledger import Ledger, Transition
from tpctl.venue.orders import Books, Conditional, Order
from tpctl.venue.refusals import refusal
from tpctl.venue.rulebook import RuleBook, SymbolRules

FUNDING_INTERVAL_MS = 8 * 3_600_000


@dataclass(frozen=True, slots=True)
class Terms:
    """Fees (fractions of notional) and how deep the market is.

    A market order pays `half_spread_ticks` against the last price, `slippage_bps`, and `impact_bps` per million of its
    notional. `depth` is the notional that can be taken per step, symbol and side of the book; None is without limit.
    """

    taker_fee: Decimal = Decimal("0.0005")
    maker_fee: Decimal = Decimal("0.0002")
    half_spread_ticks: int = 1
    slippage_bps: Decimal = ZERO
    impact_bps: Decimal = Decimal(1)
    depth: Money | None = None


@dataclass(slots=True)
class Ids:
    """The exchange's counters."""

    order: "count[int]" = field(default_factory=lambda: count(8_886_900_001))
    algo: "count[int]" = field(default_factory=lambda: count(1_000_000_200_000_001))
    trade: "count[int]" = field(default_factory=lambda: count(5_612_000_001))
    transaction: "count[int]" = field(default_factory=lambda: count(9_689_322_001))
    client: "count[int]" = field(default_factory=lambda: count(1))


@dataclass(slots=True)
class Core:
    """Everything the twin knows.

    `taken` is the notional used of this step's depth, by symbol and side. `halts` tells until when a symbol does not
    trade, `thin` until when the book is thin and the depth it has otherwise, `lag_ms` how old reads are at the moment.
    """

    rules: RuleBook
    terms: Terms
    now: Millis
    account: Account
    ledger: Ledger
    default_funding_rate: Decimal
    next_funding: Millis
    books: Books = field(default_factory=Books)
    ids: Ids = field(default_factory=Ids)
    last: dict[str, Price] = field(default_factory=dict)
    mark: dict[str, Price] = field(default_factory=dict)
    funding_rates: dict[str, Decimal] = field(default_factory=dict)
    taken: dict[tuple[str, bool], Money] = field(default_factory=dict)
    countdowns: dict[str, Millis] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    halts: dict[str, Millis] = field(default_factory=dict)
    thin: tuple[Millis, Money | None] | None = None
    lag_ms: Millis = 0

    def symbol(self, name: str) -> SymbolRules:
        """Return the rules of a symbol; -1121 for one the exchange does not have."""
        rules = self.rules.symbols.get(name)
        if rules is None:
            raise refusal(-1121)
        return rules

    def mark_of(self, symbol: str) -> Price:
        """Return the mark price; zero where the market has not been seen yet."""
        return self.mark.get(symbol, ZERO)

    def priced(self, symbol: str) -> tuple[Price, Price]:
        """Return last and mark price; -1122 where the symbol has no market yet."""
        last = self.last.get(symbol)
        if last is None:
            raise refusal(-1122)
        return last, self.mark[symbol]

    def touch(self, rules: SymbolRules, *, buy: bool) -> Price:
        """Return the best price an order of this side meets: the ask for a buy, the bid for a sell."""
        last = self.last[rules.symbol]
        spread = rules.tick * self.terms.half_spread_ticks
        if buy:
            return on_grid_up(last, rules.tick) + spread
        return max(on_grid_down(last, rules.tick) - spread, rules.tick)

    def funding_rate(self, symbol: str) -> Decimal:
        """Return the rate of the next funding payment."""
        return self.funding_rates.get(symbol, self.default_funding_rate)

    def note(self, order: Order | Conditional, reason: str = "") -> None:
        """Record the state an order has just entered."""
        book, exchange_id = ("regular", order.order_id) if isinstance(order, Order) else ("algo", order.algo_id)
        self.ledger.transitions.append(
            Transition(self.now, book, order.symbol, exchange_id, order.client_id, order.status, reason)
        )
