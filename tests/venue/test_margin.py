"""Margin, funding and liquidation: the vectors of exit-rules 15, both margin types, brackets, the insurance fund."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from venue_desk import BTC, XRP, Desk

from tpctl.venue.core import Terms
from tpctl.venue.margin import holding_maintenance, maintenance_margin, meeting_price
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import RuleBook, builtin_rules, load_rules

HOUR = 3_600_000


def _flat_rules(rate: float, cum: float = 0.0) -> RuleBook:
    """Return rules in which BTCUSDT has one tier."""
    row = {"bracket": 1, "initialLeverage": 125, "notionalCap": 10**12, "notionalFloor": 0}
    return load_rules(
        builtin_rules().exchange_info,
        [{"symbol": BTC, "brackets": [row | {"maintMarginRatio": rate, "cum": cum}]}],
    )


@pytest.mark.parametrize(
    ("position", "wallet", "tier", "expected"),
    [
        (("1", "20000"), "1000", (0.004, 0.0), "19076.3052"),
        (("-1", "20000"), "1000", (0.004, 0.0), "20916.3347"),
        (("10", "50000"), "25000", (0.01, 1300.0), "47848.4848"),
    ],
)
def test_liquidation_vectors(position: tuple[str, str], wallet: str, tier: tuple[float, float], expected: str):
    amount, entry = map(Decimal, position)
    price = meeting_price(_flat_rules(*tier).symbols[BTC], Decimal(wallet), [(amount, amount * entry)])

    assert price is not None
    assert round(price, 4) == Decimal(expected)


@given(
    symbol=st.sampled_from(sorted(builtin_rules().symbols)),
    size=st.decimals("0.001", "9999999", places=3),
    short=st.booleans(),
    entry=st.decimals("0.01", "99999", places=4),
    base=st.decimals("-1000000", "99999999", places=2),
)
def test_the_liquidation_price_is_where_equity_meets_maintenance_in_every_tier(
    symbol: str, size: Decimal, short: bool, entry: Decimal, base: Decimal
):
    rules = builtin_rules().symbols[symbol]
    amount = -size if short else size

    def spare(price: Decimal) -> Decimal:
        return base + amount * (price - entry) - maintenance_margin(rules, size * price)

    price = meeting_price(rules, base, [(amount, amount * entry)])

    if price is None:
        # A long that even zero does not end, or a short that was lost at any price.
        assert base - amount * entry <= 0 if short else spare(Decimal(0)) >= 0
    else:
        assert price > 0
        assert abs(spare(price)) <= Decimal("1e-12") * (abs(base) + size * (price + entry))


def test_a_position_that_the_wallet_covers_to_zero_has_no_liquidation_price():
    desk = Desk()
    desk.long("0.100")

    assert desk.venue.positions()[0].liquidation is None
    assert desk.venue.position_risk_v3({"symbol": BTC})[0]["liquidationPrice"] == "0"


@pytest.mark.parametrize("side", ["LONG", "SHORT"])
@pytest.mark.parametrize("margin", ["CROSSED", "ISOLATED"])
@pytest.mark.parametrize("quantity", ["1", "20", "90"])
def test_liquidation_happens_at_the_announced_price_and_not_a_tick_before(side: str, margin: str, quantity: str):
    desk = Desk(wallet=Decimal(600_000), slippage_bps=Decimal(0))
    desk.venue.open_position(BTC, side, quantity=Decimal(quantity), leverage=10, margin=margin)
    if margin == "CROSSED":
        # A second position shares the wallet.
        desk.venue.open_position(XRP, side, quantity=Decimal(100_000), leverage=10)
    holding = desk.venue.core.account.holding(BTC, "BOTH")
    announced = next(row for row in desk.venue.positions() if row.symbol == BTC).liquidation
    if announced is None:
        assert (side, margin, quantity) == ("LONG", "CROSSED", "1")
        return
    tick = Decimal("0.1")
    safe = announced - announced % tick + (tick if side == "LONG" else 0)
    desk.price(str(safe))
    assert abs(holding.amount) == Decimal(quantity)
    isolated_equity = holding.isolated_wallet + holding.unrealised(safe)
    if margin == "ISOLATED":
        assert isolated_equity > holding_maintenance(desk.venue.core, holding)
    desk.price(str(safe - tick if side == "LONG" else safe + tick))
    assert holding.amount == 0
    row = desk.venue.ledger.liquidations[0]
    assert (row.symbol, row.quantity) == (BTC, Decimal(quantity))


def test_a_liquidation_is_told_as_one_and_frees_what_hung_on_the_position():
    desk = Desk()
    desk.long("1", leverage=10, margin="ISOLATED")
    desk.closing("TAKE_PROFIT_MARKET", "55000", clientAlgoId="tp")
    desk.limit("51000", "0.500", reduceOnly="true", newClientOrderId="ro")
    desk.limit("44000", "0.010", side="BUY", newClientOrderId="entry")
    desk.venue.user_events()
    before = desk.venue.wallet
    iw = desk.venue.positions()[0].isolated_wallet
    desk.price("45000")
    events = desk.venue.user_events()
    orders = [event["o"] for event in events if event["e"] == "ORDER_TRADE_UPDATE"]
    forced = next(order for order in orders if order["x"] == "CALCULATED")

    assert forced["c"].startswith("autoclose-")
    assert (forced["X"], forced["S"], forced["q"]) == ("FILLED", "SELL", "1.000")
    assert desk.venue.open_orders({}) == []
    assert desk.algo_state("tp")["algoStatus"] == "EXPIRED"
    assert desk.venue.positions() == ()
    assert desk.venue.wallet == before - iw
    assert desk.venue.wallet == desk.venue.ledger.expected_wallet()


def test_the_insurance_fund_takes_a_loss_beyond_the_isolated_margin():
    desk = Desk()
    desk.long("1", leverage=20, margin="ISOLATED")
    before, iw = desk.venue.wallet, desk.venue.positions()[0].isolated_wallet
    desk.price("40000")

    assert desk.venue.wallet == before - iw
    assert desk.venue.ledger.insurance[0].amount > 0
    assert [row.kind for row in desk.venue.ledger.income][-1] == "INSURANCE_CLEAR"


def test_a_cross_account_falls_one_position_at_a_time_and_never_below_zero():
    desk = Desk(wallet=Decimal(12_000))
    desk.venue.open_position(XRP, "LONG", quantity=Decimal(10_000), leverage=10)
    desk.long("1", leverage=10)
    desk.price("0.6", symbol=XRP)
    desk.price("37150")

    assert [row.symbol for row in desk.venue.ledger.liquidations] == [BTC]
    assert [row.symbol for row in desk.venue.positions()] == [XRP]
    assert desk.venue.wallet == desk.venue.ledger.expected_wallet()
    desk.price("0.5", symbol=XRP)
    assert desk.venue.positions() == ()
    assert desk.venue.wallet == desk.venue.ledger.expected_wallet() == 0


def test_a_stop_in_the_same_step_saves_the_position_from_liquidation():
    desk = Desk()
    desk.long("1", leverage=10, margin="ISOLATED")
    desk.stop("46000", "1")
    desk.price("45000")

    assert desk.venue.ledger.liquidations == []
    assert desk.amount() == 0


def test_a_margin_call_warns_once_before_liquidation():
    desk = Desk()
    desk.long("1", leverage=20, margin="ISOLATED")
    desk.price("47760")
    desk.price("47735")
    desk.price("47730")

    assert [event["e"] for event in desk.venue.user_events()] == ["MARGIN_CALL"]


def test_hedge_legs_offset_each_other_in_cross_margin():
    desk = Desk(hedge=True, wallet=Decimal(20_000))
    desk.long("2")
    naked = desk.venue.positions()[0].liquidation
    desk.short("1")
    hedged = {row.side: row.liquidation for row in desk.venue.positions()}

    assert hedged["LONG"] == hedged["SHORT"]
    assert hedged["LONG"] is None or hedged["LONG"] < naked


@pytest.mark.parametrize(("side", "sign"), [("LONG", -1), ("SHORT", 1)])
def test_funding_is_charged_at_each_settlement_time_crossed(side: str, sign: int):
    desk = Desk()
    desk.venue.open_position(BTC, side, quantity=Decimal(1))
    desk.venue.user_events()
    settlement = (desk.venue.now // (8 * HOUR) + 1) * 8 * HOUR
    wallet = desk.venue.wallet
    desk.prices(at=settlement - 1, BTCUSDT="50000")
    assert desk.venue.wallet == wallet
    desk.prices(at=settlement, BTCUSDT="50000")
    assert desk.venue.wallet - wallet == sign * Decimal(5)
    event = desk.venue.user_events()[-1]["a"]
    assert (event["m"], event["S"], event["P"]) == ("FUNDING_FEE", BTC, [])
    desk.prices(at=settlement + 16 * HOUR, BTCUSDT="50000")
    assert desk.venue.wallet - wallet == sign * Decimal(15)
    assert [row.amount for row in desk.venue.ledger.funding] == [sign * Decimal(5)] * 3


def test_funding_of_an_isolated_position_moves_its_margin():
    desk = Desk()
    desk.long("1", margin="ISOLATED")
    before = desk.venue.positions()[0].isolated_wallet
    desk.prices(at=(desk.venue.now // (8 * HOUR) + 1) * 8 * HOUR, BTCUSDT="50000")

    assert desk.venue.positions()[0].isolated_wallet == before - 5
    assert desk.venue.user_events()[-1]["a"]["P"][0]["s"] == BTC


def test_a_recorded_funding_rate_holds_from_its_step_on():
    desk = Desk()
    desk.long("1")
    settlement = (desk.venue.now // (8 * HOUR) + 1) * 8 * HOUR
    quote = Quote(BTC, Decimal(50000), Decimal(50000))
    desk.venue.step(MarketStep(settlement, (quote,), ((BTC, Decimal("-0.0003")),)))

    assert desk.venue.ledger.funding[0].amount == 15
    assert desk.venue.premium_index({"symbol": BTC})["lastFundingRate"] == "-0.00030000"


def test_the_breakeven_price_carries_fees_and_realised_profit():
    """The recorded mainnet frame: 0.002 BTC at 91739.9 with a fee of 0.0917399 breaks even at 91785.76995."""
    desk = Desk()
    desk.price("91739.8")
    desk.order(quantity="0.002", side="BUY")
    position = desk.venue.user_events()[-1]["a"]["P"][0]

    assert (position["ep"], position["bep"]) == ("91739.9", "91785.76995")


def test_isolated_margin_is_released_in_proportion():
    desk = Desk()
    desk.long("1", leverage=10, margin="ISOLATED")
    whole = desk.venue.positions()[0].isolated_wallet
    assert whole == Decimal("5000.03")
    desk.venue.close_position(BTC, "LONG", Decimal("0.25"))

    assert desk.venue.positions()[0].isolated_wallet == whole - round(whole / 4, 8)


def test_a_partial_close_realises_its_share_and_leaves_the_entry():
    desk = Desk(terms=Terms(half_spread_ticks=0, impact_bps=Decimal(0)))
    desk.long("0.100")
    desk.price("51000")
    desk.long("0.100")
    desk.price("52000")
    desk.venue.close_position(BTC, "LONG", Decimal("0.25"))
    row = desk.venue.ledger.fills[-1]
    position = desk.venue.positions()[0]

    assert (row.quantity, row.realised) == (Decimal("0.050"), Decimal(75))
    assert (position.quantity, position.entry) == (Decimal("0.150"), Decimal(50500))
    fees = sum(fill.fee for fill in desk.venue.ledger.fills)
    breakeven = Decimal(desk.venue.position_risk_v3({})[0]["breakEvenPrice"])
    assert abs(breakeven - (Decimal(50500) + (fees - 75) / Decimal("0.150"))) < Decimal("0.00000001")


def test_equity_equal_to_maintenance_is_liquidated():
    desk = Desk(rules=_flat_rules(0.0625), terms=Terms(half_spread_ticks=0, impact_bps=Decimal(0)))
    desk.long("1", leverage=10, margin="ISOLATED")
    desk.price("48000.1")
    assert desk.venue.positions()[0].liquidation == 48_000
    desk.price("48000")

    assert desk.venue.positions() == ()


def test_a_bracket_lookup_includes_its_cap():
    rules = builtin_rules().symbols[BTC]

    assert rules.tier(Decimal(300_000)).leverage == 125
    assert rules.tier(Decimal("300000.01")).leverage == 100
    assert rules.max_notional(125) == 300_000
    assert rules.max_notional(126) == 0


def test_the_tiers_join_without_a_jump():
    for rules in builtin_rules().symbols.values():
        for low, high in zip(rules.tiers, rules.tiers[1:], strict=False):
            assert low.cap == high.floor
            assert high.cum == low.cum + high.floor * (high.rate - low.rate), rules.symbol


def test_a_notional_coefficient_scales_the_tiers():
    brackets = json.loads(json.dumps(builtin_rules().brackets[BTC])) | {"notionalCoef": 1.5}
    rules = load_rules(builtin_rules().exchange_info, brackets).symbols[BTC]

    assert rules.tiers[0].cap == 450_000
