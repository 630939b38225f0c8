"""How the metrics index takes in positions beside their attempts: excursions, and how long requests took.

Excursions are of the mark between the finding of a position and its end, as shares of the entry and in R. A position
that never went into profit has no capture ratio. What a journal of an older tpctl lacks is left out, never guessed.
"""

import sqlite3
from collections.abc import Iterator
from decimal import Decimal

from tpctl.adapters.metrics_cells import fit
from tpctl.exits.model import Note, NoteKind
from tpctl.exits.statistics import to_pico
from tpctl.exits.units import ZERO

# The chain of a request: decided -> sent -> acknowledged, and triggered (or sent) -> filled.
STAGES = ("sent", "acknowledged", "filled")


def put_excursions(
    db: sqlite3.Connection, place: tuple[int, int, int, int, int], note: Note, first_stop: Decimal | None
) -> None:
    """Keep how far a closed position went; `place` is source, note number, symbol, time and policy."""
    if note.key is None:
        return
    data, sign = note.data, note.key.side.sign
    entry, left = data.get("entry"), data.get("average_exit")
    best, worst = data.get("best_mark"), data.get("worst_mark")
    if not (isinstance(entry, Decimal) and isinstance(best, Decimal) and isinstance(worst, Decimal)) or entry <= 0:
        return
    up, down = max(ZERO, sign * (best - entry)), max(ZERO, sign * (entry - worst))
    risk = abs(entry - first_stop) if first_stop is not None else ZERO
    moved = sign * (left - entry) if isinstance(left, Decimal) else None
    size = data.get("quantity")
    sized = size if isinstance(size, Decimal) and moved is not None and up else None
    values = (
        *(up / entry, down / entry),
        *(up / risk if risk else None, down / risk if risk else None),
        None if moved is None or not up else moved / up,
        *(None if sized is None or move is None else move * sized for move in (moved, up)),
    )
    row = (*place, *(None if value is None else fit(to_pico(value)) for value in values))
    db.execute("INSERT INTO excursions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def put_delays(db: sqlite3.Connection, place: tuple[int, int, int, int, int], note: Note) -> None:
    """Keep how long one request took, as far as the note says; `place` as for `put_excursions`."""
    source, seq, symbol, at, policy = place
    for stage, took in _delays_in(note):
        db.execute("INSERT INTO delays VALUES (?, ?, ?, ?, ?, ?, ?)", (source, seq, stage, symbol, at, policy, took))


def _delays_in(note: Note) -> Iterator[tuple[int, int]]:
    names = ("sent_ms", "acknowledged_ms") if note.kind is NoteKind.ACCEPTED else (None, None, "filled_ms")
    for stage, name in enumerate(names):
        took = None if name is None else note.data.get(name)
        if isinstance(took, int):
            yield stage, took
