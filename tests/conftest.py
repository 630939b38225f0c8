"""What every test runs under: no network but loopback, directories of its own, bounded, repeatable properties."""

import itertools
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parents[1]

# CI tries the same examples every time; elsewhere new ones, printed so that a failure can be repeated.
settings.register_profile(
    "tpctl",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tpctl")

# A script that runs the tests in the background has them ignore interrupts, and so would every process they begin.
signal.signal(signal.SIGINT, signal.default_int_handler)

_homes = itertools.count(1)
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class NetworkRefusedError(RuntimeError):
    """A test tried to leave this machine. Not an `OSError`, so that no code under test takes it for an outage."""


def _check(address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else None
    if host is not None and host not in _LOOPBACK:
        raise NetworkRefusedError(f"tests may only use loopback, was {host!r}")


@pytest.fixture(autouse=True, scope="session")
def only_loopback() -> Iterator[None]:
    """Refuse to connect, bind, send or resolve anywhere but on loopback."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex", "bind"):
        original = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, _original: Any = original) -> Any:
            _check(address)
            return _original(self, address)

        patch.setattr(socket.socket, name, guarded)

    send_to = socket.socket.sendto

    def guarded_send(self: socket.socket, data: Any, *args: Any) -> Any:
        _check(args[-1])
        return send_to(self, data, *args)

    patch.setattr(socket.socket, "sendto", guarded_send)
    resolve = socket.getaddrinfo

    def guarded_resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None:
            _check((name,))
        return resolve(host, *args, **kwargs)

    patch.setattr(socket, "getaddrinfo", guarded_resolve)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def own_directories(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Point HOME and the XDG directories at a place of the test's own, made by whoever writes there first."""
    home = tmp_path_factory.getbasetemp() / "homes" / str(next(_homes))
    monkeypatch.setenv("HOME", str(home))
    for kind in ("CONFIG", "STATE", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
    for name in [*os.environ]:
        if name.startswith("TPCTL_") and name != "TPCTL_SHARED_DATA":
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of recorded market data, or skip: it lies beside the repository, not in it."""
    named = os.environ.get("TPCTL_SHARED_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"recorded market data is not at {folder}; name its folder in TPCTL_SHARED_DATA")
    return folder
