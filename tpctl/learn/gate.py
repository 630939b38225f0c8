"""The gate: whether the evidence on a candidate is good enough to trust it with exits (learning 8).

Pure: evidence in, verdict out. All checks must hold, each is told with its value and its limit, and one that could not
be made fails. Nothing here trains, reads or writes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.overfitting import deflate
from tpctl.learn.resample import by_day, mean_interval
from tpctl.market.evaluation import Check, Judgement, Overfitting, Verdict

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GateRules:
    """The limits of learning 8. Shares are fractions, `least_gain` and bounds are in R."""

    positions: int = 300
    days: int = 60
    least_gain: float = 0.02
    cvar_slack: float = 0.05
    drawdown_slack: float = 0.10
    folds_share: float = 0.60
    regimes_share: float = 0.75
    overfitting: float = 0.20
    sharpe: float = 0.95
    seeds_share: float = 0.80


@dataclass(frozen=True, slots=True)
class Evidence:
    """What walk-forward evaluation found out of sample, candidate against incumbent on the same positions.

    `at` (n) is the entry in ms UTC, `gain` (n) the difference in net R, `fold` (n) the fold and `regime` (n) the slice
    of each; `incumbent_cvar`, `candidate_cvar`, `..._drawdown` in R. `stressed_gain` is the mean difference at twice
    the costs; None where it was not measured. `seed_gains` is the mean difference of each seed. `trial_sharpes` are the
    daily Sharpe ratios of every configuration tried, `unmeasured` how many more were. `violations` counts what the
    shield had to refuse in `shielded` simulated positions. `horizon_days` is the longest holding. `known_answers` and
    `reproducible` say whether those checks were made and held; None where they were not made.
    """

    at: Times
    gain: Floats
    fold: NDArray[np.int64]
    regime: NDArray[np.int64]
    incumbent_cvar: float
    candidate_cvar: float
    incumbent_drawdown: float
    candidate_drawdown: float
    stressed_gain: float | None
    seed_gains: tuple[float, ...]
    trial_sharpes: tuple[float, ...]
    overfitting: Overfitting | None
    violations: int
    shielded: int
    horizon_days: float = 1.0
    unmeasured: int = 0
    known_answers: bool | None = None
    reproducible: bool | None = None


def judge(evidence: Evidence, rules: GateRules | None = None) -> Judgement:
    """Return the verdict on a candidate."""
    rules = rules or GateRules()
    if not len(evidence.gain):
        return Judgement(Verdict.REFUSED, (_check("test positions", 0.0, f">= {rules.positions}", ok=False),))
    daily = by_day(evidence.at, evidence.gain)
    interval = mean_interval(daily, least_block=evidence.horizon_days)
    checks = (
        _flag("known answers", evidence.known_answers),
        _least("test positions", len(evidence.gain), rules.positions),
        _least("test days", daily.active_days, rules.days),
        _check("lower bound of the gain", interval.lower_bound, "> 0", ok=interval.lower_bound > 0.0),
        _least("mean gain", interval.mean, rules.least_gain),
        _risk("CVaR 5 %", -evidence.candidate_cvar, -evidence.incumbent_cvar, rules.cvar_slack),
        _risk("max drawdown", evidence.candidate_drawdown, evidence.incumbent_drawdown, rules.drawdown_slack),
        _least("folds that gain", _share_positive(evidence.fold, evidence.gain), rules.folds_share),
        _least("regimes that gain", _share_positive(evidence.regime, evidence.gain), rules.regimes_share),
        _least("gain at twice the costs", evidence.stressed_gain, 0.0),
        _overfitting(evidence.overfitting, rules),
        _least("deflated Sharpe", _deflated(daily.sums, evidence), rules.sharpe),
        _least("seeds that gain", _share(evidence.seed_gains), rules.seeds_share),
        _shield(evidence),
        _flag("reproducible", evidence.reproducible),
    )
    passed = all(one.ok for one in checks)
    return Judgement(Verdict.PASSED if passed else Verdict.REFUSED, checks, interval)


def _check(name: str, value: float | None, limit: str, *, ok: bool) -> Check:
    return Check(name, ok, None if value is None else float(value), limit)


def _least(name: str, value: float | None, limit: float) -> Check:
    return _check(name, value, f">= {limit:g}", ok=value is not None and value >= limit)


def _flag(name: str, held: bool | None) -> Check:
    return _check(name, None if held is None else float(held), "1 (made, and held)", ok=held is True)


def _risk(name: str, candidate: float, incumbent: float, slack: float) -> Check:
    """Losses above zero: the candidate's may exceed the incumbent's by the slack."""
    limit = incumbent + slack * abs(incumbent)
    return _check(name, candidate, f"<= {limit:.4g} (incumbent {incumbent:.4g})", ok=candidate <= limit)


def _overfitting(found: Overfitting | None, rules: GateRules) -> Check:
    value = None if found is None else found.probability
    return _check(
        "overfitting (PBO)", value, f"<= {rules.overfitting:g}", ok=value is not None and value <= rules.overfitting
    )


def _shield(evidence: Evidence) -> Check:
    limit = "0 in 10000 positions or more"
    return _check(
        "shield violations", evidence.violations, limit, ok=evidence.violations == 0 and evidence.shielded >= 10_000
    )


def _share(values: tuple[float, ...]) -> float | None:
    return float(np.mean([value > 0.0 for value in values])) if values else None


def _share_positive(groups: NDArray[np.int64], gain: Floats) -> float:
    names, places = np.unique(groups, return_inverse=True)
    sums = np.bincount(places, weights=gain, minlength=len(names))
    return float((sums > 0.0).mean())


def _deflated(daily: Floats, evidence: Evidence) -> float | None:
    """Return the deflated Sharpe ratio of the daily gains over all configurations that were tried."""
    if not evidence.trial_sharpes:
        return None
    return deflate(daily, evidence.trial_sharpes, evidence.unmeasured).probability
