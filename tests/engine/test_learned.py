"""A learned policy in a running watch: it only tightens or closes, is heard once, and is silent where it cannot see."""

from collections.abc import Callable
from decimal import Decimal
from math import sin
from pathlib import Path

import pytest
from engine_desk import START, XRP, Desk, still

from tpctl.adapters.policy_pointer import Choice, Pointer, Stage
from tpctl.adapters.policy_use import PolicyUse
from tpctl.exits.errors import UnavailableError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import NoteKind
from tpctl.market.policy.drift import Expected
from tpctl.market.policy.features import ENTRY_FEATURES, STEP_FEATURES
from tpctl.market.policy.hits import HIT_FEATURES, HitOdds
from tpctl.market.policy.model import Action, LearnedPolicy, Linear, Origin, Score, Zone
from tpctl.ports import Candle

D = Decimal
QUARTER_MS = 900_000
FLAT = (0.0,) * len(STEP_FEATURES)
NEVER, ALWAYS = Score(-1.0, FLAT), Score(1.0, FLAT)
SHARES = {"half": ((0.0, Action.CLOSE_HALF),), "all": ((0.0, Action.CLOSE_ALL),)}


def score(**weights: float) -> Score:
    return Score(0.0, tuple(weights.get(name, 0.0) for name in STEP_FEATURES))


def use_of(
    close: Score = NEVER,
    tighten: Score = NEVER,
    *,
    share: str = "half",
    stage: Stage = Stage.PROMOTED,
    canary: str = "1",
    symbols: frozenset[str] = frozenset({"XRPUSDT"}),
    zones: tuple[Zone, ...] = (),
    horizon: int = 96,
    expected: Expected = Expected(0.0, 0.0001),  # noqa: B008 - frozen
) -> PolicyUse:
    body = Linear(close, tighten, SHARES[share])
    policy = LearnedPolicy(QUARTER_MS, horizon, body, zones, 1.5, Origin("stopping", 1, 2, "", ""))
    pointer = Pointer().promoted(Choice("ab12cd34ef56" + "0" * 52, stage, D(canary), START), "")
    assert pointer.choice is not None
    return PolicyUse(pointer.choice, policy, symbols, expected, pointer.in_use)


def candles_to(end: int, close: float = 2.5) -> tuple[Candle, ...]:
    """Return a week and more of quarters that end with the candle that closed at `end`."""
    found = []
    before = close
    for age in range(700):
        price = close * (1 + 0.002 * sin(age / 7)) if age else close
        found.append(Candle(end - (age + 1) * QUARTER_MS, before, max(price, before) * 1.001, price * 0.998, price, 1))
        before = price
    return tuple(reversed(found))


def desk_of(folder: Path) -> Desk:
    desk = Desk(folder, XRPUSDT="2.5")
    desk.exchange.candle_rows = {"15m": candles_to(START)}
    desk.open_long()
    return desk


def close_of(desk: Desk, number: int = 1, price: float = 2.5) -> Callable[[], None]:
    """Return what lets time pass to the close of a candle since the start, which closes at a price."""

    def passes() -> None:
        desk.clock.at = START + number * QUARTER_MS
        desk.exchange.candle_rows = {"15m": candles_to(desk.clock.at, price)}

    return passes


def asked(desk: Desk) -> list[str]:
    """Return what was told of the position, but for what the policy saw when it met it."""
    told = [note.reason for note in desk.told(NoteKind.POLICY) if note.key == XRP]
    return [reason for reason in told if " sees " not in reason]


def test_a_promoted_policy_closes_a_share_through_the_guard_and_is_heard_once(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(ALWAYS)
    desk.run(*still("2.5", 3), close_of(desk), *still("2.5", 4), use=lambda: use)

    assert desk.quantity() == 400
    assert asked(desk) == ["policy ab12cd34ef56 asks: reduce by 50%"]
    (answer,) = desk.told(NoteKind.ANSWERED)
    assert (answer.data["source"], answer.data["outcome"]) == ("policy ab12cd34ef56", "done")

    # The same candle again, in a new run.
    desk.run(*still("2.5", 3), use=lambda: use)
    assert desk.quantity() == 400


def test_each_close_is_asked_about_once(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(ALWAYS)
    steps = [item for number in (1, 2) for item in (close_of(desk, number), *still("2.5", 4))]
    desk.run(*still("2.5", 3), *steps, use=lambda: use)

    assert desk.quantity() == 200
    assert len(asked(desk)) == 2


def test_a_policy_in_shadow_tells_what_it_would_do_and_changes_nothing(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(score(remaining=1.0), share="all", stage=Stage.SHADOW)
    desk.run(*still("2.5", 3), close_of(desk), *still("2.5", 4), use=lambda: use)

    assert desk.quantity() == 800
    assert asked(desk) == ["policy ab12cd34ef56 in shadow would ask: close; remaining +1.000 R"]
    assert desk.told(NoteKind.ANSWERED) == []


def test_a_tightened_stop_lies_behind_the_close_and_never_loosens(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(tighten=ALWAYS)
    desk.run(*still("2.5", 3), close_of(desk), *still("2.5", 4), use=lambda: use)
    assert desk.watch is not None
    first = desk.watch.state.episodes[XRP].stop
    assert first is not None
    assert D("2.47") < first < D("2.5")

    # The market is lower: what the policy would ask for now is looser, so it asks for nothing.
    desk.run(*still("2.499", 2), close_of(desk, 2, price=2.48), *still("2.499", 4), use=lambda: use)
    assert desk.watch.state.episodes[XRP].stop == first
    assert len(asked(desk)) == 1


@pytest.mark.parametrize(("share", "left"), [("1", 400), ("0.000000000001", 800)])
def test_a_canary_speaks_for_its_share_of_positions(tmp_path: Path, share: str, left: int) -> None:
    desk = desk_of(tmp_path)
    use = use_of(ALWAYS, stage=Stage.CANARY, canary=share)
    desk.run(*still("2.5", 3), close_of(desk), *still("2.5", 4), use=lambda: use)

    assert desk.quantity() == left


def test_on_a_symbol_it_was_not_trained_on_the_ladder_goes_on_and_that_is_told_once(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(ALWAYS, symbols=frozenset({"BTCUSDT"}))
    steps = [item for number in (1, 2) for item in (close_of(desk, number), *still("2.5", 4))]
    desk.run(*still("2.5", 3), *steps, use=lambda: use)

    assert desk.quantity() == 800
    assert asked(desk) == ["policy ab12cd34ef56 was not trained on XRPUSDT; its exits follow the ladder"]
    assert "policy ab12cd34ef56 was not trained on XRPUSDT" in str(desk.told(NoteKind.PLANNED)[0].data["reasons"])


def test_at_a_leverage_it_was_not_trained_for_the_ladder_goes_on_and_that_is_told_once(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    plain = Score(0.0, (0.0,) * len(ENTRY_FEATURES))
    use = use_of(ALWAYS, zones=(Zone(2.0, plain),), expected=Expected(0.0, 0.0001, leverage=(D(1), D(10))))
    steps = [item for number in (1, 2) for item in (close_of(desk, number), *still("2.5", 4))]
    desk.run(*still("2.5", 3), *steps, use=lambda: use)

    why = "policy ab12cd34ef56 was trained for leverages of 1x to 10x, not for 20x"
    assert desk.quantity() == 800
    assert asked(desk) == [f"{why}; its exits follow the ladder"]
    assert f"no learned policy blended in: {why}" in str(desk.told(NoteKind.PLANNED)[0].data["reasons"])


@pytest.mark.parametrize("chance", [0.9, 0.02])
def test_a_policy_whose_chances_fail_suspends_itself_and_one_whose_come_true_goes_on(
    tmp_path: Path, chance: float
) -> None:
    desk = desk_of(tmp_path)
    bias = 20.0 if chance > 0.5 else -20.0
    use = use_of(expected=Expected(-5.0, 0.0001, hits=HitOdds(bias, (0.0,) * len(HIT_FEATURES))))
    # Forty positions that run into their stop without a target.
    steps: list[object] = []
    for number in range(1, 41):
        steps += [close_of(desk, number), *still("2.5", 3), {"XRPUSDT": "2.4"}, *still("2.4", 3)]
        steps += [{"XRPUSDT": "2.5"}, desk.open_long, *still("2.5", 3)]
    desk.run(*still("2.5", 3), *steps, use=lambda: use)

    seen = [note for note in desk.told(NoteKind.POLICY) if " sees " in note.reason]
    assert len(seen) >= 40
    if chance > 0.5:
        ((_, why),) = desk.suspended
        assert why == "targets were hit by 0% of the last 40 positions, 98% expected"
    else:
        assert desk.suspended == []


def test_without_candles_it_is_silent_and_the_position_stays_protected(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    desk.exchange.failing = lambda read: (
        UnavailableError("no candles today", "try again") if read == "candles 15m" else None
    )
    use = use_of(ALWAYS)
    summary = desk.run(*still("2.5", 3), close_of(desk), *still("2.5", 4), use=lambda: use)

    assert (desk.quantity(), summary.protected) == (800, 1)
    assert asked(desk) == ["policy ab12cd34ef56 cannot see XRPUSDT: no candles today; its exits follow the ladder"]


def test_a_candle_that_is_not_shown_yet_is_waited_for(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(ALWAYS)

    def passes() -> None:
        desk.clock.at = START + QUARTER_MS

    def shown() -> None:
        desk.exchange.candle_rows = {"15m": candles_to(START + QUARTER_MS)}

    desk.run(*still("2.5", 3), passes, *still("2.5", 3), shown, *still("2.5", 3), use=lambda: use)

    assert desk.quantity() == 400
    assert len(asked(desk)) == 1


def test_a_candle_that_is_never_shown_is_told_and_not_acted_on_late(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(ALWAYS)

    def passes() -> None:
        desk.clock.at = START + QUARTER_MS

    desk.run(*still("2.5", 3), passes, *still("2.5", 16), use=lambda: use)

    assert desk.quantity() == 800
    assert asked(desk) == [
        "policy ab12cd34ef56 cannot see XRPUSDT: the newest candle is not shown; its exits follow the ladder"
    ]


def test_beyond_the_longest_holding_it_was_trained_on_it_holds(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(ALWAYS, horizon=1)
    steps = [item for number in (1, 2, 3) for item in (close_of(desk, number), *still("2.5", 4))]
    desk.run(*still("2.5", 3), *steps, use=lambda: use)

    assert len(asked(desk)) == 1


def test_a_plan_blends_the_suggestion_and_says_which_policy_and_why(tmp_path: Path) -> None:
    plain = (0.0,) * len(ENTRY_FEATURES)
    zones = (Zone(1.0, Score(0.0, plain)), Zone(2.0, Score(0.01, (0.0, 0.0, 0.0, 0.05))))
    (tmp_path / "plain").mkdir()
    ladder = desk_of(tmp_path / "plain")
    ladder.run(*still("2.5", 4), use=lambda: Unavailable("no policy is promoted"))
    (tmp_path / "blended").mkdir()
    blended = desk_of(tmp_path / "blended")
    blended.run(*still("2.5", 4), use=lambda: use_of(zones=zones))

    assert ladder.watch is not None
    assert blended.watch is not None
    before, after = (desk.watch.state.episodes[XRP].legs[0].distance for desk in (ladder, blended))  # type: ignore[union-attr]
    assert after == before.scaled(D("1.4"))
    told = str(blended.told(NoteKind.PLANNED)[0].data["reasons"])
    assert "learned policy ab12cd34ef56 suggests a mean TP of" in told
    assert "volatility +" in told
    assert "no learned policy blended in: no policy is promoted" in str(
        ladder.told(NoteKind.PLANNED)[0].data["reasons"]
    )


def test_a_rollback_in_the_middle_of_a_run_is_told_and_obeyed_at_the_next_close(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    uses: list[PolicyUse | Unavailable] = [use_of(ALWAYS)]

    def roll_back() -> None:
        uses[0] = Unavailable("no policy is promoted: ab12cd34ef56 was rolled back on 2026-01-05")

    steps = [close_of(desk, 1), *still("2.5", 4), roll_back, close_of(desk, 2), *still("2.5", 4)]
    desk.run(*still("2.5", 3), *steps, use=lambda: uses[0])

    assert desk.quantity() == 400
    assert [note.reason for note in desk.told(NoteKind.POLICY) if note.key is None] == [
        "in use: policy ab12cd34ef56 (promoted)",
        "in use: no policy is promoted: ab12cd34ef56 was rolled back on 2026-01-05; the ladder decides",
    ]


def test_a_shadow_watch_sends_nothing_whatever_a_promoted_policy_asks(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    desk.armed = False
    desk.run(*still("2.5", 3), close_of(desk), *still("2.5", 4), use=lambda: use_of(ALWAYS, share="all"))

    assert (desk.quantity(), desk.exchange.sent) == (800, [])


def test_what_the_policy_sees_at_its_first_meeting_is_kept_for_drift(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    steps = [item for number in (1, 2) for item in (close_of(desk, number), *still("2.5", 4))]
    desk.run(*still("2.5", 3), *steps, use=use_of)
    desk.run(close_of(desk, 3), *still("2.5", 4), use=use_of)

    (note,) = [note for note in desk.told(NoteKind.POLICY) if " sees " in note.reason]
    assert {name for name in note.data if name.startswith("reading_")} == {
        "reading_drift_fast",
        "reading_drift_slow",
        "reading_swell",
        "reading_reach",
    }


def test_results_far_below_what_was_promised_suspend_the_policy_at_once_and_for_good(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(ALWAYS, expected=Expected(20.0, 0.0001))
    steps = [{"XRPUSDT": "2.4"}, *still("2.4", 3), desk.open_long, *still("2.4", 4), close_of(desk), *still("2.4", 4)]
    desk.run(*still("2.5", 3), *steps, use=lambda: use)

    ((name, why),) = desk.suspended
    assert name == "ab12cd34ef56"
    assert why.startswith("results fall short: ")
    (told,) = [note for note in desk.told(NoteKind.DEGRADED) if "suspended" in note.reason]
    assert told.reason.startswith("policy ab12cd34ef56 is suspended: results fall short: ")
    assert [note.reason for note in desk.told(NoteKind.POLICY) if note.key is None][-1].startswith(
        "in use: no policy is used: ab12cd34ef56 was suspended (results fall short"
    )
    # The position that was opened afterwards follows the ladder.
    assert asked(desk) == []
    assert "no learned policy blended in: no policy is used" in str(desk.told(NoteKind.PLANNED)[-1].data["reasons"])


def test_a_shadow_is_not_blamed_for_the_ladder_s_results(tmp_path: Path) -> None:
    desk = desk_of(tmp_path)
    use = use_of(ALWAYS, stage=Stage.SHADOW, expected=Expected(20.0, 0.0001))
    desk.run(*still("2.5", 3), {"XRPUSDT": "2.4"}, *still("2.4", 3), use=lambda: use)

    assert desk.told(NoteKind.CLOSED)
    assert desk.suspended == []
