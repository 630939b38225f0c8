"""Names of generations and orders."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tpctl.exits.ids import ClientId, Role, generation_of, is_ours, parse_client_id
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import PositionKey

LONG = PositionKey("XRPUSDT", PositionSide.LONG)
SHORT = PositionKey("XRPUSDT", PositionSide.SHORT)


def test_same_life_has_the_same_generation_and_any_other_has_another() -> None:
    one = generation_of("account", LONG, 1_000, 1)
    assert one == generation_of("account", LONG, 1_000, 1)
    others = [
        generation_of("other", LONG, 1_000, 1),
        generation_of("account", SHORT, 1_000, 1),
        generation_of("account", LONG, 1_001, 1),
        generation_of("account", LONG, 1_000, 2),
    ]
    assert one not in others
    assert len(set(others)) == len(others)


@given(
    role=st.sampled_from(Role),
    leg=st.integers(0, 12),
    revision=st.integers(1, 999_999),
    opened=st.integers(0, 2**45),
    count=st.integers(1, 1_000),
)
def test_client_id_is_what_the_exchange_takes_and_reads_back(
    role: Role, leg: int, revision: int, opened: int, count: int
) -> None:
    name = ClientId(generation_of("account", LONG, opened, count), role, leg, revision)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,36}", str(name))
    assert is_ours(str(name))
    assert parse_client_id(str(name)) == name


@given(st.text(max_size=36))
def test_foreign_id_is_not_ours(text: str) -> None:
    if not text.startswith("tp1-"):
        assert not is_ours(text)
        assert parse_client_id(text) is None


def test_malformed_id_with_our_prefix_has_no_parts() -> None:
    for text in ("tp1-", "tp1-0123456789-q-1", "tp1-0123456789-s-", "tp1-012345678-s-1", "tp1-0123456789-s-1-2"):
        assert parse_client_id(text) is None
