"""The pulse file: what is written is read, half of one is none, and a foreign file is refused."""

from decimal import Decimal
from pathlib import Path

import pytest

from tpctl.adapters.pulse import MarkPulse, Pulse, PulseWriter, read_pulse
from tpctl.exits.errors import StateFileError

PULSE = Pulse(
    at=1,
    written_at=2,
    started_at=3,
    pid=4,
    profile="main",
    env="live",
    mode="armed",
    host="vps1",
    exchange="fapi.binance.com",
    budget=(180, 2400),
    marks=(MarkPulse("XRPUSDT", "long", Decimal("2.4201"), 5, Decimal("2.5")),),
)


def test_the_newest_pulse_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "watch.pulse"
    writer = PulseWriter.open(path)
    writer.write(Pulse(**{name: getattr(PULSE, name) for name in PULSE.__struct_fields__}))
    assert read_pulse(path) == PULSE
    shorter = Pulse(at=9, written_at=9, started_at=3, pid=4, profile="m", env="sim", mode="armed", host="", exchange="")
    writer.write(shorter)
    writer.close()

    assert read_pulse(path) == shorter
    assert path.stat().st_mode & 0o777 == 0o600


def test_half_a_pulse_is_none(tmp_path: Path) -> None:
    path = tmp_path / "watch.pulse"
    writer = PulseWriter.open(path)
    writer.write(PULSE)
    writer.close()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)

    assert read_pulse(path) is None
    path.write_bytes(data[:10])
    assert read_pulse(path) is None
    assert read_pulse(tmp_path / "none") is None


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "watch.pulse"
    path.write_bytes(b"something else altogether")
    path.chmod(0o600)

    with pytest.raises(StateFileError, match=r"watch\.pulse"):
        read_pulse(path)


def test_writing_after_the_end_does_nothing(tmp_path: Path) -> None:
    writer = PulseWriter.open(tmp_path / "watch.pulse")
    writer.close()
    writer.write(PULSE)

    assert read_pulse(tmp_path / "watch.pulse") is None
