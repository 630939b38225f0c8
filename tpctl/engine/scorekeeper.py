"""Keeps score: finished attempts into the metrics file, and the price path after each miss (exit-rules 12).

Attempts, and what there is to watch after them, are in the journal before they come here; the file is their published
view. A miss is watched on the marks that follow. Where a run begins, the part of the path nobody watched is judged on
one-minute candles, so a restart loses no verdict.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import Hindsight
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.metrics_file import MetricsFile
from tpctl.adapters.standings import Standings
from tpctl.exits.episode import Episode
from tpctl.exits.events import MarkPrice
from tpctl.exits.model import Attempt, Outcome, PositionKey
from tpctl.exits.scoring import HORIZON_MS, Aftermath, Verdict, judge, judge_bar, watch_after
from tpctl.exits.units import Millis
from tpctl.ports import Candle

_MINUTE_MS = 60_000


class Scorekeeper:
    """Publishes attempts and judges misses. `publish` may be called at any time; it changes nothing but the file.

    `due` is set when the journal holds what the file does not show yet. With `new_world` an earlier run saw another
    market than this one, so what it left unjudged stays that way.
    """

    def __init__(self, journal: Journal, metrics: MetricsFile, *, new_world: bool = False) -> None:
        self._journal = journal
        self._metrics = metrics
        self._standings = Standings(journal.path)
        self._new_world = new_world
        self._watched: dict[str, dict[str, Aftermath]] = {}
        self._earlier: dict[str, dict[str, Aftermath]] = {}
        self.due = False

    def publish(self) -> None:
        """Bring the metrics file up to the journal; raises `StateFileError` where it may not be replaced."""
        self._metrics.publish(self._standings.records)
        self.due = False

    def close(self) -> None:
        """Let the journal go."""
        self._standings.close()

    def watch(self, aftermaths: Iterable[tuple[str, Aftermath]]) -> None:
        """Begin to watch misses that have just come into the journal, by symbol."""
        self.due = True
        for symbol, aftermath in aftermaths:
            self._watched.setdefault(symbol, {})[aftermath.attempt_id] = aftermath

    def unjudged(self, now: Millis) -> dict[str, Millis]:
        """Return the symbols with misses an earlier run left unjudged, and since when their path is needed.

        They are watched on once `see_candles` has shown what happened meanwhile. A miss later than `now` is another
        market's.
        """
        if self._new_world:
            return {}
        left = self._journal.aftermaths()
        with JournalScan.open(self._journal.path) as scan:
            attempts = scan.known([aftermath.attempt_id for aftermath in left])
        since: dict[str, Millis] = {}
        for aftermath in left:
            attempt, began = attempts.get(aftermath.attempt_id), aftermath.until - HORIZON_MS
            if attempt is not None and began <= now:
                self._earlier.setdefault(attempt.symbol, {})[aftermath.attempt_id] = aftermath
                since[attempt.symbol] = min(began, since.get(attempt.symbol, began))
        return since

    def see_candles(self, symbol: str, candles: Iterable[Candle]) -> None:
        """Judge what an earlier run left on closed one-minute candles; the minute of the exit itself is left out."""
        if earlier := self._earlier.pop(symbol, {}):
            self._watched.setdefault(symbol, {}).update(earlier)
        for candle in candles:
            low, high = Decimal(repr(candle.low)), Decimal(repr(candle.high))
            for aftermath in tuple(self._watched.get(symbol, {}).values()):
                if candle.at > aftermath.until - HORIZON_MS:
                    verdict = judge_bar(aftermath, candle.at, low, high, lasting=_MINUTE_MS)
                    self._settle(symbol, candle.at + _MINUTE_MS, aftermath, verdict)

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols whose marks are waited for."""
        return frozenset(self._watched)

    def see_mark(self, event: MarkPrice) -> None:
        """Judge the watched misses of a symbol on its newest mark."""
        for aftermath in tuple(self._watched.get(event.symbol, {}).values()):
            self._settle(event.symbol, event.at, aftermath, judge(aftermath, event.at, event.price))

    def _settle(self, symbol: str, at: Millis, aftermath: Aftermath, verdict: Aftermath | Verdict) -> None:
        if isinstance(verdict, Aftermath):
            return
        watched = self._watched[symbol]
        del watched[aftermath.attempt_id]
        if not watched:
            del self._watched[symbol]
        self._journal.commit(Entry(at=at, hindsights=(Hindsight(aftermath.attempt_id, verdict),)))
        self.due = True


def aftermaths_of(
    attempts: Iterable[Attempt], episodes: Mapping[PositionKey, Episode]
) -> tuple[list[tuple[str, Aftermath]], list[Hindsight]]:
    """Return what is to be watched after the misses, by symbol, and the verdicts that are clear at once.

    A miss is watched against the stop it was planned with, or the backstop where that stop itself was the exit.
    """
    watched: list[tuple[str, Aftermath]] = []
    clear: list[Hindsight] = []
    for attempt in attempts:
        episode = episodes.get(PositionKey(attempt.symbol, attempt.position_side))
        if attempt.outcome is not Outcome.MISS or episode is None or episode.plan is None:
            continue
        plan = episode.plan
        beyond_stop = attempt.position_side.sign * (attempt.exit_price - plan.stop) <= 0
        after = watch_after(attempt, plan.backstop if beyond_stop else plan.stop)
        if isinstance(after, Verdict):
            clear.append(Hindsight(attempt.id, after))
        else:
            watched.append((attempt.symbol, after))
    return watched, clear
