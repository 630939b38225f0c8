"""What a `risk` command line can ask for, as records, and how its values are spelled."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from tpctl.cli.options import Format, SharedOptions, parse_number
from tpctl.exits.errors import UsageError
from tpctl.exits.units import Millis

COLUMNS = ("reading", "value", "level", "age_ms", "window", "source", "unavailable_reason")
PLOT_SUFFIXES = (".svg", ".html", ".png")
DEFAULT_DAYS = 90
_LEAST_DAYS = 21
_MOST_DAYS = 1500


@dataclass(frozen=True, slots=True)
class RiskOptions:
    """A `risk` command line, read and checked. `level` is that of value at risk, a fraction."""

    symbols: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    inputs: str | None = None
    data: tuple[Path, ...] = ()
    funding: tuple[Path, ...] = ()
    at: Millis | None = None
    window_days: int = DEFAULT_DAYS
    level: Decimal = Decimal("0.95")
    backtest: bool = False
    stress: str | None = None
    plot: Path | None = None
    warn: tuple[str, ...] = ()
    crit: tuple[str, ...] = ()
    explain: bool = False
    check: bool = False
    nagios: bool = False
    venue: str | None = None
    shared: SharedOptions = field(default_factory=SharedOptions)
    format: Format = Format.TABLE
    fields: tuple[str, ...] = COLUMNS

    def __post_init__(self) -> None:
        modes = [name for name, given in (("--backtest", self.backtest), ("--stress", self.stress)) if given]
        if len(modes) > 1:
            raise UsageError("--backtest and --stress contradict each other", "give one of them")
        if modes and (self.check or self.nagios):
            raise UsageError(f"{modes[0]} has no level to check", "leave --check and --nagios out")
        if self.at is not None and not self.data:
            raise UsageError("--at needs recorded candles", "name them with --data FILE")
        if self.funding and not self.backtest:
            raise UsageError("--funding is for --backtest", "add --backtest, or leave it out")
        if self.nagios and self.format is not Format.TABLE:
            raise UsageError("--nagios has a format of its own", "leave --json and --format out")
        if self.plot is not None and self.plot.suffix not in PLOT_SUFFIXES:
            raise UsageError(
                f"plot {str(self.plot)!r} is of no known kind", f"name a file that ends in {', '.join(PLOT_SUFFIXES)}"
            )
        if not _LEAST_DAYS <= self.window_days <= _MOST_DAYS:
            raise UsageError(
                f"a window of {self.window_days} days is out of range", f"give {_LEAST_DAYS}d to {_MOST_DAYS}d"
            )


def parse_level(text: str) -> Decimal:
    """Read a level in percent, such as 95, as a fraction."""
    value = parse_number(text.strip().removesuffix("%"))
    if not 80 <= value < 100:
        raise UsageError(f"level {text!r} is not from 80 to below 100", "write --var 95, or --var 99.5")
    return value / 100
