"""Decides how many units each leg of a ladder closes: whole steps, no leg too small, the sum exact.

The criterion: among all splits into whole steps that sum to what the legs are to close and whose legs are either zero
or at least the minimum, the one with the smallest sum of squared deviations from the asked quantities, in steps. Ties
go to the earlier leg, which gets more. It never closes more than the position (I2) and never turns a leg that is too
small into "close all". Sources: exit-rules 7, binance-usdm 3.1 and 3.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import combinations

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument
from tpctl.exits.model import Reason
from tpctl.exits.quantize import Direction, market_limits, market_step, quantity_for_notional, snap, whole_steps
from tpctl.exits.units import ZERO, Price, Quantity, plain, trimmed

# Where minimums bind and differ, every set of surviving legs is weighed: 4095 of them at this length.
MAX_LEGS = 12

# A third written as a decimal three times over still means the whole position.
_WHOLE = Fraction(1, 10**9)


@dataclass(frozen=True, slots=True)
class Allocation:
    """What each asked leg closes, zero where it was merged away, and why. `merges` also reports dust left out."""

    quantities: tuple[Quantity, ...]
    merges: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Ask:
    """The question in whole steps: what each leg asked for, the least it may close, what they close together."""

    asked: tuple[Fraction, ...]
    least: tuple[int, ...]
    total: int


def allocate(
    total: Quantity,
    fractions: tuple[Decimal, ...],
    instrument: Instrument,
    prices: tuple[Price, ...],
    *,
    reduce_only: bool = True,
) -> Allocation:
    """Split `total` over legs that asked for `fractions` of it, at `prices` (needed for the minimum notional only).

    Quantities are multiples of both lot steps, so each can go out as a limit or a market order. Fractions that sum to
    less than 1 leave the rest, rounded up to the step, to the trail; so do legs that are too small even together. A leg
    below the minimum quantity, or below the minimum notional where the order is not `reduce_only`, merges into its
    neighbour, with a reason. Raises `InputsError` where not even one order of the whole position is accepted, and for
    fractions below 0, above 1 together, or more than `MAX_LEGS` of them.
    """
    _check_fractions(fractions, prices)
    step = market_step(instrument)
    if not step:
        raise InputsError(f"{instrument.symbol} has no quantity step", "read the exchange's rules again")
    steps = whole_steps(total, step)
    least = tuple(_least(instrument, step, price, reduce_only) for price in prices)
    wanted = [count for count, fraction in zip(least, fractions, strict=True) if fraction]
    smallest = min(wanted, default=_least(instrument, step, ZERO, reduce_only=True))
    if steps < smallest:
        raise InputsError(
            f"position of '{plain(total)}' {instrument.symbol} is below the smallest order '{plain(smallest * step)}'",
            "close it with a closePosition order or by hand",
        )
    share = sum((Fraction(fraction) for fraction in fractions), Fraction(0))
    if abs(1 - share) <= _WHOLE:
        ask = _Ask(tuple(Fraction(fraction) / share * steps for fraction in fractions), least, steps)
    else:
        ask = _Ask(tuple(Fraction(fraction) * steps for fraction in fractions), least, int(share * steps))
    split = _split(ask)
    return Allocation(
        tuple(count * step for count in split),
        (*_merges(ask, split, step, instrument), *_dust(total, steps * step, step)),
    )


def slices(quantity: Quantity, instrument: Instrument) -> tuple[Quantity, ...]:
    """Split a market quantity into the fewest orders within the largest one allowed, as equal as the step permits.

    What is below a step is left out, as in `round_quantity`; a quantity below one step gives no slice.
    """
    step = market_step(instrument)
    _, largest = market_limits(instrument)
    on_grid = snap(quantity, step, Direction.DOWN)
    if not on_grid:
        return ()
    if not largest or on_grid <= largest:
        return (on_grid,)
    if not step:
        raise InputsError(f"{instrument.symbol} has no quantity step", "read the exchange's rules again")
    steps, per_order = whole_steps(on_grid, step), whole_steps(largest, step)
    if not per_order:
        raise InputsError(
            f"{instrument.symbol} allows '{plain(largest)}' an order, less than its step '{plain(step)}'",
            "read the exchange's rules again",
        )
    count = -(-steps // per_order)
    each, longer = divmod(steps, count)
    return tuple((each + (number < longer)) * step for number in range(count))


def _check_fractions(fractions: tuple[Decimal, ...], prices: tuple[Price, ...]) -> None:
    if len(fractions) != len(prices):
        raise ValueError(f"{len(fractions)} fractions for {len(prices)} prices")
    if len(fractions) > MAX_LEGS:
        raise InputsError(f"a ladder of '{len(fractions)}' legs is longer than {MAX_LEGS}", "ask for fewer legs")
    if any(fraction < 0 for fraction in fractions):
        raise InputsError(f"leg fraction '{min(fractions)}' is below zero", "give each leg a share of 0 or more")
    if sum((Fraction(fraction) for fraction in fractions), Fraction(0)) > 1 + _WHOLE:
        raise InputsError(f"leg fractions sum to '{sum(fractions)}', above 1", "let the shares sum to 1 or less")


def _least(instrument: Instrument, step: Quantity, price: Price, reduce_only: bool) -> int:
    """Return the fewest steps one order at `price` may have."""
    least = snap(market_limits(instrument)[0], step, Direction.UP)
    if not reduce_only and instrument.min_notional:
        least = max(least, quantity_for_notional(instrument.min_notional, price, step))
    return max(1, whole_steps(least, step))


def _split(ask: _Ask) -> tuple[int, ...]:
    """Return the optimal split; all zero where no leg can be placed at all."""
    nearest = _largest_remainder(ask.asked, ask.total)
    if all(not count or count >= least for count, least in zip(nearest, ask.least, strict=True)):
        # The optimum without minimums, and it respects them.
        return nearest
    best: tuple[Fraction, tuple[int, ...]] | None = None
    for kept in _kept(ask):
        split = _split_over(ask, kept)
        cost = sum(((count - want) ** 2 for count, want in zip(split, ask.asked, strict=True)), Fraction(0))
        if best is None or (cost, [-count for count in split]) < (best[0], [-count for count in best[1]]):
            best = cost, split
    return best[1] if best else (0,) * len(ask.asked)


def _largest_remainder(asked: tuple[Fraction, ...], total: int) -> tuple[int, ...]:
    """Round to whole steps that sum to `total`, up where the remainder is largest: the least squares optimum.

    `total` lies between the sum of the floors and that sum plus the number of legs.
    """
    floors = [int(want) for want in asked]
    by_remainder = sorted(range(len(asked)), key=lambda leg: (floors[leg] - asked[leg], leg))
    for leg in by_remainder[: total - sum(floors)]:
        floors[leg] += 1
    return tuple(floors)


def _kept(ask: _Ask) -> Iterator[tuple[int, ...]]:
    """Yield the sets of legs worth weighing, each with minimums that fit together into the total."""
    legs = [leg for leg, want in enumerate(ask.asked) if want]
    if len({ask.least[leg] for leg in legs}) == 1:
        # Handing what a leg closes to one that asked for more is always closer, so of any size the largest asks win.
        by_size = sorted(legs, key=lambda leg: (-ask.asked[leg], leg))
        most = min(len(legs), ask.total // ask.least[legs[0]])
        yield from (tuple(sorted(by_size[:size])) for size in range(1, most + 1))
        return
    for size in range(1, len(legs) + 1):
        for kept in combinations(legs, size):
            if sum(ask.least[leg] for leg in kept) <= ask.total:
                yield kept


def _split_over(ask: _Ask, kept: tuple[int, ...]) -> tuple[int, ...]:
    """Return the optimal split in which exactly the legs of `kept` close something.

    The optimum over the reals lifts every leg by the same amount and holds those that stay short at their minimum;
    rounding the others by largest remainder gives the optimum in whole steps, because the next step of a held leg costs
    more than any of theirs.
    """
    counts = [0] * len(ask.asked)
    free = list(kept)
    while free:
        room = ask.total - sum(ask.least[leg] for leg in kept if leg not in free)
        lift = (room - sum((ask.asked[leg] for leg in free), Fraction(0))) / len(free)
        short = [leg for leg in free if ask.asked[leg] + lift < ask.least[leg]]
        if not short:
            rounded = _largest_remainder(tuple(ask.asked[leg] + lift for leg in free), room)
            for leg, count in zip(free, rounded, strict=True):
                counts[leg] = count
            break
        free = [leg for leg in free if leg not in short]
    for leg in kept:
        counts[leg] = counts[leg] or ask.least[leg]
    return tuple(counts)


def _merges(ask: _Ask, split: tuple[int, ...], step: Quantity, instrument: Instrument) -> Iterator[Reason]:
    after = " / ".join(plain(count * step) for count in split)
    for leg, (count, want) in enumerate(zip(split, ask.asked, strict=True)):
        if count or not want:
            continue
        wanted = trimmed(Decimal(want.numerator) / want.denominator * step, 8)
        neighbour = _neighbour(split, leg)
        target = "the trail" if neighbour is None else f"leg {neighbour + 1}"
        yield Reason(
            "quantize",
            "leg_merged",
            f"Leg {leg + 1} of {wanted} {instrument.symbol} merged into {target}: "
            f"the smallest order is {plain(ask.least[leg] * step)}, the legs now close {after}",
            before=wanted,
            after=plain(0 * step),
        )


def _neighbour(split: tuple[int, ...], leg: int) -> int | None:
    """Return the nearest leg that closes something, the earlier of two; None where there is none."""
    alive = [other for other, count in enumerate(split) if count]
    return min(alive, key=lambda other: (abs(other - leg), other), default=None)


def _dust(total: Quantity, placed: Quantity, step: Quantity) -> Iterator[Reason]:
    if total != placed:
        yield Reason(
            "quantize",
            "dust",
            f"{trimmed(total - placed)} of the position is below the step of {plain(step)} and cannot be placed",
            before=plain(total),
            after=plain(placed),
        )
