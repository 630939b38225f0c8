"""Reads candle files in a process of its own, which ends with the reading.

The library that reads parquet stays in memory for good once it is loaded, tens of megabytes of it: a watch on a
recording would carry them all day for a second of reading. Files that need no such library are read right here.

Run as `python -m tpctl.adapters.candles_apart`: the request comes on stdin, its answer goes to stdout.
"""

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tpctl.adapters.candles import read_candles, read_history
from tpctl.exits.errors import InputsError, TpctlError
from tpctl.exits.units import Millis
from tpctl.market.bars import BarSeries, Candles, thinned


def candles_apart(
    paths: Sequence[Path], symbols: Sequence[str] | None, since_ms: Millis | None, until_ms: Millis | None
) -> Candles:
    """Return what `read_candles` does; raises as it does."""
    found: Candles = _apart(read_candles, paths, symbols, since_ms, until_ms)
    return found


def history_apart(paths: Sequence[Path], symbol: str, before_ms: Millis, interval_ms: int) -> tuple[BarSeries, ...]:
    """Return what `read_history` does of bars of one length, the older the longer; raises as it does."""
    found: tuple[BarSeries, ...] = _apart(_thinned_history, paths, symbol, before_ms, interval_ms)
    return found


def _thinned_history(paths: Sequence[Path], symbol: str, before_ms: Millis, interval_ms: int) -> tuple[BarSeries, ...]:
    return thinned(read_history(paths, symbol, before_ms), interval_ms, before_ms)


def _apart(read: Callable[..., Any], paths: Sequence[Path], *arguments: Any) -> Any:
    if not any(path.suffix == ".parquet" or path.is_dir() for path in paths):
        return read(paths, *arguments)
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", __name__],
        input=pickle.dumps((read, paths, arguments)),
        stdout=subprocess.PIPE,
        # An interrupt is for the watch, which leaves in its own way.
        start_new_session=True,
        check=False,
    )
    if done.returncode != 0:
        raise InputsError(
            f"the process that reads {', '.join(map(str, paths))} ended (exit {done.returncode})",
            "see above what it says; a machine without memory ends it too",
        )
    answer = pickle.loads(done.stdout)  # noqa: S301 - from our own process
    if isinstance(answer, TpctlError):
        raise answer
    return answer


def main() -> None:
    """Read what is asked for, and answer with it or with the error it is."""
    read, paths, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    try:
        answer: Any = read(paths, *arguments)
    except TpctlError as error:
        answer = error
    pickle.dump(answer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
