"""What other exits had given: played by the reducer itself, and never better than the best price there was."""

from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import START, XRP_LONG, Stage

from tpctl.exits.hindsight import MINUTE_MS, Bar, Life, missing_minutes, points_of, settle
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import NoteKind, PositionKey
from tpctl.exits.path_replay import Opening, Play, Point
from tpctl.exits.rules import ExitRules
from tpctl.exits.scoring import HORIZON_MS
from tpctl.exits.settlement import ALTERNATIVES, HORIZONS, Settlement
from tpctl.exits.units import Ratio

RULES = ExitRules()
STAGE = Stage({"XRPUSDT": "2"})


def opening(side: PositionSide = PositionSide.LONG, *, quantity: str = "1000", entry: str = "2") -> Opening:
    key = PositionKey("XRPUSDT", side)
    price = Decimal(entry)
    instrument = STAGE.instruments["XRPUSDT"]
    return Opening(key, Decimal(quantity), price, START, price, instrument, STAGE.context)


def life(found: Opening | Unavailable, *, minutes: int = 30, pnl: str = "0") -> Life:
    return Life(
        generation="0123456789",
        key=XRP_LONG if isinstance(found, Unavailable) else found.key,
        opened_at=START,
        closed_at=START + minutes * MINUTE_MS + 1,
        entry=Decimal(2),
        quantity=Decimal(1000),
        average_exit=Decimal(2),
        pnl=Decimal(pnl),
        opening=found,
        stop=Decimal("1.96"),
        policy="dynamic",
    )


def bars_of(one: Life, prices: dict[int, tuple[str, str, str, str]], rest: str = "2") -> list[Bar]:
    """Return the candles of a life: by their number, and all others flat."""
    count = (one.path_until - one.path_from) // MINUTE_MS
    flat = (rest,) * 4
    return [Bar(one.path_from + number * MINUTE_MS, *map(Decimal, prices.get(number, flat))) for number in range(count)]


def settled(one: Life, bars: list[Bar], rules: ExitRules = RULES) -> Settlement:
    *pauses, found = settle(one, bars, rules)
    assert all(pause is None for pause in pauses)
    assert found is not None
    return found


def test_a_target_and_a_stop_fill_at_their_levels_and_a_gap_at_the_price_after_it() -> None:
    plan = Play(opening(), RULES).episode
    assert plan is not None
    assert plan.plan is not None
    first, stop = plan.plan.legs[0], plan.plan.stop
    fee = STAGE.context.taker_fee.fraction

    play = Play(opening(), RULES)
    play.see(Point(START + 15_000, Decimal("2.0300")))
    assert play.episode is not None
    assert play.episode.legs_hit == 1
    ratcheted = play.episode.stop
    assert ratcheted is not None
    assert ratcheted > stop
    play.see(Point(START + 30_000, Decimal("1.9"), jump=True))
    assert play.over
    result = play.result()
    rest = Decimal(1000) - first.quantity
    spent = first.quantity * first.trigger + rest * Decimal("1.9")
    assert result.profit == spent - 2000 - spent * fee
    assert (result.left, result.reason) == (0, "breakeven")

    moved = Play(opening(), RULES)
    moved.see(Point(START + 15_000, Decimal("1.9")))
    assert moved.result().average_exit == stop
    assert moved.result().reason == "stop"


def test_what_is_left_at_the_end_is_worth_its_last_price_less_a_fee() -> None:
    play = Play(opening(PositionSide.SHORT), RULES)
    play.see(Point(START + 15_000, Decimal("1.999")))
    result = play.result()

    assert (result.left, result.reason, result.average_exit) == (1000, "still open", Decimal("1.999"))
    assert result.profit == 1 - Decimal(1999) * STAGE.context.taker_fee.fraction


@pytest.mark.parametrize("seed", range(6))
def test_the_replay_ends_as_the_guarded_position_on_the_twin_does(seed: int) -> None:
    random = Random(seed)
    stage = Stage({"XRPUSDT": "2"})
    stage.start()
    side = random.choice(["LONG", "SHORT"])
    stage.open(side, quantity=Decimal(1000))
    key = PositionKey("XRPUSDT", PositionSide(side.lower()))
    found = stage.episode(key)
    assert found.mark is not None
    assert found.instrument is not None
    play = Play(
        Opening(key, found.quantity, found.entry, found.opened_at, found.mark, found.instrument, stage.context), RULES
    )
    price = Decimal(2)
    for _ in range(2_000):
        price = (price * (1 + Decimal(random.randrange(-30, 31)) / 10_000)).quantize(Decimal("0.0001"))
        stage.move({"XRPUSDT": str(price)})
        play.see(Point(stage.now, price, jump=True))
        play.tick(stage.now)
        if stage.flat(key):
            break

    (closed,) = stage.told(NoteKind.CLOSED)
    assert play.over
    assert play.result().reason == closed.reason
    assert play.result().ended_at == closed.at
    # The twin's book has a spread, the paper account has none.
    assert abs(play.result().profit - Decimal(str(closed.data["pnl"]))) < Decimal("0.002") * 2000


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    side=st.sampled_from(PositionSide),
    policy=st.sampled_from(["dynamic", "static", "hybrid", "target"]),
)
def test_no_exit_beats_the_best_price_and_regret_is_measured_from_it(
    seed: int, side: PositionSide, policy: str
) -> None:
    random = Random(seed)
    one = replace(life(opening(side), minutes=40, pnl="-3"), policy=policy)
    price, bars = Decimal(2), []
    for at in range(one.path_from, one.path_until, MINUTE_MS):
        start, price = price, (price * (1 + Decimal(random.randrange(-80, 81)) / 10_000)).quantize(Decimal("0.0001"))
        wick = Decimal(random.randrange(0, 60)) / 10_000
        bars.append(Bar(at, start, max(start, price) + wick, min(start, price) - wick, price))
    found = settled(one, bars)
    profits = {other.name: other.pnl for other in found.alternatives}

    assert tuple(profits) == ALTERNATIVES
    best = profits["clairvoyant"]
    assert best is not None
    assert all(pnl is None or pnl <= best for pnl in profits.values())
    assert found.regret == best + 3
    assert profits[policy] == profits["as_planned"] if policy in profits else True
    assert [after.minutes for after in found.after] == list(HORIZONS)
    sign = side.sign
    assert all(sign * (after.best - after.worst) >= 0 for after in found.after)
    assert sign * (found.after[2].best - found.after[0].best) >= 0


def test_a_tighter_trail_leaves_earlier_and_a_looser_one_later() -> None:
    one = life(opening(), minutes=20)
    up = {number: (f"{2 + number * 0.006:.4f}",) * 4 for number in range(12)}
    # 5 minutes are a trail's youth: the top comes after it, then a long way down.
    down = {12 + number: (f"{2.068 - number * 0.001:.4f}",) * 4 for number in range(240)}
    far = tuple(Ratio.percent(percent) for percent in (8, 9, 10))
    rules = replace(RULES, ladder=replace(RULES.ladder, distances=far))
    bars = bars_of(one, {**up, **down}, rest="1.6")
    found = {other.name: other for other in settled(one, bars, rules).alternatives}

    tight, planned, loose = (found[name].pnl for name in ("trail_tighter", "as_planned", "trail_looser"))
    assert tight is not None
    assert planned is not None
    assert loose is not None
    assert tight > planned >= loose
    assert found["trail_tighter"].reason == "trail"


def test_an_exit_that_is_never_made_ends_in_liquidation_where_that_comes_first() -> None:
    one = life(
        replace(opening(), context=replace(STAGE.context, wallet=Decimal(100), brackets=STAGE.brackets["XRPUSDT"]))
    )
    crash = {50: ("2", "2", "1.5", "1.9")}
    found = {other.name: other for other in settled(one, bars_of(one, crash)).alternatives}

    assert found["no_exit"].reason == "liquidated"
    assert found["no_exit"].ended_at == one.path_from + 50 * MINUTE_MS
    assert found["no_exit"].pnl is not None
    assert found["no_exit"].pnl < -90
    assert found["as_planned"].reason == "stop"


def test_without_the_inputs_of_its_plan_only_the_path_is_told() -> None:
    one = life(Unavailable("its size was changed by somebody else while it was held"))
    found = settled(one, bars_of(one, {33: ("2", "2.1", "2", "2"), 200: ("2", "2.2", "1.8", "2")}))

    assert {(other.pnl, other.reason) for other in found.alternatives} == {
        (None, "its size was changed by somebody else while it was held")
    }
    assert found.regret is None
    assert [(a.best, a.worst) for a in found.after] == [
        (Decimal("2.1"), 2),
        (Decimal("2.1"), 2),
        (Decimal("2.2"), Decimal("1.8")),
    ]


def test_the_minute_of_the_exit_is_not_part_of_what_came_after() -> None:
    one = life(opening(), minutes=30)
    # It closed a millisecond after minute 30 began: that candle may hold what came before.
    found = settled(one, bars_of(one, {29: ("2", "2.5", "1.5", "2")}))

    assert {(after.best, after.worst) for after in found.after} == {(2, 2)}


def test_a_path_with_a_hole_is_not_judged() -> None:
    one = life(opening())
    bars = bars_of(one, {})
    del bars[100]

    gap = missing_minutes(bars, one.path_from, one.path_until)
    assert gap is not None
    assert gap.reason.startswith("1 of 270 one-minute candles are missing, the first at ")
    with pytest.raises(ValueError, match="missing"):
        next(settle(one, bars, RULES))


def test_inside_a_candle_the_worst_comes_before_the_best() -> None:
    bar = Bar(0, Decimal(4), Decimal(9), Decimal(1), Decimal(5))

    assert [point.price for point in points_of(bar, 1)] == [4, 1, 9, 5]
    assert [point.price for point in points_of(bar, -1)] == [4, 9, 1, 5]
    assert [point.jump for point in points_of(bar, 1)] == [True, False, False, False]


@pytest.mark.parametrize("minutes", [1, 2, 30, 33, 700])
def test_the_path_that_is_kept_is_coarse_and_leaves_nothing_out(minutes: int) -> None:
    one = life(Unavailable("not needed"), minutes=minutes)
    random = Random(minutes)
    bars = [
        Bar(at, *(Decimal(random.randint(150, 250)) / 100 for _ in range(4)))
        for at in range(one.path_from, one.path_until, MINUTE_MS)
    ]
    bars = [bar._replace(high=max(bar[1:]), low=min(bar[1:])) for bar in bars]
    path = settled(one, bars).path
    steps = [
        (part.since + number * part.step_ms, part.step_ms, low, high, last)
        for part in path
        for number, (low, high, last) in enumerate(zip(part.low, part.high, part.last, strict=True))
    ]

    assert len(steps) <= 59
    assert steps[0][0] == one.path_from
    for at, wide, low, high, last in steps:
        inside = [bar for bar in bars if at <= bar.at < at + wide and _same_part(one, at, bar.at)]
        assert (low, high, last) == (min(b.low for b in inside), max(b.high for b in inside), inside[-1].close)
    # No step reaches over the exit: what came after it is kept apart.
    assert one.path_until - HORIZON_MS in {part.since for part in path}
    assert path[-1].since + len(path[-1].last) * path[-1].step_ms >= one.path_until


def _same_part(one: Life, at: int, other: int) -> bool:
    cuts = (one.path_until - HORIZON_MS, one.path_until - HORIZON_MS + 3_600_000)
    return [at >= cut for cut in cuts] == [other >= cut for cut in cuts]
