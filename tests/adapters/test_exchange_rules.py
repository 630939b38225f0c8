"""Parsing exchangeInfo and leverage brackets: what each field means, and refusal by name."""

import copy
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tpctl.adapters.rules import parse_brackets, parse_instruments
from tpctl.exits.errors import ExitCode, InputsError
from tpctl.exits.instrument import Bracket

ROW: dict[str, Any] = {
    "symbol": "XRPUSDT",
    "contractType": "PERPETUAL",
    "status": "TRADING",
    "marginAsset": "USDT",
    "pricePrecision": 4,
    "quantityPrecision": 1,
    "triggerProtect": "0.0500",
    "liquidationFee": "0.012500",
    "marketTakeBound": "0.05",
    "filters": [
        {"tickSize": "0.0001000", "filterType": "PRICE_FILTER", "minPrice": "0.0143", "maxPrice": "100000"},
        {"filterType": "LOT_SIZE", "minQty": "0.1", "stepSize": "0.1", "maxQty": "10000000"},
        {"stepSize": "0.1", "maxQty": "2000000", "filterType": "MARKET_LOT_SIZE", "minQty": "0.1"},
        {"limit": 200, "filterType": "MAX_NUM_ORDERS"},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
        {"notional": "5", "filterType": "MIN_NOTIONAL"},
        {"multiplierUp": "1.0500", "filterType": "PERCENT_PRICE", "multiplierDown": "0.9500", "multiplierDecimal": "4"},
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ],
}
BRACKETS: list[dict[str, Any]] = [
    {
        "bracket": 1, "initialLeverage": 75, "notionalCap": 10000, "notionalFloor": 0, "maintMarginRatio": 0.0065,
        "cum": 0.0,
    },
    {
        "bracket": 2, "initialLeverage": 50, "notionalCap": 50000, "notionalFloor": 10000, "maintMarginRatio": 0.01,
        "cum": 35.0,
    },
]  # fmt: skip


def _info(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"timezone": "UTC", "symbols": list(rows)}


def _row(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    row = copy.deepcopy(ROW)
    change(row)
    return row


def test_every_rule_is_read_from_its_filter() -> None:
    found = parse_instruments(_info(ROW))["XRPUSDT"]

    assert (found.tick, found.min_price, found.max_price) == (Decimal("0.0001"), Decimal("0.0143"), Decimal(100000))
    assert (found.step, found.min_quantity, found.max_quantity) == (Decimal("0.1"), Decimal("0.1"), Decimal(10**7))
    assert (found.market_step, found.market_min_quantity) == (Decimal("0.1"), Decimal("0.1"))
    assert found.market_max_quantity == 2_000_000
    assert (found.min_notional, found.percent_up, found.percent_down) == (5, Decimal("1.05"), Decimal("0.95"))
    assert (found.max_orders, found.price_precision, found.quantity_precision) == (200, 4, 1)
    assert (found.trigger_protect, found.market_take_bound) == (Decimal("0.05"), Decimal("0.05"))
    assert found.liquidation_fee == Decimal("0.0125")
    assert found.unknown_filters == ()


def test_a_tick_carries_no_decimals_the_exchange_would_refuse() -> None:
    assert str(parse_instruments(_info(ROW))["XRPUSDT"].tick) == "0.0001"


def test_the_wrapped_form_and_any_order_of_filters_read_the_same() -> None:
    shuffled = _row(lambda row: row["filters"].reverse())

    assert parse_instruments({"ts": 1.5, "info": _info(shuffled)}) == parse_instruments(_info(ROW))


def test_a_filter_that_is_absent_is_a_rule_that_is_off() -> None:
    found = parse_instruments(_info(_row(lambda row: row.update(filters=[]))))["XRPUSDT"]

    assert (found.tick, found.step, found.min_notional, found.percent_up, found.max_orders) == (0, 0, 0, 0, 0)


def test_unknown_filters_are_kept_by_name() -> None:
    added = _row(lambda row: row["filters"].append({"filterType": "MOON_PHASE", "phase": "FULL"}))

    assert parse_instruments(_info(added))["XRPUSDT"].unknown_filters == ("MOON_PHASE",)


@pytest.mark.parametrize("name", ["币安人生USDT", "1000SHIBUSDT", "BTCUSDT_250926"])
@pytest.mark.parametrize("status", ["TRADING", "SETTLING", "PENDING_TRADING", "SOMETHING_NEW"])
def test_every_symbol_in_every_state_is_kept(name: str, status: str) -> None:
    found = parse_instruments(_info(_row(lambda row: row.update(symbol=name, status=status, contractType=""))))

    assert found[name].status == status
    assert found[name].tradable is (status == "TRADING")
    assert found[name].contract_type == ""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda row: row["filters"][0].update(tickSize="abc"), "PRICE_FILTER.tickSize"),
        (lambda row: row["filters"][0].update(tickSize="NaN"), "PRICE_FILTER.tickSize"),
        (lambda row: row["filters"][0].update(tickSize="-0.1"), "PRICE_FILTER.tickSize"),
        (lambda row: row["filters"][0].update(maxPrice="1e400"), "PRICE_FILTER.maxPrice"),
        (lambda row: row["filters"][0].update(tickSize=True), "PRICE_FILTER.tickSize"),
        (lambda row: row["filters"][1].pop("stepSize"), "LOT_SIZE.stepSize"),
        (lambda row: row["filters"][3].update(limit="2.5"), "MAX_NUM_ORDERS.limit"),
        (lambda row: row["filters"].append({}), "filterType"),
        (lambda row: row.update(filters={}), "filters"),
        (lambda row: row.update(filters=["LOT_SIZE"]), "filters"),
        (lambda row: row.pop("status"), "status"),
        (lambda row: row.update(pricePrecision=None), "pricePrecision"),
        (lambda row: row.update(quantityPrecision="1.5"), "quantityPrecision"),
    ],
)
def test_a_malformed_row_is_refused_with_its_symbol_and_field(change: Callable[[Any], object], named: str) -> None:
    with pytest.raises(InputsError) as refused:
        parse_instruments(_info(_row(change)))

    assert "'XRPUSDT'" in refused.value.message
    assert named in refused.value.message
    assert refused.value.exit_code is ExitCode.INPUTS


@pytest.mark.parametrize("name", [None, "", 7, "XRP USDT", "XRP\nUSDT"])
def test_a_row_without_a_usable_name_is_refused(name: object) -> None:
    with pytest.raises(InputsError, match="symbol"):
        parse_instruments(_info(_row(lambda row: row.update(symbol=name))))


@pytest.mark.parametrize("payload", [{}, {"symbols": []}, {"symbols": {}}, {"info": None}, [], "text"])
def test_what_is_no_exchange_info_is_refused(payload: Any) -> None:
    with pytest.raises(InputsError, match="exchangeInfo"):
        parse_instruments(payload)


def test_a_symbol_listed_twice_is_refused() -> None:
    with pytest.raises(InputsError, match="twice"):
        parse_instruments(_info(ROW, ROW))


def test_brackets_read_the_same_from_a_list_and_a_bare_object() -> None:
    row = {"symbol": "XRPUSDT", "brackets": BRACKETS[::-1]}
    expected = (
        Bracket(Decimal(0), Decimal(10000), 75, Decimal("0.0065"), Decimal(0)),
        Bracket(Decimal(10000), Decimal(50000), 50, Decimal("0.01"), Decimal(35)),
    )

    assert parse_brackets([row]) == parse_brackets(row) == {"XRPUSDT": expected}


def test_notional_coefficient_keeps_maintenance_margin_continuous() -> None:
    row = {"symbol": "XRPUSDT", "notionalCoef": 1.5, "brackets": BRACKETS}
    low, high = parse_brackets(row)["XRPUSDT"]

    assert (low.cap, high.floor, high.cap) == (15000, 15000, 75000)
    assert low.cap * low.maintenance_rate - low.cum == high.floor * high.maintenance_rate - high.cum


def test_a_tiers_file_names_symbols_as_the_exchange_does() -> None:
    info = [{key: str(value) for key, value in entry.items()} for entry in BRACKETS]
    tiers = [{"tier": 1.0, "info": entry} for entry in info]
    found = parse_brackets({"XRP/USDT:USDT": tiers, "BTC/USDT:USDT-250926": tiers})

    assert list(found) == ["XRPUSDT", "BTCUSDT_250926"]
    assert found["XRPUSDT"] == parse_brackets({"symbol": "XRPUSDT", "brackets": BRACKETS})["XRPUSDT"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda rows: rows[0].pop("cum"), "cum"),
        (lambda rows: rows[0].update(maintMarginRatio="x"), "maintMarginRatio"),
        (lambda rows: rows[0].update(maintMarginRatio=1), "maintMarginRatio"),
        (lambda rows: rows[0].update(initialLeverage=0), "initialLeverage"),
        (lambda rows: rows[0].update(notionalCap=0), "notionalCap"),
        (lambda rows: rows[1].update(notionalFloor=9999), "notionalFloor"),
        (lambda rows: rows.pop(0), "notionalFloor"),
        (lambda rows: rows.clear(), "brackets"),
    ],
)
def test_malformed_brackets_are_refused_with_symbol_and_field(change: Callable[[Any], object], named: str) -> None:
    rows = copy.deepcopy(BRACKETS)
    change(rows)

    with pytest.raises(InputsError) as refused:
        parse_brackets([{"symbol": "XRPUSDT", "brackets": rows}])

    assert "'XRPUSDT'" in refused.value.message
    assert named in refused.value.message


@pytest.mark.parametrize("payload", [{}, "text", None, {"XRPUSDT": []}, {"XRP/USDT:USDT": [{}]}, [7]])
def test_what_is_no_brackets_answer_is_refused(payload: object) -> None:
    with pytest.raises(InputsError):
        parse_brackets(payload)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("exchangeInfo_mainnet_20210417.json.gz", 113),
        ("exchangeInfo_mainnet_20250811.json.gz", 550),
        ("exchangeInfo_testnet_20251224.json.gz", 660),
    ],
)
def test_recorded_rule_books_parse_whole(name: str, count: int, shared_data: Path) -> None:
    found = parse_instruments(json.loads(gzip.decompress((shared_data / name).read_bytes())))

    assert len(found) == count
    assert (found["XRPUSDT"].tick, found["XRPUSDT"].step) == (Decimal("0.0001"), Decimal("0.1"))
    assert not any(instrument.unknown_filters for instrument in found.values())


def test_recorded_tiers_parse_whole_and_stay_continuous(shared_data: Path) -> None:
    found = parse_brackets(json.loads(gzip.decompress((shared_data / "leverage_tiers_20250814.json.gz").read_bytes())))

    assert len(found) == 552
    for table in found.values():
        for low, high in pairwise(table):
            assert high.cum == high.floor * (high.maintenance_rate - low.maintenance_rate) + low.cum
