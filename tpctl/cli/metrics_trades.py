"""The trades the report draws: what the journal holds of the positions that lost most."""

from decimal import Decimal

from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.metrics_query import Closed, MetricsQuery, Selection
from tpctl.exits.model import Attempt, NoteKind
from tpctl.exits.settlement import Stretch
from tpctl.exits.units import Millis
from tpctl.views.metrics_page import Trade
from tpctl.views.metrics_svg import Point
from tpctl.views.metrics_trade_svg import Path

_STOPS = (NoteKind.STOP_MOVED, NoteKind.TRAIL_MOVED)
# How much of what came after is drawn: as long as the position was held, at least an hour, at most what there is.
_AFTER_MS: Millis = 3_600_000


def worst_trades(scan: JournalScan, query: MetricsQuery, chosen: Selection, count: int) -> tuple[Trade, ...]:
    """Return the closed positions that lost most, with their path, levels and exits as far as they are on record."""
    return tuple(_trade(scan, query, closed) for closed in query.worst(chosen, count) if closed.pnl < 0)


def _trade(scan: JournalScan, query: MetricsQuery, closed: Closed) -> Trade:
    found = [scan.attempt(row) for row in query.legs(closed)]
    attempts = [attempt for attempt in found if attempt is not None]
    exits = dict.fromkeys((attempt.exit_time, attempt.exit_price) for attempt in attempts)
    if not exits and closed.average_exit is not None:
        exits[closed.at, closed.average_exit] = None
    marks, stops = _course(scan, closed)
    return Trade(
        closed,
        Path(tuple(marks), _stretches(scan, query, closed), tuple(stops), tuple(sorted(exits)), closed.at),
        _levels(closed, attempts),
    )


def _course(scan: JournalScan, closed: Closed) -> tuple[list[Point], list[Point]]:
    """Return the marks on record while it was held, and where its stop stood from when on."""
    start = closed.opened_at
    if start is None:
        return [], []
    marks = scan.marks_between(closed.key, start, closed.at)
    stops = [] if closed.stop is None else [(start, closed.stop)]
    for _, note in scan.notes_from(start, _STOPS):
        if note.at > closed.at:
            break
        if note.key == closed.key:
            for name, points in (("to", stops), ("mark", marks)):
                value = note.data.get(name)
                if isinstance(value, Decimal):
                    points.append((note.at, value))
    return sorted(marks), stops


def _stretches(scan: JournalScan, query: MetricsQuery, closed: Closed) -> tuple[Stretch, ...]:
    for generation in query.settled_as(closed):
        settlement = scan.settlement(generation)
        if settlement is not None and settlement.key == closed.key:
            held = closed.at - (closed.opened_at or closed.at)
            end = closed.at + max(_AFTER_MS, held)
            return tuple(part for part in settlement.path if part.since < end)
    return ()


def _levels(closed: Closed, attempts: list[Attempt]) -> tuple[tuple[str, str, Decimal], ...]:
    levels: list[tuple[str, str, Decimal]] = []
    if closed.entry is not None:
        levels.append(("entry", "entry", closed.entry))
    if closed.stop is not None:
        levels.append(("stop", "first stop", closed.stop))
    targets = dict.fromkeys((f"TP{attempt.leg}", attempt.target_price) for attempt in attempts)
    levels += [("target", label, price) for label, price in targets]
    return tuple(levels)
