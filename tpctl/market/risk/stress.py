"""The effective stress score: how hard the market moves against its own last month, times how exposed the account is.

Market part (learning 9): exp(sum w_k ln(m_k / median m_k)) with the medians over 30 days and each ratio held within
0.25 to 8. Its measures m_k, of the whole basket, all in units of return, so that a market that moves k times as much
scores k:

- volatility, weight 0.35: the mean over symbols of the EWMA standard deviation, decay 0.97 an hour;
- turbulence, 0.25: the square root of the mean turbulence of the last four hours;
- shortfall, 0.25: the mean loss of the equal-weight basket beyond the worst 2.5 % of the last 24 hours;
- range, 0.15: the mean true range of a candle over symbols and the last hour.

The account part is in `account`.
"""

import numpy as np

from tpctl.market.risk.prices import Floats

MEASURES = ("volatility", "turbulence", "shortfall", "range")
WEIGHTS = np.array([0.35, 0.25, 0.25, 0.15])
LOWEST_RATIO, HIGHEST_RATIO = 0.25, 8.0
SHORTFALL_SHARE = 0.025


def market_stress(measures: Floats, baseline: Floats) -> Floats:
    """Return the market part for rows of measures against rows of baselines; the last axis is the four measures."""
    scores: Floats = np.exp(np.log(stress_ratios(measures, baseline)) @ WEIGHTS)
    return scores


def stress_ratios(measures: Floats, baseline: Floats) -> Floats:
    """Return each measure over its baseline, held within its bounds."""
    ratios: Floats = np.clip(measures / baseline, LOWEST_RATIO, HIGHEST_RATIO)
    return ratios


def tail_mean(losses: Floats, share: float) -> Floats:
    """Return the mean of the largest `share` of each row of losses, the last of them by its fraction."""
    count = losses.shape[-1] * share
    whole = int(count)
    part = -np.partition(-losses, min(whole, losses.shape[-1] - 1), axis=-1)
    worst = -np.sort(-part[..., : whole + 1], axis=-1)
    total = worst[..., :whole].sum(axis=-1)
    if count > whole and whole < losses.shape[-1]:
        total = total + (count - whole) * worst[..., whole]
    result: Floats = total / count
    return result
