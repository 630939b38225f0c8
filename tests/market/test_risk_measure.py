"""All readings of a moment: each correct or n/a with its reason, never a constant."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from risk_makers import DAY, HOUR, QUARTER, START, panel, prices, without

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import PositionKey, RiskReadings
from tpctl.market.risk.account import Account, Exposure
from tpctl.market.risk.measure import measure
from tpctl.market.risk.measurement import Measurement
from tpctl.market.risk.prices import Panel, build_panel
from tpctl.market.risk.readings import CONTRACT, DEFAULT_MARKS, Level, Marks, RiskReport

MARKET = panel("A B C D E", 130, seed=11)
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


def exposure(
    symbol: str,
    side: PositionSide = LONG,
    notional: float = 1000,
    stop: str | None = None,
    liquidation: str | None = None,
) -> Exposure:
    mark = Decimal(100)
    return Exposure(
        PositionKey(symbol, side),
        Decimal(str(notional)) / mark,
        mark,
        mark,
        None if stop is None else Decimal(stop),
        None if liquidation is None else Decimal(liquidation),
    )


def report(
    book: Sequence[Exposure] | Unavailable = (),
    market: Panel | Unavailable = MARKET,
    *,
    later_ms: int = 0,
    account: Account | Unavailable | None = None,
    **more: object,
) -> RiskReport:
    gross = Decimal(0) if isinstance(book, Unavailable) else sum((abs(e.notional) for e in book), Decimal(0))
    at = (market.newest if isinstance(market, Panel) else START) + later_ms
    own = account or Account(Decimal(10_000), Decimal(0), gross / 10, gross)
    return measure(Measurement(market, book, own, at, **more))  # type: ignore[arg-type]  # passed on as they came


def reason(found: RiskReport, name: str) -> str:
    value = found.readings[name].value
    assert isinstance(value, Unavailable), (name, value)
    return value.reason


def value(found: RiskReport, name: str) -> float:
    measured = found.readings[name].value
    assert isinstance(measured, Decimal), (name, measured)
    return float(measured)


def test_every_reading_has_value_source_window_and_age() -> None:
    found = report([exposure("A"), exposure("B", SHORT)], later_ms=7_000)

    assert set(CONTRACT) <= set(found.readings)
    for name in CONTRACT:
        reading = found.readings[name]
        assert isinstance(reading.value, Decimal), name
        assert reading.source == "60m candles of 5 symbols"
        assert reading.window
        assert reading.age_ms == 7_000


def test_no_position_leaves_the_market_and_nothing_of_the_book() -> None:
    found = report([])

    assert found.readings["ess"].parts["account"] == 1
    assert value(found, "ess") == value(report([], account=Unavailable("no account")), "ess")
    for name in ("correlation", "heat", "var_95", "es_95", "open_risk"):
        assert reason(found, name) == "no position is open"


def test_a_single_position_has_heat_one_and_no_correlation() -> None:
    found = report([exposure("A")])

    assert value(found, "heat") == 1.0
    assert reason(found, "correlation") == "one position has nothing to correlate with"
    assert value(found, "var_95") > 0


def test_a_perfect_hedge_has_no_correlation_and_no_tail() -> None:
    found = report([exposure("A"), exposure("A", SHORT)])

    assert value(found, "correlation") == 0.0
    assert reason(found, "heat") == "the book is hedged: no position adds risk"
    assert abs(value(found, "var_95")) < 1e-9


def test_both_sides_of_one_symbol_are_two_positions_and_copies_correlate_fully() -> None:
    series = prices("A B C", 60, seed=2)
    series["COPY"] = type(series["A"])(
        "COPY", *(getattr(series["A"], name) for name in ("interval_ms", "at", "open", "high", "low", "close"))
    )
    market = build_panel(series)
    assert isinstance(market, Panel)

    assert value(report([exposure("A"), exposure("COPY", notional=300)], market), "correlation") == pytest.approx(1.0)
    assert value(report([exposure("A"), exposure("COPY", SHORT)], market), "correlation") == 0.0


def test_old_candles_make_every_reading_unavailable() -> None:
    found = report([exposure("A"), exposure("B")], later_ms=4 * HOUR)

    for name in CONTRACT:
        assert reason(found, name) == "the newest candle closed 240 min ago"
        assert found.readings[name].age_ms == 4 * HOUR


def test_a_symbol_without_candles_takes_the_book_with_it_but_not_the_market() -> None:
    series = prices("A B C D E", 60)
    series["D"] = series["D"].until(START + 59 * DAY)
    market = build_panel(series)
    assert isinstance(market, Panel)
    found = report([exposure("A"), exposure("D")], market)

    assert isinstance(found.readings["ess"].value, Decimal)
    assert isinstance(found.readings["systemic"].value, Decimal)
    for name in ("correlation", "heat", "var_95", "es_95"):
        assert reason(found, name) == "D: no candle for 1440 min: halted or delisted"
    assert reason(report([exposure("NOPE")], market), "heat") == "NOPE: there are no candles"


def test_holes_of_hours_are_measured_across() -> None:
    series = {name: without(one, first=1000, count=6) for name, one in prices("A B C D", 70).items()}
    market = build_panel(series)
    assert isinstance(market, Panel)
    found = report([exposure("A"), exposure("B")], market)

    assert all(isinstance(found.readings[name].value, Decimal) for name in CONTRACT)


def test_no_candles_leave_nothing_but_their_reason() -> None:
    found = report([exposure("A")], Unavailable("the exchange is unreachable"))

    assert all(reason(found, name) == "the exchange is unreachable" for name in CONTRACT)
    assert found.exit_readings() == RiskReadings(*(Unavailable("the exchange is unreachable"),) * 4)


def test_short_history_says_how_much_is_needed() -> None:
    found = report([exposure("A"), exposure("B")], panel("A B C D", 10))

    assert reason(found, "ess") == "239 candles in common, at least 672 are needed"
    assert reason(found, "correlation") == "239 candles in common, at least 336 are needed"
    days = report([exposure("A"), exposure("B")], panel("A B C D", 18))
    assert isinstance(days.readings["correlation"].value, Decimal)
    assert reason(days, "var_95") == "14 days of candles to draw from, at least 20 are needed"


def test_two_symbols_are_too_few_for_systemic_risk() -> None:
    assert reason(report([], panel("A B", 60)), "systemic") == "2 symbols, at least 3 are needed"


def test_positions_that_could_not_be_read_take_the_account_part_with_them() -> None:
    missing = Unavailable("the positions: no answer in time")
    found = report(missing, account=missing)

    assert reason(found, "ess") == "the account part: the positions: no answer in time"
    assert isinstance(found.readings["ess"].parts["market"], Decimal)
    assert isinstance(found.readings["systemic"].value, Decimal)
    assert reason(found, "heat") == missing.reason


def test_equity_that_is_not_known_leaves_the_money() -> None:
    found = report([exposure("A"), exposure("B")], account=Unavailable("the account holds no USDT"))

    assert reason(found, "var_95") == "the account holds no USDT"
    assert isinstance(found.readings["var_95"].parts["usd"], Decimal)


def test_value_at_risk_of_a_gaussian_market_is_near_the_formula() -> None:
    book = [exposure("A", notional=2000), exposure("B", SHORT, 1000)]
    deviation = 0.006 * np.sqrt(24) * np.sqrt(2000**2 + 1000**2 - 2 * 0.6 * 2000 * 1000)
    found = np.mean([value(report(book, panel("A B C", 130, seed=seed)), "var_95") * 10_000 for seed in range(30, 42)])

    assert found == pytest.approx(1.645 * deviation, rel=0.12)


def test_the_level_asked_for_stands_beside_the_contracts() -> None:
    found = report([exposure("A")], level=Decimal("0.99"))

    assert value(found, "var_99") > value(found, "var_95")
    assert value(found, "es_95") > value(found, "var_95")


def test_funding_is_part_of_the_loss_and_unknown_funding_says_so() -> None:
    book = [exposure("A"), exposure("B", SHORT, 400)]
    rates = {"A": Decimal("0.003"), "B": Decimal("0.001")}
    paying, unknown = report(book, funding=rates), report(book)

    assert paying.readings["var_95"].parts["funding_usd"] == Decimal("2.6")
    assert (value(paying, "var_95") - value(unknown, "var_95")) * 10_000 == pytest.approx(2.6, rel=1e-4)
    assert unknown.readings["var_95"].parts["funding_usd"] == Unavailable("funding rates were not read")


def test_positions_are_measured_in_their_own_deviations() -> None:
    found = report([exposure("A", stop="97", liquidation="80"), exposure("B", SHORT, stop="103")])
    first, second = found.positions

    assert isinstance(first.volatility, Decimal)
    assert isinstance(first.stop_sigmas, Decimal)
    assert isinstance(first.liquidation_sigmas, Decimal)
    assert float(first.stop_sigmas) == pytest.approx(-np.log(0.97) / float(first.volatility), rel=1e-6)
    assert float(first.liquidation_sigmas) == pytest.approx(-np.log(0.8) / float(first.volatility), rel=1e-6)
    assert isinstance(second.stop_sigmas, Decimal)
    assert float(second.stop_sigmas) > 0
    assert isinstance(first.touch, Decimal)
    assert 0 < first.touch < 1
    assert second.liquidation_sigmas == Unavailable("the exchange gives no liquidation price")
    assert value(found, "open_risk") == pytest.approx(0.006)


def test_a_crossed_stop_is_touched_for_certain() -> None:
    (found,) = report([exposure("A", stop="101")]).positions

    assert found.touch == 1
    assert isinstance(found.stop_sigmas, Decimal)
    assert found.stop_sigmas < 0


@given(seed=st.integers(0, 9999))
@settings(max_examples=12)
def test_readings_are_bounded_and_turn_with_the_book(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = rng.permutation(list("ABCDE"))[: int(rng.integers(2, 6))]
    book = [exposure(str(n), LONG if rng.random() < 0.5 else SHORT, float(rng.integers(1, 5000))) for n in names]
    mirrored = [exposure(e.key.symbol, e.key.side.other, float(abs(e.notional))) for e in book]
    found, turned = report(book), report(mirrored)

    assert value(found, "ess") > 0
    for name in ("systemic", "correlation", "heat"):
        assert 0 <= value(found, name) <= 1
        assert value(turned, name) == pytest.approx(value(found, name))


def test_marks_are_exclusive_and_unknown_has_no_level() -> None:
    marks = DEFAULT_MARKS["ess"]

    levels = [marks.level(Decimal(text)) for text in ("1.5", "1.51", "2.5", "2.51")]
    assert levels == [Level.OK, Level.WARNING, Level.WARNING, Level.CRITICAL]
    assert marks.level(Unavailable("not measured")) is None
    assert Marks(None, None).level(Decimal(99)) is Level.OK


def test_quarter_hours_are_measured_as_hours_are() -> None:
    found = report([exposure("A"), exposure("B")], panel("A B C D", 60, interval=QUARTER))

    assert all(isinstance(found.readings[name].value, Decimal) for name in CONTRACT)
    assert found.readings["ess"].source == "15m candles of 4 symbols"
