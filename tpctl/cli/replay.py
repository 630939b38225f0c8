"""`tpctl watch --replay FILE`: an incident again, through the same reducer, on the same screen.

The record's events go into `decide.step`, and what it decides is compared with what was decided then. Nothing is sent:
there is no exchange in here. What a view needs stands in a directory of its own that ends with the replay.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tpctl import __version__
from tpctl.adapters.files import StateDir, open_state_dir
from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.pulse import Pulse, PulseWriter
from tpctl.adapters.recording import End, Header, Heard, read_record, trace_of
from tpctl.adapters.recording import Entry as Recorded
from tpctl.cli.beat import BEAT_S, TrailText, marks_of
from tpctl.cli.options import Speed
from tpctl.cli.runs import WatchOptions
from tpctl.cli.telling import Teller, open_teller
from tpctl.engine.memory import position_row
from tpctl.exits.decide import step
from tpctl.exits.episode import Decision, State
from tpctl.exits.errors import ExitCode, InputsError, StateFileError
from tpctl.exits.events import MarkPrice, Tick
from tpctl.exits.model import Note, PositionKey
from tpctl.exits.units import Millis
from tpctl.settings.load import load
from tpctl.settings.schema import Settings
from tpctl.views.dashboard.controls import Act, Asked

# A silence of the record is not waited out for longer than this.
_LONGEST_WAIT_S = 30.0
_FINGERPRINT = "replay"


@dataclass
class _Pace:
    """How fast the record goes on. `factor` None is as fast as possible."""

    factor: float | None
    paused: bool = False
    left: str = ""
    interrupted: bool = False

    def obey(self, asked: Asked) -> None:
        if asked.act in {Act.PAUSE, Act.RESUME}:
            self.paused = asked.act is Act.PAUSE
        elif asked.act in {Act.QUIT, Act.INTERRUPT}:
            self.left = "quit"
            self.interrupted = asked.act is Act.INTERRUPT

    async def wait(self, length: Millis) -> None:
        """Wait out a length of event time, and a pause."""
        while self.paused and not self.left:  # noqa: ASYNC110 - the screen is looked at as often anyway
            await asyncio.sleep(0.1)
        if self.factor is None or length <= 0:
            return
        left = min(length / 1000 / self.factor, _LONGEST_WAIT_S)
        while left > 0 and not self.left:
            part = min(left, 0.25)
            await asyncio.sleep(part)
            left -= part


@dataclass
class Replayed:
    """How a replay came out: events, those decided otherwise and the first such line, and whether there is an end."""

    events: int = 0
    different: int = 0
    first: int = 0
    whole: bool = False


class Replay:
    """The reducer going through a record once more."""

    def __init__(self, entries: Iterable[Recorded]) -> None:
        self._entries = entries
        self.state: State | None = None
        self.now: Millis = 0
        self.result = Replayed()

    def steps(self) -> "Iterable[tuple[Millis, Heard | None, Decision]]":
        """Yield the time, the event and the decision of each entry; a note of the engine comes as a decision."""
        early: list[Note] = []
        for entry in self._entries:
            if isinstance(entry, State):
                self.state = entry
                yield from ((note.at, None, Decision(entry, notes=(note,))) for note in early)
                early.clear()
            elif isinstance(entry, End):
                self.result.whole = entry.events == self.result.events
            elif isinstance(entry, Note):
                if self.state is None:
                    early.append(entry)
                else:
                    yield entry.at, None, Decision(self.state, notes=(entry,))
            else:
                yield self._step(entry)

    def _step(self, heard: Heard) -> "tuple[Millis, Heard | None, Decision]":
        if self.state is None:
            raise InputsError(f"the record has no state before line {heard.line}", "use an unchanged copy of it")
        decision = step(self.state, heard.event)
        self.result.events += 1
        lasting = decision.intents or decision.notes or decision.attempts
        if (trace_of(decision) if lasting else "") != heard.trace:
            self.result.different += 1
            self.result.first = self.result.first or heard.line
        return heard.event.at, heard, decision


def run_replay(options: WatchOptions) -> ExitCode:
    """Replay a record; exit 1 where this very version decides otherwise than it did."""
    path = options.replay or Path()
    header, entries = read_record(path)
    settings = load(options.shared.config, options.shared.profile, options.shared.state_dir)
    pace = _Pace(_factor(options.speed))
    replay = Replay(entries)
    with tempfile.TemporaryDirectory(prefix="tpctl-replay-") as place:
        state_dir = open_state_dir(Path(place) / "state", _FINGERPRINT)
        own = replace(settings, name=header.profile, state_dir=state_dir.path)
        asyncio.run(_run(replay, pace, own, options, header, state_dir))
    return _verdict(replay.result, header, pace, path)


def _factor(speed: Speed | None) -> float | None:
    """Return the speed asked for; else as it happened on a terminal, and as fast as possible where there is none."""
    if speed is None:
        return 1.0 if sys.stdout.isatty() else None
    return None if speed.factor is None else float(speed.factor)


def _verdict(result: Replayed, header: Header, pace: _Pace, path: Path) -> ExitCode:
    if pace.left:
        return ExitCode.INTERRUPTED if pace.interrupted else ExitCode.OK
    if not result.whole:
        sys.stderr.write(f"warning: record {path.name!r} has no end: its watch was killed, or the file was cut\n")
    if not result.different:
        return ExitCode.OK
    words = f"{result.different} of {result.events} events are decided otherwise, the first in line {result.first}"
    if header.code_version != __version__:
        sys.stderr.write(f"warning: {words}; tpctl {header.code_version} recorded it, this is {__version__}\n")
        return ExitCode.OK
    sys.stderr.write(f"error: {words}\nhint: the same version should decide the same; report it with the record\n")
    return ExitCode.BUG


async def _run(
    replay: Replay, pace: _Pace, settings: Settings, options: WatchOptions, header: Header, state_dir: StateDir
) -> None:
    async with _showing(replay, pace, settings, options, header, state_dir) as (journal, teller):
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, lambda: pace.obey(Asked(Act.INTERRUPT)))
        dirty: set[PositionKey] = set()
        for at, heard, decision in replay.steps():
            await pace.wait(at - replay.now if replay.now else 0)
            if pace.left:
                return
            replay.now = max(replay.now, at)
            dirty |= decision.changed
            quiet = heard is not None and isinstance(heard.event, MarkPrice | Tick) and not decision.notes
            if not quiet or decision.intents:
                _commit(journal, teller, at, decision, dirty)
            replay.state = decision.state
            await asyncio.sleep(0)
        if dirty and replay.state is not None:
            _commit(journal, teller, replay.now, Decision(replay.state), dirty)
        await _stay(pace, teller)


_SIGNALS = (2, 15)


async def _stay(pace: _Pace, teller: Teller) -> None:
    """Keep the dashboard open at the end of the record until the operator leaves."""
    while teller.on_screen and not pace.left:  # noqa: ASYNC110 - the screen is looked at as often anyway
        await asyncio.sleep(0.1)


def _commit(journal: Journal, teller: Teller, at: Millis, decision: Decision, dirty: set[PositionKey]) -> None:
    rows = tuple(position_row(decision.state, key) for key in sorted(dirty, key=str))
    dirty.clear()
    committed = journal.commit(Entry(at=at, states=rows, notes=decision.notes, attempts=decision.attempts))
    for note, seq in zip(decision.notes, committed.note_seqs, strict=True):
        teller.tell(note, seq)


@asynccontextmanager
async def _showing(
    replay: Replay, pace: _Pace, settings: Settings, options: WatchOptions, header: Header, state_dir: StateDir
) -> AsyncIterator[tuple[Journal, Teller]]:
    journal = Journal.open(state_dir.journal, _FINGERPRINT, at=header.recorded_at, code_version=__version__)
    writer = PulseWriter.open(state_dir.pulse)
    started = time.time_ns() // 1_000_000
    trail = TrailText()

    def beat(ended: str = "") -> None:
        writer.write(
            Pulse(
                at=replay.now,
                written_at=time.time_ns() // 1_000_000,
                started_at=started,
                pid=os.getpid(),
                profile=header.profile,
                env=header.env,
                mode=f"{header.mode} REPLAY",
                host="",
                exchange="",
                paused=pace.paused,
                ended=ended,
                marks=() if replay.state is None else marks_of(replay.state),
                trail="" if replay.state is None else trail.of(replay.state),
            )
        )

    async def beating() -> None:
        while True:
            beat()
            await asyncio.sleep(BEAT_S)

    teller = open_teller(settings, options, pace.obey)
    beat()
    teller.open()
    task = asyncio.ensure_future(beating())
    try:
        yield journal, teller
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        beat("the record is over")
        writer.close()
        teller.close()
        with suppress(StateFileError):
            journal.close()
