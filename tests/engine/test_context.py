"""What a plan may know: each reading on its own, never a neutral number in place of one that failed."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from engine_desk import GIVEN, START, XRP, DeskExchange, EventTime, bounded

from tpctl.engine.context import ContextSource
from tpctl.exits.errors import InputsError, RateLimitedError, TpctlError, UnavailableError
from tpctl.exits.events import ContextRead
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.liquidation import maintenance
from tpctl.exits.model import Context, MarginMode, PositionKey, Regime
from tpctl.exits.units import Ratio
from tpctl.ports import Candle
from tpctl.settings.schema import InputSettings, InputValues
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue

OUTAGE = UnavailableError("the exchange does not answer", "wait")
HOUR = 3_600_000


class Desk:
    """An account that is long XRP and short BTC, and a source that reads it."""

    def __init__(self, given: InputSettings = GIVEN, **margins: str) -> None:
        self.clock = EventTime()
        self.venue = Venue(builtin_rules(), start_ms=START)
        prices = {"XRPUSDT": "2.5", "BTCUSDT": "95000"}
        quotes = tuple(Quote(symbol, Decimal(price), Decimal(price)) for symbol, price in prices.items())
        self.venue.step(MarketStep(START, quotes))
        self.venue.open_position("XRPUSDT", "LONG", notional=Decimal(2000), leverage=20, **margins)
        self.venue.open_position("BTCUSDT", "SHORT", notional=Decimal(5000), leverage=10)
        self.exchange = DeskExchange(self.venue, self.clock)
        self.source = ContextSource(self.exchange, self.clock, given)

    def failing(self, *names: str, error: TpctlError = OUTAGE) -> None:
        self.exchange.failing = lambda name: error if name.split()[0] in names else None

    def read(self, key: PositionKey = XRP) -> ContextRead:
        return bounded(self.source.read(key))

    def context(self) -> Context:
        return self.read().context

    def asked(self, name: str) -> int:
        return sum(read == name for read, _ in self.exchange.reads)


def swings(count: int, every_ms: int, swing: float) -> tuple[Candle, ...]:
    """Return candles that swing up and down by a share of the price."""
    prices = [2.5 * (1 + swing * (-1) ** number) for number in range(count + 1)]
    return tuple(
        Candle(
            START - (count - i) * every_ms,
            prices[i],
            max(prices[i : i + 2]),
            min(prices[i : i + 2]),
            prices[i + 1],
            1e6,
        )
        for i in range(count)
    )


def market(swing: float = 0.01) -> dict[str, tuple[Candle, ...]]:
    """Return a market that swings every five minutes, and by more every hour."""
    return {"5m": swings(720, HOUR // 12, swing / 3), "1h": swings(498, HOUR, swing)}


def test_everything_that_can_be_read_is_read() -> None:
    desk = Desk()

    found = desk.read()

    assert (found.at, found.key, found.instrument.symbol, found.mark) == (START, XRP, "XRPUSDT", Decimal("2.5"))
    context = found.context
    assert (context.leverage, context.margin) == (20, MarginMode.CROSS)
    assert (context.maker_fee, context.taker_fee) == (Ratio.percent("0.02"), Ratio.percent("0.05"))
    assert not isinstance(context.brackets, Unavailable)


def test_what_the_operator_states_wins_over_what_is_measured() -> None:
    desk = Desk(replace(GIVEN, symbols={"XRPUSDT": InputValues(volatility=Ratio.percent("4"))}))
    desk.exchange.candle_rows = market()

    context = desk.context()

    assert (context.volatility, context.regime, context.confidence) == (
        Ratio.percent("4"),
        Regime.NORMAL,
        Decimal("0.85"),
    )


def test_what_nobody_states_is_measured() -> None:
    desk = Desk(InputSettings())
    desk.exchange.candle_rows = market()

    context = desk.context()

    # Swings of about 2 % an hour are about 2 % x sqrt(24) a day; a third of that every 5 minutes is 15 % more. Closes
    # every 15 minutes take one of each pair of swings, so they show about half of that.
    assert isinstance(context.volatility, Ratio)
    assert Decimal("0.09") < context.volatility.fraction < Decimal("0.11")
    assert isinstance(context.regime, Regime)
    assert isinstance(context.atr, Decimal)
    assert context.confidence == Unavailable("no confidence is set")
    assert [view.code for view in context.views] == ["volatility_view", "regime_view", "atr_view"]
    assert context.views[0].text.startswith("volatility 9.8% from 1h candles, the middle: 5m 11.")


def test_a_timeframe_that_cannot_be_read_is_left_out_and_that_is_said() -> None:
    desk = Desk(InputSettings())
    desk.exchange.candle_rows = market()
    desk.exchange.failing = lambda name: OUTAGE if name == "candles 5m" else None

    context = desk.context()

    assert isinstance(context.volatility, Ratio)
    assert context.views[0].text == (
        "volatility 9.8% from 1h candles, the only one that could be measured: "
        "5m unavailable (the exchange does not answer), 15m unavailable (the exchange does not answer), 1h 9.8%"
    )


def test_what_is_stated_is_not_said_to_be_chosen() -> None:
    desk = Desk(InputSettings(volatility=Ratio.percent("3")))
    desk.exchange.candle_rows = market()

    assert [view.code for view in desk.context().views] == ["regime_view", "atr_view"]


READINGS = {
    "candles": ("volatility", "regime", "atr"),
    "quote_volume": ("quote_volume",),
    "brackets": ("brackets", "wallet"),
    "wallet": ("wallet",),
    "positions": ("wallet",),
}


@pytest.mark.parametrize(("read", "fields"), READINGS.items())
def test_a_reading_that_fails_is_unavailable_with_its_reason_and_costs_no_other(
    read: str, fields: tuple[str, ...]
) -> None:
    whole = Desk(InputSettings())
    whole.exchange.candle_rows = market()
    desk = Desk(InputSettings())
    desk.exchange.candle_rows = market()
    desk.failing(read)

    before, after = whole.context(), desk.context()

    for name in fields:
        assert isinstance(getattr(after, name), Unavailable), name
    # What was chosen among timeframes goes with them.
    others = [name for name in Context.__slots__ if name not in fields and (read != "candles" or name != "views")]
    assert {name: getattr(after, name) for name in others} == {name: getattr(before, name) for name in others}


def test_the_reason_is_the_exchanges() -> None:
    desk = Desk(InputSettings())
    desk.failing("candles", error=RateLimitedError("slow down", "wait"))

    assert desk.context().volatility == Unavailable("slow down")


def test_without_configuration_the_leverage_is_notional_over_margin() -> None:
    desk = Desk()
    desk.failing("symbol_config")

    assert desk.context().leverage == 20


def test_a_leverage_nobody_tells_is_not_assumed() -> None:
    desk = Desk()
    desk.failing("symbol_config", "positions")

    assert desk.context().leverage == Unavailable("the exchange does not answer")


def test_unreadable_fees_are_the_expensive_ones_with_the_reason_and_are_asked_for_again() -> None:
    desk = Desk()
    desk.failing("fees")
    first = desk.context()
    desk.failing()
    second = desk.context()
    desk.context()

    assert (first.fees_assumed, second.fees_assumed) == (Unavailable("the exchange does not answer"), None)
    assert (first.maker_fee, first.taker_fee) == (Ratio.percent("0.02"), Ratio.percent("0.05"))
    assert desk.asked("fees") == 2


def test_a_cross_wallet_is_what_the_other_positions_leave() -> None:
    desk = Desk()
    desk.venue.step(MarketStep(START + 5_000, (Quote("BTCUSDT", Decimal(96_000), Decimal(96_000)),)))
    positions = {row.key.symbol: row for row in bounded(desk.exchange.positions())}
    wallet: Any = bounded(desk.exchange.wallet("USDT"))
    brackets: Any = bounded(desk.exchange.brackets("BTCUSDT"))
    other = positions["BTCUSDT"]

    expected = wallet.cross_wallet - maintenance(other.notional, brackets) + other.unrealised
    assert desk.context().wallet == expected
    assert other.unrealised < 0


def test_an_isolated_position_has_its_own_wallet() -> None:
    desk = Desk(margin="ISOLATED")
    (position,) = [row for row in bounded(desk.exchange.positions()) if row.key == XRP]

    context = desk.context()

    assert context.margin is MarginMode.ISOLATED
    assert context.wallet == position.isolated_wallet > 0


def test_a_symbol_the_exchange_does_not_list_cannot_be_planned() -> None:
    with pytest.raises(InputsError, match="'NOPEUSDT'"):
        Desk().read(PositionKey("NOPEUSDT", PositionSide.LONG))


def test_without_rules_there_is_no_context_at_all() -> None:
    desk = Desk()
    desk.failing("instruments")

    with pytest.raises(UnavailableError):
        desk.read()


def test_rules_are_kept_for_an_hour_and_forgotten_on_request() -> None:
    desk = Desk()
    desk.read()
    desk.clock.at += HOUR - 1
    desk.read()
    assert desk.asked("instruments") == 1

    desk.clock.at += 1
    desk.read()
    assert desk.asked("instruments") == 2

    desk.source.forget_rules()
    desk.read()
    assert desk.asked("instruments") == 3


def test_market_readings_are_kept_for_ten_minutes_and_failures_too() -> None:
    desk = Desk(InputSettings())
    desk.read()
    desk.clock.at += 599_999
    desk.read()
    assert desk.asked("candles 1h") == desk.asked("candles 5m") == 1

    desk.clock.at += 1
    desk.read()
    assert desk.asked("candles 1h") == 2
    assert desk.asked("positions") == 3
