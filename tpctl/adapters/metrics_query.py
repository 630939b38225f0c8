"""Questions to the metrics index, and nothing about how the answers look.

What the sums were made for (whole months; one dimension beside strategy and symbol) is answered from the sums; anything
finer walks the rows it needs, one at a time. Times are the exits'.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from operator import itemgetter
from typing import Any

from tpctl.adapters.metrics_cells import (
    ROW_COLUMNS,
    SIDES,
    hour_of,
    month_of,
    month_start,
    numbered,
    row_of,
    unpack,
    unpack_drawn,
    weekday_of,
)
from tpctl.adapters.metrics_index import MetricsIndex
from tpctl.exits.model import PositionKey
from tpctl.exits.statistics import Dimension, Measured, Tally, from_pico, join, quantile_rank
from tpctl.exits.units import Millis, Money, Price, Quantity
from tpctl.market.incidence import band

_CUBES: Mapping[Dimension, str] = {
    Dimension.LEG: "parts",
    Dimension.SIDE: "parts",
    Dimension.REASON: "parts",
    Dimension.HOUR: "hour",
    Dimension.WEEKDAY: "weekday",
    Dimension.REGIME: "drawn",
    Dimension.ARM: "drawn",
    Dimension.DISTANCE: "distance",
}
# Dimensions whose stored value is the group itself.
_NUMBERED = frozenset({Dimension.LEG, Dimension.HOUR, Dimension.WEEKDAY, Dimension.DISTANCE})
_HALF = 10**9
QUANTILES = (Decimal("0.5"), Decimal("0.9"), Decimal("0.99"))

Group = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which attempts are asked for. Empty names all; `since` is inclusive, `until` exclusive."""

    strategies: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    since: Millis | None = None
    until: Millis | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Some values: how many, their mean, their quantiles as in `QUANTILES`, the largest."""

    count: int
    mean: Decimal
    quantiles: tuple[Decimal, ...]
    largest: Decimal


@dataclass(frozen=True, slots=True)
class Closes:
    """The positions that closed: `fees` are those of the exits, `mean_r` is of positions whose risk is on record."""

    count: int
    pnl: Money
    fees: Money
    with_r: int
    mean_r: Decimal | None
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Unit:
    """One position's attempts together: the unit of a comparison, because its legs share one fate.

    `strategy` is the name it is compared under: its strategy, or the arm it was drawn into.
    """

    at: Millis
    strategy: str
    attempts: int
    hits: int
    profit: Money
    r: Decimal | None


@dataclass(frozen=True, slots=True)
class Closed:
    """One closed position as its note tells it; what the note lacks is None."""

    key: PositionKey
    at: Millis
    opened_at: Millis | None
    strategy: str
    reason: str
    pnl: Money
    fees: Money | None
    r: Decimal | None
    entry: Price | None
    average_exit: Price | None
    quantity: Quantity | None
    stop: Price | None


class MetricsQuery:
    """Asks one index. Names that no attempt has select nothing."""

    def __init__(self, index: MetricsIndex) -> None:
        self._db = index.db
        self._names: dict[int, str] = dict(self._db.execute("SELECT id, text FROM names"))
        self._numbers = {text: number for number, text in self._names.items()}

    def values(self, dimension: Dimension) -> list[str]:
        """Return every strategy or symbol on record, sorted."""
        column = {Dimension.STRATEGY: "strategy", Dimension.SYMBOL: "symbol"}[dimension]
        rows = self._db.execute(_select(f"DISTINCT {column} FROM cells", "cube = 'all'"))
        return sorted(self._names[row[0]] for row in rows)

    def tallies(self, by: tuple[Dimension, ...], chosen: Selection) -> dict[Group, Tally]:
        """Return the sums of the selected attempts by group, a group being its values in the order of `by`."""
        extra = {_CUBES[name] for name in by if name in _CUBES}
        sums: dict[Group, list[int]] = {}
        if len(extra) > 1:
            self._add_rows(sums, by, chosen)
        else:
            self._add_cells(sums, by, chosen, extra.pop() if extra else "all")
        return {group: Tally(*numbers) for group, numbers in sums.items()}

    def ages(self, chosen: Selection) -> tuple[dict[int, int], dict[int, int]]:
        """Return how many attempts hit and missed, by the band of their age when they ended."""
        sums: dict[Group, list[int]] = {}
        self._add_cells(sums, (), chosen, "age", ages=True)
        tallies = {int(group[0]): Tally(*numbers) for group, numbers in sums.items()}
        hits = {age: tally.hits for age, tally in tallies.items() if tally.hits}
        return hits, {age: tally.misses for age, tally in tallies.items() if tally.misses}

    def _add_cells(
        self,
        sums: dict[Group, list[int]],
        by: tuple[Dimension, ...],
        chosen: Selection,
        cube: str,
        *,
        ages: bool = False,
    ) -> None:
        first, last = self._months(chosen)
        where, parameters = self._where(chosen, times=False)
        rows = self._db.execute(
            _select("strategy, symbol, value, sums FROM cells", f"cube = ? AND month >= ? AND month < ? AND {where}"),
            (cube, first, last, *parameters),
        )
        for strategy, symbol, value, text in rows:
            group: Group = (value,) if ages else tuple(self._of_cell(name, strategy, symbol, value) for name in by)
            self._join(sums, group, list(map(int, text.split(","))))
        for start, end in self._edges(chosen, first, last):
            window = Selection(chosen.strategies, chosen.symbols, start, end)
            self._add_rows(sums, by, window, ages=ages)

    def _months(self, chosen: Selection) -> tuple[int, int]:
        """Return the first whole month selected, and the first that is not."""
        first, last = 0, 1_000_000
        if chosen.since is not None:
            first = month_of(chosen.since)
            first += month_start(first) < chosen.since
        if chosen.until is not None:
            last = month_of(chosen.until)
        return first, max(first, last)

    @staticmethod
    def _edges(chosen: Selection, first: int, last: int) -> Iterator[tuple[Millis | None, Millis | None]]:
        """Yield the parts of the selection outside its whole months."""
        since, until = chosen.since, chosen.until
        if since is not None and month_start(first) != since:
            end = month_start(first)
            yield since, end if until is None else min(end, until)
        if until is not None and month_start(last) < until and (since is None or month_start(last) >= since):
            yield month_start(last), until

    def _add_rows(
        self, sums: dict[Group, list[int]], by: tuple[Dimension, ...], chosen: Selection, *, ages: bool = False
    ) -> None:
        readers = (_age,) if ages else tuple(_READERS[name] for name in by)
        found: dict[tuple[int, ...], Tally] = {}
        for row in self._rows(chosen):
            values = tuple(read(row) for read in readers)
            tally = found.get(values)
            if tally is None:
                tally = found[values] = Tally()
            tally.add(_measured(row))
        for values, tally in found.items():
            named = tuple(self._named(name, value) for name, value in zip(by, values, strict=False))
            self._join(sums, values if ages else named, tally.numbers())

    @staticmethod
    def _join(sums: dict[Group, list[int]], group: Group, numbers: list[int]) -> None:
        present = sums.get(group)
        if present is None:
            sums[group] = numbers
        else:
            join(present, numbers)

    def _of_cell(self, dimension: Dimension, strategy: int, symbol: int, value: int) -> str | int:
        if dimension in {Dimension.STRATEGY, Dimension.SYMBOL}:
            return self._name(strategy if dimension is Dimension.STRATEGY else symbol)
        if _CUBES[dimension] == "parts":
            side, leg, reason = unpack(value)
            value = {Dimension.SIDE: side, Dimension.LEG: leg, Dimension.REASON: reason}[dimension]
        elif dimension in {Dimension.REGIME, Dimension.ARM}:
            value = unpack_drawn(value)[dimension is Dimension.ARM]
        return self._named(dimension, value)

    def _named(self, dimension: Dimension, value: int) -> str | int:
        """Return a stored value as the group it stands for."""
        if dimension is Dimension.SIDE:
            return SIDES[value].value
        return value if dimension in _NUMBERED else self._name(value)

    def _name(self, number: int) -> str:
        return self._names[number]

    def _where(
        self, chosen: Selection, *, times: bool = True, strategy: str = "strategy", at: str = "exit_at"
    ) -> tuple[str, list[int]]:
        parts, parameters = ["1"], []
        for column, names in ((strategy, chosen.strategies), ("symbol", chosen.symbols)):
            if names:
                parts.append(f"{column} IN ({','.join('?' * len(names))})")
                parameters += [self._numbers.get(name, -1) for name in names]
        if times:
            for test, bound in ((f"{at} >= ?", chosen.since), (f"{at} < ?", chosen.until)):
                if bound is not None:
                    parts.append(test)
                    parameters.append(bound)
        return " AND ".join(parts), parameters

    def _rows(self, chosen: Selection, tail: str = "", columns: str = ROW_COLUMNS) -> Iterator[tuple[Any, ...]]:
        where, parameters = self._where(chosen)
        return self._db.execute(_select(f"{columns} FROM rows", where, tail), parameters)

    def slippage(self, chosen: Selection) -> Spread | None:
        """Return the signed slippage of hits against their targets, as shares; None without hits."""
        where, parameters = self._where(chosen)
        # Named, because the planner would rather walk the times and sort.
        return self._spread("rows INDEXED BY rows_by_slip", "slip", f"hit = 1 AND {where}", parameters)

    def stop_slippage(self, chosen: Selection) -> dict[str, Spread]:
        """Return the signed slippage of stops against their triggers, as shares, by what the stop was."""
        return self._by_name("stops", "reason", "slip", chosen)

    def mid_slippage(self, chosen: Selection) -> dict[str, Spread]:
        """Return the signed slippage of executions against the mid, as shares, by what the order was for."""
        return self._by_name("mids", "kind", "slip", chosen)

    def _by_name(self, table: str, name: str, column: str, chosen: Selection) -> dict[str, Spread]:
        where, parameters = self._where(chosen, strategy="policy", at="at")
        numbers = self._db.execute(_select(f"DISTINCT {name} FROM {table}", where), parameters).fetchall()
        found = {}
        for (number,) in numbers:
            spread = self._spread(table, column, f"{name} = ? AND {where}", [number, *parameters])
            if spread is not None:
                found[self._names[number]] = spread
        return dict(sorted(found.items()))

    def spread(
        self, table: str, column: str, chosen: Selection, condition: str, *, whole: bool = False
    ) -> Spread | None:
        """Return the selected values of a column beside `at`, `symbol` and `policy`; `whole` are not in pico.

        The names and the condition are this program's own words.
        """
        where, parameters = self._where(chosen, strategy="policy", at="at")
        return self._spread(table, column, f"{condition} AND {where}", parameters, whole=whole)

    def count(self, table: str, chosen: Selection, condition: str) -> int:
        """Return how many rows of such a table are selected."""
        where, parameters = self._where(chosen, strategy="policy", at="at")
        return self._count(table, f"{condition} AND {where}", parameters)

    def total(self, table: str, column: str, chosen: Selection, condition: str) -> Decimal:
        """Return the exact sum of the selected values of a column of such a table; zero of none."""
        where, parameters = self._where(chosen, strategy="policy", at="at")
        return from_pico(self._sums(table, (column,), f"{condition} AND {where}", parameters)[0])

    def _sums(self, table: str, columns: tuple[str, ...], condition: str, parameters: list[int]) -> list[int]:
        """Return the exact sums of columns in one walk; what a column does not have counts as nothing."""
        row = self._db.execute(
            _select(f"{', '.join(map(_exact, columns))} FROM {table}", condition), parameters
        ).fetchone()
        sums = []
        for number, column in enumerate(columns):
            high, low, beyond = (int(part or 0) for part in row[3 * number : 3 * number + 3])
            rest = f"typeof({column}) = 'text' AND {condition}"
            texts = self._db.execute(_select(f"{column} FROM {table}", rest), parameters) if beyond else ()
            sums.append(high * _HALF + low + sum(int(text) for (text,) in texts))
        return sums

    def naked_ms(self, chosen: Selection) -> tuple[int, int, int, int] | None:
        """Return how long closed positions were without a live stop: how many, p50, p99 and the longest."""
        where, parameters = self._where(chosen, strategy="policy", at="at")
        condition = f"naked IS NOT NULL AND {where}"
        count = self._count("closes", condition, parameters)
        if not count:
            return None
        p50, p99, longest = (
            self._nth("closes", "naked", condition, parameters, (quantile_rank(count, share), count))
            for share in (Decimal("0.5"), Decimal("0.99"), Decimal(1))
        )
        return count, p50, p99, longest

    def closes(self, chosen: Selection) -> Closes:
        """Return what became of the positions that closed."""
        where, parameters = self._where(chosen, strategy="policy", at="at")
        rows = self._db.execute(
            _select("reason, count(*), count(r) FROM closes", where, "GROUP BY reason"), parameters
        ).fetchall()
        pnl, fees, r_sum = self._sums("closes", ("pnl", "fees", "r"), where, parameters)
        count, with_r = (sum(row[place] for row in rows) for place in (1, 2))
        reasons = {self._names[reason]: number for reason, number, _ in rows}
        ordered = dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
        mean_r = from_pico(r_sum) / with_r if with_r else None
        return Closes(count, from_pico(pnl), from_pico(fees), with_r, mean_r, ordered)

    def stop_moves(self, chosen: Selection) -> dict[str, int]:
        """Return how often stops moved, by cause, most frequent first."""
        where, parameters = self._where(chosen, strategy="policy", at="at")
        rows = self._db.execute(
            _select("cause, count(*) FROM moves", where, "GROUP BY cause ORDER BY count(*) DESC, cause"),
            parameters,
        )
        return {self._names[cause]: count for cause, count in rows}

    def span(self, chosen: Selection) -> tuple[Millis, Millis] | None:
        """Return the first and the last exit selected."""
        where, parameters = self._where(chosen)
        first, last = self._db.execute(_select("min(exit_at), max(exit_at) FROM rows", where), parameters).fetchone()
        return None if first is None else (first, last)

    def trend(
        self, by: tuple[Dimension, ...], chosen: Selection, start: Millis, width: Millis, buckets: int
    ) -> dict[Group, dict[int, tuple[int, int]]]:
        """Return attempts and hits by group and time bucket of `width` ms from `start`; none are outside of them."""
        coarse = set(by) <= {Dimension.STRATEGY, Dimension.SYMBOL}
        found: dict[Group, dict[int, tuple[int, int]]] = {}
        rows = (self._kinds_in_time if coarse else self._walk_in_time)(by, chosen, start, width, buckets)
        for row in rows:
            group = tuple(self._named(name, row[_TREND[name]]) for name in by)
            shares = found.setdefault(group, {})
            bucket, attempts, hits = row[-3:]
            count, hit = shares.get(bucket, (0, 0))
            shares[bucket] = (count + attempts, hit + hits)
        return found

    def _kinds_in_time(
        self, _: tuple[Dimension, ...], chosen: Selection, start: Millis, width: Millis, buckets: int
    ) -> Iterator[tuple[int, ...]]:
        """Yield strategy, symbol, bucket, attempts and hits: stretches of an index, so that nothing is sorted."""
        where, parameters = self._where(chosen, times=False)
        kinds = self._db.execute(
            _select("DISTINCT strategy, symbol FROM cells", f"cube = 'all' AND {where}"), parameters
        ).fetchall()
        stretch = _select(
            "count(*), sum(hit) FROM rows INDEXED BY rows_by_kind",
            "strategy = ? AND symbol = ? AND exit_at >= ? AND exit_at < ?",
        )
        end = start + buckets * width if chosen.until is None else chosen.until
        for strategy, symbol in kinds:
            for bucket in range(buckets):
                began = start + bucket * width
                place = (strategy, symbol, began, min(began + width, end))
                count, hits = self._db.execute(stretch, place).fetchone()
                if count:
                    yield strategy, symbol, bucket, count, hits

    def _walk_in_time(
        self, by: tuple[Dimension, ...], chosen: Selection, start: Millis, width: Millis, _: int
    ) -> Iterator[tuple[int, ...]]:
        """Yield the value of each dimension, of which those of `by` count, then bucket, attempts and hits."""
        where, parameters = self._where(chosen)
        return self._db.execute(
            _select(
                "strategy, symbol, side, leg, reason, regime, distance, arm, exit_at / 3600000 % 24,"
                " (exit_at / 86400000 + 3) % 7, (exit_at - ?) / ?, count(*), sum(hit) FROM rows",
                where,
                f"GROUP BY {', '.join(str(_TREND[name] + 1) for name in by)}, 11",
            ),
            (start, width, *parameters),
        )

    def equity(self, chosen: Selection, points: int = 400) -> list[tuple[Millis, Money]]:
        """Return the running profit of all exits in time, thinned to about `points` but never the last."""
        count = self._count("rows", *self._where(chosen))
        every = max(1, count // points)
        curve: list[tuple[Millis, Money]] = []
        running = 0
        for number, (at, profit) in enumerate(self._rows(chosen, "ORDER BY exit_at, n", "exit_at, profit"), start=1):
            running += int(profit)
            if number % every == 0 or number == count:
                curve.append((at, from_pico(running)))
        return curve

    def arms(self) -> dict[str, Decimal]:
        """Return the arms positions were drawn into, each with the probability it had last."""
        rows = self._db.execute("SELECT arm, share FROM arms").fetchall()
        return {self._names[arm]: Decimal(share) for arm, share in rows}

    def units(self, chosen: Selection, arms: tuple[str, ...] = ()) -> Iterator[Unit]:
        """Yield positions, each with its attempts together, in the order of their last exits.

        With `arms` only those that were drawn into one of them, and the strategy of a unit is its arm.
        """
        where, parameters = self._where(chosen)
        kind = "arm" if arms else "strategy"
        if arms:
            where += f" AND arm > 0 AND arm IN ({','.join('?' * len(arms))})"
            parameters += [self._numbers.get(name, -1) for name in arms]
        rows = self._db.execute(
            _select(
                f"max(exit_at), {kind}, count(*), sum(hit), group_concat(profit), group_concat(risk), count(risk)"
                " FROM rows",
                where,
                f"GROUP BY {kind}, symbol, side, entry_at ORDER BY max(exit_at), min(n)",
            ),
            parameters,
        )
        for at, strategy, attempts, hits, profits, risks, with_risk in rows:
            profit = sum(map(int, profits.split(",")))
            r = Decimal(profit) / sum(map(int, risks.split(","))) if with_risk == attempts else None
            yield Unit(at, self._names[strategy], attempts, hits, from_pico(profit), r)

    def worst(self, chosen: Selection, count: int) -> list[Closed]:
        """Return the closed positions that lost most, worst first."""
        where, parameters = self._where(chosen, strategy="policy", at="at")
        rows = self._db.execute(
            _select(
                "symbol, side, at, opened_at, policy, reason, pnl, fees, r, entry, average_exit, quantity, stop"
                " FROM closes",
                f"pnl IS NOT NULL AND {where}",
                "ORDER BY CAST(pnl AS REAL), at LIMIT ?",
            ),
            (*parameters, count),
        )
        return [
            Closed(
                key=PositionKey(self._names[symbol], SIDES[side]),
                at=at,
                opened_at=opened,
                strategy=self._names[policy],
                reason=self._names[reason],
                pnl=from_pico(int(pnl)),
                fees=None if fees is None else from_pico(int(fees)),
                r=None if r is None else from_pico(int(r)),
                entry=entry and Decimal(entry),
                average_exit=left and Decimal(left),
                quantity=quantity and Decimal(quantity),
                stop=stop and Decimal(stop),
            )
            for symbol, side, at, opened, policy, reason, pnl, fees, r, entry, left, quantity, stop in rows
        ]

    def settled_as(self, closed: Closed) -> list[str]:
        """Return the generations settled on its symbol when it closed: its own, and in hedge mode maybe the other's."""
        rows = self._db.execute(
            "SELECT generation FROM settled WHERE symbol = ? AND at = ?",
            (self._numbers[closed.key.symbol], closed.at),
        )
        return [generation for (generation,) in rows]

    def legs(self, closed: Closed) -> list[int]:
        """Return the journal's row numbers of the attempts of a closed position."""
        if closed.opened_at is None:
            return []
        rows = self._db.execute(
            "SELECT n FROM rows WHERE symbol = ? AND side = ? AND exit_at BETWEEN ? AND ? ORDER BY leg, n",
            (self._numbers[closed.key.symbol], SIDES.index(closed.key.side), closed.opened_at, closed.at),
        )
        return [row_of(n) for (n,) in rows]

    def measured(self, numbers: list[int]) -> dict[int, tuple[Measured, str]]:
        """Return attempts by their row number in the journal, as measured, each with the regime of its first plan."""
        marks = ",".join("?" * len(numbers))
        places = [numbered(1, number) for number in numbers]
        rows = self._db.execute(_select(f"{ROW_COLUMNS}, n FROM rows", f"n IN ({marks})"), places)
        return {row_of(row[-1]): (_measured(row[:-1]), self._names[row[5]]) for row in rows}

    def _count(self, table: str, condition: str, parameters: list[int]) -> int:
        return int(self._db.execute(_select(f"count(*) FROM {table}", condition), parameters).fetchone()[0])

    def _nth(self, table: str, column: str, condition: str, parameters: list[int], place: tuple[int, int]) -> int:
        """Return the value at a place, its 0-based rank of so many, walking there from the nearer end."""
        rank, count = place
        order, steps = ("ASC", rank) if rank < count // 2 else ("DESC", count - 1 - rank)
        return int(
            self._db.execute(
                _select(f"{column} FROM {table}", condition, f"ORDER BY {column} {order} LIMIT 1 OFFSET ?"),
                (*parameters, steps),
            ).fetchone()[0]
        )

    def _spread(
        self, table: str, column: str, condition: str, parameters: list[int], *, whole: bool = False
    ) -> Spread | None:
        count, mean = self._db.execute(
            _select(f"count(*), avg({column}) FROM {table}", condition),
            parameters,
        ).fetchone()
        if not count:
            return None
        ranks = [quantile_rank(count, share) for share in (*QUANTILES, Decimal(1))]
        scale = Decimal if whole else from_pico
        *middle, largest = (scale(self._nth(table, column, condition, parameters, (rank, count))) for rank in ranks)
        return Spread(count, scale(round(mean)), tuple(middle), largest)


def _age(row: tuple[Any, ...]) -> int:
    return band(row[9] - row[8])


# How a row tells its value of each dimension.
_READERS: Mapping[Dimension, Callable[[tuple[Any, ...]], int]] = {
    Dimension.STRATEGY: itemgetter(0),
    Dimension.SYMBOL: itemgetter(1),
    Dimension.SIDE: itemgetter(2),
    Dimension.LEG: itemgetter(3),
    Dimension.REASON: itemgetter(4),
    Dimension.REGIME: itemgetter(5),
    Dimension.DISTANCE: itemgetter(6),
    Dimension.ARM: itemgetter(7),
    Dimension.HOUR: lambda row: hour_of(row[9]),
    Dimension.WEEKDAY: lambda row: weekday_of(row[9]),
}
_TREND = {
    Dimension.STRATEGY: 0,
    Dimension.SYMBOL: 1,
    Dimension.SIDE: 2,
    Dimension.LEG: 3,
    Dimension.REASON: 4,
    Dimension.REGIME: 5,
    Dimension.DISTANCE: 6,
    Dimension.ARM: 7,
    Dimension.HOUR: 8,
    Dimension.WEEKDAY: 9,
}


def _select(what: str, condition: str, tail: str = "") -> str:
    """Return a statement made of this module's own words; whatever comes from outside is a parameter of it."""
    return f"SELECT {what} WHERE {condition} {tail}"


def _exact(column: str) -> str:
    """Return what sums a column: in two parts, because the sum of numbers that fit may not; and what is text."""
    whole = f"iif(typeof({column}) = 'integer', {column}, 0)"
    return f"sum({whole} / {_HALF}), sum({whole} % {_HALF}), sum(typeof({column}) = 'text')"


def _measured(row: tuple[Any, ...]) -> Measured:
    slip, profit, r, risk, share, roi, premature, missed = (None if value is None else int(value) for value in row[11:])
    return Measured(
        at=row[9],
        hit=bool(row[10]),
        slip=slip,
        took=row[9] - row[8],
        profit=profit or 0,
        r=r,
        risk=risk,
        share=share or 0,
        roi=roi,
        premature=None if premature is None else bool(premature),
        missed=missed,
    )
