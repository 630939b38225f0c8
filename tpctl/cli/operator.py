"""What the operator asks for in the dashboard, carried to the running watch; nothing is decided here."""

import signal
from typing import TYPE_CHECKING

from tpctl.adapters.files import StateDir
from tpctl.adapters.halt import halted
from tpctl.exits.model import PositionKey
from tpctl.exits.requests import Reduce, Request, StopToBreakeven, TrailNow
from tpctl.exits.units import Ratio
from tpctl.views.dashboard.controls import Act, Asked

if TYPE_CHECKING:
    from tpctl.engine.watch import Watch

SOURCE = "dashboard"
_PAUSED = "paused from the dashboard"


class Operator:
    """The operator of one run. Pausing is a HALT of this run alone: it ends with it, and `resume` lifts it."""

    def __init__(self) -> None:
        self.paused = False
        self._watch: Watch | None = None

    def takes(self, watch: "Watch") -> None:
        """Speak to this watch from now on."""
        self._watch = watch

    def halted(self, state_dir: StateDir) -> str | None:
        """Return why orders are halted: by the file, else because the operator paused."""
        return halted(state_dir) or (_PAUSED if self.paused else None)

    def obey(self, asked: Asked) -> None:
        """Do what was asked; what a position is asked passes the reducer and the guard, and is answered in the log."""
        watch = self._watch
        if watch is None:
            return
        if asked.act is Act.INTERRUPT:
            signal.raise_signal(signal.SIGINT)
        elif asked.act is Act.QUIT:
            watch.stop("quit from the dashboard")
        elif asked.act in {Act.PAUSE, Act.RESUME}:
            self.paused = asked.act is Act.PAUSE
        elif asked.act is Act.RESYNC:
            watch.resync("asked from the dashboard")
        else:
            request = request_of(asked)
            if asked.key is not None and request is not None:
                self._ask(watch, asked.key, request)

    @staticmethod
    def _ask(watch: "Watch", key: PositionKey, request: Request) -> None:
        watch.ask(key, request, SOURCE)


def request_of(asked: Asked) -> Request | None:
    """Return the request an act makes of a position, None for an act that is about the whole watch."""
    if asked.act is Act.TRAIL:
        return TrailNow()
    if asked.act is Act.BREAKEVEN:
        return StopToBreakeven()
    if asked.act is Act.REDUCE and asked.fraction is not None:
        return Reduce(Ratio(asked.fraction))
    return None
