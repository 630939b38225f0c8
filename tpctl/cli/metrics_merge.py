"""Several journals and metrics files as one: what can be told apart is counted once, what cannot is said.

Attempts of journals count once by their id, wherever they were copied. A metrics file holds sums without ids, so files
are added up as they are, and where one is named beside a journal or another file a warning says what that rests on.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tpctl.adapters.files import read_file
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.metrics_file import MetricsFile, fold_all
from tpctl.adapters.metrics_index import MetricsIndex
from tpctl.exits.errors import InputsError
from tpctl.exits.record_merge import merge_records
from tpctl.exits.scoring import Record

_MAGIC = b"SQLite format 3\0"
_Opened = tuple[JournalScan | None, MetricsIndex | None, tuple[Record, ...], tuple[tuple[str, str], ...]]


@contextmanager
def opened_merge(paths: tuple[Path, ...]) -> Iterator[_Opened]:
    """Open the files together: journals alone give an index, any metrics file leaves records only."""
    journals = [path for path in paths if _is_journal(path)]
    files = [path for path in paths if path not in journals]
    with ExitStack() as stack:
        scans = _distinct([stack.enter_context(JournalScan.open(path)) for path in journals])
        if not files:
            index = stack.enter_context(MetricsIndex.temporary())
            for scan in scans:
                index.update(scan, merging=True)
            yield None, index, (), _conflicts(index.conflicts)
            return
        records = [record for path in files for record in _records(path)]
        readers = [stack.enter_context(JournalReader.read_only(scan.path)) for scan in scans]
        records += fold_all(attempt for reader in readers for attempt in reader.attempts()).values()
        warnings: tuple[tuple[str, str], ...] = ()
        if len(paths) > 1:
            text = "metrics files name no attempts: the sums are right only if no attempt is in two of the files"
            warnings = (("not_told_apart", text),)
        yield None, None, tuple(merge_records(records).values()), warnings


def _distinct(scans: list[JournalScan]) -> list[JournalScan]:
    """Leave out copies of a journal that another of the files goes on from."""
    kept: list[JournalScan] = []
    for scan in scans:
        if not any(other.holds(scan) for other in kept):
            kept = [*(other for other in kept if not scan.holds(other)), scan]
    return kept


def _conflicts(count: int) -> tuple[tuple[str, str], ...]:
    if not count:
        return ()
    text = f"{count} attempts have the id of another attempt with other figures: of each, the first journal's counts"
    return (("id_conflicts", text),)


def _is_journal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except FileNotFoundError:
        raise InputsError(f"file {str(path)!r} does not exist", "check the path after --merge") from None
    except OSError as error:
        raise InputsError(f"cannot read {str(path)!r}: {error.strerror}", "check the path after --merge") from None


def _records(path: Path) -> list[Record]:
    if not (read_file(path) or b"").strip():
        raise InputsError(f"file {str(path)!r} is empty", "name journals and metrics files")
    return list((MetricsFile(path).read() or {}).values())
