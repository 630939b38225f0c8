"""What the market tells the twin: the prices of one instant.

Decides nothing. Prices are `Decimal`, time is the exchange's, in ms UTC; time never comes from anywhere else.
"""

from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.units import ZERO, Millis, Price, Quantity


@dataclass(frozen=True, slots=True)
class Quote:
    """The last trade and the mark price of one symbol; `volume` is the base quantity traded since the step before."""

    symbol: str
    last: Price
    mark: Price
    volume: Quantity = ZERO


@dataclass(frozen=True, slots=True)
class MarketStep:
    """Everything that changed at one instant. Symbols that did not move may be left out.

    `funding_rates` are rates (fraction per interval) that hold from this step on, for replaying recorded funding.
    """

    at: Millis
    quotes: tuple[Quote, ...]
    funding_rates: tuple[tuple[str, Decimal], ...] = ()
