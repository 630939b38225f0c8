"""The simulator and the reducer are two writings of one set of rules: same paths, same fills, same stops, to the tick.

The reducer runs on the in-process twin, which fills at the price it is at. Where the simulator lets the price travel
without a gap, the twin's market is stopped at every level that rests on the way.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import Stage

from tpctl.exits.events import Requested
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import PositionKey
from tpctl.exits.requests import CloseAll, Reduce, Request, TightenStop
from tpctl.exits.rules import ExecutionRules, ExitRules, TrailRules
from tpctl.exits.units import Ratio
from tpctl.learn.costs import Costs, Slippage
from tpctl.learn.episodes import Episodes
from tpctl.learn.replay import Simulation
from tpctl.learn.terms import terms_of_plan
from tpctl.market.policy.model import Action
from tpctl.venue.venue import Terms

D = Decimal
EXACT = Terms(half_spread_ticks=0, impact_bps=D(0))
TICK, STEP = D("0.0001"), D("0.1")
ENTRY = 25_000
QUARTER_MS = 225_000
REACH = 0.01
FREE = Costs(fee_in=0.0, fee_out=0.0, slippage=Slippage((0.0,), (0.0,), (0.0,)), funding=False)
SHARES = {Action.CLOSE_QUARTER: "0.25", Action.CLOSE_HALF: "0.5"}


@dataclass(frozen=True)
class Candle:
    """Prices in ticks."""

    open: int
    high: int
    low: int
    close: int


def path(seed: int, length: int, wild: float) -> list[Candle]:
    """Return candles that gap, wick and trend, beginning at the entry."""
    draw = np.random.default_rng(seed)
    candles, last, drift = [], ENTRY, draw.normal(0, 0.3 * wild)
    for number in range(length + 1):
        opening = ENTRY if number == 0 else round(last * (1 + draw.normal(0, 0.4 * wild)))
        close = round(opening * (1 + drift + draw.normal(0, wild)))
        high = round(max(opening, close) * (1 + abs(draw.normal(0, 0.5 * wild))))
        low = round(min(opening, close) * (1 - abs(draw.normal(0, 0.5 * wild))))
        candles.append(Candle(opening, high, low, close))
        last = close
    return candles


def episodes_of(candles: list[Candle], side: int) -> Episodes:
    """Return the one position that entered with the first candle."""
    rows = {name: np.array([[getattr(one, name) * float(TICK) for one in candles]]) for name in Candle.__annotations__}
    still = np.zeros((1, len(candles)))
    return Episodes(
        interval_ms=4 * QUARTER_MS,
        symbols=("XRPUSDT",),
        symbol=np.zeros(1, dtype=np.int64),
        side=np.array([float(side)]),
        stop=np.array([0.02]),
        started_at=np.zeros(1, dtype=np.int64),
        **rows,
        funding=still,
        volatility=np.array([0.025]),
        tick=np.array([float(TICK)]),
        drift_fast=still,
        drift_slow=still,
        swell=still,
        reach=still + REACH,
        entry_market=np.zeros((1, 4)),
    )


class Live:
    """The reducer on the twin, walked along a path."""

    def __init__(self, side: int, rules: ExitRules) -> None:
        self.sign = side
        self.key = PositionKey("XRPUSDT", PositionSide.LONG if side > 0 else PositionSide.SHORT)
        self.stage = Stage({"XRPUSDT": str(ENTRY * TICK)}, rules=rules, terms=EXACT)
        self.stage.start()
        self.stage.open(self.key.side.name)
        self.began = self.stage.now
        self.at = ENTRY

    @property
    def over(self) -> bool:
        return self.stage.quantity() == 0

    def jump(self, to: int, at_ms: int) -> None:
        """Let the price be elsewhere at once; orders it passed fill there."""
        self.at = to
        if not self.over:
            wait = max(0, self.began + at_ms - self.stage.now)
            self.stage.move({"XRPUSDT": str(to * TICK)}, after_ms=wait)

    def travel(self, to: int, at_ms: int) -> None:
        """Let the price go there without a gap; orders on the way fill at their level."""
        while not self.over:
            ahead = [
                int(order.trigger / TICK)
                for order in self.stage.resting()
                if min(self.at, to) <= order.trigger / TICK <= max(self.at, to) and order.trigger / TICK != self.at
            ]
            if not ahead:
                break
            self.jump(min(ahead, key=lambda level: abs(level - self.at)), at_ms)
        self.jump(to, at_ms)

    def ask(self, name: str, request: Request) -> None:
        if not self.over:
            self.stage.hear(Requested(self.stage.now, self.key, name, "policy", request))

    def gained(self, last: int) -> float:
        """Return what the exits brought, in ticks times steps; what is left is closed at `last`."""
        closing = "SELL" if self.sign > 0 else "BUY"
        trades = self.stage.venue.user_trades({"symbol": "XRPUSDT", "startTime": "0"})
        cash = sum((D(row["price"]) / TICK - ENTRY) * D(row["qty"]) / STEP for row in trades if row["side"] == closing)
        return float(self.sign * (cash + (last - ENTRY) * self.stage.quantity() / STEP))


def compare(  # noqa: PLR0917 - one scene
    seed: int, side: int, wild: float, length: int, rules: ExitRules, actions: dict[int, Action]
) -> None:
    candles = path(seed, length, wild)
    live = Live(side, rules)
    plan = live.stage.episode(live.key).plan
    assert plan is not None
    terms = terms_of_plan(plan, live.stage.instruments["XRPUSDT"], rules)
    simulation = Simulation(episodes_of(candles, side), terms, FREE, tighten_reach=3.0)
    asked: tuple[Action, int] | None = None
    for step, candle in enumerate(candles):
        base = step * 4 * QUARTER_MS
        if step:
            live.jump(candle.open, base)
        simulation.open_candle(step)
        if asked is not None:
            action, level = asked
            if action is Action.TIGHTEN:
                live.ask(str(step), TightenStop(level * TICK))
            elif action is Action.CLOSE_ALL:
                live.ask(str(step), CloseAll())
            else:
                live.ask(str(step), Reduce(Ratio(D(SHARES[action]))))
        simulation.carry_out(step)
        asked = None
        if step == length:
            break
        up, down = (candle.high, candle.low) if side > 0 else (candle.low, candle.high)
        live.travel(down, base + QUARTER_MS)
        live.travel(up, base + 2 * QUARTER_MS)
        live.travel(candle.close, base + 3 * QUARTER_MS)
        simulation.finish_candle(step)
        assert live.over == (not simulation.live[0]), f"candle {step}"
        if live.over:
            break
        assert float(live.stage.quantity() / STEP) == simulation.lots[0]
        stop = live.stage.episode(live.key).stop
        assert stop is not None
        assert float(stop / TICK) * side == simulation.stop[0], f"stop in candle {step}"
        action = actions.get(step)
        if action is not None and simulation.allowed(step)[action][0]:
            level = int(abs(simulation._tight(step, slice(None))[0]))
            asked = (action, level)
            simulation.request(step, np.array([0]), np.array([action], dtype=np.int64))
    last = candles[step].open
    assert live.gained(last) == pytest.approx(simulation.cash[0] + simulation.lots[0] * (side * last - terms.entry[0]))
    if live.key in live.stage.state.episodes:
        assert live.stage.episode(live.key).legs_hit == simulation.done[0]


MOMENTS = st.dictionaries(
    st.integers(0, 11),
    st.sampled_from((Action.TIGHTEN, Action.CLOSE_QUARTER, Action.CLOSE_HALF, Action.CLOSE_ALL)),
    max_size=2,
)


@given(st.integers(0, 10**6), st.sampled_from((1, -1)), st.sampled_from((0.002, 0.006, 0.012)))
@settings(max_examples=40)
def test_the_exits_alone_are_the_same(seed: int, side: int, wild: float) -> None:
    compare(seed, side, wild, 14, ExitRules(), {})


@given(st.integers(0, 10**6), st.sampled_from((1, -1)), st.sampled_from((0.002, 0.006)), MOMENTS)
@settings(max_examples=40)
def test_what_a_policy_asks_for_is_carried_out_the_same(
    seed: int, side: int, wild: float, actions: dict[int, Action]
) -> None:
    compare(seed, side, wild, 12, ExitRules(), actions)


@given(st.integers(0, 10**6), st.sampled_from((1, -1)))
@settings(max_examples=15)
def test_breakeven_at_the_entry_is_the_same(seed: int, side: int) -> None:
    rules = replace(ExitRules(), execution=ExecutionRules(breakeven="entry"))
    compare(seed, side, 0.006, 14, rules, {})


@given(st.integers(0, 10**6), st.sampled_from((1, -1)), st.sampled_from((0.002, 0.006)), MOMENTS)
@settings(max_examples=40)
def test_a_trail_that_tightens_early_is_the_same(seed: int, side: int, wild: float, actions: dict[int, Action]) -> None:
    schedule = ((Ratio.percent("0.3"), D(1)), (Ratio.percent("0.6"), D("0.6")), (Ratio.percent("1.2"), D("0.3")))
    trail = TrailRules(callback=Ratio.percent(1), activation=Ratio.percent("0.3"), schedule=schedule)
    compare(seed, side, wild, 12, ExitRules(trail=trail), actions)
