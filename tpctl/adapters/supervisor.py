"""Telling the service manager how the watch fares (sd_notify): that it guards, reloads, leaves, and its loop turns.

The watchdog is fed by whoever calls `turned`, which is the engine's loop and nothing beside it: an engine that hangs in
whatever way is restarted, and finds in the journal where it was. Nothing here waits or fails: without a manager, or
with one that does not listen, it does nothing.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Self

_NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
# The manager advises half of its patience; a quarter leaves room for a slow turn.
_PART = 4
# How often the sentence beside the unit's name may change.
_STATUS_S = 5.0
# What a start needs beside a pause the exchange asked for.
_SLACK_MS = 60_000


class Supervisor:
    """The service manager of this process, if there is one."""

    def __init__(self, address: str | None = None, patience_s: float | None = None) -> None:
        self._address = None if address is None else "\0" + address[1:] if address.startswith("@") else address
        self._feed_s = None if patience_s is None else patience_s / _PART
        self._socket: socket.socket | None = None
        self._fed = float("-inf")
        self._told = float("-inf")
        self._status = ""
        self._ready = False
        if self._address is not None:
            with suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> Self:
        """Return the manager an environment names, and take the names out of it: they are not for our children."""
        address, patience, pid = (environment.pop(name, "") for name in _NAMES)
        if not address.startswith(("/", "@")) or len(address) < 2:
            return cls()
        mine = not pid or pid == str(os.getpid())
        # Decimal and not zero, or the manager asked for nothing.
        watched = mine and patience.isascii() and patience.isdecimal() and int(patience) > 0
        return cls(address, int(patience) / 1_000_000 if watched else None)

    @property
    def watches(self) -> bool:
        """Whether the manager restarts a process whose loop does not turn."""
        return self._feed_s is not None

    def turned(self) -> None:
        """Say that the loop turned; the first time, that the watch guards."""
        if self._socket is None:
            return
        now = time.monotonic()
        if not self._ready:
            self._ready = True
            self._send("READY=1")
        if self._feed_s is not None and now - self._fed >= self._feed_s:
            self._fed = now
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in a sentence how things are; only what changed is sent, and not too often."""
        now = time.monotonic()
        if self._socket is None or text == self._status or now - self._told < _STATUS_S:
            return
        self._told, self._status = now, text
        self._send(f"STATUS={_one_line(text)}")

    def waiting(self, reason: str, pause_ms: int) -> None:
        """Say that the start waits for the exchange, and have the manager's patience last as long."""
        patience_us = (pause_ms + _SLACK_MS) * 1000
        self._send(f"EXTEND_TIMEOUT_USEC={patience_us}\nSTATUS={_one_line(reason)}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; `reloaded` ends it."""
        # The manager compares with its own clock, which is the same one.
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """Say that it was read."""
        self._send("READY=1")

    def stopping(self, reason: str) -> None:
        """Say that the watch leaves."""
        self._send(f"STOPPING=1\nSTATUS={_one_line(reason)}")

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None or self._address is None:
            return
        # A manager that is gone or full is no reason for anything: it will notice by itself what it misses.
        with suppress(OSError):
            self._socket.sendto(text.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, self._address)


def _one_line(text: str) -> str:
    return " ".join(text.split())
