"""Every configured trailing style on the twin: where the stop that rests goes, and that it never loosens.

The position is long 2.4. For the callbacks the take-profits lie out of the way; the ratchets climb past them.
"""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from stage import Stage

from tpctl.exits.events import Requested
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import NoteKind
from tpctl.exits.requests import TrailNow
from tpctl.exits.rules import ExecutionRules, ExitRules, LadderRules, TrailRules
from tpctl.exits.units import Ratio

D = Decimal
FAR = LadderRules(distances=tuple(map(Ratio.percent, ("30", "40", "50"))), max_distance=Ratio.percent("60"))
NEVER = TrailRules(activation=Ratio.percent("90"))


def opened(atr: Any = None, *, ladder: LadderRules = FAR, **rules: Any) -> Stage:
    """Return a stage with a position that is old enough for its trail to change."""
    stage = Stage({"XRPUSDT": "2.4"}, rules=ExitRules(ladder=ladder, **rules))
    stage.context = replace(stage.context, atr=Unavailable("too few candles") if atr is None else D(atr))
    stage.start()
    stage.open()
    stage.move({"XRPUSDT": "2.4"}, after_ms=301_000)
    return stage


def climb(stage: Stage, *prices: str) -> list[str]:
    """Go through prices, half a minute apart, and return the stop that rests after each.

    Each is seen twice, because a mark that jumps is believed only then (I15).
    """
    seen = []
    for price in prices:
        stage.move({"XRPUSDT": price}, after_ms=30_000)
        stage.move({"XRPUSDT": price}, after_ms=1_000)
        (stop,) = stage.stops()
        seen.append(str(stop))
    assert all(D(a) <= D(b) for a, b in pairwise(seen))
    return seen


@pytest.mark.parametrize(
    ("style", "levels"),
    [
        # 2 % behind the best up to 5 % of profit, 1.5 % from 5 %, 1 % from 10 %.
        ("tiered", ["2.4108", "2.5532", "2.5532", "2.6730"]),
        ("percent", ["2.4108", "2.5402", "2.5402", "2.6460"]),
        # Three ranges of 0.01 are 1.25 % at entry; at 2.592 less by less than a tenth, so only at 2.7 is it 1.11 %.
        ("atr", ["2.4293", "2.5597", "2.5597", "2.6700"]),
    ],
)
def test_a_callback_follows_the_best_price_by_its_style(style: str, levels: list[str]) -> None:
    stage = opened("0.01", trail=TrailRules(style=style))  # type: ignore[arg-type]  # what a file may say

    assert climb(stage, "2.46", "2.592", "2.58", "2.7") == levels


def test_a_range_that_grows_widens_the_callback_within_bounds_and_never_the_stop() -> None:
    stage = opened("0.01", trail=TrailRules(style="atr"))
    assert climb(stage, "2.592") == ["2.5597"]

    # From 5 % of profit on the schedule allows three quarters of the widest callback.
    for atr, callback in (("0.2", Ratio.percent("3.75")), ("0.02", Ratio(D(3) * D("0.02") / D("2.592")))):
        stage.context = replace(stage.context, atr=D(atr))
        stage.move({"XRPUSDT": "2.592"}, after_ms=601_000)
        assert stage.episode().callback == callback
    # 2.31 % behind 2.6 is looser than what rests; behind 2.7 it is 2.6375.
    assert climb(stage, "2.6", "2.7") == ["2.5597", "2.6375"]


def test_a_range_that_shrinks_tightens_the_stop_without_a_new_best_price() -> None:
    stage = opened("0.02", trail=TrailRules(style="atr"))
    assert climb(stage, "2.592") == ["2.5273"]

    stage.context = replace(stage.context, atr=D("0.01"))
    stage.move({"XRPUSDT": "2.58"}, after_ms=601_000)

    assert climb(stage, "2.58") == ["2.5620"]
    (told,) = [note for note in stage.told(NoteKind.TRAIL_MOVED) if "ATR" in note.reason]
    assert "Callback 2.50% → 1.16%: 3atr at an ATR of 0.01 behind 2.592" in told.reason


def test_the_range_is_read_once_in_its_interval_and_only_for_trails_that_follow_it() -> None:
    def reads(style: str) -> int:
        stage = opened("0.01", trail=TrailRules(style=style))  # type: ignore[arg-type]  # what a file may say
        asked: list[object] = []
        stage.after_step = lambda before, event, decision: asked.extend(
            intent for intent in decision.intents if type(intent).__name__ == "ReadContext"
        )
        for _ in range(60):
            stage.move({"XRPUSDT": "2.4"}, after_ms=60_000)
        return len(asked)

    assert (reads("tiered"), reads("percent"), reads("atr")) == (0, 0, 6)


def test_without_a_range_the_trail_begins_with_its_percentage_and_says_so() -> None:
    stage = opened(None, trail=TrailRules(style="atr"))
    assert climb(stage, "2.46") == ["2.4108"]

    plan = stage.episode().plan
    assert plan is not None
    assert [warning.text for warning in plan.warnings if warning.code == "atr_unavailable"] == [
        "ATR unavailable (too few candles): the trail begins with 2%, and follows 3atr later"
    ]
    stage.context = replace(stage.context, atr=D("0.01"))
    stage.move({"XRPUSDT": "2.46"}, after_ms=601_000)
    assert climb(stage, "2.46") == ["2.4300"]


def test_a_callback_asked_for_by_hand_is_no_longer_the_ranges() -> None:
    stage = opened("0.01", trail=TrailRules(style="atr"))
    climb(stage, "2.592")
    stage.hear(Requested(stage.now, stage.episode().key, "1", "test", TrailNow(Ratio.percent("1"))))

    terms = stage.episode().trail_terms
    assert terms is not None
    assert (terms.callback, terms.atr_multiple) == (Ratio.percent("1"), None)


def test_a_restart_goes_on_with_the_range() -> None:
    stage = opened("0.01", trail=TrailRules(style="atr"))
    climb(stage, "2.592")
    stage.restart()

    assert climb(stage, "2.592", "2.7") == ["2.5597", "2.6700"]


@pytest.mark.parametrize(
    ("execution", "levels"),
    [
        # Targets at 2.4263, 2.4437 and 2.4699; net of fees breakeven is 2.4026.
        (ExecutionRules(), ["2.4026", "2.4263"]),
        (ExecutionRules(ratchet="breakeven"), ["2.4026", "2.4026"]),
        (ExecutionRules(ratchet="moving_target"), ["2.4026", "2.4263"]),
        (ExecutionRules(ratchet="moving_target", ratchet_targets_back=2), ["first", "2.4026"]),
        (ExecutionRules(ratchet="percent_below_trigger"), ["2.4021", "2.4193"]),
        (ExecutionRules(ratchet="percent_below_highest"), ["2.4057", "2.4255"]),
    ],
)
def test_a_ratchet_climbs_by_its_style(execution: ExecutionRules, levels: list[str]) -> None:
    stage = opened(ladder=LadderRules(), trail=NEVER, execution=execution)
    first = str(stage.stops()[0])

    assert climb(stage, "2.43", "2.45") == [first if level == "first" else level for level in levels]
