"""Exports: every attempt with its digits, for programs that are not ours."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from metrics_desk import START, VECTOR, commit_attempts, life, open_journal, random_attempts

from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.metrics_export import (
    COLUMNS,
    export_rows,
    prometheus_text,
    text_file,
    write_bytes,
    write_csv,
    write_parquet,
)
from tpctl.adapters.metrics_index import MetricsIndex
from tpctl.adapters.metrics_query import MetricsQuery, Selection
from tpctl.adapters.outcomes import rfc3339
from tpctl.exits.errors import StateFileError
from tpctl.exits.statistics import Tally, measure

ATTEMPTS = random_attempts(5, 60)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[JournalScan, MetricsQuery]]:
    with open_journal(tmp_path / "sim") as journal:
        commit_attempts(journal, ATTEMPTS)
        for entry in life(1, pnl="-4"):
            journal.commit(entry)
    with JournalScan.open(tmp_path / "sim" / "journal.db") as scan, MetricsIndex.temporary() as index:
        index.update(scan)
        yield scan, MetricsQuery(index)


def test_csv_holds_every_attempt_with_its_digits(opened: tuple[JournalScan, MetricsQuery]) -> None:
    out = io.StringIO()
    count = write_csv(export_rows(*opened, Selection()), out)

    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(out.getvalue()))}
    assert count == len(rows) == 61
    assert out.getvalue().splitlines()[0] == ",".join(COLUMNS)
    for attempt in ATTEMPTS:
        row = rows[attempt.id]
        assert Decimal(row["profit_usd"]) == attempt.profit_usd
        assert Decimal(row["exit_price"]) == attempt.exit_price
        assert row["exit_time"] == rfc3339(attempt.exit_time)
        assert row["premature"] == {None: "", True: "true", False: "false"}[attempt.premature]
        assert row["r"] == ""
    own = rows["0000000001-1-1"]
    assert (own["r"], own["roi"], own["profit_share"]) == ("-1", "-0.2", "-0.02")


def test_a_selection_is_exported_alone(opened: tuple[JournalScan, MetricsQuery]) -> None:
    chosen = Selection(("static",), ("ETHUSDT",), ATTEMPTS[10].exit_time, ATTEMPTS[50].exit_time)

    ids = {row[0] for row in export_rows(*opened, chosen)}

    assert ids == {a.id for a in ATTEMPTS[10:50] if (a.strategy_id, a.symbol) == ("static", "ETHUSDT")}
    assert ids


def test_parquet_holds_the_same_with_types(opened: tuple[JournalScan, MetricsQuery], tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "it's attempts.parquet"

    assert write_parquet(export_rows(*opened, Selection()), path) == 61

    rows = duckdb.read_parquet(str(path)).project("id, profit_usd, exit_time, premature, leg")
    found = {row[0]: row[1:] for row in rows.fetchall()}
    for attempt in ATTEMPTS:
        profit, exit_time, premature, leg = found[attempt.id]
        assert profit == attempt.profit_usd
        assert f"{exit_time:%Y-%m-%dT%H:%M:%S}" == rfc3339(attempt.exit_time)[:19]
        assert (premature, leg) == (attempt.premature, attempt.leg)
    assert {entry.name for entry in tmp_path.iterdir()} == {"sim", path.name}


def test_prometheus_text_is_well_formed_and_escapes_labels() -> None:
    tally = Tally.of([measure(VECTOR, None, None)])
    text = prometheus_text(
        [({"strategy_id": 'a"b\\c', "symbol": "X"}, tally, 3), ({"symbol": "Y"}, Tally(), None)],
        (9, 0, 1500, 2000),
        "sim",
    )

    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) tpctl_\w+ .+|tpctl_\w+\{(\w+="([^"\\]|\\.)*",?)+\} -?\d+(\.\d+)?', line), (
            line
        )
    assert 'tpctl_tp_attempts_total{strategy_id="a\\"b\\\\c",symbol="X",env="sim"} 1\n' in text
    assert 'tpctl_tp_open{strategy_id="a\\"b\\\\c",symbol="X",env="sim"} 3\n' in text
    assert 'tpctl_tp_minutes_sum{strategy_id="a\\"b\\\\c",symbol="X",env="sim"} 120\n' in text
    assert 'tpctl_naked_seconds{quantile="0.99",env="sim"} 1.5\n' in text
    assert 'tpctl_tp_open{symbol="Y"' not in text
    assert 'tpctl_tp_last_exit_seconds{symbol="Y"' not in text
    assert text.count("# TYPE tpctl_tp_attempts_total") == 1


def test_a_file_appears_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_bytes(b"old", path)
    with suppress(ZeroDivisionError), text_file(path) as file:
        file.write("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    with text_file(path) as file:
        file.write("new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match=r"cannot write .*nowhere"):
        write_bytes(b"x", tmp_path / "nowhere" / "out.txt")


def test_what_came_in_after_the_index_was_read_waits_for_the_next_export(
    opened: tuple[JournalScan, MetricsQuery], tmp_path: Path
) -> None:
    with open_journal(tmp_path / "sim") as journal:
        journal.record(START, [replace(VECTOR, id="late")])

    assert "late" not in {row[0] for row in export_rows(*opened, Selection())}
