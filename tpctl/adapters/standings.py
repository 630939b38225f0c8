"""The records of a journal's attempts, brought up to date by what is new in it instead of folded from the start.

A run folds each attempt and each verdict once. How far it came is kept beside the journal now and then, so that the
next run begins there: a view that can be thrown away, and is where it is damaged or of another journal. A test holds
the records equal to the fold over everything.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tpctl.adapters.files import read_file, write_atomic
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.metrics_file import key_of, parse_records, render_records
from tpctl.exits.errors import StateFileError
from tpctl.exits.model import Outcome
from tpctl.exits.scoring import Record, fold, fold_verdict

_SCHEMA = "tpctl.standings/1"
# Attempts worth keeping for the next run: decoding so many takes some tens of milliseconds.
_WORTH_KEEPING = 1_000


class Standings:
    """The records of the journal at one path. Not for use by two threads at once."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._path = journal.with_name("standings.json")
        self._scan: JournalScan | None = None
        self._records: dict[str, Record] = {}
        self._attempt = self._hindsight = self._kept = 0

    def close(self) -> None:
        """Close the journal; the next question opens it again."""
        if self._scan is not None:
            self._scan.close()
            self._scan = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def records(self) -> Mapping[str, Record]:
        """Return the records of all that is in the journal now; raises `StateFileError` where it is damaged."""
        if self._scan is None:
            self._scan = JournalScan.open(self._journal)
            if not self._attempt:
                self._resume(self._scan)
        self._catch_up(self._scan)
        if self._attempt - self._kept >= _WORTH_KEEPING:
            self._keep(self._scan)
        return self._records

    def forget(self) -> None:
        """Begin from the start with the next question, as if nothing had been kept."""
        self._records, self._attempt, self._hindsight, self._kept = {}, 0, 0, 0
        self._path.unlink(missing_ok=True)

    def _catch_up(self, scan: JournalScan) -> None:
        # Verdicts up to here are on attempts that are in the journal already.
        _, last, _, _ = scan.last_rows()
        while found := scan.attempts_after(self._attempt):
            for row, attempt in found:
                key = f"{attempt.strategy_id}:{attempt.symbol}"
                self._records[key] = fold(self._records.get(key), attempt)
                self._attempt = row
        while self._hindsight < last and (verdicts := scan.hindsights_after(self._hindsight)):
            for row, number, _, verdict in verdicts:
                if row > last:
                    return
                judged = scan.attempt(number)
                if judged is not None and judged.outcome is Outcome.MISS and judged.premature is None:
                    key = f"{judged.strategy_id}:{judged.symbol}"
                    self._records[key] = fold_verdict(self._records[key], verdict, judged.exit_time)
                self._hindsight = row

    def _resume(self, scan: JournalScan) -> None:
        """Begin where an earlier run stopped, if that was in this journal."""
        try:
            line, _, text = (read_file(self._path) or b"").partition(b"\n")
            head: Any = json.loads(line)
            attempt, hindsight = int(head["attempt"]), int(head["hindsight"])
            records = {key_of(record): record for record in parse_records(text, self._path)}
            here = [_SCHEMA, scan.identity, scan.mark(attempt, 0)]
        except (StateFileError, ValueError, KeyError, TypeError, RecursionError):
            return
        same = [head.get(name) for name in ("schema", "identity", "mark")] == here
        if same and sum(one.tp_attempts for one in records.values()) == scan.count_attempts(attempt):
            self._records, self._attempt, self._hindsight, self._kept = records, attempt, hindsight, attempt

    def _keep(self, scan: JournalScan) -> None:
        self._kept = self._attempt
        head = {
            "schema": _SCHEMA,
            "identity": scan.identity,
            "attempt": self._attempt,
            "hindsight": self._hindsight,
            "mark": scan.mark(self._attempt, 0),
        }
        text = f"{json.dumps(head)}\n{render_records(self._records)}"
        try:
            write_atomic(self._path, text.encode())
        except StateFileError:
            # Time for the next run, nothing else.
            return
