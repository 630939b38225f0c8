"""How a run ends: exit codes of signals, pipes and bugs, and what is loaded before anything runs."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tpctl import __version__
from tpctl.cli.errors import redacted
from tpctl.cli.main import run
from tpctl.exits.errors import ExitCode, LockedError, RateLimitedError

if TYPE_CHECKING:
    from conftest import FakeSession

HEAVY = (
    "binance",
    "aiohttp",
    "websockets",
    "numpy",
    "duckdb",
    "msgspec",
    "rich",
    "textual",
    "asyncio",
    "pydantic",
    "requests",
)


def test_help_and_version_load_nothing_heavy() -> None:
    """One process asks for every help text in turn, then says which heavy modules it holds."""
    code = (
        "import sys; from tpctl.cli.main import run; "
        "codes = [run(['--help']), run(['--version']), run(['watch', '--help']), run(['venue', '--help'])]; "
        f"print([m for m in {HEAVY} if m in sys.modules], codes, file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[] [0, 0, 0, 0]\n"
    assert f"tpctl {__version__}\n" in done.stdout


def test_root_help_imports_no_command() -> None:
    code = (
        "import sys; from tpctl.cli.main import run; run(['--help']); "
        "print([m for m in sys.modules if m in ('tpctl.cli.watch', 'tpctl.cli.venue', 'tpctl.exits.model')])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_closed_pipe_ends_quietly_with_141() -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-m", "tpctl", "--help"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (ExitCode.PIPE_CLOSED, b"")


def test_an_interrupt_exits_130(session: "FakeSession", capsys: pytest.CaptureFixture[str]) -> None:
    session.does = lambda: os.kill(os.getpid(), signal.SIGINT)

    assert run(["watch"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == ""


def test_sigterm_unwinds_and_exits_143(session: "FakeSession") -> None:
    unwound = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            unwound.append(True)

    session.does = work
    before = signal.getsignal(signal.SIGTERM)

    assert run(["watch"]) == ExitCode.TERMINATED
    assert unwound == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_known_failure_exits_with_its_own_code(session: "FakeSession", capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> NoReturn:
        raise LockedError("account 'sim' is held by process 4711", "end that watch first")

    session.does = work

    assert run(["watch"]) == ExitCode.LOCKED
    assert capsys.readouterr().err == "error: account 'sim' is held by process 4711\nhint: end that watch first\n"


def test_a_rate_limit_tells_scripts_how_long_to_wait(
    session: "FakeSession", capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> NoReturn:
        raise RateLimitedError("the exchange asked us to wait", "try again in 12 s", retry_after_ms=12_000)

    session.does = work

    assert run(["watch", "--jsonl"]) == ExitCode.RATE_LIMITED
    assert capsys.readouterr().err.splitlines()[-1].endswith('"retry_after_ms":12000}')


CANARY = "Zx9" * 22
URL = f"https://fapi.example/fapi/v1/order?symbol=XRPUSDT&signature={'ab12' * 16}"


def _bug() -> NoReturn:
    private = CANARY
    raise ValueError(f"while asking {URL} with apiKey={private}")


def test_a_bug_exits_1_and_writes_its_traceback_where_only_the_owner_reads(
    session: "FakeSession", own_directories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session.does = _bug

    assert run(["watch"]) == ExitCode.BUG

    (crash,) = (own_directories / "state" / "tpctl" / "crashes").iterdir()
    error, hint = capsys.readouterr().err.splitlines()
    text = crash.read_text()
    assert error.startswith("error: unexpected ValueError: while asking https://fapi.example")
    assert str(crash) in hint
    assert stat.S_IMODE(crash.stat().st_mode) == 0o600
    assert "in _bug" in text
    for told in (error, hint, text):
        assert CANARY not in told
        assert "ab12ab12" not in told


def test_a_bug_shows_its_traceback_when_asked(
    session: "FakeSession", own_directories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session.does = _bug

    assert run(["watch", "-v"]) == ExitCode.BUG
    shown = capsys.readouterr().err
    assert "in _bug" in shown
    assert CANARY not in shown
    assert not (own_directories / "state").exists()


def test_a_bug_without_a_place_to_write_still_tells_everything(
    session: "FakeSession", own_directories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own_directories.mkdir(parents=True)
    (own_directories / "state").write_text("a file where the directory should be")
    session.does = _bug

    assert run(["watch"]) == ExitCode.BUG
    shown = capsys.readouterr().err
    assert "in _bug" in shown
    assert shown.splitlines()[-1].startswith("hint: this is a bug in tpctl")


@pytest.mark.parametrize(
    "text",
    [
        f"signature={'0f' * 32}",
        f"{{'X-MBX-APIKEY': '{CANARY}'}}",
        f'"listenKey": "{CANARY}"',
        f"api_secret = '{CANARY[:20]}'",
        f"a bare {CANARY} in a sentence",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str) -> None:
    assert "***" in redacted(text)
    assert "0f0f0f" not in redacted(text)
    assert CANARY[:20] not in redacted(text)


def test_prices_ids_and_paths_stay_readable() -> None:
    text = "order tp-3f9a-s1-2 at 0.52480 of XRPUSDT, /home/someone/project/tpctl/cli/session.py line 12"

    assert redacted(text) == text


def test_a_watch_never_loads_the_terminal_library_of_its_view(tmp_path: Path) -> None:
    """The dashboard is a process of its own: what the engine does not load cannot harm it."""
    words = ["watch", "--speed", "max", "--for", "1m", "--state-dir", str(tmp_path / "state"), "-q"]
    code = (
        f"import sys; from tpctl.cli.main import run; code = run({words}); "
        "print([m for m in ('textual', 'rich') if m in sys.modules], code, file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[] 0\n"
