"""Volatility and covariance estimates.

Sources: RiskMetrics Technical Document (1996) for the decays; Ledoit and Wolf, "A well-conditioned estimator for
large-dimensional covariance matrices", J. Multivariate Analysis 88 (2004), for the shrinkage to the identity; Ledoit
and Wolf, "Honey, I shrunk the sample covariance matrix", J. Portfolio Management 30 (2004), for the one to constant
correlation.
"""

import numpy as np

from tpctl.market.bars import HOUR_MS
from tpctl.market.risk.prices import Floats

# RiskMetrics' form at the hourly memory of learning 9.
HOURLY_DECAY = 0.97
_BLOCK = 64


def decay_per_row(interval_ms: int) -> float:
    """Return the decay of a row: 0.97 an hour, whatever the length of a row."""
    return float(HOURLY_DECAY ** (interval_ms / HOUR_MS))


def ewma(values: Floats, decay: float, first: Floats) -> Floats:
    """Return v_t = decay v_(t-1) + (1 - decay) x_t for every row, v_(-1) being `first`.

    Done in blocks: within one, the recursion is a product with a triangular matrix of powers of the decay.
    """
    power = np.arange(_BLOCK)
    lag = power[:, None] - power[None, :]
    weights = np.where(lag >= 0, (1.0 - decay) * decay ** np.maximum(lag, 0), 0.0)
    fade = decay ** (power + 1.0)
    result = np.empty_like(values)
    carried = first
    for start in range(0, len(values), _BLOCK):
        part = values[start : start + _BLOCK]
        size = len(part)
        result[start : start + size] = weights[:size, :size] @ part + fade[:size, None] * carried
        carried = result[start + size - 1]
    return result


def ewma_volatility(returns: Floats, interval_ms: int, warm_rows: int) -> Floats:
    """Return the standard deviation of a row's return, exponentially weighted with mean zero (RiskMetrics).

    s²_t = 0.97 s²_(t-1) + 0.03 r²_t per hour, from the mean square of the first `warm_rows` on; those rows are NaN,
    so that no value rests on returns after it.
    """
    squares = returns**2
    result = np.full_like(returns, np.nan)
    if len(returns) > warm_rows > 0:
        first = squares[:warm_rows].mean(axis=0)
        result[warm_rows:] = np.sqrt(ewma(squares[warm_rows:], decay_per_row(interval_ms), first))
    return result


def ledoit_wolf(samples: Floats) -> tuple[Floats, float]:
    """Return the covariance of `samples` (rows are observations) shrunk to a multiple of the identity, and how far.

    S* = (1 - d) S + d m I with S the sample covariance (divided by T), m = tr S / n and d = min(b², a²) / a²,
    a² = ||S - m I||², b² = 1/T² sum ||x_t x_t' - S||² (Frobenius norms).
    """
    centred = samples - samples.mean(axis=0)
    return _shrunk(centred.T @ centred / len(centred), centred)


def _shrunk(sample: Floats, centred: Floats) -> tuple[Floats, float]:
    rows, size = centred.shape
    target = np.trace(sample) / size * np.eye(size)
    distance = float(((sample - target) ** 2).sum())
    fourth = float(((centred**2).sum(axis=1) ** 2).mean())
    error = (fourth - float((sample**2).sum())) / rows
    intensity = min(max(error, 0.0), distance) / distance if distance > 0.0 else 0.0
    return (1.0 - intensity) * sample + intensity * target, intensity


def constant_correlation(samples: Floats) -> tuple[Floats, float]:
    """Return the correlation of `samples` shrunk to its own mean correlation, and how far.

    The estimator of "Honey, I shrunk the sample covariance matrix", appendices A and B, as a correlation matrix.
    Exact copies stay at exactly 1: their mean correlation is their correlation, and shrinking changes nothing.
    A series without variance correlates with nothing.
    """
    rows, size = samples.shape
    centred = samples - samples.mean(axis=0)
    deviation = np.sqrt((centred**2).mean(axis=0))
    scaled = centred * np.where(deviation > 0.0, 1.0 / np.where(deviation > 0.0, deviation, 1.0), 0.0)
    sample = scaled.T @ scaled / rows
    np.fill_diagonal(sample, 1.0)
    if size == 1:
        return sample, 0.0
    mean = float((sample.sum() - size) / (size * (size - 1)))
    target = np.full((size, size), mean)
    np.fill_diagonal(target, 1.0)
    distance = float(((sample - target) ** 2).sum())
    squares = scaled**2
    pi_matrix = squares.T @ squares / rows - sample**2
    # On correlations all standard deviations are 1, which leaves of the paper's rho this.
    theta = (scaled**3).T @ scaled / rows - np.diag(sample)[:, None] * sample
    np.fill_diagonal(theta, 0.0)
    rho = float(np.trace(pi_matrix) + mean * theta.sum())
    if distance <= 1e-12 * size * size:
        return np.clip(sample, -1.0, 1.0), 0.0
    intensity = max(0.0, min(1.0, (float(pi_matrix.sum()) - rho) / distance / rows))
    return np.clip((1.0 - intensity) * sample + intensity * target, -1.0, 1.0), intensity
