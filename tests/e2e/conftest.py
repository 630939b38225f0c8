"""Places and runs that the end-to-end tests share. The long runs are made once, for all tests that look at them."""

from pathlib import Path

import pytest
from processes import HELD, Told, watch

CRASH = "bars_1m_2025-01_02.parquet"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home without any configuration, for every child."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return where a state directory may be made."""
    return tmp_path / "state"


@pytest.fixture(scope="session")
def crash(shared_data: Path, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Watch the eight hours around the crash of 2025-02-03, as the issue's command line does."""
    state = tmp_path_factory.mktemp("crash") / "state"
    options = ("--from", "2025-02-02T22:00Z", "--until", "2025-02-03T06:00Z", "--speed", "max")
    return Told(watch("--market", str(shared_data / CRASH), *options, state=state, home=home), state)


@pytest.fixture(scope="session")
def crash_options(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return the options of a market in which four longs are open when the crash comes at 02:07."""
    entries = tmp_path_factory.mktemp("held") / "entries.csv"
    rows = [f"2025-02-03T02:00:00Z,{symbol},long,20,{worth}" for symbol, worth in HELD.items()]
    entries.write_text("\n".join(["time,symbol,side,leverage,notional", *rows]) + "\n")
    market = ("--market", str(shared_data / CRASH), "--from", "2025-02-03T01:58Z", "--until", "2025-02-03T02:40Z")
    return (*market, "--speed", "max", "--entries", str(entries))


@pytest.fixture(scope="session")
def held_through(crash_options: tuple[str, ...], home: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Watch four longs that are open when the crash comes at 02:07."""
    state = tmp_path_factory.mktemp("held") / "state"
    return Told(watch(*crash_options, state=state, home=home), state)
