"""What `metrics` changes: outcomes taken in from elsewhere, and the metrics file checked or made anew.

Decides what a line that cannot be taken in means for the others (nothing) and for the exit code. The journal is the
truth: an outcome counts when it is in there, once by its id; the metrics file follows.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO, TypeVar

from tpctl import __version__
from tpctl.adapters.files import StateDir, account_fingerprint, find_state_dir, open_state_dir
from tpctl.adapters.journal import Journal
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.metrics_file import MetricsFile, fold_all, metrics_path
from tpctl.adapters.metrics_store import drop_index
from tpctl.adapters.outcomes import differing, numbered_lines, parse_outcome
from tpctl.adapters.standings import Standings
from tpctl.cli.metrics_options import MetricsOptions
from tpctl.cli.options import Format
from tpctl.exits.errors import ExitCode, InputsError, LockedError, PartialError, StateFileError
from tpctl.exits.model import Attempt
from tpctl.exits.scoring import Record
from tpctl.settings.profile import profile_state

# Lines that go to the journal together; what is in one batch is durable as a whole.
_BATCH = 200
_NAMED_FAILURES = 20
# Writers of one journal queue; each is done within milliseconds, so this many seconds are a very long queue.
_PATIENCE_S = 60.0
_RETRY_S = 0.05
_VERIFY_TRIES = 5
# The twin takes this key; there is nothing to protect.
_TWIN_KEY = "sim"

T = TypeVar("T")


@dataclass(slots=True)
class _Taken:
    """What became of the lines."""

    lines: int = 0
    new: int = 0
    known: int = 0
    differing: list[str] = field(default_factory=list)
    broken: int = 0
    first_broken: int = 0


def run_write(options: MetricsOptions) -> ExitCode:
    """Do what --record, --verify or --rebuild asks for."""
    profile, env, place = profile_state(options.shared.config, options.shared.profile, options.shared.state_dir)
    if options.record is not None:
        taken = _record(options, options.record, env, place)
        _print_taken(options, taken, profile, env)
        return _taken_code(taken)
    state = find_state_dir(place)
    if state is None or not state.journal.exists():
        raise InputsError(f"there is no journal in {str(place)!r}", "run tpctl watch once, or name another --state-dir")
    file = MetricsFile(metrics_path(state, options.file, os.environ))
    with JournalReader.read_only(state.journal) as reader:
        if options.verify:
            reader.integrity()
            attempts = _verify(file, reader)
            words = f"{file.path} agrees with the journal: {attempts} attempts"
        else:
            drop_index(state.path / "metrics-index.db")
            with Standings(reader.path) as standings:
                standings.forget()
                records = queued(lambda: file.publish(standings.records))
            words = f"{file.path} made anew: {sum(r.tp_attempts for r in records.values())} attempts"
    _print_done(options, words, profile, env)
    return ExitCode.OK


def _record(options: MetricsOptions, source: Path, env: str, place: Path) -> _Taken:
    with _input(source) as lines, journal_beside(env, place) as (state, journal):
        file = MetricsFile(metrics_path(state, options.file, os.environ))
        # Before anything is recorded: a file that may not be replaced is found now.
        file.read()
        taken = _Taken()
        batch: dict[str, Attempt] = {}
        for number, line in numbered_lines(lines):
            taken.lines += 1
            try:
                if isinstance(line, InputsError):
                    raise line
                attempt = parse_outcome(line)
            except InputsError as error:
                taken.broken += 1
                taken.first_broken = taken.first_broken or number
                if taken.broken <= _NAMED_FAILURES:
                    sys.stderr.write(f"line {number}: {error.message}\n")
                continue
            if attempt.id in batch:
                _repeat(taken, batch[attempt.id], attempt)
                continue
            batch[attempt.id] = attempt
            if len(batch) >= _BATCH:
                _take(taken, journal, batch)
        _take(taken, journal, batch)
        # Also where nothing was new: an earlier run may have died between the journal and the file.
        with Standings(journal.path) as standings:
            queued(lambda: file.publish(standings.records))
    return taken


@contextmanager
def _input(source: Path) -> Iterator[BinaryIO]:
    if str(source) == "-":
        yield sys.stdin.buffer
        return
    try:
        file = source.open("rb")
    except OSError as error:
        raise InputsError(
            f"cannot read {str(source)!r}: {os.strerror(error.errno or 0).lower()}", "check the path after --record"
        ) from None
    with file:
        yield file


@contextmanager
def journal_beside(env: str, place: Path) -> Iterator[tuple[StateDir, Journal]]:
    """Open the profile's journal for writing beside a watch; in sim it is made where there is none."""
    state = find_state_dir(place)
    if state is not None and state.journal.exists():
        with JournalScan.open(state.journal) as scan:
            fingerprint = scan.fingerprint
    elif env == "sim":
        fingerprint = account_fingerprint(env, _TWIN_KEY)
        state = open_state_dir(place, fingerprint)
    else:
        raise InputsError(
            f"there is no journal in {str(place)!r}", "run tpctl watch once: it ties the journal to your account"
        )
    journal = queued(lambda: Journal.open(state.journal, fingerprint, at=_now(), code_version=__version__))
    with closing(journal):
        yield state, journal


def _take(taken: _Taken, journal: Journal, batch: dict[str, Attempt]) -> None:
    """Make a batch durable and empty it."""
    if not batch:
        return
    attempts = list(batch.values())
    batch.clear()
    new = set(queued(lambda: journal.record(_now(), attempts)))
    taken.new += len(new)
    old = [attempt for attempt in attempts if attempt.id not in new]
    if old:
        with JournalScan.open(journal.path) as scan:
            known = scan.known([attempt.id for attempt in old])
        for attempt in old:
            _repeat(taken, known[attempt.id], attempt)


def _repeat(taken: _Taken, first: Attempt, again: Attempt) -> None:
    taken.known += 1
    fields_apart = differing(first, again)
    if fields_apart and len(taken.differing) < _NAMED_FAILURES:
        taken.differing.append(f"{again.id}: {', '.join(fields_apart)}")


def queued(work: Callable[[], T]) -> T:
    """Do what needs its turn among other writers; raises `LockedError` when it does not come for a minute."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return work()
        except LockedError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_S)


def _verify(file: MetricsFile, reader: JournalReader) -> int:
    """Compare the metrics file with what the journal's attempts give; return how many there are.

    A running watch publishes just after it records, so a difference is looked at again before it is one.
    """
    found: list[str] = []
    for _ in range(_VERIFY_TRIES):
        shown, attempts = file.read(), reader.attempts()
        if shown is None:
            raise StateFileError(f"metrics file {str(file.path)!r} does not exist", "run tpctl metrics --rebuild")
        found = _differences(shown, fold_all(attempts))
        if not found:
            return len(attempts)
        time.sleep(_RETRY_S)
    for line in found[:_NAMED_FAILURES]:
        sys.stderr.write(f"{line}\n")
    raise StateFileError(
        f"metrics file {str(file.path)!r} differs from the journal in {len(found)} records",
        "run tpctl metrics --rebuild; where the file counts more, look first for a journal that was moved aside",
    )


def _differences(shown: dict[str, Record], real: dict[str, Record]) -> list[str]:
    found = []
    for key in sorted({*shown, *real}):
        if key not in shown:
            found.append(f"{key}: the file lacks it")
        elif key not in real:
            found.append(f"{key}: the journal has no such attempts")
        elif shown[key] != real[key]:
            names = [f.name for f in fields(Record) if getattr(shown[key], f.name) != getattr(real[key], f.name)]
            found.append(f"{key}: {', '.join(names)}")
    return found


def _taken_code(taken: _Taken) -> ExitCode:
    if not taken.lines:
        raise InputsError("there is no outcome to record", "give one JSON object a line")
    if taken.broken == taken.lines:
        raise InputsError(f"none of the {taken.lines} lines is an outcome", "the first of them are named above")
    if taken.broken:
        raise PartialError(
            f"{taken.broken} of {taken.lines} lines were left out, the first at line {taken.first_broken}",
            "mend the lines named above and give the whole again: what was recorded counts once",
        )
    return ExitCode.OK


def _print_taken(options: MetricsOptions, taken: _Taken, profile: str, env: str) -> None:
    for text in taken.differing:
        sys.stderr.write(f"warning: {text} differ from what is on record, which stays\n")
    if options.format is Format.JSON:
        from tpctl.views.machine import document

        data = {"recorded": {"lines": taken.lines, "new": taken.new, "known": taken.known, "left_out": taken.broken}}
        sys.stdout.write(document("metrics", _now(), profile, env, "shadow", data))
    elif not options.shared.quiet:
        left = f", {taken.broken} left out" if taken.broken else ""
        sys.stdout.write(f"{taken.new} outcomes recorded, {taken.known} known already{left}\n")


def _print_done(options: MetricsOptions, words: str, profile: str, env: str) -> None:
    if options.format is Format.JSON:
        from tpctl.views.machine import document

        sys.stdout.write(document("metrics", _now(), profile, env, "shadow", {"done": words}))
    elif not options.shared.quiet:
        sys.stdout.write(f"{words}\n")


def _now() -> int:
    return time.time_ns() // 1_000_000
