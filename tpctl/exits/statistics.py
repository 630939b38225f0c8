"""Decides what is counted of finished take-profit attempts, how counts become figures, and when a figure is bad.

An attempt is measured once, in whole numbers of 10⁻¹² (pico), so that sums are exact whatever the order they are made
in, and can be stored, split and added again. What was not recorded is None and counted out of its average, never zero.
It reads no clock and judges nothing.
Sources: exit-rules 12 (definitions, targets, the metrics file's fields).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from operator import add
from typing import Self

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Attempt, Outcome
from tpctl.exits.scoring import slippage, wilson
from tpctl.exits.units import ZERO, Millis, Money, Price

PICO = 10**12
_PICO_PLACES = Decimal("1e-12")
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
# As many digits as the metrics file carries, so that both show the same average.
_AVERAGES = Context(prec=34, rounding=ROUND_HALF_EVEN)
_MINUTE_MS = 60_000
# Standard normal quantile of a two-sided 95 % interval.
_Z95 = Decimal("1.959963984540054")


class Dimension(StrEnum):
    """What attempts can be grouped by.

    Hour and weekday (0 is Monday) are those of the exit, UTC; regime is the one the first plan was made under; distance
    is that of the target from the entry, in bands of half a percent; arm is `experiment/arm`, empty where none
    was drawn.
    """

    STRATEGY = "strategy"
    SYMBOL = "symbol"
    LEG = "leg"
    SIDE = "side"
    HOUR = "hour"
    WEEKDAY = "weekday"
    REASON = "reason"
    REGIME = "regime"
    DISTANCE = "distance"
    ARM = "arm"


@dataclass(frozen=True, slots=True)
class Measured:
    """One finished attempt in numbers; `None` is not recorded (or, of a miss, does not apply).

    `slip` is the signed share of the target price, favourable negative; `profit`, `missed` and `risk` (to the first
    stop) are USD, `r` is profit in units of that risk, `share` of the notional at entry, `roi` of the margin: all pico.
    """

    at: Millis
    hit: bool
    slip: int | None
    took: Millis
    profit: int
    r: int | None
    risk: int | None
    share: int
    roi: int | None
    premature: bool | None
    missed: int | None


def measure(attempt: Attempt, stop: Price | None, leverage: Decimal | None) -> Measured:
    """Return an attempt in numbers; `stop` and `leverage` are those of the position's first plan, None if unknown.

    Raises `InputsError` for one without a target price.
    """
    hit = attempt.outcome is Outcome.HIT
    notional = attempt.entry_price * attempt.quantity
    risk = abs(attempt.entry_price - stop) * attempt.quantity if stop is not None else ZERO
    share = to_pico(_CONTEXT.divide(attempt.profit_usd, notional)) if notional else 0
    return Measured(
        at=attempt.exit_time,
        hit=hit,
        slip=to_pico(slippage(attempt)) if hit else None,
        took=attempt.exit_time - attempt.entry_time,
        profit=to_pico(attempt.profit_usd),
        r=to_pico(_CONTEXT.divide(attempt.profit_usd, risk)) if risk else None,
        risk=to_pico(risk) if risk else None,
        share=share,
        roi=to_pico(_CONTEXT.multiply(Decimal(share), leverage) / PICO) if leverage is not None else None,
        premature=None if hit else attempt.premature,
        missed=None if hit or attempt.premature is None else to_pico(attempt.missed_usd or ZERO),
    )


def to_pico(value: Decimal) -> int:
    """Return a decimal as a whole number of pico, rounded half-even."""
    return int(_CONTEXT.quantize(value, _PICO_PLACES).scaleb(12, context=_CONTEXT))


def from_pico(value: int) -> Decimal:
    """Return the decimal a number of pico stands for."""
    return Decimal(value).scaleb(-12, context=_CONTEXT)


@dataclass(slots=True)
class Tally:
    """The sums of some attempts, from which every figure is made. Mutable, because millions are added into few.

    `slip_squares` is in parts per million squared, which is fine enough for an error bar and fits any sum.
    """

    attempts: int = 0
    hits: int = 0
    slip_abs: int = 0
    slip_sum: int = 0
    slip_squares: int = 0
    took: int = 0
    gain: int = 0
    profit: int = 0
    with_r: int = 0
    r: int = 0
    share: int = 0
    with_roi: int = 0
    roi: int = 0
    judged: int = 0
    premature: int = 0
    missed: int = 0
    slip_max: int = 0
    slowest: int = 0
    updated: int = 0
    fastest: int = 0

    @classmethod
    def of(cls, rows: Iterable[Measured]) -> Self:
        """Return the sums of some attempts."""
        tally = cls()
        for row in rows:
            tally.add(row)
        return tally

    def add(self, row: Measured) -> None:
        """Add one attempt."""
        self.attempts += 1
        self.profit += row.profit
        self.share += row.share
        self.updated = max(self.updated, row.at)
        if row.r is not None:
            self.with_r += 1
            self.r += row.r
        if row.roi is not None:
            self.with_roi += 1
            self.roi += row.roi
        if row.hit:
            self._add_hit(row)
        elif row.premature is not None:
            self.add_verdict(row.premature, row.missed or 0)

    def _add_hit(self, row: Measured) -> None:
        slip = row.slip or 0
        size = abs(slip)
        self.fastest = min(self.fastest, row.took) if self.hits else row.took
        self.slowest = max(self.slowest, row.took)
        self.hits += 1
        self.slip_abs += size
        self.slip_max = max(self.slip_max, size)
        self.slip_sum += slip
        self.slip_squares += (size // 10**6) ** 2
        self.took += row.took
        self.gain += row.profit

    def add_verdict(self, premature: bool, missed: int) -> None:
        """Add what hindsight says of a miss that is in already."""
        self.judged += 1
        self.premature += premature
        self.missed += missed

    def numbers(self) -> list[int]:
        """Return the sums in the order of the fields, for a store and for `join`."""
        return [getattr(self, name) for name in _FIELDS]

    @property
    def misses(self) -> int:
        """How many attempts did not reach their target."""
        return self.attempts - self.hits

    @property
    def hit_rate(self) -> Decimal | None:
        """Hits ÷ finished attempts."""
        return _ratio(self.hits, self.attempts)

    @property
    def hit_interval(self) -> tuple[Decimal, Decimal] | Unavailable:
        """The Wilson 95 % interval of the hit rate."""
        return wilson(self.hits, self.attempts)

    @property
    def average_slippage(self) -> Decimal | None:
        """Mean |exit - target| ÷ target of hits."""
        return _mean(self.slip_abs, self.hits)

    @property
    def largest_slippage(self) -> Decimal | None:
        """Largest |exit - target| ÷ target of hits."""
        return from_pico(self.slip_max) if self.hits else None

    @property
    def signed_slippage(self) -> Decimal | None:
        """Mean signed slippage of hits, favourable negative."""
        return _mean(self.slip_sum, self.hits)

    @property
    def slippage_interval(self) -> tuple[Decimal, Decimal] | Unavailable:
        """The 95 % interval of the mean |slippage|, by the normal approximation; too few hits have none."""
        average = self.average_slippage
        if average is None or self.hits < 2:
            return Unavailable("fewer than two hits")
        if self.slip_abs and not self.slip_squares:
            return Unavailable("the spread of slippage is not on record")
        squares = Decimal(self.slip_squares).scaleb(-12)
        variance = max(ZERO, (squares / self.hits - average * average) * self.hits / (self.hits - 1))
        spread = _Z95 * (variance / self.hits).sqrt()
        return max(ZERO, average - spread), average + spread

    @property
    def average_minutes(self) -> Decimal | None:
        """Mean minutes from entry to a hit."""
        return _AVERAGES.divide(Decimal(self.took), self.hits * _MINUTE_MS) if self.hits else None

    @property
    def fastest_minutes(self) -> Decimal | None:
        """Fewest minutes from entry to a hit."""
        return Decimal(self.fastest) / _MINUTE_MS if self.hits else None

    @property
    def slowest_minutes(self) -> Decimal | None:
        """Most minutes from entry to a hit."""
        return Decimal(self.slowest) / _MINUTE_MS if self.hits else None

    @property
    def hit_profit(self) -> Money:
        """Profit of the hits, USD net of exit fees."""
        return from_pico(self.gain)

    @property
    def average_hit_profit(self) -> Money | None:
        """Mean profit of a hit, USD."""
        return _mean(self.gain, self.hits)

    @property
    def total_profit(self) -> Money:
        """Profit of all attempts, hits and misses, USD net of exit fees."""
        return from_pico(self.profit)

    @property
    def average_profit(self) -> Money | None:
        """Mean profit of an attempt, USD."""
        return _mean(self.profit, self.attempts)

    @property
    def average_r(self) -> Decimal | None:
        """Mean profit in units of risk, of the attempts whose first stop is on record."""
        return _mean(self.r, self.with_r)

    @property
    def average_share(self) -> Decimal | None:
        """Mean profit as a fraction of the notional at entry."""
        return _mean(self.share, self.attempts)

    @property
    def average_roi(self) -> Decimal | None:
        """Mean profit as a fraction of the margin, of the attempts whose leverage is on record."""
        return _mean(self.roi, self.with_roi)

    @property
    def missed_usd(self) -> Money:
        """What premature exits would have brought beyond theirs, USD."""
        return from_pico(self.missed)

    @property
    def premature_rate(self) -> Decimal | None:
        """Premature exits ÷ attempts, as training hears it (exit-rules 12); verdicts still to come count as none."""
        return _ratio(self.premature, self.attempts)

    @property
    def premature_interval(self) -> tuple[Decimal, Decimal] | Unavailable:
        """The Wilson 95 % interval of the premature rate."""
        return wilson(self.premature, self.attempts)


_FIELDS = tuple(field.name for field in fields(Tally))
_ADDED = _FIELDS.index("slip_max")
_FASTEST = _FIELDS.index("fastest")
_HITS = _FIELDS.index("hits")


def join(sums: list[int], more: Sequence[int]) -> None:
    """Add the numbers of one tally to those of another, in place: the first fields add up, the last are extremes."""
    fastest = sums[_FASTEST]
    if more[_HITS]:
        fastest = min(fastest, more[_FASTEST]) if sums[_HITS] else more[_FASTEST]
    sums[:_ADDED] = map(add, sums, more[:_ADDED])
    sums[_ADDED:_FASTEST] = map(max, sums[_ADDED:_FASTEST], more[_ADDED:_FASTEST])
    sums[_FASTEST] = fastest


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the sums of several groups together."""
    sums = Tally().numbers()
    for tally in tallies:
        join(sums, tally.numbers())
    return Tally(*sums)


def _ratio(part: int, whole: int) -> Decimal | None:
    return _AVERAGES.divide(Decimal(part), whole) if whole else None


def _mean(total: int, count: int) -> Decimal | None:
    """Return the average of a sum in pico."""
    return _AVERAGES.divide(from_pico(total), count) if count else None


def quantile_rank(count: int, share: Decimal) -> int:
    """Return the 0-based rank of a quantile among `count` sorted values (nearest rank: a value that occurred)."""
    if count < 1 or not 0 <= share <= 1:
        raise ValueError(f"no rank for quantile {share} of {count}")
    return max(0, int((share * count).to_integral_value(rounding="ROUND_CEILING")) - 1)


def quantile(ordered: Sequence[Decimal], share: Decimal) -> Decimal | None:
    """Return the nearest-rank quantile of sorted values; None of none."""
    return ordered[quantile_rank(len(ordered), share)] if ordered else None
