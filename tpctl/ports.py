"""What the engine needs from the world, as protocols. Adapters implement them; tests implement them as fakes.

The read-only account has no order methods. `Exchange.submit` takes only what the guard admitted.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from tpctl.exits.instrument import Bracket, Instrument, Unavailable
from tpctl.exits.intents import OrderIntent
from tpctl.exits.model import Book, Fill, LiveOrder, MarginMode, Note, Position, PositionMode, RiskReadings
from tpctl.exits.units import Millis, Money, Price, Ratio

if TYPE_CHECKING:
    # The reducer's records: a command that only plans has no use for them.
    from tpctl.exits.episode import State
    from tpctl.exits.events import Answer, Event


@dataclass(frozen=True, slots=True)
class Candle:
    """One closed bar: open time in ms UTC, prices and volumes in quote units as floats (numerics only)."""

    at: Millis
    open: float
    high: float
    low: float
    close: float
    quote_volume: float


@dataclass(frozen=True, slots=True)
class SymbolConfig:
    """Leverage and margin mode of a symbol as the exchange holds them."""

    symbol: str
    leverage: Decimal
    margin: MarginMode


@dataclass(frozen=True, slots=True)
class Wallet:
    """Balances of the margin asset: cross wallet, and all positions' maintenance margin and open PnL."""

    asset: str
    cross_wallet: Money
    available: Money
    maintenance_margin: Money
    unrealised: Money


@dataclass(frozen=True, slots=True)
class Fees:
    """Commission rates of a symbol, as fractions of notional."""

    maker: Ratio
    taker: Ratio


@dataclass(frozen=True, slots=True)
class Premium:
    """Mark price of a symbol, the exchange's estimate of its next funding rate, and when that is paid (ms UTC)."""

    mark: Price
    funding_rate: Ratio | Unavailable
    next_funding_at: Millis | Unavailable


@dataclass(frozen=True, slots=True)
class FundingFee:
    """One funding payment as the account shows it: negative was paid, positive received."""

    symbol: str
    amount: Money
    at: Millis


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What an API key may do. `moves_funds` is any right to withdraw or to transfer out of the account."""

    moves_funds: bool
    trades_futures: bool
    bound_to_ip: bool


@dataclass(frozen=True, slots=True)
class Holdings:
    """The open positions as of one read, and the mode they are held in."""

    mode: PositionMode
    positions: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """An intent the guard let through. Only `engine.guard` builds these."""

    intent: OrderIntent
    mode: PositionMode


class Clock(Protocol):
    """Event time: the exchange's, in ms UTC."""

    def now(self) -> Millis:
        """Return the current event time."""
        ...


class AccountReader(Protocol):
    """Everything that can be read; nothing that can be changed.

    Every method raises `UnavailableError` when the read failed or timed out (a failed read is unknown, never empty),
    `RateLimitedError` on 429/418, `CredentialsError` on a key problem.
    """

    async def server_time(self) -> Millis:
        """Return the exchange's clock."""
        ...

    async def position_mode(self) -> PositionMode:
        """Return one-way or hedge."""
        ...

    async def positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        """Return the open positions; flat ones are left out."""
        ...

    async def holdings(self) -> Holdings:
        """Return the open positions and the position mode they are held in."""
        ...

    async def open_orders(self, symbol: str | None = None) -> tuple[LiveOrder, ...]:
        """Return the open orders of both books."""
        ...

    async def find_order(self, symbol: str, client_id: str, book: Book) -> LiveOrder | None:
        """Return the order with this client id, or None where the exchange knows of none."""
        ...

    async def fills(self, symbol: str, since: Millis) -> tuple[Fill, ...]:
        """Return the account's executions of a symbol since a time, oldest first."""
        ...

    async def symbol_config(self, symbol: str) -> SymbolConfig | Unavailable:
        """Return leverage and margin mode."""
        ...

    async def wallet(self, asset: str) -> Wallet | Unavailable:
        """Return the balances of a margin asset."""
        ...

    async def fees(self, symbol: str) -> Fees | Unavailable:
        """Return the account's commission rates."""
        ...

    async def instruments(self) -> dict[str, Instrument]:
        """Return the trading rules of every symbol."""
        ...

    async def brackets(self, symbol: str) -> tuple[Bracket, ...] | Unavailable:
        """Return the leverage brackets of a symbol."""
        ...

    async def candles(self, symbol: str, interval: str, limit: int) -> tuple[Candle, ...]:
        """Return the newest closed candles, oldest first; the open candle is left out."""
        ...

    async def quote_volume(self, symbol: str) -> Money | Unavailable:
        """Return the 24 h quote volume."""
        ...


class Exchange(AccountReader, Protocol):
    """An account that can also be acted on, through the guard only."""

    async def submit(self, admitted: Admitted) -> "Answer":
        """Send one admitted intent; never raises for what the exchange answers, the outcome says it."""
        ...


class Feed(Protocol):
    """Market and user events, in arrival order, surviving disconnects.

    After every reconnect or error the feed yields `StreamLost`, and the engine reads the account again.
    """

    def events(self) -> AsyncIterator[Sequence["Event"]]:
        """Yield batches of events: whatever arrived together."""
        ...

    async def close(self) -> None:
        """Close all sockets."""
        ...


class RiskMeter(Protocol):
    """Measured risk, kept ready: `current` never waits, `refresh` does the work; a failed read raises nothing."""

    def due(self) -> bool:
        """Whether it is time to measure again."""
        ...

    def current(self) -> RiskReadings:
        """Return the newest readings; unavailable where there are none, or where they are too old."""
        ...

    async def refresh(self) -> object:
        """Measure now."""
        ...


class Adviser(Protocol):
    """A learned policy beside the loop: asked at each close, heard through the same guard as everybody."""

    def news(self) -> Sequence[Note]:
        """Return which policy is used, where that was not told yet."""
        ...

    def see(self, notes: Sequence[Note]) -> Sequence[Note]:
        """Measure the policy by what happened; return what is to be told where that takes it out of use."""
        ...

    def due(self) -> bool:
        """Whether a candle has closed that it was not asked about."""
        ...

    async def advise(self, state: Callable[[], "State"]) -> tuple[Sequence[Note], Sequence["Event"]]:
        """Return what it says of the guarded positions, and what it asks for; a failed read raises nothing."""
        ...
