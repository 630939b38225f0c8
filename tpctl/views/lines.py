"""One event of the story, as a sentence in the field's words.

Decides wording, never facts: every number comes from the note, and a fact the note lacks is left out of the sentence.
Pure: no terminal, no clock. Colour is a tone beside the words, so that no meaning hangs on it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from unicodedata import category, east_asian_width

from tpctl.exits.model import Note, NoteKind, Scalar
from tpctl.exits.units import Millis, plain, trimmed

_WHO_WIDTH = 16


class Tone(StrEnum):
    """What an event means to the operator."""

    PLAIN = "plain"
    QUIET = "quiet"
    GAIN = "gain"
    LOSS = "loss"
    CAUTION = "caution"
    ALARM = "alarm"


ANSI: Mapping[Tone, str] = {
    Tone.QUIET: "2",
    Tone.GAIN: "32",
    Tone.LOSS: "31",
    Tone.CAUTION: "33",
    Tone.ALARM: "1;31",
}

# Told only when asked for more (--verbose), and still told when asked for less (--quiet).
VERBOSE_ONLY = frozenset({NoteKind.ACCEPTED})
ALWAYS_TOLD = frozenset(
    {
        NoteKind.LEFT_ALONE,
        NoteKind.TP_HIT,
        NoteKind.STOP_HIT,
        NoteKind.CLOSED,
        NoteKind.REJECTED,
        NoteKind.DEGRADED,
        NoteKind.RECOVERED,
        NoteKind.HALTED,
        NoteKind.ANSWERED,
        NoteKind.RELOADED,
        NoteKind.STANDING,
        NoteKind.STOPPING,
        NoteKind.STOPPED,
    }
)

_TONES: Mapping[NoteKind, Tone] = {
    NoteKind.ACCEPTED: Tone.QUIET,
    NoteKind.CANCELLED: Tone.QUIET,
    NoteKind.SWEPT: Tone.QUIET,
    NoteKind.TP_HIT: Tone.GAIN,
    NoteKind.RECOVERED: Tone.GAIN,
    NoteKind.STOP_HIT: Tone.LOSS,
    NoteKind.EXTERNAL: Tone.CAUTION,
    NoteKind.LEFT_ALONE: Tone.CAUTION,
    NoteKind.RELOADED: Tone.CAUTION,
    NoteKind.STOPPING: Tone.CAUTION,
    NoteKind.REJECTED: Tone.ALARM,
    NoteKind.DEGRADED: Tone.ALARM,
    NoteKind.HALTED: Tone.ALARM,
}


def told(kind: NoteKind, *, quiet: bool, verbose: bool) -> bool:
    """Whether a line of this kind is printed at the asked volume."""
    if quiet:
        return kind in ALWAYS_TOLD
    return verbose or kind not in VERBOSE_ONLY


def tone(note: Note) -> Tone:
    """Return what the event means to the operator."""
    if note.kind is NoteKind.CLOSED:
        pnl = note.data.get("pnl")
        if isinstance(pnl, Decimal):
            return Tone.LOSS if pnl < 0 else Tone.GAIN
    if note.kind is NoteKind.STANDING and note.data.get("protected") is False:
        return Tone.ALARM
    if note.kind is NoteKind.STOPPED:
        positions, protected = note.data.get("positions"), note.data.get("protected")
        if isinstance(positions, int) and isinstance(protected, int) and protected < positions:
            return Tone.ALARM
    return _TONES.get(note.kind, Tone.PLAIN)


def line(note: Note) -> str:
    """Return the event's line: time of day UTC, symbol and side, sentence; further lines are indented under it."""
    clock = f"{datetime.fromtimestamp(note.at // 1000, UTC):%H:%M:%S}"
    who = "" if note.key is None else clean(str(note.key))
    head, *rest = sentence(note).split("\n")
    lines = [f"{clock}  {padded(who, _WHO_WIDTH)}  {clean(head)}"]
    lines += [f"{'':8}  {'':{_WHO_WIDTH}}    {clean(more)}" for more in rest]
    return "\n".join(lines)


def day(at: Millis) -> str:
    """Return the date of a time in ms UTC."""
    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d}"


def painted(text: str, meaning: Tone) -> str:
    """Return `text` in the tone's terminal colour."""
    code = ANSI.get(meaning)
    return text if code is None else f"\x1b[{code}m{text}\x1b[0m"


def clean(text: str) -> str:
    """Return `text` without control characters: what the exchange says must not steer the terminal."""
    return "".join("?" if category(c) in {"Cc", "Cf", "Cs"} else c for c in text)


def padded(text: str, width: int) -> str:
    """Pad to a width in terminal cells; wide characters take two."""
    cells = sum(2 if east_asian_width(c) in "WF" else 1 for c in text)
    return text + " " * (width - cells)


def sentence(note: Note) -> str:
    """Return what happened, without time and symbol; a plan's reasons follow on lines of their own."""
    return _SENTENCES[note.kind](note.data, note.reason)


Facts = Mapping[str, Scalar]


def _show(value: Scalar) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    return "" if value is None else str(value)


def _price(value: Scalar) -> str:
    """Return a computed price, such as an average, at seven significant digits; placed prices are shown exactly."""
    return trimmed(value, significant_places(value)) if isinstance(value, Decimal) else _show(value)


def significant_places(value: Decimal) -> int:
    """Return how many decimal places keep seven significant digits of `value`."""
    return min(max(6 - value.adjusted(), 0), 12)


def _money(value: Scalar, sign: str = "") -> str:
    return format(value, f"{sign}.2f") if isinstance(value, Decimal) else _show(value)


def _percent(fraction: Scalar, places: int = 2) -> str:
    return f"{fraction * 100:.{places}f}%" if isinstance(fraction, Decimal) else _show(fraction)


def _short(value: Scalar) -> str:
    """Return a factor or a multiple at two places."""
    return trimmed(value, 2) if isinstance(value, Decimal) else _show(value)


def _lasting(value: Scalar) -> str:
    """Return a length in milliseconds in its two largest units."""
    if not isinstance(value, int):
        return _show(value)
    if value < 1000:
        return f"{value} ms"
    minutes, seconds = divmod(value // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    first = next(i for i, (count, _) in enumerate(parts) if count)
    return "".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count)


def _count(data: Facts, name: str, singular: str, plural: str) -> str:
    value = data.get(name)
    if value is None:
        return ""
    return f"{value} {singular if value == 1 else plural}"


def _joined(parts: list[str], separator: str = ", ") -> str:
    return separator.join(part for part in parts if part)


def _ended(text: str, reason: str) -> str:
    """Append the reason, unless the sentence already is it."""
    if not reason or text.startswith(reason):
        return text
    if reason.startswith(text):
        return reason
    return f"{text}: {reason}"


def _fact(data: Facts, name: str, words: str, show: Callable[[Scalar], str] = _show) -> str:
    """Return `words` with the value in place of `{}`, or nothing where the note lacks it."""
    value = data.get(name)
    return "" if value is None else words.format(show(value))


def _order_name(data: Facts) -> str:
    """Return what an order is to the operator: `stop`, `backstop`, `TP2`, `close`."""
    order, leg = data.get("order"), data.get("leg")
    if order == "take_profit":
        return f"TP{leg}" if leg is not None else "take-profit"
    return _show(order) or "order"


def _rounded(raw: Scalar, placed: Scalar) -> str:
    """Return `raw → placed` where quantization changed the value, else the value placed."""
    if isinstance(raw, Decimal) and isinstance(placed, Decimal) and raw != placed:
        return f"{trimmed(raw)} → {plain(placed)}"
    return _show(placed)


def _started(data: Facts, reason: str) -> str:
    where = _joined([_show(data.get("env")), _show(data.get("mode"))])
    what = _joined([_fact(data, "profile", "profile {}"), where, _fact(data, "symbols", "symbols {}")])
    return _ended(_joined(["watch started", what]), reason)


def _adopted(data: Facts, reason: str) -> str:
    size = _joined([_show(data.get("quantity")), _fact(data, "entry", "at {}", _price)], " ")
    return _ended(_joined([_joined(["adopted", size], " "), _fact(data, "leverage", "{}x", _short)]), reason)


def _planned(data: Facts, reason: str) -> str:
    levels = _joined(
        [
            _fact(data, "stop", "stop {}"),
            _fact(data, "backstop", "backstop {}"),
            _fact(data, "liquidation", "liquidation {}", _price),
            _fact(data, "reward_risk", "reward:risk {}", _short),
            _fact(data, "leverage", "{}x", _short),
        ]
    )
    ladder = _show(data.get("ladder")) or _show(data.get("line"))
    head = _joined([f"plan: {ladder}", levels, reason] if ladder else [reason or "plan", levels], "; ")
    reasons = [text for text in _show(data.get("reasons")).split("\n") if text]
    return "\n".join([head, *(f"because {text}" for text in reasons)])


def _placed(data: Facts, reason: str) -> str:
    side = _show(data.get("side")).upper()
    quantity = _rounded(data.get("raw_quantity"), data.get("quantity")) or "the whole position"
    trigger = _rounded(data.get("raw_trigger"), data.get("trigger"))
    words = _joined([f"place {_order_name(data)}:", side, quantity, f"at {trigger}" if trigger else "at market"], " ")
    return f"{words} ({reason})" if reason else words


def _about_order(verb: str) -> Callable[[Facts, str], str]:
    def build(data: Facts, reason: str) -> str:
        words = _joined([_order_name(data), verb, _fact(data, "code", "({})"), _fact(data, "client_id", "[{}]")], " ")
        return words if reason == data.get("order") else _ended(words, reason)

    return build


def _tp_hit(data: Facts, reason: str) -> str:
    name = f"TP{_show(data.get('leg'))}"
    at = _joined([_fact(data, "price", "at {}", _price), _fact(data, "percent", "({})", _percent)], " ")
    share = "share" if data.get("share") is not None else "fraction"
    size = _fact(data, share, "({} of the position)", lambda value: _percent(value, 0))
    closed = _joined([_fact(data, "quantity", "closed {}"), size], " ")
    trigger = data.get("trigger")
    past = "" if trigger is None or trigger == data.get("price") else f"trigger {_show(trigger)}"
    words = _joined([_joined([f"{name} hit", at], " "), past, closed, _fact(data, "remaining", "{} left")])
    return words if reason == f"take-profit {_show(data.get('leg'))}" else _ended(words, reason)


def _moved(what: str) -> Callable[[Facts, str], str]:
    def build(data: Facts, reason: str) -> str:
        before, after = _show(data.get("from")), _show(data.get("to"))
        levels = f"{before} → {after}" if before else after
        return _ended(_joined([what, levels], " "), reason)

    return build


def _stop_hit(data: Facts, reason: str) -> str:
    name = "backstop" if "backstop" in {data.get("order"), reason} else "stop"
    at = _joined([f"{name} hit", _fact(data, "price", "at {}", _price)], " ")
    trigger = data.get("trigger")
    past = "" if trigger is None or trigger == data.get("price") else f"trigger {_show(trigger)}"
    words = _joined([at, past, _fact(data, "quantity", "closed {}")])
    return words if reason == name else _ended(words, reason)


def _closed(data: Facts, reason: str) -> str:
    legs = data.get("legs")
    facts = [
        _fact(data, "average_exit", "average exit {}", _price),
        _fact(data, "pnl", "PnL {}", lambda value: _money(value, "+")),
        _fact(data, "fees", "fees {}", _money),
        f"{_show(data.get('legs_hit'))} of {legs} take-profits" if legs is not None else "",
        _fact(data, "duration_ms", "after {}", _lasting),
        _fact(data, "naked_ms", "unprotected for {}", _lasting),
    ]
    by = f"by {reason.replace('_', '-')}" if reason else ""
    return _joined([_joined(["position closed", by], " "), *facts])


def _swept(data: Facts, reason: str) -> str:
    if data.get("client_id") is not None or data.get("order") is not None:
        return _ended(_joined(["swept leftover", _order_name(data), _fact(data, "client_id", "[{}]")], " "), reason)
    orders = _count(data, "orders", "leftover order", "leftover orders")
    return _ended(_joined(["swept", orders or "leftover orders"], " "), reason)


def _stopped(data: Facts, reason: str) -> str:
    facts = [
        _count(data, "positions", "position open", "positions open"),
        _fact(data, "protected", "{} protected"),
        _count(data, "orders_resting", "order resting on the exchange", "orders resting on the exchange"),
        _fact(data, "rejected", "{} rejected"),
        _fact(data, "naked_ms", "unprotected for {}", _lasting),
    ]
    return _joined([_ended("watch stopped", reason), _joined(facts)], "; ")


def _answered(data: Facts, reason: str) -> str:
    who = _fact(data, "source", "{} asked:") or "asked:"
    words = _joined([who, _fact(data, "request", "{}"), _fact(data, "outcome", "[{}]")], " ")
    return _ended(words, reason)


def _words(text: str) -> Callable[[Facts, str], str]:
    return lambda data, reason: _ended(text, reason)  # noqa: ARG005 - one signature for all sentences


_SENTENCES: Mapping[NoteKind, Callable[[Facts, str], str]] = {
    NoteKind.STARTED: _started,
    NoteKind.ADOPTED: _adopted,
    NoteKind.LEFT_ALONE: _words("left alone"),
    NoteKind.PLANNED: _planned,
    NoteKind.PLACED: _placed,
    NoteKind.ACCEPTED: _about_order("accepted"),
    NoteKind.REJECTED: _about_order("refused by the exchange"),
    NoteKind.CANCELLED: _about_order("cancelled"),
    NoteKind.TP_HIT: _tp_hit,
    NoteKind.STOP_MOVED: _moved("stop moved"),
    NoteKind.TRAIL_MOVED: _moved("trail tightened the stop"),
    NoteKind.STOP_HIT: _stop_hit,
    NoteKind.CLOSED: _closed,
    NoteKind.SWEPT: _swept,
    NoteKind.DEGRADED: _words("degraded"),
    NoteKind.RECOVERED: _words("recovered"),
    NoteKind.HALTED: _words("HALT"),
    NoteKind.EXTERNAL: _words("changed from outside"),
    NoteKind.ANSWERED: _answered,
    NoteKind.POLICY: lambda _, reason: reason or "policy",
    NoteKind.RELOADED: _words("configuration"),
    NoteKind.STANDING: _words("stands"),
    NoteKind.STOPPING: _words("stopping"),
    NoteKind.STOPPED: _stopped,
}
