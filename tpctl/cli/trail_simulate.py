"""`tpctl trail --simulate`: one trail replayed on recorded candles.

Decides which bars make the path and how a bar becomes prices: by the twin's stated rule (`venue.market.path`), so that
the replay meets the prices a simulated watch would. The ATR at a price is that of the bars closed before it. Sends and
stores nothing.
"""

import shutil
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from tpctl.adapters.candles import candle_spans, read_candles
from tpctl.cli.options import Format
from tpctl.cli.trail_options import Simulation, StyleName, TrailOptions, WhatIf
from tpctl.cli.trail_what_if import distance_to, schedule_rows, scheduled_callback
from tpctl.exits.errors import ExitCode, InputsError, UsageError
from tpctl.exits.instrument import Instrument, PositionSide, Unavailable
from tpctl.exits.model import PositionKey, WorkingType
from tpctl.exits.partials import PartialLevel, partial_levels
from tpctl.exits.quantize import round_stop
from tpctl.exits.rules import ExitRules
from tpctl.exits.stops import AtrMultiple, StopSpec
from tpctl.exits.trail_replay import Replay, Setup, Step, replay_trail
from tpctl.exits.trail_styles import Style, StyleTerms, chandelier_callback, schedule_base, style_terms, targets_at
from tpctl.exits.trailing import native_limit, peak_profit
from tpctl.exits.units import ONE, ZERO, Millis, Price, Ratio
from tpctl.market.bars import HOUR_MS, Bar, Candles, fold_bars
from tpctl.market.ranges import atr
from tpctl.ports import Candle
from tpctl.settings.load import load
from tpctl.settings.schema import Settings
from tpctl.venue.market.path import STEPS_PER_BAR, MarkFollower, bar_prices
from tpctl.views.trail import ScheduleRow, TrailRow, document_text, table_text
from tpctl.views.trail_chart import Column
from tpctl.views.trail_story import ReplayStory, replay_record, replay_text

_DEFAULT_TARGETS = (Ratio.percent("1.5"), Ratio.percent("2.5"), Ratio.percent("4"))
# Taker on both sides at base rates (binance-usdm 4.8), for a breakeven that nets zero.
_TAKER_FEE = Ratio.percent("0.05")
_ATR_PERIODS = 14
# Wilder's average takes this many periods to forget where it began.
_ATR_MEMORY = 10
_NO_ATR = Unavailable("the style needs none")
_WIDTH = 80


def run_simulation(options: TrailOptions, asked: Simulation, now: Millis) -> ExitCode:
    """Replay, print, and return 0; raises `InputsError` for candles that do not serve, `UsageError` for the rest."""
    shared = options.shared
    settings = load(shared.config, shared.profile, shared.state_dir)
    _check(options.what_if, asked)
    symbol = _symbol(options, asked)
    candles = _candles(asked, symbol)
    bars, before = _split(candles, symbol, asked)
    instrument = _instrument(symbol, asked, settings, now)
    readings = None
    if asked.style is StyleName.ATR:
        readings = _Readings(before, bars, asked.atr_bar_ms or max(HOUR_MS, candles.interval_ms), candles.interval_ms)
    first_atr = _NO_ATR if readings is None else readings.at(bars[0].at)
    setup = _setup(options.what_if, asked, settings.exits, instrument, bars[0], first_atr)
    follow = asked.follow or WorkingType.LAST
    path = _Path(bars, candles.interval_ms, instrument.tick, follow, readings)
    replay = replay_trail(setup, path)
    story = ReplayStory(
        replay=replay,
        style=asked.style.value,
        source=", ".join(str(file) for file in asked.files),
        prices=follow.value,
        columns=tuple(path.columns),
        until=max(path.columns[-1].at + candles.interval_ms, replay.last.at),
    )
    _print(options, settings, story, now)
    return ExitCode.OK


def _check(what_if: WhatIf, asked: Simulation) -> None:
    """Refuse options that mean nothing on candles, or nothing to the style."""
    idle = {
        "--profit": what_if.profit,
        "--current": what_if.current,
        "--age": what_if.age_ms,
        "--since-change": what_if.since_change_ms,
        "--peak": what_if.peak,
        "--mark": what_if.mark,
    }
    name = next((name for name, value in idle.items() if value is not None), None)
    if name is not None:
        raise UsageError(f"{name} and --simulate contradict each other", "the candles decide that")
    style = Style(asked.style.value)
    if asked.targets is not None and not style.climbs:
        raise UsageError(f"--targets does nothing for style '{style.value}'", "leave it out, or choose a target style")
    if style.climbs and what_if.activation is not None:
        raise UsageError(f"--activation does nothing for style '{style.value}'", "targets say when the stop moves")
    if what_if.callback is not None and style in {Style.BREAKEVEN, Style.MOVING_TARGET, Style.MOVING_TWO_TARGET}:
        raise UsageError(f"--callback does nothing for style '{style.value}'", "leave it out: targets decide")
    if asked.atr_bar_ms is not None and style is not Style.ATR:
        raise UsageError("--atr-bar does nothing without --style atr", "add it, or leave --atr-bar out")


def _symbol(options: TrailOptions, asked: Simulation) -> str:
    if len(options.symbols) > 1:
        raise UsageError("a replay is about one position", "name one symbol")
    if options.symbols:
        return options.symbols[0]
    held = candle_spans(asked.files)
    if len(held) != 1:
        names = ", ".join([*held][:12])
        raise UsageError(f"the candles hold {len(held)} symbols", f"name one of {names}" if held else "name a symbol")
    return next(iter(held))


def _instrument(symbol: str, asked: Simulation, settings: Settings, now: Millis) -> Instrument:
    """Return the symbol's rules, of which a replay needs the tick; a tick given is all there is then."""
    if asked.tick is not None:
        return _of_tick(symbol, asked.tick)
    from tpctl.cli.rule_sources import offline_rules

    book = offline_rules(settings.profile.env.value, now, asked.rules)
    if symbol not in book.symbols():
        raise InputsError(
            f"the tick of {symbol!r} is not known from {book.origin}",
            "give --tick 0.0001, or --rules FILE with an exchangeInfo",
        )
    return book.instrument(symbol)


def _of_tick(symbol: str, tick: Price) -> Instrument:
    """Return an instrument with no rule but its tick; a zero switches a rule off."""
    return Instrument(
        symbol=symbol,
        status="TRADING",
        contract_type="PERPETUAL",
        margin_asset="USDT",
        tick=tick,
        min_price=ZERO,
        max_price=ZERO,
        step=ZERO,
        min_quantity=ZERO,
        max_quantity=ZERO,
        market_step=ZERO,
        market_min_quantity=ZERO,
        market_max_quantity=ZERO,
        min_notional=ZERO,
        percent_up=ZERO,
        percent_down=ZERO,
        max_orders=0,
        trigger_protect=ZERO,
        market_take_bound=ZERO,
        liquidation_fee=ZERO,
        price_precision=8,
        quantity_precision=8,
    )


def _candles(asked: Simulation, symbol: str) -> Candles:
    """Return the bars of the replay, and for the ATR those that closed before it."""
    begin = asked.since if asked.entry_at is None else asked.entry_at
    if begin is not None and asked.style is StyleName.ATR:
        bar_ms = max(asked.atr_bar_ms or HOUR_MS, HOUR_MS)
        begin = max(begin - (_ATR_MEMORY * _ATR_PERIODS + 2) * bar_ms, 0)
    return read_candles(asked.files, [symbol], begin, asked.until)


def _split(candles: Candles, symbol: str, asked: Simulation) -> tuple[Sequence[Bar], Sequence[Bar]]:
    """Return the bars from the entry on, and those before it."""
    bars = candles.bars[symbol]
    begin = asked.since if asked.entry_at is None else asked.entry_at
    if begin is None:
        return bars, ()
    # A position opened within a bar is replayed from the next one on: what came before in it is not its own.
    first = next((index for index, bar in enumerate(bars) if bar.at >= begin), None)
    if first is None:
        raise InputsError(
            f"the candles of {symbol!r} end before the entry",
            "give an earlier --entry-time or --from, or other candles",
        )
    return bars[first:], bars[:first]


def _setup(
    what_if: WhatIf, asked: Simulation, rules: ExitRules, instrument: Instrument, first: Bar, atr: Price | Unavailable
) -> Setup:
    side = what_if.side or PositionSide.LONG
    key = PositionKey(instrument.symbol, side)
    entry = what_if.entry or bar_prices(first, instrument.tick)[0]
    distance = asked.stop or rules.stop.distance
    stop = round_stop(instrument, side, entry * (ONE - side.sign * distance.fraction))
    if side.sign * (entry - stop) < instrument.tick:
        raise UsageError(f"stop '{distance}' is less than a tick from entry", "give a wider --stop")
    try:
        terms = _terms(what_if, asked, rules, instrument, key, entry, atr)
    except InputsError as error:
        raise UsageError(error.message, error.hint) from None
    return Setup(key, instrument, entry, first.at, stop, terms)


def _terms(
    what_if: WhatIf,
    asked: Simulation,
    rules: ExitRules,
    instrument: Instrument,
    key: PositionKey,
    entry: Price,
    atr: Price | Unavailable,
) -> StyleTerms:
    style = Style(asked.style.value)
    distance = _distance(what_if, style, rules)
    chandelier = None
    if isinstance(distance, AtrMultiple) and not isinstance(atr, Unavailable):
        chandelier = chandelier_callback(entry, atr, distance, rules.trail)
    rungs = None
    if style.climbs:
        fee = _TAKER_FEE if rules.execution.breakeven == "net" else None
        rungs = targets_at(instrument, key, entry, asked.targets or _DEFAULT_TARGETS, fee=fee)
    return style_terms(
        style,
        distance,
        activation=what_if.activation or rules.trail.activation,
        rungs=rungs,
        limits=rules.trail,
        execution=rules.execution,
        chandelier=chandelier,
    )


def _distance(what_if: WhatIf, style: Style, rules: ExitRules) -> StopSpec:
    if what_if.callback is not None:
        return what_if.callback
    if style is Style.ATR:
        return AtrMultiple(rules.trail.atr_multiple)
    return rules.execution.ratchet_percent if style.climbs else rules.trail.callback


class _Readings:
    """The ATR of bars closed by a time, over bars of `bar_ms` made of shorter ones."""

    def __init__(self, before: Sequence[Bar], bars: Sequence[Bar], bar_ms: Millis, interval_ms: Millis) -> None:
        if bar_ms % interval_ms:
            raise UsageError("--atr-bar is not a multiple of the candles' length", "give a longer one, such as 1h")
        self._bar_ms = bar_ms
        self._candles = [_candle(bar) for bar in fold_bars([*before, *bars], bar_ms)]
        self._closes = [candle.at + bar_ms for candle in self._candles]
        self._known: dict[int, Price | Unavailable] = {}

    def at(self, at: Millis) -> Price | Unavailable:
        """Return the reading of the bars that had closed by `at`; the same object until the next one closes."""
        closed = bisect_right(self._closes, at)
        if closed not in self._known:
            first = max(closed - (_ATR_MEMORY * _ATR_PERIODS + 1), 0)
            self._known[closed] = atr(self._candles[first:closed], _ATR_PERIODS)
        return self._known[closed]


def _candle(bar: Bar) -> Candle:
    return Candle(bar.at, float(bar.open), float(bar.high), float(bar.low), float(bar.close), float(bar.volume))


class _Path:
    """The prices of the bars, twelve each, with the ATR known at the bar's open.

    `columns` are the extremes of what has been looked at so far, a bar each.
    """

    def __init__(
        self, bars: Sequence[Bar], interval_ms: Millis, tick: Price, follow: WorkingType, readings: _Readings | None
    ) -> None:
        self._bars = bars
        self._step_ms = interval_ms // STEPS_PER_BAR
        self._tick = tick
        self._marks = MarkFollower(self._step_ms) if follow is WorkingType.MARK else None
        self._readings = readings
        self.columns: list[Column] = []

    def __iter__(self) -> Iterator[Step]:
        for bar in self._bars:
            reading = _NO_ATR if self._readings is None else self._readings.at(bar.at)
            low = high = None
            for index, last in enumerate(bar_prices(bar, self._tick)):
                at = bar.at + index * self._step_ms
                price = last if self._marks is None else self._marks.follow(last, at)
                if low is None or high is None:
                    low = high = price
                    self.columns.append(Column(bar.at, low, high))
                elif price < low or price > high:
                    low, high = min(low, price), max(high, price)
                    self.columns[-1] = Column(bar.at, low, high)
                yield Step(at, price, reading)


def _row(what_if: WhatIf, replay: Replay) -> TrailRow:
    """Return where the trail stood when the replay ended."""
    setup = replay.setup
    trail, side, limits = setup.terms.trail, setup.key.side, setup.terms.limits
    profit = peak_profit(side, setup.entry, replay.peak)
    original: Ratio | Unavailable = Unavailable("the style has no original callback")
    scheduled: Ratio | Unavailable = Unavailable("the style has no schedule")
    schedule: tuple[ScheduleRow, ...] = ()
    callback: Ratio | Unavailable = Unavailable("the style has no callback")
    if trail is not None:
        original, base = trail.callback, schedule_base(trail, limits)
        scheduled = scheduled_callback(base, profit, limits, trail.schedule)
        schedule = schedule_rows(base, profit, trail.schedule, limits)
        callback = replay.callback or trail.callback
    at = replay.last.at
    return TrailRow(
        symbol=setup.key.symbol,
        side=side,
        peak_profit=profit,
        original=original,
        callback=callback,
        next_callback=callback,
        scheduled=scheduled,
        changed=False,
        reason=_reason(replay),
        schedule=schedule,
        levels=_levels(what_if, replay),
        entry=setup.entry,
        mark=replay.last.price,
        peak=replay.peak,
        stop=replay.stop,
        stop_rests=None,
        stop_cause=replay.cause,
        stop_reason=None,
        trigger=replay.stop,
        distance=distance_to(side, replay.last.price, replay.stop),
        age_ms=at - setup.opened_at,
        since_change_ms=Unavailable("it never changed") if replay.callback_at is None else at - replay.callback_at,
        native_limit=native_limit(callback) if isinstance(callback, Ratio) else None,
        as_of=at,
    )


def _reason(replay: Replay) -> str:
    if replay.exit is not None:
        return replay.exit.reason
    if replay.decision is not None:
        return replay.decision.reason
    if replay.setup.terms.trail is None:
        return f"{replay.targets_done} targets reached"
    return "the trail did not start"


def _levels(what_if: WhatIf, replay: Replay) -> tuple[PartialLevel, ...] | Unavailable:
    if what_if.target is None:
        return Unavailable("partial levels need a target")
    setup = replay.setup
    try:
        return partial_levels(setup.key.side, setup.entry, what_if.target, replay.profit)
    except InputsError as error:
        raise UsageError(error.message, error.hint) from None


def _print(options: TrailOptions, settings: Settings, story: ReplayStory, now: Millis) -> None:
    row, shared = _row(options.what_if, story.replay), options.shared
    if options.format is Format.JSON:
        more = {"replay": replay_record(story)}
        env = settings.profile.env.value
        sys.stdout.write(document_text(now, settings.name, env, [row], options.fields, more))
        return
    width = shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH
    text = replay_text(story, width=width, verbose=shared.verbose, quiet=shared.quiet, ascii_only=options.ascii_only)
    if options.schedule or options.partials:
        text += "\n" + table_text(
            [row],
            schedule=options.schedule,
            partials=options.partials,
            quiet=shared.quiet,
            ascii_only=options.ascii_only,
        )
    sys.stdout.write(text)
