"""The readings of the open book: correlation, heat, risk to the stops, value at risk, and each position's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import sqrt

import numpy as np

from tpctl.exits.instrument import Unavailable
from tpctl.exits.odds import touch_probability
from tpctl.exits.units import Price, Ratio
from tpctl.market.bars import DAY_MS
from tpctl.market.risk.account import Exposure, open_risk
from tpctl.market.risk.book import correlation_risk, portfolio_heat, risk_shares
from tpctl.market.risk.course import BASELINE_HOURS, FIT_HOURS, WARM_HOURS
from tpctl.market.risk.covariance import constant_correlation, ewma_volatility
from tpctl.market.risk.measurement import CONTRACT_LEVEL, Measurement
from tpctl.market.risk.prices import Floats, Panel
from tpctl.market.risk.readings import Measured, PositionRisk, Reading, number, short
from tpctl.market.risk.value_at_risk import Scenarios, TailRisk, book_losses, day_returns, scenarios, tail_risk

_DAY_MINUTES = Decimal(1440)


@dataclass(frozen=True, slots=True, eq=False)
class OpenBook:
    """The open positions over the panel: signed notionals, daily volatilities, correlations by position."""

    exposures: tuple[Exposure, ...]
    columns: list[int]
    panel: Panel
    weights: Floats
    volatility: Floats
    correlation: Floats
    hours: int


def read_book(panel: Panel | Unavailable, exposures: Sequence[Exposure] | Unavailable) -> OpenBook | Unavailable:
    """Return the book over the candles; unavailable where it is empty, or one of its symbols cannot be measured."""
    if isinstance(exposures, Unavailable):
        return exposures
    if not exposures:
        return Unavailable("no position is open")
    return panel if isinstance(panel, Unavailable) else _measured(panel, tuple(exposures))


def _measured(panel: Panel, exposures: tuple[Exposure, ...]) -> OpenBook | Unavailable:
    symbols = [exposure.key.symbol for exposure in exposures]
    missing = next((symbol for symbol in symbols if symbol not in panel.symbols), None)
    if missing is not None:
        return Unavailable(f"{missing}: {panel.excluded.get(missing, 'there are no candles')}")
    columns = [panel.symbols.index(symbol) for symbol in symbols]
    if len(panel) < FIT_HOURS * panel.hour_rows:
        return Unavailable(f"{len(panel)} candles in common, at least {FIT_HOURS * panel.hour_rows} are needed")
    volatility = _deviation(panel)[columns]
    if (volatility <= 0.0).any():
        return Unavailable(f"{exposures[int(np.argmin(volatility))].key.symbol}: the price did not move")
    distinct = sorted(set(columns))
    moves = _hourly(panel, distinct)
    shrunk, _ = constant_correlation(moves)
    place = [distinct.index(column) for column in columns]
    return OpenBook(
        exposures=exposures,
        columns=columns,
        panel=panel,
        weights=np.array([float(exposure.notional) for exposure in exposures]),
        volatility=volatility,
        correlation=shrunk[np.ix_(place, place)],
        hours=len(moves),
    )


def _deviation(panel: Panel) -> Floats:
    """Return each symbol's standard deviation of a day's log return, exponentially weighted."""
    warm = WARM_HOURS * panel.hour_rows
    recent = panel.tail(FIT_HOURS * panel.hour_rows)
    row = ewma_volatility(recent.returns, panel.interval_ms, min(warm, len(recent) - 1))[-1]
    result: Floats = row * sqrt(DAY_MS / panel.interval_ms)
    return result


def _hourly(panel: Panel, columns: list[int]) -> Floats:
    """Return hourly returns of the newest 30 days: over minutes, prices that lag each other look less correlated."""
    hour = panel.hour_rows
    count = min(len(panel) // hour, BASELINE_HOURS)
    recent = panel.returns[len(panel) - count * hour :, columns]
    result: Floats = recent.reshape(count, hour, len(columns)).sum(axis=1)
    return result


def portfolio_readings(book: OpenBook | Unavailable, asked: Measurement) -> list[Reading]:
    """Return correlation risk, heat and open risk."""
    equity = asked.account if isinstance(asked.account, Unavailable) else asked.account.equity
    if isinstance(asked.exposures, Unavailable):
        at_stops: Measured = asked.exposures
    elif not asked.exposures:
        at_stops = Unavailable("no position is open")
    else:
        at_stops = short(open_risk(asked.exposures, equity))
    if isinstance(book, Unavailable):
        correlation: Measured = book
        heat: Measured = book
        window = "30 d of hours"
    else:
        together = correlation_risk(book.weights, book.volatility, book.correlation)
        correlation = together if isinstance(together, Unavailable) else number(together)
        shares = risk_shares(book.weights, book.volatility, book.correlation)
        heat = shares if isinstance(shares, Unavailable) else number(portfolio_heat(shares))
        window = f"{book.hours} hours"
    count = Decimal(len(asked.exposures)) if not isinstance(asked.exposures, Unavailable) else asked.exposures
    return [
        Reading("correlation", correlation, asked.told_source, window, asked.age_ms, {"positions": count}),
        Reading("heat", heat, asked.told_source, window, asked.age_ms, {"open_risk": at_stops}),
        Reading("open_risk", at_stops, "resting stops", "now", 0),
    ]


def tail_readings(book: OpenBook | Unavailable, asked: Measurement) -> list[Reading]:
    """Return value at risk and expected shortfall as shares of equity, with the money among their parts."""
    drawn = book if isinstance(book, Unavailable) else _drawn(book, asked.window_days)
    paid = book if isinstance(book, Unavailable) else _funding(book, asked.funding)
    equity = asked.account if isinstance(asked.account, Unavailable) else asked.account.equity
    if not isinstance(equity, Unavailable) and equity <= 0:
        equity = Unavailable(f"equity {equity} is not above zero")
    window = f"{asked.window_days} d" if isinstance(drawn, Unavailable) else f"{drawn.days} d, a day ahead"
    made = []
    for level in dict.fromkeys((CONTRACT_LEVEL, asked.level)):
        filtered = _tail(book, drawn, paid, level, filtered=True)
        plain = _tail(book, drawn, paid, level, filtered=False)
        percent = f"{(level * 100).normalize():f}"
        for name, attribute in (("var", "var"), ("es", "shortfall")):
            usd, historical = _part(filtered, attribute), _part(plain, attribute)
            parts = {
                "usd": usd,
                "historical": _share(historical, equity),
                "historical_usd": historical,
                "funding_usd": short(paid),
            }
            made.append(
                Reading(f"{name}_{percent}", _share(usd, equity), asked.told_source, window, asked.age_ms, parts)
            )
    return made


def _tail(
    book: OpenBook | Unavailable,
    drawn: Scenarios | Unavailable,
    paid: Measured,
    level: Decimal,
    *,
    filtered: bool,
) -> TailRisk | Unavailable:
    """Return the tail of the book's losses; funding that is not known is left out, and its part says so."""
    if isinstance(book, Unavailable):
        return book
    if isinstance(drawn, Unavailable):
        return drawn
    cost = 0.0 if isinstance(paid, Unavailable) else float(paid)
    return tail_risk(book_losses(drawn.filtered if filtered else drawn.plain, book.weights, cost), float(level))


def _drawn(book: OpenBook, window_days: int) -> Scenarios | Unavailable:
    hour = book.panel.hour_rows
    recent = book.panel.tail((window_days * 24 + WARM_HOURS + 24) * hour)
    part = Panel(
        tuple(book.panel.symbols[column] for column in book.columns),
        recent.interval_ms,
        recent.at,
        recent.closes[:, book.columns],
        recent.returns[:, book.columns],
        recent.spans[:, book.columns],
        {},
    )
    return scenarios(day_returns(part), len(part) - 1, window_days * 24 * hour)


def _funding(book: OpenBook, rates: Mapping[str, Decimal] | Unavailable) -> Measured:
    """Return what the book pays over a day at present rates, in money; negative where it receives."""
    if isinstance(rates, Unavailable):
        return rates
    missing = [exposure.key.symbol for exposure in book.exposures if exposure.key.symbol not in rates]
    if missing:
        return Unavailable(f"no funding rate of {missing[0]}")
    return sum((exposure.notional * rates[exposure.key.symbol] for exposure in book.exposures), Decimal(0))


def _part(tail: TailRisk | Unavailable, attribute: str) -> Measured:
    return tail if isinstance(tail, Unavailable) else number(getattr(tail, attribute))


def _share(money: Measured, equity: Measured) -> Measured:
    if isinstance(money, Unavailable):
        return money
    return equity if isinstance(equity, Unavailable) else number(float(money / equity))


def position_risks(
    panel: Panel | Unavailable, book: OpenBook | Unavailable, exposures: Sequence[Exposure] | Unavailable
) -> tuple[PositionRisk, ...]:
    """Return each position against its stop and liquidation; none where the positions are not known."""
    if isinstance(exposures, Unavailable):
        return ()
    shares = book if isinstance(book, Unavailable) else risk_shares(book.weights, book.volatility, book.correlation)
    volatilities = _volatilities(panel, [exposure.key.symbol for exposure in exposures])
    return tuple(
        _position(
            exposure,
            volatilities[exposure.key.symbol],
            shares if isinstance(shares, Unavailable) else number(float(shares[row])),
        )
        for row, exposure in enumerate(exposures)
    )


def _volatilities(panel: Panel | Unavailable, symbols: Sequence[str]) -> dict[str, Measured]:
    """Return the daily volatility of each symbol, as far as the candles show it."""
    if isinstance(panel, Unavailable):
        return dict.fromkeys(symbols, panel)
    if len(panel) <= WARM_HOURS * panel.hour_rows:
        return dict.fromkeys(symbols, Unavailable(f"{len(panel)} candles are too few"))
    found: dict[str, Measured] = {}
    values = _deviation(panel)
    for symbol in symbols:
        column = panel.column(symbol)
        if column is None:
            found[symbol] = Unavailable(panel.excluded.get(symbol, "there are no candles"))
        else:
            moved = float(values[column]) > 0.0
            found[symbol] = number(values[column]) if moved else Unavailable("the price did not move")
    return found


def _position(exposure: Exposure, volatility: Measured, share: Measured) -> PositionRisk:
    stop_sigmas: Measured = Unavailable("no stop rests")
    touching: Measured = Unavailable("no stop rests")
    if exposure.stop is not None:
        stop_sigmas = _sigmas(exposure, exposure.stop, volatility)
        ratio = volatility if isinstance(volatility, Unavailable) else Ratio(volatility)
        touching = touch_probability(exposure.mark, exposure.stop, ratio, _DAY_MINUTES)
        if exposure.key.side.sign * (exposure.mark - exposure.stop) <= 0:
            touching = Decimal(1)
    liquidation: Measured = Unavailable("the exchange gives no liquidation price")
    if exposure.liquidation is not None:
        liquidation = _sigmas(exposure, exposure.liquidation, volatility)
    return PositionRisk(
        key=exposure.key,
        notional=abs(exposure.notional),
        volatility=volatility,
        stop=exposure.stop,
        stop_sigmas=stop_sigmas,
        touch=touching,
        liquidation=exposure.liquidation,
        liquidation_sigmas=liquidation,
        component=share,
    )


def _sigmas(exposure: Exposure, level: Price, volatility: Measured) -> Measured:
    """Return the way from the mark to a level against the position, in daily deviations of log price."""
    if isinstance(volatility, Unavailable):
        return volatility
    return number(float(exposure.key.side.sign * (exposure.mark / level).ln() / volatility))
