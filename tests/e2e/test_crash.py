"""The recorded crash of 2025-02-03 02:07, watched through the real client: what the story and the files must show."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from processes import HELD, Event, Told, of

from tpctl.adapters.journal_reader import JournalReader
from tpctl.exits.errors import ExitCode
from tpctl.exits.model import Attempt, Outcome

# Codes that say a price or quantity was not on the exchange's grid or within its filters (binance-usdm 3.3).
FILTERS = {-1111, -1013, -4003, -4004, -4005, -4013, -4014, -4015, -4023, -4024, -4131, -4164, -4183, -4184}
STORY = {
    "started",
    "adopted",
    "planned",
    "placed",
    "accepted",
    "tp_hit",
    "stop_moved",
    "cancelled",
    "closed",
    "stopped",
}


def lives(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield the events of each life of each position, from adoption on."""
    running: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if event["symbol"] is None:
            continue
        key = (event["symbol"], event["position_side"])
        if event["type"] == "adopted":
            if key in running:
                yield running.pop(key)
            running[key] = [event]
        elif key in running:
            running[key].append(event)
    yield from running.values()


@pytest.fixture(params=["crash", "held_through"])
def told(request: pytest.FixtureRequest) -> Told:
    """Return each of the two runs through the crash."""
    result: Told = request.getfixturevalue(request.param)
    return result


def test_it_ends_well_with_every_position_closed_or_protected(told: Told) -> None:
    assert (told.done.code, told.done.err) == (ExitCode.OK, "")
    last = told.done.events[-1]
    assert (last["type"], last["reason"]) == ("stopped", "the market ended")
    assert last["protected"] == last["positions"]
    open_lives = [life for life in lives(told.done.events) if not of("closed", life)]
    assert len(open_lives) == last["positions"]


def test_the_exchange_refuses_nothing_for_its_grid(told: Told) -> None:
    refused = [event for event in of("rejected", told.done.events) if event["code"] in FILTERS]
    assert refused == []


def test_no_leg_is_hit_twice_and_no_order_is_placed_twice(told: Told) -> None:
    for life in lives(told.done.events):
        hits = Counter(event["leg"] for event in of("tp_hit", life))
        assert not hits or max(hits.values()) == 1, life[0]
    placed = Counter(event["client_id"] for event in of("placed", told.done.events))
    assert max(placed.values()) == 1


def test_what_closes_a_position_sums_to_the_position(told: Told) -> None:
    closed = 0
    for life in lives(told.done.events):
        for end in of("closed", life):
            closed += 1
            outside = [event for event in of("external", life) if "price" in event]
            parts = [*of("tp_hit", life), *of("stop_hit", life), *outside]
            assert sum(Decimal(part["quantity"]) for part in parts) == Decimal(end["quantity"])
            assert Decimal(end["quantity"]) == Decimal(life[0]["quantity"])
            spent = sum(Decimal(part["quantity"]) * Decimal(part["price"]) for part in parts)
            assert abs(spent / Decimal(end["quantity"]) - Decimal(end["average_exit"])) < Decimal("1e-12")
            sign = 1 if end["position_side"] == "long" else -1
            gross = sign * (Decimal(end["average_exit"]) - Decimal(end["entry"])) * Decimal(end["quantity"])
            assert abs(gross - Decimal(end["fees"]) - Decimal(end["pnl"])) < Decimal("1e-6")
    assert closed > 0


def test_the_stop_only_ever_tightens(told: Told) -> None:
    for life in lives(told.done.events):
        sign = 1 if life[0]["position_side"] == "long" else -1
        moves = [event for event in life if event["type"] in {"stop_moved", "trail_moved"}]
        for move in moves:
            assert sign * (Decimal(move["to"]) - Decimal(move["from"])) > 0
        for before, after in pairwise(moves):
            assert after["from"] == before["to"]


def test_a_stop_rests_before_any_take_profit(told: Told) -> None:
    for life in lives(told.done.events):
        order = [event["order"] for event in of("accepted", life)]
        assert order[:1] == ["backstop"], life[0]
        if "take_profit" in order:
            assert order.index("stop") < order.index("take_profit")


def test_nobody_was_ever_naked(told: Told) -> None:
    assert {event["naked_ms"] for event in of("closed", told.done.events)} == {0}


def test_the_story_is_told(crash: Told) -> None:
    assert {event["type"] for event in crash.done.events} >= STORY
    numbers = [event["seq"] for event in crash.done.events]
    assert numbers == list(range(1, len(numbers) + 1))
    times = [event["ts"] for event in crash.done.events]
    assert times == sorted(times)
    first = {event["symbol"] for event in of("adopted", crash.done.events)[:4]}
    assert first == set(HELD)


def test_four_longs_meet_the_crash_and_none_outlives_its_stop(held_through: Told) -> None:
    told = list(lives(held_through.done.events))
    assert {life[0]["symbol"] for life in told} == set(HELD)
    for life in told:
        (end,) = of("closed", life)
        assert end["ts"] >= "2025-02-03T02:00:00"
        plan = of("planned", life)[0]
        # The two-key stop bounds the loss: the last price of the way down may lie beyond it, the backstop's share not.
        (hit,) = of("stop_hit", life)
        assert Decimal(hit["trigger"]) >= Decimal(plan["stop"])


def test_the_journal_holds_the_story_as_it_was_told(told: Told) -> None:
    with JournalReader.read_only(told.state / "journal.db") as journal:
        journal.integrity()
        notes = list(journal.notes())
    assert [(seq, note.kind.value, note.reason) for seq, note in notes] == [
        (event["seq"], event["type"], event["reason"]) for event in told.done.events
    ]


def test_every_order_was_journalled_before_it_was_accepted(told: Told) -> None:
    with JournalReader.read_only(told.state / "journal.db") as journal:
        known = {entry.intent.client_id for entry in journal.intents()}
    accepted = {event["client_id"] for event in of("accepted", told.done.events)}
    assert accepted <= known


def test_each_leg_of_each_plan_is_one_attempt(told: Told) -> None:
    with JournalReader.read_only(told.state / "journal.db") as journal:
        attempts = journal.attempts()
    hits = Counter((a.symbol, a.leg, a.exit_time) for a in attempts if a.outcome is Outcome.HIT)
    shown = Counter((e["symbol"], e["leg"], _ms(e["ts"])) for e in of("tp_hit", told.done.events))
    assert hits == shown
    finished = [life for life in lives(told.done.events) if of("closed", life)]
    legs = sum(end["legs"] for life in finished for end in of("closed", life))
    still_open = sum(len(of("tp_hit", life)) for life in lives(told.done.events) if not of("closed", life))
    assert len(attempts) == legs + still_open


def test_every_figure_of_the_metrics_file_follows_from_the_attempts(told: Told) -> None:
    shown = json.loads((told.state / "tp_metrics.json").read_text(), parse_float=Decimal)
    with JournalReader.read_only(told.state / "journal.db") as journal:
        attempts = journal.attempts()
    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(f"{attempt.strategy_id}:{attempt.symbol}", []).append(attempt)
    assert set(shown) == set(groups)
    for key, group in groups.items():
        _compare(shown[key], _figures(group))
    with sqlite3.connect(f"file:{told.state / 'journal.db'}?mode=ro", uri=True) as db:
        (rows,) = db.execute("SELECT count(*) FROM attempts").fetchone()
    assert sum(record["tp_attempts"] for record in shown.values()) == rows


def _figures(group: list[Attempt]) -> dict[str, Any]:
    """Compute a record as exit-rules 12 words it, without the code under test."""
    hits = [a for a in group if a.outcome is Outcome.HIT]
    slips = [(a.target_price - a.exit_price) * (1 if a.position_side == "long" else -1) / a.target_price for a in hits]
    minutes = [Decimal(a.exit_time - a.entry_time) / 60_000 for a in hits]
    profit = sum((a.profit_usd for a in hits), Decimal(0))
    return {
        "tp_attempts": len(group),
        "tp_hits": len(hits),
        "tp_misses": len(group) - len(hits),
        "tp_hit_rate": Decimal(len(hits)) / len(group),
        "avg_slippage_pct": _average([abs(slip) for slip in slips]),
        "max_slippage_pct": max((abs(slip) for slip in slips), default=None),
        "mean_signed_slippage_pct": _average(slips),
        "avg_time_to_tp_minutes": _average(minutes),
        "fastest_tp_minutes": min(minutes, default=None),
        "slowest_tp_minutes": max(minutes, default=None),
        "total_tp_profit_usd": profit,
        "avg_tp_profit_usd": profit / len(hits) if hits else None,
        "premature_exits": sum(bool(a.premature) for a in group),
        "missed_opportunities_usd": sum((a.missed_usd or Decimal(0) for a in group), Decimal(0)),
    }


def _average(values: list[Decimal]) -> Decimal | None:
    return sum(values, Decimal(0)) / len(values) if values else None


def _compare(shown: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if isinstance(value, Decimal):
            assert abs(Decimal(shown[name]) - value) < Decimal("1e-9"), (shown["symbol"], name)
        else:
            assert shown[name] == value, (shown["symbol"], name)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


def test_the_state_directory_is_private_and_complete(told: Told) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in told.state.iterdir()}
    assert {"journal.db", "tp_metrics.json", "account.json"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert Path(told.state).stat().st_mode & 0o777 == 0o700


def test_what_closed_four_hours_before_the_end_was_settled_by_the_running_watch(told: Told) -> None:
    end = _ms(told.done.events[-1]["ts"])
    closes = {event["generation"]: event for event in of("closed", told.done.events)}
    with JournalReader.read_only(told.state / "journal.db") as journal:
        settled = {one.generation: one for one in journal.settlements()}
    due = {name for name, event in closes.items() if _ms(event["ts"]) + (240 + 3) * 60_000 <= end}
    assert settled.keys() == due
    close = 0
    for name, one in settled.items():
        assert one.pnl == Decimal(closes[name]["pnl"])
        profits = {other.name: other.pnl for other in one.alternatives if other.pnl is not None}
        if profits:
            best = max(profits.values())
            assert (profits["clairvoyant"], one.regret) == (best, best - one.pnl)
            close += abs(profits["as_planned"] - one.pnl) < Decimal("0.02") * one.entry * one.quantity
    # Candles are of last prices and know no slippage; in a crash the mark lags behind, so not every replay is close.
    assert 3 * close >= 2 * len(settled)
