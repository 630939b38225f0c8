"""Where an attempt is counted in the metrics index: its place, its cells, and how numbers are stored.

A cell holds the sums of one month (UTC) of one strategy on one symbol by one more dimension; together the cells of a
cube hold every attempt once.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from tpctl.exits.instrument import PositionSide
from tpctl.exits.units import Millis
from tpctl.market.incidence import band

# Bands of the target's distance from the entry: half a percent.
DISTANCE_BANDS = 200
SIDES = (PositionSide.LONG, PositionSide.SHORT)
_HOUR_MS = 3_600_000
_INT64 = 2**63
_ROW_BITS = 40
# More names than an index holds.
_NAMES = 1 << 30

CellKey = tuple[str, int, int, int, int]

ROW_COLUMNS = (
    "strategy, symbol, side, leg, reason, regime, distance, arm, entry_at, exit_at, hit, slip, profit, r, risk,"
    " share, roi, premature, missed"
)


def cell_keys(place: Sequence[int], at: Millis, took: Millis) -> tuple[CellKey, ...]:
    """Return the cells an attempt is counted in; `place` is the columns until the times, in their order."""
    strategy, symbol, side, leg, reason, regime, distance, arm = place
    month = month_of(at)
    return (
        ("all", strategy, symbol, 0, month),
        ("parts", strategy, symbol, pack(side, leg, reason), month),
        ("hour", strategy, symbol, hour_of(at), month),
        ("weekday", strategy, symbol, weekday_of(at), month),
        ("drawn", strategy, symbol, pack_drawn(regime, arm), month),
        ("distance", strategy, symbol, distance, month),
        ("age", strategy, symbol, band(took), month),
    )


def pack(side: int, leg: int, reason: int) -> int:
    """Return side, leg and reason as one number."""
    return (reason * 100_000 + leg) * 2 + side


def unpack(value: int) -> tuple[int, int, int]:
    """Return side, leg and reason from their one number."""
    rest, side = divmod(value, 2)
    reason, leg = divmod(rest, 100_000)
    return side, leg, reason


def pack_drawn(regime: int, arm: int) -> int:
    """Return the names of a regime and an arm as one number."""
    return arm * _NAMES + regime


def unpack_drawn(value: int) -> tuple[int, int]:
    """Return regime and arm from their one number."""
    arm, regime = divmod(value, _NAMES)
    return regime, arm


def hour_of(at: Millis) -> int:
    """Return the hour of a time, UTC."""
    return at // _HOUR_MS % 24


def weekday_of(at: Millis) -> int:
    """Return the weekday of a time, UTC; 0 is Monday."""
    # 1970-01-01 was a Thursday.
    return (at // (24 * _HOUR_MS) + 3) % 7


def month_of(at: Millis) -> int:
    """Return the number of a time's calendar month, UTC: year times twelve plus month."""
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return moment.year * 12 + moment.month - 1


def month_start(month: int) -> Millis:
    """Return when a month began."""
    return int(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000


def fit(value: int) -> int | str:
    """Return a number as SQLite can hold it: beyond 64 bits as text."""
    return value if -_INT64 <= value < _INT64 else str(value)


def numbered(source: int, row: int) -> int:
    """Return the number of an attempt: its journal, and its row in it."""
    return source << _ROW_BITS | row


def row_of(number: int) -> int:
    """Return an attempt's row in its journal."""
    return number & (1 << _ROW_BITS) - 1
