"""Value at risk and expected shortfall of a book over a day.

Filtered historical simulation (Hull and White 1998; Barone-Adesi, Giannopoulos and Vosper 1999): every day of the
window, one starting at each candle, is divided by the volatility known when it began and multiplied by today's:

    loss_s = - sum_i w_i (exp(z_i,s · s_i,now) - 1) + funding,   z_i,s = R_i,s / s_i,s
    VaR = quantile(loss, level),   ES = mean of the losses at or beyond it

R is the log return of the day, close to close, so that gaps and halts of up to a day are in it; s the EWMA volatility
of a candle (decay 0.97 an hour). Plain historical simulation leaves out both scalings. Scenarios keep all positions
of one moment together, and so the dependence between them. Funding is what the book pays over the day at the present
rates; it shifts every scenario alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tpctl.exits.instrument import Unavailable
from tpctl.market.bars import DAY_MS
from tpctl.market.risk.course import WARM_HOURS
from tpctl.market.risk.covariance import ewma_volatility
from tpctl.market.risk.prices import Floats, Panel, Times

HORIZON_HOURS = 24
# On 2022 to 2025, 90 days keep the exceedances of a day within Kupiec's band; with less there are too few tails.
WINDOW_DAYS = 90
LEAST_DAYS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Scenarios:
    """Days a book may live through: simple returns of shape (scenarios, symbols), filtered and plain.

    They overlap: one begins at each candle of `days` days.
    """

    filtered: Floats
    plain: Floats
    days: int


@dataclass(frozen=True, slots=True)
class TailRisk:
    """Value at risk and expected shortfall, in money."""

    var: float
    shortfall: float


def tail_risk(losses: Floats, level: float) -> TailRisk:
    """Return the quantile of the losses, and the mean of those at or beyond it."""
    var = float(np.quantile(losses, level))
    return TailRisk(var, float(losses[losses >= var].mean()))


@dataclass(frozen=True, slots=True, eq=False)
class DayReturns:
    """What scenarios are drawn from: at row s the log return of the day that begins there, and the volatility known.

    `returns` is NaN where the day is not over; `volatility` is that of one row.
    """

    returns: Floats
    volatility: Floats
    rows: int


def day_returns(panel: Panel) -> DayReturns:
    """Return the days that begin at each row, as far as the panel shows them; a day across missing weeks is none."""
    rows = HORIZON_HOURS * panel.hour_rows
    returns = np.full_like(panel.returns, np.nan)
    if len(panel) > rows:
        logs = np.log(panel.closes)
        returns[:-rows] = logs[rows:] - logs[:-rows]
        returns[:-rows][panel.at[rows:] - panel.at[:-rows] > 2 * DAY_MS] = np.nan
    return DayReturns(returns, ewma_volatility(panel.returns, panel.interval_ms, WARM_HOURS * panel.hour_rows), rows)


def scenarios(days: DayReturns, index: int, window: int) -> Scenarios | Unavailable:
    """Return the scenarios at row `index`: the days that were over by then and began in the `window` rows before it."""
    part = slice(max(0, index - window), index - days.rows + 1)
    returns, volatility = days.returns[part], days.volatility[part]
    known = np.isfinite(returns).all(axis=1) & (volatility > 0.0).all(axis=1)
    held = int(known.sum()) // days.rows
    if held < LEAST_DAYS:
        return Unavailable(f"{held} days of candles to draw from, at least {LEAST_DAYS} are needed")
    returns = returns[known]
    return Scenarios(np.expm1(returns / volatility[known] * days.volatility[index]), np.expm1(returns), held)


def book_losses(returns: Floats, weights: Floats, funding: float = 0.0) -> Floats:
    """Return the loss of a book of signed notionals in each scenario; `funding` is what it pays in all of them."""
    losses: Floats = funding - returns @ weights
    return losses


def funding_rows(panel: Panel, rates: Mapping[str, tuple[Times, Floats]]) -> Floats:
    """Return what a long paid at each row as a fraction of notional, from the times and rates of each symbol.

    A symbol without rates paid nothing as far as known.
    """
    paid = np.zeros_like(panel.returns)
    for column, symbol in enumerate(panel.symbols):
        if symbol in rates:
            times, values = rates[symbol]
            row = np.searchsorted(panel.at, times - times % panel.interval_ms)
            inside = (row < len(panel)) & (times >= panel.at[0])
            np.add.at(paid[:, column], row[inside], values[inside])
    return paid
