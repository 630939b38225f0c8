"""The process that shows the dashboard: it reads the journal and the pulse, and may only ask the engine for things.

Run as `python -m tpctl.cli.viewer SPEC` by the watch whose terminal it takes over, or in its own process by `--attach`.
A crash, a hang or a kill in here is a matter of this process alone.
"""

import contextlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tpctl.adapters.codec import decode, encode
from tpctl.adapters.files import StateDir, find_state_dir
from tpctl.adapters.halt import clear_halt, set_halt
from tpctl.cli.board_reader import BoardReader
from tpctl.exits.errors import EmptyError, ExitCode, StateFileError, TpctlError
from tpctl.exits.rules import TrailRules
from tpctl.views.dashboard.board import Board
from tpctl.views.dashboard.controls import Act, Asked

_BY_OPERATOR = "set from the dashboard"


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """What a view is told when it starts. `control` is the descriptor of the engine's end, None for a mere reader."""

    state_dir: str
    profile: str
    env: str
    trail: TrailRules
    color: bool
    ascii: bool
    quiet: bool
    verbose: bool
    control: int | None

    def text(self) -> str:
        """Return the spec as one argument of a command line."""
        return encode(self)


class _Engine:
    """The engine as a view sees it: things can be asked of it, and it can be gone."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._said = b""
        self.gone = False

    def ask(self, asked: Asked) -> None:
        words: dict[str, Any] = {"act": asked.act.value, "reason": asked.reason}
        if asked.key is not None:
            words |= {"symbol": asked.key.symbol, "side": asked.key.side.value}
        if asked.fraction is not None:
            words["fraction"] = str(asked.fraction)
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(words).encode() + b"\n")

    def alive(self) -> bool:
        """Whether the engine still holds its end."""
        if not self.gone and select.select([self._socket], [], [], 0)[0]:
            try:
                self.gone = self._socket.recv(4096) == b""
            except BlockingIOError:
                pass
            except OSError:
                self.gone = True
        return not self.gone


def show(spec: ViewSpec) -> str | None:
    """Show the dashboard until the operator leaves or the engine is gone; return why it ended."""
    from tpctl.views.dashboard.app import Dashboard, run
    from tpctl.views.dashboard.theme import Theme

    state_dir = find_state_dir(Path(spec.state_dir))
    if state_dir is None or not state_dir.journal.exists():
        raise EmptyError(
            f"profile {spec.profile!r} has no journal in '{spec.state_dir}'",
            "start 'tpctl watch' first, or name its directory with --state-dir",
        )
    engine = None if spec.control is None else _Engine(spec.control)
    reader = _reader(spec, state_dir)

    def ask(asked: Asked) -> str | None:
        if asked.act in {Act.HALT, Act.LIFT}:
            return _halt(state_dir, asked)
        if engine is not None:
            engine.ask(asked)
        return None if asked.act in {Act.QUIT, Act.INTERRUPT} else _ASKED.get(asked.act, "")

    def ended() -> str | None:
        return "engine gone" if engine is not None and not engine.alive() else None

    try:
        theme = Theme(color=spec.color, ascii=spec.ascii)
        return run(Dashboard(_patient(reader.look), ask, ended, theme=theme, read_only=engine is None))
    finally:
        reader.close()


_ASKED = {
    Act.TRAIL: "asked to trail now; the event log tells the answer",
    Act.BREAKEVEN: "asked to move the stop to breakeven; the event log tells the answer",
    Act.REDUCE: "asked to reduce; the event log tells the answer",
}


def _reader(spec: ViewSpec, state_dir: StateDir) -> BoardReader:
    return BoardReader(
        state_dir,
        spec.trail,
        profile=spec.profile,
        env=spec.env,
        wall=wall,
        attached=spec.control is None,
        quiet=spec.quiet,
        verbose=spec.verbose,
    )


def wall() -> int:
    """Return the real time in ms UTC."""
    return time.time_ns() // 1_000_000


def _patient(look: Callable[[], Board]) -> Callable[[], Board]:
    """Keep the last board, with the reason on screen, where a look fails; the next one may succeed."""
    last: list[Board] = []

    def patiently() -> Board:
        try:
            last[:] = [look()]
        except StateFileError as error:
            if not last:
                raise
            vitals = replace(last[0].vitals, ended=f"the journal cannot be read: {error.message}")
            return replace(last[0], vitals=vitals)
        return last[0]

    return patiently


def _halt(state_dir: StateDir, asked: Asked) -> str:
    try:
        if asked.act is Act.LIFT:
            return "HALT is lifted" if clear_halt(state_dir) else "HALT was not set"
        set_halt(state_dir, asked.reason or _BY_OPERATOR)
    except TpctlError as error:
        return f"HALT could not be changed: {error.message}"
    return "HALT is set"


def main() -> int:
    """Show the dashboard of the watch that started this process; the exit code is for that watch."""
    spec = decode(sys.argv[1], ViewSpec)
    # Where colours are not wanted Textual is told in the way it understands, before it is imported.
    if not spec.color:
        os.environ["NO_COLOR"] = "1"
    try:
        show(spec)
    except TpctlError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return int(error.exit_code)
    except Exception as error:  # noqa: BLE001 - what nobody foresaw ends here, in a file without its secrets (I20)
        from tpctl.cli.errors import report

        return report(error, ())
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
