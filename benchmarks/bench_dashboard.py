"""What `watch` with its dashboard costs: CPU and memory of engine and view at 600 streamed symbols.

A served twin streams a mark of every symbol once a second; the watch guards twenty positions of them, on a
pseudo-terminal of 120x40 that is read. Run `python -m benchmarks.bench_dashboard [SECONDS]`. Prints the share of a core
(aim: below 5 %), the resident and proportional memory at the start and at the end (aim: below 150 MB, flat), and how
many bytes a second go to the terminal. Linux only: it reads /proc.
"""

import csv
import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import ExitStack
from fcntl import ioctl
from importlib import resources
from pathlib import Path
from struct import pack

from tpctl.adapters.pulse import read_pulse

SYMBOLS = 600
POSITIONS = 20
WARM_UP_S = 20
# A step of the twin is five seconds of its market: at this speed one a second.
SPEED = "5"
START = 1_738_540_800_000
_MINUTE = 60_000
_TERMINAL = "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from tpctl.__main__ import main; main()"


def write_exchange(place: Path) -> list[str]:
    """Write rules, brackets, candles and entries of an exchange with `SYMBOLS` symbols; return the twin's options."""
    document = json.loads(resources.files("tpctl.venue").joinpath("builtin_rules.json").read_text())
    info, brackets = document["exchange_info"], document["brackets"]
    names = [f"S{number:03}USDT" for number in range(SYMBOLS)]
    rows = {row["symbol"]: row for row in brackets}
    model = next(symbol for symbol in info["symbols"] if symbol["symbol"] == "XRPUSDT")
    info["symbols"] = [{**model, "symbol": name, "pair": name, "baseAsset": name[:4]} for name in names]
    (place / "rules.json").write_text(json.dumps(info))
    (place / "brackets.json").write_text(json.dumps([{**rows["XRPUSDT"], "symbol": name} for name in names]))
    options = ["--rules", str(place / "rules.json"), "--brackets", str(place / "brackets.json")]
    for at, name in enumerate(names):
        path = place / f"{name}-1m-2025-02-03.csv"
        with path.open("w", newline="") as file:
            for minute in range(180):
                low = 2.0 + 0.0002 * ((minute * 7 + at) % 40)
                opened = START + minute * _MINUTE
                bar = (f"{low:.4f}", f"{low + 0.004:.4f}", f"{low - 0.004:.4f}", f"{low + 0.001:.4f}")
                csv.writer(file).writerow((opened, *bar, 1000, opened + _MINUTE - 1, 2000, 10, 500, 1000, 0))
        options += ["--market", str(path)]
    with (place / "entries.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("time", "symbol", "side", "leverage", "notional"))
        for name in names[:POSITIONS]:
            writer.writerow((START + _MINUTE, name, "long", 10, 1000))
    return [*options, "--entries", str(place / "entries.csv")]


def children(pid: int) -> list[int]:
    """Return a process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> tuple[float, float]:
    """Return resident and proportional memory in MB; the second counts what processes share once."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        found[name] = int(value.split()[0]) / 1024
    return found["Rss"], found["Pss"]


def drain(master: int, seconds: float) -> int:
    """Read the terminal for so long; return how many bytes came."""
    end, count = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if select.select([master], [], [], left)[0]:
            count += len(os.read(master, 1 << 16))
    return count


def tell(line: str) -> None:
    """Print one result."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tpctl-bench-")))
        venue = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "tpctl", "venue", "--json", "--speed", SPEED, *write_exchange(place)],
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(venue.wait)
        stack.callback(venue.terminate)
        assert venue.stdout is not None  # noqa: S101 - it was asked for
        url = json.loads(venue.stdout.readline())["data"]["rest"].removesuffix("/fapi")
        master, slave = pty.openpty()
        ioctl(master, termios.TIOCSWINSZ, pack("HHHH", 40, 120, 0, 0))
        words = ["watch", "--venue", url, "--state-dir", str(place / "state")]
        watch = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _TERMINAL, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        stack.callback(watch.wait)
        stack.callback(watch.terminate)
        drain(master, WARM_UP_S)
        pids = children(watch.pid)
        before, memory = [cpu_s(pid) for pid in pids], [memory_mb(pid) for pid in pids]
        started = read_pulse(place / "state" / "watch.pulse")
        begun = 0 if started is None else started.at
        count = drain(master, seconds)
        after, later = [cpu_s(pid) for pid in pids], [memory_mb(pid) for pid in pids]
        pulse = read_pulse(place / "state" / "watch.pulse")
        held, steps = (0, 0) if pulse is None else (len(pulse.marks), (pulse.at - begun) // 5000)
        rate = count / seconds
        tell(f"{SYMBOLS} symbols, {held} positions, {steps} frames in {seconds:.0f} s, {rate:.0f} bytes/s shown")
        for name, first, last, old, new in zip(("engine", "view"), before, after, memory, later, strict=True):
            sizes = f"RSS {old[0]:.1f} -> {new[0]:.1f} MB, PSS {old[1]:.1f} -> {new[1]:.1f} MB"
            tell(f"{name:7} CPU {(last - first) / seconds:6.2%} of a core; {sizes}")
        total = sum(after) - sum(before)
        tell(f"{'both':7} CPU {total / seconds:6.2%} of a core; PSS {sum(new[1] for new in later):.1f} MB")


if __name__ == "__main__":
    main()
