"""The XRP vector of exit-rules 1 and the ratchet of exit-rules 8, from a CSV file to the exchange's books and back."""

from decimal import Decimal
from pathlib import Path

import pytest
from processes import Done, Event, of, watch

START = 1_767_571_200_000
DAY = 86_400_000
# Percent of the entry by minute: past TP1 (1.09 %), past TP2 (1.82 %), back below TP1.
WAY = (0, 0, 0.4, 0.8, 1.2, 1.2, 1.2, 1.5, 1.88, 1.9, 1.9, 1.4, 1.0, 0.9, 0.9)


def write_market(path: Path, way: tuple[float, ...]) -> None:
    """Write klines as data.binance.vision publishes them, after a day at one price."""
    quiet = [0.0] * 60
    closes = [Decimal("2.5000") * (1 + Decimal(str(move)) / 100) for move in (*quiet, *way)]
    rows = []
    before = closes[0]
    for number, close in enumerate(closes):
        at = START - len(quiet) * 60_000 + number * 60_000
        low, high = min(before, close), max(before, close)
        prices = ",".join(f"{price:.4f}" for price in (before, high, low, close))
        rows.append(f"{at},{prices},900000.0,{at + 59_999},2250000.0,500,450000.0,1125000.0,0")
        before = close
    path.write_text(
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
        "taker_buy_volume,taker_buy_quote_volume,ignore\n" + "\n".join(rows) + "\n"
    )


@pytest.fixture(scope="module")
def told(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("vector")
    market = folder / "XRPUSDT-1m-2026-01-05.csv"
    write_market(market, WAY)
    entries = folder / "entries.csv"
    entries.write_text("time,symbol,side,leverage,notional\n2026-01-05T00:00:00Z,XRPUSDT,long,20,2000\n")
    config = folder / "config.toml"
    config.write_text('[inputs]\nregime = "normal"\n\n[exits.execution]\nbreakeven = "entry"\n')
    options = ("--market", str(market), "--from", "2026-01-05T00:00:00Z", "--entries", str(entries), "--speed", "max")
    inputs = ("--config", str(config), "--volatility", "2.5%", "--confidence", "0.85")
    return watch("XRPUSDT", *options, *inputs, state=folder / "state", home=home)


def only(kind: str, done: Done) -> Event:
    (event,) = of(kind, done.events)
    return event


def test_the_plan_is_the_vector(told: Done) -> None:
    assert (told.code, told.err) == (0, "")
    position = only("adopted", told)
    assert (Decimal(position["quantity"]), position["leverage"]) == (800, "20")
    plan = only("planned", told)
    assert plan["ladder"] == "TP1=1.09%(40%), TP2=1.82%(35%), TP3=2.91%(25%)"
    assert "High leverage (20.0x) → -30% TP distance" in plan["reasons"]


def test_the_orders_are_the_plan_on_the_grid(told: Done) -> None:
    entry, whole = (Decimal(only("adopted", told)[name]) for name in ("entry", "quantity"))
    targets = [event for event in of("placed", told.events) if event["order"] == "take_profit"]
    assert [Decimal(event["quantity"]) for event in targets] == [320, 280, 200]
    assert sum(Decimal(event["quantity"]) for event in targets) == whole
    tick = Decimal("0.0001")
    for event, percent in zip(targets, ("1.092", "1.820", "2.912"), strict=True):
        level = entry * (1 + Decimal(percent) / 100)
        assert 0 <= level - Decimal(event["trigger"]) < tick  # rounded toward the entry


def test_the_stop_goes_to_breakeven_and_then_to_the_first_target(told: Done) -> None:
    entry = Decimal(only("adopted", told)["entry"])
    first, second = of("stop_moved", told.events)
    assert first["reason"].startswith("TP1 filled")
    assert Decimal(first["to"]) == entry
    target = next(event for event in of("placed", told.events) if event["order"] == "take_profit")
    assert second["reason"].startswith("TP2 filled")
    assert (second["from"], second["to"]) == (first["to"], target["trigger"])
    kinds = [event["type"] for event in told.events if event["type"] in {"tp_hit", "stop_moved", "stop_hit", "closed"}]
    assert kinds == ["tp_hit", "stop_moved", "tp_hit", "stop_moved", "stop_hit", "closed"]


def test_the_end_adds_up(told: Done) -> None:
    hits, stopped, end = of("tp_hit", told.events), only("stop_hit", told), only("closed", told)
    assert [Decimal(event["quantity"]) for event in (*hits, stopped)] == [320, 280, 200]
    assert (Decimal(end["quantity"]), end["legs_hit"], end["legs"]) == (800, 2, 3)
    assert Decimal(end["pnl"]) > 0
    assert told.events[-1]["positions"] == 0
