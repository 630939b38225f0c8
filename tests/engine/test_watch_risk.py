"""Measured risk in a running watch: asked for when due, told to the reducer, waited for by nobody."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from engine_desk import STEP_MS, XRP, Desk, EventTime, still

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import NoteKind, RiskReadings

D = Decimal
NONE = Unavailable("risk has not been measured yet")
CALM = RiskReadings(D("1.0"), D("0.3"), D("0.3"), D("0.4"))
STRESS = RiskReadings(D("2.8"), D("0.3"), D("0.3"), D("0.4"))


@dataclass
class Meter:
    """Measures what a script says, every so many milliseconds; the last stays."""

    clock: EventTime
    script: Sequence[RiskReadings | Exception]
    every_ms: int = STEP_MS
    count: int = 0
    at: int | None = None
    newest: RiskReadings = field(default_factory=lambda: RiskReadings(NONE, NONE, NONE, NONE))
    gate: asyncio.Event | None = None

    def due(self) -> bool:
        return self.at is None or self.clock.now() - self.at >= self.every_ms

    def current(self) -> RiskReadings:
        return self.newest

    async def refresh(self) -> None:
        self.at = self.clock.now()
        if self.gate is not None:
            await self.gate.wait()
        found = self.script[min(self.count, len(self.script) - 1)]
        self.count += 1
        if isinstance(found, Exception):
            raise found
        self.newest = found


def desk_of(folder: Path) -> Desk:
    folder.mkdir(exist_ok=True)
    desk = Desk(folder, XRPUSDT="2.5")
    desk.open_long()
    return desk


def targets(desk: Desk) -> list[Decimal]:
    return sorted(o.trigger for o in desk.resting() if o.status == "NEW" and "-t" in o.client_id)


def test_the_first_plan_in_lockstep_knows_the_risk(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    desk.run(*still("2.5", 3), risk=Meter(desk.clock, [STRESS]))

    (plan,) = desk.told(NoteKind.PLANNED)
    assert "High ESS (2.8) → -30% TP distance" in str(plan.data["reasons"])


def test_levels_follow_a_measurement_while_the_stop_stays(tmp_path: Path) -> None:
    calm = desk_of(tmp_path / "calm")
    calm.run(*still("2.5", 6), risk=Meter(calm.clock, [CALM]))
    stressed = desk_of(tmp_path / "stressed")
    stressed.run(*still("2.5", 6), risk=Meter(stressed.clock, [CALM, CALM, STRESS]))

    assert [level < planned for level, planned in zip(targets(stressed), targets(calm), strict=True)] == [True] * 3
    assert stressed.watch is not None
    assert calm.watch is not None
    assert stressed.watch.state.episodes[XRP].stop == calm.watch.state.episodes[XRP].stop
    assert stressed.watch.state.episodes[XRP].naked_ms == 0


def test_measurements_that_change_nothing_are_not_written_down(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    desk.run(*still("2.5", 3), risk=Meter(desk.clock, [CALM], every_ms=10**9))
    few = desk.journal_path.stat().st_size
    meter = Meter(desk.clock, [CALM])
    desk.run(*still("2.5", 40), risk=meter)

    assert meter.count >= 40
    assert desk.journal_path.stat().st_size <= few + 40_000


def test_numbers_that_break_are_told_once_and_the_positions_are_guarded(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    summary = desk.run(*still("2.5", 5), risk=Meter(desk.clock, [ZeroDivisionError("a flat line")]))

    told = [note.reason for note in desk.told(NoteKind.DEGRADED)]
    assert told == ["risk cannot be measured: a flat line"]
    assert (summary.positions, summary.protected) == (1, 1)


def test_nobody_waits_for_a_measurement_outside_lockstep(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    meter = Meter(desk.clock, [CALM], gate=asyncio.Event())  # never set: the measurement hangs
    desk.run(*still("2.5", 4), risk=meter, once=True, lockstep=False)

    assert meter.count == 0
    assert desk.watch is not None
    assert desk.watch.state.episodes[XRP].protected


def test_market_readings_that_go_missing_and_come_back_are_told_once(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    blind = replace(CALM, ess=Unavailable("the candles are too old"))
    desk.run(*still("2.5", 9), risk=Meter(desk.clock, [CALM, blind, blind, blind, CALM, CALM]))

    told = [note.reason for note in desk.notes if note.kind in {NoteKind.DEGRADED, NoteKind.RECOVERED}]
    assert told == [
        "ESS is not measured: the candles are too old; its factor is skipped",
        "risk is measured again",
    ]


def test_a_book_without_a_correlation_is_no_fault(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    alone = replace(CALM, correlation=Unavailable("one position"), heat=Unavailable("one position"))
    desk.run(*still("2.5", 4), risk=Meter(desk.clock, [alone]))

    assert desk.told(NoteKind.DEGRADED) == []


def test_readings_that_grow_too_old_are_told_though_no_measurement_ends(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    meter = Meter(desk.clock, [CALM], every_ms=10**9)

    def grow_old() -> None:
        meter.newest = replace(CALM, ess=Unavailable("risk was last measured 61 s ago"))

    desk.run(*still("2.5", 3), grow_old, *still("2.5", 3), risk=meter)

    told = [note.reason for note in desk.told(NoteKind.DEGRADED)]
    assert told == ["ESS is not measured: risk was last measured 61 s ago; its factor is skipped"]
