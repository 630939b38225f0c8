"""Deterministic names: position generations and client order ids.

A generation names one life of one position, from adoption to flat. A client id is a function of generation, role, leg
and revision, so a restart computes the same id for the same decision (I6, I8), and its prefix marks the order as ours
(I12).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2s

from tpctl.exits.model import PositionKey
from tpctl.exits.units import Millis

PREFIX = "tp1-"
# Binance takes [.A-Z:/a-z0-9_-]{1,36}; ':' and '/' break python-binance's signature (binance-usdm 1.4).
_CLIENT_ID = re.compile(r"tp1-(?P<generation>[0-9a-f]{10})-(?P<role>[bstr])(?P<leg>\d{0,2})-(?P<revision>\d{1,6})")


class Role(StrEnum):
    """What one of our orders is for; the value is its letter in the client id."""

    BACKSTOP = "b"
    STOP = "s"
    TAKE_PROFIT = "t"
    REDUCE = "r"

    @property
    def label(self) -> str:
        """The word for people and JSON."""
        return _LABELS[self]


_LABELS = {Role.BACKSTOP: "backstop", Role.STOP: "stop", Role.TAKE_PROFIT: "take_profit", Role.REDUCE: "close"}


@dataclass(frozen=True, slots=True)
class ClientId:
    """The parts of one of our client ids."""

    generation: str
    role: Role
    leg: int
    revision: int

    def __str__(self) -> str:
        return f"{PREFIX}{self.generation}-{self.role.value}{self.leg or ''}-{self.revision}"


def generation_of(account: str, key: PositionKey, opened_at: Millis, count: int) -> str:
    """Return the generation of the `count`-th life of a position on an account, adopted at `opened_at`."""
    seed = f"{account}|{key.symbol}|{key.side.value}|{opened_at}|{count}"
    return blake2s(seed.encode(), digest_size=5).hexdigest()


def is_ours(client_id: str) -> bool:
    """Whether the order was placed by tpctl."""
    return client_id.startswith(PREFIX)


def parse_client_id(client_id: str) -> ClientId | None:
    """Return the parts of one of our ids, or None for a foreign or malformed one."""
    match = _CLIENT_ID.fullmatch(client_id)
    if match is None:
        return None
    return ClientId(match["generation"], Role(match["role"]), int(match["leg"] or 0), int(match["revision"]))
