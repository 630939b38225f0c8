"""Estimates how likely a level is reached before the stop, and how soon, if price had no drift.

These are odds for a reader, never an input of a decision. The model: the logarithm of price is a Brownian motion
without drift whose standard deviation over a day is s. With a and b the log distances to target and stop,

    P(target before stop)             = b / (a + b)
    E[time | target before stop]      = (a² + 2ab) / (3s²)
    P(level at distance d within t)   = 2 · Φ(-d / (s√t)) = erfc(d / (s√(2t)))

The first needs no volatility; the others are unavailable without it.
"""

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import ONE, ZERO, Price, Ratio, trimmed

MODEL = "driftless log-price diffusion at the daily volatility"

_DAY_MINUTES = 1440
_PI = Decimal("3.14159265358979323846264338327950288419716939937510")
_PLACES = Decimal("1e-12")
# Beyond this argument erfc is below 1e-44, and so zero at the places kept.
_ERFC_ZERO = 10


@dataclass(frozen=True, slots=True)
class Odds:
    """Probability of reaching the target before the stop, and the minutes that takes when it does."""

    reach_before_stop: Decimal | Unavailable
    expected_minutes: Decimal | Unavailable
    model: str


def odds(price: Price, target: Price, stop: Price, volatility: Ratio | Unavailable) -> Odds:
    """Return the odds of `target` against `stop` from `price`; `volatility` is the daily standard deviation of returns.

    A target already reached has probability 1 and takes no time; at or through the stop the probability is 0 and the
    time, conditional on an impossible event, is unavailable. Both figures are rounded to 12 places. Raises
    `InputsError` for prices not above zero and for a target equal to the stop.
    """
    if min(price, target, stop) <= 0:
        raise InputsError("a price is not above zero", "give price, target and stop above zero")
    if target == stop:
        raise InputsError(f"target and stop are both '{trimmed(target)}'", "give a stop on the other side of the price")
    sign = 1 if target > stop else -1
    if sign * (price - stop) <= 0:
        return Odds(ZERO, Unavailable("the stop is reached"), MODEL)
    if sign * (target - price) <= 0:
        return Odds(ONE, ZERO, MODEL)
    with localcontext(Context(prec=34)):
        up, down = abs((target / price).ln()), abs((stop / price).ln())
        reach = (down / (up + down)).quantize(_PLACES)
        variance = _variance(volatility)
        if isinstance(variance, Unavailable):
            return Odds(reach, variance, MODEL)
        minutes = _DAY_MINUTES * up * (up + 2 * down) / (3 * variance)
        return Odds(reach, _rounded(minutes), MODEL)


def touch_probability(
    price: Price, level: Price, volatility: Ratio | Unavailable, horizon_minutes: Decimal
) -> Decimal | Unavailable:
    """Return the probability that price touches `level`, such as its stop, within the horizon, whatever else it does.

    Rounded to 12 places. Raises `InputsError` for prices not above zero and a horizon below zero.
    """
    if min(price, level) <= 0:
        raise InputsError("a price is not above zero", "give price and level above zero")
    if horizon_minutes < 0:
        raise InputsError(f"horizon '{trimmed(horizon_minutes)}' minutes is below zero", "give a horizon of 0 or more")
    if price == level:
        return ONE
    variance = _variance(volatility)
    if isinstance(variance, Unavailable):
        return variance
    if not horizon_minutes:
        return ZERO
    with localcontext(Context(prec=34)):
        distance = abs((level / price).ln())
        spread = (2 * variance * horizon_minutes / _DAY_MINUTES).sqrt()
        return _erfc(distance / spread)


def _variance(volatility: Ratio | Unavailable) -> Decimal | Unavailable:
    """Return the daily variance, or why there is none."""
    if isinstance(volatility, Unavailable):
        return Unavailable(f"volatility is unavailable: {volatility.reason}")
    if volatility.fraction <= 0:
        return Unavailable(f"volatility {volatility} is not above zero")
    return volatility.fraction**2


def _rounded(value: Decimal) -> Decimal:
    # A tiny volatility makes times of more digits than fit beside the places; such a value needs no places.
    return value.quantize(_PLACES) if value.adjusted() < 20 else value.to_integral_value()


def _erfc(x: Decimal) -> Decimal:
    """Return the complementary error function for x ≥ 0, to 12 places.

    erf(x) = 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms are positive, so nothing cancels.
    """
    if x >= _ERFC_ZERO:
        return ZERO
    with localcontext(Context(prec=50)):
        term = total = x
        divisor = 1
        while term > total.scaleb(-40):
            divisor += 2
            term = term * 2 * x * x / divisor
            total += term
        erf = 2 / _PI.sqrt() * (-x * x).exp() * total
        return (1 - erf).quantize(_PLACES)
