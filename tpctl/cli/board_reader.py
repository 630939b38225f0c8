"""Follows a watch from its journal and its pulse, and keeps the dashboard's board of it. It only reads.

Each look costs one query of the journal's version where nothing happened. What a mark changed without a consequence
is not in the journal, so marks and best prices come with the pulse.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache

from tpctl.adapters.codec import CodecError, decode
from tpctl.adapters.files import StateDir
from tpctl.adapters.halt import halted
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.pulse import Pulse, read_pulse
from tpctl.cli.board import detail, figures, position_row, with_mark
from tpctl.cli.day_tally import Day, DayTally
from tpctl.exits.episode import Episode, Phase
from tpctl.exits.errors import StateFileError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Note, NoteKind, PositionKey
from tpctl.exits.rules import TrailRules
from tpctl.exits.units import Millis
from tpctl.views.dashboard.board import Board, Detail, Happening, Vitals
from tpctl.views.lines import Tone, day, line, told, tone

_MINUTE = 60_000
_COURSE = 60
_LOG = 500
# How many of the newest attempts and notes a view that begins looks through for those of the day.
_RECENT_ATTEMPTS = 2_000
_RECENT_NOTES = 50_000
_OF_THE_DAY = (NoteKind.STARTED, NoteKind.CLOSED)
# A pulse older than this is not that of a running watch.
GONE_MS = 15_000


def _nobody(note: Note, seq: int) -> None:
    """Listen to no note."""


class BoardReader:
    """Reads one state directory. `rules` explain trails until a pulse tells which the watch goes by.

    `wall` is the real time in ms UTC, `hear` is told every note that comes, once.

    What it keeps is bounded by the positions that are open: of what is over there are counts and the newest lines.
    Raises `StateFileError` for a damaged journal.
    """

    def __init__(
        self,
        state_dir: StateDir,
        rules: TrailRules,
        *,
        profile: str,
        env: str,
        wall: Callable[[], Millis],
        attached: bool,
        verbose: bool = False,
        quiet: bool = False,
        log: int = _LOG,
        hear: Callable[[Note, int], None] = _nobody,
    ) -> None:
        self._dir = state_dir
        self._rules = rules
        self._told_rules = ""
        self._profile = profile
        self._env = env
        self._wall = wall
        self._attached = attached
        self._volume = (quiet, verbose)
        self._hear = hear
        self._journal = JournalReader.read_only(state_dir.journal)
        self._scan = JournalScan.open(state_dir.journal)
        self._version: int | None = None
        self._run: tuple[int, int] | None = None
        self._pulse: Pulse | None = None
        self._marks: tuple[object, ...] = ()
        self._board: Board | None = None
        self._episodes: dict[PositionKey, Episode] = {}
        self._stored_at: Millis = 0
        newest = self._journal.last_note_seq()
        self._note_seq = max(newest - log, 0)
        self._attempt_row = max(self._scan.last_rows()[0] - _RECENT_ATTEMPTS, 0)
        self._log: deque[Happening] = deque(maxlen=_LOG)
        self._logged_day = ""
        self._tally = DayTally()
        self._day = Day()
        for seq, note in self._journal.notes(max(newest - _RECENT_NOTES, 0), _OF_THE_DAY):
            if seq <= self._note_seq:
                self._count(note)
        self._courses: dict[str, deque[tuple[Millis, Decimal]]] = {}

    def close(self) -> None:
        """Close the files."""
        self._journal.close()
        self._scan.close()

    @property
    def pulse(self) -> Pulse | None:
        """The newest pulse."""
        return self._pulse

    def look(self) -> Board:
        """Return the board as it is now; the same object where nothing but the time has changed on it."""
        pulse = read_pulse(self._dir.pulse) or self._pulse
        version = self._journal.version()
        run = None if pulse is None else (pulse.pid, pulse.started_at)
        if run != self._run:
            # Another run may have begun a new account with an earlier time.
            self._run, self._version, self._stored_at = run, None, 0
            self._episodes.clear()
        moved = version != self._version
        if moved:
            self._version = version
            self._read_journal()
        self._pulse = pulse
        marks = () if pulse is None else pulse.marks
        now = self._now(pulse)
        so_far = self._tally.day(now)
        vitals = self._vitals(pulse, now)
        ruled = self._take_rules(pulse)
        if self._board is None or moved or ruled or marks != self._marks or so_far != self._day:
            self._marks, self._day = marks, so_far
            self._board = self._draw(pulse, now, vitals)
        elif vitals != self._board.vitals:
            old = self._board
            self._board = replace(old, vitals=vitals)
        return self._board

    def _take_rules(self, pulse: Pulse | None) -> bool:
        """Explain trails by the rules the watch goes by now; return whether they changed."""
        if pulse is None or not pulse.trail or pulse.trail == self._told_rules:
            return False
        try:
            self._rules = decode(pulse.trail, TrailRules)
        except CodecError as error:
            raise StateFileError(
                f"the pulse's trail rules do not fit this version: {error}", "use the version that runs the watch"
            ) from error
        self._told_rules = pulse.trail
        return True

    def _now(self, pulse: Pulse | None) -> Millis:
        newest = max((max(e.mark_at, e.position_at) for e in self._episodes.values()), default=0)
        return max(newest, self._stored_at) if pulse is None else pulse.at

    def _read_journal(self) -> None:
        for key, row in self._journal.states(self._stored_at or None).items():
            self._stored_at = max(self._stored_at, row.at)
            if row.state is None:
                self._episodes.pop(key, None)
                continue
            try:
                self._episodes[key] = decode(row.state, Episode)
            except CodecError as error:
                raise StateFileError(
                    f"the journal's state of {key} does not fit this version: {error}",
                    "use the version that runs the watch",
                ) from error
        quiet, verbose = self._volume
        for seq, note in self._journal.notes(self._note_seq):
            self._note_seq = seq
            self._hear(note, seq)
            self._count(note)
            if told(note.kind, quiet=quiet, verbose=verbose):
                # Why a plan is as it is takes ten lines; the explanation has them.
                text = line(note).split("\n")[0]
                if (today := day(note.at)) != self._logged_day:
                    self._logged_day = today
                    self._log.append(Happening(today, Tone.QUIET))
                self._log.append(Happening(text, tone(note)))
        while found := self._scan.attempts_after(self._attempt_row):
            self._attempt_row = found[-1][0]
            for _, attempt in found:
                self._tally.attempt(attempt)

    def _count(self, note: Note) -> None:
        if self._tally.note(note):
            self._attempt_row = self._scan.last_rows()[0]

    def _vitals(self, pulse: Pulse | None, now: Millis) -> Vitals:
        if pulse is None:
            return Vitals(now, self._profile, self._env, "n/a", halt=halted(self._dir), attached=self._attached)
        silent = max(self._wall() - pulse.written_at, 0)
        ended = pulse.ended
        if not ended and self._attached and silent > GONE_MS:
            ended = "its last sign of life is old"
        return Vitals(
            at=now,
            profile=pulse.profile,
            env=pulse.env,
            mode=pulse.mode,
            host=pulse.host,
            exchange=pulse.exchange,
            # In whole seconds, so that a quiet screen is not drawn anew for nothing.
            silent_ms=silent // 1000 * 1000,
            skew_ms=pulse.skew_ms,
            feed_age_ms=pulse.feed_age_ms,
            budget=pulse.budget,
            blocked=pulse.blocked,
            halt=halted(self._dir),
            paused=pulse.paused,
            recording=pulse.recording,
            ended=ended,
            attached=self._attached,
        )

    def _draw(self, pulse: Pulse | None, now: Millis, vitals: Vitals) -> Board:
        episodes = dict(self._episodes)
        for mark in () if pulse is None else pulse.marks:
            key = PositionKey(mark.symbol, PositionSide(mark.side))
            episode = episodes.get(key)
            if episode is not None and mark.mark is not None:
                episodes[key] = with_mark(episode, mark.mark, mark.mark_at, mark.peak)
        held = [episode for episode in episodes.values() if episode.phase is not Phase.FLAT]
        for symbol in self._courses.keys() - {episode.key.symbol for episode in held}:
            del self._courses[symbol]
        for episode in held:
            self._follow(episode)
        rows = tuple(
            position_row(episode, tuple(price for _, price in self._courses.get(episode.key.symbol, ())))
            for episode in sorted(held, key=lambda episode: str(episode.key))
        )
        return Board(
            vitals=vitals,
            figures=figures(held, self._day, 0 if pulse is None else pulse.rejected),
            rows=rows,
            detail_of=cache(lambda key: _detail_of(held, key, now, self._rules)),
            log=tuple(self._log),
        )

    def _follow(self, episode: Episode) -> None:
        """Keep one mark a minute of event time for the sparkline; the present minute's moves with the market."""
        if episode.mark is None:
            return
        course = self._courses.setdefault(episode.key.symbol, deque(maxlen=_COURSE))
        minute = episode.mark_at // _MINUTE
        if course and course[-1][0] > minute:
            course.clear()
        if course and course[-1][0] == minute:
            course.pop()
        course.append((minute, episode.mark))


def _detail_of(held: Sequence[Episode], key: PositionKey, now: Millis, rules: TrailRules) -> Detail | None:
    """Return the detail of one position; made only for the one that is looked at."""
    episode = next((episode for episode in held if episode.key == key), None)
    return None if episode is None else detail(episode, max(now, episode.mark_at), rules)
