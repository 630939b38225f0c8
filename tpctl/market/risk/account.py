"""The account's own risk: its part of the effective stress score, and what its stops would cost.

The account part of the score is 1.25 raised to u / 50 % + d / 10 % + e / 10 with u the initial margin over equity, d
the open loss over the balance before it, and e the gross notional over equity, each quotient held within 0 to 4. A
flat account has 1. Its reference points are ours: there is no published scale.

A position is an exposure: its notional with the sign of its side. Pure Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import PositionKey
from tpctl.exits.units import ZERO, Money, Price, Quantity

_ACCOUNT_STEP = Decimal("1.25")
_MARGIN_MARK = Decimal("0.5")
_DRAWDOWN_MARK = Decimal("0.10")
_EXPOSURE_MARK = Decimal(10)
_MOST = Decimal(4)


@dataclass(frozen=True, slots=True)
class Exposure:
    """An open position as risk sees it. `stop` is the one that rests; None means that there is none."""

    key: PositionKey
    quantity: Quantity
    mark: Price
    entry: Price
    stop: Price | None = None
    liquidation: Price | None = None

    @property
    def notional(self) -> Money:
        """Value at the mark, signed by side."""
        return self.key.side.sign * self.quantity * self.mark

    @property
    def stop_loss(self) -> Money | None:
        """What the position loses from the mark to its stop; zero where the stop lies beyond the mark."""
        if self.stop is None:
            return None
        return max(ZERO, self.key.side.sign * (self.mark - self.stop) * self.quantity)


@dataclass(frozen=True, slots=True)
class Account:
    """What the account part takes. `equity` is the balance with open PnL; money in the margin asset."""

    equity: Money
    unrealised: Money
    initial_margin: Money
    gross_notional: Money

    @property
    def flat(self) -> bool:
        """Whether nothing is open."""
        return self.gross_notional == ZERO

    @property
    def margin_utilisation(self) -> Decimal:
        """Initial margin over equity."""
        return self.initial_margin / self.equity

    @property
    def drawdown(self) -> Decimal:
        """The open loss over the balance before it; zero where the book is in profit."""
        return max(ZERO, -self.unrealised) / (self.equity - min(ZERO, self.unrealised))

    @property
    def exposure(self) -> Decimal:
        """Gross notional over equity."""
        return self.gross_notional / self.equity


def account_stress(account: Account | Unavailable) -> Decimal | Unavailable:
    """Return the account part: 1 for a flat account, growing with margin, open loss and exposure."""
    if isinstance(account, Unavailable):
        return account
    if account.flat:
        return Decimal(1)
    if account.equity <= ZERO:
        return Unavailable(f"equity {account.equity} is not above zero")
    steps = sum(
        (
            min(max(value / mark, ZERO), _MOST)
            for value, mark in (
                (account.margin_utilisation, _MARGIN_MARK),
                (account.drawdown, _DRAWDOWN_MARK),
                (account.exposure, _EXPOSURE_MARK),
            )
        ),
        ZERO,
    )
    return Decimal(_ACCOUNT_STEP**steps)


def open_risk(exposures: Sequence[Exposure], equity: Money | Unavailable) -> Decimal | Unavailable:
    """Return what is lost over equity if every stop fills at its level; unavailable where a position has no stop."""
    if isinstance(equity, Unavailable):
        return equity
    if equity <= ZERO:
        return Unavailable(f"equity {equity} is not above zero")
    total = ZERO
    for exposure in exposures:
        loss = exposure.stop_loss
        if loss is None:
            return Unavailable(f"{exposure.key} has no resting stop")
        total += loss
    return total / equity
