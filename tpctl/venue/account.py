"""The account's positions, wallet and settings, and what a fill does to them.

Decides size, cost, realised profit and the isolated wallet of every position. The cost of a position is kept instead of
an average price, so that closing it in parts realises exactly what closing it at once would. Never decides whether a
fill may happen.
"""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from tpctl.exits.units import ZERO, Millis, Money, Price, Quantity

_CENT = Decimal("0.00000001")
DEFAULT_LEVERAGE = 20


def settled(amount: Money) -> Money:
    """Return `amount` as the wallet books it: eight decimals."""
    return amount.quantize(_CENT, rounding=ROUND_HALF_EVEN)


@dataclass(slots=True)
class Holding:
    """One position: `side` is BOTH in one-way mode, LONG or SHORT in hedge mode. `amount` and `cost` are signed.

    `charges` are fees and funding paid less profit realised since the position was opened; `realised` runs over the
    account's life.
    """

    symbol: str
    side: str
    amount: Quantity = ZERO
    cost: Money = ZERO
    isolated_wallet: Money = ZERO
    charges: Money = ZERO
    realised: Money = ZERO
    updated: Millis = 0
    warned: bool = False

    @property
    def entry(self) -> Price:
        """Average entry price, zero when flat."""
        return self.cost / self.amount if self.amount else ZERO

    @property
    def breakeven(self) -> Price:
        """The price at which closing (before its own fee) leaves neither profit nor loss, zero when flat."""
        return (self.cost + self.charges) / self.amount if self.amount else ZERO

    def unrealised(self, mark: Price) -> Money:
        """Open profit at the mark."""
        return self.amount * mark - self.cost

    def closable(self, *, buy: bool) -> Quantity:
        """Return how much an order of this side can reduce."""
        if buy:
            return -self.amount if self.amount < 0 else ZERO
        return self.amount if self.amount > 0 else ZERO

    def apply(self, signed: Quantity, price: Price, isolated_leverage: int | None) -> Money:
        """Apply a fill (`signed` > 0 buys) and return the profit it realised; a fill beyond the position flips it."""
        realised = ZERO
        if self.amount and (self.amount > 0) != (signed > 0):
            size = abs(self.amount)
            closed = min(size, abs(signed))
            portion = closed if self.amount > 0 else -closed
            cost = self.cost if closed == size else self.cost * closed / size
            realised = settled(portion * price - cost)
            if closed == size:
                self.isolated_wallet = self.charges = ZERO
                self.warned = False
            else:
                self.isolated_wallet -= settled(self.isolated_wallet * closed / size)
                self.charges -= realised
            self.amount -= portion
            self.cost -= cost
            signed += portion
        if signed:
            self.amount += signed
            self.cost += signed * price
            if isolated_leverage is not None:
                self.isolated_wallet += settled(abs(signed) * price / isolated_leverage)
        self.realised += realised
        return realised


@dataclass(slots=True)
class Account:
    """Wallet, positions and the settings of every symbol."""

    wallet: Money
    hedge: bool
    updated: Millis
    _holdings: dict[tuple[str, str], Holding] = field(default_factory=dict)
    _leverage: dict[str, int] = field(default_factory=dict)
    _isolated: set[str] = field(default_factory=set)

    def holding(self, symbol: str, side: str) -> Holding:
        """Return the position of a symbol and side, flat where there was none yet."""
        key = (symbol, side)
        found = self._holdings.get(key)
        if found is None:
            found = self._holdings[key] = Holding(symbol, side)
        return found

    def sides(self) -> tuple[str, ...]:
        """Return the position sides of the current position mode."""
        return ("LONG", "SHORT") if self.hedge else ("BOTH",)

    def holdings(self, symbol: str) -> list[Holding]:
        """Return the positions of a symbol in the current mode, flat ones included."""
        return [self._holdings.get((symbol, side)) or Holding(symbol, side) for side in self.sides()]

    def open_holdings(self) -> list[Holding]:
        """Return the positions that are not flat, in the order they were first opened."""
        return [holding for holding in self._holdings.values() if holding.amount]

    def leverage(self, symbol: str) -> int:
        """Return the leverage a symbol is set to."""
        return self._leverage.get(symbol, DEFAULT_LEVERAGE)

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set the leverage of a symbol."""
        self._leverage[symbol] = leverage

    def isolated(self, symbol: str) -> bool:
        """Return whether a symbol's margin is isolated."""
        return symbol in self._isolated

    def set_isolated(self, symbol: str, isolated: bool) -> None:
        """Set the margin type of a symbol."""
        if isolated:
            self._isolated.add(symbol)
        else:
            self._isolated.discard(symbol)

    def cross_wallet(self) -> Money:
        """Return the wallet less what is locked in isolated positions."""
        return self.wallet - sum((h.isolated_wallet for h in self._holdings.values()), ZERO)
