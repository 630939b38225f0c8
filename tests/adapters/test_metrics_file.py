"""The metrics file: the form operators' scripts read, rebuilt from attempts, never overwritten when in doubt."""

import json
import shutil
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.adapters.files import open_state_dir, write_atomic
from tpctl.adapters.lock import acquire
from tpctl.adapters.metrics_file import MetricsFile, fold_all, metrics_path
from tpctl.exits.errors import ExitCode, LockedError, StateFileError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Attempt, Outcome

# exit-rules 12: entry 50 000, target 51 000, exit 50 950 after 120 min, $100.
VECTOR = Attempt(
    id="a1",
    strategy_id="tp",
    symbol="BTCUSDT",
    position_side=PositionSide.LONG,
    leg=1,
    entry_time=1_763_640_000_000,
    entry_price=Decimal(50_000),
    target_price=Decimal(51_000),
    exit_time=1_763_647_200_123,
    exit_price=Decimal(50_950),
    quantity=Decimal("0.1"),
    profit_usd=Decimal(100),
    outcome=Outcome.HIT,
    reason="take_profit",
)
MISS = replace(VECTOR, id="a2", outcome=Outcome.MISS, premature=True, missed_usd=Decimal("7.5"))
OTHER = replace(VECTOR, id="a3", symbol="ETHUSDT", outcome=Outcome.MISS)


@pytest.fixture
def file(tmp_path: Path) -> MetricsFile:
    return MetricsFile(tmp_path / "tp_metrics.json")


def publish(file: MetricsFile, *attempts: Attempt) -> None:
    file.publish(lambda: fold_all(attempts))


def test_the_vector_of_the_exit_rules_is_written_as_plain_numbers(file: MetricsFile) -> None:
    publish(file, replace(VECTOR, exit_time=VECTOR.entry_time + 120 * 60_000))

    row = json.loads(file.path.read_text())["tp:BTCUSDT"]

    assert row["schema"] == "tpctl.tp_metrics/1"
    assert (row["tp_attempts"], row["tp_hits"], row["tp_misses"], row["tp_hit_rate"]) == (1, 1, 0, 1)
    assert round(row["avg_slippage_pct"], 8) == 0.00098039
    assert row["avg_time_to_tp_minutes"] == 120
    assert row["total_tp_profit_usd"] == 100
    assert row["last_updated"] == "2025-11-20T14:00:00.000Z"


def test_what_nothing_was_measured_of_is_null(file: MetricsFile) -> None:
    publish(file, OTHER)

    row = json.loads(file.path.read_text())["tp:ETHUSDT"]

    assert row["avg_slippage_pct"] is None
    assert row["fastest_tp_minutes"] is None


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_line_operators_know_works(file: MetricsFile) -> None:
    publish(file, VECTOR, MISS, OTHER)
    line = ".[] | {strategy: .strategy_id, symbol: .symbol, hit_rate: .tp_hit_rate, slippage: .avg_slippage_pct}"

    answer = subprocess.run(["jq", "-c", line, str(file.path)], check=True, capture_output=True, text=True)

    rows = [json.loads(row) for row in answer.stdout.splitlines()]
    assert [(row["strategy"], row["symbol"], row["hit_rate"]) for row in rows] == [
        ("tp", "BTCUSDT", 0.5),
        ("tp", "ETHUSDT", 0),
    ]
    assert rows[1]["slippage"] is None


def test_what_was_published_is_read_back_exactly(file: MetricsFile) -> None:
    written = file.publish(lambda: fold_all((VECTOR, MISS, OTHER)))

    assert file.read() == written
    assert set(written) == {"tp:BTCUSDT", "tp:ETHUSDT"}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda number, symbol, exit_price, profit, minutes, hit: replace(
                VECTOR,
                id=f"a{number}",
                symbol=symbol,
                exit_price=exit_price,
                profit_usd=profit,
                exit_time=VECTOR.entry_time + minutes,
                outcome=Outcome.HIT if hit else Outcome.MISS,
            ),
            st.integers(0, 20),
            st.sampled_from(["BTCUSDT", "ETHUSDT"]),
            st.decimals("0.01", "99999", places=8),
            st.decimals(-1000, 1000, places=8),
            st.integers(0, 10**9),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_any_records_are_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, attempts: list[Attempt]) -> None:
    file = MetricsFile(tmp_path_factory.mktemp("metrics") / "m.json")

    assert file.read() is None
    assert file.publish(lambda: fold_all(attempts)) == file.read()
    assert sum(record.tp_attempts for record in (file.read() or {}).values()) == len({each.id for each in attempts})


def test_an_attempt_counts_once_by_its_id() -> None:
    assert fold_all([VECTOR, VECTOR, MISS, VECTOR]) == fold_all([VECTOR, MISS])


def test_publishing_again_changes_nothing_on_disk(file: MetricsFile) -> None:
    publish(file, VECTOR)
    before = file.path.stat()
    publish(file, VECTOR)

    assert file.path.stat().st_ino == before.st_ino


def test_the_file_is_private_and_its_lock_beside_it(file: MetricsFile) -> None:
    publish(file, VECTOR)

    assert file.path.stat().st_mode & 0o777 == 0o600
    assert {entry.name for entry in file.path.parent.iterdir()} == {"tp_metrics.json", "tp_metrics.json.lock"}


def test_attempts_are_read_under_the_lock(file: MetricsFile) -> None:
    """Read before it, they could be older than what another publisher wrote meanwhile."""

    def records() -> dict[str, Any]:
        with pytest.raises(LockedError):
            acquire(file.path.with_name("tp_metrics.json.lock"))
        return fold_all((VECTOR,))

    file.publish(records)


def published() -> dict[str, Any]:
    return {
        "tp:BTCUSDT": {
            "schema": "tpctl.tp_metrics/1",
            "strategy_id": "tp",
            "symbol": "BTCUSDT",
            "tp_attempts": 1,
            "tp_hits": 1,
            "tp_misses": 0,
            "tp_hit_rate": 1,
            "avg_slippage_pct": 0.001,
            "max_slippage_pct": 0.001,
            "mean_signed_slippage_pct": None,
            "avg_time_to_tp_minutes": 120.5,
            "fastest_tp_minutes": 120,
            "slowest_tp_minutes": 120,
            "total_tp_profit_usd": 100,
            "avg_tp_profit_usd": 100,
            "premature_exits": 0,
            "missed_opportunities_usd": 0,
            "last_updated": "2025-11-20T12:00:00Z",
        }
    }


def changed(**values: object) -> bytes:
    content = published()
    content["tp:BTCUSDT"].update(values)
    return json.dumps(content).encode()


def without(name: str) -> bytes:
    content = published()
    del content["tp:BTCUSDT"][name]
    return json.dumps(content).encode()


def test_a_file_with_a_field_that_was_added_later_is_read(file: MetricsFile) -> None:
    write_atomic(file.path, changed(added_later=1))

    records = file.read()

    assert records is not None
    assert records["tp:BTCUSDT"].avg_time_to_tp_minutes == Decimal("120.5")
    assert records["tp:BTCUSDT"].last_updated == 1_763_640_000_000


WHOLE = json.dumps(published()).encode()
DAMAGED = [
    (b"", "is not JSON"),
    (WHOLE[: len(WHOLE) // 2], "is not JSON"),
    (WHOLE[:-1], "is not JSON"),
    (b"\x00" * 100, "is not JSON"),
    (b"\xff\xfe", "is not JSON"),
    (b"[" * 100_000, "is not JSON"),
    (b"[]", "is not a JSON object"),
    (b"null", "is not a JSON object"),
    (b'{"tp:BTCUSDT": 1}', "has schema None"),
    (without("schema"), "has schema None"),
    (changed(schema="tpctl.plan/1"), "has schema 'tpctl.plan/1'"),
    (changed(schema="tpctl.tp_metrics/0"), "has schema 'tpctl.tp_metrics/0'"),
    (changed(schema="tpctl.tp_metrics/x"), "has schema 'tpctl.tp_metrics/x'"),
    (without("tp_hits"), "it lacks 'tp_hits'"),
    (changed(tp_hits="1"), "tp_hits was '1'"),
    (changed(tp_hits=True), "tp_hits was True"),
    (changed(tp_hits=-1), "tp_hits was -1"),
    (changed(tp_hits=2), "its counts contradict each other"),
    (changed(premature_exits=1), "its counts contradict each other"),
    (changed(avg_slippage_pct="0.1"), "avg_slippage_pct was '0.1'"),
    (changed(avg_slippage_pct=float("inf")), "is not JSON: Infinity is not a JSON number"),
    (changed(total_tp_profit_usd=None), "total_tp_profit_usd was None"),
    (changed(last_updated=5), "last_updated was 5"),
    (changed(last_updated="yesterday"), "Invalid isoformat string"),
    (changed(last_updated="2025-11-20T12:00:00"), "has no time zone"),
    (changed(symbol="ETHUSDT"), "has the record of 'tp:ETHUSDT' under 'tp:BTCUSDT'"),
    (changed(schema="tpctl.tp_metrics/2"), "has schema 'tpctl.tp_metrics/2', this tpctl reads up to"),
]


@pytest.mark.parametrize(("content", "message"), DAMAGED, ids=range(len(DAMAGED)))
def test_a_file_in_doubt_is_refused_by_name_and_not_overwritten(
    file: MetricsFile, content: bytes, message: str
) -> None:
    write_atomic(file.path, content)
    for use in (file.read, lambda: file.publish(lambda: fold_all((VECTOR, MISS)))):
        with pytest.raises(StateFileError) as caught:
            use()

        assert message in caught.value.message
        assert str(file.path) in caught.value.message
        assert caught.value.exit_code == ExitCode.STATE_FILE
    assert file.path.read_bytes() == content


def test_a_file_that_counts_more_than_the_journal_is_not_overwritten(file: MetricsFile) -> None:
    publish(file, VECTOR, MISS)
    before = file.path.read_bytes()

    with pytest.raises(StateFileError, match="counts 2 attempts of 'tp:BTCUSDT', the journal knows 1") as caught:
        publish(file, VECTOR)
    with pytest.raises(StateFileError, match="the journal knows 0"):
        publish(file)

    assert file.path.read_bytes() == before
    assert "move the file aside" in caught.value.hint


def test_a_symbolic_link_in_place_of_the_file_is_refused(file: MetricsFile) -> None:
    file.path.with_name("real").write_bytes(b"{}")
    file.path.symlink_to("real")

    with pytest.raises(StateFileError, match="symbolic link"):
        publish(file, VECTOR)
    assert file.path.with_name("real").read_bytes() == b"{}"


def test_the_option_names_the_file_before_the_environment_and_the_environment_before_the_profile(
    tmp_path: Path,
) -> None:
    state = open_state_dir(tmp_path / "s")
    environment = {"TP_METRICS_PATH": "/elsewhere/m.json"}

    assert metrics_path(state, Path("x.json"), environment) == Path("x.json")
    assert metrics_path(state, None, environment) == Path("/elsewhere/m.json")
    assert metrics_path(state, None, {"TP_METRICS_PATH": ""}) == tmp_path / "s" / "tp_metrics.json"
    assert metrics_path(state, None, {}) == tmp_path / "s" / "tp_metrics.json"
