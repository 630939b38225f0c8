"""How `trail` tells what happened to a stop: a replay with its chart, and past moves explained from the journal.

Decides wording and layout only; every number comes with the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import PositionKey
from tpctl.exits.trail_replay import Move, MoveKind, Replay
from tpctl.exits.units import Millis, Price, Ratio, plain, trimmed
from tpctl.views.lines import clean
from tpctl.views.trail import lasting, plainly, price_words
from tpctl.views.trail_chart import Column, Mark, chart_lines

if TYPE_CHECKING:
    from tpctl.views.machine import Json

# Told one by one only when asked for more: there are as many as there were new highs.
_MANY = frozenset({MoveKind.FOLLOWED})
_SIGNS = {MoveKind.REARMED: ("▲", "^"), MoveKind.TARGET: ("◆", "o"), MoveKind.EXIT: ("✕", "X")}
_HEIGHT = 16


@dataclass(frozen=True, slots=True)
class ReplayStory:
    """A replay and how it is drawn. `source` names the candles, `prices` what of them was followed."""

    replay: Replay
    style: str
    source: str
    prices: str
    columns: tuple[Column, ...]
    until: Millis


def replay_text(
    story: ReplayStory, *, width: int, verbose: bool = False, quiet: bool = False, ascii_only: bool = False
) -> str:
    """Return the replay for people: the moves that matter (all if verbose), the exit, and the chart (unless quiet)."""
    replay = story.replay
    setup = replay.setup
    opened = f"entry {price_words(setup.entry)} at {_stamp(setup.opened_at)}"
    lines = [f"{setup.key}  {story.style}  {opened}  first stop {price_words(setup.stop)}"]
    followed = sum(move.kind in _MANY for move in replay.moves)
    lines += [_move_line(move) for move in replay.moves if verbose or move.kind not in _MANY]
    if followed and not verbose:
        times = "once" if followed == 1 else f"{followed} times"
        lines.append(f"(the stop followed the best price {times} without a re-arm; -v tells each)")
    lines.append(_end_line(story))
    if not quiet:
        lines += ["", *_chart(story, width, ascii_only=ascii_only), _legend(ascii_only=ascii_only)]
    text = "".join(f"{line}\n" for line in lines)
    return plainly(text) if ascii_only else text


def replay_record(story: ReplayStory) -> "dict[str, Json]":
    """Return the replay as JSON values: terms, every move, and the exit."""
    replay = story.replay
    setup = replay.setup
    found: dict[str, Json] = {
        "style": story.style,
        "source": story.source,
        "prices": story.prices,
        "entry": plain(setup.entry),
        "entry_time": _rfc3339(setup.opened_at),
        "first_stop": plain(setup.stop),
        "targets": [] if setup.terms.rungs is None else [plain(leg.trigger) for leg in setup.terms.rungs.legs],
        "rearms": sum(move.kind is MoveKind.REARMED for move in replay.moves),
        "targets_reached": replay.targets_done,
        "moves": [_move_record(move) for move in replay.moves],
        "profit": _share(replay.profit),
        "end": _rfc3339(replay.last.at),
    }
    last = replay.exit
    if last is None:
        found["exit"] = None
        found["exit_unavailable_reason"] = "the candles ended first"
    else:
        found["exit"] = {
            "at": _rfc3339(last.at),
            "price": plain(last.price),
            "trigger": plain(last.stop),
            "cause": replay.cause,
            "profit": _share(replay.profit),
            "held_ms": last.at - setup.opened_at,
            "reason": last.reason,
        }
    return found


Input: TypeAlias = Decimal | Ratio | int | str | Unavailable


@dataclass(frozen=True, slots=True)
class StopMove:
    """One move of a stop, reconstructed. `before` None is the first stop of a position.

    `rule` says which rule set it, `inputs` what the rule was given, `alternative` what would have been otherwise.
    `order` is the client id the new stop was sent under and `answer` what became of it, None where none was sent.
    """

    seq: int
    at: Millis
    key: PositionKey
    cause: str
    before: Price | None
    after: Price
    rule: str
    inputs: tuple[tuple[str, Input], ...]
    alternative: str
    reason: str
    order: str | None
    answer: str | None


def explain_text(moves: Sequence[StopMove], *, ascii_only: bool = False) -> str:
    """Return the moves for people, oldest first: before → after, then inputs, rule and alternative."""
    blocks = []
    for move in moves:
        before = "none" if move.before is None else price_words(move.before)
        inputs = ", ".join(f"{name} {_input_words(value)}" for name, value in move.inputs)
        lines = [
            f"{_stamp(move.at)}  {clean(str(move.key))}  stop {before} → {price_words(move.after)}  ({move.cause})",
            f"  because      {clean(move.reason)}",
            f"  rule         {move.rule}",
            f"  inputs       {clean(inputs)}",
            f"  alternative  {move.alternative}",
        ]
        if move.order is not None:
            lines.append(f"  order        {clean(move.order)}: {clean(move.answer or 'no answer in the journal')}")
        blocks.append("\n".join(lines))
    text = "\n\n".join(blocks) + "\n"
    return plainly(text) if ascii_only else text


def explain_records(moves: Sequence[StopMove]) -> "list[Json]":
    """Return the moves as JSON values."""
    return [_stop_move_record(move) for move in moves]


def _stop_move_record(move: StopMove) -> "Json":
    inputs: dict[str, Json] = {}
    for name, value in move.inputs:
        key = name.replace(" ", "_")
        if isinstance(value, Unavailable):
            inputs[key] = None
            inputs[f"{key}_unavailable_reason"] = value.reason
        else:
            inputs[key] = _share(value) if isinstance(value, Ratio) else value
    return {
        "seq": move.seq,
        "at": _rfc3339(move.at),
        "symbol": move.key.symbol,
        "position_side": move.key.side.value,
        "cause": move.cause,
        "from": None if move.before is None else plain(move.before),
        "to": plain(move.after),
        "rule": move.rule,
        "inputs": inputs,
        "alternative": move.alternative,
        "reason": move.reason,
        "order": move.order,
        "answer": move.answer,
    }


def _input_words(value: Input) -> str:
    if isinstance(value, Unavailable):
        return f"n/a ({value.reason})"
    if isinstance(value, Ratio):
        return value.show()
    return price_words(value) if isinstance(value, Decimal) else str(value)


def _move_line(move: Move) -> str:
    levels = "" if move.before == move.stop else f"  stop {price_words(move.before)} → {price_words(move.stop)}"
    return f"{_stamp(move.at)}  {move.kind.value:<9}  {move.reason}{levels}"


def _move_record(move: Move) -> "Json":
    return {
        "at": _rfc3339(move.at),
        "kind": move.kind.value,
        "price": plain(move.price),
        "peak": plain(move.peak),
        "peak_profit": _share(move.profit),
        "from": plain(move.before),
        "to": plain(move.stop),
        "callback": None if move.callback is None else _share(move.callback),
        "target": move.target,
        "reason": move.reason,
    }


def _end_line(story: ReplayStory) -> str:
    replay = story.replay
    held = lasting(replay.last.at - replay.setup.opened_at)
    best = _signed(_best(replay))
    profit = _signed(replay.profit)
    if replay.exit is None:
        return f"still open after {held} at {price_words(replay.last.price)} ({profit}; the best was {best})"
    return (
        f"closed by the {replay.cause} after {held} at {price_words(replay.last.price)} ({profit}; the best was {best})"
    )


def _best(replay: Replay) -> Ratio:
    setup = replay.setup
    return Ratio(setup.key.side.sign * (replay.peak - setup.entry) / setup.entry)


def _signed(ratio: Ratio) -> str:
    return f"{ratio.as_percent:+.2f}%"


def _chart(story: ReplayStory, width: int, *, ascii_only: bool) -> list[str]:
    replay = story.replay
    stops = [(replay.setup.opened_at, replay.setup.stop)]
    stops += [(move.at, move.stop) for move in replay.moves if move.stop != move.before]
    marks = [
        Mark(move.at, move.stop if move.kind is MoveKind.REARMED else move.price, _SIGNS[move.kind][ascii_only])
        for move in replay.moves
        if move.kind in _SIGNS
    ]
    return chart_lines(
        story.columns,
        stops,
        replay.setup.entry,
        marks,
        until=story.until,
        width=width,
        height=_HEIGHT,
        ascii_only=ascii_only,
    )


def _legend(*, ascii_only: bool) -> str:
    price, stop, entry = ("|", "=", ".") if ascii_only else ("│", "─", "·")
    signs = [f"{_SIGNS[kind][ascii_only]} {words}" for kind, words in _LEGEND]
    return "  ".join([f"{price} price", f"{stop} stop", f"{entry} entry", *signs])


_LEGEND = ((MoveKind.REARMED, "re-arm"), (MoveKind.TARGET, "target"), (MoveKind.EXIT, "exit"))


def _stamp(at: Millis) -> str:
    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def _rfc3339(at: Millis) -> str:
    from tpctl.views.machine import rfc3339

    return rfc3339(at)


def _share(ratio: Ratio) -> str:
    return trimmed(ratio.fraction, 12)
