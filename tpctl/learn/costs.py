"""What trading costs in the simulator: fees, slippage as it was measured, funding and latency.

Slippage is drawn for each position from measured fractions of price, adverse above zero; where nothing was measured a
constant stands in and says so in `measured`. One seed gives one draw, whatever is replayed with it, so that policies
are compared on the same luck.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tpctl.exits.errors import InputsError

Floats = NDArray[np.float64]

# Binance USD-M, VIP 0, 2025: taker 0.05 %, maker 0.02 % (binance-usdm 4.8).
TAKER = 0.0005
# Assumed until fills were measured: a hundredth of a percent of price.
ASSUMED_SLIPPAGE = 0.0001


@dataclass(frozen=True, slots=True)
class Slippage:
    """Measured slippage by what caused the fill, as fractions of price, adverse above zero; at least one of each."""

    stop: tuple[float, ...] = (ASSUMED_SLIPPAGE,)
    target: tuple[float, ...] = (ASSUMED_SLIPPAGE,)
    market: tuple[float, ...] = (ASSUMED_SLIPPAGE,)
    measured: bool = False

    def __post_init__(self) -> None:
        for name in ("stop", "target", "market"):
            values = getattr(self, name)
            if not values or not all(-0.5 < value < 0.5 for value in values):
                raise InputsError(f"{name} slippage is empty or not a fraction of price", "give fractions such as 1e-4")

    def times(self, factor: float) -> "Slippage":
        """Return every value times `factor`."""
        stop, target, market = (
            tuple(value * factor for value in values) for values in (self.stop, self.target, self.market)
        )
        return Slippage(stop, target, market, self.measured)

    @property
    def causes(self) -> tuple[tuple[float, ...], ...]:
        """The values of stops, targets and market orders, in this order."""
        return self.stop, self.target, self.market


@dataclass(frozen=True, slots=True)
class Costs:
    """Fees as fractions of notional for entry and exits, slippage, latency in candles (at least 1), funding or not.

    `own` is the slippage of symbols that were measured by themselves; any other symbol meets the common one.
    """

    fee_in: float = TAKER
    fee_out: float = TAKER
    slippage: Slippage = field(default_factory=Slippage)
    own: Mapping[str, Slippage] = field(default_factory=dict)
    latency: int = 1
    funding: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0.0 <= self.fee_in < 0.1 and 0.0 <= self.fee_out < 0.1):
            raise InputsError("a fee is not a fraction of notional from 0 to 10 %", "give fractions such as 0.0005")
        if self.latency < 1:
            raise InputsError(f"latency '{self.latency}' is below one candle", "a decision takes effect a candle later")

    def scaled(self, factor: float) -> "Costs":
        """Return the same with fees and slippage times `factor`, for stress."""
        own = {symbol: slippage.times(factor) for symbol, slippage in self.own.items()}
        paid = replace(self, fee_in=self.fee_in * factor, fee_out=self.fee_out * factor)
        return replace(paid, slippage=self.slippage.times(factor), own=own)

    def slipped(self, factor: float) -> "Costs":
        """Return the same with slippage alone times `factor`."""
        return replace(self.scaled(factor), fee_in=self.fee_in, fee_out=self.fee_out)

    def later(self, steps: int = 1) -> "Costs":
        """Return the same with more latency."""
        return replace(self, latency=self.latency + steps)

    def draw(self, started_at: NDArray[np.int64], symbol: NDArray[np.int64], names: Sequence[str] = ()) -> Floats:
        """Return slippage of shape (3, n): of stops, targets and market orders of each position.

        `symbol` indexes `names`; without names every position meets the common slippage.

        Which measured value a position meets depends on the seed, its time and its symbol, and not on its place in the
        arrays, so that a part of the episodes meets what it met in the whole.
        """
        own = [(index, self.own[name]) for index, name in enumerate(names) if name in self.own]
        common = self.slippage.causes
        if not own and all(len(values) == 1 for values in common):
            return np.repeat(np.array(common), len(started_at), axis=1)
        with np.errstate(over="ignore"):
            mixed = started_at.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= symbol.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
            mixed += np.uint64(self.seed) * np.uint64(0x165667B19E3779F9)
            rows = []
            for cause, values in enumerate(common):
                mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                mixed ^= mixed >> np.uint64(31)
                row = _picked(values, mixed)
                for index, slippage in own:
                    mine = symbol == index
                    row[mine] = _picked(slippage.causes[cause], mixed[mine])
                rows.append(row)
        return np.stack(rows)


def _picked(values: Sequence[float], mixed: NDArray[np.uint64]) -> Floats:
    picked: Floats = np.asarray(values)[(mixed % np.uint64(len(values))).astype(np.int64)]
    return picked
