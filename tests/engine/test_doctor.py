"""Each check of the doctor by itself: what is wrong is an error with a way out, what cannot be known is skipped."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from tpctl.engine.doctor import Check, Verdict, clock, examine, exit_code, headroom, ok, rules_age
from tpctl.exits.errors import CredentialsError, ExitCode, TpctlError, UnavailableError
from tpctl.exits.instrument import OrderKind, OrderSide, Unavailable
from tpctl.exits.model import Book, LiveOrder, OrderStatus, PositionMode, WorkingType
from tpctl.ports import KeyRights

ORDER = LiveOrder(
    symbol="BTCUSDT",
    client_id="x",
    exchange_id="1",
    book=Book.ALGO,
    kind=OrderKind.STOP_MARKET,
    order_side=OrderSide.SELL,
    position_side=None,
    status=OrderStatus.NEW,
    quantity=Decimal(1),
    trigger=Decimal(1),
    price=None,
    working=WorkingType.MARK,
    close_position=False,
    reduce_only=True,
    executed=Decimal(0),
    average_price=None,
    child_id=None,
    updated_at=0,
)


class Account:
    """An account that is well, but for what `failing` says of a read."""

    def __init__(
        self,
        orders: int = 0,
        rights: KeyRights | Unavailable | None = None,
        failing: Callable[[str], TpctlError | None] = lambda _: None,
    ) -> None:
        self._orders = orders
        self._rights = rights or KeyRights(moves_funds=False, trades_futures=True, bound_to_ip=True)
        self._failing = failing

    def _read(self, name: str) -> None:
        if (error := self._failing(name)) is not None:
            raise error

    async def server_time(self) -> int:
        self._read("time")
        return 1_000

    async def position_mode(self) -> PositionMode:
        self._read("mode")
        return PositionMode.HEDGE

    async def key_rights(self) -> KeyRights | Unavailable:
        self._read("rights")
        return self._rights

    async def open_orders(self, symbol: str | None = None) -> tuple[LiveOrder, ...]:
        self._read("orders")
        return (ORDER,) * self._orders + (replace(ORDER, book=Book.REGULAR),)


def seen(account: Account, keys: Check | None = None) -> dict[str, Check]:
    async def local() -> int:
        return 1_000

    checks = asyncio.run(examine(account, local, keys or ok("keys", "here")))
    return {check.name: check for check in checks}


def test_a_good_account_has_nothing_to_say() -> None:
    found = seen(Account(orders=5))
    assert {check.verdict for check in found.values()} == {Verdict.OK}
    assert found["position mode"].text == "hedge"
    assert found["headroom"].text == "195 of 200 conditional orders are left"


def test_without_the_exchange_everything_else_is_skipped() -> None:
    gone = UnavailableError("nobody answers", "look at the network")
    found = seen(Account(failing=lambda _: gone))
    assert exit_code(tuple(found.values())) is ExitCode.UNAVAILABLE
    assert found["reachability"].hint == "look at the network"
    assert {check.verdict for name, check in found.items() if name not in {"reachability", "keys"}} == {Verdict.SKIPPED}


def test_without_keys_only_the_public_checks_are_made() -> None:
    none = Check("keys", Verdict.ERROR, "there are none", "make some", ExitCode.CREDENTIALS)
    found = seen(Account(), none)
    assert exit_code(tuple(found.values())) is ExitCode.CREDENTIALS
    assert found["clock"].verdict is Verdict.OK
    assert found["permissions"].verdict is Verdict.SKIPPED


def test_a_refused_key_is_no_missing_answer() -> None:
    refused = CredentialsError("the key is refused", "check it")
    found = seen(Account(failing=lambda name: refused if name in {"mode", "orders"} else None))
    assert found["position mode"].code is ExitCode.CREDENTIALS
    assert found["algo endpoint"].code is ExitCode.CREDENTIALS
    assert found["headroom"].verdict is Verdict.SKIPPED


@pytest.mark.parametrize(
    ("rights", "verdict"),
    [
        (KeyRights(moves_funds=True, trades_futures=True, bound_to_ip=True), Verdict.ERROR),
        (KeyRights(moves_funds=False, trades_futures=False, bound_to_ip=True), Verdict.ERROR),
        (KeyRights(moves_funds=False, trades_futures=True, bound_to_ip=False), Verdict.WARNING),
        (Unavailable("demo does not tell"), Verdict.SKIPPED),
    ],
)
def test_rights_are_judged(rights: KeyRights | Unavailable, verdict: Verdict) -> None:
    assert seen(Account(rights=rights))["permissions"].verdict is verdict


@pytest.mark.parametrize(
    ("server", "verdict"),
    [
        (0, Verdict.ERROR),
        (9_750, Verdict.WARNING),
        (9_990, Verdict.OK),
        (10_050, Verdict.OK),
        (10_200, Verdict.OK),
        (10_350, Verdict.WARNING),
        (11_100, Verdict.ERROR),
    ],
)
def test_only_what_lies_outside_of_both_readings_is_a_skew(server: int, verdict: Verdict) -> None:
    assert clock(server, 10_000, 10_100).verdict is verdict


@pytest.mark.parametrize(("used", "verdict"), [(150, Verdict.OK), (185, Verdict.WARNING), (200, Verdict.ERROR)])
def test_room_for_conditional_orders_is_judged(used: int, verdict: Verdict) -> None:
    assert headroom(used).verdict is verdict


@pytest.mark.parametrize(
    ("age", "verdict"), [(None, Verdict.SKIPPED), (60_000, Verdict.OK), (90_000_000, Verdict.WARNING)]
)
def test_old_rules_are_a_warning(age: int | None, verdict: Verdict) -> None:
    assert rules_age(age, "some time").verdict is verdict
