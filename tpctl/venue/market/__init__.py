"""Where the twin's prices come from: recordings, or a seeded synthetic market."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from tpctl.exits.units import Millis
from tpctl.market.bars import BarSeries
from tpctl.venue.quotes import MarketStep


class Market(Protocol):
    """A source of prices. The same source tells the same story every time it is asked."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols it quotes."""
        ...

    @property
    def start_ms(self) -> Millis:
        """The time of the first step."""
        ...

    @property
    def end_ms(self) -> Millis | None:
        """The time the market ends, None where it never does."""
        ...

    @property
    def step_ms(self) -> int:
        """The time between steps."""
        ...

    def steps(self) -> Iterator[MarketStep]:
        """Yield the steps in order."""
        ...

    def history(self, symbol: str) -> Sequence[BarSeries]:
        """Return the bars before the start, from coarse to fine, each series beginning where the one before ends."""
        ...
