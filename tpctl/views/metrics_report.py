"""What `metrics` shows, as data: rows of sums, the figures they give, and why a figure is not there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.adapters.metrics_positions import Amounts, Charges, Excursions, InHindsight
from tpctl.adapters.metrics_query import Closes, Spread
from tpctl.exits.instrument import Unavailable
from tpctl.exits.statistics import Dimension, Tally
from tpctl.exits.targets import Finding, Level, Targets, worst
from tpctl.exits.units import Millis

if TYPE_CHECKING:
    from tpctl.market.incidence import Incidence

# The names --fields and --sort take, in the order of the default output; those of the metrics file keep its words.
FIELDS = (
    "tp_attempts",
    "tp_open",
    "tp_hits",
    "tp_misses",
    "tp_hit_rate",
    "hit_rate_low",
    "hit_rate_high",
    "avg_slippage_pct",
    "max_slippage_pct",
    "mean_signed_slippage_pct",
    "avg_time_to_tp_minutes",
    "fastest_tp_minutes",
    "slowest_tp_minutes",
    "total_tp_profit_usd",
    "avg_tp_profit_usd",
    "profit_usd",
    "avg_profit_usd",
    "avg_r",
    "avg_profit_share",
    "avg_roi",
    "premature_exits",
    "premature_judged",
    "premature_exit_rate",
    "missed_opportunities_usd",
    "last_updated",
)

TABLE_FIELDS = (
    "tp_attempts",
    "tp_open",
    "tp_hit_rate",
    "hit_rate_low",
    "hit_rate_high",
    "avg_slippage_pct",
    "avg_time_to_tp_minutes",
    "profit_usd",
    "avg_r",
    "premature_exits",
)

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_GROUP_KEYS = {Dimension.STRATEGY: "strategy_id", Dimension.SIDE: "position_side"}

_GIVEN = frozenset({Dimension.STRATEGY, Dimension.SYMBOL, Dimension.ARM})

_NO_HITS = frozenset(
    {
        *("avg_slippage_pct", "max_slippage_pct", "mean_signed_slippage_pct", "avg_tp_profit_usd"),
        *("avg_time_to_tp_minutes", "fastest_tp_minutes", "slowest_tp_minutes"),
    }
)

# What a metrics file says nothing of.
_NOT_IN_FILE = frozenset(
    {"profit_usd", "avg_profit_usd", "avg_r", "avg_profit_share", "avg_roi", "premature_judged", "tp_open"}
)
NOT_IN_FILE = Unavailable("a metrics file does not hold it")

_NO_MID = "no book was read after an execution: watch reads it when it hears of one, and none can be read later"
_NOT_READ = "the account's history was read for no closed position yet: watch does minutes after a close, see --settle"
_NOT_TOLD = "the account's history does not tell it of any closed position"


@dataclass(frozen=True, slots=True)
class Row:
    """One group: its values in the order of the report's dimensions, its sums, how many attempts are still open.

    `from_file` says that the sums come from a metrics file, which knows the profit of hits only.
    """

    group: tuple[str | int, ...]
    tally: Tally
    waiting: int | Unavailable
    findings: tuple[Finding, ...] = ()
    trend: tuple[tuple[int, int], ...] = ()
    from_file: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """What the journal tells beside the attempts; a metrics file has none of it."""

    slippage: Spread | None
    stop_slippage: Mapping[str, Spread]
    naked_ms: tuple[int, int, int, int] | None
    closes: Closes
    stop_moves: Mapping[str, int]
    incidence: "Incidence | None"
    excursions: Excursions
    latency_ms: Mapping[str, Spread]
    hindsight: InHindsight
    charges: Charges
    mid_slippage: Mapping[str, Spread] = field(default_factory=dict)
    mid_late_ms: Spread | None = None


@dataclass(frozen=True, slots=True)
class MetricsReport:
    """One run's result. `rest` is unavailable where only a metrics file was read."""

    by: tuple[Dimension, ...]
    rows: tuple[Row, ...]
    totals: Row
    source: str
    min_attempts: int
    targets: Targets
    rest: Rest | Unavailable
    span: tuple[Millis, Millis] | None = None
    trend_bucket_ms: Millis = 0
    warnings: tuple[tuple[str, str], ...] = field(default_factory=tuple)

    @property
    def level(self) -> Level:
        """The worst level of all rows."""
        return worst(finding for row in self.rows for finding in row.findings)


def slippages(rest: Rest) -> list[tuple[str, str, Spread]]:
    """Return the slippage of every kind of order, each with what it is against: the trigger, or the mid."""
    found = [] if rest.slippage is None else [("take_profit", "trigger", rest.slippage)]
    found += [(name, "trigger", spread) for name, spread in rest.stop_slippage.items()]
    return found + [(name, "mid", spread) for name, spread in rest.mid_slippage.items()]


def charged(rest: Rest) -> Mapping[str, Amounts | Unavailable]:
    """Return what positions cost beside the fees of their exits by the contract's words, or why it is not known."""
    charges = rest.charges
    missing = Unavailable(_NOT_TOLD if charges.read else _NOT_READ)
    named = {"funding_usd": charges.funding, "entry_fees_usd": charges.entry_fees, "net_pnl_usd": charges.net}
    return {name: missing if amounts is None else amounts for name, amounts in named.items()}


def not_recorded(report: MetricsReport) -> Mapping[str, str]:
    """Return what this report cannot tell, with the reason."""
    if isinstance(report.rest, Unavailable):
        return {}
    told = {"slippage_to_mid": to_mid(report.rest), **charged(report.rest)}
    return {
        name: value.reason for name, value in told.items() if isinstance(value, Unavailable) and name != "net_pnl_usd"
    }


def to_mid(rest: Rest) -> Spread | Unavailable:
    """Return how long after executions the books were read whose mid they are held against, or why there is none."""
    return Unavailable(_NO_MID) if rest.mid_late_ms is None else rest.mid_late_ms


def value_of(row: Row, name: str) -> Decimal | int | Unavailable:
    """Return one figure of a row; unavailable with the reason where there is none."""
    tally = row.tally
    if row.from_file and name in _NOT_IN_FILE:
        return NOT_IN_FILE
    if name == "tp_open":
        return row.waiting
    if name in {"hit_rate_low", "hit_rate_high"}:
        interval = tally.hit_interval
        return interval if isinstance(interval, Unavailable) else interval[name == "hit_rate_high"]
    value = _FIGURES[name](tally)
    return Unavailable(_why(name, tally)) if value is None else value


_FIGURES: Mapping[str, Callable[[Tally], Decimal | int | None]] = {
    "tp_attempts": lambda tally: tally.attempts,
    "tp_hits": lambda tally: tally.hits,
    "tp_misses": lambda tally: tally.misses,
    "tp_hit_rate": lambda tally: tally.hit_rate,
    "avg_slippage_pct": lambda tally: tally.average_slippage,
    "max_slippage_pct": lambda tally: tally.largest_slippage,
    "mean_signed_slippage_pct": lambda tally: tally.signed_slippage,
    "avg_time_to_tp_minutes": lambda tally: tally.average_minutes,
    "fastest_tp_minutes": lambda tally: tally.fastest_minutes,
    "slowest_tp_minutes": lambda tally: tally.slowest_minutes,
    "total_tp_profit_usd": lambda tally: tally.hit_profit,
    "avg_tp_profit_usd": lambda tally: tally.average_hit_profit,
    "profit_usd": lambda tally: tally.total_profit,
    "avg_profit_usd": lambda tally: tally.average_profit,
    "avg_r": lambda tally: tally.average_r,
    "avg_profit_share": lambda tally: tally.average_share,
    "avg_roi": lambda tally: tally.average_roi,
    "premature_exits": lambda tally: tally.premature,
    "premature_judged": lambda tally: tally.judged,
    "premature_exit_rate": lambda tally: tally.premature_rate,
    "missed_opportunities_usd": lambda tally: tally.missed_usd,
    "last_updated": lambda tally: tally.updated if tally.attempts else None,
}


def _why(name: str, tally: Tally) -> str:
    if not tally.attempts:
        return "no finished attempts"
    if name in _NO_HITS:
        return "no hits"
    if name == "avg_r":
        return "the first stop of these positions is not on record"
    return "the leverage of these positions is not on record"


def shown_group(dimension: Dimension, value: str | int) -> str:
    """Return a group's value for people."""
    if dimension is Dimension.HOUR:
        return f"{value:02}:00"
    if dimension is Dimension.WEEKDAY:
        return _WEEKDAYS[int(value)]
    if dimension is Dimension.LEG:
        return f"TP{value}"
    if dimension is Dimension.DISTANCE:
        return f"{Decimal(value) / 2}%"
    text = str(value) or "n/a"
    # Names that somebody gave stand as they were given.
    return text if dimension in _GIVEN else text.replace("_", "-")


def group_key(dimension: Dimension) -> str:
    """Return the JSON key of a dimension."""
    return _GROUP_KEYS.get(dimension, dimension.value)
