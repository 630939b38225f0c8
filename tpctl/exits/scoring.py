"""Decides how well take-profits did: one record per strategy and symbol, folded from attempts one by one.

It holds no ids, so that an attempt counts once is for the caller to see to (I17), and it reads no clock: `last_updated`
is the time of the latest fact. Sums survive folding exactly: shares are kept to 12 places and times to the millisecond,
so that average times count gives the sum back; a store must keep the averages unrounded. Unset is None.
Source: exit-rules 12.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TypedDict

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import Attempt, Outcome
from tpctl.exits.units import ONE, ZERO, Millis, Money, Price, Quantity, trimmed

# exit-rules 12: how long the path after a miss is watched.
HORIZON_MS: Millis = 240 * 60_000

_SHARE_PLACES = Decimal("1e-12")
_MINUTE_MS = 60_000
# 12 places beside the counts of any lifetime; averages keep enough digits to give their sums back.
_CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN)
# Standard normal quantile of a two-sided 95 % interval.
_Z95 = Decimal("1.959963984540054")


@dataclass(frozen=True, slots=True)
class Record:
    """How the take-profits of one strategy on one symbol did; the fields are those of the metrics file.

    `avg_slippage_pct`, `max_slippage_pct` and `mean_signed_slippage_pct` are **fractions** of the target price (0.001
    is 0.1 %) despite the suffix, which operators' scripts know. Slippage, times and profit describe hits. A total of
    nothing is 0; an average, a fastest or a maximum of nothing is None. `premature_exits` counts verdicts, so a miss
    that is still watched is not in it yet; `missed_opportunities_usd` sums the verdicts that name an amount.
    """

    strategy_id: str
    symbol: str
    tp_attempts: int
    tp_hits: int
    tp_misses: int
    tp_hit_rate: Decimal | None
    avg_slippage_pct: Decimal | None
    max_slippage_pct: Decimal | None
    mean_signed_slippage_pct: Decimal | None
    avg_time_to_tp_minutes: Decimal | None
    fastest_tp_minutes: Decimal | None
    slowest_tp_minutes: Decimal | None
    total_tp_profit_usd: Money
    avg_tp_profit_usd: Money | None
    premature_exits: int
    missed_opportunities_usd: Money
    last_updated: Millis


class Feedback(TypedDict):
    """What training hears (exit-rules 12); None where nothing was measured."""

    tp_hit_rate: Decimal | None
    avg_slippage: Decimal | None
    premature_exit_rate: Decimal | None


def slippage(attempt: Attempt) -> Decimal:
    """Return the signed slippage as a fraction of the target price, favourable negative, to 12 places.

    A long that left above its target did better than planned, and so did a short that left below.
    """
    if attempt.target_price <= 0:
        raise InputsError(
            f"target price '{trimmed(attempt.target_price)}' of attempt '{attempt.id}' is not above zero",
            "correct the outcome record",
        )
    signed = attempt.position_side.sign * (attempt.target_price - attempt.exit_price)
    return _CONTEXT.divide(signed, attempt.target_price).quantize(_SHARE_PLACES, context=_CONTEXT)


def fold(record: Record | None, attempt: Attempt) -> Record:
    """Return the record with one more finished attempt in it; None starts a record.

    Raises `InputsError` for an attempt that ended before it began or has no target price, and `ValueError` for one of
    another strategy or symbol.
    """
    old = record or _empty(attempt)
    if (old.strategy_id, old.symbol) != (attempt.strategy_id, attempt.symbol):
        raise ValueError(f"attempt '{attempt.id}' is not of {old.strategy_id} {old.symbol}")
    if attempt.exit_time < attempt.entry_time:
        raise InputsError(f"attempt '{attempt.id}' ended before it began", "correct the outcome record")
    signed = slippage(attempt)
    updated = max(old.last_updated, attempt.exit_time)
    if attempt.outcome is Outcome.MISS:
        new = _counted(old, hits=old.tp_hits, misses=old.tp_misses + 1, updated=updated)
        if attempt.premature is None:
            return new
        return fold_verdict(new, Verdict(attempt.premature, attempt.missed_usd or ZERO), updated)
    hits = old.tp_hits + 1
    took_ms = attempt.exit_time - attempt.entry_time
    minutes = Decimal(took_ms) / _MINUTE_MS
    minutes_sum = _CONTEXT.divide(_millis_sum(old.avg_time_to_tp_minutes, old.tp_hits) + took_ms, _MINUTE_MS)
    profit = old.total_tp_profit_usd + attempt.profit_usd
    return replace(
        _counted(old, hits=hits, misses=old.tp_misses, updated=updated),
        avg_slippage_pct=_mean(_share_sum(old.avg_slippage_pct, old.tp_hits) + abs(signed), hits),
        max_slippage_pct=max(old.max_slippage_pct or ZERO, abs(signed)),
        mean_signed_slippage_pct=_mean(_share_sum(old.mean_signed_slippage_pct, old.tp_hits) + signed, hits),
        avg_time_to_tp_minutes=_mean(minutes_sum, hits),
        fastest_tp_minutes=minutes if old.fastest_tp_minutes is None else min(old.fastest_tp_minutes, minutes),
        slowest_tp_minutes=minutes if old.slowest_tp_minutes is None else max(old.slowest_tp_minutes, minutes),
        total_tp_profit_usd=profit,
        avg_tp_profit_usd=_mean(profit, hits),
    )


def _empty(attempt: Attempt) -> Record:
    return Record(
        strategy_id=attempt.strategy_id,
        symbol=attempt.symbol,
        tp_attempts=0,
        tp_hits=0,
        tp_misses=0,
        tp_hit_rate=None,
        avg_slippage_pct=None,
        max_slippage_pct=None,
        mean_signed_slippage_pct=None,
        avg_time_to_tp_minutes=None,
        fastest_tp_minutes=None,
        slowest_tp_minutes=None,
        total_tp_profit_usd=ZERO,
        avg_tp_profit_usd=None,
        premature_exits=0,
        missed_opportunities_usd=ZERO,
        last_updated=attempt.exit_time,
    )


def _counted(record: Record, *, hits: int, misses: int, updated: Millis) -> Record:
    return replace(
        record,
        tp_attempts=hits + misses,
        tp_hits=hits,
        tp_misses=misses,
        tp_hit_rate=_mean(Decimal(hits), hits + misses),
        last_updated=updated,
    )


def _mean(total: Decimal, count: int) -> Decimal:
    return _CONTEXT.divide(total, count)


def _share_sum(average: Decimal | None, count: int) -> Decimal:
    """Return the exact sum behind an average of shares that were kept to 12 places."""
    if average is None:
        return ZERO
    return _CONTEXT.multiply(average, count).quantize(_SHARE_PLACES, context=_CONTEXT)


def _millis_sum(average_minutes: Decimal | None, count: int) -> int:
    """Return the exact sum behind an average of minutes that were whole milliseconds."""
    if average_minutes is None:
        return 0
    return int(_CONTEXT.multiply(average_minutes, count * _MINUTE_MS).to_integral_value())


def feedback(records: Iterable[Record]) -> Feedback:
    """Return what training hears over all records: hits ÷ attempts, Σ slippage ÷ Σ hits, premature ÷ attempts."""
    rows = tuple(records)
    attempts, hits = sum(row.tp_attempts for row in rows), sum(row.tp_hits for row in rows)
    slipped = sum((_share_sum(row.avg_slippage_pct, row.tp_hits) for row in rows), ZERO)
    return {
        "tp_hit_rate": _mean(Decimal(hits), attempts) if attempts else None,
        "avg_slippage": _mean(slipped, hits) if hits else None,
        "premature_exit_rate": _mean(Decimal(sum(row.premature_exits for row in rows)), attempts) if attempts else None,
    }


def wilson(hits: int, n: int, z: Decimal = _Z95) -> tuple[Decimal, Decimal] | Unavailable:
    """Return the Wilson score interval of a hit rate, by default at 95 %; unavailable without attempts."""
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n} attempts")
    if not n:
        return Unavailable("no attempts yet")
    rate, square = _mean(Decimal(hits), n), z * z
    centre = rate + square / (2 * n)
    spread = z * ((rate * (1 - rate) + square / (4 * n)) / n).sqrt(_CONTEXT)
    scale = 1 + square / n
    return max(ZERO, (centre - spread) / scale), min(ONE, (centre + spread) / scale)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a miss left too early, and what holding on would have brought beyond its exit, in USD without fees.

    `after_ms` is how long after the exit the target was reached; None where it was not, or where that is not on record.
    """

    premature: bool
    missed_usd: Money
    after_ms: Millis | None = None


@dataclass(frozen=True, slots=True)
class Aftermath:
    """A miss whose price path is still watched, through `until`: target or stop, whichever comes first, decides."""

    attempt_id: str
    side: PositionSide
    target: Price
    stop: Price
    until: Millis
    quantity: Quantity
    exit_price: Price


def watch_after(attempt: Attempt, stop: Price, horizon_ms: Millis = HORIZON_MS) -> Aftermath | Verdict:
    """Start to watch a miss; `stop` is where the position would have been stopped had it been held.

    An exit at or through that stop is judged at once: it was not premature. Raises `ValueError` for a hit.
    """
    if attempt.outcome is not Outcome.MISS:
        raise ValueError(f"attempt '{attempt.id}' is a hit")
    if attempt.position_side.sign * (attempt.exit_price - stop) <= 0:
        return Verdict(False, ZERO)
    return Aftermath(
        attempt_id=attempt.id,
        side=attempt.position_side,
        target=attempt.target_price,
        stop=stop,
        until=attempt.exit_time + horizon_ms,
        quantity=attempt.quantity,
        exit_price=attempt.exit_price,
    )


def judge(aftermath: Aftermath, at: Millis, price: Price) -> Aftermath | Verdict:
    """Judge a watched miss on the next price of its path; the same aftermath while undecided.

    Premature where the target is reached by `until` with the stop not reached before, equality included. A price after
    the horizon is not looked at: the horizon is over.
    """
    return judge_bar(aftermath, at, price, price)


def judge_bar(aftermath: Aftermath, at: Millis, low: Price, high: Price, *, lasting: Millis = 0) -> Aftermath | Verdict:
    """Judge on one candle that opened at `at` and lasted so long, for the part of a path known only as candles.

    A candle that holds both levels counts as stopped first: what cannot be told is not called premature.
    """
    if at > aftermath.until:
        return Verdict(False, ZERO)
    sign = aftermath.side.sign
    best, worst = (high, low) if sign > 0 else (low, high)
    if sign * (worst - aftermath.stop) <= 0:
        return Verdict(False, ZERO)
    if sign * (best - aftermath.target) >= 0:
        missed = aftermath.quantity * sign * (aftermath.target - aftermath.exit_price)
        return Verdict(True, missed, at + lasting - (aftermath.until - HORIZON_MS))
    return aftermath


def fold_verdict(record: Record, verdict: Verdict, at: Millis) -> Record:
    """Return the record with the verdict on one of its misses in it; `at` is when it was reached."""
    return replace(
        record,
        premature_exits=record.premature_exits + verdict.premature,
        missed_opportunities_usd=record.missed_opportunities_usd + verdict.missed_usd,
        last_updated=max(record.last_updated, at),
    )
