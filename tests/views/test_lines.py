"""The story in sentences: every kind of event, in the field's words."""

from decimal import Decimal

import pytest

from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Note, NoteKind, PositionKey, Scalar
from tpctl.views.lines import Tone, clean, line, padded, sentence, told, tone

D = Decimal
KEY = PositionKey("XRPUSDT", PositionSide.SHORT)
AT = 1_738_548_420_123


def note(kind: NoteKind, reason: str = "", key: PositionKey | None = KEY, **data: Scalar) -> Note:
    return Note(AT, kind, key, reason, data)


SENTENCES: list[tuple[Note, str]] = [
    (
        note(NoteKind.STARTED, "watch started", None, env="sim", mode="armed"),
        "watch started, sim, armed",
    ),
    (
        note(NoteKind.ADOPTED, "position found", quantity=D(800), entry=D("0.512345678"), leverage=D("20.00")),
        "adopted 800 at 0.5123457, 20x: position found",
    ),
    (
        note(NoteKind.LEFT_ALONE, "BTCUSDT LONG (excluded)", None, positions=1),
        "left alone: BTCUSDT LONG (excluded)",
    ),
    (
        note(
            NoteKind.PLANNED,
            "first plan",
            ladder="TP1=1.09%(40%), TP2=1.82%(35%), TP3=2.91%(25%)",
            stop=D("0.5251"),
            backstop=D("0.5283"),
            liquidation=D("0.53712345678"),
            reward_risk=D("1.62345"),
            leverage=D(20),
            reasons="High leverage (20.0x) → -30% TP distance\nLarge position ($2000) → -20% TP distance",
        ),
        (
            "plan: TP1=1.09%(40%), TP2=1.82%(35%), TP3=2.91%(25%); stop 0.5251, backstop 0.5283, "
            "liquidation 0.5371235, reward:risk 1.62, 20x; first plan\n"
            "because High leverage (20.0x) → -30% TP distance\n"
            "because Large position ($2000) → -20% TP distance"
        ),
    ),
    (
        note(
            NoteKind.PLACED,
            "protect",
            order="stop",
            leg=None,
            side="buy",
            quantity=D(3906),
            raw_quantity=D("3906.25"),
            trigger=D("0.5248"),
            raw_trigger=D("0.52483200"),
            client_id="tp-1",
        ),
        "place stop: BUY 3906.25 → 3906 at 0.524832 → 0.5248 (protect)",
    ),
    (
        note(NoteKind.PLACED, "", order="backstop", side="buy", quantity=None, trigger=D("0.5283"), raw_trigger=None),
        "place backstop: BUY the whole position at 0.5283",
    ),
    (
        note(NoteKind.PLACED, "", order="take_profit", leg=2, side="buy", quantity=D(280), trigger=D("0.5030")),
        "place TP2: BUY 280 at 0.5030",
    ),
    (
        note(NoteKind.PLACED, "stop level passed", order="close", side="buy", quantity=D(800), trigger=None),
        "place close: BUY 800 at market (stop level passed)",
    ),
    (note(NoteKind.ACCEPTED, "stop", order="stop", client_id="tp-1"), "stop accepted [tp-1]"),
    (
        note(NoteKind.REJECTED, "Order would immediately trigger", order="take_profit", leg=1, code=-2021),
        "TP1 refused by the exchange (-2021): Order would immediately trigger",
    ),
    (note(NoteKind.CANCELLED, "stop", order="stop", client_id="tp-1"), "stop cancelled [tp-1]"),
    (
        note(
            NoteKind.TP_HIT,
            "take-profit 1",
            leg=1,
            price=D("0.50672345678"),
            trigger=D("0.5067"),
            quantity=D(320),
            fraction=D("0.4"),
            percent=D("0.0109123"),
            remaining=D(480),
        ),
        "TP1 hit at 0.5067235 (1.09%), trigger 0.5067, closed 320 (40% of the position), 480 left",
    ),
    (
        note(NoteKind.STOP_MOVED, "breakeven after TP1", **{"from": D("0.5248"), "to": D("0.5118")}),
        "stop moved 0.5248 → 0.5118: breakeven after TP1",
    ),
    (
        note(NoteKind.TRAIL_MOVED, "trail 1.50% behind the best 0.4900", **{"from": D("0.5118"), "to": D("0.4974")}),
        "trail tightened the stop 0.5118 → 0.4974: trail 1.50% behind the best 0.4900",
    ),
    (
        note(NoteKind.STOP_HIT, "trail", price=D("0.4975"), trigger=D("0.4974"), quantity=D(480)),
        "stop hit at 0.4975, trigger 0.4974, closed 480: trail",
    ),
    (note(NoteKind.STOP_HIT, "backstop", price=D("0.53"), trigger=D("0.53")), "backstop hit at 0.53"),
    (
        note(
            NoteKind.CLOSED,
            "take_profit",
            average_exit=D("0.50123456789"),
            pnl=D("12.3456"),
            fees=D("0.4"),
            legs=3,
            legs_hit=3,
            duration_ms=7_985_000,
            naked_ms=0,
        ),
        (
            "position closed by take-profit, average exit 0.5012346, PnL +12.35, fees 0.40, 3 of 3 take-profits, "
            "after 2h13m, unprotected for 0 ms"
        ),
    ),
    (note(NoteKind.SWEPT, "orphan cancelled", client_id="tp-1"), "swept leftover order [tp-1]: orphan cancelled"),
    (note(NoteKind.DEGRADED, "no plan: entry is missing"), "degraded: no plan: entry is missing"),
    (note(NoteKind.RECOVERED, "the account can be read again", None), "recovered: the account can be read again"),
    (note(NoteKind.HALTED, "HALT: maintenance; stops stay", None), "HALT: maintenance; stops stay"),
    (note(NoteKind.EXTERNAL, "leverage changed to 10x"), "changed from outside: leverage changed to 10x"),
    (
        note(
            NoteKind.ANSWERED,
            "stop 2.4625 → 2.5026, breakeven",
            request="stop to breakeven",
            outcome="done",
            source="dashboard",
            request_id="dashboard-1-1",
        ),
        "dashboard asked: stop to breakeven [done]: stop 2.4625 → 2.5026, breakeven",
    ),
    (
        note(NoteKind.POLICY, "policy ab12cd34ef56 asks: reduce by 50%; drift_slow +0.031 R"),
        "policy ab12cd34ef56 asks: reduce by 50%; drift_slow +0.031 R",
    ),
    (
        note(NoteKind.RELOADED, "exits.trail.callback 2% → 1%", None),
        "configuration: exits.trail.callback 2% → 1%",
    ),
    (
        note(NoteKind.STANDING, "800 at 2.5; resting at the exchange: stop 2.47 (800)", protected=True),
        "stands: 800 at 2.5; resting at the exchange: stop 2.47 (800)",
    ),
    (
        note(NoteKind.STOPPING, "interrupted; no request is under way", None, in_flight=0),
        "stopping: interrupted; no request is under way",
    ),
    (
        note(
            NoteKind.STOPPED,
            "interrupted",
            None,
            positions=1,
            protected=1,
            orders_resting=5,
            rejected=0,
            naked_ms=41,
        ),
        (
            "watch stopped: interrupted; 1 position open, 1 protected, 5 orders resting on the exchange, 0 rejected, "
            "unprotected for 41 ms"
        ),
    ),
]


@pytest.mark.parametrize(("event", "words"), SENTENCES, ids=lambda value: getattr(value, "kind", ""))
def test_an_event_reads_as_a_sentence(event: Note, words: str) -> None:
    assert sentence(event) == words


def test_every_kind_has_its_sentence() -> None:
    assert {event.kind for event, _ in SENTENCES} == set(NoteKind)


@pytest.mark.parametrize("kind", list(NoteKind))
def test_a_note_without_facts_still_reads(kind: NoteKind) -> None:
    assert sentence(note(kind, "", None)).strip(" :;,")


def test_a_line_carries_market_time_and_position_and_indents_reasons() -> None:
    event = note(NoteKind.PLANNED, "", ladder="TP1=1%(100%)", reasons="because we say so")

    first, second = line(event).split("\n")

    assert first == "02:07:00  XRPUSDT SHORT     plan: TP1=1%(100%)"
    assert second.startswith(" " * 26)


def test_what_the_exchange_says_cannot_steer_the_terminal() -> None:
    event = note(NoteKind.REJECTED, "\x1b[2Jgone\r\x07\u202e", order="stop")

    assert "\x1b" not in line(event)
    assert clean("\x1b[2J\r\u202eok") == "?[2J??ok"


def test_a_position_that_stands_without_a_stop_is_an_alarm() -> None:
    assert tone(note(NoteKind.STANDING, "", protected=False)) is Tone.ALARM
    assert tone(note(NoteKind.STANDING, "", protected=True)) is Tone.PLAIN


def test_wide_symbols_take_two_cells() -> None:
    assert padded("币安USDT", 10) == "币安USDT  "


def test_loss_and_gain_differ_in_tone_and_in_words() -> None:
    won, lost = (note(NoteKind.CLOSED, "stop", pnl=D(pnl)) for pnl in ("1", "-1"))

    assert (tone(won), tone(lost)) == (Tone.GAIN, Tone.LOSS)
    assert "+1.00" in line(won)
    assert "-1.00" in line(lost)


def test_leaving_a_position_unprotected_is_an_alarm() -> None:
    assert tone(note(NoteKind.STOPPED, "", None, positions=2, protected=1)) is Tone.ALARM
    assert tone(note(NoteKind.STOPPED, "", None, positions=2, protected=2)) is Tone.PLAIN


def test_volume_decides_what_is_told() -> None:
    def at(*, quiet: bool, verbose: bool) -> set[NoteKind]:
        return {kind for kind in NoteKind if told(kind, quiet=quiet, verbose=verbose)}

    normal = at(quiet=False, verbose=False)
    assert normal == set(NoteKind) - {NoteKind.ACCEPTED}
    assert at(quiet=False, verbose=True) == set(NoteKind)
    assert {NoteKind.REJECTED, NoteKind.HALTED, NoteKind.DEGRADED} < at(quiet=True, verbose=False) < normal
