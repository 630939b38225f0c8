"""A watch under a service manager: what it tells it, how a hung engine shows, and the unit itself."""

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import PATIENCE_S, Process, run, served_twin, watch_args

from tpctl.cli.manual_operations import CRON, SYSTEMD_LOOK, TMUX
from tpctl.exits.errors import ExitCode

STATUS = re.compile(r"STATUS=sim armed: [1-9] of [1-9] positions protected, \d+ orders resting, feed \d+ s old")


class Manager:
    """The receiving end of sd_notify."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)

    def next(self, wait_s: float = PATIENCE_S) -> str | None:
        """Return the next message, None where none comes in time."""
        if not select.select([self._socket], [], [], wait_s)[0]:
            return None
        return self._socket.recv(4096).decode()

    def until(self, found: Callable[[str], bool]) -> list[str]:
        """Return everything up to the first message that fits."""
        messages: list[str] = []
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            message = self.next()
            if message is None:
                break
            messages.append(message)
            if found(message):
                return messages
        raise AssertionError(f"not heard: {messages[-5:]}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_a_service_is_ready_once_its_loop_turns_is_fed_by_it_reloads_and_stops(
    home: Path, state: Path, manager: Manager
) -> None:
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    with (
        served_twin(home, "--speed", "60", "--seed", "4") as url,
        Process(watch_args("--venue", url, state=state), home, **told) as process,
    ):
        manager.until(lambda message: message == "READY=1")
        manager.until(lambda message: message == "WATCHDOG=1")
        manager.until(
            lambda message: re.fullmatch(r"STATUS=sim armed: [1-4] of [1-4] positions.*", message) is not None
        )
        process.send(signal.SIGHUP)
        reload = manager.until(lambda message: message.startswith("RELOADING=1"))
        manager.until(lambda message: message == "READY=1")
        process.terminate()
        manager.until(lambda message: message.startswith("STOPPING=1"))
        done = process.finish()

    assert done.code == ExitCode.TERMINATED
    assert "MONOTONIC_USEC=" in reload[-1]


def test_a_hung_engine_is_not_fed_though_all_beside_it_lives(home: Path, state: Path, manager: Manager) -> None:
    """The exchange's process is stopped, so the twin's time stands still and with it the engine's loop."""
    told = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    with Process(["venue", "--json", "--speed", "60", "--seed", "4"], home) as twin:
        line = twin.line()
        assert line is not None
        url = line.partition('"rest":"')[2].partition("/fapi")[0]
        with Process(watch_args("--venue", url, state=state), home, **told) as process:
            manager.until(lambda message: message == "WATCHDOG=1")
            assert process.until(lambda event: event["type"] == "accepted") is not None
            pulse = state / "watch.pulse"
            twin.send(signal.SIGSTOP)
            while manager.next(1.0) is not None:
                pass  # what was still under way
            before = pulse.stat().st_mtime_ns
            quiet = manager.next(1.5)
            while quiet is not None and quiet.startswith("STATUS="):
                quiet = manager.next(1.5)
            alive = pulse.stat().st_mtime_ns > before
            process.send(signal.SIGABRT)
            done = process.finish()
            twin.send(signal.SIGCONT)

    assert quiet is None, "the watchdog was fed while the engine stood still"
    assert alive, "the beat beside the engine goes on"
    assert done.code == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in done.err
    assert 'File "' in done.err


UNIT = Path("contrib/tpctl-watch@.service")


def test_the_unit_starts_what_the_command_takes(repository: Path, home: Path) -> None:
    """An unknown profile is the only thing wrong with it here: exit 10, not 2."""
    (line,) = re.findall(r"^ExecStart=\S+ (.*)$", (repository / UNIT).read_text(), re.MULTILINE)

    assert run(line.replace("%i", "main").split(), home).code == ExitCode.CONFIG


@pytest.mark.parametrize("recipe", [TMUX[1], CRON[1], SYSTEMD_LOOK[1]], ids=["tmux", "cron", "systemd"])
def test_the_recipes_are_lines_the_commands_take(recipe: str, home: Path) -> None:
    lines = re.findall(r"tpctl ([a-z ]+-p [^\n']*)", recipe)

    assert lines
    for line in lines:
        done = run(line.split(), home)
        assert done.code == ExitCode.CONFIG, done.err


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_unit_and_finds_it_closed(repository: Path, tmp_path: Path) -> None:
    text = (repository / UNIT).read_text().replace("/opt/tpctl/bin/tpctl", "/bin/true")
    unit = tmp_path / "tpctl-watch@main.service"
    unit.write_text(text)

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_COLORS": "0"},
    )
    assert rated.returncode == 0, rated.stdout[-400:]
