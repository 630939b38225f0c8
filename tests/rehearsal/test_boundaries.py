"""Struck at every boundary of one story, none sampled: it ends as if uninterrupted, nothing happens twice (D1, D2).

A boundary is a moment before or after a commit of the journal, before an order or a cancel leaves, while it is on its
way, and after the exchange has carried it out but before its answer is read. What lies between two boundaries changes
nothing that outlives the process; what lies inside a commit, or inside the metrics file's replacement, is struck system
call by system call in `tests/adapters/test_durability.py`.

Prices stand still for longer than two deaths and what they left unclear take, so the uninterrupted run and every other
one see the same prices at every decision and must end alike to the last digit. What may differ is not compared: the
time of adoption, and with it generations, client ids and how long a target took.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tpctl.adapters.journal import Committed, Entry
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.metrics_file import MetricsFile, fold_all
from tpctl.exits.ids import is_ours, parse_client_id
from tpctl.exits.model import Outcome
from tpctl.exits.rules import ExecutionRules, ExitRules, TrailRules
from tpctl.exits.units import Millis, Ratio
from tpctl.rehearsal.life import KilledError, Life, full_disk
from tpctl.rehearsal.loop import VirtualLoop, run
from tpctl.rehearsal.market import Walk
from tpctl.rehearsal.world import START_MS_UTC, Story, Told, World
from tpctl.venue.quotes import Quote

STAGE_MS: Final = 35_000
# One price per stage. A long takes its first and second target and ends at the stop that followed; a short takes its
# first target and is open at the end.
PRICES: Final = {
    "XRPUSDT": tuple(map(Decimal, ("2.4200", "2.4600", "2.4850", "2.4400"))),
    "ETHUSDT": tuple(map(Decimal, ("3350.00", "3350.00", "3295.00", "3295.00"))),
}
# What is opened when. The first start finds the one and hears of the other.
OPENED: Final = (("XRPUSDT", "LONG", 0), ("ETHUSDT", "SHORT", 4_000))
STAGES: Final = len(PRICES["XRPUSDT"])
DISK_FULL_MS: Final = 5_000
# What a start has to clear up is cleared up in this time. Strikes come before the end by enough for two starts.
RECOVERY_MS: Final = 12_000
STRIKES_END_MS: Final = START_MS_UTC + STAGES * STAGE_MS
END_MS: Final = STRIKES_END_MS + 2 * RECOVERY_MS
# A trail would move the stop between the targets or not, depending on which of two news comes first.
NO_TRAIL: Final = TrailRules(callback=Ratio.percent("4"), activation=Ratio.percent("4"))
RULES: Final = {
    "resident": ExitRules(execution=ExecutionRules(take_profit="resident"), trail=NO_TRAIL),
    "software": ExitRules(execution=ExecutionRules(take_profit="software"), trail=NO_TRAIL),
}


class Strike(Enum):
    """What happens at a boundary: kill -9; the disk is full for a while; the write failed, yet it is there (D2)."""

    KILL = auto()
    FULL = auto()
    UNSURE = auto()


# Boundaries are numbered from 0 within each life, lives from 1.
Strikes = Mapping[tuple[int, int], Strike]


class Stages(Walk):
    """Prices that depend on the time alone, whatever the process does."""

    def advance(self, at: Millis, crosses: Callable[[str, float], bool]) -> tuple[Quote, ...]:
        """Return the prices of the stage."""
        self._now = at
        stage = min((at - START_MS_UTC) // STAGE_MS, STAGES - 1)
        return tuple(Quote(symbol, prices[stage], prices[stage]) for symbol, prices in PRICES.items())

    @property
    def interval_ms(self) -> int:
        """The time to the next step; none goes past the beginning of a stage."""
        left = STAGE_MS - (self._now - START_MS_UTC) % STAGE_MS
        return min(left, self._spacing(self._stirred_at))


class Stricken(World):
    """The story, struck where `strikes` says. `boundaries` are the times and names of those passed, by life."""

    def __init__(self, story: Story, folder: Path, loop: VirtualLoop, strikes: Strikes) -> None:
        super().__init__(story, folder, loop)
        self.walk = Stages(Random(0), PRICES, self.venue.core.rules, START_MS_UTC, calm_ms=5_000, swing=0.0)
        self.boundaries: dict[int, list[tuple[Millis, str]]] = {}
        self.sent: list[tuple[str, Mapping[str, str]]] = []
        self._strikes = strikes
        self._full_until: Millis = 0
        self._to_open = list(OPENED)

    def _trade(self, now: Millis) -> None:
        while self._to_open and now >= START_MS_UTC + self._to_open[0][2]:
            symbol, side, _ = self._to_open.pop(0)
            self.venue.open_position(symbol, side, notional=Decimal(1_500), leverage=10)

    def pass_boundary(self, name: str) -> Strike | None:
        """Count a boundary and return what strikes there; a death has happened then."""
        passed = self.boundaries.setdefault(self.lives, [])
        strike = self._strikes.get((self.lives, len(passed)))
        passed.append((self.now, name))
        if strike is Strike.KILL:
            self.kill()
        elif strike is Strike.FULL:
            self._full_until = self.now + DISK_FULL_MS
        return strike

    def committing(self, life: Life, entry: Entry) -> None:
        """Pass the boundary before a commit."""
        if self.pass_boundary(f"before writing {type(entry.event).__name__}") is Strike.KILL:
            raise KilledError
        if self.now < self._full_until:
            raise full_disk(self.folder / "journal.db")
        super().committing(life, entry)

    def committed(self, life: Life, entry: Entry, numbers: Committed) -> None:
        """Pass the boundary after a commit."""
        super().committed(life, entry, numbers)
        match self.pass_boundary(f"after writing {type(entry.event).__name__}"):
            case Strike.KILL:
                raise KilledError
            case Strike.UNSURE:
                raise full_disk(self.folder / "journal.db")

    def sending(self, method: str, path: str, params: Mapping[str, str]) -> None:
        """Pass the boundary before an order or a cancel leaves, and that after it."""
        if not _mutates(method, path):
            super().sending(method, path, params)
            return
        if self.pass_boundary(f"before {method} {path} leaves") is Strike.KILL:
            return
        super().sending(method, path, params)
        if method == "POST":
            self.sent.append((params.get("clientAlgoId") or params["newClientOrderId"], params))
        self.loop.call_soon(self.pass_boundary, f"{method} {path} is on its way")

    def handled(self, method: str, path: str, params: Mapping[str, str], status: int) -> None:
        """Pass the boundary between what the exchange did and its answer."""
        super().handled(method, path, params, status)
        if _mutates(method, path):
            self.pass_boundary(f"{method} {path} is carried out and not answered")


def _mutates(method: str, path: str) -> bool:
    return method != "GET" and path != "v1/listenKey"


Rows = Counter[tuple[object, ...]]


@dataclass(frozen=True)
class End:
    """What outlives a story: on the exchange, in the journal, and in the metrics file."""

    positions: Rows
    resting: Rows
    accepted: Rows
    executed: Rows
    attempts: Rows
    metrics: Mapping[str, tuple[object, ...]]


@dataclass(frozen=True)
class Run:
    """One telling: how it ended, the times and names of its boundaries by life, and what was seen."""

    end: End
    boundaries: Mapping[int, list[tuple[Millis, str]]]
    told: Told


def tell(mode: str, strikes: Strikes) -> Run:
    """Tell the story with these strikes, each of which must come."""
    days = Decimal(END_MS - START_MS_UTC) / 86_400_000
    memory = Path("/dev/shm")  # noqa: S108 - the folder made in it is private
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        loop = VirtualLoop()
        world = Stricken(Story(1, days, symbols=(), rules=RULES[mode]), Path(folder), loop, strikes)
        told: Told = run(world.tell(), loop)
        for life, number in strikes:
            assert number < len(world.boundaries[life]), "a strike never came"
        return Run(_end_of(world), world.boundaries, told)


def _end_of(world: Stricken) -> End:
    """Read what is left, and check what each story must keep by itself: nothing is sent, executed or counted twice."""
    ledger = world.venue.ledger
    twice = [client_id for client_id, count in Counter(client_id for client_id, _ in world.sent).items() if count > 1]
    assert twice == [], "a client id was sent twice"
    fills = [row for row in ledger.fills if is_ours(row.client_id)]
    assert max(Counter((row.symbol, *_slot(row.client_id)) for row in fills).values()) == 1, "a leg was executed twice"
    taken = {row.client_id for row in ledger.transitions if is_ours(row.client_id)}
    state = world.folder / "state"
    with JournalReader.read_only(state / "journal.db") as journal:
        journal.integrity()
        attempts = journal.attempts()
        assert taken <= {one.intent.client_id for one in journal.intents()}, "an order is not in the journal (I9)"
    shown = MetricsFile(state / "tp_metrics.json").read()
    assert shown == fold_all(attempts), "the metrics file is not what the journal adds up to (I17)"
    return End(
        positions=Counter((one.symbol, one.side, one.quantity, one.entry) for one in world.venue.positions()),
        resting=Counter(
            (one.symbol, *_slot(one.client_id), one.kind, one.buy, one.trigger, one.quantity, one.close_position)
            for one in world.venue.core.books.resting()
        ),
        accepted=Counter(
            (*_slot(client_id), *(params.get(name) for name in ("symbol", "side", "type", "triggerPrice", "quantity")))
            for client_id, params in world.sent
            if client_id in taken
        ),
        executed=Counter((row.symbol, *_slot(row.client_id), row.quantity, row.price) for row in fills),
        attempts=Counter(
            (one.symbol, one.leg, one.outcome, one.quantity, one.target_price, one.exit_price, one.profit_usd)
            for one in attempts
        ),
        metrics={
            name: (one.tp_attempts, one.tp_hits, one.tp_misses, one.total_tp_profit_usd) for name, one in shown.items()
        },
    )


def _slot(client_id: str) -> tuple[str, int]:
    """Return what an order is for, without the name of the position's life and the revision."""
    name = parse_client_id(client_id)
    assert name is not None
    return name.role.label, name.leg


@cache
def whole(mode: str) -> Run:
    """Return the story nobody interrupted."""
    return tell(mode, {})


def numbers(mode: str, beginning: str = "") -> list[int]:
    """Return the numbers of all boundaries of the uninterrupted story whose names begin so."""
    passed = enumerate(whole(mode).boundaries[1])
    return [number for number, (at, name) in passed if at < STRIKES_END_MS and name.startswith(beginning)]


def check(mode: str, strikes: Strikes) -> Run:
    """Tell the story with these strikes, and compare its end with the uninterrupted one's."""
    struck = tell(mode, strikes)
    where = [(life, number, struck.boundaries[life][number]) for life, number in strikes]
    assert struck.told.violations == (), where
    assert struck.end == whole(mode).end, where
    return struck


@pytest.mark.parametrize("mode", RULES)
def test_the_story_has_what_a_death_could_spoil(mode: str) -> None:
    """Targets, the stops that follow them, an end by the stop, and a position with its orders at the end."""
    story = whole(mode)

    assert story.told.violations == ()
    assert story.told.lives == 1
    target = "take_profit" if mode == "resident" else "close"
    assert sorted(row[:3] for row in story.end.executed) == sorted(
        [("XRPUSDT", target, 1), ("XRPUSDT", target, 2), ("XRPUSDT", "stop", 0), ("ETHUSDT", target, 1)]
    )
    assert [row[:2] for row in story.end.positions] == [("ETHUSDT", "SHORT")]
    assert {row[1] for row in story.end.resting} >= {"backstop", "stop"}
    assert Counter(row[2] for row in story.end.attempts) == {Outcome.HIT: 3, Outcome.MISS: 1}
    kinds = {name.split(" v1/")[0] for _, name in story.boundaries[1]}
    assert kinds >= {"before POST", "POST", "before DELETE", "DELETE"}
    assert len(numbers(mode)) > 100


@pytest.mark.parametrize("mode", RULES)
def test_killed_at_any_boundary_the_story_ends_as_if_nobody_had_died(mode: str) -> None:
    """Every boundary is struck; at every third, the recovery dies too, each time a boundary later."""
    for number in numbers(mode):
        once = check(mode, {(1, number): Strike.KILL})
        assert once.told.lives == 2
        if number % 3 == 0:
            began = once.boundaries[2][0][0]
            later = number // 3 % sum(at - began < RECOVERY_MS for at, _ in once.boundaries[2])
            twice = check(mode, {(1, number): Strike.KILL, (2, later): Strike.KILL})
            assert twice.told.lives == 3


def test_full_at_any_write_the_disk_costs_nothing_but_time() -> None:
    """The run ends with its error, and so does each that follows, until one finds room."""
    for number in numbers("resident", "before writing"):
        assert check("resident", {(1, number): Strike.FULL}).told.lives > 1


def test_a_write_that_failed_and_is_there_all_the_same_changes_nothing() -> None:
    """After an error of the disk nobody knows what is on it; what was decided and not sent is looked up."""
    for number in numbers("resident", "after writing"):
        assert check("resident", {(1, number): Strike.UNSURE}).told.lives == 2
