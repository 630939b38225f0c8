"""How `quantize` shows its result: a table, bare values, tab- or comma-separated rows, or the JSON contract.

Decides wording and layout only; every number comes with the report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.exits.instrument import Instrument
from tpctl.exits.placeable import Placement
from tpctl.exits.quantize import FilterCheck
from tpctl.exits.units import Millis, plain

if TYPE_CHECKING:
    from tpctl.views.machine import Json

COLUMNS = ("field", "input", "value", "changed", "placeable", "ticks", "filters")

# What --show-rules lists: the words, and the attribute of `Instrument`.
_RULES = (
    ("status", "status"),
    ("contract type", "contract_type"),
    ("margin asset", "margin_asset"),
    ("tick", "tick"),
    ("lowest price", "min_price"),
    ("highest price", "max_price"),
    ("step", "step"),
    ("smallest quantity", "min_quantity"),
    ("largest quantity", "max_quantity"),
    ("market step", "market_step"),
    ("smallest market quantity", "market_min_quantity"),
    ("largest market quantity", "market_max_quantity"),
    ("smallest notional", "min_notional"),
    ("limit price up to mark times", "percent_up"),
    ("limit price down to mark times", "percent_down"),
    ("orders", "max_orders"),
    ("trigger protect", "trigger_protect"),
    ("market take bound", "market_take_bound"),
    ("liquidation fee", "liquidation_fee"),
    ("price precision", "price_precision"),
    ("quantity precision", "quantity_precision"),
    ("filters not understood", "unknown_filters"),
)


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """One run's result. `rules` is set where the rules were asked for; `age_ms` is None where it is not known."""

    symbol: str
    values: tuple[Placement, ...]
    origin: str
    fetched_at: Millis | None
    age_ms: Millis | None
    rules: Instrument | None = None
    warnings: tuple[tuple[str, str], ...] = ()


def document_text(report: QuantizeReport, ts: Millis, profile: str, env: str, fields: Sequence[str]) -> str:
    """Return the report as `tpctl.quantize/1`."""
    from tpctl.views.machine import document, rfc3339

    source: dict[str, Json] = {
        "origin": report.origin,
        "fetched_at": None if report.fetched_at is None else rfc3339(report.fetched_at),
        "age_ms": report.age_ms,
    }
    if report.fetched_at is None:
        source["age_unavailable_reason"] = "the rules carry no date"
    data: dict[str, Json] = {
        "symbol": report.symbol,
        "values": [{name: _machine(value, name) for name in fields} for value in report.values],
        "rules_source": source,
    }
    if report.rules is not None:
        data["rules"] = {name: getattr(report.rules, name) for _, name in _RULES}
    return document("quantize", ts=ts, profile=profile, env=env, mode="shadow", data=data, warnings=report.warnings)


def table_text(report: QuantizeReport, fields: Sequence[str], *, quiet: bool = False, color: bool = False) -> str:
    """Return the report for people: one line per value and below it each rule (if quiet, refusals only)."""
    lines = [] if quiet else [f"{report.symbol}  rules: {report.origin}{_age(report.age_ms)}"]
    if report.rules is not None:
        width = max(len(words) for words, _ in _RULES)
        lines += [f"  {words:<{width}}  {_shown(getattr(report.rules, name))}" for words, name in _RULES]
    columns = [name for name in fields if name != "filters"]
    rows = [[_cell(value, name) for name in columns] for value in report.values]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    if rows:
        lines.append(_line(columns, widths))
    for value, row in zip(report.values, rows, strict=True):
        lines.append(_line(row, widths))
        if "filters" in fields:
            lines += [_check_line(check, color=color) for check in value.checks if not (quiet and check.ok)]
    return "".join(f"{line}\n" for line in lines)


def plain_text(report: QuantizeReport, fields: Sequence[str]) -> str:
    """Return one tab-separated line per value, without a header, or the rules where there is no value."""
    if not report.values and report.rules is not None:
        return "".join(f"{name}\t{_shown(getattr(report.rules, name))}\n" for _, name in _RULES)
    return "".join("\t".join(_cell(value, name) for name in fields) + "\n" for value in report.values)


def csv_text(report: QuantizeReport, fields: Sequence[str]) -> str:
    """Return the report as comma-separated values with a header line."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if not report.values and report.rules is not None:
        writer.writerow(["rule", "value"])
        writer.writerows([name, _shown(getattr(report.rules, name))] for _, name in _RULES)
    else:
        writer.writerow(fields)
        writer.writerows([_cell(value, name) for name in fields] for value in report.values)
    return out.getvalue()


def jsonl_text(report: QuantizeReport, fields: Sequence[str]) -> str:
    """Return one JSON object per value."""
    import json

    rows = ({"symbol": report.symbol, **{name: _machine(value, name) for name in fields}} for value in report.values)
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)


def raw_text(report: QuantizeReport) -> str:
    """Return the values alone, one a line; nothing where one of them cannot be placed, so that none is used."""
    if not all(value.placeable for value in report.values):
        return ""
    return "".join(f"{plain(value.value)}\n" for value in report.values)


def refusal_lines(report: QuantizeReport) -> str:
    """Return one line for each value that cannot be placed, naming the first rule that refuses it."""
    lines = []
    for value in report.values:
        refused = next((check for check in value.checks if not check.ok), None)
        if refused is not None:
            lines.append(
                f"{value.field.value} {plain(value.given)!r} of {report.symbol} cannot be placed as "
                f"{plain(value.value)}: {refused.filter} {refused.limit} ({refused.code})\n"
            )
    return "".join(lines)


def _machine(value: Placement, name: str) -> "Json":
    """Return one column in the JSON contract's form."""
    if name == "filters":
        return [_check_row(check) for check in value.checks]
    cells: Mapping[str, Json] = {
        "field": value.field.value,
        "input": plain(value.given),
        "value": plain(value.value),
        "changed": value.changed,
        "placeable": value.placeable,
        "ticks": value.steps,
    }
    return cells[name]


def _check_row(check: FilterCheck) -> "dict[str, Json]":
    return {"filter": check.filter, "ok": check.ok, "limit": check.limit, "code": check.code}


def _cell(value: Placement, name: str) -> str:
    """Return one column in words; of the filters only those that refuse."""
    if name == "filters":
        return "; ".join(f"{check.filter} {check.limit} ({check.code})" for check in value.checks if not check.ok)
    found = _machine(value, name)
    if isinstance(found, bool):
        return "yes" if found else "no"
    return "-" if found is None else str(found)


def _check_line(check: FilterCheck, *, color: bool) -> str:
    word = "ok    " if check.ok else "REFUSE"
    if color:
        word = f"\x1b[{'32' if check.ok else '1;31'}m{word}\x1b[0m"
    return f"  {word}  {check.filter}  {check.limit}" + ("" if check.ok else f"  ({check.code})")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _shown(value: object) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value) or "none"


def _age(age_ms: Millis | None) -> str:
    from tpctl.adapters.rulebook import show_age

    return ", age unknown" if age_ms is None else f", {show_age(age_ms)} old"
