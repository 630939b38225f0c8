"""What `metrics` gives to other programs: attempts as CSV or Parquet, figures in Prometheus' text format.

Decides form only: every attempt with its record's fields and what was measured of it, decimals as plain digits, times
RFC 3339 UTC; nothing is aggregated that was not asked for. A file appears as a whole or not at all.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from tpctl.adapters.files import file_error
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.metrics_query import MetricsQuery, Selection
from tpctl.adapters.outcomes import rfc3339
from tpctl.exits.errors import InputsError
from tpctl.exits.model import Attempt
from tpctl.exits.statistics import Measured, Tally, from_pico
from tpctl.exits.units import plain, trimmed

# Columns in order, with their types in Parquet.
COLUMNS: Mapping[str, str] = {
    "id": "VARCHAR",
    "strategy_id": "VARCHAR",
    "symbol": "VARCHAR",
    "position_side": "VARCHAR",
    "leg": "INTEGER",
    "entry_time": "TIMESTAMP_MS",
    "entry_price": "DECIMAL(38, 12)",
    "target_price": "DECIMAL(38, 12)",
    "exit_time": "TIMESTAMP_MS",
    "exit_price": "DECIMAL(38, 12)",
    "quantity": "DECIMAL(38, 12)",
    "profit_usd": "DECIMAL(38, 12)",
    "outcome": "VARCHAR",
    "reason": "VARCHAR",
    "premature": "BOOLEAN",
    "missed_usd": "DECIMAL(38, 12)",
    "slippage": "DECIMAL(38, 12)",
    "r": "DECIMAL(38, 12)",
    "profit_share": "DECIMAL(38, 12)",
    "roi": "DECIMAL(38, 12)",
    "regime": "VARCHAR",
}
_CHUNK = 500


def export_rows(scan: JournalScan, query: MetricsQuery, chosen: Selection) -> Iterator[list[str]]:
    """Yield the selected attempts as text cells in the order of `COLUMNS`, as they were recorded; empty is unknown."""
    row = 0
    while found := scan.attempts_after(row, _CHUNK):
        row = found[-1][0]
        wanted = {number: attempt for number, attempt in found if _selected(attempt, chosen)}
        measured = query.measured(list(wanted))
        for number, attempt in wanted.items():
            # What came in after the index was read is left for the next export.
            if number in measured:
                yield _cells(attempt, *measured[number])


def _selected(attempt: Attempt, chosen: Selection) -> bool:
    return (
        (not chosen.strategies or attempt.strategy_id in chosen.strategies)
        and (not chosen.symbols or attempt.symbol in chosen.symbols)
        and (chosen.since is None or attempt.exit_time >= chosen.since)
        and (chosen.until is None or attempt.exit_time < chosen.until)
    )


def _cells(attempt: Attempt, measured: Measured, regime: str) -> list[str]:
    premature = "" if measured.premature is None else str(measured.premature).lower()
    return [
        attempt.id,
        attempt.strategy_id,
        attempt.symbol,
        attempt.position_side.value,
        str(attempt.leg),
        rfc3339(attempt.entry_time),
        plain(attempt.entry_price),
        plain(attempt.target_price),
        rfc3339(attempt.exit_time),
        plain(attempt.exit_price),
        plain(attempt.quantity),
        plain(attempt.profit_usd),
        attempt.outcome.value,
        attempt.reason,
        premature,
        *(_pico(value) for value in (measured.missed, measured.slip, measured.r, measured.share, measured.roi)),
        regime,
    ]


def _pico(value: int | None) -> str:
    return "" if value is None else trimmed(from_pico(value))


def write_csv(rows: Iterable[list[str]], out: TextIO) -> int:
    """Write attempts with a header line; return how many."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - the last number is the count
        writer.writerow(row)
    return count


def write_parquet(rows: Iterable[list[str]], path: Path) -> int:
    """Write attempts as a Parquet file; return how many.

    Needs the `parquet` extra (`InputsError`); raises `StateFileError` where the file cannot be written.
    """
    try:
        import duckdb  # noqa: PLC0415 - the parquet extra, named in the error
    except ImportError:
        raise InputsError(
            "writing Parquet needs the parquet extra", "pip install 'tpctl[parquet]', or use --export csv"
        ) from None
    with _staged(path) as staged:
        # Through a file, so that memory stays bounded however many attempts there are.
        table = staged.with_name(f"{staged.name}.csv")
        try:
            with table.open("w", encoding="utf-8", newline="") as file:
                count = write_csv(rows, file)
            types = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
            with duckdb.connect() as connection:
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute(
                    f"COPY (SELECT * FROM read_csv({_quoted(table)}, header = true, columns = {{{types}}}))"  # noqa: S608 - paths quoted
                    f" TO {_quoted(staged)} (FORMAT parquet)"
                )
        finally:
            with suppress(FileNotFoundError):
                table.unlink()
    return count


def prometheus_text(
    groups: Iterable[tuple[Mapping[str, str], Tally, int | None]], naked_ms: tuple[int, int, int, int] | None, env: str
) -> str:
    """Return figures in Prometheus' text format: per group of labels its counts and sums, and the naked time.

    Sums and counts rather than averages, so that a query can choose its own window; a figure nothing was measured of is
    absent, not zero. The number of open attempts is None where it is not known.
    """
    rows = list(groups)
    lines: list[str] = []
    for name, kind, words, value in _FIGURES:
        found = [(labels, value(tally, waiting)) for labels, tally, waiting in rows]
        samples = [(labels, number) for labels, number in found if number is not None]
        if samples:
            lines += [f"# HELP tpctl_{name} {words}", f"# TYPE tpctl_{name} {kind}"]
            lines += [
                f"tpctl_{name}{{{_labels({**labels, 'env': env})}}} {trimmed(Decimal(n))}" for labels, n in samples
            ]
    if naked_ms is not None:
        lines += [
            "# HELP tpctl_naked_seconds Time a closed position was without a live stop.",
            "# TYPE tpctl_naked_seconds gauge",
        ]
        for quantile, ms in zip(("0.5", "0.99", "1"), naked_ms[1:], strict=True):
            labels = _labels({"quantile": quantile, "env": env})
            lines.append(f"tpctl_naked_seconds{{{labels}}} {trimmed(Decimal(ms) / 1000)}")
    return "".join(f"{line}\n" for line in lines)


_FIGURES = (
    ("tp_attempts_total", "counter", "Finished take-profit attempts.", lambda tally, _: tally.attempts),
    ("tp_hits_total", "counter", "Take-profit attempts that reached their target.", lambda tally, _: tally.hits),
    ("tp_open", "gauge", "Take-profit attempts still open.", lambda _, waiting: waiting),
    ("tp_profit_usd", "gauge", "Profit of finished attempts after exit fees.", lambda tally, _: tally.total_profit),
    (
        "tp_slippage_sum",
        "counter",
        "Sum of |exit - target| / target of hits.",
        lambda tally, _: from_pico(tally.slip_abs),
    ),
    (
        "tp_minutes_sum",
        "counter",
        "Sum of minutes from entry to a hit.",
        lambda tally, _: Decimal(tally.took) / 60_000,
    ),
    ("tp_premature_total", "counter", "Misses whose target would have been reached.", lambda tally, _: tally.premature),
    ("tp_judged_total", "counter", "Misses with a verdict.", lambda tally, _: tally.judged),
    ("tp_missed_usd", "gauge", "What premature exits would have brought.", lambda tally, _: tally.missed_usd),
    (
        "tp_last_exit_seconds",
        "gauge",
        "Time of the newest exit.",
        lambda t, _: Decimal(t.updated) / 1000 if t.attempts else None,
    ),
)


def _labels(labels: Mapping[str, str]) -> str:
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in labels.items()
    }
    return ",".join(f'{name}="{value}"' for name, value in escaped.items())


def write_bytes(data: bytes, path: Path) -> None:
    """Replace a file named by the operator, readable as his umask says; raises `StateFileError`."""
    with _staged(path) as staged:
        staged.write_bytes(data)


@contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """Open a file named by the operator for writing; it appears when the block is left without an error."""
    with _staged(path) as staged, staged.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    staged = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield staged
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        staged.replace(path)
    except OSError as error:
        raise file_error("write", path, error) from error
    finally:
        # Gone already after the rename.
        with suppress(OSError):
            staged.unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
