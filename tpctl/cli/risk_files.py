"""Recorded candles for `risk`: a panel to measure on, or a crash to replay."""

from datetime import UTC, datetime
from decimal import Decimal

from tpctl.adapters.candles import read_candles
from tpctl.adapters.price_files import read_prices
from tpctl.cli.risk_options import RiskOptions
from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Millis
from tpctl.market.risk.prices import Panel, build_panel
from tpctl.ports import Candle


def recorded_panel(options: RiskOptions) -> Panel:
    """Return the recorded candles of `--data` up to `--at`; raises `InputsError` where nothing can be measured."""
    series = read_prices(options.data, options.symbols or None, None, options.at)
    panel = build_panel(series)
    if isinstance(panel, Unavailable):
        raise InputsError(f"nothing can be measured: {panel.reason}", "give more candles")
    if options.at is None:
        return panel
    cut = panel.until(options.at)
    if len(cut) < 2:
        raise InputsError("the recording begins after --at", "give a later time")
    return cut


def recorded_crash(options: RiskOptions, since: Millis, until: Millis) -> tuple[int, dict[str, list[Candle]]]:
    """Return the recorded candles of a crash, of the finest length each file has: shorter ones show gaps better."""
    found: dict[str, list[Candle]] = {}
    lengths = []
    for path in options.data:
        try:
            candles = read_candles(path, None, since, until)
        except InputsError:
            continue  # another file may hold that time
        lengths.append(candles.interval_ms)
        for symbol, bars in candles.bars.items():
            rows = [
                Candle(b.at, float(b.open), float(b.high), float(b.low), float(b.close), float(b.volume * b.close))
                for b in bars
            ]
            if symbol not in found or len(rows) > len(found[symbol]):
                found[symbol] = rows
    if not found:
        first, last = (datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M") for at in (since, until))
        raise InputsError(f"the files hold nothing from {first} to {last}", "name a recording of that time")
    return min(lengths), found


def newest_closes(panel: Panel) -> dict[str, Decimal]:
    """Return the newest closing prices."""
    return {symbol: Decimal(repr(float(price))) for symbol, price in zip(panel.symbols, panel.closes[-1], strict=True)}
