"""When the account is read: asked for, regularly, and after what the streams may have missed.

One read at a time, beside the loop. A read that failed is tried again, told once, and is never an empty one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from tpctl.engine.elapsed import passed
from tpctl.engine.reading import missed_events, read_account
from tpctl.engine.standing import left_alone, left_alone_words
from tpctl.exits.episode import State
from tpctl.exits.errors import CredentialsError, RateLimitedError, TpctlError, UnavailableError
from tpctl.exits.events import Event, Released
from tpctl.exits.model import Note, NoteKind, PositionKey, Scalar
from tpctl.exits.units import Millis
from tpctl.ports import AccountReader, Clock

# Reads of the account are at least this far apart, so that agreeing reads are different reads.
_SPACING_MS = 1_000


class AccountReads:
    """The reads of one run.

    `begin` runs something beside the loop, `tell` makes notes durable and tells them, `deliver` lets the loop decide on
    what was read, `failed` ends the run.
    """

    def __init__(
        self,
        reader: AccountReader,
        clock: Clock,
        *,
        state: Callable[[], State],
        begin: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
        tell: Callable[[Sequence[Note]], None],
        deliver: Callable[[Sequence[Event]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._state = state
        self._begin = begin
        self._tell = tell
        self._deliver = deliver
        self._failed = failed
        self.done = 0
        self.task: asyncio.Task[None] | None = None
        self._reason: str | None = None
        self._began_at: Millis | None = None
        self._wide_due = True
        self._wide_at: Millis | None = None
        self._failing = False
        self._missing = False
        self._left_alone: dict[PositionKey, str] = {}

    @property
    def settled(self) -> bool:
        """Whether the account was read and no other read is asked for."""
        return self.done > 0 and self._reason is None

    def ask(self, reason: str, *, wide: bool = False) -> None:
        """Ask for a read as soon as reads may follow each other, or for one of the orders of all symbols."""
        self._wide_due = self._wide_due or wide
        self._reason = self._reason or reason

    def lost(self) -> None:
        """Learn that the streams may have missed something since the last read."""
        self._missing = self._missing or self.done > 0

    def ask_if_old(self, every_ms: Millis) -> None:
        """Ask for the regular read of everything where the last one began so long ago."""
        if self._wide_at is not None and passed(self._clock.now(), self._wide_at, every_ms):
            self.ask("the regular check", wide=True)

    def begin_if_due(self) -> None:
        """Begin a read that was asked for, unless one is under way or has only just begun."""
        if self._reason is None or (self.task is not None and not self.task.done()):
            return
        now = self._clock.now()
        if self._began_at is not None and not passed(now, self._began_at, _SPACING_MS):
            return
        self._reason, self._began_at = None, now
        self.task = self._begin(self._read())

    async def catch_up(self) -> list[Event]:
        """Return what happened while nothing was running; where it cannot be read, the first read tries again."""
        try:
            return await missed_events(self._reader, self._state(), self._clock.now())
        except (UnavailableError, RateLimitedError) as error:
            self._missing = self._failing = True
            self._say(NoteKind.DEGRADED, f"the account cannot be read: {error.message}")
            return []

    def _say(self, kind: NoteKind, reason: str, **data: Scalar) -> None:
        self._tell([Note(self._clock.now(), kind, None, reason, data)])

    async def _read(self) -> None:
        """Read the account, after what the streams may have missed."""
        began = self._clock.now()
        wide, self._wide_due = self._wide_due, False
        if wide:
            self._wide_at = began
        missing, self._missing = self._missing, False
        try:
            if missing:
                self._deliver(await missed_events(self._reader, self._state(), began))
                missing = False
            snapshot = await read_account(self._reader, self._state(), began, wide=wide)
        except CredentialsError as error:
            self._failed(error)
            return
        except TpctlError as error:
            self._wide_due = self._wide_due or wide
            self._reason = "the last read failed"
            # What the streams told meanwhile is known: a failed read alone makes nothing missing.
            self._missing = self._missing or missing
            if not self._failing:
                self._failing = True
                self._say(NoteKind.DEGRADED, f"the account cannot be read: {error.message}")
            return
        self.done += 1
        self._deliver((snapshot,))
        if self._failing:
            self._failing = False
            self._say(NoteKind.RECOVERED, "the account can be read again")
            # What was refused meanwhile need not wait for its turn to be tried again.
            self._deliver((Released(self._clock.now()),))
        others = left_alone(self._state(), snapshot.positions)
        if new := {key: why for key, why in others.items() if self._left_alone.get(key) != why}:
            self._say(NoteKind.LEFT_ALONE, left_alone_words(new), positions=len(others))
        self._left_alone = others
