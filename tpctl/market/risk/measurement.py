"""What a measurement is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Millis
from tpctl.market.bars import MINUTE_MS
from tpctl.market.risk.account import Account, Exposure
from tpctl.market.risk.prices import Panel
from tpctl.market.risk.value_at_risk import WINDOW_DAYS

# The level the JSON contract names: var_95, es_95.
CONTRACT_LEVEL = Decimal("0.95")

# Two candles and a minute to fetch them in.
_FRESH_CANDLES = 2
_FETCH_MS = MINUTE_MS


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is measured. `funding` is what a long pays over a day as a fraction of notional, by symbol.

    Value at risk is always measured at 95 %, and at `level` where that is another one.
    """

    panel: Panel | Unavailable
    exposures: Sequence[Exposure] | Unavailable
    account: Account | Unavailable
    at: Millis
    level: Decimal = CONTRACT_LEVEL
    funding: Mapping[str, Decimal] | Unavailable = field(default=Unavailable("funding rates were not read"))
    source: str = "candles"
    window_days: int = WINDOW_DAYS

    @property
    def fresh(self) -> Panel | Unavailable:
        """The candles, unless they are too old to speak of now."""
        if isinstance(self.panel, Unavailable):
            return self.panel
        age = self.at - self.panel.newest
        if age > _FRESH_CANDLES * self.panel.interval_ms + _FETCH_MS:
            return Unavailable(f"the newest candle closed {age // MINUTE_MS} min ago")
        return self.panel

    @property
    def age_ms(self) -> Millis | None:
        """How long ago the newest candle closed."""
        return max(0, self.at - self.panel.newest) if isinstance(self.panel, Panel) else None

    @property
    def told_source(self) -> str:
        """Where the market's readings come from, in words."""
        if isinstance(self.panel, Unavailable):
            return self.source
        return f"{self.panel.interval_ms // MINUTE_MS}m {self.source} of {len(self.panel.symbols)} symbols"
