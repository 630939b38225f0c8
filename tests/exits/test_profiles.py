from decimal import Decimal

import pytest

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Regime
from tpctl.exits.profiles import choose_profile, profile_levels, profile_trail, settle_callback
from tpctl.exits.rules import ProfileRules, TrailRules
from tpctl.exits.units import Ratio

RULES = ProfileRules()
TRAIL = TrailRules()
R = Ratio.percent("2.5")


def pct(text: str) -> Ratio:
    return Ratio.percent(text)


# exit-rules 2, with the default stop of 2.5 %.
@pytest.mark.parametrize(
    ("name", "distances", "split"),
    [
        ("normal", ("1.25", "2.5", "5"), (25, 25, 50)),
        ("trending", ("1.25", "2.5", "5"), (15, 20, 30)),
        ("ranging", ("0.5", "1", "1.75"), (35, 35, 30)),
        ("volatile", ("1", "2", "3.75"), (25, 35, 40)),
        ("chop", ("0.375", "0.875", "1.5"), (40, 40, 20)),
    ],
)
def test_profiles_at_the_default_stop(name: str, distances: tuple[str, ...], split: tuple[int, ...]) -> None:
    levels = profile_levels(RULES.profiles[name], R)

    assert levels == tuple(
        (pct(distance), Decimal(share) / 100) for distance, share in zip(distances, split, strict=True)
    )


def test_static_mean_is_the_documented_one() -> None:
    levels = profile_levels(RULES.profiles["normal"], R)

    mean = sum(distance.as_percent for distance, _ in levels) / 3

    assert round(mean, 2) == Decimal("2.92")


@pytest.mark.parametrize(
    ("name", "callback", "activation", "share", "rows"),
    [
        ("normal", "1.5", "2.5", "0", (("2.5", "1.5"), ("7.5", "1"))),
        ("trending", "2", "3.75", "0.35", (("3.75", "2"), ("7.5", "1.5"), ("12.5", "1"))),
        ("volatile", "2.5", "2.5", "0", (("2.5", "2.5"),)),
    ],
)
def test_trailing_terms(
    name: str, callback: str, activation: str, share: str, rows: tuple[tuple[str, str], ...]
) -> None:
    trail, _ = profile_trail(RULES.profiles[name], R, TRAIL)

    assert trail is not None
    assert (trail.callback, trail.activation, trail.share) == (pct(callback), pct(activation), Decimal(share))
    assert [(profit, trail.callback.scaled(factor)) for profit, factor in trail.schedule] == [
        (pct(profit), pct(tight)) for profit, tight in rows
    ]


@pytest.mark.parametrize("name", ["ranging", "chop"])
def test_sideways_profiles_trail_nothing(name: str) -> None:
    assert profile_trail(RULES.profiles[name], R, TRAIL) == (None, ())


def test_callback_beyond_the_limits_is_clamped_with_a_reason() -> None:
    callback, (reason,) = settle_callback(pct("7"), TRAIL)

    assert callback == pct("5")
    assert (reason.before, reason.after) == ("7%", "5%")


OVERRIDES = ProfileRules(by_symbol={"XRPUSDT": "chop"}, by_strategy={"breakout": "trending"})


@pytest.mark.parametrize(
    ("symbol", "strategy", "name", "code"),
    [
        ("XRPUSDT", "breakout", "chop", "profile_by_symbol"),
        ("BTCUSDT", "breakout", "trending", "profile_by_strategy"),
        ("BTCUSDT", "scalp", "volatile", "profile_by_regime"),
        ("BTCUSDT", None, "volatile", "profile_by_regime"),
    ],
)
def test_the_most_specific_profile_wins(symbol: str, strategy: str | None, name: str, code: str) -> None:
    chosen = choose_profile(symbol, strategy, Regime.VOLATILE, OVERRIDES)

    assert (chosen.name, chosen.reasons[0].code) == (name, code)
    assert chosen.profile is OVERRIDES.profiles[name]


def test_an_unknown_regime_takes_the_normal_profile_and_says_so() -> None:
    chosen = choose_profile("BTCUSDT", None, Unavailable("no candles"), RULES)

    assert chosen.name == "normal"
    assert chosen.reasons[0].text == "regime unavailable (no candles): static profile normal"
