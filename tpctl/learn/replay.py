"""Replays exits over many positions at once: ladder, ratchet, trailing, stop, and what a policy asks for.

The same rules as `exits.decide`, a second time, for speed: a test holds the two equal, to the tick and to the action.
Inside a candle the price goes from the open to the worst, then to the best, then to the close, so that a stop is always
judged before a target. Between those points it moves without a gap and orders fill at their level; from a close to the
next open it may gap, and what it passes fills at the open. A policy decides at the close of a candle and is carried out
at an open `latency` candles later, after the orders that rest. What is left at the horizon leaves at its open.

Everything is mirrored (see `terms`): up is good. All prices are whole ticks, so every comparison is exact, and the
compiled twin in `replay_compiled` gives the same float64 bit for bit. The 30 s between changes of a callback is kept at
the four points of a candle, a quarter of its length apart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.exits.errors import InputsError
from tpctl.learn.costs import Costs
from tpctl.learn.episodes import Episodes
from tpctl.learn.terms import UNIT, Terms
from tpctl.market.policy.features import GAP_CAP, MOVE_CAP, STEP_FEATURES
from tpctl.market.policy.model import Action

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Flags = NDArray[np.bool_]

# exit-rules 13: the zone from entry, and the share of its distance an exit must have taken.
ZONE = 0.06
SUCCESS = 0.95

# Why a position ended; `HELD` while it has not.
HELD, STOPPED, TARGETS, CROSSED, ASKED, HORIZON = range(6)
REASONS = ("held", "stop", "targets", "crossed stop", "policy", "horizon")

# Given features (F, m) and which actions are allowed (A, m), the actions (m) of m positions.
Decide = Callable[[Floats, Flags], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What became of n positions; R is the distance of the first stop in `Episodes.stop`.

    `r` is net of fees, funding and slippage. `gross` is before them. `exit_step` (int64) is the candle of the last
    exit. `hit` says whether the average exit took 95 % of the distance to the zone; `legs` (int64) counts targets
    filled, `closes` (int64) orders that closed something. `mfe` and `mae` are the best and the worst price in R while
    held. `holding_ms` (int64), `fees`, `funding`, `slippage` in R. `reason` (int64) indexes `REASONS`.
    """

    r: Floats
    gross: Floats
    exit_step: Whole
    hit: Flags
    legs: Whole
    closes: Whole
    mfe: Floats
    mae: Floats
    holding_ms: Whole
    fees: Floats
    funding: Floats
    slippage: Floats
    reason: Whole

    def __len__(self) -> int:
        return len(self.r)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What a learner sees of a replay without a policy, of H candles and n positions.

    `features` (F, H, n) at the close of each candle, `held` (H, n) whether the position was held then, `now` (H, n) the
    R it would have come to if closed by an order decided there, `end` (n) the R it came to. `hit_now` (H, n) and
    `hit_end` (n) say whether such an exit takes the zone; None where a problem has no zone.
    """

    features: Floats
    held: Flags
    now: Floats
    end: Floats
    hit_now: Flags | None = None
    hit_end: Flags | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """The price paths of episodes as the simulator reads them: (H + 1, n), mirrored whole ticks, time first.

    Laying them out takes as long as playing them, so whoever plays the same episodes again keeps their tape.
    """

    open: Floats
    worst: Floats
    best: Floats
    close: Floats
    funding: Floats


def tape_of(episodes: Episodes) -> Tape:
    """Return the tape of episodes."""
    on_grid = episodes.side[:, None] / episodes.tick[:, None]
    up = episodes.side[:, None] > 0
    best, worst = np.where(up, episodes.high, episodes.low), np.where(up, episodes.low, episodes.high)
    prices = (np.rint(one * on_grid).T for one in (episodes.open, worst, best, episodes.close))
    mirrored = (episodes.funding * episodes.side[:, None]).T
    return Tape(*(np.ascontiguousarray(one) for one in (*prices, mirrored)))


def replay(
    episodes: Episodes,
    terms: Terms,
    costs: Costs,
    decide: Decide | None = None,
    *,
    tighten_reach: float = 3.0,
    zone: float = ZONE,
    tape: Tape | None = None,
) -> Outcomes:
    """Play every position to its end; `decide` is asked at each close, None holds on."""
    return Simulation(episodes, terms, costs, tighten_reach=tighten_reach, tape=tape).run(decide, zone=zone)


def trace(
    episodes: Episodes, terms: Terms, costs: Costs, *, zone: float = ZONE, tape: Tape | None = None
) -> tuple[Trace, Outcomes]:
    """Play every position without a policy, and keep what a learner needs."""
    simulation = Simulation(episodes, terms, costs, tape=tape)
    shape = (simulation.horizon, len(episodes))
    features = np.zeros((len(STEP_FEATURES), *shape))
    held = np.zeros(shape, dtype=bool)
    now = np.zeros(shape)
    hit = np.zeros(shape, dtype=bool)
    late = costs.latency
    for step in range(simulation.horizon + 1):
        simulation.open_candle(step)
        if step >= late:
            # Decided before, carried out here: whatever rests came first.
            now[step - late], hit[step - late] = simulation.value_at_market(step, zone)
        if step < simulation.horizon:
            simulation.finish_candle(step)
            held[step] = simulation.live
            features[:, step] = simulation.features(step)
    simulation.end()
    outcomes = simulation.outcomes(zone)
    # What could not be carried out before the horizon leaves there anyway.
    now[max(0, simulation.horizon + 1 - late) :] = outcomes.r
    hit[max(0, simulation.horizon + 1 - late) :] = outcomes.hit
    return Trace(features, held, now, outcomes.r, hit, outcomes.hit), outcomes


class Simulation:
    """The state of n positions, candle by candle; `run` plays all of it."""

    def __init__(
        self,
        episodes: Episodes,
        terms: Terms,
        costs: Costs,
        *,
        tighten_reach: float = 3.0,
        tape: Tape | None = None,
    ) -> None:
        if len(episodes) != len(terms):
            raise InputsError(f"{len(episodes)} episodes and {len(terms)} plans", "build the plans of these episodes")
        self.episodes, self.terms, self.costs = episodes, terms, costs
        self.tighten_reach = tighten_reach
        self.horizon = episodes.horizon
        count = len(episodes)
        tape = tape or tape_of(episodes)
        self.open, self.worst, self.best, self.close = tape.open, tape.worst, tape.best, tape.close
        self.funding = tape.funding if costs.funding and tape.funding.any() else None
        self.side = episodes.side
        self.size = np.abs(terms.entry)
        self.slip_stop, self.slip_target, self.slip_market = costs.draw(
            episodes.started_at, episodes.symbol, episodes.symbols
        )
        self.quarter_ms = episodes.interval_ms / 4
        self.stop = terms.stop.copy()
        self.peak = terms.entry.copy()
        self.trough = terms.entry.copy()
        self.callback = terms.callbacks[:, 0].copy()
        self.step = terms.steps[:, 0].copy()
        self.changed_at = np.full(count, -np.inf)
        self.waiting = np.zeros(count, dtype=bool)
        self.done = np.zeros(count, dtype=np.int64)
        self.sizes = terms.sizes.copy()
        self.lots = terms.quantity.copy()
        self.live = np.ones(count, dtype=bool)
        self.next_target = self._target_of(np.arange(count))
        self.cash = np.zeros(count)
        self.turnover = np.zeros(count)
        self.slipped = np.zeros(count)
        self.charged = np.zeros(count)
        self.closes = np.zeros(count, dtype=np.int64)
        self.exit_step = np.zeros(count, dtype=np.int64)
        self.exit_ms = np.zeros(count)
        self.reason = np.zeros(count, dtype=np.int64)
        self.asked = np.zeros(count, dtype=np.int64)
        self.due = np.full(count, -1, dtype=np.int64)
        self.asked_stop = np.zeros(count)
        self.at_step, self.at_ms = 0, 0.0

    # the whole

    def run(self, decide: Decide | None = None, *, zone: float = ZONE) -> Outcomes:
        """Play to the end."""
        for step in range(self.horizon + 1):
            self.open_candle(step)
            self.carry_out(step)
            if step == self.horizon or not self.live.any():
                break
            self.finish_candle(step)
            if decide is not None:
                self.ask(step, decide)
        self.end()
        return self.outcomes(zone)

    def open_candle(self, step: int) -> None:
        """Let a candle open: funding, and everything the gap passed."""
        self.at_step, self.at_ms = step, step * 4 * self.quarter_ms
        opening = self.open[step]
        if step and self.funding is not None:
            rate = self.funding[step]
            if rate.any():
                self.charged += np.where(self.live, self.lots * np.abs(opening) * rate, 0.0)
        if step == 0:
            return  # the entry itself
        gone = np.flatnonzero(self.live & (opening <= self.stop))
        if len(gone):
            self._leave(gone, opening[gone], self.slip_stop[gone], STOPPED)
        self._rise(opening, gap=True)

    def finish_candle(self, step: int) -> None:
        """Let the price go from the open to the worst, the best and the close."""
        base = step * 4 * self.quarter_ms
        self.at_ms = base + self.quarter_ms
        self._fall(self.worst[step])
        self.at_ms = base + 2 * self.quarter_ms
        self._rise(self.best[step], gap=False)
        self.at_ms = base + 3 * self.quarter_ms
        self._fall(self.close[step])

    def end(self) -> None:
        """Close what is left at the open of the horizon."""
        rest = np.flatnonzero(self.live)
        if len(rest):
            self._leave(rest, self.open[self.horizon][rest], self.slip_market[rest], HORIZON)

    # what a policy sees and asks

    def features(self, step: int, which: Whole | slice = slice(None)) -> Floats:
        """Return `STEP_FEATURES` (F, m) at the close of a candle, of all positions or some."""
        episodes, terms = self.episodes, self.terms
        close, side, entry, stop = self.close[step][which], self.side[which], terms.entry[which], self.stop[which]
        peak, target = self.peak[which], self.next_target[which]
        # What the first stop risks, as a live position has it in its plan: reward:risk may have tightened it.
        risk = terms.entry[which] - terms.stop[which]
        span = np.abs(close) * episodes.reach[which, step]
        ahead = np.where(np.isinf(target), GAP_CAP, _capped((target - close) / span, GAP_CAP))
        levels = max(1, terms.targets.shape[1])
        return np.stack(
            [
                np.full(len(close), (step + 1) / self.horizon),
                _capped((close - entry) / risk, MOVE_CAP),
                _capped((peak - entry) / risk, MOVE_CAP),
                _capped((peak - close) / span, GAP_CAP),
                _capped((close - stop) / span, GAP_CAP),
                ahead,
                side * episodes.drift_fast[which, step],
                side * episodes.drift_slow[which, step],
                episodes.swell[which, step],
                self.lots[which] / terms.quantity[which],
                self.done[which] / levels,
            ]
        )

    def allowed(self, step: int, which: Whole | slice = slice(None)) -> Flags:
        """Return which actions (A, m) positions take: only to tighten or to close."""
        live, lots = self.live[which], self.lots[which]
        return np.stack(
            [
                np.ones(len(lots), dtype=bool),
                np.floor(0.25 * lots) > 0,
                np.floor(0.5 * lots) > 0,
                live,
                live & (self._tight(step, which) > self.stop[which]),
            ]
        )

    def _tight(self, step: int, which: Whole | slice) -> Floats:
        """Return the stop a request to tighten asks for: `tighten_reach` ranges behind the close, rounded tighter."""
        close = self.close[step][which]
        span = np.abs(close) * self.episodes.reach[which, step]
        tight: Floats = np.ceil(close - self.tighten_reach * span)
        return tight

    def ask(self, step: int, decide: Decide) -> None:
        """Let a policy decide at the close of a candle for the positions that have no request under way."""
        free = np.flatnonzero(self.live & (self.due < 0))
        if not len(free):
            return
        found = decide(self.features(step, free), self.allowed(step, free))
        asking = free[found != Action.HOLD]
        self.request(step, asking, found[found != Action.HOLD])

    def request(self, step: int, which: Whole, actions: Whole) -> None:
        """Note requests decided at the close of a candle; they are carried out `latency` candles later."""
        self.asked[which] = actions
        self.due[which] = step + self.costs.latency
        self.asked_stop[which] = self._tight(step, which)

    def carry_out(self, step: int) -> None:
        """Carry out the requests that are due at the open of this candle."""
        due = np.flatnonzero(self.due == step)
        if not len(due):
            return
        self.due[due] = -1
        due = due[self.live[due]]
        opening, asked = self.open[step], self.asked[due]
        tighten = due[asked == Action.TIGHTEN]
        good = (self.asked_stop[tighten] > self.stop[tighten]) & (self.asked_stop[tighten] < opening[tighten])
        self.stop[tighten[good]] = self.asked_stop[tighten[good]]
        for action, share in ((Action.CLOSE_QUARTER, 0.25), (Action.CLOSE_HALF, 0.5)):
            which = due[asked == action]
            part = np.floor(share * self.lots[which])
            which, part = which[part > 0], part[part > 0]
            if len(which):
                self._fill(which, part, opening[which], self.slip_market[which], ASKED)
                self._refit(which)
        every = due[asked == Action.CLOSE_ALL]
        if len(every):
            self._leave(every, opening[every], self.slip_market[every], ASKED)

    def value_at_market(self, step: int, zone: float) -> tuple[Floats, Flags]:
        """Return net R (n) and whether the zone is taken (n) if what is left of each were closed at this open."""
        price = self.open[step]
        slip = self.slip_market * np.abs(price)
        fill = price - slip
        cash = self.cash + np.where(self.live, self.lots * (fill - self.terms.entry), 0.0)
        turnover = self.turnover + np.where(self.live, self.lots * np.abs(fill), 0.0)
        gross = cash + self.slipped + np.where(self.live, self.lots * slip, 0.0)
        return self._net(cash, turnover), gross >= SUCCESS * zone * self.terms.quantity * self.size

    # what the market does

    def _fall(self, to: Floats) -> None:
        """Let the price fall to `to` without a gap: stops it passes fill at their level."""
        gone = np.flatnonzero(self.live & (to <= self.stop))
        if len(gone):
            self._leave(gone, self.stop[gone], self.slip_stop[gone], STOPPED)
        np.minimum(self.trough, to, out=self.trough, where=self.live)
        late = np.flatnonzero(self.live & self.waiting)
        if len(late):
            self._follow(late, to[late])

    def _rise(self, to: Floats, *, gap: bool) -> None:
        """Let the price rise to `to`; targets it passes fill at their level, or at `to` where it gapped."""
        while True:
            hit = np.flatnonzero(self.live & (to >= self.next_target))
            if not len(hit):
                break
            price = to[hit] if gap else self.next_target[hit]
            np.maximum.at(self.peak, hit, price)
            closed = self._follow(hit, price)
            if closed:
                kept = self.live[hit]
                hit, price = hit[kept], price[kept]
            self._take(hit, price)
        better = self.live & (to > self.peak)
        np.maximum(self.peak, to, out=self.peak, where=self.live)
        if gap:
            np.minimum(self.trough, to, out=self.trough, where=self.live)
        acting = np.flatnonzero((better & self._active()) | (self.live & self.waiting))
        if len(acting):
            self._follow(acting, to[acting])

    def _active(self) -> Flags:
        """Return where the best price has reached the trail's activation."""
        active: Flags = (self.peak - self.terms.entry) * UNIT >= self.terms.activation * self.size
        return active

    def _take(self, hit: Whole, price: Floats) -> None:
        """Fill the next target of each, then climb to its rung and follow the trail."""
        level = self.done[hit]
        part = np.minimum(self.sizes[hit, level], self.lots[hit])
        self.done[hit] = level + 1
        self.next_target[hit] = self._target_of(hit)
        some = part > 0
        self._fill(hit[some], part[some], price[some], self.slip_target[hit[some]], TARGETS)
        rung = self.terms.rungs[hit, level]
        kept = self.live[hit]
        hit, rung, price = hit[kept], rung[kept], price[kept]
        self.stop[hit] = np.maximum(self.stop[hit], rung)
        self._follow(hit, price)

    def _target_of(self, which: Whole) -> Floats:
        targets = self.terms.targets
        if not targets.shape[1]:
            return np.full(len(which), np.inf)
        level = self.done[which]
        last = targets.shape[1] - 1
        return np.where(level <= last, targets[which, np.minimum(level, last)], np.inf)

    def _follow(self, which: Whole, mark: Floats) -> bool:
        """Re-arm the callback and move the stop behind the best price; return whether that closed any."""
        terms = self.terms
        peak, size = self.peak[which], self.size[which]
        gained = (peak - terms.entry[which]) * UNIT
        active = gained >= terms.activation[which] * size
        if not active.any():
            return False
        which, mark, peak, size, gained = which[active], mark[active], peak[active], size[active], gained[active]
        callback = self.callback[which]
        target, step = callback.copy(), self.step[which]
        reached = np.zeros(len(which), dtype=bool)
        for row in range(terms.profits.shape[1]):
            here = gained >= terms.profits[which, row] * size
            target = np.where(here, terms.callbacks[which, row + 1], target)
            step = np.where(here, terms.steps[which, row + 1], step)
            reached |= here
        tighter = reached & (target < callback) & ((callback - target) * UNIT > terms.min_change * callback)
        since = self.at_ms - self.changed_at[which]
        change = tighter & (self.at_ms >= terms.min_age_ms) & (since >= terms.min_interval_ms)
        self.waiting[which] = tighter & ~change
        callback = np.where(change, target, callback)
        step = np.where(change, step, self.step[which])
        self.callback[which], self.step[which] = callback, step
        self.changed_at[which] = np.where(change, self.at_ms, self.changed_at[which])
        level = np.ceil(peak * (UNIT - self.side[which] * callback) / UNIT)
        level = np.where(level < peak, level, peak - 1.0)
        gap = level - self.stop[which]
        far = gap * UNIT >= np.maximum(UNIT, step * np.abs(peak))
        move = (gap > 0) & (change | far)
        self.stop[which] = np.where(move, level, self.stop[which])
        crossed = move & (mark <= level)
        if crossed.any():
            gone = which[crossed]
            self._leave(gone, mark[crossed], self.slip_market[gone], CROSSED)
            return True
        return False

    # what it comes to

    def _leave(self, which: Whole, price: Floats, slip: Floats, reason: int) -> None:
        self._fill(which, self.lots[which].copy(), price, slip, reason)

    def _fill(self, which: Whole, lots: Floats, price: Floats, slip: Floats, reason: int) -> None:
        """Close lots at a price less slippage."""
        lost = slip * np.abs(price)
        fill = price - lost
        self.cash[which] += lots * (fill - self.terms.entry[which])
        self.turnover[which] += lots * np.abs(fill)
        self.slipped[which] += lots * lost
        self.closes[which] += 1
        left = self.lots[which] - lots
        self.lots[which] = left
        over = which[left <= 0]
        self.live[over] = False
        self.waiting[over] = False
        self.exit_step[over] = self.at_step
        self.exit_ms[over] = self.at_ms
        self.reason[over] = reason

    def _refit(self, which: Whole) -> None:
        """Share what is left among the waiting targets, in their old proportions (as `exits.size.refit`)."""
        terms = self.terms
        count = terms.targets.shape[1]
        if not count:
            return
        waiting = (np.arange(count) >= self.done[which][:, None]) & (self.sizes[which] > 0)
        lots = self.lots[which]
        over = (self.sizes[which] * waiting).sum(axis=1) > lots
        which, waiting, lots = which[over], waiting[over], lots[over]
        if not len(which):
            return
        shares = np.where(waiting, terms.shares[which], 0.0)
        wanted = lots[:, None] * shares / shares.sum(axis=1)[:, None]
        # Shares are decimals: what is whole but for the last digit of a float is whole.
        near = np.rint(wanted)
        whole = np.where(np.abs(wanted - near) < 1e-6, near, np.floor(wanted))
        left = lots - whole.sum(axis=1)
        remainder = np.where(waiting, wanted - whole, -1.0)
        order = np.argsort(-np.round(remainder, 6), axis=1, kind="stable")
        for place in range(count):
            leg = order[:, place]
            extra = (left > 0).astype(np.float64)
            whole[np.arange(len(which)), leg] += extra
            left -= extra
        self.sizes[which] = np.where(waiting, whole, self.sizes[which])

    def _net(self, cash: Floats, turnover: Floats) -> Floats:
        terms, costs = self.terms, self.costs
        worth = terms.quantity * self.size
        paid = costs.fee_in * worth + costs.fee_out * turnover
        net: Floats = (cash - paid - self.charged) / (worth * self.episodes.stop)
        return net

    def outcomes(self, zone: float) -> Outcomes:
        """Return what it came to; `zone` is the distance of the take-profit zone as a fraction of entry."""
        terms, costs = self.terms, self.costs
        worth = terms.quantity * self.size
        risk = worth * self.episodes.stop
        unit = self.size * self.episodes.stop
        return Outcomes(
            r=self._net(self.cash, self.turnover),
            gross=(self.cash + self.slipped) / risk,
            exit_step=self.exit_step,
            hit=self.cash + self.slipped >= SUCCESS * zone * worth,
            legs=self.done.copy(),
            closes=self.closes,
            mfe=(self.peak - terms.entry) / unit,
            mae=(self.trough - terms.entry) / unit,
            holding_ms=self.exit_ms.astype(np.int64),
            fees=(costs.fee_in * worth + costs.fee_out * self.turnover) / risk,
            funding=self.charged / risk,
            slippage=self.slipped / risk,
            reason=self.reason,
        )


def _capped(values: Floats, cap: float) -> Floats:
    return np.minimum(np.maximum(values, -cap), cap)
