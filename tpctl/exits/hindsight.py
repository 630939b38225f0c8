"""Decides what the price path after an exit tells: how far the price still went, and what other exits had given.

A position is settled once, when its path is known for four hours after the exit. Every alternative is played over the
same candles from the finding of the position to that end, by the reducer where it has rules (`path_replay`), so that
`as_planned` beside the real outcome tells how far a replay on candles is from what happened. Inside a candle the price
goes from the open to the worst, to the best, to the close, so that a stop is judged before a target: what candles do
not tell is never counted in favour of an alternative. The minute in which the position was found is left out, and so is
the minute of its exit.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tpctl.exits.episode import Episode
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Policy, PositionKey
from tpctl.exits.path_replay import Opening, Play, Played, Point
from tpctl.exits.rules import ExitRules
from tpctl.exits.scoring import HORIZON_MS
from tpctl.exits.settlement import ALTERNATIVES, HORIZONS, After, Alternative, Settlement, Stretch
from tpctl.exits.units import Millis, Money, Price, Quantity, Ratio

MINUTE_MS: Millis = 60_000
# How much tighter and looser the other trails are.
_TIGHTER, _LOOSER = Ratio.percent("50"), Ratio.percent("150")
# The path that is kept for drawing, in steps at most: while the position was held, the hour after it, and the rest.
_HELD_STEPS, _HOUR_STEPS, _LATER_STEPS = 32, 15, 12
# Candles of a path between two breaths: a few milliseconds of work.
_BREATH = 10


class Bar(NamedTuple):
    """One candle of a minute, exact."""

    at: Millis
    open: Price
    high: Price
    low: Price
    close: Price


@dataclass(frozen=True, slots=True)
class Life:
    """One closed position as the journal has it. `pnl` is after the fees of its exits; `stop` is the first one.

    `opening` is what was known when it was found, or why that is not on record.
    """

    generation: str
    key: PositionKey
    opened_at: Millis
    closed_at: Millis
    entry: Price
    quantity: Quantity
    average_exit: Price
    pnl: Money
    opening: Opening | Unavailable
    stop: Price | None = None
    policy: str | None = None
    arm: str | None = None

    @property
    def path_from(self) -> Millis:
        """When the first whole minute of its path began."""
        return _next_minute(self.opened_at)

    @property
    def path_until(self) -> Millis:
        """When the last minute its settlement needs is over."""
        return _next_minute(self.closed_at) + HORIZON_MS


def missing_minutes(bars: Sequence[Bar], since: Millis, until: Millis) -> Unavailable | None:
    """Return why candles do not cover [since, until) minute by minute, None where they do."""
    expected = range(since, until, MINUTE_MS)
    if len(bars) == len(expected) and all(bar.at == at for bar, at in zip(bars, expected, strict=True)):
        return None
    known = {bar.at for bar in bars}
    lacking = [at for at in expected if at not in known]
    if not lacking:
        return Unavailable("the candles are not one a minute")
    return Unavailable(f"{len(lacking)} of {len(expected)} one-minute candles are missing, the first at {lacking[0]}")


def settle(life: Life, bars: Sequence[Bar], rules: ExitRules) -> Iterator[Settlement | None]:
    """Yield None after every few milliseconds of work, and at last what the whole path says.

    `bars` are the candles that open from `life.path_from` up to `life.path_until`, none missing; raises `ValueError`
    where they are not.
    """
    gap = missing_minutes(bars, life.path_from, life.path_until)
    if gap is not None:
        raise ValueError(gap.reason)
    alternatives: list[Alternative] = []
    regret: Money | None = None
    if isinstance(life.opening, Unavailable):
        alternatives += [Alternative(name, None, None, life.opening.reason) for name in ALTERNATIVES]
    else:
        best = _clairvoyant(life, life.opening, bars)
        regret = None if best.pnl is None else best.pnl - life.pnl
        alternatives += [_held_on(life.opening, bars), best]
        own = rules if life.policy is None else replace(rules, policy=Policy(life.policy))
        yield from _rule_by_rule(life.opening, bars, own, alternatives)
    order = {name: place for place, name in enumerate(ALTERNATIVES)}
    yield Settlement(
        generation=life.generation,
        key=life.key,
        closed_at=life.closed_at,
        policy=life.policy,
        arm=life.arm,
        entry=life.entry,
        average_exit=life.average_exit,
        quantity=life.quantity,
        pnl=life.pnl,
        risk=None if life.stop is None else abs(life.entry - life.stop) * life.quantity,
        after=tuple(_after(life, bars)),
        alternatives=tuple(sorted(alternatives, key=lambda one: order[one.name])),
        regret=regret,
        path=tuple(_path(life, bars)),
    )


def _path(life: Life, bars: Sequence[Bar]) -> Iterator[Stretch]:
    """Yield the path as it is kept: up to the minute of the exit, and what came after it."""
    held = (life.path_until - HORIZON_MS - life.path_from) // MINUTE_MS
    hour = held + 60
    for part, steps in ((bars[:held], _HELD_STEPS), (bars[held:hour], _HOUR_STEPS), (bars[hour:], _LATER_STEPS)):
        if not part:
            continue
        wide = -(-len(part) // steps)
        groups = [part[start : start + wide] for start in range(0, len(part), wide)]
        yield Stretch(
            since=part[0].at,
            step_ms=wide * MINUTE_MS,
            low=tuple(min(bar.low for bar in group) for group in groups),
            high=tuple(max(bar.high for bar in group) for group in groups),
            last=tuple(group[-1].close for group in groups),
        )


def _rule_by_rule(opening: Opening, bars: Sequence[Bar], own: ExitRules, found: list[Alternative]) -> Iterator[None]:
    """Play what the rules had done, each in small pieces; the same rules are played once."""
    planned: Played | None = None
    for name, make in _RULED.items():
        yield None
        if planned is not None and name == own.policy.value:
            found.append(_told(name, planned))
            continue
        play = make(opening, own)
        if isinstance(play, Unavailable):
            found.append(Alternative(name, None, None, play.reason))
            continue
        for number, bar in enumerate(bars, start=1):
            for point in points_of(bar, opening.key.side.sign):
                play.see(point)
            play.tick(bar.at + MINUTE_MS)
            if play.over:
                break
            if number % _BREATH == 0:
                yield None
        result = play.result()
        planned = planned or result
        found.append(_told(name, result))


def points_of(bar: Bar, sign: int) -> Iterator[Point]:
    """Yield the four prices of a candle, the worst for the side before the best."""
    worst, best = (bar.low, bar.high) if sign > 0 else (bar.high, bar.low)
    quarter = MINUTE_MS // 4
    yield Point(bar.at, bar.open, jump=True)
    for number, price in enumerate((worst, best, bar.close), start=1):
        yield Point(bar.at + number * quarter, price)


def _after(life: Life, bars: Iterable[Bar]) -> Iterator[After]:
    start = _next_minute(life.closed_at)
    sign = life.key.side.sign
    for minutes in HORIZONS:
        seen = [bar for bar in bars if start <= bar.at < start + minutes * MINUTE_MS]
        highs, lows = max(bar.high for bar in seen), min(bar.low for bar in seen)
        best, worst = (highs, lows) if sign > 0 else (lows, highs)
        yield After(minutes, best, worst, seen[-1].close)


def _held_on(opening: Opening, bars: Sequence[Bar]) -> Alternative:
    """Never leave: what the position is worth at the end of the path, or liquidation where that came first."""
    sign, liquidation = opening.key.side.sign, _liquidation(opening)
    if liquidation is not None:
        for bar in bars:
            if sign * ((bar.low if sign > 0 else bar.high) - liquidation) <= 0:
                return _sold("no_exit", opening, liquidation, bar.at, "liquidated")
    return _sold("no_exit", opening, bars[-1].close, bars[-1].at + MINUTE_MS, "held to the end of the path")


def _liquidation(opening: Opening) -> Price | None:
    episode = Play(opening, ExitRules()).episode
    return None if episode is None or episode.plan is None else episode.plan.liquidation


def _clairvoyant(life: Life, opening: Opening, bars: Sequence[Bar]) -> Alternative:
    """Leave at the best price of the whole path, which nobody could know."""
    sign = life.key.side.sign
    best = max(bars, key=lambda bar: sign * (bar.high if sign > 0 else bar.low))
    return _sold("clairvoyant", opening, best.high if sign > 0 else best.low, best.at, "the best price of the path")


def _sold(name: str, opening: Opening, price: Price, at: Millis, reason: str) -> Alternative:
    gross = opening.key.side.sign * (price - opening.entry) * opening.quantity
    fee = opening.context.taker_fee.fraction * price * opening.quantity
    return Alternative(name, gross - fee, at, reason)


def _told(name: str, played: Played) -> Alternative:
    return Alternative(name, played.profit, played.ended_at, played.reason)


def _as_planned(opening: Opening, rules: ExitRules) -> Play | Unavailable:
    return Play(opening, rules)


def _with_policy(policy: Policy) -> Callable[[Opening, ExitRules], Play | Unavailable]:
    return lambda opening, rules: Play(opening, replace(rules, policy=policy))


def _with_trail(factor: Ratio) -> Callable[[Opening, ExitRules], Play | Unavailable]:
    def made(opening: Opening, rules: ExitRules) -> Play | Unavailable:
        lowest, highest = rules.trail.min_callback, rules.trail.max_callback

        def changed(episode: Episode) -> Episode:
            terms = episode.trail_terms
            if terms is None:
                return episode
            callback = min(max(terms.callback.scaled(factor.fraction), lowest), highest)
            return replace(episode, trail=replace(terms, callback=callback), callback=callback)

        play = Play(opening, rules, changed)
        if play.episode is None or play.episode.trail_terms is None:
            return Unavailable("the plan has no trail")
        return play

    return made


_RULED: dict[str, Callable[[Opening, ExitRules], Play | Unavailable]] = {
    "as_planned": _as_planned,
    "dynamic": _with_policy(Policy.DYNAMIC),
    "static": _with_policy(Policy.STATIC),
    "trail_tighter": _with_trail(_TIGHTER),
    "trail_looser": _with_trail(_LOOSER),
}


def _next_minute(at: Millis) -> Millis:
    """Return when the first minute that begins after a time begins."""
    return at - at % MINUTE_MS + MINUTE_MS
