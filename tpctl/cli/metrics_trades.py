"""The trades the report draws: what the journal holds of the positions that lost most."""

from decimal import Decimal

from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.metrics_query import Closed, MetricsQuery, Selection
from tpctl.exits.model import Attempt
from tpctl.views.metrics_page import Trade
from tpctl.views.metrics_svg import Point


def worst_trades(scan: JournalScan, query: MetricsQuery, chosen: Selection, count: int) -> tuple[Trade, ...]:
    """Return the closed positions that lost most, with their marks, levels and exits as far as they are on record."""
    return tuple(_trade(scan, query, closed) for closed in query.worst(chosen, count) if closed.pnl < 0)


def _trade(scan: JournalScan, query: MetricsQuery, closed: Closed) -> Trade:
    found = [scan.attempt(row) for row in query.legs(closed)]
    attempts = [attempt for attempt in found if attempt is not None]
    marks: list[Point] = []
    if closed.opened_at is not None:
        marks = scan.marks_between(closed.key, closed.opened_at, closed.at)
    exits = dict.fromkeys((attempt.exit_time, attempt.exit_price) for attempt in attempts)
    if not exits and closed.average_exit is not None:
        exits[closed.at, closed.average_exit] = None
    return Trade(closed, tuple(marks), _levels(closed, attempts), tuple(sorted(exits)))


def _levels(closed: Closed, attempts: list[Attempt]) -> tuple[tuple[str, str, Decimal], ...]:
    levels: list[tuple[str, str, Decimal]] = []
    if closed.entry is not None:
        levels.append(("entry", "entry", closed.entry))
    if closed.stop is not None:
        levels.append(("stop", "first stop", closed.stop))
    targets = dict.fromkeys((f"TP{attempt.leg}", attempt.target_price) for attempt in attempts)
    levels += [("target", label, price) for label, price in targets]
    return tuple(levels)
