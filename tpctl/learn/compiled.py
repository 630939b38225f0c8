"""Compiled twins of the simulator and of the search's fitness, in numba: the same float64, bit for bit.

The extra `compiled`. Nothing here decides anything that `replay` and `cem` do not; tests hold both equal. No fast math:
sums keep their order, and every position is played by one thread, so the number of threads changes nothing.
"""

# ruff: noqa: C901, PLR0912, PLR0915, PLR0917 - one position's whole life is one loop over plain numbers

from math import ceil, floor, inf

import numpy as np
from numba import njit, prange

from tpctl.learn.costs import Costs
from tpctl.learn.episodes import Episodes
from tpctl.learn.replay import (
    ASKED,
    CROSSED,
    HORIZON,
    STOPPED,
    SUCCESS,
    TARGETS,
    Flags,
    Floats,
    Outcomes,
    Whole,
)
from tpctl.learn.terms import UNIT, Terms
from tpctl.market.policy.features import GAP_CAP, MOVE_CAP, STEP_FEATURES
from tpctl.market.policy.model import Action, LearnedPolicy, Linear

_HOLD, _QUARTER, _HALF, _ALL, _TIGHTEN = (int(action) for action in Action)
_STEP_COUNT = len(STEP_FEATURES)
_FAR = -1e300


@njit(cache=True, parallel=True)
def mean_values(features: Floats, held: Flags, now: Floats, end: Floats, bias: Floats, weights: Floats) -> Floats:
    """Return the mean value of each rule; features (n, H, F), held and now (n, H), weights (candidates, F)."""
    count, horizon, width = features.shape
    found = np.empty(len(bias))
    for candidate in prange(len(bias)):
        total = 0.0
        for row in range(count):
            worth = end[row]
            for step in range(horizon):
                if not held[row, step]:
                    continue
                score = 0.0
                for feature in range(width):
                    score += weights[candidate, feature] * features[row, step, feature]
                if score + bias[candidate] > 0.0:
                    worth = now[row, step]
                    break
            total += worth
        found[candidate] = total / count
    return found


def replay_compiled(
    episodes: Episodes,
    terms: Terms,
    costs: Costs,
    policy: LearnedPolicy | None = None,
    *,
    zone: float,
    prices: Floats | None = None,
) -> Outcomes:
    """Play every position to its end, as `replay` does; a policy must be linear.

    `prices` is what `prices_of` returns, for who plays the same episodes again. Raises `ValueError` for a network.
    """
    body = None if policy is None else policy.body
    if body is not None and not isinstance(body, Linear):
        raise ValueError("the compiled simulator plays linear policies")
    scores = np.zeros((2, 1 + _STEP_COUNT))
    shares = np.zeros((0, 2))
    if body is not None:
        scores = np.array([[body.close.bias, *body.close.weights], [body.tighten.bias, *body.tighten.weights]])
        shares = np.array([[least, float(action)] for least, action in body.shares])
    count = len(episodes)
    paid = np.zeros((4, count))
    seen = np.zeros((3, count))
    told = np.zeros((4, count), dtype=np.int64)
    _play(
        prices_of(episodes) if prices is None else prices,
        episodes.side,
        episodes.funding if costs.funding and episodes.funding.any() else np.zeros((count, 0)),
        (episodes.drift_fast, episodes.drift_slow, episodes.swell, episodes.reach),
        costs.draw(episodes.started_at, episodes.symbol, episodes.symbols),
        (terms.entry, terms.stop, terms.quantity, terms.activation),
        (terms.targets, terms.sizes, terms.shares, terms.rungs),
        (terms.profits, terms.callbacks, terms.steps),
        (terms.min_change, terms.min_age_ms, terms.min_interval_ms),
        (episodes.interval_ms / 4, costs.latency, 0.0 if policy is None else policy.tighten_reach),
        body is not None,
        scores,
        shares,
        paid,
        seen,
        told,
    )
    cash, turnover, slipped, charged = paid
    peak, trough, exit_ms = seen
    exit_step, done, closes, reason = told
    size = np.abs(terms.entry)
    worth = terms.quantity * size
    risk, unit = worth * episodes.stop, size * episodes.stop
    fees = costs.fee_in * worth + costs.fee_out * turnover
    return Outcomes(
        r=(cash - fees - charged) / risk,
        gross=(cash + slipped) / risk,
        exit_step=exit_step,
        hit=cash + slipped >= SUCCESS * zone * worth,
        legs=done,
        closes=closes,
        mfe=(peak - terms.entry) / unit,
        mae=(trough - terms.entry) / unit,
        holding_ms=exit_ms.astype(np.int64),
        fees=fees / risk,
        funding=charged / risk,
        slippage=slipped / risk,
        reason=reason,
    )


def prices_of(episodes: Episodes) -> Floats:
    """Return the paths (n, H + 1, 4) as open, worst, best and close in mirrored whole ticks."""
    on_grid = episodes.side[:, None] / episodes.tick[:, None]
    up = episodes.side[:, None] > 0
    best, worst = np.where(up, episodes.high, episodes.low), np.where(up, episodes.low, episodes.high)
    return np.stack([np.rint(one * on_grid) for one in (episodes.open, worst, best, episodes.close)], axis=2)


@njit(cache=True, parallel=True)
def _play(
    prices: Floats,
    sides: Floats,
    funding: Floats,
    market: tuple[Floats, Floats, Floats, Floats],
    slippage: Floats,
    starts: tuple[Floats, Floats, Floats, Floats],
    ladder: tuple[Floats, Floats, Floats, Floats],
    trail: tuple[Floats, Floats, Floats],
    limits: tuple[float, float, float],
    pace: tuple[float, int, float],
    asks: bool,
    scores: Floats,
    shares: Floats,
    paid: Floats,
    seen: Floats,
    told: Whole,
) -> None:
    entries, first_stops, quantities, activations = starts
    all_targets, all_sizes, all_shares, all_rungs = ladder
    all_profits, all_callbacks, all_steps = trail
    min_change, min_age, min_interval = limits
    quarter, latency, tighten_reach = pace
    count, candles, _ = prices.shape
    horizon = candles - 1
    levels, rows = all_targets.shape[1], all_profits.shape[1]
    charging = funding.shape[1] > 0
    drift_fast, drift_slow, swell, ranges = market
    for i in prange(count):
        side, entry, stop, lots = sides[i], entries[i], first_stops[i], quantities[i]
        quantity, size = lots, abs(entry)
        # In prices rather than in gains, so that one comparison a candle tells whether the trail may act.
        activation = activations[i] * size
        slip_stop, slip_target, slip_market = slippage[0, i], slippage[1, i], slippage[2, i]
        sizes = np.empty(levels)
        for level in range(levels):
            sizes[level] = all_sizes[i, level]
        callback, step_behind = all_callbacks[i, 0], all_steps[i, 0]
        changed_at = -inf
        peak = trough = entry
        waiting = False
        done, closes, reason = 0, 0, 0
        target = all_targets[i, 0] if levels else inf
        cash = turnover = slipped = charged = 0.0
        exit_step, exit_ms = 0, 0.0
        asked, due, asked_stop = 0, -1, 0.0
        for step in range(candles):
            opening = prices[i, step, 0]
            base = step * 4 * quarter
            if step and charging and funding[i, step] != 0.0:
                charged += lots * abs(opening) * (funding[i, step] * side)
            worst, best = prices[i, step, 1], prices[i, step, 2]
            quiet = worst > stop and best < target and not waiting and due != step and 0 < step < horizon
            quiet = quiet and (best <= peak or (best - entry) * UNIT < activation)
            if quiet:
                # Most candles reach nothing: only the extremes are new.
                peak, trough = max(peak, best), min(trough, worst)
            # Four points: the open, the worst, the best, the close. Each may close the position.
            for point in range(0 if quiet else 4):
                at_ms = base + point * quarter
                price = prices[i, step, point]
                leave, fill_price, slip, why = 0.0, 0.0, 0.0, 0
                if point == 0 and step == 0:
                    if horizon == 0:
                        break
                    continue
                rising = point in {0, 2}
                if point != 2 and price <= stop:
                    leave, fill_price, slip, why = lots, price if point == 0 else stop, slip_stop, STOPPED
                else:
                    if point != 2:
                        trough = min(trough, price)
                    if not rising:
                        if waiting:
                            stop, callback, step_behind, changed_at, waiting, crossed = _follow(
                                i,
                                at_ms,
                                peak,
                                entry,
                                size,
                                side,
                                stop,
                                callback,
                                step_behind,
                                changed_at,
                                activation,
                                all_profits,
                                all_callbacks,
                                all_steps,
                                rows,
                                min_change,
                                min_age,
                                min_interval,
                                price,
                                waiting,
                            )
                            if crossed:
                                leave, fill_price, slip, why = lots, price, slip_market, CROSSED
                    else:
                        while leave == 0.0 and lots > 0.0 and price >= target:
                            mark = price if point == 0 else target
                            peak = max(peak, mark)
                            stop, callback, step_behind, changed_at, waiting, crossed = _follow(
                                i,
                                at_ms,
                                peak,
                                entry,
                                size,
                                side,
                                stop,
                                callback,
                                step_behind,
                                changed_at,
                                activation,
                                all_profits,
                                all_callbacks,
                                all_steps,
                                rows,
                                min_change,
                                min_age,
                                min_interval,
                                mark,
                                waiting,
                            )
                            if crossed:
                                leave, fill_price, slip, why = lots, mark, slip_market, CROSSED
                                break
                            part = min(sizes[done], lots)
                            rung = all_rungs[i, done]
                            done += 1
                            target = all_targets[i, done] if done < levels else inf
                            if part > 0.0:
                                lost = slip_target * abs(mark)
                                fill = mark - lost
                                cash += part * (fill - entry)
                                turnover += part * abs(fill)
                                slipped += part * lost
                                closes += 1
                                lots -= part
                                if lots <= 0.0:
                                    exit_step, exit_ms, reason = step, at_ms, TARGETS
                                    break
                            stop = max(stop, rung)
                            stop, callback, step_behind, changed_at, waiting, crossed = _follow(
                                i,
                                at_ms,
                                peak,
                                entry,
                                size,
                                side,
                                stop,
                                callback,
                                step_behind,
                                changed_at,
                                activation,
                                all_profits,
                                all_callbacks,
                                all_steps,
                                rows,
                                min_change,
                                min_age,
                                min_interval,
                                mark,
                                waiting,
                            )
                            if crossed:
                                leave, fill_price, slip, why = lots, mark, slip_market, CROSSED
                        if leave == 0.0 and lots > 0.0:
                            better = price > peak
                            if better:
                                peak = price
                            if waiting or (better and (peak - entry) * UNIT >= activation):
                                stop, callback, step_behind, changed_at, waiting, crossed = _follow(
                                    i,
                                    at_ms,
                                    peak,
                                    entry,
                                    size,
                                    side,
                                    stop,
                                    callback,
                                    step_behind,
                                    changed_at,
                                    activation,
                                    all_profits,
                                    all_callbacks,
                                    all_steps,
                                    rows,
                                    min_change,
                                    min_age,
                                    min_interval,
                                    price,
                                    waiting,
                                )
                                if crossed:
                                    leave, fill_price, slip, why = lots, price, slip_market, CROSSED
                if point == 0 and leave == 0.0 and lots > 0.0:
                    if due == step:
                        due = -1
                        if asked == _TIGHTEN:
                            if stop < asked_stop < opening:
                                stop = asked_stop
                        elif asked == _ALL:
                            leave, fill_price, slip, why = lots, opening, slip_market, ASKED
                        else:
                            part = floor((0.25 if asked == _QUARTER else 0.5) * lots)
                            if part > 0.0:
                                lost = slip_market * abs(opening)
                                fill = opening - lost
                                cash += part * (fill - entry)
                                turnover += part * abs(fill)
                                slipped += part * lost
                                closes += 1
                                lots -= part
                                _refit(sizes, all_shares[i], done, lots)
                    if step == horizon and leave == 0.0:
                        leave, fill_price, slip, why = lots, opening, slip_market, HORIZON
                if leave > 0.0:
                    lost = slip * abs(fill_price)
                    fill = fill_price - lost
                    cash += leave * (fill - entry)
                    turnover += leave * abs(fill)
                    slipped += leave * lost
                    closes += 1
                    lots -= leave
                    exit_step, exit_ms, reason = step, at_ms, why
                if lots <= 0.0 or step == horizon:
                    break
            if lots <= 0.0:
                break
            if asks and due < 0 and step < horizon:
                close = prices[i, step, 3]
                span = abs(close) * ranges[i, step]
                risk = entry - first_stops[i]
                ahead = GAP_CAP if target == inf else min(max((target - close) / span, -GAP_CAP), GAP_CAP)
                x = (
                    (step + 1) / horizon,
                    min(max((close - entry) / risk, -MOVE_CAP), MOVE_CAP),
                    min(max((peak - entry) / risk, -MOVE_CAP), MOVE_CAP),
                    min(max((peak - close) / span, -GAP_CAP), GAP_CAP),
                    min(max((close - stop) / span, -GAP_CAP), GAP_CAP),
                    ahead,
                    side * drift_fast[i, step],
                    side * drift_slow[i, step],
                    swell[i, step],
                    lots / quantity,
                    done / max(1, levels),
                )
                closing = tightening = 0.0
                for feature in range(_STEP_COUNT):
                    closing += scores[0, feature + 1] * x[feature]
                    tightening += scores[1, feature + 1] * x[feature]
                closing += scores[0, 0]
                tightening += scores[1, 0]
                tight = ceil(close - tighten_reach * span)
                asked = _HOLD
                if closing > 0.0:
                    for share in range(len(shares)):
                        if closing > shares[share, 0]:
                            asked = int(shares[share, 1])
                    if (asked == _QUARTER and floor(0.25 * lots) <= 0.0) or (
                        asked == _HALF and floor(0.5 * lots) <= 0.0
                    ):
                        asked = _HOLD
                if asked == _HOLD and tightening > 0.0 and tight > stop:
                    asked = _TIGHTEN
                if asked != _HOLD:
                    due, asked_stop = step + latency, tight
        paid[0, i], paid[1, i], paid[2, i], paid[3, i] = cash, turnover, slipped, charged
        seen[0, i], seen[1, i], seen[2, i] = peak, trough, exit_ms
        told[0, i], told[1, i], told[2, i], told[3, i] = exit_step, done, closes, reason


@njit(cache=True, inline="always")
def _follow(
    i: int,
    at_ms: float,
    peak: float,
    entry: float,
    size: float,
    side: float,
    stop: float,
    callback: float,
    step_behind: float,
    changed_at: float,
    activation: float,
    all_profits: Floats,
    all_callbacks: Floats,
    all_steps: Floats,
    rows: int,
    min_change: float,
    min_age: float,
    min_interval: float,
    mark: float,
    waiting: bool,
) -> tuple[float, float, float, float, bool, bool]:
    """Re-arm the callback and move the stop, as `Simulation._follow`; the last answer says the mark is past it."""
    gained = (peak - entry) * UNIT
    if gained < activation:
        return stop, callback, step_behind, changed_at, waiting, False
    wanted, step = callback, step_behind
    reached = False
    for row in range(rows):
        if gained >= all_profits[i, row] * size:
            wanted, step, reached = all_callbacks[i, row + 1], all_steps[i, row + 1], True
    tighter = reached and wanted < callback and (callback - wanted) * UNIT > min_change * callback
    change = tighter and at_ms >= min_age and at_ms - changed_at >= min_interval
    waits = tighter and not change
    if change:
        callback, step_behind, changed_at = wanted, step, at_ms
    level: float = ceil(peak * (UNIT - side * callback) / UNIT)
    if level >= peak:
        level = peak - 1.0
    gap = level - stop
    if gap > 0 and (change or gap * UNIT >= max(UNIT, step_behind * abs(peak))):
        return level, callback, step_behind, changed_at, waits, mark <= level
    return stop, callback, step_behind, changed_at, waits, False


@njit(cache=True)
def _refit(sizes: Floats, shares: Floats, done: int, lots: float) -> None:
    """Share what is left among the waiting targets, as `Simulation._refit`."""
    count = len(sizes)
    waiting_lots = total = 0.0
    for leg in range(count):
        if leg >= done and sizes[leg] > 0.0:
            waiting_lots += sizes[leg]
            total += shares[leg]
    if waiting_lots <= lots:
        return
    remainder = np.empty(count)
    left = lots
    for leg in range(count):
        if leg < done or sizes[leg] <= 0.0:
            remainder[leg] = _FAR
            continue
        wanted = lots * shares[leg] / total
        near = np.rint(wanted)
        whole = near if abs(wanted - near) < 1e-6 else floor(wanted)
        remainder[leg] = np.round((wanted - whole) * 1e6)
        sizes[leg] = whole
        left -= whole
    for _ in range(count):
        if left <= 0.0:
            return
        most = 0
        for other in range(1, count):
            if remainder[other] > remainder[most]:
                most = other
        sizes[most] += 1.0
        remainder[most] = _FAR
        left -= 1.0
