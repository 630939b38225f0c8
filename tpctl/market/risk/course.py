"""Market stress and systemic risk over time: one computation for the newest candle and for years of them.

Decides the windows. Time is counted in hours of candles; a sample is the newest row of each clock hour, so that the
last one is the newest candle. All windows end at their sample and have a length of their own, so that a value does not
depend on how much history was loaded, nor on anything after it:

- turbulence is measured against the mean and shrunk covariance of the 14 days of rows before the sample's UTC day;
- medians and ranks are over 30 days of samples, at least 14;
- the absorption ratio is that of an exponentially weighted correlation matrix over 14 days, half-life 7, shrunk by the
  intensity found for its day; its shift compares the mean of 15 samples with the mean and deviation of 252.

The publications count days where learning 9 counts hourly bars, and so does this.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from tpctl.exits.instrument import Unavailable
from tpctl.market.bars import DAY_MS, HOUR_MS
from tpctl.market.risk.covariance import ewma_volatility
from tpctl.market.risk.prices import Floats, Panel, Times
from tpctl.market.risk.stress import MEASURES, SHORTFALL_SHARE, market_stress, stress_ratios, tail_mean
from tpctl.market.risk.systemic import (
    FEWEST_SYMBOLS,
    absorption_ratio,
    standardised_turbulence,
    systemic_risk,
)

FIT_HOURS = 14 * 24
HALF_LIFE_HOURS = 7 * 24
BASELINE_HOURS = 30 * 24
LEAST_BASELINE_HOURS = 14 * 24
SHORT_SAMPLES, LONG_SAMPLES = 15, 252
SMOOTH_HOURS = 4
SHORTFALL_HOURS = 24
WARM_HOURS = 48
# The most a reading looks back: a full fit before the first full baseline, and the day the fit is aligned to.
LOOKBACK_HOURS = FIT_HOURS + BASELINE_HOURS + 24

_CHUNK = 1024

Rows: TypeAlias = npt.NDArray[np.intp]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Samples of the market's state, oldest first; NaN where there was too little history.

    `at` is when the sample's newest candle closed. `ratios` are those of `stress.MEASURES`, of shape (samples, 4).
    """

    at: Times
    stress: Floats
    ratios: Floats
    systemic: Floats
    shift: Floats
    turbulence_rank: Floats
    absorption: Floats
    falling: Floats


def market_course(panel: Panel, samples: int | None = None) -> Course | Unavailable:
    """Return the newest `samples` (all where None); unavailable where even the newest lacks history."""
    if samples is not None:
        panel = panel.tail((LOOKBACK_HOURS + samples) * panel.hour_rows)
    need = (FIT_HOURS + LEAST_BASELINE_HOURS) * panel.hour_rows
    if len(panel) < need:
        return Unavailable(f"{len(panel)} candles in common, at least {need} are needed")
    if panel.at[-1] - panel.at[-need] > 2 * need * panel.interval_ms:
        return Unavailable("gaps in the candles leave too few of the last weeks")
    opened = panel.at - panel.interval_ms
    last = np.flatnonzero(np.r_[np.diff(opened // HOUR_MS) != 0, True])
    wanted = len(last) if samples is None else min(samples, len(last))
    disturbance, intensity = _turbulence(panel, opened // DAY_MS)
    measures = _measures(panel, disturbance, last)
    baseline = _baseline(measures, wanted)
    shown = measures[-wanted:]
    absorption, shift = _absorption(panel, last, intensity[last], wanted)
    rank = _rank(measures[:, MEASURES.index("turbulence")], wanted)
    return Course(
        at=panel.at[last][-wanted:],
        stress=market_stress(shown, baseline),
        ratios=stress_ratios(shown, baseline),
        systemic=np.array([systemic_risk(a, b) for a, b in zip(shift, rank, strict=True)]),
        shift=shift,
        turbulence_rank=rank,
        absorption=absorption,
        falling=_falling(panel, last[-wanted:]),
    )


def _turbulence(panel: Panel, days: Times) -> tuple[Floats, Floats]:
    """Return the turbulence of each row and the shrinkage of its day, NaN before the first fit."""
    fit = FIT_HOURS * panel.hour_rows
    result = np.full(len(panel), np.nan)
    intensity = np.full(len(panel), np.nan)
    starts = np.flatnonzero(np.r_[True, days[1:] != days[:-1]])
    for start, end in zip(starts, np.r_[starts[1:], len(days)], strict=True):
        if start >= fit:
            part = slice(start, end)
            result[part], intensity[part] = standardised_turbulence(
                panel.returns[part], panel.returns[start - fit : start]
            )
    return result, intensity


def _measures(panel: Panel, disturbance: Floats, last: Rows) -> Floats:
    """Return the four measures of stress at the samples."""
    hour = panel.hour_rows
    volatility = ewma_volatility(panel.returns, panel.interval_ms, WARM_HOURS * hour).mean(axis=1)
    losses = _windows(-panel.returns.mean(axis=1), SHORTFALL_HOURS * hour, last)
    return np.column_stack(
        (
            volatility[last],
            np.sqrt(_windows(disturbance, SMOOTH_HOURS * hour, last).mean(axis=1)),
            np.maximum(tail_mean(losses, SHORTFALL_SHARE), 0.0),
            _windows(panel.spans.mean(axis=1), hour, last).mean(axis=1),
        )
    )


def _windows(values: Floats, length: int, ends: Rows) -> Floats:
    """Return the `length` values up to each of `ends`, NaN where there are not as many before it."""
    padded = np.r_[np.full(length - 1, np.nan), values]
    windows: Floats = sliding_window_view(padded, length)[ends]
    return windows


def _falling(panel: Panel, last: Rows) -> Floats:
    """Return the share of symbols that close below where they closed a day of rows before."""
    day = SHORTFALL_HOURS * panel.hour_rows
    falling = np.full(len(last), np.nan)
    full = last >= day
    falling[full] = (panel.closes[last[full]] < panel.closes[last[full] - day]).mean(axis=1)
    return falling


def _baseline(measures: Floats, wanted: int) -> Floats:
    """Return the trailing median of the samples' measures; NaN where there are too few, or nothing moved."""
    known = np.asarray(np.isfinite(measures).all(axis=1))
    result = np.full((wanted, measures.shape[1]), np.nan)
    for rows, windows in _trailing(measures, known, wanted):
        medians = np.median(windows, axis=-1)
        result[rows] = np.where(medians > 0.0, medians, np.nan)
    return result


def _rank(values: Floats, wanted: int) -> Floats:
    """Return the share of the trailing samples that are not above the newest of them."""
    result = np.full(wanted, np.nan)
    for rows, windows in _trailing(values[:, None], np.asarray(np.isfinite(values)), wanted):
        result[rows] = (windows[:, 0, :] <= windows[:, 0, -1:]).mean(axis=-1)
    return result


def _trailing(values: Floats, known: Flags, wanted: int) -> Iterator[tuple[slice, Floats]]:
    """Yield the trailing windows of the newest `wanted` samples: where they belong, and (samples, columns, window)."""
    first = int(np.argmax(known)) if known.any() else len(values)
    offset = len(values) - wanted
    index = max(offset, first + LEAST_BASELINE_HOURS - 1)
    while index < len(values):
        length = min(BASELINE_HOURS, index - first + 1)
        # While the window still grows, every sample has one of its own length.
        count = 1 if length < BASELINE_HOURS else min(_CHUNK, len(values) - index)
        block = values[index - length + 1 : index + count]
        yield slice(index - offset, index - offset + count), sliding_window_view(block, length, axis=0)
        index += count


def _absorption(panel: Panel, last: Rows, intensity: Floats, wanted: int) -> tuple[Floats, Floats]:
    """Return absorption ratio and shift at the newest `wanted` samples."""
    missing = np.full(wanted, np.nan)
    if len(panel.symbols) < FEWEST_SYMBOLS:
        return missing, missing
    begins = np.r_[0, last[:-1] + 1]
    shown = max(0, len(last) - wanted - LONG_SAMPLES + 1)
    warming = max(0, shown - FIT_HOURS + 1)
    ratios = np.full(len(last), np.nan)
    stack: list[Floats] = []
    matrices = _weighted(panel.returns, begins[warming:], last[warming:])
    for index, matrix in enumerate(matrices, start=warming):
        if index >= max(shown, FIT_HOURS - 1):
            stack.append(_correlation(matrix, intensity[index]))
        if len(stack) == _CHUNK or (stack and index == len(last) - 1):
            ratios[index - len(stack) + 1 : index + 1] = absorption_ratio(np.stack(stack))
            stack.clear()
    ratios[np.isnan(intensity)] = np.nan
    long = _windows(ratios, LONG_SAMPLES, np.arange(len(ratios) - wanted, len(ratios)))
    deviation = long.std(axis=1, ddof=1)
    shift = (long[:, -SHORT_SAMPLES:].mean(axis=1) - long.mean(axis=1)) / np.where(deviation > 0.0, deviation, np.nan)
    return ratios[-wanted:], shift


def _weighted(returns: Floats, begins: Rows, last: Rows) -> Iterator[Floats]:
    """Yield at each sample the exponentially weighted second moments of the last 14 days of hours."""
    decay = 0.5 ** (1.0 / HALF_LIFE_HOURS)
    leaving = decay**FIT_HOURS
    blocks: deque[Floats] = deque(maxlen=FIT_HOURS)
    total = np.zeros((returns.shape[1], returns.shape[1]))
    for begin, end in zip(begins, last, strict=True):
        part = returns[begin : end + 1]
        block = part.T @ part
        total = decay * total + block
        if len(blocks) == FIT_HOURS:
            total -= leaving * blocks[0]
        blocks.append(block)
        yield total


def _correlation(moments: Floats, intensity: float) -> Floats:
    """Return second moments as correlations, shrunk to the identity."""
    variance = np.diag(moments)
    moving = variance > 0.0
    scale = np.where(moving, 1.0 / np.sqrt(np.where(moving, variance, 1.0)), 0.0)
    kept = 0.0 if np.isnan(intensity) else 1.0 - intensity
    result: Floats = kept * moments * scale[:, None] * scale[None, :]
    np.fill_diagonal(result, 1.0)
    return result
