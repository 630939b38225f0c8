"""Many processes record at once while a watch writes: none lost, none twice, the file whole to whoever reads it."""

import os
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from metrics_desk import VECTOR, open_journal

from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.metrics_file import MetricsFile, fold_all
from tpctl.adapters.outcomes import outcome_line
from tpctl.exits.errors import ExitCode

PROCESSES = int(os.environ.get("TPCTL_RECORDERS", "8"))
OUTCOMES = int(os.environ.get("TPCTL_OUTCOMES", "2000")) // PROCESSES

# What a watch does all day: commits of its own attempts, and the file brought up to date after each of them.
WATCH = """
import sys
from dataclasses import replace
from pathlib import Path
from metrics_desk import START, VECTOR, open_journal
from tpctl.adapters.journal import Entry
from tpctl.adapters.metrics_file import MetricsFile
from tpctl.adapters.standings import Standings
from tpctl.exits.errors import LockedError
path, stop = Path(sys.argv[1]), Path(sys.argv[2])
number = 0
with open_journal(path) as journal, Standings(journal.path) as standings:
    while not stop.exists():
        journal.commit(Entry(START, attempts=(replace(VECTOR, id=f"watch{number}", strategy_id="watch"),)))
        number += 1
        try:
            MetricsFile(path / "tp_metrics.json").publish(standings.records)
        except LockedError:
            pass
print(number)
"""
# Reads without a pause, as a script in cron might just then.
READER = """
import json, sys
from pathlib import Path
path, stop = Path(sys.argv[1]), Path(sys.argv[2])
reads = least = 0
while not stop.exists():
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        continue
    count = sum(record["tp_attempts"] for record in content.values())
    assert count >= least, (count, least)
    least, reads = count, reads + 1
print(reads)
"""


def spawn(code: str, *arguments: Path) -> "subprocess.Popen[str]":
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def record(state: Path, lines: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tpctl", "metrics", "--state-dir", str(state), "--record", str(lines)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def write_lines(path: Path, name: str, count: int) -> Path:
    attempts = (replace(VECTOR, id=f"{name}-{n}", strategy_id=name, profit_usd=Decimal(n)) for n in range(count))
    path.write_text("".join(f"{outcome_line(attempt)}\n" for attempt in attempts))
    return path


def test_many_recorders_beside_a_watch_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    state, stop = tmp_path / "sim", tmp_path / "stop"
    open_journal(state).close()
    files = [write_lines(tmp_path / f"{n}.jsonl", f"host{n}", OUTCOMES) for n in range(PROCESSES)]
    watch, reader = spawn(WATCH, state, stop), spawn(READER, state / "tp_metrics.json", stop)
    # The first file twice over, by two processes at once: what is known by its id counts once.
    recorders = [record(state, path) for path in (*files, files[0])]
    said = [process.communicate(timeout=300) for process in recorders]
    stop.touch()
    (own, watch_error), (reads, reader_error) = watch.communicate(timeout=60), reader.communicate(timeout=60)

    assert [process.returncode for process in recorders] == [ExitCode.OK] * len(recorders), said
    assert (watch.returncode, watch_error) == (0, "")
    assert (reader.returncode, reader_error) == (0, "")
    assert int(own) > 0
    assert int(reads) > 0
    with JournalReader.read_only(state / "journal.db") as journal:
        journal.integrity()
        attempts = journal.attempts()
    ids = [attempt.id for attempt in attempts]
    assert sorted(ids) == sorted(
        {f"host{n}-{k}" for n in range(PROCESSES) for k in range(OUTCOMES)} | {f"watch{n}" for n in range(int(own))}
    )
    assert MetricsFile(state / "tp_metrics.json").publish(lambda: fold_all(attempts)) == fold_all(attempts)
    new = sum(int(out.split()[0]) for out, _ in said)
    assert new == PROCESSES * OUTCOMES
