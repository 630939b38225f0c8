"""What the exchange itself says happened: the twin's books, asked through python-binance, as an auditor would."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from binance import AsyncClient
from processes import PATIENCE_S
from websockets.sync.client import connect

from tpctl.exits.ids import ClientId, Role, is_ours, parse_client_id

Row = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """Positions, conditional orders (open and ever), regular orders and trades of the whole account."""

    positions: list[Row]
    open_algo: list[Row]
    algo: list[Row]
    orders: list[Row]
    trades: list[Row]

    @property
    def sizes(self) -> dict[str, Decimal]:
        """Signed sizes of the open positions by symbol."""
        return {row["symbol"]: Decimal(row["positionAmt"]) for row in self.positions if Decimal(row["positionAmt"])}

    @property
    def openings(self) -> list[tuple[str, str, str, int]]:
        """What the trader did: symbol, side, quantity and time of every foreign order."""
        rows = [row for row in self.orders if row["clientOrderId"].startswith("web_")]
        return [(row["symbol"], row["side"], row["origQty"], row["time"]) for row in rows]

    def ours(self) -> Iterator[tuple[ClientId, Row]]:
        """Yield every conditional order of ours that there ever was."""
        for row in self.algo:
            name = parse_client_id(row["clientAlgoId"])
            if name is not None:
                yield name, row

    def filled(self) -> dict[tuple[str, Role, int], list[Row]]:
        """Return our executed orders by generation, role and leg: conditional ones through the orders they became."""
        by_id = {row["orderId"]: row for row in self.orders}
        found: dict[tuple[str, Role, int], list[Row]] = defaultdict(list)
        for name, row in self.ours():
            child = by_id.get(int(row["actualOrderId"] or 0))
            if child is not None and Decimal(child["executedQty"]):
                found[name.generation, name.role, name.leg].append(child)
        for row in self.orders:
            name = parse_client_id(row["clientOrderId"])
            if name is not None and name.role is Role.REDUCE and Decimal(row["executedQty"]):
                found[name.generation, name.role, name.leg].append(row)
        return dict(found)


def read_ledger(url: str) -> Ledger:
    """Ask the twin at `url` for everything."""
    return asyncio.run(_read(url))


async def _read(url: str) -> Ledger:
    client = AsyncClient("sim", "sim")
    client.FUTURES_URL = f"{url}/fapi"
    try:
        # The twin's time stands still between its steps; a little late, within the window of 10 s, is never ahead.
        client.timestamp_offset = (await client.futures_time())["serverTime"] - int(time.time() * 1000) - 5_000
        symbols = [row["symbol"] for row in (await client.futures_exchange_info())["symbols"]]
        marks = await client.futures_mark_price()
        traded = [row["symbol"] for row in marks if row["symbol"] in symbols and Decimal(row["markPrice"])]
        algo: list[Row] = []
        orders: list[Row] = []
        trades: list[Row] = []
        for symbol in traded:
            algo += await client.futures_get_all_algo_orders(symbol=symbol, limit="1000")
            orders += await client.futures_get_all_orders(symbol=symbol, limit="1000")
            trades += await client.futures_account_trades(symbol=symbol, limit="1000")
        return Ledger(
            positions=await client.futures_position_information(),
            open_algo=await client.futures_get_open_algo_orders(),
            algo=algo,
            orders=orders,
            trades=trades,
        )
    finally:
        await client.close_connection()


@contextmanager
def held_market(url: str) -> Iterator[None]:
    """Keep the market of the twin at `url` from moving by itself where the watch that drives it ends.

    Else a fast market fills take-profits between the end of the watch and the look at the books.
    """
    with connect(url.replace("http", "ws", 1) + "/twin/v1/pace") as pace:
        pace.send('{"op": "sync"}')
        pace.recv(PATIENCE_S)
        yield


def check_books(ledger: Ledger) -> None:
    """Assert what must hold whatever happened to the process that placed the orders (I1, I2, I3, I6, I11)."""
    sizes = ledger.sizes
    ids = Counter(row["clientAlgoId"] for row in ledger.algo)
    assert [name for name, count in ids.items() if count > 1] == [], "one id was used twice"
    resting: dict[tuple[str, Role, int], list[Row]] = defaultdict(list)
    for row in ledger.open_algo:
        assert is_ours(row["clientAlgoId"])
        name = parse_client_id(row["clientAlgoId"])
        assert name is not None
        assert row["symbol"] in sizes, f"an orphan rests: {row}"
        resting[row["symbol"], name.role, name.leg].append(row)
    twice = {place: len(rows) for place, rows in resting.items() if len(rows) > 1}
    assert twice == {}, "an order rests twice"
    for symbol, size in sizes.items():
        (backstop,) = resting[symbol, Role.BACKSTOP, 0]
        (stop,) = resting[symbol, Role.STOP, 0]
        assert backstop["closePosition"] is True
        assert Decimal(stop["quantity"]) == abs(size), f"the stop of {symbol} does not cover {size}"
        targets = [
            row
            for (name, role, _), rows in resting.items()
            if (name, role) == (symbol, Role.TAKE_PROFIT)
            for row in rows
        ]
        assert sum(Decimal(row["quantity"]) for row in targets) <= abs(size)
        closing = "SELL" if size > 0 else "BUY"
        assert {row["side"] for row in (backstop, stop, *targets)} == {closing}
    _check_executions(ledger)


def _check_executions(ledger: Ledger) -> None:
    for (generation, role, leg), rows in ledger.filled().items():
        if role is not Role.REDUCE:
            assert len(rows) == 1, f"{role.label} {leg} of {generation} executed {len(rows)} times"
    # Our orders can only bring a position nearer to flat: replay the account's trades and look at each of ours.
    by_id = {row["orderId"]: row for row in ledger.orders}
    children = {int(row["actualOrderId"] or 0) for _, row in ledger.ours()}
    size: dict[str, Decimal] = defaultdict(Decimal)
    for trade in sorted(ledger.trades, key=lambda row: (row["time"], row["id"])):
        change = Decimal(trade["qty"]) * (1 if trade["side"] == "BUY" else -1)
        before, after = size[trade["symbol"]], size[trade["symbol"]] + change
        mine = trade["orderId"] in children or is_ours(by_id[trade["orderId"]]["clientOrderId"])
        if mine:
            assert abs(after) < abs(before), f"one of our orders grew {trade['symbol']}: {before} to {after}"
            assert before * after >= 0, f"one of our orders flipped {trade['symbol']}: {before} to {after}"
        size[trade["symbol"]] = after
    assert {symbol: amount for symbol, amount in size.items() if amount} == ledger.sizes
