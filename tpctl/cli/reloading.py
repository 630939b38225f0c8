"""Reading the configuration again under a running watch (SIGHUP): say what differs, take what can be taken.

Whatever is wrong with the file, the settings in force stay in force. Nothing here can arm: that is per invocation.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tpctl.engine.context import ContextSource
from tpctl.exits.errors import TpctlError
from tpctl.exits.model import NoteKind
from tpctl.settings.changes import changes, live_part
from tpctl.settings.schema import Env, Settings

if TYPE_CHECKING:
    from tpctl.engine.watch import Watch


class Reloader:
    """The settings of one run, and how they are read again. `read` returns them as a new start would find them."""

    def __init__(
        self, settings: Settings, read: Callable[[], Settings], watch: "Watch", contexts: ContextSource
    ) -> None:
        self.settings = settings
        self._read = read
        self._watch = watch
        self._contexts = contexts

    def reload(self) -> None:
        """Read the configuration again and tell what came of it."""
        try:
            new = self._read()
        except TpctlError as error:
            self._tell(f"cannot be read again, the old one stays in force: {error.message} ({error.hint})")
            return
        found = changes(self.settings, new)
        if not found:
            self._tell("read again: nothing changed")
            return
        live = [change for change in found if change.live]
        self._tell(f"read again: {len(live)} of {len(found)} changes taken", changed=len(found), taken=len(live))
        for change in found:
            self._tell(str(change), setting=change.key, before=change.before, after=change.after, taken=change.live)
        if live:
            self._take(live_part(self.settings, new))

    def _take(self, settings: Settings) -> None:
        self.settings = settings
        self._contexts.give(settings.inputs)
        self._watch.reconfigure(
            settings.exits,
            replace(self._watch.state.scope, share=settings.watch.rollout.fraction),
            reconcile_ms=settings.watch.reconcile_interval_ms,
            mark_max_age_ms=mark_limit(settings),
        )

    def _tell(self, text: str, **data: str | int | bool) -> None:
        self._watch.say(NoteKind.RELOADED, text, **data)


def mark_limit(settings: Settings) -> int | None:
    """Return how old a mark may be in ms; a twin's market moves when it is asked to, so its marks have no age."""
    return None if settings.profile.env is Env.SIM else settings.watch.mark_max_age_ms
