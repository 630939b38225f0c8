"""What the open positions have to do with one another: correlation risk and concentration.

Sources: learning 9; Euler decomposition of portfolio risk, Tasche, "Risk contributions and performance measurement"
(1999); the Herfindahl-Hirschman index normalised to 0 for equal shares and 1 for a single one.

Weights are signed notionals, one per position. Long and short in one contract are two that hedge each other exactly.
"""

import numpy as np

from tpctl.exits.instrument import Unavailable
from tpctl.market.risk.prices import Floats


def correlation_risk(weights: Floats, volatility: Floats, correlation: Floats) -> float | Unavailable:
    """Return clip[(s_p² / (sum |w_i| s_i)² - c) / (1 - c)], c = sum (w_i s_i)² / (sum |w_i| s_i)².

    The mean pairwise correlation of the signed exposures, weighted by risk: a hedged book has 0, copies on one side 1,
    equal weights of equal correlation exactly that correlation. One position correlates with nothing.
    """
    if len(weights) < 2:
        return Unavailable("one position has nothing to correlate with")
    risks = weights * volatility
    total = float(np.abs(risks).sum())
    if total <= 0.0:
        return Unavailable("the book has no risk")
    own = float((risks**2).sum()) / total**2
    if own >= 1.0 - 1e-12:
        return Unavailable("one position holds all of the risk")
    together = float(risks @ correlation @ risks) / total**2
    return min(max((together - own) / (1.0 - own), 0.0), 1.0)


def risk_shares(weights: Floats, volatility: Floats, correlation: Floats) -> Floats | Unavailable:
    """Return each position's share of the component VaR of those that add risk; one that hedges has 0.

    Component VaR_i = VaR · x_i (C x)_i / (x' C x) with x_i = w_i s_i: shares do not depend on the level.
    """
    risks = weights * volatility
    components = np.maximum(risks * (correlation @ risks), 0.0)
    total = float(components.sum())
    if total <= 1e-12 * float((risks**2).sum()):
        return Unavailable("the book is hedged: no position adds risk")
    shares: Floats = components / total
    return shares


def portfolio_heat(shares: Floats) -> float:
    """Return (HHI - 1/n) / (1 - 1/n) of the risk shares: 1 for one position, 0 for n that contribute alike."""
    count = len(shares)
    if count == 1:
        return 1.0
    return min(max((float((shares**2).sum()) - 1.0 / count) / (1.0 - 1.0 / count), 0.0), 1.0)
