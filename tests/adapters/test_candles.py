"""Candle files: what is read, and what is refused with a place and a way out."""

import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest

from tpctl.adapters.candles import Span, candle_spans, read_candles, read_history
from tpctl.exits.errors import InputsError
from tpctl.market.bars import Bar, fold_bars

MINUTE = 60_000
START = 1_738_368_000_000  # 2025-02-01T00:00:00Z
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def row(
    at: int, *, first="2.8708", high="2.8780", low="2.8635", close="2.8775", volume="1558256.1", scale: int = 1
) -> str:
    closes = (at + MINUTE) * scale - 1
    return f"{at * scale},{first},{high},{low},{close},{volume},{closes},4475000.1,100,1.0,2.0,0"


def write_csv(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def five_rows(scale: int = 1) -> list[str]:
    return [row(START + i * MINUTE, scale=scale) for i in range(5)]


@pytest.fixture
def xrp_csv(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "XRPUSDT-1m-2025-02.csv", HEADER, *five_rows())


@pytest.fixture
def xrp_parquet(tmp_path: Path) -> Path:
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "bars [1m].parquet"
    with duckdb.connect() as base:
        base.execute(
            "CREATE TABLE bars "
            "(symbol VARCHAR, ts BIGINT, open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume DOUBLE)"
        )
        for symbol, volume in (("XRPUSDT", 30.0), ("ETHUSDT", -0.0)):
            for i in range(5):
                values = [symbol, START + i * MINUTE, 1e-05, 3e-05, 1e-05, 2e-05, volume]
                base.execute("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        base.execute(f"COPY bars TO '{path}' (FORMAT parquet)")
    return path


def test_a_csv_with_a_header_gives_exact_bars_and_their_length(xrp_csv: Path) -> None:
    candles = read_candles(xrp_csv)

    assert candles.interval_ms == MINUTE
    assert candles.symbols == ("XRPUSDT",)
    assert candles.bars["XRPUSDT"][0] == Bar(
        START, Decimal("2.8708"), Decimal("2.878"), Decimal("2.8635"), Decimal("2.8775"), Decimal("1558256.1")
    )
    assert str(candles.bars["XRPUSDT"][0].high) == "2.878"


def test_header_and_microseconds_make_no_difference(xrp_csv: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    bare = write_csv(tmp_path / "bare" / "XRPUSDT-1m-2025-02.csv", *five_rows())
    micro = write_csv(tmp_path / "XRPUSDT-1m-2025-03.csv", HEADER, *five_rows(scale=1000))

    assert read_candles(bare) == read_candles(xrp_csv) == read_candles(micro)


def test_a_zip_and_a_directory_read_as_their_files_do(xrp_csv: Path, tmp_path: Path) -> None:
    folder = tmp_path / "zipped"
    folder.mkdir()
    with zipfile.ZipFile(folder / "XRPUSDT-1m-2025-02.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(xrp_csv, "XRPUSDT-1m-2025-02.csv")
    later = [row(START + i * MINUTE, close="2.8640") for i in range(4, 8)]
    write_csv(folder / "XRPUSDT-1m-2025-03.csv", *later)
    (folder / "CHECKSUM.csv").write_text("not a kline file")

    bars = read_candles(folder).bars["XRPUSDT"]

    assert [bar.at for bar in bars] == [START + i * MINUTE for i in range(8)]
    assert bars[:4] == read_candles(xrp_csv).bars["XRPUSDT"][:4]
    assert read_candles([xrp_csv, folder / "XRPUSDT-1m-2025-03.csv"]).bars["XRPUSDT"] == bars


def test_the_range_includes_its_start_and_excludes_its_end(xrp_csv: Path) -> None:
    bars = read_candles(xrp_csv, ["XRPUSDT"], START + MINUTE, START + 3 * MINUTE).bars["XRPUSDT"]

    assert [bar.at for bar in bars] == [START + MINUTE, START + 2 * MINUTE]


def test_parquet_numbers_keep_the_digits_the_exchange_printed(xrp_parquet: Path) -> None:
    candles = read_candles(xrp_parquet, ["XRPUSDT", "ETHUSDT"], START, START + 2 * MINUTE)

    assert candles.interval_ms == MINUTE
    assert [len(series) for series in candles.bars.values()] == [2, 2]
    bar = candles.bars["XRPUSDT"][0]
    assert format(bar.open, "f") == "0.00001"
    assert str(bar.volume) == "30"
    assert str(candles.bars["ETHUSDT"][0].volume) == "0"


def test_one_bar_of_parquet_still_tells_its_length(xrp_parquet: Path) -> None:
    assert read_candles(xrp_parquet, ["XRPUSDT"], START, START + 1).interval_ms == MINUTE


def test_spans_tell_what_a_file_covers(xrp_parquet: Path, xrp_csv: Path) -> None:
    assert candle_spans(xrp_parquet) == {
        "ETHUSDT": Span(START, START + 4 * MINUTE),
        "XRPUSDT": Span(START, START + 4 * MINUTE),
    }
    assert candle_spans(xrp_csv) == {"XRPUSDT": Span(START, START + 4 * MINUTE)}


def test_history_is_what_opens_before_a_time_and_may_be_nothing(xrp_csv: Path) -> None:
    bars = read_candles(xrp_csv).bars["XRPUSDT"]

    assert list(read_history(xrp_csv, "XRPUSDT", START + 3 * MINUTE)) == list(bars[:3])
    assert list(read_history(xrp_csv, "XRPUSDT", START + 3 * MINUTE, 2 * MINUTE)) == list(bars[1:3])
    assert list(read_history(xrp_csv, "XRPUSDT", START)) == []
    assert list(read_history(xrp_csv, "XRPUSDT", START + 100 * MINUTE, MINUTE)) == []
    with pytest.raises(InputsError, match="symbol 'XPRUSDT' is not in"):
        read_history(xrp_csv, "XPRUSDT", START)


def test_the_recorded_month_reads_as_its_readme_says(shared_data: Path) -> None:
    pytest.importorskip("duckdb")
    file = shared_data / "bars_1m_2025-01_02.parquet"
    at = 1_738_548_420_000  # 2025-02-03T02:07:00Z, ETH -12.3% in a minute

    candles = read_candles(file, ["ETHUSDT", "XRPUSDT"], at - 10 * MINUTE, at + 10 * MINUTE)

    assert candles.interval_ms == MINUTE
    assert [len(series) for series in candles.bars.values()] == [20, 20]
    crash = max(candles.bars["ETHUSDT"], key=lambda bar: bar.open - bar.low)
    assert crash.at == at
    assert crash.low < crash.open * Decimal("0.9")


def test_a_missing_extra_is_named(xrp_parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(InputsError, match="needs the parquet extra") as caught:
        read_candles(xrp_parquet)

    assert "tpctl[parquet]" in caught.value.hint


@pytest.mark.parametrize("size", [0, 40, 400])
def test_a_truncated_parquet_is_damaged(xrp_parquet: Path, tmp_path: Path, size: int) -> None:
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(xrp_parquet.read_bytes()[:size])

    with pytest.raises(InputsError, match=r"cut\.parquet' is damaged"):
        read_candles(cut)


def test_a_parquet_of_something_else_is_refused_and_left_out_of_a_directory(xrp_parquet: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    other = xrp_parquet.parent / "funding.parquet"
    duckdb.sql(f"COPY (SELECT 'XRPUSDT' symbol, 1 ts, 0.1 funding_rate) TO '{other}' (FORMAT parquet)")

    with pytest.raises(InputsError, match="column 'open' is missing"):
        read_candles(other)
    assert read_candles(other.parent).symbols == ("ETHUSDT", "XRPUSDT")


@pytest.mark.parametrize("keep", [10, 60, 150])
def test_a_truncated_zip_is_damaged(xrp_csv: Path, tmp_path: Path, keep: int) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(xrp_csv, "XRPUSDT-1m-2025-02.csv")
    cut = tmp_path / "XRPUSDT-1m-2025-02.zip"
    cut.write_bytes(whole.read_bytes()[:keep])

    with pytest.raises(InputsError, match=r"2025-02\.zip' is damaged"):
        read_candles(cut)


def test_a_zip_with_a_flipped_byte_is_damaged(xrp_csv: Path, tmp_path: Path) -> None:
    broken = tmp_path / "XRPUSDT-1m-2025-02.zip"
    with zipfile.ZipFile(broken, "w", zipfile.ZIP_STORED) as archive:
        archive.write(xrp_csv, "XRPUSDT-1m-2025-02.csv")
    data = bytearray(broken.read_bytes())
    data[data.index(b"2.8708")] = ord("3")
    broken.write_bytes(bytes(data))

    with pytest.raises(InputsError, match="damaged"):
        read_candles(broken)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (row(START + MINUTE)[:40], "expected 12 fields"),
        (row(START + MINUTE)[:-1], "expected 12 fields"),
        (row(START + MINUTE, close="x"), "not a number"),
        (row(START + MINUTE, close="NaN"), "impossible bar"),
        (row(START + MINUTE, low="-1"), "impossible bar"),
        (row(START + MINUTE, high="2.8636"), "impossible bar"),
        (row(START + MINUTE).replace("173", "1e3", 1), "not a time"),
        ("\x00\ufffd\ufffd", "not text"),
    ],
)
def test_a_damaged_line_is_named_by_its_number(tmp_path: Path, bad: str, why: str) -> None:
    path = write_csv(tmp_path / "XRPUSDT-1m-2025-02.csv", HEADER, row(START), bad, row(START + 2 * MINUTE))

    with pytest.raises(InputsError, match=f"line 3 is damaged: .*{why}"):
        read_candles(path)


def test_an_unknown_symbol_suggests_the_near_one(xrp_csv: Path) -> None:
    with pytest.raises(InputsError, match="symbol 'XPRUSDT' is not in") as caught:
        read_candles(xrp_csv, ["XPRUSDT"])
    assert caught.value.hint == "did you mean XRPUSDT?"

    with pytest.raises(InputsError) as caught:
        read_candles(xrp_csv, ["DOGE"])
    assert caught.value.hint == "it holds XRPUSDT"


def test_an_empty_range_says_what_the_file_covers(xrp_csv: Path, xrp_parquet: Path) -> None:
    for path in (xrp_csv, xrp_parquet):
        with pytest.raises(InputsError, match="no bar of XRPUSDT in the range") as caught:
            read_candles(path, ["XRPUSDT"], START + 100 * MINUTE)
        assert caught.value.hint == "it covers 2025-02-01T00:00:00Z to 2025-02-01T00:04:00Z"


@pytest.mark.parametrize(
    ("name", "why"),
    [("gone.csv", "does not exist"), ("notes.txt", "no known format"), ("prices.csv", "cannot tell the symbol")],
)
def test_a_file_that_is_no_candle_file_is_refused(tmp_path: Path, name: str, why: str) -> None:
    if name != "gone.csv":
        (tmp_path / name).write_text("1,2,3\n")

    with pytest.raises(InputsError, match=why):
        read_candles(tmp_path / name)


def test_mixed_lengths_are_refused(xrp_csv: Path, tmp_path: Path) -> None:
    hours = [row(START + i * 60 * MINUTE) for i in range(3)]
    write_csv(tmp_path / "XRPUSDT-1h-2025-02.csv", *hours)

    with pytest.raises(InputsError, match="mixes bars of different lengths"):
        read_candles(tmp_path)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputsError, match="no candle file in directory"):
        read_candles(tmp_path)


def test_folding_minutes_gives_the_longer_bar() -> None:
    def bar(minute: int, *prices: int) -> Bar:
        return Bar(START + minute * MINUTE, *map(Decimal, prices), Decimal(1))

    minutes = [bar(0, 10, 12, 9, 11), bar(2, 11, 15, 11, 14), bar(4, 14, 14, 8, 9), bar(5, 9, 10, 9, 10)]

    folded = list(fold_bars(minutes, 5 * MINUTE))

    assert folded == [
        Bar(START, Decimal(10), Decimal(15), Decimal(8), Decimal(9), Decimal(3)),
        Bar(START + 5 * MINUTE, Decimal(9), Decimal(10), Decimal(9), Decimal(10), Decimal(1)),
    ]
