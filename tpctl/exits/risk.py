"""Decides how measured risk scales take-profits and stops (exit-rules 11).

It measures nothing. A reading that is unavailable skips its factor with a reason and never counts as calm. It only
shapes plans: no risk reading may block, delay or shrink a reduce.
"""

from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.instrument import Unavailable
from tpctl.exits.ladder import signed_percent
from tpctl.exits.model import Reason, RiskReadings
from tpctl.exits.rules import RiskRules
from tpctl.exits.units import ONE, trimmed

_STAGE = "risk"
_Reading = Decimal | Unavailable


@dataclass(frozen=True, slots=True)
class RiskEffect:
    """What risk does to a plan: multipliers on take-profit and stop distances, and whether exits should tighten.

    `reasons` explain the take-profit factor, `stop_reasons` the stop factor.
    """

    tp_factor: Decimal
    stop_factor: Decimal
    tighten: bool
    reasons: tuple[Reason, ...]
    stop_reasons: tuple[Reason, ...]


def risk_effect(readings: RiskReadings | Unavailable, rules: RiskRules) -> RiskEffect:
    """Return the whole effect of the readings; without any reading it is none, with a reason."""
    factor, reasons = tp_factor(readings, rules)
    widened, stop_reasons = stop_factor(readings, rules)
    return RiskEffect(factor, widened, tighten(readings, rules), reasons, stop_reasons)


def tp_factor(readings: RiskReadings | Unavailable, rules: RiskRules) -> tuple[Decimal, tuple[Reason, ...]]:
    """Return the multiplier on take-profit distances, clamped, and a reason for each part of it."""
    if isinstance(readings, Unavailable):
        return ONE, (_skipped("risk", readings),)
    factor, reasons = ONE, []
    for name, reading, bands in (
        (
            "ESS",
            readings.ess,
            ((rules.ess_severe, rules.ess_severe_factor), (rules.ess_high, rules.ess_high_factor)),
        ),
        (
            "systemic risk",
            readings.systemic,
            (
                (rules.systemic_severe, rules.systemic_severe_factor),
                (rules.systemic_high, rules.systemic_high_factor),
            ),
        ),
        ("correlation", readings.correlation, ((rules.correlation_high, rules.correlation_factor),)),
        ("portfolio heat", readings.heat, ((rules.heat_high, rules.heat_factor),)),
    ):
        if isinstance(reading, Unavailable):
            reasons.append(_skipped(name, reading))
            continue
        part = next((part for threshold, part in bands if reading > threshold), None)
        if part is not None:
            reasons.append(_fired(name, reading, factor, part))
            factor *= part
    if _calm(readings, rules):
        text = f"Calm market → {signed_percent(rules.calm_factor)} TP distance"
        reasons.append(Reason(_STAGE, "calm", text, trimmed(factor, 4), trimmed(factor * rules.calm_factor, 4)))
        factor *= rules.calm_factor
    clamped = min(max(factor, rules.min_factor), rules.max_factor)
    if clamped != factor:
        text = f"risk factor clamped to {trimmed(rules.min_factor)} to {trimmed(rules.max_factor)}"
        reasons.append(Reason(_STAGE, "risk_clamped", text, trimmed(factor, 4), trimmed(clamped, 4)))
    return clamped, tuple(reasons)


def stop_factor(readings: RiskReadings | Unavailable, rules: RiskRules) -> tuple[Decimal, tuple[Reason, ...]]:
    """Return the multiplier on the stop distance of a plan that is not placed yet; never for a stop that rests."""
    systemic = readings if isinstance(readings, Unavailable) else readings.systemic
    if isinstance(systemic, Unavailable):
        text = f"systemic risk unavailable ({systemic.reason}): factor skipped"
        return ONE, (Reason("stop", "systemic_unavailable", text),)
    if systemic <= rules.systemic_severe:
        return ONE, ()
    text = f"High systemic risk ({trimmed(systemic, 3)}) → {signed_percent(rules.stop_factor)} stop distance"
    return rules.stop_factor, (Reason("stop", "systemic_stop", text),)


def tighten(readings: RiskReadings | Unavailable, rules: RiskRules) -> bool:
    """Whether any measured reading asks for tighter exits; an unavailable one never does."""
    if isinstance(readings, Unavailable):
        return False
    return (
        _above(readings.ess, rules.ess_high)
        or _above(readings.systemic, rules.systemic_high)
        or _above(readings.heat, rules.heat_high)
    )


def _calm(readings: RiskReadings, rules: RiskRules) -> bool:
    return (
        _below(readings.ess, rules.calm_ess)
        and _below(readings.systemic, rules.calm_systemic)
        and _below(readings.correlation, rules.calm_correlation)
    )


def _above(reading: _Reading, threshold: Decimal) -> bool:
    return not isinstance(reading, Unavailable) and reading > threshold


def _below(reading: _Reading, threshold: Decimal) -> bool:
    return not isinstance(reading, Unavailable) and reading < threshold


def _skipped(name: str, missing: Unavailable) -> Reason:
    code = f"{name.lower().replace(' ', '_')}_unavailable"
    return Reason(_STAGE, code, f"{name} unavailable ({missing.reason}): factor skipped")


def _fired(name: str, reading: Decimal, factor: Decimal, part: Decimal) -> Reason:
    text = f"High {name} ({trimmed(reading, 3)}) → {signed_percent(part)} TP distance"
    code = f"high_{name.lower().replace(' ', '_')}"
    return Reason(_STAGE, code, text, trimmed(factor, 4), trimmed(factor * part, 4))
