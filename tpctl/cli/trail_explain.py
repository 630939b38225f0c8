"""`tpctl trail --explain`: every move of a stop, reconstructed from the story the journal keeps.

Decides nothing: what moved, from where, to where and why are the notes of the reducer; this file adds what the rule was
given at that time and what the level would have been otherwise. What the journal does not hold is unavailable, never
guessed. It explains the present life of each position, or the last one; with -v all lives.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from tpctl.cli.options import Format
from tpctl.cli.trail_options import TrailOptions
from tpctl.cli.trail_positions import check_named, open_journal, read_episodes
from tpctl.exits.errors import EmptyError, ExitCode
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.model import Note, NoteKind, PositionKey, Scalar
from tpctl.exits.trailing import trail_stop
from tpctl.exits.units import ONE, Millis, Price, Ratio
from tpctl.settings.load import load
from tpctl.views.trail import price_words
from tpctl.views.trail_story import Input, StopMove

# How the reducer words a move of the trail; a test holds the two together.
_TRAILED = re.compile(r"trail (?P<callback>[0-9.]+%) behind the best (?P<peak>[0-9.]+)(?:: (?P<change>Callback .*))?")
_CHANGED = re.compile(r"Callback (?P<before>[0-9.]+%) → (?P<after>[0-9.]+%): ")
_HUNG = re.compile(r"(?P<multiple>[0-9.]+)atr at an ATR of (?P<atr>[0-9.]+)")
_ASKED = "asked for: "
_UNSAID = Unavailable("the note does not say")

_RULES = {
    "plan": "the plan's stop distance from entry, on the tick toward it (exit-rules 6)",
    "ratchet": "after TP1 to breakeven, after TPn to TPn-1, or as the configured ratchet says (exit-rules 8)",
    "trail": "the best price less the callback, moved on a re-arm or when the gain is worth an order (exit-rules 9)",
    "request": "asked for by an operator or another process: only ever tighter, never past the market",
    "stop": "the stop must come before liquidation (exit-rules 6)",
}


@dataclass(frozen=True, slots=True)
class _Life:
    """What the story has told of one life of a position so far."""

    number: int
    key: PositionKey
    since: Millis | None = None
    entry: Price | None = None
    stop: Price | None = None
    breakeven: Price | None = None
    legs: tuple[tuple[int, Price], ...] = ()
    moves: tuple[StopMove, ...] = ()
    closed: bool = False


@dataclass(slots=True)
class _Story:
    """The lives of all positions, as the notes tell them in order."""

    lives: dict[PositionKey, list[_Life]] = field(default_factory=dict)

    def life(self, key: PositionKey, *, new: bool = False) -> _Life:
        known = self.lives.setdefault(key, [])
        if not known or new:
            known.append(_Life(len(known) + 1, key))
        return known[-1]

    def put(self, life: _Life) -> None:
        self.lives[life.key][-1] = life


def run_explain(options: TrailOptions, now: Millis) -> ExitCode:
    """Print the moves, and return 0; raises `EmptyError` where there is none to explain."""
    shared = options.shared
    settings = load(shared.config, shared.profile, shared.state_dir)
    with open_journal(settings) as reader:
        instruments = {episode.key: episode.instrument for episode in read_episodes(reader) if episode.instrument}
        notes = list(reader.notes())
    known = sorted({note.key for _, note in notes if note.key is not None}, key=str)
    if known:
        check_named(options.symbols, known, "position")
    chosen = [(seq, note) for seq, note in notes if note.key is not None and _wanted(note.key, options.symbols)]
    moves = explained(chosen, instruments, every_life=shared.verbose)
    if not moves:
        raise EmptyError(
            f"the journal of profile {settings.name!r} tells of no stop", "start 'tpctl watch' while a position is open"
        )
    _print(moves, options, settings.name, settings.profile.env.value, now)
    return ExitCode.OK


def _wanted(key: PositionKey, symbols: Sequence[str]) -> bool:
    return not symbols or key.symbol in symbols


def explained(
    notes: Iterable[tuple[int, Note]], instruments: dict[PositionKey, Instrument], *, every_life: bool = False
) -> tuple[StopMove, ...]:
    """Return the moves of the stops that the numbered notes tell of, oldest first.

    `instruments` give the tick on which an alternative would have lain; without one it is off the grid and says so.
    """
    story = _Story()
    for seq, note in notes:
        if note.key is not None:
            _take(story, seq, note, note.key, instruments.get(note.key))
    lives = [life for of_key in story.lives.values() for life in (of_key if every_life else of_key[-1:])]
    return tuple(sorted((move for life in lives for move in life.moves), key=lambda move: move.seq))


def _take(story: _Story, seq: int, note: Note, key: PositionKey, instrument: Instrument | None) -> None:
    data = note.data
    life = story.life(key, new=_begins(story, note, key))
    match note.kind:
        case NoteKind.ADOPTED:
            life = replace(life, since=note.at, entry=_decimal(data, "entry"))
        case NoteKind.PLANNED:
            life = _planned(life, seq, note)
        case NoteKind.TP_HIT:
            leg, price = data.get("leg"), _decimal(data, "price")
            if isinstance(leg, int) and price is not None:
                life = replace(life, legs=(*life.legs, (leg, price)))
        case NoteKind.STOP_MOVED | NoteKind.TRAIL_MOVED:
            life = _moved(life, seq, note, instrument)
        case NoteKind.PLACED | NoteKind.ACCEPTED | NoteKind.REJECTED:
            life = _answered(life, note)
        case NoteKind.CLOSED:
            life = replace(life, closed=True)
        case _:
            return
    story.put(life)


def _begins(story: _Story, note: Note, key: PositionKey) -> bool:
    """Whether the note belongs to a new life: the last one was closed, or another position was adopted."""
    known = story.lives.get(key)
    if not known:
        return True
    late = note.kind not in {NoteKind.ADOPTED, NoteKind.PLANNED, NoteKind.PLACED}
    return (known[-1].closed and not late) or (note.kind is NoteKind.ADOPTED and known[-1].entry is not None)


def _planned(life: _Life, seq: int, note: Note) -> _Life:
    """Take in a plan; where it sets or tightens the stop, that is a move."""
    stop, breakeven = _decimal(note.data, "stop"), _decimal(note.data, "breakeven")
    life = replace(life, breakeven=breakeven or life.breakeven)
    if stop is None or stop == life.stop:
        return life
    distance = _decimal(note.data, "stop_distance")
    inputs: list[tuple[str, Input]] = [("entry", _or_unsaid(life.entry))]
    inputs.append(("stop distance", _UNSAID if distance is None else Ratio(distance)))
    inputs.append(("liquidation", _decimal(note.data, "liquidation") or Unavailable("none was computed")))
    before = life.stop
    alternative = (
        "no stop at all: the first one rests before anything else happens"
        if before is None
        else f"left at {price_words(before)}, which is looser"
    )
    move = StopMove(
        seq=seq,
        at=note.at,
        key=life.key,
        cause="plan",
        before=before,
        after=stop,
        rule=_RULES["plan"],
        inputs=tuple(inputs),
        alternative=alternative,
        reason=note.reason,
        order=None,
        answer=None,
    )
    return replace(life, stop=stop, moves=(*life.moves, move))


def _moved(life: _Life, seq: int, note: Note, instrument: Instrument | None) -> _Life:
    before, after = _decimal(note.data, "from"), _decimal(note.data, "to")
    if after is None:
        return life
    trail = note.kind is NoteKind.TRAIL_MOVED
    cause = "trail" if trail else _cause(note.reason)
    inputs: list[tuple[str, Input]] = [("mark", _or_unsaid(_decimal(note.data, "mark")))]
    inputs.append(("entry", _or_unsaid(life.entry)))
    alternative = _left_alone(life, before, after)
    if trail:
        more, otherwise = _trailed(life, note, before, instrument)
        inputs += more
        alternative = otherwise or alternative
    elif cause == "request":
        inputs.append(("breakeven", _or_unsaid(life.breakeven)))
    elif cause == "ratchet":
        inputs.append(("take-profits filled", len(life.legs)))
        if life.legs:
            inputs.append((f"TP{life.legs[-1][0]} price", life.legs[-1][1]))
        inputs.append(("breakeven", _or_unsaid(life.breakeven)))
    if life.since is not None:
        inputs.append(("age s", (note.at - life.since) // 1000))
    move = StopMove(
        seq=seq,
        at=note.at,
        key=life.key,
        cause=cause,
        before=before,
        after=after,
        rule=_RULES[cause],
        inputs=tuple(inputs),
        alternative=alternative,
        reason=note.reason,
        order=None,
        answer=None,
    )
    return replace(life, stop=after, moves=(*life.moves, move))


def _cause(reason: str) -> str:
    if reason.startswith(_ASKED):
        return "request"
    return "ratchet" if reason.startswith("TP") else "stop"


def _trailed(
    life: _Life, note: Note, before: Price | None, instrument: Instrument | None
) -> tuple[list[tuple[str, Input]], str | None]:
    """Return the trail's inputs as its note tells them, and where the callback before would have held the stop."""
    said = _TRAILED.match(note.reason.removeprefix(_ASKED))
    if said is None:
        return [("peak", _UNSAID), ("callback", _UNSAID)], None
    peak, callback = Decimal(said["peak"]), Ratio.parse(said["callback"])
    inputs: list[tuple[str, Input]] = [("peak", peak), ("callback", callback)]
    sign = life.key.side.sign
    if life.entry is not None:
        inputs.append(("peak profit", Ratio(sign * (peak - life.entry) / life.entry)))
    hung = _HUNG.search(said["change"] or "")
    if hung is not None:
        inputs += [("ATR", Decimal(hung["atr"])), ("ATR multiple", Decimal(hung["multiple"]))]
    changed = _CHANGED.match(said["change"] or "")
    if changed is None:
        return inputs, None
    old = Ratio.parse(changed["before"])
    inputs.append(("callback before", old))
    if instrument is None:
        level, grid = peak * (ONE - sign * old.fraction), ", before rounding to the tick"
    else:
        level, grid = trail_stop(instrument, life.key.side, peak, old), ""
    if before is not None and sign * (level - before) <= 0:
        return inputs, f"with the callback left at {old}: no move, {price_words(before)} is tighter than its level"
    return inputs, f"with the callback left at {old}: {price_words(level)}{grid}"


def _left_alone(life: _Life, before: Price | None, after: Price) -> str:
    if before is None:
        return "no stop at all"
    if life.entry is None:
        return f"left at {price_words(before)}"
    sign, entry = life.key.side.sign, life.entry
    worth, instead = (Ratio(sign * (level - entry) / entry) for level in (after, before))
    return (
        f"left at {price_words(before)}: an exit there is {_signed(instead)} from entry, "
        f"at the new stop {_signed(worth)}"
    )


def _answered(life: _Life, note: Note) -> _Life:
    """Attach the order that carried a move out, and what became of it, to the newest move it fits."""
    client_id = note.data.get("client_id")
    if not isinstance(client_id, str):
        return life
    moves = list(life.moves)
    if note.kind is NoteKind.PLACED:
        trigger = _decimal(note.data, "trigger")
        if note.data.get("order") != Role.STOP.label or not moves or moves[-1].after != trigger:
            return life
        moves[-1] = replace(moves[-1], order=client_id, answer=None)
        return replace(life, moves=tuple(moves))
    answer = "accepted" if note.kind is NoteKind.ACCEPTED else f"refused: {note.reason}"
    return replace(
        life, moves=tuple(replace(move, answer=answer) if move.order == client_id else move for move in moves)
    )


def _decimal(data: Mapping[str, Scalar], name: str) -> Decimal | None:
    value = data.get(name)
    return value if isinstance(value, Decimal) else None


def _or_unsaid(value: Decimal | None) -> Input:
    return _UNSAID if value is None else value


def _signed(ratio: Ratio) -> str:
    return f"{ratio.as_percent:+.2f}%"


def _print(moves: Sequence[StopMove], options: TrailOptions, name: str, env: str, now: Millis) -> None:
    from tpctl.views.trail import document_text
    from tpctl.views.trail_story import explain_records, explain_text

    if options.format is Format.JSON:
        more = {"moves": explain_records(moves)}
        sys.stdout.write(document_text(now, name, env, (), options.fields, more))
        return
    sys.stdout.write(explain_text(moves, ascii_only=options.ascii_only))
