"""What a training learns from: candles, the journal's positions, sampled entries, and the costs that were measured."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean

from tpctl.adapters.files import StateDir
from tpctl.adapters.journal_reader import EpisodeRow, JournalReader
from tpctl.adapters.metrics_file import fold_all
from tpctl.adapters.policy_evidence import net_r, slippage_of
from tpctl.adapters.price_files import read_funding, read_prices
from tpctl.cli.retrain_options import DAYS, Training
from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import NoteKind
from tpctl.exits.scoring import feedback
from tpctl.exits.units import Millis
from tpctl.learn.config import TrainConfig
from tpctl.learn.costs import Costs
from tpctl.learn.episodes import Entry, EpisodeRules, Episodes, episodes_of, join_episodes, sample_episodes
from tpctl.learn.feedback import Feedback, Slipped, calibration, measured_costs
from tpctl.learn.market_features import HISTORY_MS
from tpctl.market.bars import DAY_MS
from tpctl.market.risk.prices import Floats, PriceSeries, Times
from tpctl.settings.schema import Settings

# A day of quarters of an hour, as learning 2 has it; of longer candles as many as make a day.
_HORIZON_MS = DAY_MS
_FILLS = {NoteKind.TP_HIT: "target", NoteKind.STOP_HIT: "stop"}


@dataclass(frozen=True, slots=True)
class Material:
    """Episodes and what was measured; `real` of the episodes are the journal's. `warnings` are (code, text).

    `series` are the candles they come from.
    """

    episodes: Episodes
    feedback: Feedback
    real: int
    warnings: tuple[tuple[str, str], ...]
    series: Mapping[str, PriceSeries]

    @property
    def span(self) -> tuple[Millis, Millis]:
        """The time (ms UTC, half open) from the first entry to where half of the candles end."""
        ends = sorted((int(one.at[-1]) + one.interval_ms for one in self.series.values()), reverse=True)
        return int(self.episodes.started_at.min()), ends[(len(ends) - 1) // 2]


@dataclass(frozen=True, slots=True)
class _Market:
    series: dict[str, PriceSeries]
    funding: dict[str, tuple[Times, Floats]]
    ticks: dict[str, float]
    warnings: list[tuple[str, str]]


def gather(training: Training, settings: Settings, state: StateDir, venue: str | None, until: Millis) -> Material:
    """Return what to learn from, as it was known at `until`; raises `InputsError` where it is too little."""
    market = _recorded(training) if training.data else asyncio.run(_fetched(training, settings, venue, until))
    rows, heard = _journalled(state, until)
    interval = next(iter(market.series.values())).interval_ms
    rules = EpisodeRules(_HORIZON_MS // interval, settings.exits.stop, settings.exits.target)
    entries = [Entry(row.key.symbol, row.key.side.sign, row.opened_at) for row in rows]
    real = _real(market, entries, rules, training.episodes)
    wanted = training.episodes - (0 if real is None else len(real))
    episodes = real
    if wanted > 0:
        sampled = sample_episodes(market.series, rules, count=wanted, funding=market.funding, ticks=market.ticks)
        episodes = sampled if real is None else join_episodes(real, sampled)
    assert episodes is not None  # noqa: S101 - at least two are wanted
    if real is not None:
        off = calibration(real, TrainConfig(rules=settings.exits, costs=heard.costs), heard)
        market.warnings.extend([] if off is None else [("calibration", off)])
    return Material(episodes, heard, 0 if real is None else len(real), tuple(market.warnings), market.series)


def _real(market: _Market, entries: Sequence[Entry], rules: EpisodeRules, most: int) -> Episodes | None:
    """Return the newest of the journal's positions whose whole path the candles show."""
    known = [entry for entry in entries if entry.symbol in market.series]
    if not known:
        return None
    try:
        found = episodes_of(market.series, known, rules, funding=market.funding, ticks=market.ticks)
    except InputsError:
        return None  # none of them is in the candles
    return found.take(slice(max(0, len(found) - most), None))


def _recorded(training: Training) -> _Market:
    series = read_prices(training.data, training.symbols or None)
    if training.days is not None:
        newest = max(int(one.at[-1]) for one in series.values())
        series = {name: one.since(newest - training.days * DAY_MS) for name, one in series.items()}
    warnings = []
    funding = dict(read_funding(training.funding)) if training.funding else {}
    missing = [name for name in series if name not in funding]
    if missing:
        warnings.append(("funding", f"no funding is charged for {', '.join(missing)}: it is in no file"))
    return _Market(series, funding, {}, warnings)


async def _fetched(training: Training, settings: Settings, venue: str | None, until: Millis) -> _Market:
    from tpctl.cli.risk_sources import open_desk, progress_line
    from tpctl.engine.risk_context import USUAL_BASKET
    from tpctl.market.risk.prices import from_records

    show = sys.stderr.isatty()
    async with open_desk(venue, settings) as desk:
        listed = await desk.reader.instruments()
        unknown = next((name for name in training.symbols if name not in listed), None)
        if unknown is not None:
            raise InputsError(f"the exchange lists no symbol {unknown!r}", "check --symbols and the profile's env")
        wanted = training.symbols or tuple(name for name in USUAL_BASKET if name in listed)
        # A twin's time is its own.
        now = min(until, desk.clock.now())
        since = now - (training.days or DAYS) * DAY_MS - HISTORY_MS
        found = await desk.cache.load_all(wanted, since, now, progress_line(sys.stderr.write) if show else None)
        if show:
            sys.stderr.write("\r\x1b[K")
    series, warnings = {}, []
    for name, records in found.items():
        if isinstance(records, Unavailable):
            warnings.append(("candles", f"{name} is left out: {records.reason}"))
        else:
            series[name] = from_records(name, desk.cache.interval_ms, records)
    if not series:
        raise InputsError("no candles could be read", "try again, or name recorded ones with --data FILE")
    warnings.append(("funding", "no funding is charged: the exchange's past rates are not read"))
    return _Market(series, {}, {name: float(listed[name].tick) for name in series}, warnings)


def _journalled(state: StateDir, until: Millis) -> tuple[list[EpisodeRow], Feedback]:
    """Return the closed positions, and what was measured on them: the vector of `metrics --feedback`, and costs."""
    if not state.journal.exists():
        return [], Feedback(Costs())
    with JournalReader.read_only(state.journal) as journal:
        rows = [row for row in journal.episodes() if row.closed_at is not None and row.closed_at < until]
        records = fold_all(one for one in journal.attempts() if one.exit_time < until).values()
        notes = [note for _, note in journal.notes(kinds=(*_FILLS, NoteKind.CLOSED)) if note.at < until]
    fills = ((note, slippage_of(note)) for note in notes if note.kind in _FILLS)
    costs, count = measured_costs(
        Slipped(note.key.symbol, _FILLS[note.kind], fraction)
        for note, fraction in fills
        if note.key is not None and fraction is not None
    )
    results = [result for note in notes if note.kind is NoteKind.CLOSED and (result := net_r(note)) is not None]
    heard = feedback(records)
    return rows, Feedback(
        costs=costs,
        fills=count,
        attempts=sum(record.tp_attempts for record in records),
        tp_hit_rate=_float(heard["tp_hit_rate"]),
        avg_slippage=_float(heard["avg_slippage"]),
        premature_exit_rate=_float(heard["premature_exit_rate"]),
        mean_r=fmean(results) if results else None,
    )


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def expected_slippage(costs: Costs) -> float:
    """Return the mean slippage a training reckons with at take-profits, as a fraction of price."""
    return fmean(costs.slippage.target)
