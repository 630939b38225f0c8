"""What the learned policy in use says to plans and to a running watch: a suggestion, and requests at each close.

Decides when it is asked and what becomes of what it says. A suggestion goes into the plan beside the other inputs; a
request passes the same guard as an operator's (I3, I4), and carries an id that follows from the position's life and the
candle, so that it is heard once. A policy in shadow only tells; a canary speaks for its share of positions. Where a
reading is missing or the symbol is new to it, it says nothing, the ladder goes on, and the reason is told.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from tpctl.adapters.policy_evidence import ACTION, CHANCE, READING, EvidenceBook
from tpctl.adapters.policy_pointer import Choice, Stage
from tpctl.adapters.policy_use import PolicyUse
from tpctl.exits.draft import tighter
from tpctl.exits.episode import Episode, LegStatus, Phase, State
from tpctl.exits.errors import TpctlError
from tpctl.exits.events import Event, Requested
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Note, NoteKind, PositionKey, Scalar, Suggestion
from tpctl.exits.quantize import market_limits, round_stop
from tpctl.exits.requests import CloseAll, Reduce, Request, TightenStop
from tpctl.exits.rules import ExitRules
from tpctl.exits.stages import beyond_training
from tpctl.exits.stops import stop_distance
from tpctl.exits.units import ONE, Millis, Ratio, trimmed
from tpctl.market.policy.advice import StepAdvice, advise_step, advise_zone, in_share, words
from tpctl.market.policy.drift import alarms
from tpctl.market.policy.features import HISTORY, MarketReading, PositionReading, read_market, step_features
from tpctl.market.policy.model import SHARES, Action
from tpctl.market.volatility import daily_volatility
from tpctl.ports import AccountReader, Clock

_INTERVALS = {60_000: "1m", 300_000: "5m", 900_000: "15m", 1_800_000: "30m", 3_600_000: "1h", 14_400_000: "4h"}
# What volatility is trained on looks back a week, the other readings over `HISTORY` candles.
_WEEK_MS = 7 * 86_400_000
# The exchange shows a candle a moment after its close; after a minute its moment has passed.
_LATE_MS, _TOO_LATE_MS = 1_000, 60_000
_NOT_TRAINED = Unavailable("confidence is no part of the training")
_UNKNOWN_LIFE = "a position that is not open"


@dataclass(frozen=True, slots=True)
class _Seen:
    """The market at the close of the candle that ended at `closed_at`."""

    closed_at: Millis
    market: MarketReading | Unavailable
    close: float
    volatility: Ratio | Unavailable


class LearnedExits:
    """The learned policy in use, for one account.

    `use` tells which it is, `rules` the exits it improves on, and `life` the generation of an open position, which
    decides whether a canary speaks for it. `book` returns what was measured of it so far, and `suspend` takes it out of
    use for good; without them nothing is measured.
    """

    def __init__(
        self,
        reader: AccountReader,
        clock: Clock,
        use: Callable[[], PolicyUse | Unavailable],
        *,
        rules: Callable[[], ExitRules],
        life: Callable[[PositionKey], str | None],
        book: Callable[[PolicyUse], EvidenceBook] | None = None,
        suspend: Callable[[PolicyUse, str], None] = lambda _, __: None,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._in_use = use
        self._open_book = book
        self._suspend = suspend
        self._book: EvidenceBook | None = None
        self._fallen: tuple[Choice, str] | None = None
        self._rules = rules
        self._life = life
        self._seen: dict[str, _Seen | Unavailable] = {}
        self._asked_for: Millis = 0
        self._told: str | None = None
        self._silent: dict[PositionKey, str] = {}

    def _use(self) -> PolicyUse | Unavailable:
        use = self._in_use()
        if self._fallen is not None and isinstance(use, PolicyUse) and use.choice == self._fallen[0]:
            return Unavailable(f"no policy is used: {use.name} was suspended ({self._fallen[1]})")
        return use

    # the plan's side

    async def suggestion(self, key: PositionKey) -> Suggestion | Unavailable:
        """Return what the policy suggests for a position, or why it has no say."""
        use = self._use()
        if isinstance(use, Unavailable):
            return use
        seen = None if key.symbol not in use.symbols else await self._read(key.symbol, use.policy.interval_ms)
        missing = _missing(use, key, seen)
        if missing is not None or not isinstance(seen, _Seen) or isinstance(seen.market, Unavailable):
            return Unavailable(f"policy {missing}")
        volatility, rules = seen.volatility, self._rules()
        if isinstance(volatility, Unavailable):
            return Unavailable(f"policy {use.name} cannot see {key.symbol}: {volatility.reason}")
        # As in training: the first stop the rules give this volatility, confidence not known.
        risk, _ = stop_distance(_NOT_TRAINED, volatility, ONE, rules.stop, rules.target)
        advice = advise_zone(use.policy, key.side, seen.market, float(volatility.fraction), float(risk.fraction))
        if advice is None:
            return Unavailable(f"policy {use.name} suggests no distances")
        found = Suggestion(use.name, Decimal(repr(advice.zone.multiple)), words(advice.why), use.expected.leverage)
        return self._trusted(use, key, found)

    def _trusted(self, use: PolicyUse, key: PositionKey, found: Suggestion) -> Suggestion | Unavailable:
        if use.choice.stage is Stage.SHADOW:
            because = f" ({found.why})" if found.why else ""
            said = f"{trimmed(found.multiple)} x the plan's mean TP{because}"
            return Unavailable(f"policy {use.name} is in shadow; it suggests {said}")
        if not self._speaks(use, self._life(key) or _UNKNOWN_LIFE):
            share = trimmed(100 * use.choice.share)
            return Unavailable(f"policy {use.name} is a canary, and this position is not among its {share}%")
        return found

    @staticmethod
    def _speaks(use: PolicyUse, life: str) -> bool:
        return use.choice.stage is not Stage.CANARY or in_share(use.choice.hash, life, use.choice.share)

    # the watch's side

    def news(self) -> tuple[Note, ...]:
        """Return which policy is used where that was not told yet, or has changed since."""
        use = self._use()
        text = f"{use.reason}; the ladder decides" if isinstance(use, Unavailable) else use.words
        if text == self._told:
            return ()
        self._told = text
        self._silent.clear()
        used = None if isinstance(use, Unavailable) else use
        self._book = None if used is None or self._open_book is None else self._open_book(used)
        data = {"policy": None, "stage": None} if used is None else _of(used)
        return (Note(self._clock.now(), NoteKind.POLICY, None, f"in use: {text}", data),)

    def see(self, notes: Sequence[Note]) -> tuple[Note, ...]:
        """Measure the policy by what happened; return what is to be told where it is taken out of use."""
        use, book = self._use(), self._book
        if isinstance(use, Unavailable) or book is None or not book.see(notes):
            return ()
        found = alarms(book.evidence, use.expected)
        if not found:
            return ()
        why = "; ".join(found)
        self._fallen = use.choice, why
        lasting = ""
        try:
            self._suspend(use, why)
        except TpctlError as error:
            lasting = f", until the next start: {error.message}"
        text = f"policy {use.name} is suspended{lasting}: {why}; exits follow the ladder"
        return (Note(self._clock.now(), NoteKind.DEGRADED, None, text, _of(use)),)

    def due(self) -> bool:
        """Whether a candle has closed that the policy was not asked about."""
        use = self._use()
        if isinstance(use, Unavailable):
            return False
        now, interval = self._clock.now(), use.policy.interval_ms
        return now // interval * interval > self._asked_for and now % interval >= _LATE_MS

    async def advise(self, state: Callable[[], State]) -> tuple[tuple[Note, ...], tuple[Event, ...]]:
        """Return what the policy says of every guarded position at the newest close: notes, and requests.

        Candles are read first, so that it speaks of the state as it is then.
        """
        use = self._use()
        if isinstance(use, Unavailable):
            return (), ()
        interval = use.policy.interval_ms
        slot = self._clock.now() // interval * interval
        wanted = sorted({key.symbol for key, one in state().episodes.items() if _guarded(one)} & use.symbols)
        read = await asyncio.gather(*(self._read(symbol, interval) for symbol in wanted))
        fresh = {
            symbol: seen
            for symbol, seen in zip(wanted, read, strict=True)
            if isinstance(seen, Unavailable) or seen.closed_at >= slot
        }
        if len(fresh) < len(wanted) and self._clock.now() - slot < _TOO_LATE_MS:
            return (), ()  # not shown yet: asked again
        self._asked_for = slot
        told: list[Note] = []
        asked: list[Event] = []
        self._silent = {key: why for key, why in self._silent.items() if key in state().episodes}
        for key, episode in sorted(state().episodes.items(), key=lambda item: str(item[0])):
            if not _guarded(episode) or episode.opened_at >= slot or not self._speaks(use, episode.generation):
                continue
            seen = fresh.get(key.symbol)
            missing = _untrained(use, episode) or _missing(use, key, seen)
            if missing is not None:
                if self._silent.get(key) != missing:
                    told.append(self._note(use, key, f"policy {missing}; its exits follow the ladder"))
                self._silent[key] = missing
                continue
            self._silent.pop(key, None)
            told += self._meet(use, key, episode, seen)
            advice = _advice(use, episode, seen)
            if advice is None:
                continue
            step, request = advice
            shadow = use.choice.stage is Stage.SHADOW
            verb = "in shadow would ask" if shadow else "asks"
            text = f"policy {use.name} {verb}: {request}{_because(step)}"
            told.append(self._note(use, key, text, (episode.generation, step, request)))
            if not shadow:
                name = f"policy-{use.name}-{episode.generation}-{slot}"
                asked.append(Requested(self._clock.now(), key, name, f"policy {use.name}", request))
        return tuple(told), tuple(asked)

    def _meet(
        self, use: PolicyUse, key: PositionKey, episode: Episode, seen: _Seen | Unavailable | None
    ) -> tuple[Note, ...]:
        """Return what the policy sees where it meets a position for the first time: drift is measured by it."""
        market = seen.market if isinstance(seen, _Seen) else None
        if self._book is None or episode.generation in self._book.met or not isinstance(market, MarketReading):
            return ()
        readings = asdict(market)
        text = ", ".join(f"{name} {value:+.4g}" for name, value in readings.items())
        data = _of(use) | {"generation": episode.generation}
        data |= {f"{READING}{name}": Decimal(f"{value:.9g}") for name, value in readings.items()}
        chance = None if not isinstance(seen, _Seen) else _chance(use, episode, seen)
        data |= {} if chance is None else {CHANCE: Decimal(f"{chance:.6g}")}
        return (Note(self._clock.now(), NoteKind.POLICY, key, f"policy {use.name} sees {text}", data),)

    def _note(
        self,
        use: PolicyUse,
        key: PositionKey,
        text: str,
        asked: tuple[str, StepAdvice, Request] | None = None,
    ) -> Note:
        data = _of(use)
        if asked is not None:
            life, advice, request = asked
            data |= {"request": str(request), "score": Decimal(f"{advice.why.score:.6g}")}
            data |= {"generation": life, ACTION: advice.action.name}
        return Note(self._clock.now(), NoteKind.POLICY, key, text, data)

    async def _read(self, symbol: str, interval_ms: Millis) -> _Seen | Unavailable:
        """Return the market at the newest close; one read of the exchange for each candle."""
        slot = self._clock.now() // interval_ms * interval_ms
        known = self._seen.get(symbol)
        if isinstance(known, _Seen) and known.closed_at >= slot:
            return known
        name = _INTERVALS.get(interval_ms)
        if name is None:
            return Unavailable(f"the exchange has no candles of {interval_ms / 60_000:g} minutes")
        try:
            candles = await self._reader.candles(symbol, name, max(HISTORY, _WEEK_MS // interval_ms) + 1)
        except TpctlError as error:
            found: _Seen | Unavailable = Unavailable(error.message)
        else:
            last = candles[-1] if candles else None
            found = Unavailable("the exchange shows no candles")
            if last is not None:
                market, volatility = read_market(candles, interval_ms), daily_volatility(candles, interval_ms)
                found = _Seen(last.at + interval_ms, market, last.close, volatility)
        self._seen[symbol] = found
        return found


def _of(use: PolicyUse) -> dict[str, Scalar]:
    """Return what tells in a note which policy it is about."""
    choice = use.choice
    return {"policy": choice.hash, "stage": choice.stage.value, "promoted_at": choice.at}


def _because(step: StepAdvice) -> str:
    why = words(step.why)
    return f"; {why}" if why else ""


def _guarded(episode: Episode) -> bool:
    return (
        episode.phase is Phase.GUARDED
        and episode.quantity > 0
        and None not in {episode.plan, episode.stop, episode.instrument}
        and episode.reduce_to is None
    )


def _untrained(use: PolicyUse, episode: Episode) -> str | None:
    """Return why the policy is silent on a position whose leverage it was not trained for."""
    plan = episode.plan
    return None if plan is None else beyond_training(use.name, use.expected.leverage, plan.leverage)


def _missing(use: PolicyUse, key: PositionKey, seen: _Seen | Unavailable | None) -> str | None:
    """Return why the policy is silent on a position, None where it can speak."""
    if key.symbol not in use.symbols:
        return f"{use.name} was not trained on {key.symbol}"
    if seen is None:
        return f"{use.name} cannot see {key.symbol}: the newest candle is not shown"
    if isinstance(seen, Unavailable):
        return f"{use.name} cannot see {key.symbol}: {seen.reason}"
    if isinstance(seen.market, Unavailable):
        return f"{use.name} cannot see {key.symbol}: {seen.market.reason}"
    return None


def _advice(use: PolicyUse, episode: Episode, seen: _Seen | Unavailable | None) -> tuple[StepAdvice, Request] | None:
    """Return what the policy asks for and the request it is; None to hold."""
    if not isinstance(seen, _Seen) or isinstance(seen.market, Unavailable):
        return None
    position = _position(episode, seen, use.policy.longest_ms)
    advice = advise_step(use.policy, position, seen.market, partly=_divisible(episode))
    request = None if advice is None else _request(episode, advice)
    return None if advice is None or request is None else (advice, request)


def _chance(use: PolicyUse, episode: Episode, seen: _Seen) -> float | None:
    """Return the chance of the first target of a position that is as fresh as those of the training."""
    odds, fresh = use.expected.hits, seen.closed_at - episode.opened_at <= 2 * use.policy.interval_ms
    if odds is None or not fresh or episode.legs_hit or isinstance(seen.market, Unavailable):
        return None
    position = _position(episode, seen, use.policy.longest_ms)
    return None if position.target is None else odds.chance(step_features(position, seen.market))


def _position(episode: Episode, seen: _Seen, longest_ms: Millis) -> PositionReading:
    plan, stop = episode.plan, episode.stop
    assert plan is not None  # noqa: S101 - a guarded position
    assert stop is not None  # noqa: S101
    sign = episode.key.side.sign
    best = episode.entry if episode.peak is None else max(episode.peak * sign, episode.entry * sign) * sign
    waiting = [leg.trigger * sign for leg in episode.legs if leg.status is LegStatus.WAITING]
    return PositionReading(
        side=episode.key.side,
        entry=float(episode.entry),
        close=seen.close,
        best=float(best),
        stop=float(stop),
        target=float(min(waiting) * sign) if waiting else None,
        stop_distance=float(plan.stop_distance.fraction),
        age=max(0, seen.closed_at - episode.opened_at) / longest_ms,
        remaining=float(episode.quantity / (episode.quantity + episode.exit_quantity)),
        hits=episode.legs_hit / max(1, len(episode.legs)),
    )


def _divisible(episode: Episode) -> bool:
    """Whether the smallest share a policy may close is an order the exchange takes."""
    if episode.instrument is None:
        return False
    least = Decimal(repr(min(SHARES.values())))
    return least * episode.quantity >= market_limits(episode.instrument)[0]


def _request(episode: Episode, advice: StepAdvice) -> Request | None:
    """Return the request of an advice; None for a stop that is no tighter once it is on the tick."""
    if advice.action is Action.CLOSE_ALL:
        return CloseAll()
    if advice.action is not Action.TIGHTEN:
        return Reduce(Ratio(Decimal(repr(SHARES[advice.action]))))
    assert advice.stop is not None  # noqa: S101 - a stop goes with tightening
    assert episode.instrument is not None  # noqa: S101 - a guarded position
    assert episode.stop is not None  # noqa: S101
    level = round_stop(episode.instrument, episode.key.side, Decimal(repr(advice.stop)))
    return TightenStop(level) if tighter(episode, episode.stop, level) != episode.stop else None
