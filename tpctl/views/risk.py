"""How `risk` shows its readings: bars with their marks, rows, the JSON contract, or a line for Nagios.

Decides wording and layout only; every number comes with the report.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Reason
from tpctl.exits.risk import RiskEffect
from tpctl.exits.units import Millis, plain, trimmed
from tpctl.market.risk.readings import CONTRACT, Level, Marks, Measured, PositionRisk, Reading, RiskReport

if TYPE_CHECKING:
    from tpctl.views.machine import Json

WIDTH = 20
_TITLES = {
    "ess": "ESS",
    "systemic": "systemic",
    "correlation": "correlation",
    "heat": "heat",
    "open_risk": "open risk",
}
# Where a bar ends; those of money end at twice their critical mark.
_TOPS = {"ess": Decimal(4), "systemic": Decimal(1), "correlation": Decimal(1), "heat": Decimal(1)}
_FORMULAS = {
    "ess": "market x account; market = exp(sum w ln(measure / its 30 d median)), account = 1.25^(margin/50% + loss/10%"
    " + exposure/10)",
    "systemic": "half normal(absorption shift / 2) + half turbulence rank",
    "correlation": "mean pairwise correlation of signed exposures, weighted by risk",
    "heat": "normalised Herfindahl index of component VaR",
    "var": "quantile of a day's losses, each scaled from the volatility of its day to today's",
    "es": "mean of the losses at or beyond VaR",
    "open_risk": "loss if every stop fills at its level, over equity",
}
_COLORS = {Level.OK: "32", Level.WARNING: "33", Level.CRITICAL: "1;31"}
_NAGIOS = {Level.OK: "OK", Level.WARNING: "WARNING", Level.CRITICAL: "CRITICAL"}


@dataclass(frozen=True, slots=True)
class RiskView:
    """One run's result."""

    report: RiskReport
    effect: RiskEffect
    marks: Mapping[str, Marks]
    profile: str
    env: str
    warnings: tuple[tuple[str, str], ...] = ()
    more: "Mapping[str, Json]" = field(default_factory=dict)

    def level(self, name: str) -> Level | None:
        """Return how bad a reading is; other levels of value at risk have the marks of 95 %."""
        marks = self.marks_of(name)
        return None if marks is None else marks.level(self.report.readings[name].value)

    def marks_of(self, name: str) -> Marks | None:
        """Return the marks of a reading."""
        return self.marks.get(name) or self.marks.get(f"{name.partition('_')[0]}_95")

    @property
    def worst(self) -> Level | None:
        """The worst level of all readings; None where nothing is known."""
        levels = [level for name in self.report.readings if (level := self.level(name)) is not None]
        order = list(Level)
        return max(levels, key=order.index, default=None)


def document_text(view: RiskView) -> str:
    """Return the result as `tpctl.risk/1`."""
    from tpctl.views.machine import document

    report = view.report
    data: dict[str, Json] = {
        "readings": {name: _reading(view, report.readings[name]) for name in CONTRACT},
        "effect": {
            "tp_factor": view.effect.tp_factor,
            "stop_factor": view.effect.stop_factor,
            "tighten": view.effect.tighten,
            "reasons": [_reason(reason) for reason in (*view.effect.reasons, *view.effect.stop_reasons)],
        },
        "others": {name: _reading(view, one) for name, one in report.readings.items() if name not in CONTRACT},
        "positions": [_position(position) for position in report.positions],
        "basket": list(report.basket),
        "excluded": [{"symbol": symbol, "reason": reason} for symbol, reason in report.excluded.items()],
        **view.more,
    }
    return document("risk", report.at, view.profile, view.env, "shadow", data, view.warnings)


def table_text(view: RiskView, *, quiet: bool = False, explain: bool = False, color: bool = False) -> str:
    """Return the result for people."""
    from tpctl.views.machine import rfc3339

    report = view.report
    lines = []
    if not quiet:
        lines.append(f"{rfc3339(report.at)}  profile {view.profile}  env {view.env}")
        lines += _source_lines(report)
    for reading in report.readings.values():
        lines.append(_reading_line(view, reading, color=color))
        if explain:
            lines += _explained(reading)
    if report.positions:
        lines += ["", *_position_lines(report.positions)]
    lines += ["", _effect_line(view.effect)]
    if explain:
        for reason in (*view.effect.reasons, *view.effect.stop_reasons):
            change = "" if reason.before is None else f"  {reason.before} → {reason.after}"
            lines.append(f"  {reason.text}{change}")
        lines += [f"  not in the basket: {symbol}: {reason}" for symbol, reason in report.excluded.items()]
    return "".join(f"{line}\n" for line in lines)


def row_texts(view: RiskView, fields: Sequence[str]) -> list[list[str]]:
    """Return one row of texts per reading; unavailable is empty."""
    return [["" if cell is None else str(cell) for cell in row.values()] for row in _rows(view, fields)]


def csv_text(view: RiskView, fields: Sequence[str]) -> str:
    """Return the readings as comma-separated values with a header line."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows(row_texts(view, fields))
    return out.getvalue()


def plain_text(view: RiskView, fields: Sequence[str]) -> str:
    """Return one tab-separated line per reading, without a header."""
    return "".join("\t".join(cells) + "\n" for cells in row_texts(view, fields))


def jsonl_text(view: RiskView, fields: Sequence[str]) -> str:
    """Return one JSON object per reading."""
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in _rows(view, fields))


def nagios_text(view: RiskView) -> str:
    """Return the line and the performance data a Nagios plugin prints."""
    worst = view.worst
    word = "UNKNOWN" if worst is None else _NAGIOS[worst]
    told, figures = [], []
    for name, reading in view.report.readings.items():
        level, value = view.level(name), reading.value
        if isinstance(value, Unavailable):
            continue
        shown = trimmed(value, 4)
        if level is not None and level is not Level.OK:
            told.append(f"{name} {shown} {level.value}")
        marks = view.marks_of(name)
        limits = ("", "") if marks is None else (_limit(marks.warning), _limit(marks.critical))
        figures.append(f"{name}={shown};{limits[0]};{limits[1]};0")
    factors = f"TP x {trimmed(view.effect.tp_factor, 4)}, stop x {trimmed(view.effect.stop_factor, 4)}"
    known = sum(not isinstance(reading.value, Unavailable) for reading in view.report.readings.values())
    summary = "; ".join(told) if told else f"{known} of {len(view.report.readings)} readings measured"
    return f"TPCTL RISK {word} - {summary}; {factors} | {' '.join(figures)}\n"


def _limit(mark: Decimal | None) -> str:
    return "" if mark is None else plain(mark)


# JSON


def _reading(view: RiskView, reading: Reading) -> "dict[str, Json]":
    missing = reading.value.reason if isinstance(reading.value, Unavailable) else None
    level = view.level(reading.name)
    return {
        "value": None if isinstance(reading.value, Unavailable) else reading.value,
        "level": None if level is None else level.value,
        "source": reading.source,
        "window": reading.window,
        "age_ms": reading.age_ms,
        "unavailable_reason": missing,
        "parts": {name: None if isinstance(value, Unavailable) else value for name, value in reading.parts.items()},
    }


def _reason(reason: Reason) -> "dict[str, Json]":
    return {
        "stage": reason.stage,
        "code": reason.code,
        "text": reason.text,
        "before": reason.before,
        "after": reason.after,
    }


def _position(position: PositionRisk) -> "dict[str, Json]":
    row: dict[str, Json] = {
        "symbol": position.key.symbol,
        "position_side": position.key.side.value,
        "notional": position.notional,
        "stop": position.stop,
        "liquidation": position.liquidation,
    }
    for name in ("volatility", "stop_sigmas", "touch", "liquidation_sigmas", "component"):
        value: Measured = getattr(position, name)
        row[name] = None if isinstance(value, Unavailable) else value
        row[f"{name}_unavailable_reason"] = value.reason if isinstance(value, Unavailable) else None
    return row


def _rows(view: RiskView, fields: Sequence[str]) -> list[dict[str, str | int | None]]:
    rows = []
    for name, reading in view.report.readings.items():
        level, value = view.level(name), reading.value
        cells: dict[str, str | int | None] = {
            "reading": name,
            "value": None if isinstance(value, Unavailable) else plain(value),
            "level": None if level is None else level.value,
            "age_ms": reading.age_ms,
            "window": reading.window,
            "source": reading.source,
            "unavailable_reason": value.reason if isinstance(value, Unavailable) else None,
        }
        rows.append({column: cells[column] for column in fields})
    return rows


# Table


def _source_lines(report: RiskReport) -> list[str]:
    """Return what was measured: the source most readings share, and the basket."""
    lines = []
    sources = [reading.source for reading in report.readings.values() if reading.age_ms is not None]
    if sources:
        lines.append(f"source: {max(sources, key=sources.count)}")
    if report.basket:
        excluded = f" ({len(report.excluded)} left out)" if report.excluded else ""
        lines.append(f"basket: {' '.join(report.basket)}{excluded}")
    return [*lines, ""]


def _reading_line(view: RiskView, reading: Reading, *, color: bool) -> str:
    title = _title(reading.name)
    value = reading.value
    if isinstance(value, Unavailable):
        return f"{title:<11} {'n/a':>7}  {value.reason}"
    level, marks = view.level(reading.name), view.marks_of(reading.name)
    word = "" if level is None else level.value
    shown = f"{word:<8}"
    if color and level is not None:
        shown = f"\x1b[{_COLORS[level]}m{shown}\x1b[0m"
    bar = _bar(value, marks, _top(reading.name, marks))
    age = "" if reading.age_ms is None else _age(reading.age_ms)
    return f"{title:<11} {_figure(reading):>7}  {bar}  {shown} {age:>6}  {_aside(reading)}".rstrip()


def _title(name: str) -> str:
    if name in _TITLES:
        return _TITLES[name]
    kind, _, percent = name.partition("_")
    return f"{kind.upper() if kind == 'es' else 'VaR'} {percent}"


def _figure(reading: Reading) -> str:
    value = reading.value
    if isinstance(value, Unavailable):
        return "n/a"
    percent = reading.name.startswith(("var_", "es_")) or reading.name == "open_risk"
    return f"{value * 100:.2f}%" if percent else f"{value:.2f}"


def _aside(reading: Reading) -> str:
    """Return what stands beside a bar: the parts an operator looks at first, and the source where it is another."""
    parts = reading.parts
    usd, historical = parts.get("usd"), parts.get("historical_usd")
    if isinstance(usd, Decimal):
        return f"{usd:,.2f} USD" + (f" (historical {historical:,.2f})" if isinstance(historical, Decimal) else "")
    falling, account, market = parts.get("falling"), parts.get("account"), parts.get("market")
    if isinstance(falling, Decimal):
        return f"{falling * 100:.0f}% of symbols fell in 24 h"
    if isinstance(account, Decimal) and isinstance(market, Decimal):
        return f"market {market:.2f} x account {account:.2f}"
    return "" if parts else reading.source


def _age(age_ms: Millis) -> str:
    seconds = age_ms // 1000
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def _top(name: str, marks: Marks | None) -> Decimal:
    if name in _TOPS:
        return _TOPS[name]
    critical = None if marks is None else marks.critical
    return Decimal("0.2") if critical is None else 2 * critical


def _bar(value: Decimal, marks: Marks | None, top: Decimal) -> str:
    """Return a bar with a mark where a warning and where critical begins."""
    full = int(min(max(value / top, Decimal(0)), Decimal(1)) * WIDTH)
    cells = ["█"] * full + ["·"] * (WIDTH - full)
    if marks is not None:
        for mark, sign in ((marks.warning, "│"), (marks.critical, "┃")):
            if mark is not None and 0 <= mark < top:
                cells[int(mark / top * WIDTH)] = sign
    return "".join(cells)


def _explained(reading: Reading) -> list[str]:
    kind = reading.name if reading.name in _FORMULAS else reading.name.partition("_")[0]
    lines = [f"  = {_FORMULAS[kind]}"] if kind in _FORMULAS else []
    if reading.window:
        lines.append(f"  over {reading.window}; source: {reading.source}")
    for name, value in reading.parts.items():
        words = name.replace("_", " ")
        shown = f"n/a ({value.reason})" if isinstance(value, Unavailable) else trimmed(value, 4)
        lines.append(f"    {words:<20} {shown}")
    return lines


def _position_lines(positions: Sequence[PositionRisk]) -> list[str]:
    heads = ("position", "notional", "sd/day", "stop", "to stop", "touch/day", "to liquidation", "risk share")
    rows = [
        (
            str(position.key),
            f"{position.notional:,.2f}",
            _percent(position.volatility),
            "none" if position.stop is None else plain(position.stop),
            _sigmas(position.stop_sigmas),
            _percent(position.touch),
            _sigmas(position.liquidation_sigmas),
            _percent(position.component),
        )
        for position in positions
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join([f"{cells[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(cells[1:], widths[1:], strict=True))])
        for cells in (heads, *rows)
    ]


def _percent(value: Measured) -> str:
    return "n/a" if isinstance(value, Unavailable) else f"{value * 100:.1f}%"


def _sigmas(value: Measured) -> str:
    return "n/a" if isinstance(value, Unavailable) else f"{value:.2f} sd"


def _effect_line(effect: RiskEffect) -> str:
    tighten = "tighten exits" if effect.tighten else "no tightening"
    return f"effect: TP distance x {effect.tp_factor:.3f}, stop of a new plan x {effect.stop_factor:.2f}, {tighten}"
