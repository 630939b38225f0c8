"""What positions cost is what the exchange booked: with nothing left open, all profits are the change of the wallet."""

import asyncio
import json
import time
from decimal import Decimal
from pathlib import Path

import pytest
from binance import AsyncClient
from ledger import read_ledger
from processes import run, served_twin, watch

from tpctl.exits.errors import ExitCode

START = "2025-02-03T07:30:00Z"


@pytest.fixture
def twin(shared_data: Path, tmp_path: Path) -> tuple[str, ...]:
    """Return half an hour before the funding at eight, with positions of both sides that live through it or do not."""
    file = tmp_path / "entries.csv"
    rows = [
        *("2025-02-03T07:31:00Z,XRPUSDT,long,10,3000", "2025-02-03T07:31:00Z,BTCUSDT,short,20,5000"),
        *("2025-02-03T07:40:00Z,ETHUSDT,long,10,4000", "2025-02-03T08:10:00Z,SOLUSDT,short,5,1000"),
    ]
    file.write_text("\n".join(["time,symbol,side,leverage,notional", *rows]) + "\n")
    market = ("--market", str(shared_data / "bars_1m_2025-01_02.parquet"), "--from", START)
    return (*market, "--until", "2025-02-03T12:00:00Z", "--speed", "max", "--entries", str(file))


def wallet(url: str) -> Decimal:
    async def read() -> Decimal:
        client = AsyncClient("sim", "sim")
        client.FUTURES_URL = f"{url}/fapi"
        try:
            client.timestamp_offset = (await client.futures_time())["serverTime"] - int(time.time() * 1000) - 5_000
            return sum((Decimal(row["balance"]) for row in await client.futures_account_balance()), Decimal(0))
        finally:
            await client.close_connection()

    return asyncio.run(read())


def test_profits_after_all_costs_are_the_change_of_the_wallet(home: Path, state: Path, twin: tuple[str, ...]) -> None:
    with served_twin(home, *twin) as url:
        before = wallet(url)
        assert watch("--venue", url, "--for", "1h", state=state, home=home).code == ExitCode.OK
        flatten = ("watch", "--flatten", "--yes", "--jsonl", "--venue", url)
        assert run([*flatten, "--state-dir", str(state)], home).code == ExitCode.OK
        after, left = wallet(url), read_ledger(url).sizes
        settle = ["metrics", "--settle", "--venue", url, "--json", "--state-dir", str(state)]
        early = json.loads(run(settle, home).out)["data"]["settled"]
        # A little later the last closes are booked too, and a watch that runs reads them by itself.
        assert watch("--venue", url, "--for", "5m", state=state, home=home).code == ExitCode.OK
        late = json.loads(run(settle, home).out)["data"]["settled"]
    data = json.loads(run(["metrics", "--json", "--state-dir", str(state)], home).out)["data"]

    assert left == {}
    assert {one["reason"] for one in early["costs_open"]} == {"it closed too short a time ago"}
    assert (late["costs"], late["costs_open"]) == (0, [])
    assert data["net_pnl_usd"]["count"] == data["positions"]["closed"] >= 4
    assert Decimal(data["funding_usd"]["total"]) != 0
    assert Decimal(data["net_pnl_usd"]["total"]) == after - before
