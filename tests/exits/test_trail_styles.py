from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_trailing import ETH, LONG, SHORT, pct

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import PositionKey, Trail
from tpctl.exits.rules import ExecutionRules, TrailRules
from tpctl.exits.stops import AtrMultiple, StopSpec, ratchet_stop
from tpctl.exits.trail_styles import (
    Style,
    Targets,
    chandelier_callback,
    follow,
    style_terms,
    targets_at,
    widest_callback,
)
from tpctl.exits.trailing import Rearm, native_limit
from tpctl.exits.units import Ratio

D = Decimal
LIMITS = TrailRules()
ONE_PERCENT = pct("1")
THREE = AtrMultiple(D(3))


def key(side: PositionSide = LONG) -> PositionKey:
    return PositionKey("ETHUSDT", side)


def targets(side: PositionSide = LONG, *distances: str, fee: str | None = None) -> Targets:
    spread = [pct(distance) for distance in distances or ("5", "10", "15")]
    return targets_at(ETH, key(side), D(3000), spread, fee=None if fee is None else pct(fee))


def stops(style: Style, side: PositionSide = LONG, distance: StopSpec = ONE_PERCENT, peak: str = "3600") -> list[str]:
    """Return where the stop goes after each of three targets; the peak is beyond the last one."""
    terms = style_terms(
        style, distance, activation=pct("2"), rungs=targets(side), limits=LIMITS, execution=ExecutionRules()
    )
    assert terms.rungs is not None
    mirrored = D(peak) if side is LONG else D(6000) - D(peak)
    return [str(ratchet_stop(terms.rungs, done, ETH, terms.execution, peak=mirrored)) for done in (1, 2, 3)]


@pytest.mark.parametrize(
    ("style", "levels"),
    [
        (Style.BREAKEVEN, ["3000.00", "3000.00", "3000.00"]),
        (Style.MOVING_TARGET, ["3000.00", "3150.00", "3300.00"]),
        (Style.MOVING_TWO_TARGET, ["None", "3000.00", "3150.00"]),
        (Style.BELOW_TRIGGER, ["3118.50", "3267.00", "3415.50"]),
        (Style.BELOW_HIGHEST, ["3564.00", "3564.00", "3564.00"]),
    ],
)
def test_where_each_climbing_style_puts_the_stop_after_targets_at_3150_3300_3450(
    style: Style, levels: list[str]
) -> None:
    assert stops(style) == levels


@pytest.mark.parametrize("style", [style for style in Style if style.climbs])
def test_a_short_is_the_mirror_image(style: Style) -> None:
    for long, short in zip(stops(style), stops(style, SHORT), strict=True):
        if "percent" not in style:
            assert short == "None" if long == "None" else D(short) == D(6000) - D(long)
        else:
            assert D(short) < 3000 < D(long)


def test_a_net_breakeven_pays_both_fees() -> None:
    assert targets(LONG, "5", fee="0.05").breakeven == D("3003.01")
    assert targets(SHORT, "5", fee="0.05").breakeven == D("2997.00")


@pytest.mark.parametrize("distances", [["5", "5"], ["5", "3"], ["0.0001"], ["1", "1.0001"]])
def test_targets_rise_from_entry_a_tick_apart(distances: list[str]) -> None:
    with pytest.raises(InputsError, match="do not rise from entry"):
        targets(LONG, *distances)


def test_the_percent_style_keeps_its_callback_at_any_profit() -> None:
    terms = style_terms(
        Style.PERCENT, pct("1.5"), activation=pct("3"), rungs=None, limits=LIMITS, execution=ExecutionRules()
    )

    assert terms.trail is not None
    assert (terms.trail.callback, terms.trail.activation, terms.rungs) == (pct("1.5"), pct("3"), None)
    assert {factor for _, factor in terms.trail.schedule} == {D(1)}


@pytest.mark.parametrize(
    ("style", "distance", "message"),
    [
        (Style.PERCENT, pct("5.1"), "outside 0.05% to 5%"),
        (Style.TIERED, pct("0.04"), "outside 0.05% to 5%"),
        (Style.TIERED, THREE, "cannot keep a distance of '3atr'"),
        (Style.ATR, pct("2"), "cannot keep a distance of '2%'"),
        (Style.BELOW_TRIGGER, THREE, "cannot keep a distance"),
        (Style.BELOW_HIGHEST, pct("100"), "not between 0 and 100%"),
        (Style.MOVING_TARGET, pct("1"), "no targets to climb"),
    ],
)
def test_a_style_refuses_a_distance_it_cannot_keep(style: Style, distance: StopSpec, message: str) -> None:
    rungs = None if "targets" in message else targets()

    with pytest.raises(InputsError, match=message):
        style_terms(style, distance, activation=pct("2"), rungs=rungs, limits=LIMITS, execution=ExecutionRules())


@settings(max_examples=100)
@given(st.decimals(D("0.01"), D(500), places=2), st.decimals(D(1), D(5000), places=2))
def test_the_chandelier_hangs_k_atrs_off_the_peak_within_the_callbacks_bounds(atr: Decimal, peak: Decimal) -> None:
    callback = chandelier_callback(peak, atr, THREE, LIMITS)

    assert LIMITS.min_callback <= callback <= LIMITS.max_callback
    if LIMITS.min_callback < callback < LIMITS.max_callback:
        assert abs(callback.of(peak) - 3 * atr) < D("1e-20")


def hung(style: Style = Style.ATR, chandelier: str | None = None) -> Trail:
    """Return the trail of a chandelier of three ATRs, on the default schedule."""
    terms = style_terms(
        style,
        THREE,
        activation=pct("2"),
        rungs=None,
        limits=LIMITS,
        execution=ExecutionRules(),
        chandelier=None if chandelier is None else pct(chandelier),
    )
    assert terms.trail is not None
    return terms.trail


@pytest.mark.parametrize(
    ("current", "atr", "times", "callback", "changed", "words"),
    [
        ("2", Unavailable("too few"), (10**6, None), "2", False, "the ATR is unavailable (too few)"),
        ("2", D(20), (10**6, None), "2", False, "asks for it"),
        ("1", D(20), (10**6, None), "2", True, "Callback 1.00% → 2.00%: 3atr at an ATR of 20 behind 3000"),
        ("3", D(20), (10**6, None), "2", True, "Callback 3.00% → 2.00%"),
        ("1", D(20), (299_999, None), "1", False, "changes start at 300 s"),
        ("1", D(20), (10**6, 29_999), "1", False, "changes are 30 s apart"),
        ("1.9", D(20), (10**6, None), "1.9", False, "asks for 2.00%, not more than 10% of it away"),
    ],
)
def test_the_chandelier_follows_the_atr_with_the_spacing_of_a_rearm(  # noqa: PLR0917 - one parameter per fact
    current: str,
    atr: Decimal | Unavailable,
    times: tuple[int, int | None],
    callback: str,
    changed: bool,
    words: str,
) -> None:
    answer = follow(
        hung(), pct(current), D(3000), pct("4"), atr, position_age_ms=times[0], since_change_ms=times[1], limits=LIMITS
    )

    assert (answer.callback, answer.changed) == (pct(callback), changed)
    assert words in answer.reason


@pytest.mark.parametrize(
    ("profit", "widest"), [("1", "5"), ("2", "5"), ("5", "3.75"), ("10", "2.5"), ("15", "1.5"), ("25", "1")]
)
def test_the_schedule_bounds_the_chandelier(profit: str, widest: str) -> None:
    """A market so wild that three ranges are 30 % of the price: the callback is what the profit allows."""
    age = {"position_age_ms": 10**6, "since_change_ms": None, "limits": LIMITS}

    wild = follow(hung(), pct("0.5"), D(3000), pct(profit), D(300), **age)
    unread = follow(hung(), pct("5"), D(3000), pct(profit), Unavailable("too few"), **age)

    assert (wild.callback, unread.callback) == (pct(widest), pct(widest))
    assert f"at most {pct(widest).show()} at a profit of {pct(profit).show()}" in wild.reason
    assert follow(hung(), wild.callback, D(3000), pct(profit), D(300), **age).changed is False


@given(
    st.decimals(D("0.05"), D(5), places=3),
    st.decimals(D("0.01"), D(500), places=2),
    st.decimals(D(0), D(40), places=1),
)
def test_asking_the_chandelier_again_changes_nothing(current: Decimal, atr: Decimal, profit: Decimal) -> None:
    def ask(callback: Ratio) -> Rearm:
        return follow(
            hung(),
            callback,
            D(3000),
            Ratio(profit / 100),
            atr,
            position_age_ms=10**6,
            since_change_ms=None,
            limits=LIMITS,
        )

    first = ask(Ratio(current / 100))

    assert ask(first.callback).callback == first.callback
    if first.changed:
        assert LIMITS.min_callback <= first.callback <= widest_callback(hung(), Ratio(profit / 100), LIMITS)


def test_a_chandelier_begins_with_the_range_at_entry_or_the_configured_callback() -> None:
    assert hung(chandelier="1.8").callback == pct("1.8")
    assert hung().callback == LIMITS.callback


@pytest.mark.parametrize(("callback", "fits"), [("0.09", False), ("0.1", True), ("20", True), ("20.1", False)])
def test_what_the_exchanges_own_trailing_takes_is_said(callback: str, fits: bool) -> None:
    limit = native_limit(Ratio.percent(callback))

    assert (limit is None) is fits
    if limit is not None:
        assert "takes 0.1% to 20%" in limit
