"""The replay of a trail: equal to the reducer at the same marks, never loosening, and each style on a path."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import XRP_LONG, XRP_SHORT, Stage
from test_trail_styles import THREE, targets
from test_trailing import ETH, LONG, pct

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import NoteKind, Policy, PositionKey, Regime
from tpctl.exits.rules import ExecutionRules, ExitRules, TrailRules
from tpctl.exits.stops import StopSpec
from tpctl.exits.trail_replay import Move, MoveKind, Replay, Setup, Step, replay_trail
from tpctl.exits.trail_styles import Style, StyleTerms, style_terms
from tpctl.exits.trailing import callback_at

D = Decimal
TWO = pct("2")
OPENED = 1_000_000
ATR = D("0.02")
OLD = OPENED + 3_600_000


def setup(style: Style = Style.TIERED, side: PositionSide = LONG, distance: StopSpec = TWO, **more: Any) -> Setup:
    terms = style_terms(
        style,
        distance,
        activation=more.pop("activation", pct("2")),
        rungs=targets(side) if style.climbs else None,
        limits=more.pop("limits", TrailRules()),
        execution=ExecutionRules(),
    )
    stop = D(2900) if side is LONG else D(3100)
    return Setup(PositionKey("ETHUSDT", side), ETH, D(3000), more.pop("opened_at", OPENED), stop, terms)


def steps(*prices: str | int, start: int = OLD, every: int = 60_000, atr: Any = None) -> list[Step]:
    extra = () if atr is None else (atr,)
    return [Step(start + index * every, D(price), *extra) for index, price in enumerate(prices)]


def kinds(replay: Replay) -> list[str]:
    return [move.kind.value for move in replay.moves]


def test_a_trail_activates_rearms_follows_and_exits() -> None:
    replay = replay_trail(setup(), steps(3000, 3030, 3090, 3240, 3250, 3360, 3400, 3360, 3340))

    assert [(move.kind.value, str(move.stop), str(move.callback)) for move in replay.moves] == [
        ("activated", "3028.20", "2%"),
        ("rearmed", "3191.40", "1.5%"),
        ("followed", "3201.25", "1.5%"),
        ("rearmed", "3326.40", "1%"),
        ("followed", "3366.00", "1%"),
        ("exit", "3366.00", "1%"),
    ]
    assert replay.exit is not None
    assert (replay.exit.price, replay.cause, replay.exit.at) == (D(3360), "trail", OLD + 7 * 60_000)
    assert replay.profit == pct("12")


def test_a_position_that_never_gains_leaves_at_its_first_stop() -> None:
    replay = replay_trail(setup(), steps(3000, 2950, 2900))

    assert kinds(replay) == ["exit"]
    assert (replay.cause, replay.stop, replay.decision) == ("stop", D(2900), None)


def test_equality_triggers_the_stop_and_the_path_may_end_first() -> None:
    assert replay_trail(setup(), steps(3000, "2900.01")).exit is None
    assert replay_trail(setup(), steps(3000, "2900.00")).exit is not None


def test_a_gap_through_the_stop_leaves_at_the_price_behind_it() -> None:
    last = replay_trail(setup(), steps(3000, 2700)).exit

    assert last is not None
    assert (last.price, last.stop) == (D(2700), D(2900))


def test_a_rearm_waits_for_the_age_and_comes_without_a_new_best_price() -> None:
    young = setup(opened_at=OLD)
    replay = replay_trail(young, steps(3240, *["3239"] * 12, every=30_000))
    rearmed = [move for move in replay.moves if move.kind is MoveKind.REARMED]

    assert [move.at - OLD for move in rearmed] == [300_000]
    assert rearmed[0].callback == pct("1.5")


def test_a_tighter_callback_that_the_market_has_passed_closes_at_once() -> None:
    """At 3240 the 2 % trail holds 3175.20; when the 1.5 % is due five minutes on, 3191.40 lies above the market."""
    replay = replay_trail(setup(opened_at=OLD), steps(3240, *["3180"] * 12, every=30_000))

    assert kinds(replay) == ["activated", "rearmed", "exit"]
    assert "already passed" in replay.moves[-1].reason


def test_rearming_a_thousand_times_at_constant_profit_changes_the_callback_once() -> None:
    replay = replay_trail(setup(), steps(3240, *["3239", "3240"] * 500, every=31_000))

    changes = [move for move in replay.moves if move.kind in {MoveKind.ACTIVATED, MoveKind.REARMED}]
    assert [move.callback for move in changes] == [pct("1.5")]
    assert len({move.stop for move in replay.moves}) == 1


@pytest.mark.parametrize("side", PositionSide)
def test_a_short_is_the_mirror_image(side: PositionSide) -> None:
    path = [3000, 3090, 3240, 3360, 3300]
    mirrored = path if side is LONG else [6000 - price for price in path]
    replay = replay_trail(setup(side=side), steps(*mirrored))

    assert kinds(replay) == ["activated", "rearmed", "rearmed", "exit"]
    assert replay.callback == pct("1")


@pytest.mark.parametrize(
    ("style", "distance", "levels"),
    [
        (Style.BREAKEVEN, pct("1"), ["3000.00"]),
        (Style.MOVING_TARGET, pct("1"), ["3000.00", "3150.00", "3300.00"]),
        (Style.MOVING_TWO_TARGET, pct("1"), ["3000.00", "3150.00"]),
        (Style.BELOW_TRIGGER, pct("1"), ["3118.50", "3267.00", "3415.50"]),
        (Style.BELOW_HIGHEST, pct("1"), ["3128.40", "3306.60", "3465.00", "3564.00"]),
    ],
)
def test_the_stop_climbs_past_targets(style: Style, distance: StopSpec, levels: list[str]) -> None:
    path = steps(3000, 3100, 3160, 3340, 3500, 3600, 3599)
    replay = replay_trail(setup(style, distance=distance), path)

    assert [str(move.stop) for move in replay.moves if move.stop != move.before] == levels
    assert replay.targets_done == 3


def test_a_jump_over_two_targets_climbs_past_both_at_once() -> None:
    replay = replay_trail(setup(Style.MOVING_TARGET), steps(3000, 3310))

    assert kinds(replay) == ["target", "target", "ratcheted"]
    assert replay.stop == D(3150)


def test_a_chandelier_widens_its_callback_with_the_atr_and_never_its_stop() -> None:
    path = [*steps(3090, atr=D(20)), *steps(3091, start=OLD + 60_000, atr=D(40))]
    replay = replay_trail(setup(Style.ATR, distance=THREE), path)

    assert kinds(replay) == ["activated", "rearmed"]
    assert replay.stop == D("3028.20")
    assert replay.callback is not None
    assert replay.callback > pct("3.8")


def test_a_chandelier_without_a_reading_keeps_its_callback_and_says_why() -> None:
    replay = replay_trail(setup(Style.ATR, distance=THREE), steps(3090, atr=Unavailable("too few candles")))

    assert replay.callback == pct("2")
    assert replay.decision is not None
    assert "too few candles" in replay.decision.reason


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ValueError, match="no prices"):
        replay_trail(setup(), [])


walks = st.lists(st.decimals(D("-1.5"), D("1.6"), places=2), min_size=1, max_size=60)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(Style), st.sampled_from(PositionSide), walks)
def test_no_style_ever_loosens_a_stop_and_every_exit_is_at_or_beyond_it(
    style: Style, side: PositionSide, walk: list[Decimal]
) -> None:
    price, path = D(3000), []
    for change in walk:
        price = (price * (1 + change / 100)).quantize(ETH.tick)
        path.append(price)
    distance = THREE if style is Style.ATR else pct("2")
    replay = replay_trail(setup(style, side, distance), steps(*map(str, path), atr=D(15)))

    sign = side.sign
    for before, after in pairwise(replay.moves):
        assert sign * (after.stop - before.stop) >= 0
        assert after.before == before.stop
    for move in replay.moves:
        assert sign * (move.stop - move.before) >= 0
        _check_callback(style, move)
    if replay.exit is not None:
        assert sign * (replay.exit.price - replay.exit.stop) <= 0
        assert replay.moves.index(replay.exit) == len(replay.moves) - 1


def _check_callback(style: Style, move: Move) -> None:
    """A callback is the schedule's for the peak, or the one before: never compounded, never loosened."""
    if style is Style.TIERED and move.callback is not None:
        assert pct("2") >= move.callback >= callback_at(pct("2"), move.profit)


def _trending(side: PositionSide, trail: TrailRules) -> Stage:
    """A stage whose position has legs, a ratchet and a trail on what the legs leave over (exit-rules 2)."""
    stage = Stage({"XRPUSDT": "2.4"}, rules=ExitRules(policy=Policy.STATIC, trail=trail))
    stage.context = replace(stage.context, regime=Regime.TRENDING, atr=ATR)
    stage.start()
    stage.open(side.value.upper())
    return stage


def _watched_and_replayed(
    key: PositionKey, walk: list[Decimal], trail: TrailRules | None = None
) -> tuple[Stage, Replay]:
    """Let the reducer and the replay meet the same marks, and hold their stops equal after each; `walk` in percent."""
    stage = _trending(key.side, trail or TrailRules())
    episode, rules = stage.episode(key), stage.state.rules
    plan, instrument = episode.plan, episode.instrument
    assert plan is not None
    assert plan.trail is not None
    assert instrument is not None
    terms = StyleTerms(plan.trail, plan, rules.execution, rules.trail)
    price, path, lived = D("2.4"), [], []
    for change in walk:
        price = (price * (1 + key.side.sign * change / 100)).quantize(instrument.tick)
        stage.move({"XRPUSDT": str(price)}, after_ms=20_000)
        path.append(Step(stage.now, price, ATR))
        if stage.flat(key):
            break
        lived.append(stage.episode(key).stop)

    beginning = Setup(key, instrument, episode.entry, episode.opened_at, plan.stop, terms)
    replay = replay_trail(beginning, path)
    level = plan.stop
    levels = {move.at: move.stop for move in replay.moves}
    assert [level := levels.get(step.at, level) for step in path[: len(lived)]] == lived
    assert (replay.exit is not None) == bool(stage.told(NoteKind.STOP_HIT))
    return stage, replay


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from([XRP_LONG, XRP_SHORT]),
    st.lists(st.decimals(D("-0.6"), D("1.4"), places=2), min_size=5, max_size=40),
)
def test_a_replay_is_what_the_reducer_did_at_the_same_marks(key: PositionKey, walk: list[Decimal]) -> None:
    for style in ("tiered", "percent", "atr"):
        _watched_and_replayed(key, walk, TrailRules(style=style, atr_multiple=D("1.5")))


@pytest.mark.parametrize("key", [XRP_LONG, XRP_SHORT])
def test_watch_and_replay_rearm_and_leave_at_the_same_marks(key: PositionKey) -> None:
    walk = [*["1"] * 7, *["-0.1", "0.1"] * 6, *["0.5"] * 10, "-0.5", "-0.6", "-0.7"]
    stage, replay = _watched_and_replayed(key, [D(change) for change in walk])

    told = [note for note in stage.told(NoteKind.TRAIL_MOVED) if "Callback" in note.reason]
    rearmed = [move for move in replay.moves if move.kind is MoveKind.REARMED]
    assert [(note.at, note.data["to"]) for note in told] == [(move.at, move.stop) for move in rearmed]
    assert len(rearmed) >= 2
    assert replay.cause == "trail"
    assert replay.exit is not None
