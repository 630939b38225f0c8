"""The whole screen as lines: `frame(board, controls, width, height, theme)` returns exactly `height` of them.

Pure, so that a golden file can hold it. Decides what is left out where there is little room: first events, then the
ladder, then positions from the far end of the table; never the banner, and never a position without protection first.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from textwrap import wrap

from rich.cells import cell_len
from rich.text import Text

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import RiskReadings
from tpctl.exits.units import trimmed
from tpctl.views.dashboard import cells, ladder
from tpctl.views.dashboard.board import Board, Detail, Figures, Vitals
from tpctl.views.dashboard.controls import Controls, Screen, selected, shown
from tpctl.views.dashboard.theme import OF_TONE, Ink, Theme
from tpctl.views.lines import clean

LEAST_WIDTH, LEAST_HEIGHT = 40, 8
# How long a sign of life may be away before the screen says so.
SILENT_MS = 5_000
_STALE_FEED_MS = 5_000
_LARGE_SKEW_MS = 500
_FULL_BUDGET = Decimal("0.4")

Part = tuple[str, Ink]

_KEYS = (
    ("↑↓", "move"),
    ("/", "filter"),
    ("s", "sort"),
    ("e", "explain"),
    ("l", "log"),
    ("p", "pause"),
    ("r", "resync"),
    ("T", "trail"),
    ("B", "breakeven"),
    ("R", "reduce"),
    ("H", "HALT"),
    ("?", "help"),
    ("q", "quit"),
)
_ACTING = frozenset("prTBRH")

HELP = (
    ("Look", (
        ("up, down, k, j", "move; page up, page down, home, end"),
        ("/", "filter by symbol or side; escape clears it"),
        ("s", "sort by symbol, PnL, R, distance to liquidation, distance to the next TP"),
        ("e, enter", "explain the selected position: why its plan is as it is, why its trail does not change"),
        ("l", "all events"),
        ("?", "this page"),
    )),
    ("Ask", (
        ("p", "pause or resume new decisions: no new take-profits meanwhile; stops and reductions go on"),
        ("r", "resync: read the account again now"),
        ("q", "quit after a typed word; ctrl-c quits at once. Stops stay on the exchange"),
    )),
    ("Act, each after a typed word and through the guard", (
        ("T", "trail now: tighten the stop to where the trail would have it"),
        ("B", "stop to breakeven"),
        ("R", "reduce at market by a share, such as 50%"),
        ("H", "set HALT, or lift it"),
    )),
    ("Signs", (
        ("!", "behind a symbol: nothing protects the position"),
        ("?", "behind a stop: it is wanted, but does not rest on the exchange"),
        ("R", "profit in units of the first risk, the way from entry to the plan's stop"),
        ("n/a", "not known; the explanation says why"),
        ("-", "there is none: no trail yet, no price that liquidates, no take-profit left"),
    )),
)  # fmt: skip


def frame(board: Board, controls: Controls, width: int, height: int, theme: Theme) -> list[Text]:
    """Return the screen; a terminal too small for it is told so."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return _filled([Text(f"{width}x{height} is too small")], width, height, theme)
    lines = banner(board.vitals, width, theme)
    room = height - len(lines) - 1
    if controls.screen is Screen.HELP:
        lines += _scrolled(_help(width, theme), controls, room, theme)
    elif controls.screen is Screen.EVENTS:
        lines += _events(board, controls, width, room, theme)
    elif controls.screen is Screen.EXPLAIN:
        lines += _scrolled(_explained(board, controls, width, theme), controls, room, theme)
    else:
        lines += _positions(board, controls, width, room, theme)
    lines = _filled(lines, width, height - 1, theme)
    return [*lines, *_filled([_foot(controls, width, theme)], width, 1, theme)]


def _filled(lines: list[Text], width: int, height: int, theme: Theme) -> list[Text]:
    result = lines[:height] + [Text("") for _ in range(height - len(lines))]
    for at, line in enumerate(result):
        if theme.ascii:
            line.plain = theme.words(line.plain)
        if cell_len(line.plain) > width:
            line.truncate(width - len(theme.words("…")))
            line.append(theme.words("…"))
        line.truncate(width, pad=True)
        result[at] = line
    return result


def _text(parts: Iterable[Part], theme: Theme) -> Text:
    text = Text(no_wrap=True)
    for words, ink in parts:
        text.append(words, theme.style(ink))
    return text


def _joined(parts: Iterable[Part], between: str = "  ") -> list[Part]:
    result: list[Part] = []
    for part in parts:
        if result:
            result.append((between, Ink.PLAIN))
        result.append(part)
    return result


# the banner


def banner(vitals: Vitals, width: int, theme: Theme) -> list[Text]:
    """Return who and where, then how the watch fares: what is wrong stands first and says so in words."""
    clock = f"{datetime.fromtimestamp(vitals.at // 1000, UTC):%Y-%m-%d %H:%M:%SZ}"
    env = Ink.ALARM if vitals.env == "live" and vitals.mode == "armed" else Ink.STRONG
    left = [
        ("tpctl ", Ink.STRONG),
        (f" {vitals.env.upper()} {vitals.mode.upper()} ", env),
        (f"  {clean(vitals.profile)}", Ink.PLAIN),
    ]
    if vitals.host:
        left.append((f"@{clean(vitals.host)}", Ink.PLAIN))
    if vitals.exchange and width >= cells.WIDE:
        left.append((f" → {clean(vitals.exchange)}", Ink.QUIET))
    if vitals.attached:
        left.append(("  read-only view", Ink.QUIET))
    first = _text(left, theme)
    space = width - cell_len(first.plain) - len(clock)
    if space < 1:
        first.truncate(max(width - len(clock) - 1, 0))
        space = 1
    first.append(" " * space + clock, theme.style(Ink.QUIET))
    health = sorted(_health(vitals), key=lambda part: part[1] is Ink.QUIET)
    return [first, *_packed([*_troubles(vitals), *health], width, theme)]


def _packed(parts: Iterable[Part], width: int, theme: Theme, most: int = 4) -> list[Text]:
    """Return the parts on as few lines as hold them, `most` at the most; none is cut where a line can hold it."""
    lines: list[list[Part]] = [[]]
    for part in parts:
        taken = sum(cell_len(words) + 2 for words, _ in lines[-1])
        if lines[-1] and taken + cell_len(part[0]) > width and len(lines) < most:
            lines.append([])
        lines[-1].append(part)
    return [_text(_joined(line), theme) for line in lines]


def _troubles(vitals: Vitals) -> list[Part]:
    found: list[Part] = []
    if vitals.ended:
        found.append((f" NOT RUNNING: {clean(vitals.ended)} ", Ink.ALARM))
    elif vitals.silent_ms is None:
        found.append((" NO SIGN OF LIFE ", Ink.ALARM))
    elif vitals.silent_ms > SILENT_MS:
        found.append((f" SILENT for {lasting(vitals.silent_ms)} ", Ink.ALARM))
    if vitals.halt is not None:
        found.append((f" HALT: {clean(vitals.halt)} ", Ink.ALARM))
    if vitals.paused:
        found.append((" PAUSED: no new take-profits ", Ink.CAUTION))
    if vitals.blocked:
        found.append((" RATE LIMITED ", Ink.ALARM))
    return found


def _health(vitals: Vitals) -> list[Part]:
    skew = "clock n/a" if vitals.skew_ms is None else f"clock {vitals.skew_ms:+d} ms"
    skewed = vitals.skew_ms is not None and abs(vitals.skew_ms) > _LARGE_SKEW_MS
    parts = [(f"{skew} SKEWED" if skewed else skew, Ink.CAUTION if skewed else Ink.QUIET)]
    age = vitals.feed_age_ms
    stale = age is not None and age > _STALE_FEED_MS
    feed = "feed n/a" if age is None else f"feed {age / 1000:.1f} s" if age < 60_000 else f"feed {lasting(age)}"
    parts.append((f"{feed} STALE" if stale else feed, Ink.ALARM if stale else Ink.QUIET))
    if vitals.budget is None:
        parts.append(("budget n/a", Ink.QUIET))
    else:
        used, limit = vitals.budget
        high = used > _FULL_BUDGET * limit
        parts.append((f"budget {used}/{limit}{' HIGH' if high else ''}", Ink.CAUTION if high else Ink.QUIET))
    if vitals.halt is None:
        parts.append(("no HALT", Ink.QUIET))
    if vitals.recording is not None:
        parts.append((f"recording {clean(vitals.recording)}", Ink.QUIET))
    return parts


# the main screen


def _positions(board: Board, controls: Controls, width: int, room: int, theme: Theme) -> list[Text]:
    rows = shown(board.rows, controls)
    at = selected(rows, controls)
    lines = strip(board.figures, width, theme, most=2 if room >= 16 else 1)
    detail = None if at is None else board.detail_of(rows[at].key)
    ladder_lines = [] if detail is None else [*ladder.panel(detail, width, theme), *ladder.trail(detail, width, theme)]
    space = room - len(lines)
    # The table may take what the ladder and four events leave, but at least half of the room.
    most = max(space - len(ladder_lines) - 6, space // 2)
    visible = max(min(len(rows), most - 1), 1)
    first = 0 if at is None else min(max(at - visible // 2, 0), max(len(rows) - visible, 0))
    part = rows[first : first + visible]
    lines += cells.table(part, None if at is None else at - first, width, theme)
    if not rows:
        words = f"no position matches {controls.filter!r}" if controls.filter and board.rows else "no open position"
        lines.append(_text([(f"  {words}", Ink.QUIET)], theme))
    elif len(part) < len(rows):
        lines[-len(part) - 1].append(f"  {first + 1}-{first + len(part)} of {len(rows)}", theme.style(Ink.CAUTION))
    left = room - len(lines)
    if left >= len(ladder_lines):
        lines += ladder_lines
    left = room - len(lines)
    if left >= 2:
        lines.append(ladder.rule("events", width, theme))
        lines += _newest(board, left - 1, width, theme)
    return lines


def strip(figures: Figures, width: int, theme: Theme, most: int) -> list[Text]:
    """Return risk and the day so far, on one line or two."""
    bare = figures.positions - figures.protected
    unrealised = cells.money(figures.unrealised)
    at_risk = cells.money(figures.at_risk)
    cover = f"{figures.protected}/{figures.positions} protected"
    parts = [
        (f" {bare} UNPROTECTED " if bare else cover, Ink.ALARM if bare else Ink.PLAIN),
        (f"open {unrealised.text}", unrealised.ink),
        (f"if all stops hit {at_risk.text}" if width >= cells.WIDE else f"at stops {at_risk.text}", at_risk.ink),
    ]
    if width >= cells.WIDE:
        parts.append((_worth(figures), Ink.PLAIN))
    realised = cells.money(figures.realised)
    rate = f" {figures.hits}/{figures.attempts} TP" if figures.attempts else ""
    parts.append((f"today {realised.text} ({figures.won}/{figures.closed} won{rate})", realised.ink))
    if figures.unprotected_ms:
        parts.append((f"bare {lasting(figures.unprotected_ms)}", Ink.CAUTION))
    if figures.rejected:
        parts.append((f"{figures.rejected} REJECTED", Ink.CAUTION))
    return _packed([*parts, *_readings(figures, width)], width, theme, most)


def _worth(figures: Figures) -> str:
    return "worth n/a" if isinstance(figures.notional, Unavailable) else f"worth {figures.notional:,.0f}"


def _readings(figures: Figures, width: int) -> list[Part]:
    names = _risk(figures.readings)
    parts = []
    for name, value in names if width >= cells.WIDE else names[:1]:
        if not isinstance(value, Unavailable):
            parts.append((f"{name} {trimmed(value, 2)}", Ink.PLAIN))
    return parts or [("risk n/a", Ink.QUIET)]


def _newest(board: Board, room: int, width: int, theme: Theme) -> list[Text]:
    narrow = width < cells.WIDE
    lines = []
    for happening in board.log[max(len(board.log) - room, 0) :]:
        text = happening.text
        if narrow:
            # The gap that aligns sentences under each other is worth less than their ends.
            text = " ".join(text.split())
        lines.append(_text([(text, OF_TONE[happening.tone])], theme))
    return lines


# the other screens


def _events(board: Board, controls: Controls, width: int, room: int, theme: Theme) -> list[Text]:
    lines = []
    for happening in board.log:
        pieces = wrap(happening.text, width, subsequent_indent=" " * 10, drop_whitespace=False) or [""]
        lines += [_text([(piece, OF_TONE[happening.tone])], theme) for piece in pieces]
    room -= 1
    last = max(len(lines) - controls.scroll, min(room, len(lines)))
    title = ladder.rule(f"events, newest last ({len(board.log)})", width, theme)
    return [title, *lines[max(last - room, 0) : last]]


def _explained(board: Board, controls: Controls, width: int, theme: Theme) -> list[Text]:
    rows = shown(board.rows, controls)
    at = selected(rows, controls)
    detail = None if at is None else board.detail_of(rows[at].key)
    if at is None or detail is None:
        return [ladder.rule("explain", width, theme), Text("no position is selected")]
    lines = [*cells.table(rows[at : at + 1], None, width, theme), *ladder.panel(detail, width, theme)]
    lines.append(ladder.rule("why the trail is where it is", width, theme))
    lines += _paragraph(detail.trail, width, theme)
    lines.append(ladder.rule("why the plan is as it is", width, theme))
    for reason in _reasons(detail):
        lines += _paragraph(reason, width, theme)
    unknown = _unknown(board, controls)
    if unknown:
        lines.append(ladder.rule("what is not known", width, theme))
        for words in unknown:
            lines += _paragraph(words, width, theme)
    return lines


def _unknown(board: Board, controls: Controls) -> list[str]:
    rows = shown(board.rows, controls)
    at = selected(rows, controls)
    if at is None:
        return []
    row = rows[at]
    named = (("PnL", row.pnl), ("R", row.r), ("leverage", row.leverage), ("distance to liquidation", row.liquidation))
    return [
        f"{name}: {value.reason}"
        for name, value in (*named, *_risk(board.figures.readings))
        if isinstance(value, Unavailable)
    ]


def _risk(readings: RiskReadings | Unavailable) -> tuple[tuple[str, Decimal | Unavailable], ...]:
    """Return the readings by the names they have on screen."""
    if isinstance(readings, Unavailable):
        return (("risk", readings),)
    return (("ESS", readings.ess), ("heat", readings.heat), ("systemic", readings.systemic))


def _reasons(detail: Detail) -> tuple[str, ...]:
    return detail.reasons or ("there is no plan yet",)


def _paragraph(words: str, width: int, theme: Theme) -> list[Text]:
    return [
        _text([(f"  {piece}", Ink.PLAIN)], theme) for piece in wrap(clean(words), width - 4, subsequent_indent="  ")
    ]


def _help(width: int, theme: Theme) -> list[Text]:
    lines = []
    for title, keys in HELP:
        lines.append(ladder.rule(title, width, theme))
        for key, words in keys:
            pieces = wrap(words, width - 20)
            lines.append(_text([(f"  {key:<16}", Ink.STRONG), (pieces[0], Ink.PLAIN)], theme))
            lines += [_text([(" " * 18 + piece, Ink.PLAIN)], theme) for piece in pieces[1:]]
    return lines


def _scrolled(lines: list[Text], controls: Controls, room: int, theme: Theme) -> list[Text]:
    """Return the part that is scrolled to; where there is more, the last line says so."""
    first = min(controls.scroll, max(len(lines) - room, 0))
    below = len(lines) - first - room
    part = lines[first : first + room]
    if below > 0:
        part[-1] = _text([(f"  {below + 1} more lines", Ink.CAUTION)], theme)
    return part


def _foot(controls: Controls, width: int, theme: Theme) -> Text:
    prompt = controls.prompt
    if prompt is not None:
        ask = f" ({'a share such as ' if prompt.word.endswith('%') else 'type '}{prompt.word})" if prompt.word else ""
        ink = Ink.CAUTION if prompt.act else Ink.STRONG
        return _text([(f"{prompt.question}{ask}: ", ink), (prompt.text, Ink.STRONG), (" ", Ink.CHOSEN)], theme)
    if controls.message:
        return _text([(controls.message, Ink.CAUTION)], theme)
    keys = [pair for pair in _KEYS if not (controls.read_only and pair[0] in _ACTING)]
    if controls.screen is not Screen.POSITIONS:
        keys = [("↑↓", "scroll"), ("esc", "back"), ("?", "help"), ("q", "back")]
    text = _text(_told(keys, controls, theme), theme)
    if cell_len(text.plain) > width:
        # Where not all fits, the keys that act are left to the help page.
        few = [pair for pair in keys if pair[0] not in {"B", "R", "T", "r"}]
        text = _text(_told(few, controls, theme), theme)
    return text


def _told(keys: Iterable[tuple[str, str]], controls: Controls, theme: Theme) -> list[Part]:
    """Return what keys do; a filter stands first, for rows it hides are not to be taken for closed."""
    parts: list[Part] = [(f"filter {clean(controls.filter)!r}  ", Ink.CAUTION)] if controls.filter else []
    for key, words in keys:
        sign = "up/down" if theme.ascii and key == "↑↓" else key
        parts += [(sign, Ink.STRONG), (f" {words}  ", Ink.QUIET)]
    return parts


def lasting(length: int) -> str:
    """Return a length in ms in its largest fitting unit, short."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if length >= size:
            return f"{length // size}{unit}"
    return f"{length} ms"
