"""Styles and signs of the dashboard: gains blue, losses orange, which every colour vision tells apart.

No meaning hangs on colour: a gain has its plus sign, an alarm its word. Without colour bold, dim and reverse remain;
with ASCII only, every sign is one byte.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tpctl.views.lines import Tone


class Ink(StrEnum):
    """What a piece of text means; the theme says how it looks."""

    PLAIN = "plain"
    QUIET = "quiet"
    STRONG = "strong"
    GAIN = "gain"
    LOSS = "loss"
    CAUTION = "caution"
    ALARM = "alarm"
    TITLE = "title"
    CHOSEN = "chosen"


_COLOURED = {
    Ink.PLAIN: "",
    Ink.QUIET: "dim",
    Ink.STRONG: "bold",
    Ink.GAIN: "color(39)",
    Ink.LOSS: "color(208)",
    Ink.CAUTION: "bold color(220)",
    Ink.ALARM: "bold white on color(160)",
    Ink.TITLE: "bold",
    Ink.CHOSEN: "reverse",
}
_BARE = {
    **_COLOURED,
    Ink.GAIN: "",
    Ink.LOSS: "",
    Ink.CAUTION: "bold",
    Ink.ALARM: "bold reverse",
}
OF_TONE = {
    Tone.PLAIN: Ink.PLAIN,
    Tone.QUIET: Ink.QUIET,
    Tone.GAIN: Ink.GAIN,
    Tone.LOSS: Ink.LOSS,
    Tone.CAUTION: Ink.CAUTION,
    Tone.ALARM: Ink.ALARM,
}


@dataclass(frozen=True, slots=True)
class Theme:
    """How text and signs look on one terminal."""

    color: bool = True
    ascii: bool = False

    def style(self, ink: Ink) -> str:
        """Return the rich style of an ink."""
        return (_COLOURED if self.color else _BARE)[ink]

    def words(self, text: str) -> str:
        """Return text in the signs this terminal has."""
        if not self.ascii:
            return text
        for sign, plain in _PLAINLY.items():
            text = text.replace(sign, plain)
        return text.encode("ascii", "replace").decode()

    def bar(self, share: Decimal, width: int) -> str:
        """Return a progress bar; it is full only where all of the way is behind."""
        done = min(max(int(share * width), 0), width)
        full, rest = ("#", "-") if self.ascii else ("█", "░")
        return full * done + rest * (width - done)

    def spark(self, course: tuple[Decimal, ...], width: int) -> str:
        """Return the newest `width` prices as heights between their own extremes; a flat course lies in the middle."""
        shown = course[-width:]
        signs = "_.-=^" if self.ascii else "▁▂▃▄▅▆▇█"
        if not shown:
            return " " * width
        low, high = min(shown), max(shown)
        span = high - low
        middle = len(signs) // 2
        steps = (middle if span == 0 else int((price - low) / span * (len(signs) - 1)) for price in shown)
        return "".join(signs[step] for step in steps).rjust(width)

    @property
    def rule(self) -> str:
        """The sign of a horizontal line."""
        return "-" if self.ascii else "─"


_PLAINLY = {"→": "->", "≥": ">=", "≤": "<=", "…": "...", "▶": ">"}
