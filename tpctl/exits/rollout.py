"""Which symbols a rollout reaches: a fixed place between 0 and 1 for every symbol, by a hash of its name alone.

The same on every machine, in every version and after every start; a larger share only ever adds symbols.
"""

from decimal import Decimal
from hashlib import blake2s

_BITS = 48
_PLACES = Decimal(2**_BITS)


def rollout_place(symbol: str) -> Decimal:
    """Return the symbol's place, at least 0 and below 1: a rollout of a larger share reaches it."""
    digest = blake2s(symbol.encode(), digest_size=_BITS // 8, person=b"rollout").digest()
    return Decimal(int.from_bytes(digest)) / _PLACES
