"""What the keys do: `press(controls, rows, key)` returns what is chosen from now on, and what to ask of the watch.

Small letters look; capital letters act, and each only after a word was typed. Pure: no terminal, no clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import PositionKey
from tpctl.exits.units import Ratio
from tpctl.views.dashboard.board import PositionRow, Vitals


class Screen(StrEnum):
    """What fills the terminal."""

    POSITIONS = "positions"
    EXPLAIN = "explain"
    EVENTS = "events"
    HELP = "help"


class Order(StrEnum):
    """What the table is sorted by."""

    SYMBOL = "symbol"
    PNL = "PnL"
    R = "R"
    LIQUIDATION = "distance to liquidation"
    TARGET = "distance to the next TP"


class Act(StrEnum):
    """What a key asks of the watch."""

    PAUSE = "pause"
    RESUME = "resume"
    RESYNC = "resync"
    TRAIL = "trail"
    BREAKEVEN = "breakeven"
    REDUCE = "reduce"
    HALT = "halt"
    LIFT = "lift"
    QUIT = "quit"
    INTERRUPT = "interrupt"


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing asked. `fraction` is the share of the position a reduction closes."""

    act: Act
    key: PositionKey | None = None
    fraction: Decimal | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A line being typed: a filter, or the word that confirms an act."""

    act: Act | None
    question: str
    word: str = ""
    key: PositionKey | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Controls:
    """What the operator has chosen. `read_only` is a view that may not ask anything of the watch."""

    chosen: PositionKey | None = None
    order: Order = Order.SYMBOL
    filter: str = ""
    screen: Screen = Screen.POSITIONS
    scroll: int = 0
    prompt: Prompt | None = None
    message: str = ""
    read_only: bool = False


_ORDERS = tuple(Order)
_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -10, "pagedown": 10, "home": -10_000, "end": 10_000}
_SCREENS = {"e": Screen.EXPLAIN, "enter": Screen.EXPLAIN, "l": Screen.EVENTS, "question_mark": Screen.HELP}
_LONGEST = 60
READ_ONLY = "this view is read-only: act in the terminal the watch runs in"


def shown(rows: Sequence[PositionRow], controls: Controls) -> list[PositionRow]:
    """Return the rows the filter leaves, in the order chosen; what is not known comes last."""
    wanted = controls.filter.upper()
    return sorted((row for row in rows if wanted in str(row.key)), key=lambda row: _rank(row, controls.order))


def _rank(row: PositionRow, order: Order) -> tuple[bool, Decimal, str]:
    value: Decimal | Unavailable = Decimal(0)
    if order is Order.PNL:
        value = row.pnl
    elif order is Order.R:
        value = row.r
    elif order is Order.LIQUIDATION:
        far = Decimal("Infinity") if row.liquidation is None else row.liquidation
        value = far.fraction if isinstance(far, Ratio) else far
    elif order is Order.TARGET:
        value = Unavailable("none is left") if row.target is None else 1 - row.target.progress
    if isinstance(value, Unavailable):
        return True, Decimal(0), str(row.key)
    return False, value, str(row.key)


def selected(rows: Sequence[PositionRow], controls: Controls) -> int | None:
    """Return the index of the chosen row among the shown ones: the first where the chosen one is gone."""
    for at, row in enumerate(rows):
        if row.key == controls.chosen:
            return at
    return 0 if rows else None


def press(  # noqa: PLR0911 - one line per kind of key reads best as one list
    controls: Controls, rows: Sequence[PositionRow], vitals: Vitals, key: str, character: str | None = None
) -> tuple[Controls, Asked | None]:
    """Return the controls after a key, and what it asks of the watch, if anything.

    `key` is the key's name (`up`, `enter`, `a`), `character` what it types, where it types something.
    """
    controls = replace(controls, message="")
    if key == "ctrl+c":
        return controls, Asked(Act.INTERRUPT)
    if controls.prompt is not None:
        return _typed(controls, controls.prompt, key, character)
    if key in _MOVES:
        return _moved(controls, rows, _MOVES[key]), None
    if key in {"escape", "q"} and controls.screen is not Screen.POSITIONS:
        return replace(controls, screen=Screen.POSITIONS, scroll=0), None
    if key == "escape":
        return replace(controls, filter=""), None
    if key in _SCREENS:
        same = controls.screen is _SCREENS[key]
        return replace(controls, screen=Screen.POSITIONS if same else _SCREENS[key], scroll=0), None
    if key == "s":
        order = _ORDERS[(_ORDERS.index(controls.order) + 1) % len(_ORDERS)]
        return replace(controls, order=order, message=f"sorted by {order.value}"), None
    if key == "slash":
        return replace(controls, prompt=Prompt(None, "filter", text=controls.filter)), None
    if key == "q" and controls.read_only:
        return controls, Asked(Act.QUIT)
    return _acted(controls, rows, vitals, character or key)


def _acted(  # noqa: PLR0911 - the same
    controls: Controls, rows: Sequence[PositionRow], vitals: Vitals, key: str
) -> tuple[Controls, Asked | None]:
    if key not in _ACTS and key not in {"p", "r", "H", "q"}:
        return controls, None
    if controls.read_only:
        return replace(controls, message=READ_ONLY), None
    if key == "p":
        return controls, Asked(Act.RESUME if vitals.paused else Act.PAUSE)
    if key == "r":
        return replace(controls, message="the account is read again"), Asked(Act.RESYNC)
    if key == "q":
        return _asking(controls, Prompt(Act.QUIT, "stop watching; stops stay on the exchange", "quit"))
    if key == "H":
        if vitals.halt is not None:
            return _asking(controls, Prompt(Act.LIFT, "lift HALT: new take-profits go out again", "lift"))
        return _asking(controls, Prompt(Act.HALT, "HALT: no new orders but stops and reductions", "halt"))
    at = selected(rows, controls)
    if at is None:
        return replace(controls, message="no position is selected"), None
    act, question, word = _ACTS[key]
    name = rows[at].key
    return _asking(controls, Prompt(act, f"{name}: {question}", word, name))


_ACTS: Mapping[str, tuple[Act, str, str]] = {
    "T": (Act.TRAIL, "trail now, at the tightest callback its profit allows", "trail"),
    "B": (Act.BREAKEVEN, "move the stop to breakeven", "breakeven"),
    "R": (Act.REDUCE, "reduce at market by how much", "50%"),
}


def _asking(controls: Controls, prompt: Prompt) -> tuple[Controls, Asked | None]:
    return replace(controls, prompt=prompt), None


def _moved(controls: Controls, rows: Sequence[PositionRow], by: int) -> Controls:
    if controls.screen is not Screen.POSITIONS:
        return replace(controls, scroll=max(controls.scroll + by, 0))
    at = selected(rows, controls)
    if at is None:
        return controls
    return replace(controls, chosen=rows[min(max(at + by, 0), len(rows) - 1)].key)


def _typed(controls: Controls, prompt: Prompt, key: str, character: str | None) -> tuple[Controls, Asked | None]:
    if key == "escape":
        return replace(controls, prompt=None, message="" if prompt.act is None else "nothing was done"), None
    if key == "enter":
        return _entered(replace(controls, prompt=None), prompt)
    text = prompt.text
    if key == "backspace":
        text = text[:-1]
    elif key == "ctrl+u":
        text = ""
    elif character is not None and character.isprintable() and len(text) < _LONGEST:
        text += character
    changed = replace(controls, prompt=replace(prompt, text=text))
    return (replace(changed, filter=text) if prompt.act is None else changed), None


def _entered(controls: Controls, prompt: Prompt) -> tuple[Controls, Asked | None]:
    text = prompt.text.strip()
    if prompt.act is None:
        return replace(controls, filter=text), None
    if prompt.act is Act.REDUCE:
        fraction = _share(text)
        if fraction is None:
            return replace(controls, message=f"{text!r} is no share between 0% and 100%: nothing was done"), None
        return controls, Asked(Act.REDUCE, prompt.key, fraction)
    word, _, reason = text.partition(" ")
    if word.lower() != prompt.word:
        return replace(controls, message=f"{prompt.word!r} was not typed: nothing was done"), None
    return controls, Asked(prompt.act, prompt.key, reason=reason.strip())


def _share(text: str) -> Decimal | None:
    number = text.removesuffix("%").strip()
    if not text.endswith("%") or not number.replace(".", "", 1).isdecimal():
        return None
    share = Decimal(number) / 100
    return share if 0 < share <= 1 else None
