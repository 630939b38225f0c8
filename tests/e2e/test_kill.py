"""kill -9 of a watch against a separately served twin: the restart goes on where it was, and nothing happens twice.

The witness is the exchange: its books after the last run, not what the killed processes believed.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ledger import Ledger, check_books, read_ledger
from processes import HELD, Event, Process, of, served_twin, watch_args

from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.metrics_file import fold_all
from tpctl.exits.model import NoteKind, Outcome

TWIN = ("--speed", "max", "--seed", "4", "--entries", "20/h")
LENGTH_S = 2_400

# Each run dies right after its first event of the kind: at every boundary between deciding, sending and hearing.
KINDS = ("adopted", "planned", "placed", "accepted", "tp_hit", "stop_moved", "cancelled", "closed")
# Or this many lines after its first minute, wherever in a burst that is. (A minute, because each start reads the whole
# account, and a budget of requests per minute is kept.)
LINES = (1, 2, 3, 4, 5, 7, 9)

# Tells from the events of one run whether it dies now.
When = Callable[[list[Event]], bool]


@dataclass(frozen=True)
class Story:
    """What several runs told in all, how often they were killed, and the exchange's books at the end."""

    events: list[Event]
    killed: int
    ledger: Ledger
    state: Path


def tell(deaths: Sequence[When], home: Path, state: Path, twin: Sequence[str] = TWIN) -> Story:
    """Watch one market for forty minutes of its time, killed once per entry of `deaths`."""
    # Risk is measured when a run begins, so a run begun anew has other readings, and rightly other levels.
    config = state.with_name("config.toml")
    config.write_text("[watch]\nrisk = false\n")
    events: list[Event] = []
    killed = 0
    with served_twin(home, *twin) as url:
        for death in (*deaths, None):
            own: list[Event] = []
            left = LENGTH_S - int(_seconds(events[-1]) - _seconds(events[0])) if events else LENGTH_S
            watched = watch_args("--venue", url, "--for", f"{left}s", "-c", str(config), state=state)
            with Process(watched, home) as process:

                def dies(event: Event, death: When | None = death, own: list[Event] = own) -> bool:
                    events.append(event)
                    own.append(event)
                    return death is not None and death(own)

                if process.until(dies) is None:
                    done = process.finish()
                    assert (done.code, done.err) == (0, "")
                    break
                process.kill()
                killed += 1
        return Story(events, killed, read_ledger(url), state)


def _seconds(event: Event) -> float:
    return datetime.fromisoformat(event["ts"]).timestamp()


def _after(kind: str) -> When:
    return lambda own: own[-1]["type"] == kind


def _late(lines: int) -> When:
    return lambda own: sum(_seconds(event) > _seconds(own[0]) + 60 for event in own) >= lines


@pytest.fixture(scope="module")
def whole(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Return the story nobody interrupted."""
    return tell((), home, tmp_path_factory.mktemp("whole") / "state")


@pytest.fixture(scope="module")
def by_kind(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Return the story of a watch killed after each kind of event."""
    return tell([_after(kind) for kind in KINDS], home, tmp_path_factory.mktemp("kinds") / "state")


@pytest.fixture(scope="module")
def by_line(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Return the story of a watch killed at some line of each of its runs."""
    return tell([_late(lines) for lines in LINES], home, tmp_path_factory.mktemp("lines") / "state")


@pytest.fixture(scope="module")
def in_the_crash(crash_options: tuple[str, ...], home: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Return the story of a watch killed while the recorded crash takes four longs out."""
    deaths = [_after(kind) for kind in ("planned", "accepted", "stop_hit", "cancelled", "closed")]
    return tell(deaths, home, tmp_path_factory.mktemp("crashed") / "state", crash_options)


@pytest.fixture(params=["whole", "by_kind", "by_line", "in_the_crash"])
def story(request: pytest.FixtureRequest) -> Story:
    """Return each of the stories."""
    result: Story = request.getfixturevalue(request.param)
    return result


def test_every_death_happened(by_kind: Story, by_line: Story) -> None:
    assert (by_kind.killed, by_line.killed) == (len(KINDS), len(LINES))
    assert len(of("started", by_kind.events)) == len(KINDS) + 1


def test_the_exchange_holds_one_order_per_role_and_no_orphan(story: Story) -> None:
    check_books(story.ledger)


def test_every_position_ends_protected(story: Story) -> None:
    last = story.events[-1]
    assert last["type"] == "stopped"
    assert last["positions"] == last["protected"] == len(story.ledger.sizes)


def test_the_crash_was_met_and_left_nothing_behind(in_the_crash: Story) -> None:
    assert in_the_crash.killed == 5
    with JournalReader.read_only(in_the_crash.state / "journal.db") as journal:
        closed = [note.key.symbol for _, note in journal.notes() if note.kind is NoteKind.CLOSED and note.key]
    assert sorted(closed) == sorted(HELD)  # each once, told or not: a line can die with its process, a row cannot
    assert in_the_crash.ledger.sizes == {}
    assert in_the_crash.ledger.open_algo == []


def test_every_order_of_ours_is_in_the_journal(story: Story) -> None:
    with JournalReader.read_only(story.state / "journal.db") as journal:
        known = {entry.intent.client_id for entry in journal.intents()}
    there = {str(name) for name, _ in story.ledger.ours()}
    assert there <= known


def test_nothing_is_refused_and_no_number_is_told_twice(story: Story) -> None:
    assert of("rejected", story.events) == []
    numbers = [event["seq"] for event in story.events]
    assert len(set(numbers)) == len(numbers)


def test_each_outcome_counts_once(story: Story) -> None:
    with JournalReader.read_only(story.state / "journal.db") as journal:
        journal.integrity()
        attempts = journal.attempts()
    hits = {(a.id.split("-")[0], a.leg): a for a in attempts if a.outcome is Outcome.HIT}
    assert len(hits) == sum(a.outcome is Outcome.HIT for a in attempts)
    executed = {
        (generation, leg): rows for (generation, role, leg), rows in story.ledger.filled().items() if role == "t"
    }
    assert set(hits) == set(executed)
    for place, (row,) in executed.items():
        assert hits[place].quantity == Decimal(row["executedQty"])
        assert hits[place].exit_price == Decimal(row["avgPrice"])
    _check_metrics(json.loads((story.state / "tp_metrics.json").read_text()), attempts)


def _check_metrics(shown: dict[str, Any], attempts: tuple[Any, ...]) -> None:
    folded = fold_all(attempts)
    assert set(shown) == set(folded)
    for key, record in folded.items():
        assert (shown[key]["tp_attempts"], shown[key]["tp_hits"]) == (record.tp_attempts, record.tp_hits)
        assert shown[key]["total_tp_profit_usd"] == pytest.approx(float(record.total_tp_profit_usd), abs=1e-9)
    assert sum(record["tp_attempts"] for record in shown.values()) == len(attempts)


def test_the_killed_end_where_the_uninterrupted_one_does(whole: Story, by_kind: Story, by_line: Story) -> None:
    for killed in (by_kind, by_line):
        assert killed.ledger.openings == whole.ledger.openings
        assert killed.ledger.sizes == whole.ledger.sizes
        assert _resting(killed.ledger) == _resting(whole.ledger)


def _resting(ledger: Ledger) -> set[tuple[str, ...]]:
    return {tuple(row[name] for name in ("symbol", "orderType", "side", "triggerPrice")) for row in ledger.open_algo}
