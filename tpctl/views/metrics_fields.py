"""How `metrics` shows its result to programs: the JSON contract, JSON lines, comma- or tab-separated rows.

Decides names and form only; every figure comes with the report. Unavailable is null beside its reason, never a zero.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.adapters.metrics_positions import Excursions
from tpctl.adapters.metrics_query import Spread
from tpctl.exits.instrument import Unavailable
from tpctl.exits.statistics import Tally
from tpctl.exits.targets import Level
from tpctl.exits.units import Millis, trimmed
from tpctl.views.metrics_report import FIELDS, MetricsReport, Row, charged, group_key, slippages, to_mid, value_of
from tpctl.views.metrics_values import put, spread_fields, summed_fields, whole_fields

if TYPE_CHECKING:
    from tpctl.views.machine import Json

_NO_MARKS = "no closed position has its best and worst mark on record"
_NO_RISK = "no closed position has its first stop on record"
# What the excursions are called, where they stand, and why there may be none.
_EXCURSIONS = {
    "mfe": ("mfe", _NO_MARKS),
    "mae": ("mae", _NO_MARKS),
    "mfe_r": ("mfe_r", _NO_RISK),
    "mae_r": ("mae_r", _NO_RISK),
    "capture_ratio": ("capture", "no closed position was ever in profit"),
}


def feedback_fields(tally: Tally) -> "dict[str, Json]":
    """Return what training hears, in the contract's words."""
    row: dict[str, Json] = {}
    for name, value, reason in (
        ("tp_hit_rate", tally.hit_rate, "no finished attempts"),
        ("avg_slippage", tally.average_slippage, "no hits"),
        ("premature_exit_rate", tally.premature_rate, "no finished attempts"),
    ):
        put(row, name, Unavailable(reason) if value is None else value)
    return row


def record_fields(report: MetricsReport, row: Row, names: Sequence[str] = FIELDS) -> "dict[str, Json]":
    """Return one group in the contract's words."""
    from tpctl.views.machine import rfc3339

    found: dict[str, Json] = {
        group_key(dimension): value for dimension, value in zip(report.by, row.group, strict=False)
    }
    for name in names:
        value = value_of(row, name)
        put(found, name, rfc3339(value) if name == "last_updated" and isinstance(value, int) else value)
    if row.trend:
        found["trend"] = [{"attempts": count, "hits": hits} for count, hits in row.trend]
    return found


def document_text(
    report: MetricsReport, ts: Millis, place: tuple[str, str], names: Sequence[str], extra: "Mapping[str, Json]"
) -> str:
    """Return the report as `tpctl.metrics/1`; `place` is profile and env, `extra` the data some options add."""
    from tpctl.views.machine import document

    data: dict[str, Json] = {
        "source": report.source,
        "by": [dimension.value for dimension in report.by],
        "min_attempts": report.min_attempts,
        "records": [record_fields(report, row, names) for row in report.rows],
        "totals": record_fields(report, report.totals),
        "feedback": feedback_fields(report.totals.tally),
        **_rest_fields(report),
        "level": report.level.value,
        "findings": findings_fields(report),
        **extra,
    }
    return document("metrics", ts, *place, "shadow", data, report.warnings)


def findings_fields(report: MetricsReport) -> "list[Json]":
    """Return every judged figure that is not as aimed at, worst first."""
    found: list[tuple[int, dict[str, Json]]] = []
    for row in report.rows:
        for finding in row.findings:
            if finding.level not in {Level.WARNING, Level.CRITICAL}:
                continue
            fields: dict[str, Json] = dict(zip(map(group_key, report.by), row.group, strict=False))
            fields |= {"name": finding.name, "level": finding.level.value}
            for name in ("value", "low", "high", "target"):
                bound: Decimal | None = getattr(finding, name)
                put(fields, name, Unavailable("too few for an interval") if bound is None else bound)
            found.append((finding.level is not Level.CRITICAL, fields))
    return [fields for _, fields in sorted(found, key=lambda item: item[0])]


def _rest_fields(report: MetricsReport) -> "dict[str, Json]":
    from tpctl.views.metrics_hindsight import hindsight_fields

    rest = report.rest
    found = hindsight_fields(rest if isinstance(rest, Unavailable) else rest.hindsight)
    names = ("naked_ms", "slippage", "positions", "stop_moves", "hit_probability", *_EXCURSIONS, "capture_total")
    names += ("latency_ms", "slippage_to_mid", "funding_usd", "entry_fees_usd", "net_pnl_usd")
    if isinstance(rest, Unavailable):
        for name in names:
            put(found, name, rest)
        return found
    if rest.naked_ms is None:
        put(found, "naked_ms", Unavailable("no position closed yet"))
    else:
        found["naked_ms"] = dict(zip(("count", "p50", "p99", "max"), rest.naked_ms, strict=True))
    found["slippage"] = [
        {"order": name, "against": against, **spread_fields(spread)} for name, against, spread in slippages(rest)
    ]
    late = to_mid(rest)
    put(found, "slippage_to_mid", late if isinstance(late, Unavailable) else {"read_late_ms": whole_fields(late)})
    closes = rest.closes
    positions: dict[str, Json] = {"closed": closes.count, "reasons": dict(closes.reasons), "with_r": closes.with_r}
    for name, value in (("pnl", closes.pnl), ("exit_fees", closes.fees)):
        put(positions, name, value)
    put(
        positions,
        "mean_r",
        Unavailable("no closed position has its first stop on record") if closes.mean_r is None else closes.mean_r,
    )
    found["positions"] = positions
    found["stop_moves"] = dict(rest.stop_moves)
    if rest.incidence is None:
        put(found, "hit_probability", Unavailable("no finished attempts"))
    else:
        low, high = rest.incidence.estimate, rest.incidence.estimate + rest.incidence.unsettled
        found["hit_probability"] = {"low": share_text(low), "high": share_text(min(1.0, high))}
    for name, (attribute, reason) in _EXCURSIONS.items():
        spread: Spread | None = getattr(rest.excursions, attribute)
        put(found, name, Unavailable(reason) if spread is None else spread_fields(spread))
    put(found, "capture_total", _captured_fields(rest.excursions))
    for name, cost in charged(rest).items():
        put(found, name, cost if isinstance(cost, Unavailable) else summed_fields(cost.spread, cost.total))
    if rest.latency_ms:
        found["latency_ms"] = {stage: whole_fields(spread) for stage, spread in rest.latency_ms.items()}
    else:
        put(found, "latency_ms", Unavailable("no order was answered yet"))
    return found


def _captured_fields(course: Excursions) -> "dict[str, Json] | Unavailable":
    captured = course.captured
    if captured is None:
        return Unavailable(_EXCURSIONS["capture_ratio"][1])
    figures = {"taken_usd": captured.taken, "offered_usd": captured.offered, "ratio": captured.share}
    return {"count": captured.count, **{name: trimmed(value) for name, value in figures.items()}}


def share_text(value: float) -> str:
    """Return a computed share as plain digits, to nine places."""
    return trimmed(Decimal(f"{value:.9f}"))


def csv_text(report: MetricsReport, names: Sequence[str]) -> str:
    """Return the rows as comma-separated values with a header line; what is unavailable is empty."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*map(group_key, report.by), *names])
    for row in report.rows:
        fields = record_fields(report, row, names)
        keys = (*map(group_key, report.by), *names)
        writer.writerow(["" if fields[key] is None else fields[key] for key in keys])
    return out.getvalue()


def plain_text(report: MetricsReport, names: Sequence[str]) -> str:
    """Return one tab-separated line per row, without a header; what is unavailable is `-`."""
    lines = []
    for row in report.rows:
        fields = record_fields(report, row, names)
        keys = (*map(group_key, report.by), *names)
        lines.append("\t".join("-" if fields[key] is None else str(fields[key]) for key in keys) + "\n")
    return "".join(lines)


def jsonl_text(report: MetricsReport, names: Sequence[str]) -> str:
    """Return one JSON object per row."""
    import json

    rows = (record_fields(report, row, names) for row in report.rows)
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
