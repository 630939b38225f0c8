"""What `plan` reads from an exchange: rules, positions, orders, planning inputs, funding. It sends nothing.

Composition of the readers only. A position that is not open needs no keys: what is public is read, and what needs keys
is unavailable with that reason. Each reading fails on its own; the rules, and the positions that were asked for, are
required.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import TypeVar

from tpctl.adapters.binance.clock import EventClock, StampClock
from tpctl.adapters.files import find_state_dir
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.policy_pointer import Stage
from tpctl.adapters.policy_use import PolicyUse, policy_in_use
from tpctl.adapters.rulebook import RuleBook
from tpctl.cli.plan_options import PlanOptions
from tpctl.cli.plan_reader import Contexts, Reader, account_of, exchange_of, keys_of, measured_risk, rules_of
from tpctl.engine.apply import running_plan, same_life
from tpctl.engine.learned import LearnedExits
from tpctl.engine.memory import load_state
from tpctl.engine.plan_request import hypothetical_request, margin_assumption, position_request
from tpctl.engine.planning import Situation, compose, generation_for
from tpctl.exits.episode import Episode, Scope
from tpctl.exits.errors import InputsError, TpctlError, UsageError
from tpctl.exits.figures import Funding, funding_due, opened_at
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import LiveOrder, MarginMode, Position, PositionKey, PositionMode, RiskReadings, WorkingType
from tpctl.exits.planned import Standing, Wanted
from tpctl.exits.sheet import PlanSheet
from tpctl.exits.units import Millis, Money, Price
from tpctl.ports import Candle, FundingFee, Premium
from tpctl.settings.schema import Env, Settings
from tpctl.views.plan import PlanReport

T = TypeVar("T")

# One page of executions: a position older than this has no known opening, so its funding is not added up.
_FILLS_SPAN_MS = 7 * 86_400_000
_HOUR_MS = 3_600_000
# The same request as the planning inputs make, so that one read serves both.
_CANDLES = 720
_CANDLE_INTERVAL = "1h"
_NOTHING = Decimal(0)


def plan_live(options: PlanOptions, settings: Settings, failures: list[TpctlError]) -> PlanReport:
    """Return the plans the options ask for, by what the profile's exchange says; what has no plan goes to `failures`.

    Raises what keeps all of them from being made.
    """
    return asyncio.run(_plan(options, settings, failures))


async def _plan(options: PlanOptions, settings: Settings, failures: list[TpctlError]) -> PlanReport:
    env = settings.profile.env
    if env is not Env.SIM and options.venue is not None:
        raise UsageError(f"profile {settings.name!r} has no simulated market", "leave --venue out")
    async with AsyncExitStack() as stack:
        keys = keys_of(settings, required=not options.given.hypothetical)
        endpoints, clock = await exchange_of(options, env, stack)
        reader = Reader(endpoints, clock, keys)
        stack.push_async_callback(reader.close)
        if not isinstance(clock, EventClock):
            await reader.server_time()
        book = await rules_of(options, env, endpoints, keys, clock.now())
        risk: RiskReadings | Unavailable = Unavailable("it was given by hand")
        if options.given.risk is None:
            risk = await measured_risk(env, endpoints, clock, reader, stack)
        account, use = account_of(env, keys), policy_in_use(settings.state_dir)
        look = _Look(options, settings, reader, clock, book, account=account, risk=risk, use=use)
        sheets = await (look.ideas(failures) if options.given.hypothetical else look.positions(failures))
        if reader.limited is not None:
            raise reader.limited
        now = clock.now()
    return PlanReport(
        sheets=tuple(sheets),
        ts=now,
        profile=settings.name,
        env=env.value,
        origin=book.origin,
        fetched_at=book.fetched_at,
        age_ms=book.age_ms(now),
        warnings=(*book.warnings, *((error.kind, error.message) for error in failures)),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at an exchange, for all plans of a run."""

    options: PlanOptions
    settings: Settings
    reader: Reader
    clock: StampClock
    book: RuleBook
    account: str
    risk: RiskReadings | Unavailable
    use: PolicyUse | Unavailable

    async def ideas(self, failures: list[TpctlError]) -> list[PlanSheet]:
        """Plan positions that are not open."""
        contexts = self._contexts({})
        mode = await _reading(self.reader.position_mode)
        sheets = []
        for name in self.options.symbols:
            try:
                sheets.append(await self._idea(self.book.spelled(name), contexts, mode))
            except InputsError as error:
                failures.append(error)
        return sheets

    async def _idea(self, symbol: str, contexts: Contexts, mode: PositionMode | Unavailable) -> PlanSheet:
        given = self.options.given
        read = await contexts.read(PositionKey(symbol, given.side or PositionSide.LONG))
        context, brackets = read.context, self.book.brackets(symbol)
        if isinstance(context.brackets, Unavailable) and not isinstance(brackets, Unavailable):
            context = replace(context, brackets=brackets)
        # Without a position, only the symbol's own settings tell a leverage: where they are not known, neither is.
        margin_read = not isinstance(context.leverage, Unavailable)
        if not margin_read:
            context = replace(context, margin=MarginMode.ISOLATED)
        premium = await _reading(lambda: self.reader.premium(symbol))
        mark: Price | Unavailable = premium if isinstance(premium, Unavailable) else premium.mark
        request, notes = hypothetical_request(symbol, read.instrument, context, mark, given)
        if not margin_read:
            notes = (*notes, *margin_assumption(given))
        held = Unavailable("the position is hypothetical")
        situation = Situation(
            account=self.account,
            mode=PositionMode.ONE_WAY if isinstance(mode, Unavailable) else mode,
            standing=Standing(last=await self._last(symbol)),
            candles=await self._candles(symbol),
            funding=_funding(request.key, request.quantity * (request.mark or request.entry), premium, held),
            notes=notes,
            odds=self.options.odds,
        )
        return compose(request, self.settings.exits, situation)

    async def positions(self, failures: list[TpctlError]) -> list[PlanSheet]:
        """Plan the open positions, all or of the named symbols."""
        held = await self.reader.holdings()
        chosen = self._chosen(held.positions, failures)
        if not chosen:
            return []
        live = await self._open_orders(chosen)
        paid = await self._funding_paid(chosen)
        journal = self._journal()
        contexts = self._contexts({position.key: self._life(position, journal) for position in chosen})
        sheets = []
        for position in chosen:
            running = running_plan(journal[position.key], position) if position.key in journal else None
            try:
                sheets.append(await self._position(position, contexts, held.mode, live, paid[position.key], running))
            except InputsError as error:
                failures.append(error)
        return sheets

    def _contexts(self, lives: Mapping[PositionKey, str]) -> Contexts:
        """Return the planning inputs, with what the learned policy in use suggests; `lives` are of open positions."""
        adviser = LearnedExits(
            self.reader, self.clock, lambda: self.use, rules=lambda: self.settings.exits, life=lives.get
        )
        return Contexts(self.reader, self.clock, self.settings.inputs, self.book, self.risk, adviser.suggestion)

    def _life(self, position: Position, journal: Mapping[PositionKey, Episode]) -> str:
        """Return the life of a position: as its watch knows it, else as a watch would name it now."""
        episode = journal.get(position.key)
        if episode is not None and same_life(episode, position):
            return episode.generation
        return generation_for(self.account, position.key, position.updated_at)

    def _journal(self) -> Mapping[PositionKey, Episode]:
        """Return what the profile's journal knows of positions, where orders or shares depend on their lives."""
        embedded = self.settings.profile.env is Env.SIM and self.options.venue is None
        folder = find_state_dir(self.settings.state_dir)
        drawn = isinstance(self.use, PolicyUse) and self.use.choice.stage is Stage.CANARY
        asked = self.options.diff or self.options.check or drawn
        if embedded or folder is None or not asked or not folder.journal.exists():
            return {}
        with JournalReader.read_only(folder.journal, self.account) as journal:
            return load_state(journal, self.account, self.settings.exits, Scope()).episodes

    async def _open_orders(self, positions: Sequence[Position]) -> tuple[LiveOrder, ...]:
        """Return the open orders: of the account (weight 80), or where symbols are named of those (2 each)."""
        if not self.options.symbols:
            return await self.reader.open_orders()
        found: tuple[LiveOrder, ...] = ()
        for symbol in dict.fromkeys(position.key.symbol for position in positions):
            found += await self.reader.open_orders(symbol)
        return found

    def _chosen(self, held: Sequence[Position], failures: list[TpctlError]) -> list[Position]:
        if not self.options.symbols:
            return sorted(held, key=lambda position: str(position.key))
        chosen: list[Position] = []
        for name in self.options.symbols:
            try:
                chosen += self._held(name, held)
            except InputsError as error:
                failures.append(error)
        return chosen

    def _held(self, name: str, held: Sequence[Position]) -> list[Position]:
        symbol = self.book.instrument(self.book.spelled(name)).symbol
        found = [position for position in held if position.key.symbol == symbol]
        if not found:
            hint = "add --lev, --side or --notional to plan one that is not open"
            raise InputsError(f"there is no open position in {symbol}", hint)
        return found

    async def _position(
        self,
        position: Position,
        contexts: Contexts,
        mode: PositionMode,
        live: tuple[LiveOrder, ...],
        paid: Money | Unavailable,
        running: Wanted | None,
    ) -> PlanSheet:
        symbol, given = position.key.symbol, self.options.given
        read = await contexts.read(position.key)
        premium = await _reading(lambda: self.reader.premium(symbol))
        request = position_request(position, read.instrument, read.context, given)
        situation = Situation(
            account=self.account,
            mode=mode,
            position=position,
            standing=Standing(last=await self._last(symbol), live=live, whole=not self.options.symbols),
            candles=await self._candles(symbol),
            funding=_funding(position.key, position.notional, premium, paid),
            odds=self.options.odds,
            differ=self.options.diff or self.options.check,
            running=running,
        )
        return compose(request, self.settings.exits, situation)

    async def _candles(self, symbol: str) -> tuple[Candle, ...] | Unavailable:
        if not self.options.odds:
            return Unavailable("odds were left out")
        return await _reading(lambda: self.reader.candles(symbol, _CANDLE_INTERVAL, _CANDLES))

    async def _last(self, symbol: str) -> Price | None:
        """Return the last price where it triggers stops."""
        if self.settings.exits.execution.working is not WorkingType.LAST:
            return None
        found = await _reading(lambda: self.reader.last_price(symbol))
        return None if isinstance(found, Unavailable) else found

    async def _funding_paid(self, positions: Sequence[Position]) -> dict[PositionKey, Money | Unavailable]:
        """Return what each position has paid since it was opened; the exchange keeps it by symbol, not by side."""
        since: dict[PositionKey, Millis | Unavailable] = {}
        start = self.clock.now() - _FILLS_SPAN_MS
        for position in positions:
            key, symbol = position.key, position.key.symbol
            if any(other.key == PositionKey(symbol, key.side.other) for other in positions):
                since[key] = Unavailable("both sides are open, and funding is kept by symbol")
                continue
            fills = await _reading(partial(self.reader.fills, symbol, start))
            since[key] = fills if isinstance(fills, Unavailable) else opened_at(key, position.quantity, fills)
        # Funding is paid on full hours, so a position opened since the last one has paid none.
        hour = self.clock.now() // _HOUR_MS * _HOUR_MS
        paying = [at for at in since.values() if not isinstance(at, Unavailable) and at <= hour]
        fees = await _reading(lambda: self.reader.funding_fees(min(paying))) if paying else ()
        return {key: _sum(fees, key.symbol, at) for key, at in since.items()}


def _sum(fees: tuple[FundingFee, ...] | Unavailable, symbol: str, since: Millis | Unavailable) -> Money | Unavailable:
    if isinstance(since, Unavailable):
        return since
    if isinstance(fees, Unavailable):
        return fees
    return -sum((fee.amount for fee in fees if fee.symbol == symbol and fee.at >= since), start=_NOTHING)


def _funding(key: PositionKey, notional: Money, premium: Premium | Unavailable, paid: Money | Unavailable) -> Funding:
    if isinstance(premium, Unavailable):
        return Funding(paid, premium, premium, premium)
    rate = premium.funding_rate
    due = rate if isinstance(rate, Unavailable) else funding_due(key.side, notional, rate)
    return Funding(paid, premium.next_funding_at, rate, due)


async def _reading(read: Callable[[], Awaitable[T]]) -> T | Unavailable:
    try:
        return await read()
    except TpctlError as error:
        return Unavailable(error.message)
