"""The metrics index: a journal's attempts as numbers, and their sums by the questions `metrics` answers.

A view of the journal and nothing else, to be thrown away at any time. Reading goes on from the last row seen, so a long
journal costs its new rows only, and every answer costs its sums, not its attempts. The journal is only ever read.

Rows hold pico (10⁻¹²) in whole numbers; sums are text, because they may outgrow 64 bits.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Self

from tpctl.adapters.journal_scan import CHUNK, JournalScan
from tpctl.adapters.metrics_cells import DISTANCE_BANDS, ROW_COLUMNS, SIDES, CellKey, cell_keys, fit, numbered
from tpctl.adapters.metrics_excursions import put_delays, put_excursions
from tpctl.adapters.metrics_hindsight import TABLES, put_costs, put_mid, put_settlement, put_verdict
from tpctl.exits.model import Attempt, Note, NoteKind
from tpctl.exits.scoring import Verdict
from tpctl.exits.statistics import Measured, Tally, join, measure, to_pico
from tpctl.exits.units import ZERO, Millis

APPLICATION_ID = 0x7470_6D78  # "tpmx"
VERSION = 10
# Attempts between two commits of the index; their sums are held in memory until then.
_BATCH = 40_000
_BUSY_S = 2.0
_FIGURES = len(ROW_COLUMNS.split(",")) - 2
_OWN_ID = re.compile(r"[0-9a-f]{10}-\d+-\d+")
_NUMBER = re.compile(r"\s-?\d+(\.\d+)?%?")

_TABLES = """
CREATE TABLE sources (id INTEGER PRIMARY KEY, identity TEXT NOT NULL, attempt INTEGER NOT NULL,
    hindsight INTEGER NOT NULL, note INTEGER NOT NULL, event INTEGER NOT NULL, mark TEXT NOT NULL,
    settlement INTEGER NOT NULL, cost INTEGER NOT NULL,
    mid INTEGER NOT NULL);
CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE ids (id TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE rows (n INTEGER PRIMARY KEY, strategy INTEGER NOT NULL, symbol INTEGER NOT NULL, side INTEGER NOT NULL,
    leg INTEGER NOT NULL, reason INTEGER NOT NULL, regime INTEGER NOT NULL, distance INTEGER NOT NULL,
    arm INTEGER NOT NULL, entry_at INTEGER NOT NULL, exit_at INTEGER NOT NULL, hit INTEGER NOT NULL, slip,
    profit NOT NULL, r, risk, share NOT NULL, roi, premature INTEGER, missed);
CREATE INDEX rows_by_exit ON rows (exit_at);
CREATE INDEX rows_by_kind ON rows (strategy, symbol, exit_at, hit);
CREATE INDEX rows_by_slip ON rows (slip, exit_at, strategy, symbol) WHERE hit = 1;
CREATE INDEX rows_by_arm ON rows (arm) WHERE arm > 0;
CREATE TABLE cells (cube TEXT NOT NULL, strategy INTEGER NOT NULL, symbol INTEGER NOT NULL, value INTEGER NOT NULL,
    month INTEGER NOT NULL, sums TEXT NOT NULL, PRIMARY KEY (cube, strategy, symbol, value, month)) WITHOUT ROWID;
CREATE TABLE regimes (source INTEGER NOT NULL, symbol INTEGER NOT NULL, side INTEGER NOT NULL, at INTEGER NOT NULL,
    regime INTEGER NOT NULL, PRIMARY KEY (source, symbol, side, at)) WITHOUT ROWID;
CREATE TABLE plans (source INTEGER NOT NULL, symbol INTEGER NOT NULL, side INTEGER NOT NULL, at INTEGER NOT NULL,
    policy INTEGER NOT NULL, stop TEXT, leverage TEXT, regime INTEGER NOT NULL,
    PRIMARY KEY (source, symbol, side, at)) WITHOUT ROWID;
CREATE TABLE closes (source INTEGER NOT NULL, seq INTEGER NOT NULL, symbol INTEGER NOT NULL, side INTEGER NOT NULL,
    at INTEGER NOT NULL, opened_at INTEGER, policy INTEGER NOT NULL, reason INTEGER NOT NULL, pnl, fees, naked INTEGER,
    r, entry TEXT, average_exit TEXT, quantity TEXT, stop TEXT, PRIMARY KEY (source, seq)) WITHOUT ROWID;
CREATE INDEX closes_by_naked ON closes (naked, at, policy, symbol) WHERE naked IS NOT NULL;
CREATE TABLE stops (source INTEGER NOT NULL, seq INTEGER NOT NULL, symbol INTEGER NOT NULL, at INTEGER NOT NULL,
    policy INTEGER NOT NULL, reason INTEGER NOT NULL, slip NOT NULL, PRIMARY KEY (source, seq)) WITHOUT ROWID;
CREATE TABLE moves (source INTEGER NOT NULL, seq INTEGER NOT NULL, symbol INTEGER NOT NULL, at INTEGER NOT NULL,
    policy INTEGER NOT NULL, cause INTEGER NOT NULL, PRIMARY KEY (source, seq)) WITHOUT ROWID;
CREATE TABLE excursions (source INTEGER NOT NULL, seq INTEGER NOT NULL, symbol INTEGER NOT NULL, at INTEGER NOT NULL,
    policy INTEGER NOT NULL, mfe, mae, mfe_r, mae_r, capture, taken, offered,
    PRIMARY KEY (source, seq)) WITHOUT ROWID;
CREATE TABLE delays (source INTEGER NOT NULL, seq INTEGER NOT NULL, stage INTEGER NOT NULL, symbol INTEGER NOT NULL,
    at INTEGER NOT NULL, policy INTEGER NOT NULL, ms INTEGER NOT NULL, PRIMARY KEY (source, seq, stage)) WITHOUT ROWID;
CREATE INDEX closes_by_reason ON closes (reason, pnl, fees, r, at, policy, symbol);
CREATE INDEX excursions_by_offer ON excursions (offered, taken, at, policy, symbol);
CREATE INDEX delays_by_ms ON delays (stage, ms, at, policy, symbol);
CREATE INDEX stops_by_slip ON stops (reason, slip, at, policy, symbol);
CREATE INDEX excursions_by_mfe ON excursions (mfe, at, policy, symbol);
CREATE INDEX excursions_by_mae ON excursions (mae, at, policy, symbol);
CREATE INDEX excursions_by_mfe_r ON excursions (mfe_r, at, policy, symbol);
CREATE INDEX excursions_by_mae_r ON excursions (mae_r, at, policy, symbol);
CREATE INDEX excursions_by_capture ON excursions (capture, at, policy, symbol);
CREATE TABLE arms (arm INTEGER PRIMARY KEY, share TEXT NOT NULL);
"""
_STORY = (
    *(NoteKind.PLANNED, NoteKind.CLOSED, NoteKind.TP_HIT, NoteKind.STOP_HIT, NoteKind.STOP_MOVED),
    *(NoteKind.TRAIL_MOVED, NoteKind.ACCEPTED),
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The first plan of a position's life, as far as the journal says. `regime` is a name's number, 0 for unknown."""

    policy: int
    stop: Decimal | None
    leverage: Decimal | None
    regime: int


_NO_PLAN = _Plan(0, None, None, 0)


class MetricsIndex:
    """An index in a file, or without one in a temporary place that ends with the process."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.db = connect(path)
        self._names: dict[str, int] = {}
        self._cells: dict[CellKey, list[int]] = {}
        self.conflicts = 0

    @classmethod
    def temporary(cls) -> Self:
        """Return an empty index that ends with the process; memory stays bounded, the rest is on disk."""
        index = cls(None)
        index.create()
        return index

    def close(self) -> None:
        """Close it; doing so twice is harmless."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def update(
        self, scan: JournalScan, *, merging: bool = False, told: Callable[[int, int], None] | None = None
    ) -> None:
        """Take in what the journal holds beyond what was taken in before.

        With `merging` an attempt whose id another journal brought already is left out, so that it counts once. `told`
        hears how many of how many new attempts are in. Raises `StateFileError` where the journal is damaged.
        """
        source, (attempt, hindsight, note, event) = self._source(scan)
        last_attempt, last_hindsight, last_note, last_event = scan.last_rows()
        self._read_regimes(scan, source, event, last_event)
        self._read_story(scan, source, note, last_note)
        self._mark(scan, source, attempt, last_note)
        self.db.execute("UPDATE sources SET event = ? WHERE id = ?", (last_event, source))
        self._commit()
        for row in self._read_attempts(scan, source, attempt, last_attempt, merging=merging):
            self._flush()
            self._mark(scan, source, row, last_note)
            self._commit()
            attempt = row
            if told is not None:
                told(row, max(row, last_attempt))
        hindsight = self._read_hindsights(scan, source, hindsight, last_hindsight, attempt, merging=merging)
        self._flush()
        self.db.execute("UPDATE sources SET hindsight = ? WHERE id = ?", (hindsight, source))
        self._read_settlements(scan, source)
        self._commit()

    def _mark(self, scan: JournalScan, source: int, attempt: int, note: int) -> None:
        """Say how far a journal was read, and what stands there."""
        self.db.execute(
            "UPDATE sources SET attempt = ?, note = ?, mark = ? WHERE id = ?",
            (attempt, note, scan.mark(attempt, note), source),
        )

    def create(self) -> None:
        """Make the tables of an empty index."""
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        self.db.executescript(f"BEGIN; {marks} {_TABLES} {TABLES} COMMIT;")
        # 0 is "not on record" wherever a name is.
        self.db.execute("INSERT INTO names VALUES (0, '')")
        self.db.execute("BEGIN")

    def _commit(self) -> None:
        self.db.execute("COMMIT")
        self.db.execute("BEGIN")

    def _source(self, scan: JournalScan) -> tuple[int, tuple[int, int, int, int]]:
        """Return a journal's number and how far it was read; another journal of the same account is another source."""
        identity = scan.identity
        rows = self.db.execute(
            "SELECT id, attempt, hindsight, note, event, mark FROM sources WHERE identity = ? ORDER BY id", (identity,)
        )
        for number, attempt, hindsight, note, event, mark in rows.fetchall():
            if scan.mark(attempt, note) == mark:
                return number, (attempt, hindsight, note, event)
        number = self.db.execute("SELECT coalesce(max(id), 0) + 1 FROM sources").fetchone()[0]
        self.db.execute("INSERT INTO sources VALUES (?, ?, 0, 0, 0, 0, ':', 0, 0, 0)", (number, identity))
        return number, (0, 0, 0, 0)

    def _read_regimes(self, scan: JournalScan, source: int, seq: int, through: int) -> None:
        while found := scan.regimes_after(seq, through):
            for read in found:
                key = (source, self._name(read.key.symbol), SIDES.index(read.key.side), read.at)
                row = (*key, self._name(read.regime or ""))
                self.db.execute("INSERT OR REPLACE INTO regimes VALUES (?, ?, ?, ?, ?)", row)
            seq = found[-1].seq

    def _read_story(self, scan: JournalScan, source: int, seq: int, through: int) -> None:
        while found := scan.notes_after(seq, _STORY):
            for number, note in found:
                if number <= through:
                    self._take_note(source, number, note)
            seq = found[-1][0]
            if seq >= through:
                return

    def _take_note(self, source: int, seq: int, note: Note) -> None:
        if note.key is None:
            return
        symbol, side = self._name(note.key.symbol), SIDES.index(note.key.side)
        data = note.data
        if note.kind is NoteKind.PLANNED:
            regime = self.db.execute(
                "SELECT regime FROM regimes WHERE source = ? AND symbol = ? AND side = ? AND at <= ?"
                " ORDER BY at DESC LIMIT 1",
                (source, symbol, side, note.at),
            ).fetchone()
            row = (source, symbol, side, note.at, self._name(str(data.get("policy") or "")))
            terms = (_text(data.get("stop")), _text(data.get("leverage")), regime[0] if regime else 0)
            arm, share = data.get("arm"), _text(data.get("propensity"))
            if isinstance(arm, str) and share is not None:
                self.db.execute("INSERT OR REPLACE INTO arms VALUES (?, ?)", (self._name(arm), share))
            self.db.execute("INSERT OR IGNORE INTO plans VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, *terms))
            return
        if note.kind is NoteKind.CLOSED:
            self._take_close(source, seq, note, symbol, side)
            return
        policy = self._plan(source, symbol, side, None, note.at).policy
        put_delays(self.db, (source, seq, symbol, note.at, policy), note)
        if note.kind in {NoteKind.ACCEPTED, NoteKind.TP_HIT}:
            return
        if note.kind is NoteKind.STOP_HIT:
            price, trigger = data.get("price"), data.get("trigger")
            if isinstance(price, Decimal) and isinstance(trigger, Decimal) and trigger > 0:
                slip = to_pico(note.key.side.sign * (trigger - price) / trigger)
                hit = (source, seq, symbol, note.at, policy, self._name(note.reason), fit(slip))
                self.db.execute("INSERT INTO stops VALUES (?, ?, ?, ?, ?, ?, ?)", hit)
            return
        cause = "trail" if note.kind is NoteKind.TRAIL_MOVED else _NUMBER.sub("", note.reason)
        self.db.execute(
            "INSERT INTO moves VALUES (?, ?, ?, ?, ?, ?)", (source, seq, symbol, note.at, policy, self._name(cause))
        )

    def _take_close(self, source: int, seq: int, note: Note, symbol: int, side: int) -> None:
        data = note.data
        lasted, naked = data.get("duration_ms"), data.get("naked_ms")
        opened = note.at - lasted if isinstance(lasted, int) else None
        plan = _NO_PLAN if opened is None else self._plan(source, symbol, side, opened, note.at)
        pnl, fees = data.get("pnl"), data.get("fees")
        entry, quantity = data.get("entry"), data.get("quantity")
        r = None
        if isinstance(pnl, Decimal) and isinstance(entry, Decimal) and isinstance(quantity, Decimal):
            risk = abs(entry - plan.stop) * quantity if plan.stop is not None else ZERO
            r = to_pico(pnl / risk) if risk else None
        row = (
            *(source, seq, symbol, side, note.at, opened, plan.policy, self._name(note.reason)),
            *(fit(to_pico(value)) if isinstance(value, Decimal) else None for value in (pnl, fees)),
            naked if isinstance(naked, int) else None,
            None if r is None else fit(r),
            *(_text(value) for value in (entry, data.get("average_exit"), quantity, plan.stop)),
        )
        self.db.execute(f"INSERT INTO closes VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - question marks only
        place = (source, seq, symbol, note.at, plan.policy)
        put_excursions(self.db, place, note, plan.stop)
        put_delays(self.db, place, note)

    def _plan(self, source: int, symbol: int, side: int, since: Millis | None, until: Millis) -> _Plan:
        """Return the first plan between two times; without the first, the newest until the second."""
        bound, order = ("at >= ?", "ASC") if since is not None else ("? IS NULL", "DESC")
        found = self.db.execute(
            f"SELECT policy, stop, leverage, regime FROM plans WHERE source = ? AND symbol = ? AND side = ? AND {bound}"  # noqa: S608 - own words
            f" AND at <= ? ORDER BY at {order} LIMIT 1",
            (source, symbol, side, since, until),
        ).fetchone()
        if found is None:
            return _NO_PLAN
        policy, stop, leverage, regime = found
        return _Plan(policy, stop and Decimal(stop), leverage and Decimal(leverage), regime)

    def _read_attempts(self, scan: JournalScan, source: int, row: int, through: int, *, merging: bool) -> Iterator[int]:
        """Take in attempts; yields the row reached whenever enough are in to be kept."""
        done = 0
        while row < through:
            # What came after this reading began may have a plan that was not read: it is left to the next.
            found = [(number, attempt) for number, attempt in scan.attempts_after(row, CHUNK) if number <= through]
            if not found:
                break
            values = [
                taken
                for number, attempt in found
                if (taken := self._take_attempt(source, number, attempt, merging=merging)) is not None
            ]
            self.db.executemany(f"INSERT INTO rows VALUES ({', '.join('?' * 20)})", values)  # noqa: S608 - question marks only
            row = found[-1][0]
            done += len(found)
            if done >= _BATCH:
                done = 0
                yield row
        if done:
            yield row

    def _take_attempt(self, source: int, number: int, attempt: Attempt, *, merging: bool) -> tuple[object, ...] | None:
        n = numbered(source, number)
        strategy, symbol = self._name(attempt.strategy_id), self._name(attempt.symbol)
        side = SIDES.index(attempt.position_side)
        own = _OWN_ID.fullmatch(attempt.id) is not None
        plan = self._plan(source, symbol, side, attempt.entry_time, attempt.exit_time) if own else _NO_PLAN
        measured = measure(attempt, attempt.stop_initial or plan.stop, attempt.leverage or plan.leverage)
        away = abs(attempt.target_price - attempt.entry_price) / attempt.entry_price if attempt.entry_price else ZERO
        place = (
            strategy,
            symbol,
            side,
            attempt.leg,
            self._name(attempt.reason),
            plan.regime if attempt.regime is None else self._name(attempt.regime),
            int(away * DISTANCE_BANDS),
            self._name(attempt.arm or ""),
        )
        row = (
            *place,
            attempt.entry_time,
            attempt.exit_time,
            int(measured.hit),
            *(None if value is None else fit(value) for value in _stored(measured)),
        )
        if merging and not self.db.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", (attempt.id, n)).rowcount:
            self._compare(attempt.id, row)
            return None
        self._count(place, measured)
        return (n, *row)

    def _compare(self, name: str, row: tuple[object, ...]) -> None:
        """Count an attempt that another journal knows by the same id but with other figures."""
        known = self.db.execute(
            f"SELECT {ROW_COLUMNS} FROM rows JOIN ids USING (n) WHERE id = ?",  # noqa: S608 - own names
            (name,),
        ).fetchone()
        # The last columns are verdicts, which one copy of a journal may have and another not yet.
        self.conflicts += known is not None and known[:_FIGURES] != row[:_FIGURES]

    def _read_hindsights(
        self, scan: JournalScan, source: int, row: int, through: int, attempts: int, *, merging: bool
    ) -> int:
        while row < through:
            found = scan.hindsights_after(row)
            if not found:
                break
            for number, attempt, name, verdict in found:
                if attempt > attempts:
                    # Its attempt came after this reading began; both are taken in by the next.
                    return row
                self._take_verdict(numbered(source, attempt), name, verdict, merging=merging)
                row = number
        return row

    def _read_settlements(self, scan: JournalScan, source: int) -> None:
        row, cost, mid = self.db.execute("SELECT settlement, cost, mid FROM sources WHERE id = ?", (source,)).fetchone()
        while found := scan.settlements_after(row):
            for _, settlement in found:
                put_settlement(self.db, settlement, self._name)
            row = found[-1][0]
        while read := scan.costs_after(cost):
            for _, costs in read:
                put_costs(self.db, costs, self._name)
            cost = read[-1][0]
        while books := scan.mids_after(mid):
            for _, book in books:
                symbol, side = self._name(book.key.symbol), SIDES.index(book.key.side)
                put_mid(self.db, book, self._name, self._plan(source, symbol, side, None, book.at).policy)
            mid = books[-1][0]
        reached = (row, cost, mid, source)
        self.db.execute("UPDATE sources SET settlement = ?, cost = ?, mid = ? WHERE id = ?", reached)

    def _take_verdict(self, n: int, name: str, verdict: Verdict, *, merging: bool) -> None:
        if merging:
            n = self.db.execute("SELECT n FROM ids WHERE id = ?", (name,)).fetchone()[0]
        missed = to_pico(verdict.missed_usd)
        changed = self.db.execute(
            "UPDATE rows SET premature = ?, missed = ? WHERE n = ? AND premature IS NULL AND hit = 0",
            (int(verdict.premature), fit(missed), n),
        ).rowcount
        if not changed:
            return
        row = self.db.execute(f"SELECT {ROW_COLUMNS} FROM rows WHERE n = ?", (n,)).fetchone()  # noqa: S608 - own names
        put_verdict(self.db, n, (row[1], row[9], row[0]), verdict)
        tally = Tally()
        tally.add_verdict(verdict.premature, missed)
        for key in cell_keys(row[:8], row[9], row[9] - row[8]):
            join(self._cell(key), tally.numbers())

    def _count(self, place: tuple[int, ...], measured: Measured) -> None:
        tally = Tally()
        tally.add(measured)
        numbers = tally.numbers()
        for key in cell_keys(place, measured.at, measured.took):
            join(self._cell(key), numbers)

    def _cell(self, key: CellKey) -> list[int]:
        cell = self._cells.get(key)
        if cell is None:
            found = self.db.execute(
                "SELECT sums FROM cells WHERE cube = ? AND strategy = ? AND symbol = ? AND value = ? AND month = ?", key
            ).fetchone()
            cell = Tally().numbers() if found is None else [int(part) for part in found[0].split(",")]
            self._cells[key] = cell
        return cell

    def _flush(self) -> None:
        self.db.executemany(
            "INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?, ?)",
            ((*key, ",".join(map(str, sums))) for key, sums in self._cells.items()),
        )
        self._cells.clear()

    def _name(self, text: str) -> int:
        number = self._names.get(text)
        if number is None:
            if not self._names:
                self._names.update((word, n) for n, word in self.db.execute("SELECT id, text FROM names"))
                return self._name(text)
            number = self.db.execute("INSERT INTO names (text) VALUES (?)", (text,)).lastrowid or 0
            self._names[text] = number
        return number


def connect(path: Path | None) -> sqlite3.Connection:
    """Open an index file, or without a path a temporary one."""
    connection = sqlite3.connect("" if path is None else path, isolation_level=None, timeout=_BUSY_S)
    connection.execute("PRAGMA trusted_schema = OFF")
    if path is not None:
        # The journal is the truth: losing the last rows of a view in a power cut costs reading them again.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -32768")
    return connection


def _stored(measured: Measured) -> tuple[int | None, ...]:
    """Return what of an attempt is kept beside its place and times, in the order of the columns."""
    return (
        *(measured.slip, measured.profit, measured.r, measured.risk, measured.share, measured.roi),
        None if measured.premature is None else int(measured.premature),
        measured.missed,
    )


def _text(value: object) -> str | None:
    return format(value, "f") if isinstance(value, Decimal) else None
