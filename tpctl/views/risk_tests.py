"""How `risk` shows a backtest of value at risk, a crash replayed, and what a course over years amounts to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Millis, plain
from tpctl.market.risk.replay import CrashReport, Replayed

if TYPE_CHECKING:
    from tpctl.market.risk.backtests import Backtest
    from tpctl.views.machine import Json


@dataclass(frozen=True, slots=True)
class CourseFigures:
    """A reading over time: its median, how often it was above its marks, and its highest in each marked crash."""

    name: str
    since: Millis
    until: Millis
    hours: int
    median: Decimal
    above_warning: Decimal
    above_critical: Decimal
    crashes: tuple[tuple[str, Decimal | Unavailable], ...]


def backtest_rows(tests: Sequence["Backtest"]) -> "list[Json]":
    """Return the tests in the JSON contract's form."""
    return [
        {
            "book": test.name,
            "method": test.method,
            "days": test.days,
            "exceeded": test.exceeded,
            "expected": _decimal(test.expected),
            "band_low": test.band[0],
            "band_high": test.band[1],
            "in_band": test.in_band,
            "kupiec_p": _decimal(test.unconditional),
            "independence_p": _decimal(test.independence),
            "conditional_p": _decimal(test.conditional),
        }
        for test in tests
    ]


def backtest_text(tests: Sequence["Backtest"], level: Decimal, note: str) -> str:
    """Return the tests as a table."""
    lines = [f"VaR {(level * 100).normalize():f} a day ahead, {note}"]
    heads = ("book", "method", "days", "exceeded", "rate", "band", "", "Kupiec p", "indep. p", "cond. p")
    rows = [
        (
            test.name,
            test.method,
            str(test.days),
            str(test.exceeded),
            f"{test.exceeded / test.days * 100:.2f}%",
            f"{test.band[0]}-{test.band[1]}",
            "in" if test.in_band else "OUT",
            f"{test.unconditional:.3f}",
            f"{test.independence:.3f}",
            f"{test.conditional:.3f}",
        )
        for test in tests
    ]
    lines += _table(heads, rows)
    for method in dict.fromkeys(test.method for test in tests):
        chosen = [test for test in tests if test.method == method]
        inside = sum(test.in_band for test in chosen)
        apart = sum(test.independence > 0.05 for test in chosen)
        lines.append(f"{method}: {inside} of {len(chosen)} within Kupiec's band, {apart} without clusters (p > 0.05)")
    return "".join(f"{line}\n" for line in lines)


def crash_rows(report: CrashReport) -> "Json":
    """Return a replayed crash in the JSON contract's form."""
    from tpctl.views.machine import rfc3339

    rows: list[Json] = []
    for key, one in report.positions.items():
        row: dict[str, Json] = {"symbol": key.symbol, "position_side": key.side.value}
        if isinstance(one, Unavailable):
            row |= {"end": None, "end_unavailable_reason": one.reason}
        else:
            row |= {
                "end": one.end.value,
                "end_unavailable_reason": None,
                "at": rfc3339(one.at),
                "stop": one.stop,
                "planned": one.planned,
                "fill": one.fill,
                "worst_fill": one.worst_fill,
                "slippage": one.slippage,
                "pnl": one.pnl,
                "worst_pnl": one.worst_pnl,
                "unprotected_pnl": one.unprotected,
            }
        rows.append(row)
    share = report.of_equity
    return {
        "name": report.crash.name,
        "since": rfc3339(report.crash.since),
        "until": rfc3339(report.crash.until),
        "interval_ms": report.interval_ms,
        "positions": rows,
        "pnl": report.pnl,
        "worst_pnl": report.worst_pnl,
        "unprotected_pnl": report.unprotected,
        "of_equity": None if isinstance(share, Unavailable) else share,
        "of_equity_unavailable_reason": share.reason if isinstance(share, Unavailable) else None,
    }


def crash_text(report: CrashReport) -> str:
    """Return a replayed crash as a table."""
    crash = report.crash
    lines = [
        f"{crash.title}: {_day(crash.since)} to {_day(crash.until)}, {report.interval_ms // 60_000}m, at present marks"
    ]
    heads = ("position", "end", "at", "stop", "", "filled at", "at worst", "beyond stop", "PnL", "at worst", "no stop")
    rows: list[tuple[str, ...]] = []
    for key, one in report.positions.items():
        if isinstance(one, Unavailable):
            rows.append((str(key), "n/a", one.reason, *("",) * 8))
        else:
            rows.append(_crash_row(one))
    lines += _table(heads, rows)
    share = "" if isinstance(report.of_equity, Unavailable) else f" ({report.of_equity * 100:+.2f}% of equity)"
    lines.append(
        f"the book: {report.pnl:+,.2f} USD{share}, {report.worst_pnl:+,.2f} USD if every stop had filled at the end"
        f" of its candle, {report.unprotected:+,.2f} USD at worst without stops"
    )
    return "".join(f"{line}\n" for line in lines)


def course_rows(figures: Sequence[CourseFigures]) -> "Json":
    """Return what a course amounts to in the JSON contract's form."""
    from tpctl.views.machine import rfc3339

    return {
        one.name: {
            "since": rfc3339(one.since),
            "until": rfc3339(one.until),
            "hours": one.hours,
            "median": one.median,
            "above_warning": one.above_warning,
            "above_critical": one.above_critical,
            "crashes": [
                {"name": name, "highest": None if isinstance(value, Unavailable) else value}
                for name, value in one.crashes
            ],
        }
        for one in figures
    }


def course_text(figures: Sequence[CourseFigures]) -> str:
    """Return what a course amounts to, one line a reading."""
    lines = []
    for one in figures:
        told = ", ".join(
            f"{name} {'n/a' if isinstance(value, Unavailable) else format(value, '.2f')}" for name, value in one.crashes
        )
        lines.append(
            f"{one.name}: {one.hours} hours from {_day(one.since)}, median {one.median:.2f}, above warning"
            f" {one.above_warning * 100:.1f}%, above critical {one.above_critical * 100:.1f}%; highest: {told}"
        )
    return "".join(f"{line}\n" for line in lines)


def _crash_row(one: Replayed) -> tuple[str, ...]:
    return (
        str(one.key),
        one.end.value,
        _minute(one.at),
        "none" if one.stop is None else _price(one.stop),
        "planned" if one.planned else "",
        _price(one.fill),
        _price(one.worst_fill),
        "" if one.slippage is None else f"{one.slippage * 100:.2f}%",
        f"{one.pnl:+,.2f}",
        f"{one.worst_pnl:+,.2f}",
        f"{one.unprotected:+,.2f}",
    )


def _decimal(value: float) -> Decimal:
    return Decimal(format(value, ".6g"))


def _price(value: Decimal) -> str:
    return plain(Decimal(format(value, ".7g")))


def _day(at: Millis) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _minute(at: Millis) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%m-%d %H:%M")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (heads, *rows)
    ]
