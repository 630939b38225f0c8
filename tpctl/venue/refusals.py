"""How the twin says no: the exchange's error codes with the exchange's words.

Never decides when to refuse. Codes and messages: binance-usdm 3.3 and the published error list; those marked observed
there are worded as they were seen.
"""

from typing import Final

MESSAGES: Final[dict[int, str]] = {
    -1000: "An unknown error occurred while processing the request.",
    -1100: "Illegal characters found in parameter '{}'; legal range is '{}'.",
    -1102: "Mandatory parameter '{}' was not sent, was empty/null, or malformed.",
    -1106: "Parameter '{}' sent when not required.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1121: "Invalid symbol.",
    -1122: "Invalid symbol status.",
    -1128: "Combination of optional parameters invalid.",
    -1130: "Data sent for parameter '{}' is not valid.",
    -1136: "Invalid newOrderRespType.",
    -2007: "Invalid callBack rate.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -2028: "Leverage is smaller than permitted: insufficient margin balance.",
    -4001: "Price less than 0.",
    -4002: "Price greater than max price.",
    -4003: "Quantity less than or equal to zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4006: "Stop price less than zero.",
    -4007: "Stop price greater than max price.",
    -4013: "Price less than min price.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id is not valid.",
    -4016: "Limit price can't be higher than {}.",
    -4023: "Qty not increased by step size.",
    -4024: "Limit price can't be lower than {}.",
    -4028: "Leverage {} is not valid",
    -4031: "Invalid parameter working type: {}",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4059: "No need to change position side.",
    -4060: "Invalid position side.",
    -4061: "Order's position side does not match user's setting.",
    -4062: "Invalid or improper reduceOnly value.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4082: "Invalid number of batch place orders.",
    -4116: "ClientOrderId is duplicated.",
    -4117: "Stop order is triggering, please don't modify or cancel.",
    -4118: "ReduceOnly Order Failed. Please check your existing position and open orders",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4130: "An open stop or take profit order with GTE and closePosition in the direction is existing.",
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    -4135: "Invalid activation price",
    -4136: "Target strategy invalid for orderType '{}',closePosition '{}'",
    -4137: "Quantity must be zero with closePosition equals true",
    -4138: "Reduce only must be true with closePosition equals true",
    -4140: "Invalid symbol status for opening position.",
    -4141: "Symbol is closed.",
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    -4164: "Order's notional must be no smaller than {} (unless you choose reduce only).",
    -4183: "Limit price can't be higher than {} of stop price.",
    -4184: "Limit price can't be lower than {} of stop price.",
    -4500: "Invalid algoType.",
    -4509: "Time in Force (TIF) GTE can only be used with open positions. Please ensure that positions are available.",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected. "
    "The order will not be recorded in the order history",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history",
    -5024: "Order status does not allow a modification.",
    -5025: "Only limit order is supported.",
    -5027: "No need to modify the order.",
    -5037: "Invalid price match.",
    -5038: "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT",
    -5040: "The goodTillDate timestamp must be greater than the current time plus 600 seconds "
    "and smaller than 253402300799000",
    -5041: "No depth matches this BBO order",
    -5047: "The reduceOnly of the request conflicts with that of the order.",
}


class VenueError(Exception):
    """A refusal as the exchange answers it: HTTP status, `code` and `msg`."""

    def __init__(self, code: int, msg: str, http_status: int = 400) -> None:
        super().__init__(f"{code} {msg}")
        self.code = code
        self.msg = msg
        self.http_status = http_status

    @property
    def body(self) -> dict[str, int | str]:
        """The JSON body of the answer."""
        return {"code": self.code, "msg": self.msg}


def refusal(code: int, *details: object) -> VenueError:
    """Return the error for `code`, its message filled in with `details`."""
    return VenueError(code, MESSAGES[code].format(*details))
