"""Recorded candles as arrays: the same numbers the slow reader gives, of one length, joined."""

from pathlib import Path

import numpy as np
import pytest

from tpctl.adapters.candles import read_candles
from tpctl.adapters.price_files import read_funding, read_prices
from tpctl.exits.errors import InputsError

QUARTER = 900_000
SINCE, UNTIL = 1_738_454_400_000, 1_738_627_200_000  # 2 and 3 February 2025


def test_parquet_gives_what_the_bar_reader_gives(shared_data: Path) -> None:
    path = shared_data / "bars_1h_last_2019_2025-04.parquet"
    fast = read_prices([path], ["XRPUSDT", "BTCUSDT"], SINCE, UNTIL)
    slow = read_candles(path, ["XRPUSDT", "BTCUSDT"], SINCE, UNTIL)

    assert list(fast) == ["XRPUSDT", "BTCUSDT"]
    for symbol, bars in slow.bars.items():
        assert fast[symbol].at.tolist() == [bar.at for bar in bars]
        assert fast[symbol].close.tolist() == [float(bar.close) for bar in bars]
        assert fast[symbol].low.tolist() == [float(bar.low) for bar in bars]


def test_files_of_other_lengths_are_folded_and_joined(shared_data: Path) -> None:
    files = [shared_data / "bars_15m_2022-01_2025-01.parquet", shared_data / "bars_1m_2025-01_02.parquet"]
    found = read_prices(files, ["BTCUSDT", "ETHUSDT"], SINCE, UNTIL)

    assert {one.interval_ms for one in found.values()} == {QUARTER}
    assert len(found["BTCUSDT"]) == len(found["ETHUSDT"]) == 2 * 96
    # The one-minute candles of the crash fold into the quarter's own extremes: it fell from 2496 to 2080.
    row = int(np.searchsorted(found["ETHUSDT"].at, 1_738_548_000_000))
    assert (found["ETHUSDT"].open[row], found["ETHUSDT"].low[row]) == (2496.0, 2080.19)


def test_csv_reads_too(tmp_path: Path) -> None:
    rows = "".join(
        f"{SINCE + index * QUARTER},1.{index},2,0.5,1.{index + 1},7,{SINCE},1,1,1,1,0\n" for index in range(5)
    )
    (tmp_path / "XRPUSDT-15m-2025-02.csv").write_text(rows)
    found = read_prices([tmp_path / "XRPUSDT-15m-2025-02.csv"])

    assert found["XRPUSDT"].close.tolist() == [1.1, 1.2, 1.3, 1.4, 1.5]


def test_what_is_not_there_is_refused_with_a_way_out(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "bars_1h_last_2019_2025-04.parquet"
    with pytest.raises(InputsError, match="symbol 'NOPE' is in none of the files"):
        read_prices([path], ["NOPE"])
    with pytest.raises(InputsError, match="no candle in the range"):
        read_prices([path], ["XRPUSDT"], 1, 2)
    with pytest.raises(InputsError, match="does not exist"):
        read_prices([tmp_path / "none.parquet"])
    (tmp_path / "bad.parquet").write_bytes(b"not parquet")
    with pytest.raises(InputsError, match="cannot be read"):
        read_prices([tmp_path / "bad.parquet"])
    with pytest.raises(InputsError, match="cannot be read"):
        read_prices([shared_data / "funding_2019_2025-04.parquet"])


def test_funding_reads_by_symbol(shared_data: Path) -> None:
    found = read_funding([shared_data / "funding_2019_2025-04.parquet"])
    times, rates = found["BTCUSDT"]

    assert len(found) > 50
    assert (np.diff(times) > 0).all()
    assert np.abs(rates).max() < 0.05
