"""How `trail` shows where trails stand: a table with the reason under each row, separated values, or the JSON contract.

Decides wording and layout only; every number comes with the row. What is unavailable shows as n/a with its reason in
JSON, never as a number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.partials import PartialLevel
from tpctl.exits.units import Millis, Price, Ratio, trimmed

if TYPE_CHECKING:
    from tpctl.views.machine import Json

T = TypeVar("T")

COLUMNS = (
    "symbol",
    "position_side",
    "peak_profit",
    "original_callback",
    "callback",
    "next_callback",
    "changed",
    "reason",
    "schedule",
    "levels",
    "scheduled_callback",
    "row",
    "entry",
    "mark",
    "peak",
    "stop",
    "stop_rests",
    "stop_cause",
    "stop_reason",
    "trigger",
    "distance",
    "age_ms",
    "since_change_ms",
    "native_fits",
    "as_of",
)
_WORDS_FOR_NONE = "-"
_UNKNOWN = "n/a"


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One row of the schedule as it applies to one trail; `current` is the row the peak profit stands on."""

    profit: Ratio
    factor: Decimal
    callback: Ratio
    current: bool


@dataclass(frozen=True, slots=True)
class TrailRow:
    """Where one trail stands. Ratios are shares of price; times are in ms.

    `next_callback` is what the callback becomes now: the current one where nothing changes, for the `reason` given.
    `scheduled` is what the schedule asks for at the peak, whether or not it may change yet. `stop` is where the working
    stop belongs, `stop_rests` whether it rests there on the exchange (None where there is no exchange), `trigger` where
    the trail would have it, `stop_reason` why the two differ or why it does not rest. `distance` runs from the
    mark to the stop, as a share of the mark; below zero the mark is beyond it. `native_limit` is why the exchange's own
    trailing order would not take the next callback, None where it would. `as_of` is the time of the newest fact.
    """

    symbol: str | Unavailable
    side: PositionSide | Unavailable
    peak_profit: Ratio | Unavailable
    original: Ratio | Unavailable
    callback: Ratio | Unavailable
    next_callback: Ratio | Unavailable
    scheduled: Ratio | Unavailable
    changed: bool
    reason: str
    schedule: tuple[ScheduleRow, ...]
    levels: tuple[PartialLevel, ...] | Unavailable
    entry: Price | Unavailable
    mark: Price | Unavailable
    peak: Price | Unavailable
    stop: Price | Unavailable
    stop_rests: bool | None
    stop_cause: str | None
    stop_reason: str | None
    trigger: Price | Unavailable
    distance: Ratio | Unavailable
    age_ms: Millis | Unavailable
    since_change_ms: Millis | Unavailable
    native_limit: str | None
    as_of: Millis | None = None


def document_text(  # noqa: PLR0917 - the envelope's fields, in its order
    ts: Millis,
    profile: str,
    env: str,
    rows: Sequence[TrailRow],
    fields: Sequence[str],
    more: "Mapping[str, Json] | None" = None,
    warnings: Sequence[tuple[str, str]] = (),
    mode: str = "shadow",
) -> str:
    """Return the rows as `tpctl.trail/1`; `more` stands beside `trails` in its data."""
    from tpctl.views.machine import document

    data: dict[str, Json] = {"trails": [record(row, fields) for row in rows], **(more or {})}
    return document("trail", ts=ts, profile=profile, env=env, mode=mode, data=data, warnings=warnings)


def record(row: TrailRow, fields: Sequence[str]) -> "dict[str, Json]":
    """Return one row as JSON values; unavailable is null, with its reason under `NAME_unavailable_reason`."""
    found: dict[str, Json] = {}
    for name in fields:
        value = _FIELDS[name](row)
        if isinstance(value, Unavailable):
            found[name] = [] if name == "levels" else None
            found[f"{name}_unavailable_reason"] = value.reason
        else:
            found[name] = value
    return found


def jsonl_text(rows: Sequence[TrailRow], fields: Sequence[str]) -> str:
    """Return one JSON object per trail."""
    import json

    return "".join(json.dumps(record(row, fields), ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)


def plain_text(rows: Sequence[TrailRow], fields: Sequence[str]) -> str:
    """Return one tab-separated line per trail, without a header."""
    return "".join("\t".join(_cell(row, name) for name in fields) + "\n" for row in rows)


def csv_text(rows: Sequence[TrailRow], fields: Sequence[str]) -> str:
    """Return the trails as comma-separated values with a header line."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([_cell(row, name) for name in fields] for row in rows)
    return out.getvalue()


def table_text(
    rows: Sequence[TrailRow],
    *,
    schedule: bool = False,
    partials: bool = False,
    quiet: bool = False,
    ascii_only: bool = False,
) -> str:
    """Return the trails for people: one line each, and below it why it changes or does not (unless quiet)."""
    columns = [[words(row) for row in rows] for _, words, _ in _TABLE]
    # A what-if knows little: a column in which nothing is known tells nothing.
    shown = [
        (head, right, cells)
        for (head, _, right), cells in zip(_TABLE, columns, strict=True)
        if any(cell != _UNKNOWN for cell in cells)
    ]
    widths = [max(map(len, (head, *cells))) for head, _, cells in shown]
    aligned = [right for _, right, _ in shown]
    lines = [_line([head for head, _, _ in shown], widths, aligned)]
    for number, row in enumerate(rows):
        lines.append(_line([cells[number] for _, _, cells in shown], widths, aligned))
        if not quiet:
            lines += [f"  {text}" for text in _why(row)]
        if schedule:
            lines += _schedule_lines(row)
        if partials:
            lines += _level_lines(row)
    text = "".join(f"{line}\n" for line in lines)
    return plainly(text) if ascii_only else text


def plainly(text: str) -> str:
    """Return `text` in ASCII; arrows are spelled out."""
    return text.replace("→", "->").encode("ascii", "replace").decode()


def lasting(length: Millis) -> str:
    """Return a length in its two largest units: `3m12s`, `2d4h`, `0s`."""
    minutes, seconds = divmod(length // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    first = next((i for i, (count, _) in enumerate(parts) if count), 3)
    return "".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count) or "0s"


def price_words(value: Price) -> str:
    """Return a price at seven significant digits, without trailing zeros."""
    return trimmed(value, min(max(6 - value.adjusted(), 0), 12))


def _number(value: Decimal) -> str:
    """Return a computed number for scripts: plain digits without trailing zeros, at most twelve places."""
    exponent = value.as_tuple().exponent
    return trimmed(value, 12) if isinstance(exponent, int) and exponent < -12 else trimmed(value)


def _share(value: Ratio | Unavailable) -> "str | Unavailable":
    return value if isinstance(value, Unavailable) else _number(value.fraction)


def _price(value: Price | Unavailable) -> "str | Unavailable":
    return value if isinstance(value, Unavailable) else _number(value)


def _schedule(row: TrailRow) -> "Json":
    return [
        {
            "profit": _number(each.profit.fraction),
            "factor": _number(each.factor),
            "callback": _number(each.callback.fraction),
            "current": each.current,
        }
        for each in row.schedule
    ]


def _levels(row: TrailRow) -> "Json | Unavailable":
    if isinstance(row.levels, Unavailable):
        return row.levels
    return [
        {"price": _number(level.price), "fraction": _number(level.fraction), "passed": level.passed}
        for level in row.levels
    ]


def _row_number(row: TrailRow) -> int | None:
    return next((index for index, each in enumerate(row.schedule, 1) if each.current), None)


def _as_of(row: TrailRow) -> str | None:
    if row.as_of is None:
        return None
    from tpctl.views.machine import rfc3339

    return rfc3339(row.as_of)


_FIELDS: "Mapping[str, Callable[[TrailRow], Json | Unavailable]]" = {
    "symbol": lambda row: row.symbol,
    "position_side": lambda row: row.side if isinstance(row.side, Unavailable) else row.side.value,
    "peak_profit": lambda row: _share(row.peak_profit),
    "original_callback": lambda row: _share(row.original),
    "callback": lambda row: _share(row.callback),
    "next_callback": lambda row: _share(row.next_callback),
    "changed": lambda row: row.changed,
    "reason": lambda row: row.reason,
    "schedule": _schedule,
    "levels": _levels,
    "scheduled_callback": lambda row: _share(row.scheduled),
    "row": _row_number,
    "entry": lambda row: _price(row.entry),
    "mark": lambda row: _price(row.mark),
    "peak": lambda row: _price(row.peak),
    "stop": lambda row: _price(row.stop),
    "stop_rests": lambda row: row.stop_rests,
    "stop_cause": lambda row: row.stop_cause,
    "stop_reason": lambda row: row.stop_reason,
    "trigger": lambda row: _price(row.trigger),
    "distance": lambda row: _share(row.distance),
    "age_ms": lambda row: row.age_ms,
    "since_change_ms": lambda row: row.since_change_ms,
    "native_fits": lambda row: row.native_limit is None,
    "as_of": _as_of,
}


def _cell(row: TrailRow, name: str) -> str:
    """Return one field as one word or sentence; lists are spelled `profit:callback` and `price:fraction`."""
    if name == "schedule":
        return " ".join(f"{_number(each.profit.fraction)}:{_number(each.callback.fraction)}" for each in row.schedule)
    if name == "levels":
        levels = () if isinstance(row.levels, Unavailable) else row.levels
        return " ".join(f"{_number(level.price)}:{_number(level.fraction)}" for level in levels)
    value = _FIELDS[name](row)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None or isinstance(value, Unavailable) else str(value)


def _shown(show: Callable[[T], str], value: T | Unavailable) -> str:
    return _UNKNOWN if isinstance(value, Unavailable) else show(value)


def _row_words(row: TrailRow) -> str:
    current = next((each for each in row.schedule if each.current), None)
    return _WORDS_FOR_NONE if current is None else f"{current.profit} x{trimmed(current.factor)}"


def _since_words(row: TrailRow) -> str:
    return "never" if isinstance(row.since_change_ms, Unavailable) else f"{lasting(row.since_change_ms)} ago"


# The heading, what stands in the column, and whether it is aligned to the right.
_TABLE: Sequence[tuple[str, Callable[[TrailRow], str], bool]] = (
    ("symbol", lambda row: _shown(str, row.symbol), False),
    ("side", lambda row: _shown(lambda side: side.value.upper(), row.side), False),
    ("peak", lambda row: _shown(Ratio.show, row.peak_profit), True),
    ("orig", lambda row: _shown(str, row.original), True),
    ("now", lambda row: _shown(str, row.callback), True),
    ("next", lambda row: _shown(str, row.next_callback), True),
    ("row", _row_words, False),
    ("stop", lambda row: _shown(price_words, row.trigger if isinstance(row.stop, Unavailable) else row.stop), True),
    ("away", lambda row: _shown(Ratio.show, row.distance), True),
    ("changed", _since_words, False),
)


def _line(cells: Sequence[str], widths: Sequence[int], aligned: Sequence[bool]) -> str:
    padded = (
        f"{cell:>{width}}" if right else f"{cell:<{width}}"
        for cell, width, right in zip(cells, widths, aligned, strict=True)
    )
    return "  ".join(padded).rstrip()


def _why(row: TrailRow) -> list[str]:
    lines = [row.reason]
    if row.stop_reason is not None:
        lines.append(row.stop_reason)
    if row.native_limit is not None:
        lines.append(f"{row.native_limit}: tpctl trails by itself, with its stop on the exchange")
    return lines


def _schedule_lines(row: TrailRow) -> list[str]:
    if not row.schedule:
        return ["  no schedule"]
    lines = [f"  {'from profit':>13}  {'factor':>6}  {'callback':>8}"]
    for each in row.schedule:
        mark = "> " if each.current else "  "
        text = f"  {mark}{each.profit!s:>11}  {'x' + format(each.factor, '.2f'):>6}  {each.callback!s:>8}"
        lines.append(f"{text}  the row it stands on" if each.current else text)
    return lines


def _level_lines(row: TrailRow) -> list[str]:
    if isinstance(row.levels, Unavailable):
        return [f"  no partial levels: {row.levels.reason}"]
    if not row.levels:
        return ["  no partial levels: they start at a profit of 2%"]
    return [
        f"  level {number}  {price_words(level.price)}  {level.fraction * 100:.0f}%"
        + ("  passed: taken at once" if level.passed else "")
        for number, level in enumerate(row.levels, 1)
    ]
