"""Reading in a process of its own gives what reading gives, errors too, and leaves no library behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from tpctl.adapters.candles import read_candles, read_history
from tpctl.adapters.candles_apart import candles_apart, history_apart
from tpctl.exits.errors import InputsError
from tpctl.market.bars import thinned

MINUTE = 60_000
DAY = 1_440 * MINUTE
AT = 1_738_540_800_000  # 2025-02-03

_WITHOUT = """
import sys
from pathlib import Path
from tpctl.adapters.candles_apart import candles_apart
candles = candles_apart([Path(sys.argv[1])], ["XRPUSDT"], {since}, {until})
print(len(candles.bars["XRPUSDT"]), "duckdb" in sys.modules)
"""


@pytest.fixture
def recording(shared_data: Path) -> Path:
    pytest.importorskip("duckdb")
    return shared_data / "bars_1m_2025-01_02.parquet"


def test_it_reads_what_is_read_here(recording: Path) -> None:
    symbols, since, until = ["XRPUSDT", "BTCUSDT"], AT, AT + DAY
    before = read_history([recording], "XRPUSDT", AT)

    assert candles_apart([recording], symbols, since, until) == read_candles([recording], symbols, since, until)
    assert history_apart([recording], "XRPUSDT", AT, MINUTE) == thinned(before, MINUTE, AT)


def test_the_library_stays_there(recording: Path) -> None:
    script = _WITHOUT.format(since=AT, until=AT + DAY)
    done = subprocess.run([sys.executable, "-c", script, recording], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["1440", "False"]


def test_what_is_wrong_is_said_as_here(recording: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "bars.parquet"
    damaged.write_bytes(b"PAR1 and nothing else")
    wrong = [
        lambda read: read([damaged], None, None, None),
        lambda read: read([recording], ["NONEUSDT"], None, None),
        lambda read: read([recording], ["XRPUSDT"], 0, 1),
        lambda read: read([tmp_path / "none.parquet"], None, None, None),
    ]

    for asked in wrong:
        with pytest.raises(InputsError) as here:
            asked(read_candles)
        with pytest.raises(InputsError) as there:
            asked(candles_apart)
        assert (there.value.message, there.value.hint) == (here.value.message, here.value.hint)


def test_a_reader_that_dies_is_an_error_and_no_candles(
    recording: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nexit 3\n")
    dying.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(dying))

    with pytest.raises(InputsError, match="exit 3"):
        candles_apart([recording], ["XRPUSDT"], None, None)
