"""What a risk measurement is: values with their level, source, window and age, as data that needs no numpy.

Decides when a value is a warning or critical. It measures nothing. A reading that cannot be computed is `Unavailable`
with its reason and has no level; it never counts as calm and never as an alarm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import PositionKey, RiskReadings
from tpctl.exits.units import Millis, Money, Price

Measured: TypeAlias = Decimal | Unavailable


class Level(StrEnum):
    """How bad a reading is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Marks:
    """From where on a reading is a warning, and from where critical (both exclusive); None never is."""

    warning: Decimal | None
    critical: Decimal | None

    def level(self, value: Measured) -> Level | None:
        """Return the level of a value; an unavailable one has none."""
        if isinstance(value, Unavailable):
            return None
        if self.critical is not None and value > self.critical:
            return Level.CRITICAL
        if self.warning is not None and value > self.warning:
            return Level.WARNING
        return Level.OK


# The first four stand where exit-rules 11 changes a plan. VaR and expected shortfall are shares of equity; open risk
# has the limit of learning 9 as its warning.
DEFAULT_MARKS: Mapping[str, Marks] = MappingProxyType(
    {
        "ess": Marks(Decimal("1.5"), Decimal("2.5")),
        "systemic": Marks(Decimal("0.6"), Decimal("0.8")),
        "correlation": Marks(Decimal("0.8"), None),
        "heat": Marks(Decimal("0.7"), None),
        "var_95": Marks(Decimal("0.05"), Decimal("0.10")),
        "es_95": Marks(Decimal("0.075"), Decimal("0.15")),
        "open_risk": Marks(Decimal("0.06"), Decimal("0.12")),
    }
)

# The readings the JSON contract names, in its order; the others stand beside them.
CONTRACT = ("ess", "systemic", "correlation", "heat", "var_95", "es_95")
# What exit-rules 11 takes.
EFFECTIVE = ("ess", "systemic", "correlation", "heat")


@dataclass(frozen=True, slots=True)
class Reading:
    """One measure. `age_ms` is that of the newest data in it, None where there is none.

    `parts` are the figures it was made of, in the order they are told.
    """

    name: str
    value: Measured
    source: str
    window: str
    age_ms: Millis | None
    parts: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PositionRisk:
    """One position against its stop and its liquidation, in daily standard deviations of log price.

    `component` is the position's share of the book's risk; `touch` the probability that price touches the stop within
    a day (exits.odds). `stop` is None where no stop rests.
    """

    key: PositionKey
    notional: Money
    volatility: Measured
    stop: Price | None
    stop_sigmas: Measured
    touch: Measured
    liquidation: Price | None
    liquidation_sigmas: Measured
    component: Measured


@dataclass(frozen=True, slots=True)
class RiskReport:
    """One measurement of market and book. `excluded` names the symbols left out of the basket, with the reason."""

    at: Millis
    readings: Mapping[str, Reading]
    positions: tuple[PositionRisk, ...]
    basket: tuple[str, ...]
    excluded: Mapping[str, str]

    def exit_readings(self) -> RiskReadings:
        """Return what exit-rules 11 takes."""
        return RiskReadings(*(self.readings[name].value for name in EFFECTIVE))


def nothing_measured(reason: str) -> RiskReadings:
    """Return readings of which none is available."""
    missing = Unavailable(reason)
    return RiskReadings(missing, missing, missing, missing)


def number(value: float) -> Decimal:
    """Return a float of the numerics as a decimal of nine significant digits."""
    return Decimal(format(float(value), ".9g"))


def short(value: Measured) -> Measured:
    """Return a value with the digits a reading has."""
    return value if isinstance(value, Unavailable) else number(float(value))
