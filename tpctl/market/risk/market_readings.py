"""The readings of the market: stress and systemic risk at the newest candle, with their parts."""

from decimal import Decimal

import numpy as np

from tpctl.exits.instrument import Unavailable
from tpctl.market.risk.account import Account, account_stress
from tpctl.market.risk.course import BASELINE_HOURS, FIT_HOURS, LONG_SAMPLES, market_course
from tpctl.market.risk.measurement import Measurement
from tpctl.market.risk.prices import Panel
from tpctl.market.risk.readings import Measured, Reading, number, short
from tpctl.market.risk.stress import MEASURES
from tpctl.market.risk.systemic import FEWEST_SYMBOLS


def market_readings(panel: Panel | Unavailable, asked: Measurement) -> list[Reading]:
    """Return the effective stress score and systemic risk."""
    course = panel if isinstance(panel, Unavailable) else market_course(panel, 1)
    flat = not isinstance(asked.exposures, Unavailable) and not asked.exposures
    account: Measured = Decimal(1) if flat else account_stress(asked.account)
    parts: dict[str, Measured] = {}
    systemic_parts: dict[str, Measured] = {}
    if isinstance(course, Unavailable) or isinstance(panel, Unavailable):
        market: Measured = course if isinstance(course, Unavailable) else Unavailable("no candles")
        systemic = market
    else:
        market = _known(course.stress[-1], _still(panel))
        parts = {name: _known(value, _still(panel)) for name, value in zip(MEASURES, course.ratios[-1], strict=True)}
        why = _unshifted(panel)
        systemic = _known(course.systemic[-1], why)
        systemic_parts = {
            "shift": _known(course.shift[-1], why),
            "turbulence_rank": _known(course.turbulence_rank[-1], why),
            "absorption": _known(course.absorption[-1], why),
            "falling": _known(course.falling[-1], why),
        }
    value: Measured
    if isinstance(market, Unavailable):
        value = market
    elif isinstance(account, Unavailable):
        value = Unavailable(f"the account part: {account.reason}")
    else:
        value = number(float(market * account))
    stress_parts: dict[str, Measured] = {"market": market, "account": short(account), **parts}
    if not flat and isinstance(asked.account, Account) and asked.account.equity > 0:
        stress_parts |= {
            "margin_utilisation": short(asked.account.margin_utilisation),
            "drawdown": short(asked.account.drawdown),
            "exposure": short(asked.account.exposure),
        }
    days = BASELINE_HOURS // 24
    return [
        Reading("ess", value, asked.told_source, f"against the median of {days} d", asked.age_ms, stress_parts),
        Reading(
            "systemic",
            systemic,
            asked.told_source,
            f"{FIT_HOURS // 24} d correlations, shift over {LONG_SAMPLES} h, turbulence ranked in {days} d",
            asked.age_ms,
            systemic_parts,
        ),
    ]


def _still(panel: Panel) -> str:
    return f"the market stood still, or {len(panel)} candles are too few"


def _unshifted(panel: Panel) -> str:
    if len(panel.symbols) < FEWEST_SYMBOLS:
        return f"{len(panel.symbols)} symbols, at least {FEWEST_SYMBOLS} are needed"
    return f"{len(panel)} candles are too few, or correlations did not move"


def _known(value: float, reason: str) -> Measured:
    return number(value) if np.isfinite(value) else Unavailable(reason)
