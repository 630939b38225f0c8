"""The operator trades by hand, by another client of the same account, while a real watch runs at the served twin.

Adopted while running, added to, partly closed, turned round, closed; leverage and position mode changed; both sides
held at once: each is followed, and whatever is open has its stop and nothing else has an order.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from binance import AsyncClient
from ledger import Row
from processes import PATIENCE_S, Event, Process, of, served_twin, watch_args
from terminals import rest

from tpctl.exits.errors import ExitCode
from tpctl.exits.ids import Role, parse_client_id

D = Decimal


class Hand:
    """Another client of the account, and what it sees there."""

    def __init__(self, url: str) -> None:
        self._url = url

    def does(self, *acts: Callable[[AsyncClient], Awaitable[Any]]) -> list[Any]:
        async def run() -> list[Any]:
            client = AsyncClient("sim", "sim")
            client.FUTURES_URL = f"{self._url}/fapi"
            try:
                # The twin's time stands still between its steps; a little late is never ahead of it.
                client.timestamp_offset = (await client.futures_time())["serverTime"] - int(time.time() * 1000) - 5_000
                return [await act(client) for act in acts]
            finally:
                await client.close_connection()

        return asyncio.run(run())

    def trades(self, side: str, quantity: int, position: str | None = None) -> None:
        more = {} if position is None else {"positionSide": position}
        order = {"symbol": "XRPUSDT", "side": side, "type": "MARKET", "quantity": quantity}
        name = {"newClientOrderId": f"web_{time.time_ns()}"}
        self.does(lambda client: client.futures_create_order(**order, **name, **more))

    def held(self) -> tuple[dict[str, Decimal], list[Row]]:
        positions, orders = self.does(
            lambda client: client.futures_position_information(symbol="XRPUSDT"),
            lambda client: client.futures_get_open_algo_orders(symbol="XRPUSDT"),
        )
        return {row["positionSide"]: D(row["positionAmt"]) for row in positions if D(row["positionAmt"])}, orders

    def until_guarded(self, wanted: dict[str, int]) -> list[Row]:
        """Return the orders once what is open is as wanted and stops of its size rest, and nothing else."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            sizes, orders = self.held()
            closing = {(side, "SELL" if size > 0 else "BUY") for side, size in wanted.items()}
            alone = {(row["positionSide"], row["side"]) for row in orders} == closing
            if alone and sizes == wanted and stops(orders) == {side: abs(size) for side, size in wanted.items()}:
                return orders
            rest()
        raise AssertionError(f"{wanted} is not guarded: {self.held()}")


def stops(orders: list[Row]) -> dict[str, Decimal]:
    """Return the quantity of the working stops by the side they close; a flat account has no order at all."""
    found: dict[str, Decimal] = {}
    for row in orders:
        name = parse_client_id(row["clientAlgoId"])
        if name is not None and name.role is Role.STOP:
            found[row["positionSide"]] = found.get(row["positionSide"], D(0)) + D(row["quantity"])
        elif row["positionSide"] not in found:
            found.setdefault(row["positionSide"], D(0))
    return found


@pytest.fixture
def empty(tmp_path: Path) -> tuple[str, ...]:
    """Return a market without entries of its own, near enough to real time."""
    file = tmp_path / "entries.csv"
    file.write_text("time,symbol,side,leverage,notional\n2026-01-08T00:00:00Z,BTCUSDT,long,20,2000\n")
    return ("--entries", str(file), "--speed", "5", "--seed", "4")


@pytest.fixture
def watched(home: Path, state: Path, empty: tuple[str, ...]) -> Iterator[tuple[Hand, Process]]:
    with served_twin(home, *empty) as url, Process(watch_args("--venue", url, state=state), home) as process:
        assert process.until(lambda event: event["type"] == "started") is not None
        yield Hand(url), process


def told(process: Process, *words: str) -> Event:
    event = process.until(lambda event: all(word in f"{event['type']} {event['reason']}" for word in words))
    assert event is not None, words
    return event


def ended(process: Process) -> list[Event]:
    process.terminate()
    done = process.finish()
    assert (done.code, done.err) == (ExitCode.TERMINATED, "")
    assert of("rejected", done.events) == []
    return done.events


def test_one_way_from_adoption_over_a_flip_to_flat(watched: tuple[Hand, Process]) -> None:
    hand, process = watched
    hand.trades("BUY", 400)
    hand.until_guarded({"BOTH": 400})
    hand.trades("BUY", 400)
    hand.until_guarded({"BOTH": 800})
    hand.trades("SELL", 200)
    hand.until_guarded({"BOTH": 600})
    hand.does(lambda client: client.futures_change_leverage(symbol="XRPUSDT", leverage=10))
    told(process, "external", "leverage changed to 10x")
    hand.trades("SELL", 1000)
    hand.until_guarded({"BOTH": -400})
    hand.trades("BUY", 400)
    hand.until_guarded({})

    events = ended(process)
    assert [event["position_side"] for event in of("closed", events)] == ["long", "short"]


def test_a_change_to_hedge_mode_and_both_sides_at_once(watched: tuple[Hand, Process]) -> None:
    hand, process = watched
    hand.trades("BUY", 400)
    hand.until_guarded({"BOTH": 400})
    hand.trades("SELL", 400)
    hand.until_guarded({})
    hand.does(lambda client: client.futures_change_position_mode(dualSidePosition="true"))
    hand.trades("BUY", 500, "LONG")
    hand.trades("SELL", 300, "SHORT")
    hand.until_guarded({"LONG": 500, "SHORT": -300})
    hand.trades("SELL", 500, "LONG")
    hand.until_guarded({"SHORT": -300})
    hand.trades("BUY", 300, "SHORT")
    hand.until_guarded({})

    events = ended(process)
    assert [event["reason"] for event in of("external", events) if event["symbol"] is None] == [
        "position mode changed to hedge"
    ]
    assert [event["position_side"] for event in of("closed", events)] == ["long", "long", "short"]


def test_a_stop_of_others_is_counted_and_left(watched: tuple[Hand, Process]) -> None:
    hand, process = watched
    hand.trades("BUY", 400)
    hand.until_guarded({"BOTH": 400})
    foreign = {
        "algoType": "CONDITIONAL",
        "symbol": "XRPUSDT",
        "side": "SELL",
        "type": "STOP_MARKET",
        "triggerPrice": "2.2",
        "quantity": "100",
        "reduceOnly": "true",
        "clientAlgoId": "app-1",
    }
    hand.does(lambda client: client.futures_create_algo_order(**foreign))
    hand.trades("BUY", 400)
    orders = hand.until_guarded({"BOTH": 800})
    assert "app-1" in {row["clientAlgoId"] for row in orders}
    process.terminate()
    standing = [event for event in process.finish().events if event["type"] == "standing"]
    assert [event["foreign_stops"] for event in standing] == [1]
