"""What really happened: the exchange's own record, which checkers compare the tool's opinion with.

Only grows; decides nothing. Every row carries its event time.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from tpctl.exits.units import ZERO, Millis, Money, Price, Quantity


@dataclass(frozen=True, slots=True)
class FillRow:
    """One execution, with the signed position before and after it.

    `kind` is the type of the order the client placed (the conditional's, for an order born from one); `capped` tells
    that it was allowed to reduce only.
    """

    at: Millis
    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    position_side: str
    side: str
    kind: str
    quantity: Quantity
    price: Price
    fee: Money
    realised: Money
    maker: bool
    capped: bool
    before: Quantity
    after: Quantity


@dataclass(frozen=True, slots=True)
class Transition:
    """An order entered a state. `book` is `regular` or `algo`; `reason` is the exchange's, where it gave one."""

    at: Millis
    book: str
    symbol: str
    exchange_id: int
    client_id: str
    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FundingRow:
    """A funding payment; negative was paid."""

    at: Millis
    symbol: str
    position_side: str
    rate: Decimal
    amount: Money


@dataclass(frozen=True, slots=True)
class LiquidationRow:
    """A position the exchange closed by force."""

    at: Millis
    symbol: str
    position_side: str
    quantity: Quantity
    price: Price


@dataclass(frozen=True, slots=True)
class InsuranceRow:
    """A loss beyond the margin that the insurance fund took over."""

    at: Millis
    symbol: str
    amount: Money


@dataclass(frozen=True, slots=True)
class IncomeRow:
    """One line of the income history."""

    at: Millis
    symbol: str
    kind: str
    amount: Money
    info: str
    tran_id: int
    trade_id: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request the exchange refused."""

    at: Millis
    code: int
    endpoint: str
    params: dict[str, str]


@dataclass(slots=True)
class Ledger:
    """All rows since the twin was started, oldest first. `opening_wallet` is what it started with."""

    opening_wallet: Money
    fills: list[FillRow] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    funding: list[FundingRow] = field(default_factory=list)
    liquidations: list[LiquidationRow] = field(default_factory=list)
    insurance: list[InsuranceRow] = field(default_factory=list)
    income: list[IncomeRow] = field(default_factory=list)

    def expected_wallet(self) -> Money:
        """Return the wallet the rows add up to: opening + realised - fees + funding + insurance."""
        return (
            self.opening_wallet
            + sum((row.realised - row.fee for row in self.fills), ZERO)
            + sum((row.amount for row in self.funding), ZERO)
            + sum((row.amount for row in self.insurance), ZERO)
        )
