"""A board for tests: eight positions of a recorded day, one of them in trouble."""

from dataclasses import replace
from decimal import Decimal

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import PositionKey
from tpctl.exits.units import Ratio
from tpctl.views.dashboard.board import (
    Board,
    Detail,
    Figures,
    Happening,
    Level,
    LevelState,
    NextTarget,
    PositionRow,
    Protection,
    Vitals,
)
from tpctl.views.lines import Tone

D = Decimal
AT = 1_738_548_420_000
XRP = PositionKey("XRPUSDT", PositionSide.LONG)
LOST = PositionKey("1000SHIBUSDT", PositionSide.LONG)


def row(symbol: str, entry: str, mark: str, *, side: PositionSide = PositionSide.LONG, **more: object) -> PositionRow:
    """Return a protected position; `more` replaces fields."""
    sign = D(side.sign)
    gain = sign * (D(mark) - D(entry))
    course = tuple(D(entry) + gain * sign * D(step) / 12 for step in range(13))
    made = PositionRow(
        key=PositionKey(symbol, side),
        quantity=D("826.5"),
        entry=D(entry),
        mark=D(mark),
        pnl=gain * D("826.5"),
        r=gain / (D(entry) * D("0.013")),
        leverage=D(20),
        liquidation=Ratio.percent("4.6"),
        stop=D(mark) - gain - sign * D(entry) * D("0.013").quantize(D("0.001")),
        trail=None,
        target=NextTarget(2, 3, D(entry) * (1 + sign * D("0.02")), D("0.63")),
        protection=Protection.FULL,
        course=course,
    )
    return replace(made, **more)  # type: ignore[arg-type]


ROWS = (
    row("BTCUSDT", "97123.4", "98011.2", quantity=D("0.053"), pnl=D("47.05"), stop=D("96001.5"), leverage=D(10)),
    row("DOGEUSDT", "0.33486", "0.34010", stop=D("0.33054"), quantity=D(120000), pnl=D("628.8")),
    row("ETHUSDT", "3349.99", "3432.24", side=PositionSide.SHORT, quantity=D("0.523"), pnl=D("-43.02"),
        stop=D("3411.25"), liquidation=Ratio.percent("140")),
    row("SOLUSDT", "192.01", "197.43", stop=D("194.83"), trail=Ratio.percent("1.5"), target=None, pnl=D("4479.63"),
        liquidation=None),
    row("XRPUSDT", "2.4201", "2.4881", stop=D("2.4485"), protection=Protection.BACKSTOP, pnl=D("56.2")),
    PositionRow(
        key=LOST, quantity=D(120000), entry=D("0.0214"), mark=Unavailable("no mark has come yet"),
        pnl=Unavailable("no mark has come yet"), r=Unavailable("there is no plan yet"),
        leverage=Unavailable("there is no plan yet"), liquidation=Unavailable("there is no plan yet"),
        stop=None, trail=None, target=None, protection=Protection.NONE,
    ),
)  # fmt: skip

DETAIL = Detail(
    XRP,
    (
        Level("TP3", D("2.4959"), D("206.6"), LevelState.RESTING),
        Level("mark", D("2.4881"), None, LevelState.MARKER),
        Level("TP2", D("2.4675"), D("289.3"), LevelState.HIT),
        Level("TP1", D("2.4485"), D("330.6"), LevelState.SKIPPED),
        Level("stop", D("2.4485"), None, LevelState.PENDING, "ratchet"),
        Level("entry", D("2.4201"), None, LevelState.MARKER),
        Level("backstop", D("2.3811"), None, LevelState.WITHHELD),
        Level("liq", D("2.3011"), None, LevelState.MARKER),
    ),
    "Callback stays 2%: peak profit 2.81% reached the 2% row, which it already follows",
    ("High leverage (20.0x) → -30% TP distance", "confidence unavailable (no confidence is set): factor skipped"),
)

FIGURES = Figures(
    positions=6,
    protected=5,
    notional=Unavailable("no mark has come yet"),
    unrealised=Unavailable("no mark has come yet"),
    at_risk=Unavailable("a stop is not known yet"),
    readings=Unavailable("risk is not measured in watch"),
    closed=3,
    won=2,
    realised=D("87.40"),
    hits=9,
    attempts=12,
    unprotected_ms=1400,
    rejected=1,
)

LOG = (
    Happening("02:06:55  XRPUSDT LONG      TP2 hit at 2.4855 (2.70%), closed 289.3 (35% of the position)", Tone.GAIN),
    Happening("02:06:55  XRPUSDT LONG      stop moved 2.4226 → 2.4485: TP2 filled: stop to TP1", Tone.PLAIN),
    Happening("02:07:00  ETHUSDT SHORT     stop refused by the exchange (-4130): existing order", Tone.ALARM),
)

VITALS = Vitals(
    at=AT,
    profile="main",
    env="live",
    mode="armed",
    host="vps1",
    exchange="fapi.binance.com",
    silent_ms=0,
    skew_ms=-12,
    feed_age_ms=400,
    budget=(180, 2400),
)

BOARD = Board(VITALS, FIGURES, ROWS, lambda key: replace(DETAIL, key=key), LOG)
TROUBLE = replace(
    BOARD,
    vitals=replace(
        VITALS, halt="testing it", paused=True, feed_age_ms=75_000, skew_ms=900, budget=(1800, 2400), silent_ms=9_000
    ),
)
