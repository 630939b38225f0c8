"""Every error code of binance-usdm 3.3 and 5.4 with the request that provokes it, or why nothing at the twin does."""

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from venue_desk import BTC, START, XRP, Desk

from tpctl.market.bars import BarSeries
from tpctl.venue.auth import KeyPair, Tolerance, check_key, check_signature, check_time, sign
from tpctl.venue.faults import FaultPlan
from tpctl.venue.limits import Gate, Limits, ListenKeys
from tpctl.venue.market.history import KlineStore
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.refusals import MESSAGES, VenueError
from tpctl.venue.rulebook import builtin_rules, load_rules

PAIR = KeyPair("key", "secret")
FAR = {"type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010"}
TRAIL = {"quantity": "0.100", "reduceOnly": "true"}


def changed(desk: Desk, **fields: object) -> Desk:
    info = json.loads(json.dumps(builtin_rules().exchange_info))
    row = next(row for row in info["symbols"] if row["symbol"] == BTC)
    row.update({name: value for name, value in fields.items() if name != "filters"})
    for entry in row["filters"]:
        entry.update(fields.get("filters", {}).get(entry["filterType"], {}))  # type: ignore[attr-defined]
    desk.venue.core.rules = load_rules(info, list(builtin_rules().brackets.values()))
    return desk


def held(desk: Desk, **options: str) -> Desk:
    desk.long(**options)
    return desk


def crowded(desk: Desk, place: Callable[[], object]) -> None:
    for _ in range(201):
        place()


def torn(desk: Desk) -> None:
    held(desk).price("47000", mark="50000")
    desk.order(quantity="0.100", reduceOnly="true")


def triggering(desk: Desk) -> None:
    held(desk).stop("49000", clientAlgoId="sl")
    desk.venue.jam("sl")
    desk.price("48900")
    desk.venue.cancel_algo_order({"clientAlgoId": "sl"})


def modified(desk: Desk, kind: str = "LIMIT", **params: str) -> None:
    order = desk.limit("51000")
    if kind == "CANCELED":
        desk.venue.cancel_order({"symbol": BTC, "orderId": str(order["orderId"])})
    elif kind == "MARKET":
        desk.venue.core.books.open_orders(BTC)[0].kind = "MARKET"
    request = {"symbol": BTC, "orderId": str(order["orderId"]), "side": "SELL", "quantity": "0.010", "price": "51000"}
    desk.venue.modify_order(request | params)


def reading(params: dict[str, str]) -> None:
    def nothing(_symbol: str) -> tuple[BarSeries, ...]:
        return ()

    store = KlineStore(builtin_rules(), nothing)
    store.add(MarketStep(START, (Quote(BTC, Decimal(50_000), Decimal(50_000)),)))
    store.klines({"symbol": BTC} | params)


def canned(fault: str, code: int) -> None:
    """Ask until the fault gives the code; the fault's own table decides which of its answers comes."""
    plan = FaultPlan({fault: 1.0 if fault in {"unknown", "clock-skew"} else 3_600.0}, 1, start_ms=START)
    for number in range(400):
        fate = plan.on_request(START + number * 1_001, "POST", "v1/order", {})
        if fate.answer is not None and fate.answer.code == code:
            raise VenueError(code, fate.answer.msg, fate.answer.status)


def leverage(desk: Desk, text: str) -> None:
    desk.venue.change_leverage({"symbol": BTC, "leverage": text})


def margin(desk: Desk, kind: str) -> None:
    desk.venue.change_margin_type({"symbol": BTC, "marginType": kind})


def mode(desk: Desk, hedge: str) -> None:
    desk.venue.change_position_mode({"dualSidePosition": hedge})


PROVOKED: dict[int, Callable[[Desk], object]] = {
    # who may ask, and how often
    -1000: lambda _: canned("unknown", -1000),
    -1001: lambda _: canned("unknown", -1001),
    -1003: lambda _: Gate(Limits(weight_1m=5)).charge(6, START),
    -1006: lambda _: canned("unknown", -1006),
    -1007: lambda _: canned("unknown", -1007),
    -1008: lambda _: canned("overload", -1008),
    -1015: lambda _: Gate(Limits(orders_10s=1)).count_orders(2, START),
    -1021: lambda _: check_time({"timestamp": str(START - 5_001)}, START, Tolerance()),
    -1022: lambda _: check_signature(PAIR, f"a=1&signature={sign('wrong', 'a=1')}"),
    -1125: lambda _: ListenKeys(3_600_000).extend("unknown", START),
    -1131: lambda _: check_time({"timestamp": str(START), "recvWindow": "60001"}, START, Tolerance()),
    -2014: lambda _: check_key(PAIR, None),
    -2015: lambda _: check_key(PAIR, "other"),
    -5028: lambda _: canned("clock-skew", -5028),
    # parameters
    -1100: lambda desk: desk.order(quantity="1E-3"),
    -1102: lambda desk: desk.order(),
    -1106: lambda desk: desk.order(quantity="0.010", price="50000"),
    -1111: lambda desk: desk.order(quantity="0.0101"),
    -1115: lambda desk: desk.order(**FAR | {"timeInForce": "DAY", "price": "51000"}),
    -1116: lambda desk: desk.order(type="ICEBERG", quantity="0.010"),
    -1117: lambda desk: desk.order(side="LONG", quantity="0.010"),
    -1120: lambda _: reading({"interval": "1s"}),
    -1121: lambda desk: desk.order(symbol="NOPEUSDT"),
    -1122: lambda desk: changed(desk, status="TRADING_HALT").order(quantity="0.010"),
    -1128: lambda desk: desk.limit("51000", priceMatch="QUEUE"),
    -1130: lambda desk: desk.venue.batch_orders({"batchOrders": "{"}),
    -1136: lambda desk: desk.order(quantity="0.010", newOrderRespType="FULL"),
    -4015: lambda desk: desk.order(quantity="0.010", newClientOrderId="x" * 37),
    -4031: lambda desk: desk.stop("49000", workingType="INDEX"),
    -4060: lambda desk: desk.order(quantity="0.010", positionSide="long"),
    -4061: lambda desk: desk.order(quantity="0.010", positionSide="LONG"),
    -4062: lambda desk: desk.order(quantity="0.010", reduceOnly="True"),
    -4082: lambda desk: desk.venue.batch_orders({"batchOrders": "[]"}),
    -4120: lambda desk: desk.order(type="STOP_MARKET", stopPrice="49000", quantity="0.010"),
    -4136: lambda desk: held(desk).algo("TRAILING_STOP_MARKET", "", callbackRate="1", closePosition="true"),
    -4137: lambda desk: held(desk).closing("STOP_MARKET", "49000", quantity="0.100"),
    -4138: lambda desk: held(desk).closing("STOP_MARKET", "49000", reduceOnly="false"),
    -4500: lambda desk: desk.stop("49000", algoType="VP"),
    -5037: lambda desk: desk.order(**FAR, priceMatch="OPPONENT_20"),
    -5038: lambda desk: desk.order(quantity="0.010", priceMatch="QUEUE"),
    -5040: lambda desk: desk.order(**FAR | {"timeInForce": "GTD", "price": "51000", "goodTillDate": str(START)}),
    -5041: lambda desk: desk.order(**FAR, priceMatch="QUEUE"),
    # filters
    -4001: lambda desk: desk.limit("0"),
    -4002: lambda desk: desk.limit("4529764.1"),
    -4003: lambda desk: desk.limit("51000", "0"),
    -4004: lambda desk: changed(desk, filters={"LOT_SIZE": {"minQty": "0.002"}}).limit("51000", "0.001"),
    -4005: lambda desk: desk.order(quantity="121"),
    -4006: lambda desk: held(desk).stop("0"),
    -4007: lambda desk: held(desk).stop("4529764.1"),
    -4013: lambda desk: desk.limit("500"),
    -4014: lambda desk: desk.limit("51000.05"),
    -4016: lambda desk: desk.limit("52500.1", side="BUY"),
    -4023: lambda desk: changed(desk, filters={"LOT_SIZE": {"stepSize": "0.004"}}).limit("51000", "0.006"),
    -4024: lambda desk: desk.limit("47499.9"),
    -4131: torn,
    -4164: lambda desk: desk.order(quantity="0.001"),
    -4183: lambda desk: desk.algo("STOP", "51000", side="BUY", quantity="0.010", price="53550.1"),
    -4184: lambda desk: held(desk).algo("STOP", "49000", quantity="0.100", price="46549.9", reduceOnly="true"),
    # position, margin and book
    -2007: lambda desk: held(desk).algo("TRAILING_STOP_MARKET", "", callbackRate="0.09", **TRAIL),
    -2011: lambda desk: desk.venue.cancel_order({"symbol": BTC, "orderId": "1"}),
    -2013: lambda desk: desk.venue.get_algo_order({"algoId": "1"}),
    -2019: lambda desk: desk.order(quantity="60", side="BUY"),
    -2021: lambda desk: held(desk).stop("50000"),
    -2022: lambda desk: desk.order(quantity="0.010", reduceOnly="true"),
    -2025: lambda desk: crowded(desk, lambda: desk.limit("49000", "0.003", side="BUY")),
    -4045: lambda desk: crowded(held(desk), lambda: desk.stop("49000")),
    -4116: lambda desk: [desk.limit("51000", newClientOrderId="same") for _ in range(2)],
    -4117: triggering,
    -4118: lambda desk: [held(desk), *(desk.limit("51000", "0.060", reduceOnly="true") for _ in range(2))],
    -4130: lambda desk: [held(desk), *(desk.closing("STOP_MARKET", "49000") for _ in range(2))],
    -4135: lambda desk: held(desk).algo("TRAILING_STOP_MARKET", "", callbackRate="1", activatePrice="0", **TRAIL),
    -4140: lambda desk: changed(desk, status="PRE_SETTLE").order(quantity="0.010", side="BUY"),
    -4141: lambda desk: changed(desk, status="CLOSE").order(quantity="0.010", side="BUY"),
    -4509: lambda desk: desk.closing("STOP_MARKET", "49000"),
    -5021: lambda desk: desk.order(**FAR | {"timeInForce": "FOK", "price": "51000"}),
    -5022: lambda desk: desk.order(**FAR | {"timeInForce": "GTX", "price": "49000"}),
    -5024: lambda desk: modified(desk, "CANCELED", price="51100"),
    -5025: lambda desk: modified(desk, "MARKET", price="51100"),
    -5027: modified,
    -5047: lambda desk: modified(desk, price="51100", reduceOnly="true"),
    # settings
    -2027: lambda desk: [held(desk, quantity="10", leverage=50), leverage(desk, "125")],  # type: ignore[arg-type]
    -2028: lambda desk: [held(desk, quantity="10", leverage=50), leverage(desk, "2")],  # type: ignore[arg-type]
    -4028: lambda desk: leverage(desk, "126"),
    -4046: lambda desk: margin(desk, "CROSSED"),
    -4047: lambda desk: [desk.limit("51000"), margin(desk, "ISOLATED")],
    -4048: lambda desk: [held(desk), margin(desk, "ISOLATED")],
    -4059: lambda desk: mode(desk, "false"),
    -4067: lambda desk: [desk.limit("51000"), mode(desk, "true")],
    -4068: lambda desk: [desk.long("100", XRP), mode(desk, "true")],
    -4161: lambda desk: [held(desk, leverage=10, margin="ISOLATED"), leverage(desk, "5")],  # type: ignore[arg-type]
}

# What the exchange has and the twin's account can never get into.
NOT_THERE = {
    -2010: "the general word for what has codes of its own here",
    -2018: "a wallet too small for a transfer: there are none",
    -4087: "restricted accounts only open nothing, and the twin has none",
    -4105: "POSITION_RISK_CONTROL is NONE in every rule book seen; what it refuses is undocumented",
    -4106: "as -4105",
    -4107: "as -4105",
    -4142: "the older word for -2021",
    -4171: "multi-assets mode is not simulated",
    -4189: "cooling-off accounts",
    -4192: "cooling-off accounts",
    -4202: "leverage limits by age and residence of the account",
    -4203: "as -4202",
    -4204: "as -4202",
    -4205: "as -4202",
    -4206: "as -4202",
    -4207: "as -4202",
    -4208: "as -4202",
    -4209: "as -4202",
    -4210: "the band of trigger prices is not in exchangeInfo, and nobody has published it",
    -4211: "as -4210",
    -4400: "account in reduce-only mode by risk control",
    -4401: "as -4400",
    -4403: "as -4202",
    -4411: "agreements are signed by people",
    -4531: "the coin-margined side of the account",
    -5026: "ten thousand modifications of one order",
    -5029: "another word for -4164",
    -5043: "modifications happen at once here, none is ever pending",
}

# Codes named in binance-usdm 3.3 and 5.4.
DOCUMENTED = (
    *(-1000, -1001, -1003, -1006, -1007, -1008, -1015, -1021, -1022, -1102, -1106, -1111, -1116, -1117, -1121, -1122),
    *(-1125, -1128, -1130, -2010, -2011, -2013, -2014, -2015, -2018, -2019, -2021, -2022, -2025, -2027, -2028, -4001),
    *(-4002, -4003, -4004, -4005, -4006, -4007, -4013, -4014, -4015, -4016, -4023, -4024, -4028, -4045, -4046, -4047),
    *(-4048, -4059, -4060, -4061, -4062, -4067, -4068, -4087, -4105, -4106, -4107, -4116, -4117, -4118, -4120, -4130),
    *(-4131, -4135, -4136, -4137, -4138, -4140, -4141, -4142, -4161, -4164, -4171, -4183, -4184, -4189, -4192),
    *range(-4209, -4201),
    *(-4210, -4211, -4400, -4401, -4403, -4411, -4500, -4509, -4531, -5021, -5022, -5024, -5025, -5026, -5027, -5028),
    *(-5029, -5037, -5038, -5040, -5041, -5043, -5047),
)


@pytest.mark.parametrize("code", sorted(PROVOKED, reverse=True))
def test_a_request_provokes_the_code(code: int) -> None:
    desk = Desk(wallet=Decimal(100_000))
    with pytest.raises(VenueError) as refused:
        PROVOKED[code](desk)
    assert refused.value.code == code
    assert refused.value.msg


def test_every_documented_code_is_provoked_or_accounted_for() -> None:
    assert not PROVOKED.keys() & NOT_THERE.keys()
    assert set(DOCUMENTED) <= PROVOKED.keys() | NOT_THERE.keys()
    assert MESSAGES.keys() <= PROVOKED.keys()
