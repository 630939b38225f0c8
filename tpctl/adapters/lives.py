"""From the journal to closed positions as hindsight needs them: the close, the first inputs, the first plan.

Decides which closed positions can be settled and what is missing where one cannot. It only reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tpctl.adapters.codec import CodecError, decode
from tpctl.adapters.journal_scan import JournalScan
from tpctl.exits.costs import Closing
from tpctl.exits.events import ContextRead
from tpctl.exits.hindsight import Life
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Note, NoteKind, PositionKey
from tpctl.exits.path_replay import Opening
from tpctl.exits.units import Millis, Price, Quantity

_OLDER = "an older tpctl closed it, which left out what is needed"
_RESIZED = "its size was changed by somebody else while it was held"


@dataclass(frozen=True, slots=True)
class Untold:
    """A closed position that can never be settled, and why."""

    key: PositionKey
    closed_at: Millis
    reason: str


def unsettled(scan: JournalScan, since: Millis = 0) -> Iterator[Life | Untold]:
    """Yield the positions that closed at `since` or later and were not settled, in the order they closed."""
    settled = scan.settled()
    for _, note in scan.notes_from(since, (NoteKind.CLOSED,)):
        if note.key is not None and note.data.get("generation") not in settled:
            yield life_of(scan, note.key, note)


def life_of(scan: JournalScan, key: PositionKey, note: Note) -> Life | Untold:
    """Return a closed position from the note of its close; untold where the note lacks what is needed."""
    data: dict[str, Any] = dict(note.data)
    numbers = [data.get(name) for name in ("entry", "quantity", "average_exit", "pnl")]
    generation, opened_at = data.get("generation"), data.get("opened_at")
    if not (isinstance(generation, str) and isinstance(opened_at, int)):
        return Untold(key, note.at, _OLDER)
    known = [number for number in numbers if isinstance(number, Decimal)]
    if len(known) != len(numbers):
        return Untold(key, note.at, "what it was closed at was never known")
    entry, quantity, average_exit, pnl = known
    stop, policy, arm = (data.get(name) for name in ("stop_initial", "policy", "arm"))
    return Life(
        generation=generation,
        key=key,
        opened_at=opened_at,
        closed_at=note.at,
        entry=entry,
        quantity=quantity,
        average_exit=average_exit,
        pnl=pnl,
        opening=_opening(scan, key, note, opened_at, (entry, quantity)),
        stop=stop if isinstance(stop, Decimal) else None,
        policy=policy if isinstance(policy, str) else None,
        arm=arm if isinstance(arm, str) else None,
    )


def uncosted(scan: JournalScan) -> Iterator[Closing]:
    """Yield the closed positions whose costs were not read and can be, in the order they closed."""
    costed = scan.costed()
    for _, note in scan.notes_from(0, (NoteKind.CLOSED,)):
        closing = closing_of(note)
        if closing is not None and closing.generation not in costed:
            yield closing


def closing_of(note: Note) -> Closing | None:
    """Return a closed position from the note of its close; None where the note lacks what is needed."""
    data, key = note.data, note.key
    generation, opened_at = data.get("generation"), data.get("opened_at")
    quantity, pnl, policy = (data.get(name) for name in ("quantity", "pnl", "policy"))
    if key is None or not (isinstance(generation, str) and isinstance(opened_at, int)):
        return None
    if not (isinstance(quantity, Decimal) and isinstance(pnl, Decimal)):
        return None
    text = policy if isinstance(policy, str) else None
    return Closing(generation, key, opened_at, note.at, quantity, pnl, text)


def _opening(
    scan: JournalScan, key: PositionKey, note: Note, opened_at: Millis, size: tuple[Price, Quantity]
) -> Opening | Unavailable:
    entry, quantity = size
    plans = note.data.get("plans")
    if not isinstance(plans, int) or plans == 0:
        return Unavailable(_OLDER if plans is None else "it was never planned")
    if plans != 1 or note.data.get("quantity_planned") != quantity:
        return Unavailable(_RESIZED)
    read = _first_inputs(scan, key, opened_at, note.at)
    if isinstance(read, Unavailable):
        return read
    if read.mark is None:
        return Unavailable("its mark when it was found is not on record")
    return Opening(key, quantity, entry, opened_at, read.mark, read.instrument, read.context)


def _first_inputs(scan: JournalScan, key: PositionKey, since: Millis, until: Millis) -> ContextRead | Unavailable:
    for at, of, payload in scan.events_from(since, ContextRead.__name__):
        if at > until:
            break
        if of == key:
            try:
                return decode(payload, ContextRead)
            except CodecError as error:
                return Unavailable(f"its planning inputs are of another version: {error}")
    return Unavailable("its planning inputs are not on record")
