"""The recorded years, read once for all tests of risk."""

from pathlib import Path

import pytest

from tpctl.adapters.price_files import read_prices
from tpctl.market.risk.course import Course, market_course
from tpctl.market.risk.prices import Panel, build_panel


@pytest.fixture(scope="session")
def recorded(shared_data: Path) -> Panel:
    files = [shared_data / "bars_15m_2022-01_2025-01.parquet", shared_data / "bars_1m_2025-01_02.parquet"]
    found = build_panel(read_prices(files))
    assert isinstance(found, Panel)
    return found


@pytest.fixture(scope="session")
def years(recorded: Panel) -> Course:
    found = market_course(recorded)
    assert isinstance(found, Course)
    return found
