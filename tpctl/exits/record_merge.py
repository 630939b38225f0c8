"""Adds up the records of several metrics files. Pure; which files may be added is for the caller to know."""

from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal

from tpctl.exits.scoring import Record
from tpctl.exits.units import ZERO

_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
# As many digits as the metrics file carries.
_AVERAGES = Context(prec=34, rounding=ROUND_HALF_EVEN)


def merge_records(records: Iterable[Record]) -> dict[str, Record]:
    """Return the records of several metrics files by key, counts and sums added, averages weighted by their counts.

    A metrics file names no attempts, so nothing can tell whether two files counted the same one: the caller has to know
    that they come from different accounts.
    """
    merged: dict[str, Record] = {}
    for record in records:
        key = f"{record.strategy_id}:{record.symbol}"
        merged[key] = _joined(merged[key], record) if key in merged else record
    return merged


def _extreme(choose: Callable[[Decimal, Decimal], Decimal], one: Decimal | None, two: Decimal | None) -> Decimal | None:
    return choose(one, two) if one is not None and two is not None else one if two is None else two


def _joined(one: Record, two: Record) -> Record:
    hits, misses = one.tp_hits + two.tp_hits, one.tp_misses + two.tp_misses
    gain = one.total_tp_profit_usd + two.total_tp_profit_usd

    def weighted(name: str) -> Decimal | None:
        sums = [(getattr(r, name), r.tp_hits) for r in (one, two) if getattr(r, name) is not None]
        counted = sum(count for _, count in sums)
        whole = sum((_CONTEXT.multiply(value, Decimal(count)) for value, count in sums), ZERO)
        return _AVERAGES.divide(whole, counted) if counted else None

    return Record(
        strategy_id=one.strategy_id,
        symbol=one.symbol,
        tp_attempts=hits + misses,
        tp_hits=hits,
        tp_misses=misses,
        tp_hit_rate=_AVERAGES.divide(Decimal(hits), hits + misses) if hits + misses else None,
        avg_slippage_pct=weighted("avg_slippage_pct"),
        max_slippage_pct=_extreme(max, one.max_slippage_pct, two.max_slippage_pct),
        mean_signed_slippage_pct=weighted("mean_signed_slippage_pct"),
        avg_time_to_tp_minutes=weighted("avg_time_to_tp_minutes"),
        fastest_tp_minutes=_extreme(min, one.fastest_tp_minutes, two.fastest_tp_minutes),
        slowest_tp_minutes=_extreme(max, one.slowest_tp_minutes, two.slowest_tp_minutes),
        total_tp_profit_usd=gain,
        avg_tp_profit_usd=_AVERAGES.divide(gain, hits) if hits else None,
        premature_exits=one.premature_exits + two.premature_exits,
        missed_opportunities_usd=one.missed_opportunities_usd + two.missed_opportunities_usd,
        last_updated=max(one.last_updated, two.last_updated),
    )
