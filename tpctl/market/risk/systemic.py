"""How far the market moves as one, and how unusual its moves are.

Sources: Kritzman, Li, Page and Rigobon, "Principal components as a measure of systemic risk" (2010), for the absorption
ratio and its standardised shift; Kritzman and Li, "Skulls, financial turbulence, and risk management", Financial
Analysts Journal 66 (2010), for turbulence; learning 9 for their combination.
"""

from math import erf, sqrt

import numpy as np

from tpctl.market.risk.covariance import ledoit_wolf
from tpctl.market.risk.prices import Floats

# With fewer there is no structure to absorb anything.
FEWEST_SYMBOLS = 3
# The mean of 15 overlapping ratios against that of 252 moves more than a normal variate: on 2022 to 2025 its standard
# deviation is 1.4. Dividing it by 2 makes the combined reading exceed 0.8 about 5 % of the time, as learning 9 asks.
SHIFT_SCALE = 2.0


def absorption_ratio(correlations: Floats) -> Floats:
    """Return the share of variance in the top ceil(n / 5) eigenvectors, for each of a stack of matrices.

    On correlations, so that one wild contract is not the market. Between k / n (independent) and 1 (one factor).
    """
    size = correlations.shape[-1]
    count = -(-size // 5)
    values = np.linalg.eigvalsh(correlations)
    ratio: Floats = values[..., -count:].sum(axis=-1) / np.maximum(values.sum(axis=-1), 1e-300)
    return ratio


def turbulence(returns: Floats, mean: Floats, covariance: Floats) -> Floats:
    """Return (r - m)' S^-1 (r - m) / n for each row: 1 on average where the mean and covariance are right."""
    centred = returns - mean
    result: Floats = np.einsum("ij,ij->i", centred @ np.linalg.inv(covariance), centred) / returns.shape[1]
    return result


def standardised_turbulence(returns: Floats, history: Floats) -> tuple[Floats, float]:
    """Return the turbulence of `returns` against `history`, and how far its covariance was shrunk.

    Both are divided by the standard deviations of the history first, so that shrinking to the identity treats every
    symbol alike. A symbol that stood still through the history adds nothing.
    """
    mean, deviation = history.mean(axis=0), history.std(axis=0)
    moving = deviation > 0.0
    scale = np.where(moving, 1.0 / np.where(moving, deviation, 1.0), 0.0)
    covariance, intensity = ledoit_wolf((history - mean) * scale)
    np.fill_diagonal(covariance, np.where(moving, np.diag(covariance), 1.0))
    # Copies of one another that shrinking left singular are kept apart by the smallest variance that matters.
    covariance += 1e-9 * np.eye(len(covariance))
    return turbulence((returns - mean) * scale, np.zeros_like(mean), covariance), intensity


def normal_cdf(value: float) -> float:
    """Return the standard normal distribution function."""
    return 0.5 * (1.0 + erf(value / sqrt(2.0)))


def systemic_risk(shift: float, turbulence_rank: float) -> float:
    """Return half the normal probability of the scaled shift plus half the turbulence rank: 0 to 1, typically 0.5."""
    return 0.5 * normal_cdf(shift / SHIFT_SCALE) + 0.5 * turbulence_rank
