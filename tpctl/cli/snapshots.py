"""How a running watch tells all it knows at one instant: on its screen, and as a JSON file (tpctl.snapshot/1)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpctl.adapters.files import StateDir, write_atomic
from tpctl.cli.beat import Beat
from tpctl.cli.reloading import Reloader
from tpctl.exits.errors import StateFileError
from tpctl.exits.model import NoteKind
from tpctl.exits.quiet import awake
from tpctl.settings.spell import spelled
from tpctl.views.machine import Json, rfc3339
from tpctl.views.snapshot import snapshot

if TYPE_CHECKING:
    from tpctl.engine.watch import Watch


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Tells and writes how everything stands, whenever asked (SIGUSR1)."""

    watch: "Watch"
    beat: Beat
    reloader: Reloader
    state_dir: StateDir

    def take(self) -> None:
        """Tell how everything stands, and write it to the state directory."""
        signs, watch = self.beat.signs(), self.watch
        summary = watch.summary()
        vitals: dict[str, Json] = {
            "pid": signs.pid,
            "host": signs.host,
            "started_at": rfc3339(signs.started_at),
            "exchange": signs.exchange,
            "skew_ms": signs.skew_ms,
            "feed_age_ms": signs.feed_age_ms,
            "request_weight": None if signs.budget is None else signs.budget[0],
            "blocked": signs.blocked,
            "halt": signs.halt,
            "paused": signs.paused,
            "rejected": signs.rejected,
            "in_flight": watch.in_flight,
            "naked_ms": summary.naked_ms,
        }
        text = snapshot(
            awake(watch.state, watch.state.quiet.keys()),
            watch.now,
            profile=signs.profile,
            env=signs.env,
            mode=signs.mode,
            vitals=vitals,
            settings=spelled(self.reloader.settings),  # type: ignore[arg-type]  # nested tables of plain values
        )
        path = self.state_dir.snapshot
        try:
            write_atomic(path, text.encode())
            where = f"written to '{path}'"
        except StateFileError as error:
            where = f"not written: {error.message}"
        words = f"{summary.positions} open, {summary.protected} protected, {summary.orders_resting} orders resting"
        watch.say(NoteKind.STANDING, f"{words}; {where}")
        watch.tell_standing()
