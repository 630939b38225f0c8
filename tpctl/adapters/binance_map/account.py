"""Account and market reads as REST shows them (binance-usdm 5.1, 5.2): positions, balances, settings, candles.

Flat positions are left out. What an answer lacks is `Unavailable`; what it garbles raises `Malformed`.
"""

from collections.abc import Mapping
from decimal import Decimal

from tpctl.adapters.binance_map.fields import (
    Malformed,
    decimal,
    flag,
    millis,
    number,
    number_or_none,
    position_side,
    row,
    rows,
    text,
)
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.mid import TopOfBook
from tpctl.exits.model import MarginMode, Position, PositionKey, PositionMode
from tpctl.exits.units import Millis, Money, Ratio
from tpctl.ports import Candle, Fees, FundingFee, KeyRights, Premium, SymbolConfig, Wallet

_MARGIN_MODES = {
    "CROSSED": MarginMode.CROSS,
    "CROSS": MarginMode.CROSS,
    "ISOLATED": MarginMode.ISOLATED,
}


def positions(payload: object) -> tuple[Position, ...]:
    """Return the open positions of a v3 positionRisk answer; raises `Malformed`.

    In one-way mode (BOTH) the sign of the amount is the side; in hedge mode the row names it and SHORT is negative.
    """
    found = []
    for source in rows(payload, "positionRisk"):
        amount = number(source, "positionAmt")
        if amount == 0:
            continue
        side = position_side(text(source, "positionSide"))
        if side is None:
            side = PositionSide.LONG if amount > 0 else PositionSide.SHORT
        found.append(
            Position(
                key=PositionKey(text(source, "symbol"), side),
                quantity=abs(amount),
                entry_price=number(source, "entryPrice"),
                mark_price=number(source, "markPrice"),
                updated_at=millis(source, "updateTime"),
                liquidation_price=number_or_none(source, "liquidationPrice"),
                isolated_wallet=number(source, "isolatedWallet"),
                initial_margin=number(source, "initialMargin"),
                unrealised=number(source, "unRealizedProfit"),
            )
        )
    return tuple(found)


def mode_shown(payload: object) -> PositionMode | None:
    """Return the mode the rows of a v3 positionRisk answer are of, None where there are none; raises `Malformed`.

    A row of one-way mode names no side (BOTH), one of hedge mode does; the mode cannot change while there are rows,
    which are of positions or open orders (-4067, -4068).
    """
    modes = {
        PositionMode.ONE_WAY if position_side(text(source, "positionSide")) is None else PositionMode.HEDGE
        for source in rows(payload, "positionRisk")
    }
    if len(modes) > 1:
        raise Malformed("positionRisk shows positions of both modes")
    return modes.pop() if modes else None


def position_mode(payload: object) -> PositionMode:
    """Return the position mode of an accountConfig answer; raises `Malformed`."""
    source = row(payload, "accountConfig")
    if "dualSidePosition" not in source:
        raise Malformed("dualSidePosition is missing")
    return PositionMode.HEDGE if flag(source, "dualSidePosition") else PositionMode.ONE_WAY


def symbol_config(payload: object, symbol: str) -> SymbolConfig | Unavailable:
    """Return leverage and margin mode of a symbolConfig answer, a list or one object; raises `Malformed`."""
    listed = [payload] if isinstance(payload, Mapping) else rows(payload, "symbolConfig")
    for source in listed:
        if source.get("symbol") == symbol:
            mode = _MARGIN_MODES.get(text(source, "marginType").upper())
            if mode is None:
                raise Malformed(f"marginType {source['marginType']!r} is unknown")
            return SymbolConfig(symbol, number(source, "leverage"), mode)
    return Unavailable(f"the exchange gave no settings of {symbol}")


def wallet(payload: object, asset: str) -> Wallet | Unavailable:
    """Return the balances of one margin asset from a v3 account answer; raises `Malformed`."""
    for source in rows(row(payload, "account").get("assets"), "assets"):
        if source.get("asset") == asset:
            return Wallet(
                asset=asset,
                cross_wallet=number(source, "crossWalletBalance"),
                available=number(source, "availableBalance"),
                maintenance_margin=number(source, "maintMargin"),
                unrealised=number(source, "unrealizedProfit"),
            )
    return Unavailable(f"the account holds no {asset}")


def fees(payload: object, symbol: str) -> Fees | Unavailable:
    """Return the commission rates of a commissionRate answer; raises `Malformed`."""
    source = row(payload, "commissionRate")
    if source.get("symbol") != symbol:
        return Unavailable(f"the exchange gave no commission rates of {symbol}")
    return Fees(Ratio(number(source, "makerCommissionRate")), Ratio(number(source, "takerCommissionRate")))


def quote_volume(payload: object) -> Money | Unavailable:
    """Return the 24 h quote volume of a ticker/24hr answer; raises `Malformed`."""
    source = row(payload, "ticker/24hr")
    return number(source, "quoteVolume") if "quoteVolume" in source else Unavailable("the ticker names no quote volume")


def premium(payload: object) -> Premium:
    """Return mark price and next funding of a premiumIndex answer; contracts without funding leave it empty."""
    source = row(payload, "premiumIndex")
    missing = Unavailable("the symbol has no funding")
    rate, due = source.get("lastFundingRate"), source.get("nextFundingTime")
    return Premium(
        mark=number(source, "markPrice"),
        funding_rate=missing if rate is None or rate == "" else Ratio(number(source, "lastFundingRate")),
        next_funding_at=missing if not due else millis(source, "nextFundingTime"),
    )


def top_of_book(payload: object) -> TopOfBook:
    """Return the best prices of a ticker/bookTicker answer; raises `Malformed`, also for an empty or crossed book."""
    source = row(payload, "ticker/bookTicker")
    bid, ask = number(source, "bidPrice"), number(source, "askPrice")
    if not 0 < bid <= ask:
        raise Malformed(f"bid {bid} and ask {ask} are no book")
    return TopOfBook(bid, ask)


def last_price(payload: object) -> Decimal:
    """Return the price of a ticker/price answer; raises `Malformed`."""
    return number(row(payload, "ticker/price"), "price")


def funding_fees(payload: object) -> tuple[FundingFee, ...]:
    """Return the payments of an income answer, as listed; raises `Malformed`."""
    return tuple(
        FundingFee(text(source, "symbol"), number(source, "income"), millis(source, "time"))
        for source in rows(payload, "income")
    )


def key_rights(payload: object) -> KeyRights:
    """Return what a key may do (sapi account/apiRestrictions); a right the answer does not name is not there."""
    source = row(payload, "apiRestrictions")
    if "enableFutures" not in source or "enableWithdrawals" not in source:
        raise Malformed("the rights of the key are missing")
    funds = ("enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer")
    return KeyRights(
        moves_funds=any(flag(source, name) for name in funds),
        trades_futures=flag(source, "enableFutures"),
        bound_to_ip=flag(source, "ipRestrict"),
    )


def server_time(payload: object) -> Millis:
    """Return the exchange's clock of a time answer; raises `Malformed`."""
    return millis(row(payload, "time"), "serverTime")


def candles(payload: object) -> tuple[Candle, ...]:
    """Return the candles of a klines answer, oldest first, the last one (still open) included; raises `Malformed`."""
    if not isinstance(payload, list):
        raise Malformed("klines is not a list")
    return tuple(_candle(item) for item in payload)


def weight_limits(exchange_info: object) -> tuple[int | None, int | None, int | None]:
    """Return the limits of weight a minute, orders in 10 s and orders a minute that exchangeInfo states."""
    found: dict[tuple[str, str, int], int] = {}
    for source in rows(row(exchange_info, "exchangeInfo").get("rateLimits", []), "rateLimits"):
        key = (text(source, "rateLimitType"), text(source, "interval"), int(number(source, "intervalNum")))
        found[key] = int(number(source, "limit"))
    return (
        found.get(("REQUEST_WEIGHT", "MINUTE", 1)),
        found.get(("ORDERS", "SECOND", 10)),
        found.get(("ORDERS", "MINUTE", 1)),
    )


def _candle(item: object) -> Candle:
    if not isinstance(item, list) or len(item) < 8 or isinstance(item[0], bool) or not isinstance(item[0], int):
        raise Malformed("a candle is not a row")
    prices = [float(_sane(item[column])) for column in (1, 2, 3, 4, 7)]
    return Candle(item[0], *prices)


def _sane(value: object) -> Decimal:
    amount = decimal(value, "candle")
    if amount < 0:
        raise Malformed("a candle holds a negative number")
    return amount
