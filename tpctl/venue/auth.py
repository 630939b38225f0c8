"""Who may ask: API key, signature and timestamp, checked as the exchange does (binance-usdm 5).

Decides whether a request is authentic; the error codes tell which of the three was wrong. Pure: the raw request, the
key pair and the time come in.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote

from tpctl.exits.units import Millis
from tpctl.venue.refusals import VenueError

_DEFAULT_WINDOW_MS = 5_000
_LONGEST_WINDOW_MS = 60_000
_AHEAD_MS = 1_000


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The one account's API key and secret."""

    key: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What the account's API key may do beside reading (sapi account/apiRestrictions)."""

    withdraws: bool = False
    trades_futures: bool = True
    bound_to_ip: bool = True

    def answer(self, now: Millis) -> dict[str, bool | int]:
        """Return the exchange's answer, with the rights tpctl looks at and their neighbours."""
        return {
            "ipRestrict": self.bound_to_ip,
            "createTime": now,
            "enableReading": True,
            "enableFutures": self.trades_futures,
            "enableWithdrawals": self.withdraws,
            "enableInternalTransfer": False,
            "permitsUniversalTransfer": False,
            "enableSpotAndMarginTrading": False,
            "enableMargin": False,
            "enableVanillaOptions": False,
        }


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a timestamp may be off: windows are `scale` times as long, and `standing_ms` more ahead of time.

    A market that runs at N times the wall clock needs windows N times as long. While it stands and waits for its
    client, the client's clock goes on: that much is no fault of the client's.
    """

    scale: float = 1.0
    standing_ms: float = 0.0


def decode_params(raw: str) -> dict[str, str]:
    """Return the parameters of a raw query string or form body; the first of a name counts."""
    params: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        params.setdefault(name, value)
    return params


def check_key(pair: KeyPair, header: str | None) -> None:
    """Refuse a missing key (-2014) and a foreign one (-2015)."""
    if not header:
        raise VenueError(-2014, "API-key format invalid.", 401)
    if not hmac.compare_digest(header.encode(), pair.key.encode()):
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)


def sign(secret: str, payload: str) -> str:
    """Return the signature of a payload: HMAC-SHA256 in hex."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def check_signature(pair: KeyPair, raw: str) -> None:
    """Refuse a raw query or body that is unsigned (-1102) or signed wrongly (-1022).

    The client library signs before it form-encodes, so besides the text as it arrived, its decoded values count, with
    only `symbol` quoted again.
    """
    given = decode_params(raw).get("signature", "")
    as_sent = "&".join(part for part in raw.split("&") if not part.startswith("signature="))
    pairs = [(name, value) for name, value in parse_qsl(raw, keep_blank_values=True) if name != "signature"]
    _check_signed(pair, given, as_sent, _quoted(pairs))


def check_signed_params(pair: KeyPair, params: Mapping[str, str]) -> None:
    """Refuse the parameters of a websocket request that are unsigned (-1102) or signed wrongly (-1022).

    The signature is over the parameters in the order of their names; here too the client library quotes `symbol`.
    """
    pairs = [(name, params[name]) for name in sorted(params) if name != "signature"]
    plain = "&".join(f"{name}={value}" for name, value in pairs)
    _check_signed(pair, params.get("signature", ""), plain, _quoted(pairs))


def _quoted(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{name}={quote(value) if name == 'symbol' else value}" for name, value in pairs)


def _check_signed(pair: KeyPair, given: str, *texts: str) -> None:
    if not given:
        raise VenueError(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    wanted = given.lower().encode()
    if not any(hmac.compare_digest(sign(pair.secret, text).encode(), wanted) for text in texts):
        raise VenueError(-1022, "Signature for this request is not valid.")


def check_time(params: Mapping[str, str], now: Millis, tolerance: Tolerance) -> None:
    """Refuse a request without timestamp (-1102), with an absurd window (-1131), too old or ahead of time (-1021)."""
    sent = _whole(params, "timestamp")
    if sent is None:
        raise VenueError(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
    window = _whole(params, "recvWindow")
    window = _DEFAULT_WINDOW_MS if window is None else window
    if window > _LONGEST_WINDOW_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000.")
    if sent >= now + _AHEAD_MS * tolerance.scale + tolerance.standing_ms:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now - sent > window * tolerance.scale:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")


def _whole(params: Mapping[str, str], name: str) -> int | None:
    text = params.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return int(text)
