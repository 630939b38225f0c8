"""What a service manager hears: real datagrams on a real socket, and nothing where there is none."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpctl.adapters.supervisor import Supervisor


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def of(manager: socket.socket, **more: str) -> Supervisor:
    return Supervisor.of({"NOTIFY_SOCKET": manager.getsockname(), **more})


def test_the_first_turn_is_ready_and_every_turn_feeds(manager: socket.socket) -> None:
    supervisor = of(manager, WATCHDOG_USEC="0000001", WATCHDOG_PID=str(os.getpid()))

    assert supervisor.watches
    assert heard(manager) == []
    for _ in range(3):
        supervisor.turned()

    assert heard(manager) == ["READY=1", *["WATCHDOG=1"] * 3]


def test_a_patient_manager_is_not_fed_at_every_turn(manager: socket.socket) -> None:
    supervisor = of(manager, WATCHDOG_USEC="3600000000")
    for _ in range(1000):
        supervisor.turned()

    assert heard(manager) == ["READY=1", "WATCHDOG=1"]


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
def test_who_does_not_watch_is_not_fed(manager: socket.socket, more: dict[str, str]) -> None:
    supervisor = of(manager, **more)
    supervisor.turned()

    assert not supervisor.watches
    assert heard(manager) == ["READY=1"]


def test_reloading_and_leaving_are_told(manager: socket.socket) -> None:
    supervisor = of(manager)
    supervisor.reloading()
    supervisor.reloaded()
    supervisor.stopping("terminated\nby hand")

    first, second, third = heard(manager)
    assert first.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert int(first.partition("USEC=")[2]) > 0
    assert second == "READY=1"
    assert third == "STOPPING=1\nSTATUS=terminated by hand"


def test_a_status_is_sent_when_it_changed_and_not_too_often(manager: socket.socket) -> None:
    supervisor = of(manager)
    for text in ("3 of 3 protected", "3 of 3 protected", "2 of 3 protected"):
        supervisor.status(text)

    assert heard(manager) == ["STATUS=3 of 3 protected"]


def test_an_abstract_address_works(tmp_path: Path) -> None:
    name = f"tpctl-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        Supervisor.of({"NOTIFY_SOCKET": f"@{name}"}).turned()

        assert heard(listening) == ["READY=1"]


def test_the_names_are_not_left_for_children() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/root"}
    Supervisor.of(environment)

    assert environment == {"HOME": "/root"}


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "relative", "@", "vsock:2:1"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    supervisor = Supervisor.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"})
    supervisor.turned()
    supervisor.status("fine")
    supervisor.stopping("over")
    supervisor.close()
    supervisor.turned()


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket) -> None:
    supervisor = of(manager, WATCHDOG_USEC="1")
    for _ in range(10_000):
        supervisor.turned()

    assert heard(manager)[0] == "READY=1"


def test_a_start_that_waits_for_the_exchange_has_the_manager_wait_too(manager: socket.socket) -> None:
    of(manager).waiting("banned\nuntil noon", 120_000)

    assert heard(manager) == ["EXTEND_TIMEOUT_USEC=180000000\nSTATUS=banned until noon"]
