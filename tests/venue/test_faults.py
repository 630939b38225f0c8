"""Faults are named, seeded and independent of each other; each one does at its seam what its text says."""

import json
from decimal import Decimal
from typing import Any

import pytest
from venue_desk import BTC, START, XRP, Desk

from tpctl.exits.errors import UsageError
from tpctl.market.bars import HOUR_MS
from tpctl.venue.faults import CATALOG, Fate, FaultPlan, Seam, Struck, describe_faults, parse_faults, perform
from tpctl.venue.quotes import MarketStep, Quote

ALWAYS = 1.0
SIGNED: dict[str, str] = {"symbol": BTC}


def plan(*names: str, seed: int = 1, rate: float = ALWAYS, **options: Any) -> FaultPlan:
    """Return a plan in which shares always strike and timed faults are due within minutes."""
    rates = {name: rate if CATALOG[name].share else 3_600.0 for name in names}
    return FaultPlan(rates, seed, start_ms=START, **options)


def stop(client_id: str = "tp-1") -> dict[str, str]:
    return {
        "algoType": "CONDITIONAL",
        "symbol": BTC,
        "side": "SELL",
        "type": "STOP_MARKET",
        "triggerPrice": "49000",
        "quantity": "0.1",
        "reduceOnly": "true",
        "workingType": "MARK_PRICE",
        "clientAlgoId": client_id,
    }


def placed(desk: Desk, chosen: FaultPlan) -> tuple[Fate, Any]:
    fate = chosen.on_request(desk.venue.now, "POST", "v1/algoOrder", stop())
    return fate, perform(desk.venue, fate, "POST", "v1/algoOrder", stop())


# names and rates


def test_all_stands_for_every_fault_at_its_own_rate() -> None:
    assert parse_faults("all") == {kind.name: kind.rate for kind in CATALOG.values()}
    assert parse_faults("none") == {}


def test_a_list_takes_rates_of_the_faults_own_kind() -> None:
    assert parse_faults("lost-after=20%, disconnect=6/h,wick") == {
        "lost-after": pytest.approx(0.2),
        "disconnect": 6.0,
        "wick": CATALOG["wick"].rate,
    }


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("lost-afer", "there is no fault 'lost-afer'", "did you mean 'lost-after'?"),
        ("", "there is no fault ''", "list them with --faults help"),
        ("wick=20%", "rate '20%' of wick is not a number per hour of market time", "give it as wick=6/h"),
        ("latency=1/h", "rate '1/h' of latency is not a share of messages", "give it as latency=20%"),
        ("latency=101%", "rate '101%' of latency is not a share of messages", "give it as latency=20%"),
        ("latency=nan%", "rate 'nan%' of latency is not a share of messages", "give it as latency=20%"),
        ("latency=-1%", "rate '-1%' of latency is not a share of messages", "give it as latency=20%"),
        ("latency=", "rate '' of latency is not a share of messages", "give it as latency=20%"),
    ],
)
def test_what_is_no_fault_or_no_rate_is_refused_with_a_hint(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_faults(text)

    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_every_fault_is_described_with_its_rate() -> None:
    told = describe_faults()

    assert [name for name, _, _ in told] == list(CATALOG)
    assert all(rate.endswith("%" if CATALOG[name].share else "/h") and text for name, rate, text in told)


# one seed, one story


def story(chosen: FaultPlan, hours: int = 2) -> list[Struck]:
    """Ask every seam for a while, and return what struck."""
    desk = Desk()
    desk.long("0.5")
    price = Decimal(50_000)
    for minute in range(hours * 60):
        at = START + 2_000 + minute * 60_000
        price += (-1) ** minute * 10
        quote = Quote(BTC, price, price)
        desk.venue.step(chosen.on_step(MarketStep(at, (quote,)), desk.venue))
        for act in chosen.on_account(at, desk.venue):
            act.apply(desk.venue)
        chosen.on_links(at)
        chosen.on_frame(at, {"e": "markPriceUpdate", "E": at, "s": BTC, "p": str(price)})
        for method, path, params in (
            ("GET", "v3/positionRisk", SIGNED),
            ("POST", "v1/algoOrder", stop(f"m{minute}")),
            ("GET", "v1/openAlgoOrders", SIGNED),
        ):
            perform(desk.venue, chosen.on_request(at, method, path, params), method, path, params)
        for event in desk.venue.user_events():
            chosen.on_user_event(at, event)
    return chosen.dice.struck


def test_one_seed_tells_one_story_and_another_seed_another() -> None:
    rates = {kind.name: min(kind.rate * 20, 0.5 if kind.share else 20.0) for kind in CATALOG.values()}

    first, again, other = (story(FaultPlan(rates, seed, start_ms=START)) for seed in (7, 7, 8))

    assert first == again
    assert first != other


def test_every_fault_strikes_in_a_story_of_all_of_them() -> None:
    rates = {kind.name: 0.2 if kind.share else 60.0 for kind in CATALOG.values()}
    struck: set[str] = set()
    for seed in range(6):
        # Outages bar what is behind them, and a settled symbol has no more positions.
        few = {name: rate for name, rate in rates.items() if CATALOG[name].seam is not Seam.OUTAGE}
        struck |= {hit.name for hit in story(FaultPlan(few if seed % 2 else rates, seed, start_ms=START))}

    assert struck == set(CATALOG)


def test_leaving_a_fault_out_leaves_the_draws_of_the_others_where_they_were() -> None:
    both, alone = plan("lost-before", "latency", rate=0.3), plan("lost-before", rate=0.3)
    for chosen in (both, alone):
        for n in range(300):
            chosen.on_request(START + n, "GET", "v1/time", {})

    def of(chosen: FaultPlan) -> list[Struck]:
        return [hit for hit in chosen.dice.struck if hit.name == "lost-before"]

    assert of(both) == of(alone)
    assert of(both)


def test_single_strikes_can_be_kept_and_the_rest_left_out() -> None:
    chosen = plan("lost-before", kept={("lost-before", 2)})

    lost = [chosen.on_request(START, "GET", "v1/time", {}).lost for _ in range(5)]

    assert lost == [False, False, True, False, False]
    assert chosen.dice.struck == [Struck(START, "lost-before", 2)]


def test_no_fault_strikes_after_their_end() -> None:
    chosen = plan(*CATALOG, stop_ms=START)

    assert story(chosen) == []


# requests


def test_a_request_lost_on_the_way_never_happened() -> None:
    desk = Desk()
    desk.long()

    fate, reply = placed(desk, plan("lost-before"))

    assert (fate.lost, fate.executes, reply) == (True, False, None)
    assert not desk.venue.resting_conditionals()


def test_a_request_whose_answer_is_lost_did_happen() -> None:
    desk = Desk()
    desk.long()

    fate, reply = placed(desk, plan("lost-after"))

    assert (fate.lost, fate.executes, reply) == (True, True, None)
    assert [order.client_id for order in desk.venue.resting_conditionals()] == ["tp-1"]


def test_an_unknown_answer_says_nothing_about_whether_it_happened() -> None:
    outcomes = set()
    for seed in range(12):
        desk = Desk()
        desk.long()
        _, reply = placed(desk, plan("unknown", seed=seed))
        assert reply.status in {503, 408}
        outcomes.add(bool(desk.venue.resting_conditionals()))

    assert outcomes == {True, False}


def test_a_broken_off_answer_is_no_json_and_its_order_stands() -> None:
    desk = Desk()
    desk.long()

    _, reply = placed(desk, plan("garbled"))

    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)
    assert desk.venue.resting_conditionals()


def test_an_order_answered_new_is_rejected_right_after() -> None:
    desk = Desk()
    desk.long()

    _, reply = placed(desk, plan("late-reject"))

    assert (reply.status, reply.body["algoStatus"]) == (200, "NEW")
    assert [event["o"]["X"] for event in desk.venue.user_events()] == ["NEW", "REJECTED"]
    assert not desk.venue.resting_conditionals()


def test_positions_read_empty_while_they_are_open() -> None:
    desk = Desk()
    desk.long()
    fate = plan("empty-positions").on_request(desk.venue.now, "GET", "v3/positionRisk", {})

    reply = perform(desk.venue, fate, "GET", "v3/positionRisk", {})

    assert reply is not None
    assert reply.body == []
    assert desk.venue.positions()


def test_a_lagging_read_misses_the_fresh_order_and_still_shows_the_cancelled_one() -> None:
    desk = Desk()
    desk.long()
    desk.stop("49000", clientAlgoId="old")
    desk.price("50000")
    desk.price("50001")
    desk.venue.cancel_algo_order({"clientAlgoId": "old"})
    desk.stop("49100", clientAlgoId="fresh")
    lagging = Fate(lag_ms=1_500)

    def read(path: str, **params: str) -> Any:
        reply = perform(desk.venue, lagging, "GET", path, {"symbol": BTC, **params})
        assert reply is not None
        return reply.body

    assert [(row["clientAlgoId"], row["algoStatus"]) for row in read("v1/openAlgoOrders")] == [("old", "NEW")]
    assert read("v1/algoOrder", clientAlgoId="old")["algoStatus"] == "NEW"
    assert read("v1/algoOrder", clientAlgoId="fresh")["code"] == -2013
    assert [row["clientAlgoId"] for row in desk.venue.open_algo_orders({})] == ["fresh"]


def test_a_lagging_read_of_the_regular_book_does_the_same() -> None:
    desk = Desk()
    desk.long()
    desk.limit("51000", newClientOrderId="old", reduceOnly="true")
    desk.price("50000")
    desk.price("50001")
    desk.venue.cancel_order({"symbol": BTC, "origClientOrderId": "old"})
    desk.limit("51100", newClientOrderId="fresh", reduceOnly="true")

    reply = perform(desk.venue, Fate(lag_ms=1_500), "GET", "v1/openOrders", SIGNED)

    assert reply is not None
    assert [(row["clientOrderId"], row["status"]) for row in reply.body] == [("old", "NEW")]


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("unavailable", 503, None),
        ("throttle", 429, -1003),
        ("ban", 418, -1003),
        ("overload", 503, -1008),
        ("order-limit", 429, -1015),
        ("maintenance", 502, None),
    ],
)
def test_what_is_refused_before_the_book_leaves_no_trace(name: str, status: int, code: int | None) -> None:
    desk = Desk()
    desk.long()
    chosen = plan(name)
    desk.prices(at=START + HOUR_MS, BTCUSDT="50000")

    _, reply = placed(desk, chosen)

    assert reply.status == status
    assert (reply.body["code"] if isinstance(reply.body, dict) else None) == code
    assert not desk.venue.resting_conditionals()


def test_a_ban_ends_when_its_message_says() -> None:
    chosen = plan("ban")
    at = START + HOUR_MS
    banned = chosen.on_request(at, "GET", "v1/time", {}).answer
    assert banned is not None
    until = int(banned.msg.split("until ")[1].split(".")[0])
    chosen.dice.rates.clear()

    assert banned.retry_after_s == -(-(until - at) // 1000)


# messages


EVENT = {"e": "ALGO_UPDATE", "E": START, "o": {"caid": "tp-1"}}
MARK = {"e": "markPriceUpdate", "E": START, "s": BTC, "p": "50000.00000000"}


def test_user_events_are_dropped_doubled_delayed_and_broken_off() -> None:
    assert plan("drop-events").on_user_event(START, EVENT) == ()
    assert [sent.payload for sent in plan("duplicate-events").on_user_event(START, EVENT)] == [EVENT, EVENT]
    assert plan("reorder-events").on_user_event(START, EVENT)[0].delay_ms > 0
    with pytest.raises(json.JSONDecodeError):
        json.loads(plan("malformed-event").on_user_event(START, EVENT)[0].payload)


def test_a_late_mark_comes_after_the_one_it_should_have_come_before() -> None:
    right, late = plan("late-marks").on_frame(START, MARK)

    assert right.payload == MARK
    assert late.payload["E"] < START


def test_a_bad_mark_comes_beside_the_right_one_in_an_array_too() -> None:
    right, bad = plan("bad-marks").on_frame(START, [MARK])

    assert right.payload == [MARK]
    assert bad.payload != [MARK]


# the market, the exchange and the operator


def test_a_gap_stays_and_a_wick_does_not() -> None:
    desk = Desk()
    gapped, wicked = plan("price-gap"), plan("wick")
    at = START + HOUR_MS

    def step(chosen: FaultPlan, n: int) -> Quote:
        quote = Quote(BTC, Decimal(50_000), Decimal(50_000))
        return chosen.on_step(MarketStep(at + n, (quote,)), desk.venue).quotes[0]

    gap, after = step(gapped, 0), step(gapped, 1)
    wick, back = step(wicked, 0), step(wicked, 1)

    assert gap.last == after.last != 50_000
    assert gap.mark == after.mark == gap.last
    assert wick.last != 50_000
    assert wick.mark == back.mark == back.last == 50_000
    assert wick.last % Decimal("0.1") == 0


@pytest.mark.parametrize("hedge", [False, True])
@pytest.mark.parametrize("name", [k.name for k in CATALOG.values() if k.seam in {Seam.EXCHANGE, Seam.HAND}])
def test_acts_go_through_the_matching_core_and_can_be_repeated(name: str, hedge: bool) -> None:
    desk = Desk(hedge=hedge)
    desk.long("0.2")
    desk.long("5000", XRP)
    position = {"positionSide": "LONG"} if hedge else {}
    desk.venue.new_algo_order({k: v for k, v in (stop() | position).items() if not (hedge and k == "reduceOnly")})
    chosen = plan(name)
    done = []
    for n in range(1, 6):
        at = START + n * HOUR_MS
        desk.prices(at=at, BTCUSDT="50000", XRPUSDT="0.5")
        done += [(act.name, act.apply(desk.venue)) for act in chosen.on_account(at, desk.venue)]

    assert done or name == "hand-cancel"
    assert all(done_name == name for done_name, _ in done)
    # A mode change against open positions is tried and refused; all others happen.
    assert name == "hand-mode" or any(happened for _, happened in done)


def test_wider_filters_refuse_what_was_on_the_grid_before() -> None:
    desk = Desk()
    desk.long("0.2")
    at = START + HOUR_MS
    desk.prices(at=at, BTCUSDT="50000")
    for act in plan("filter-change").on_account(at, desk.venue):
        act.apply(desk.venue)
    row = next(row for row in desk.venue.exchange_info({})["symbols"] if row["symbol"] == BTC)
    filters = {entry["filterType"]: entry for entry in row["filters"]}

    assert filters["PRICE_FILTER"]["tickSize"] == "1.00"
    assert desk.venue.core.rules.symbols[BTC].tick == 1


def test_a_halt_ends_by_itself() -> None:
    desk = Desk()
    desk.long("0.2")
    at = START + HOUR_MS
    desk.prices(at=at, BTCUSDT="50000")
    for act in plan("symbol-halt").on_account(at, desk.venue):
        act.apply(desk.venue)
    halted = desk.venue.core.rules.symbols[BTC].status
    desk.prices(at=at + 600_000, BTCUSDT="50000")

    assert halted == "TRADING_HALT"
    assert desk.venue.core.rules.symbols[BTC].status == "TRADING"


def test_a_settled_symbol_is_flat_without_orders_and_closed() -> None:
    desk = Desk()
    desk.long("0.2")
    desk.stop("49000")
    at = START + HOUR_MS
    desk.prices(at=at, BTCUSDT="50000")
    for act in plan("symbol-settle").on_account(at, desk.venue):
        act.apply(desk.venue)

    assert not desk.venue.positions()
    assert not desk.venue.resting_conditionals()
    assert desk.venue.ledger.fills[-1].client_id.startswith("settlement_autoclose-")


def test_a_thin_book_fills_a_large_order_in_parts() -> None:
    desk = Desk()
    desk.long("2")
    at = START + HOUR_MS
    desk.prices(at=at, BTCUSDT="50000")
    for act in plan("thin-book").on_account(at, desk.venue):
        act.apply(desk.venue)
    desk.order(quantity="2", reduceOnly="true", newClientOrderId="out")
    left = desk.amount()
    desk.prices(at=at + 1_000, BTCUSDT="50000")

    assert 0 < desk.amount() < left < 2
