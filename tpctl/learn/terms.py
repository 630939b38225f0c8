"""The exits of many positions as arrays on each one's price grid: what the vectorised simulator plays.

Decides how the rules of `exits` become ticks and lots, with the planner's roundings and clamps; a test holds both
equal. Every fraction is kept in hundred-millionths, so that products of prices and fractions are whole numbers below
2**53 and every comparison in the simulator is exact. Prices are mirrored: those of shorts are negative, so that up is
always good and one rule serves both sides.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.ladder import LadderInputs, dynamic_ladder
from tpctl.exits.model import Plan, Trail
from tpctl.exits.profiles import profile_levels, profile_trail
from tpctl.exits.quantize import market_step
from tpctl.exits.rules import ExitRules
from tpctl.exits.stages import default_trail
from tpctl.exits.stops import ratchet_stop
from tpctl.exits.trailing import callback_at
from tpctl.exits.units import Ratio
from tpctl.learn.episodes import Episodes

Floats = NDArray[np.float64]

# One, in the unit of every fraction here.
UNIT = 1e8
# What a position is cut into where its real quantity is not given.
LOTS = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """n plans of at most L targets. Prices are whole mirrored ticks, fractions whole hundred-millionths.

    `stop` (n) is the first stop. `targets` (n, L) rise from the nearest, infinite where a plan has fewer. `sizes`
    (n, L) are lots of the `quantity` (n) each closes; `shares` (n, L) their fractions of the whole. `rungs` (n, L) is
    where the stop goes once so many have filled. The trail acts from `activation` (n) profit, infinite where there is
    none; `callbacks` (n, S + 1) are the original one and those from each row's profit in `profits` (n, S) on, `steps`
    (n, S + 1) how far behind the stop may lie. `min_change` is a share of the callback; times are ms.
    """

    entry: Floats
    stop: Floats
    targets: Floats
    sizes: Floats
    shares: Floats
    quantity: Floats
    rungs: Floats
    activation: Floats
    profits: Floats
    callbacks: Floats
    steps: Floats
    min_change: float
    min_age_ms: float
    min_interval_ms: float

    def __len__(self) -> int:
        return len(self.entry)


@dataclass(frozen=True, slots=True)
class LadderAccount:
    """What the dynamic ladder asks of the account that pseudo-entries do not have: leverage and notional in USD.

    Each position has one of `leverages`, drawn by its time, symbol and side: the ladder has three answers to leverage,
    and beyond the largest here liquidation would tighten the stops a policy learns from.
    """

    leverages: tuple[Decimal, ...] = (Decimal(1), Decimal(10), Decimal(20))
    notional: Decimal = Decimal(1000)

    @property
    def range(self) -> tuple[Decimal, Decimal]:
        """The least and the largest leverage."""
        return min(self.leverages), max(self.leverages)


def drawn(episodes: Episodes, count: int) -> NDArray[np.int64]:
    """Return a number below `count` for each position, the same wherever it stands among others."""
    with np.errstate(over="ignore"):
        mixed = episodes.started_at.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= episodes.symbol.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
        mixed ^= (episodes.side > 0).astype(np.uint64) * np.uint64(0x165667B19E3779F9)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(31)
    return (mixed % np.uint64(count)).astype(np.int64)


def units(fraction: Decimal | Ratio) -> float:
    """Return a fraction in hundred-millionths, rounded to a whole one."""
    value = fraction.fraction if isinstance(fraction, Ratio) else fraction
    return float(round(value * 10**8))


def ladder_terms(
    episodes: Episodes,
    rules: ExitRules,
    *,
    fee: float,
    account: LadderAccount | None = None,
    scale: Floats | None = None,
) -> Terms:
    """Return the dynamic ladder of each position (exit-rules 1), by its volatility and leverage; no more is known.

    `scale` (n) multiplies the distances as the blend of a policy's suggestion does, before the clamps.
    """
    given = account or LadderAccount()
    unknown = Unavailable("not recorded")
    bounds = rules.ladder
    # The ladder has three answers to volatility; each is asked once.
    low, high = float(bounds.low_volatility.fraction), float(bounds.high_volatility.fraction)
    answers = (bounds.low_volatility, Ratio(Decimal((low + high) / 2)), bounds.high_volatility)
    found: list[tuple[float, ...]] = []
    split: list[tuple[float, ...]] = []
    for leverage in given.leverages:
        for volatility in answers:
            inputs = LadderInputs(leverage, given.notional, volatility, unknown, unknown, unknown, unknown)
            ladder = dynamic_ladder(inputs, bounds)
            if isinstance(ladder, Unavailable):
                raise InputsError(f"no ladder: {ladder.reason}", "give leverage and notional")
            found.append(tuple(units(distance) for distance in ladder.distances))
            split.append(tuple(map(float, ladder.split)))
    which = drawn(episodes, len(given.leverages))
    choice = np.where(episodes.volatility <= low, 0, np.where(episodes.volatility >= high, 2, 1))
    choice += which * len(answers)
    asis, shares = np.array(found)[choice], np.array(split)[choice]

    def clamped(distances: Floats) -> Floats:
        return np.clip(distances, units(bounds.min_distance), units(bounds.max_distance))

    return build_terms(
        episodes,
        clamped(asis if scale is None else np.rint(asis * scale[:, None])),
        shares,
        rules,
        fee=fee,
        trail=default_trail(rules),
        leverage=np.array([float(leverage) for leverage in given.leverages])[which],
        own=clamped(asis),
    )


def static_terms(
    episodes: Episodes, rules: ExitRules, *, fee: float, profile: str = "normal", scale: Floats | None = None
) -> Terms:
    """Return a static profile for each position (exit-rules 2): legs and trail in multiples of the stop distance."""
    chosen = rules.profiles.profiles[profile]
    one = Ratio(Decimal(1))
    levels = profile_levels(chosen, one)
    asis = np.array([float(distance.fraction) for distance, _ in levels]) * units_of(episodes.stop)[:, None]
    distances = asis if scale is None else asis * scale[:, None]
    shares = np.tile(np.array([float(share) for _, share in levels]), (len(episodes), 1))
    trail, _ = profile_trail(chosen, one, rules.trail)
    return build_terms(
        episodes, np.rint(distances), shares, rules, fee=fee, trail=trail, trail_in_stops=True, own=np.rint(asis)
    )


def units_of(fractions: Floats) -> Floats:
    """Return fractions in whole hundred-millionths."""
    whole: Floats = np.rint(fractions * UNIT)
    return whole


def build_terms(
    episodes: Episodes,
    distances: Floats,
    shares: Floats,
    rules: ExitRules,
    *,
    fee: float,
    trail: Trail | None,
    trail_in_stops: bool = False,
    leverage: Floats | None = None,
    reward_risk: bool = True,
    own: Floats | None = None,
) -> Terms:
    """Return the plans of distances (n, L), whole hundred-millionths of entry, and shares of the size (n, L).

    The first stop is R, tightened for reward:risk as the planner does unless `reward_risk` is off, and within its share
    of the distance to liquidation, bounded by 1 over `leverage` (n). L may be 0. `trail_in_stops` reads the trail's
    profits as multiples of the stop distance. `own` (n, L) are the distances without a policy's suggestion: the stop
    lies no farther than with them. Raises `InputsError` for a ratchet style the simulator does not play.
    """
    if rules.trail.style == "atr":
        raise InputsError("trail style 'atr' is not simulated", "learn with the style 'tiered' or 'percent'")
    if rules.execution.ratchet != "previous_tp":
        raise InputsError(
            f"ratchet style '{rules.execution.ratchet}' is not simulated", "learn with the ratchet 'previous_tp'"
        )
    count = len(episodes)
    side, entry = episodes.side, np.rint(episodes.entry / episodes.tick)
    stop_units = units_of(episodes.stop)
    stop = stop_units.copy()
    if distances.shape[1] and reward_risk:
        reached = distances if own is None else np.minimum(distances, own)
        mean = (reached * shares).sum(axis=1) / shares.sum(axis=1)
        wanted = mean / float(rules.stop.reward_risk)
        floor = units(rules.stop.floor)
        stop = np.where(mean < float(rules.stop.reward_risk) * stop, np.minimum(stop, np.maximum(wanted, floor)), stop)
    if leverage is not None:
        stop = np.minimum(stop, UNIT / leverage * float(rules.stop.liquidation_share))
    stop = np.rint(stop)
    mirrored = side * entry
    first = np.ceil(mirrored * (UNIT - side * stop) / UNIT)
    targets = np.floor(mirrored[:, None] * (UNIT + side[:, None] * distances) / UNIT)
    quantity = np.full(count, LOTS)
    sizes = _cut(shares, quantity)
    activation, profits, callbacks, steps = _trail_rows(count, trail, rules, stop_units if trail_in_stops else None)
    level = mirrored
    if rules.execution.breakeven == "net":
        paid = np.rint(fee * UNIT)
        level = np.ceil(mirrored * (UNIT + side * paid) / (UNIT - side * paid))
    return Terms(
        entry=mirrored,
        stop=np.minimum(first, mirrored - 1),
        targets=targets,
        sizes=sizes,
        shares=shares,
        quantity=quantity,
        rungs=_rungs(targets, level),
        activation=activation,
        profits=profits,
        callbacks=callbacks,
        steps=steps,
        min_change=units(rules.trail.min_change),
        min_age_ms=float(rules.trail.min_age_ms),
        min_interval_ms=float(rules.trail.min_interval_ms),
    )


def without_targets(terms: Terms) -> Terms:
    """Return the same stops and trails with no take-profits."""
    none = np.empty((len(terms), 0))
    return replace(terms, targets=none, sizes=none, shares=none, rungs=none)


def without_trail(terms: Terms) -> Terms:
    """Return the same stops and take-profits with no trail."""
    return replace(terms, activation=np.full(len(terms), np.inf))


def _cut(shares: Floats, quantity: Floats) -> Floats:
    """Return lots of each share by cumulative rounding, so that whole splits sum to the whole."""
    edges = np.rint(np.cumsum(shares, axis=1) * quantity[:, None])
    lots: Floats = np.diff(np.concatenate([np.zeros((len(quantity), 1)), edges], axis=1), axis=1)
    return lots


def _rungs(targets: Floats, breakeven: Floats) -> Floats:
    """Return where the stop goes after each target: breakeven, then the target before, a tick short of the price."""
    if not targets.shape[1]:
        return targets
    behind = np.concatenate([breakeven[:, None], targets[:, :-1]], axis=1)
    rungs: Floats = np.minimum(behind, targets - 1)
    return rungs


def _trail_rows(
    count: int, trail: Trail | None, rules: ExitRules, stops: Floats | None
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return activation, profits, callbacks and steps; profits in multiples of `stops` where those are given."""
    if trail is None:
        return np.full(count, np.inf), np.empty((count, 0)), np.ones((count, 1)), np.ones((count, 1))
    limits = rules.trail
    bounds = {"floor": limits.min_callback, "ceiling": limits.max_callback}
    original = min(max(trail.callback, limits.min_callback), limits.max_callback)
    rows = [original, *(callback_at(trail.callback, profit, trail.schedule, **bounds) for profit, _ in trail.schedule)]
    callbacks = np.array([units(row) for row in rows])
    steps = np.array([units(row.scaled(limits.min_step)) for row in rows])
    profits = np.array([float(profit.fraction) for profit, _ in trail.schedule])
    scale = np.full(count, UNIT) if stops is None else stops
    return (
        np.rint(float(trail.activation.fraction) * scale),
        np.rint(profits * scale[:, None]),
        np.tile(callbacks, (count, 1)),
        np.tile(steps, (count, 1)),
    )


def terms_of_plan(plan: Plan, instrument: Instrument, rules: ExitRules) -> Terms:
    """Return the terms of one real plan, to the tick and the step, with entry on the nearest tick.

    Raises `ValueError` for a price or quantity off the instrument's grid.
    """
    sign, tick, step = plan.key.side.sign, instrument.tick, market_step(instrument)

    def on_grid(value: Decimal, grid: Decimal) -> float:
        if value % grid:
            raise ValueError(f"'{value}' is off the grid of '{grid}'")
        return float(value // grid)

    levels = [ratchet_stop(plan, done, instrument, rules.execution) for done in range(1, len(plan.legs) + 1)]
    activation, profits, callbacks, steps = _trail_rows(1, plan.trail, rules, None)
    return Terms(
        entry=np.array([sign * float(round(plan.entry / tick))]),
        stop=np.array([sign * on_grid(plan.stop, tick)]),
        targets=np.array([[sign * on_grid(leg.trigger, tick) for leg in plan.legs]]),
        sizes=np.array([[on_grid(leg.quantity, step) for leg in plan.legs]]),
        shares=np.array([[float(leg.fraction) for leg in plan.legs]]),
        quantity=np.array([on_grid(plan.quantity, step)]),
        rungs=np.array([[-np.inf if level is None else sign * on_grid(level, tick) for level in levels]]),
        activation=activation,
        profits=profits,
        callbacks=callbacks,
        steps=steps,
        min_change=units(rules.trail.min_change),
        min_age_ms=float(rules.trail.min_age_ms),
        min_interval_ms=float(rules.trail.min_interval_ms),
    )
