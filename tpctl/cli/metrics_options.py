"""What a `metrics` command line can ask for, as records, and how its values are spelled."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from tpctl.cli.options import Format, SharedOptions, parse_instant, parse_length, parse_ratio
from tpctl.exits.errors import UsageError
from tpctl.exits.statistics import Dimension
from tpctl.exits.targets import Targets
from tpctl.exits.units import Millis
from tpctl.views.metrics_report import FIELDS, TABLE_FIELDS

# exit-rules 13: fewer attempts say nothing.
MIN_ATTEMPTS = 10
DIMENSIONS = frozenset(dimension.value for dimension in Dimension)


class Export(StrEnum):
    """What is exported: attempts as CSV or Parquet, or figures for Prometheus."""

    CSV = "csv"
    PARQUET = "parquet"
    PROM = "prom"


class Heat(StrEnum):
    """What a heat map shows beside the symbol."""

    DISTANCE = "distance"
    HOUR = "hour"
    WEEKDAY = "weekday"


@dataclass(frozen=True, slots=True)
class Since:
    """From when on attempts count: a time in ms UTC, or an age in ms."""

    at: Millis | None = None
    age_ms: Millis | None = None


@dataclass(frozen=True, slots=True)
class Grouping:
    """What rows are grouped by."""

    dimensions: tuple[Dimension, ...]


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a comparison: a strategy, an arm of an experiment (`experiment/arm`), or a period.

    Of a period `since` is inclusive and `until` exclusive, ms UTC.
    """

    text: str
    since: Millis | None = None
    until: Millis | None = None

    @property
    def period(self) -> bool:
        """Whether it is a period."""
        return self.since is not None

    @property
    def drawn(self) -> bool:
        """Whether it is an arm of an experiment."""
        return not self.period and "/" in self.text


@dataclass(frozen=True, slots=True)
class MetricsOptions:
    """A `metrics` command line, read and checked. At most one of the actions is set; none shows the table."""

    shared: SharedOptions = field(default_factory=SharedOptions)
    file: Path | None = None
    since: Since | None = None
    by: tuple[Dimension, ...] = (Dimension.STRATEGY, Dimension.SYMBOL)
    strategies: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    min_attempts: int = MIN_ATTEMPTS
    sort: str | None = None
    trend: bool = False
    feedback: bool = False
    show_targets: bool = False
    targets: Targets = field(default_factory=Targets)
    check: bool = False
    nagios: bool = False
    heatmap: Heat | None = None
    plot: Path | None = None
    compare: tuple[Arm, Arm] | None = None
    export: Export | None = None
    output: Path | None = None
    report: Path | None = None
    record: Path | None = None
    verify: bool = False
    rebuild: bool = False
    settle: bool = False
    data: tuple[Path, ...] = ()
    venue: str | None = None
    merge: tuple[Path, ...] = ()
    format: Format = Format.TABLE
    fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        actions = self.actions()
        if len(actions) > 1:
            raise UsageError(f"{actions[0]} and {actions[1]} contradict each other", "give one of them")
        if self.export is Export.PARQUET and self.output is None:
            raise UsageError("--export parquet needs a file", "add --output FILE")
        if self.output is not None and self.export is None:
            raise UsageError("--output does nothing without --export", "add --export csv, parquet or prom")
        if not self.settle and (self.data or self.venue is not None):
            raise UsageError("--data and --venue say where --settle has its candles from", "add --settle")
        if self.data and self.venue is not None:
            raise UsageError("--data and --venue contradict each other", "give one of them")
        if Dimension.REASON in self.by and (self.check or self.nagios or self.show_targets):
            raise UsageError(
                "a hit rate by reason says nothing: a reason is a hit, or it is a miss", "leave reason out of --by"
            )
        if self.plot is not None and self.plot.suffix not in {".svg", ".html", ".png"}:
            raise UsageError(f"cannot plot to {str(self.plot)!r}", "give a file that ends in .svg, .html or .png")
        if self.merge and (self.report or self.trend or self.export in {Export.CSV, Export.PARQUET}):
            raise UsageError("--merge shows figures only", "leave --report, --trend and --export csv or parquet out")
        if self.merge and self.file is not None:
            raise UsageError("--merge and --file contradict each other", "name every file after its own --merge")

    def actions(self) -> list[str]:
        """Return the options given that each ask for something of their own."""
        given = {
            "--record": self.record is not None,
            "--verify": self.verify,
            "--rebuild": self.rebuild,
            "--settle": self.settle,
            "--compare": self.compare is not None,
            "--export": self.export is not None,
            "--report": self.report is not None,
            "--feedback": self.feedback,
            "--targets": self.show_targets,
            "--nagios": self.nagios,
            "--heatmap": self.heatmap is not None,
        }
        return [name for name, present in given.items() if present]


def parse_since(text: str) -> Since:
    """Read a date, a time, or an age such as `7d`."""
    if text[:1].isdigit() and text[-1:] in {"s", "m", "h", "d"}:
        return Since(age_ms=parse_length(text))
    return Since(at=parse_instant(text))


def parse_by(text: str) -> Grouping:
    """Read dimensions separated by commas."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    unknown = next((name for name in names if name not in DIMENSIONS), None)
    if unknown is not None or not names:
        raise UsageError(f"cannot group by {unknown or text!r}", f"choose from: {', '.join(Dimension)}")
    return Grouping(tuple(dict.fromkeys(Dimension(name) for name in names)))


def parse_arm(text: str) -> Arm:
    """Read a strategy's name, or a period `2025-01-01..2025-02-01`."""
    start, dots, end = text.partition("..")
    if not dots:
        return Arm(text)
    since, until = parse_instant(start), parse_instant(end)
    if until <= since:
        raise UsageError(f"period {text!r} ends before it begins", "write it as 2025-01-01..2025-02-01")
    return Arm(text, since, until)


def parse_share(text: str) -> Decimal:
    """Read a share between 0 and 1, as a ratio with its unit."""
    value = parse_ratio(text).fraction
    if not 0 <= value <= 1:
        raise UsageError(f"target {text!r} is not between 0% and 100%", "write it as 75%")
    return value


def parse_count(text: str) -> int:
    """Read a count from 1."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) >= 1):
        raise UsageError(f"count {text!r} is not a number from 1", "write a number such as 30")
    return int(text)


def fields_of(options: MetricsOptions) -> tuple[str, ...]:
    """Return the fields to print: those asked for, else what the format shows."""
    if options.fields is not None:
        return options.fields
    return TABLE_FIELDS if options.format is Format.TABLE else FIELDS
