"""Puts a sketched plan on the exchange's grid: fee floor, ticks, steps, stop, backstop (exit-rules 5 to 7).

Take-profits and stops round toward entry. What the grid cannot hold is moved or merged with a reason, never dropped
silently; a level the exchange would not accept at all raises `InputsError`. Serves I16 (wire-valid).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from tpctl.exits.allocate import allocate
from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument
from tpctl.exits.model import Leg, Plan, PositionKey, Reason, Trail
from tpctl.exits.quantize import Direction, check_price, market_limits, round_stop, round_tp, snap
from tpctl.exits.rules import StopRules
from tpctl.exits.stages import Sketch
from tpctl.exits.stops import LiquidationRoom, backstop_distance, breakeven
from tpctl.exits.units import ONE, ZERO, Price, Quantity, Ratio, plain, trimmed

_STAGE = "quantize"
_CROSSED = "stop_crossed"


# A distance that came out of a division carries an error in its 28th digit; a price that is on a tick must not be taken
# for one a hair beside it, and lose the tick to rounding.
_SETTLING = Context(prec=20)


def _settled(price: Price) -> Price:
    return _SETTLING.plus(price)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a plan stands: the position and its symbol's rules."""

    key: PositionKey
    instrument: Instrument
    quantity: Quantity
    entry: Price

    @property
    def sign(self) -> int:
        """+1 for long, -1 for short."""
        return self.key.side.sign

    def profit_price(self, distance: Ratio) -> Price:
        """Return the price `distance` in favour of the position, off the grid."""
        return _settled(self.entry * (ONE + self.sign * distance.fraction))

    def loss_price(self, distance: Ratio) -> Price:
        """Return the price `distance` against the position, off the grid."""
        return _settled(self.entry * (ONE - self.sign * distance.fraction))

    def tighter(self, one: Price, other: Price) -> Price:
        """Return the one of two stops that lies nearer to profit."""
        return max(one, other, key=lambda level: self.sign * level)

    def stop_tick(self, price: Price) -> Price:
        """Return a stop price on the tick toward entry."""
        return round_stop(self.instrument, self.key.side, price)

    def beyond(self, price: Price, *, profit: bool) -> Price:
        """Return the first tick strictly beyond `price`, in the direction of profit or of loss."""
        up = profit is (self.sign > 0)
        tick = self.instrument.tick
        return snap(price, tick, Direction.DOWN if up else Direction.UP) + (tick if up else -tick)

    def net_price(self, fee: Ratio) -> Price:
        """Return the exit price that nets zero after a fee on both sides, off the grid."""
        return breakeven(self.key.side, self.entry, fee, fee)

    def placeable(self, price: Price, what: str) -> Price:
        """Return `price`; raise `InputsError` where the exchange would refuse it as a trigger."""
        for row in check_price(self.instrument, price, trigger=True):
            if not row.ok:
                raise InputsError(
                    f"{what} of {self.key} at '{plain(price)}' is not placeable: {row.filter} {row.limit}",
                    "choose another distance",
                )
        return price


@dataclass(frozen=True, slots=True)
class PlacedStop:
    """Stop and backstop on the grid, and what the plan earns for what it risks."""

    stop: Price
    backstop: Price
    backstop_distance: Ratio
    reward_risk: Decimal


def place_levels(sketch: Sketch, site: Site, fee: Ratio) -> tuple[Leg, ...]:
    """Return the legs on the grid: beyond the fee floor, a tick apart at least, each of a size that can be placed.

    `fee` is paid on both sides. A leg's `distance` is the planned one, `trigger` is where it lands on the grid. Empty
    where even together the legs are too small and the trail closes all.
    """
    levels = _merge_equal(sketch, site, _above_fees(sketch, site, fee))
    triggers = tuple(trigger for _, trigger, _ in levels)
    shares = tuple(share for _, _, share in levels)
    allocation = allocate(site.quantity, shares, site.instrument, triggers)
    sketch.reasons.extend(allocation.merges)
    _tell_rounding(sketch, site, levels)
    kept = [(level, size) for level, size in zip(levels, allocation.quantities, strict=True) if size]
    merged = len(kept) < len(levels)
    _, largest = market_limits(site.instrument)
    legs: list[Leg] = []
    for number, ((distance, trigger, share), size) in enumerate(kept, start=1):
        if largest and size > largest:
            text = f"leg {number} of {plain(size)} is above the largest market order {plain(largest)}"
            sketch.warnings.append(Reason(_STAGE, "above_market_max", text))
        legs.append(Leg(number, distance, trigger, size / site.quantity if merged else share, size))
    return tuple(legs)


_Placed = tuple[Ratio, Price, Decimal]


def _above_fees(sketch: Sketch, site: Site, fee: Ratio) -> list[_Placed]:
    sign, net = site.sign, site.net_price(fee)
    least = net if sign * (net - site.entry) > 0 else site.entry
    floor = site.beyond(least, profit=True)
    placed: list[_Placed] = []
    for number, (distance, share) in enumerate(sketch.levels, start=1):
        planned = site.profit_price(distance)
        trigger = round_tp(site.instrument, site.key.side, planned)
        if sign * (trigger - least) <= 0:
            moved = Ratio(sign * (floor - site.entry) / site.entry)
            text = f"TP{number} moved out to the fee floor: nearer it would not earn both fees of {fee}"
            sketch.reasons.append(Reason("fees", "fee_floor", text, str(distance), str(moved)))
            distance, trigger = moved, floor  # noqa: PLW2901 - the level itself moves
        placed.append((distance, site.placeable(trigger, f"TP{number}"), share))
    return placed


def _tell_rounding(sketch: Sketch, site: Site, levels: Sequence[_Placed]) -> None:
    planned = [site.profit_price(distance) for distance, _, _ in levels]
    triggers = [trigger for _, trigger, _ in levels]
    if planned != triggers:
        before, after = (" / ".join(trimmed(price, 8) for price in prices) for prices in (planned, triggers))
        text = f"TP prices rounded toward entry to ticks of {plain(site.instrument.tick)}"
        sketch.reasons.append(Reason(_STAGE, "rounded", text, before, after))


def _merge_equal(sketch: Sketch, site: Site, placed: Sequence[_Placed]) -> list[_Placed]:
    levels: list[_Placed] = []
    for number, (distance, trigger, share) in enumerate(placed, start=1):
        if levels and site.sign * (trigger - levels[-1][1]) <= 0:
            near, at, sum_share = levels[-1]
            levels[-1] = (near, at, sum_share + share)
            text = f"TP{number} falls on the same tick as the level before ({plain(at)}): merged into it"
            reason = Reason(
                _STAGE, "levels_merged", text, trimmed(share * 100, 2), trimmed((sum_share + share) * 100, 2)
            )
            sketch.reasons.append(reason)
        else:
            levels.append((distance, trigger, share))
    return levels


def place_stop(
    sketch: Sketch,
    site: Site,
    legs: Sequence[Leg],
    *,
    trail: Trail | None,
    room: LiquidationRoom,
    rules: StopRules,
    reward_risk: Decimal,
    mark: Price | None,
    anchor_at_mark: bool,
    own: Plan | None,
) -> PlacedStop:
    """Return stop and backstop on the grid, and the reward:risk of what will really be placed.

    `reward_risk` is reached to the tick, not only before rounding. Neither lies farther than that of `own`, the plan
    without a learned policy's suggestion. Raises `InputsError` where no tick is left for a stop between entry and its
    share of the distance to liquidation.
    """
    limit = None if room.distance is None else room.distance.scaled(rules.liquidation_share)
    stop = _stop_tick(sketch, site, limit)
    if not (sketch.given_stop or not legs):
        stop = _reach_on_grid(sketch, site, legs, stop, reward_risk=reward_risk, floor=rules.floor)
    if mark is not None and site.sign * (mark - stop) <= 0:
        stop = _crossed(sketch, site, stop, mark, limit) if anchor_at_mark else _keep_crossed(sketch, stop, mark)
    site.placeable(stop, "stop")
    distance = backstop_distance(sketch.stop, room, rules)
    backstop = site.stop_tick(site.loss_price(distance))
    if site.sign * (backstop - stop) > 0:
        backstop = stop
    if own is not None:
        stop = _no_farther(sketch, site, stop, own)
        backstop, distance = site.tighter(backstop, own.backstop), min(distance, own.backstop_distance)
    return PlacedStop(stop, site.placeable(backstop, "backstop"), distance, _reward_risk(site, legs, trail, stop))


def _stop_tick(sketch: Sketch, site: Site, limit: Ratio | None) -> Price:
    stop = site.stop_tick(site.loss_price(sketch.stop))
    if site.sign * (site.entry - stop) > 0:
        return stop
    # No tick lies between the planned stop and entry: the nearest one on the losing side is the only stop there is.
    stop = site.beyond(site.entry, profit=False)
    distance = Ratio(site.sign * (site.entry - stop) / site.entry)
    if limit is not None and distance > limit:
        raise InputsError(
            f"no tick of {site.key} lies between entry '{plain(site.entry)}' and the stop's limit of {limit}",
            "lower the leverage or add margin",
        )
    text = f"stop widened to the first tick beyond entry: a tick is {plain(site.instrument.tick)}"
    sketch.warnings.append(Reason(_STAGE, "stop_widened", text, str(sketch.stop), str(distance)))
    sketch.stop = distance
    return stop


def _reach_on_grid(
    sketch: Sketch, site: Site, legs: Sequence[Leg], stop: Price, *, reward_risk: Decimal, floor: Ratio
) -> Price:
    """Tighten the stop by the ticks that rounding took from reward:risk, not below the floor."""
    nearest = site.stop_tick(site.loss_price(floor))
    gain, size = _gain(site, legs)
    if gain >= reward_risk * size * site.sign * (site.entry - stop):
        return stop
    tighter = site.stop_tick(site.entry - site.sign * gain / (reward_risk * size))
    if site.sign * (nearest - tighter) < 0:
        tighter = nearest
    if site.sign * (tighter - stop) <= 0 or site.sign * (site.entry - tighter) <= 0:
        return stop
    distance = Ratio(site.sign * (site.entry - tighter) / site.entry)
    text = "stop tightened to reach reward:risk on the grid"
    sketch.reasons.append(Reason(_STAGE, "reward_risk_grid", text, str(sketch.stop), str(distance)))
    sketch.stop = distance
    return tighter


def _no_farther(sketch: Sketch, site: Site, stop: Price, own: Plan) -> Price:
    """Return the tighter of a stop and the one the plan has without the policy's suggestion."""
    if site.sign * (own.stop - stop) > 0:
        text = "a policy's suggestion moves no stop away: it stays where it lies without it"
        reason = Reason("stop", "stop_kept", text, plain(stop), plain(own.stop))
        sketch.reasons.append(reason)
        sketch.warnings = [one for one in sketch.warnings if one.code != _CROSSED]
        sketch.warnings.extend(one for one in own.warnings if one.code == _CROSSED)
        stop = own.stop
    sketch.stop = min(sketch.stop, own.stop_distance)
    return stop


def _keep_crossed(sketch: Sketch, stop: Price, mark: Price) -> Price:
    text = f"the mark {plain(mark)} has already crossed the planned stop {plain(stop)}: it would close at once"
    sketch.warnings.append(Reason("stop", _CROSSED, text))
    return stop


def _crossed(sketch: Sketch, site: Site, stop: Price, mark: Price, limit: Ratio | None) -> Price:
    """Measure the stop from the mark instead of entry, as far as the distance to liquidation allows."""
    anchored = mark * (ONE - site.sign * sketch.stop.fraction)
    if limit is not None and site.sign * (site.loss_price(limit) - anchored) > 0:
        anchored = site.loss_price(limit)
    anchored = site.stop_tick(anchored)
    if site.sign * (mark - anchored) <= 0:
        anchored = site.beyond(mark, profit=False)
        if limit is not None and site.sign * (site.loss_price(limit) - anchored) > 0:
            return _keep_crossed(sketch, stop, mark)
    distance = Ratio(site.sign * (site.entry - anchored) / site.entry)
    text = (
        f"the mark {plain(mark)} has already crossed the planned stop {plain(stop)}: "
        f"stop measured from the mark, at {plain(anchored)}"
    )
    sketch.warnings.append(Reason("stop", "stop_reanchored", text, plain(stop), plain(anchored)))
    sketch.stop = distance
    return anchored


def _gain(site: Site, legs: Sequence[Leg]) -> tuple[Decimal, Quantity]:
    """Return what the legs earn at their triggers before fees, and the size that earns it."""
    gain = sum((leg.quantity * site.sign * (leg.trigger - site.entry) for leg in legs), ZERO)
    return gain, sum((leg.quantity for leg in legs), ZERO)


def _reward_risk(site: Site, legs: Sequence[Leg], trail: Trail | None, stop: Price) -> Decimal:
    """Return mean profit at the triggers ÷ loss at the stop; a trail alone counts from its activation."""
    risk = site.sign * (site.entry - stop)
    if not legs and trail is not None:
        return trail.activation.of(site.entry) / risk
    gain, size = _gain(site, legs)
    return gain / (size * risk)
