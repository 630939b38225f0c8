"""Which events are worth a message: not the same one again and again, and always the end of what was bad.

Pure: time comes with the event. An event is the same as another where kind, position and words but for their numbers
are equal; within the debounce it is counted instead, and the next one that is sent says how many were.
"""

import re
from dataclasses import dataclass, field

from tpctl.exits.model import Note, NoteKind
from tpctl.exits.units import Millis

_NUMBERS = re.compile(r"\d[\d.,]*")
# As many kinds of trouble as one can have at a time.
_REMEMBERED = 1_000
# These come once for each thing that happened; none may be swallowed.
_ALWAYS = frozenset({NoteKind.STOP_HIT, NoteKind.TP_HIT, NoteKind.CLOSED, NoteKind.STARTED, NoteKind.STOPPED})


@dataclass(slots=True)
class Debounce:
    """Decides for one run; `events` are the kinds that are wanted, `window_ms` how long the same one stays quiet."""

    events: frozenset[str]
    window_ms: Millis
    _last: dict[tuple[str, str, str], Millis] = field(default_factory=dict)
    _held: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def admit(self, note: Note, now: Millis) -> int | None:
        """Return how many equal events were held back before this one, or None where this one is held back too."""
        if note.kind.value not in self.events:
            return None
        name = (note.kind.value, str(note.key or ""), _NUMBERS.sub("#", note.reason))
        if note.kind is NoteKind.RECOVERED:
            self._forget_trouble(str(note.key or ""))
        elif note.kind not in _ALWAYS:
            last = self._last.get(name)
            if last is not None and now - last < self.window_ms:
                self._held[name] = self._held.get(name, 0) + 1
                if len(self._held) > _REMEMBERED:
                    del self._held[next(iter(self._held))]
                return None
        self._last[name] = now
        if len(self._last) > _REMEMBERED:
            oldest = min(self._last, key=lambda one: self._last[one])
            del self._last[oldest]
            self._held.pop(oldest, None)
        return self._held.pop(name, 0)

    def _forget_trouble(self, key: str) -> None:
        """Let what recovered be news when it goes wrong again."""
        for name in [one for one in self._last if one[0] == NoteKind.DEGRADED.value and one[1] == key]:
            del self._last[name]
