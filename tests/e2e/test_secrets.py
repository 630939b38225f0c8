"""I20: with keys planted, no byte of them in anything a run leaves: streams, files, screens, figures, notifications."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from exchanges import exchange
from processes import PATIENCE_S, Process, run
from terminals import Terminal

from tpctl.exits.errors import ExitCode

# As long and as varied as the exchange's.
KEY = "cAnArYkEy0Q7vT2mB9xLrW4sZ8dHjP3nG6fYuEi1oKaScXbVtMqRwDlNhJgFpUz"
SECRET = "cAnArYsEcReT5kD8wQz2XvB7nM4jH9gFtR3yUiP6oLaEsWxCdVqZrTbNmKhJfGlS"
KEYED = str(Path(__file__).parent / "keyed")


@contextmanager
def keyed(**rates: float) -> Iterator[str]:
    """Serve a twin whose only key is the canary, with the clock of the wall; yields its address."""
    with exchange(key=KEY, secret=SECRET, **rates) as served:
        yield served.url


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a home with keys in a private file and a configuration that tells events everywhere it can."""
    keys = tmp_path / "keys"
    keys.write_text(f"api_key = {KEY}\napi_secret = {SECRET}\n")
    keys.chmod(0o600)
    told = tmp_path / "told.txt"
    (tmp_path / "config.toml").write_text(
        f"""
        [profiles.demo]
        env = "demo"
        key_file = "{keys}"
        [notify]
        command = ["{sys.executable}", "-c", "import sys; open('{told}', 'a').write(sys.stdin.read())"]
        events = ["adopted", "planned", "degraded", "stopped", "placed", "rejected"]
        debounce = "0s"
        [telemetry]
        log_file = "{tmp_path / "events.log"}"
        prometheus_file = "{tmp_path / "tpctl.prom"}"
        prometheus_interval = "1s"
        """
    )
    return tmp_path


def options(place: Path) -> list[str]:
    return ["-p", "demo", "-c", str(place / "config.toml"), "--state-dir", str(place / "state")]


def planted(url: str) -> dict[str, str]:
    return {"DEMO_AT": url, "PYTHONPATH": KEYED, "CANARY_KEY": KEY, "CANARY_SECRET": SECRET, "PYTHONFAULTHANDLER": "1"}


def leaks(place: Path, *texts: str) -> list[str]:
    """Return where a canary shows, or any part of one that is long enough to be no accident."""
    parts = [text[at : at + 12].encode() for text in (KEY, SECRET, KEY.lower()[::-1]) for at in range(0, 48, 6)]
    left = {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file() and path.name != "keys"}
    shown = {f"text {number}": text.encode() for number, text in enumerate(texts)}
    assert len(left) + len(shown) > 1
    return [name for name, content in (left | shown).items() if any(part in content for part in parts)]


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\0" + KEY[3:40].encode())
    assert leaks(tmp_path, "nothing", f"GET /x?key={SECRET[:30]}") == [str(tmp_path / "log"), "text 1"]


def test_a_watch_its_log_its_journal_and_its_notifications(place: Path) -> None:
    with keyed(**{"unknown": 0.05, "garbled": 0.02, "lost-after": 0.05}) as url:
        args = ["watch", "--jsonl", "--arm", "-v", "--metrics-port", "0", *options(place)]
        with Process(args, place, **planted(url)) as watch:
            adopted = watch.until(lambda event: event["type"] == "accepted")
            watch.terminate()
            done = watch.finish()
    assert adopted is not None, done
    assert done.code == ExitCode.TERMINATED
    assert {path.name for path in place.iterdir()} >= {"events.log", "told.txt", "tpctl.prom"}
    assert (place / "state" / "journal.db").stat().st_size > 0
    assert leaks(place, done.out, done.err) == []


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "--from-exchange", "--json", "-v"),
        ("risk", "--json", "-v"),
        ("config", "doctor", "-v"),
        ("config", "show", "--origin"),
    ],
    ids=lambda command: command[0] + command[1],
)
def test_the_other_commands(place: Path, command: tuple[str, ...]) -> None:
    with keyed() as url:
        done = run([*command, *options(place)], place, **planted(url))
    assert done.out or done.err
    assert leaks(place, done.out, done.err) == []


def test_a_key_the_exchange_refuses(place: Path) -> None:
    (place / "keys").write_text(f"api_key = {KEY[::-1]}\napi_secret = {SECRET}\n")
    with keyed() as url:
        done = run(["watch", "--once", "-v", *options(place)], place, **planted(url))
    assert done.code == ExitCode.CREDENTIALS
    assert KEY[::-1][:12] not in done.out + done.err
    assert leaks(place, done.out, done.err) == []


def test_keys_from_a_command_that_fails_with_them_in_its_mouth(place: Path) -> None:
    (place / "config.toml").write_text(
        f"""
        [profiles.demo]
        env = "demo"
        key_command = ["{sys.executable}", "-c", "import sys; print('{KEY}'); sys.exit('{SECRET}')"]
        """
    )
    with keyed() as url:
        done = run(["watch", "--once", "-v", "-p", "demo", "-c", str(place / "config.toml")], place, **planted(url))
    (place / "config.toml").unlink()
    assert done.code == ExitCode.CREDENTIALS
    assert leaks(place, done.out, done.err) == []


@pytest.mark.parametrize("broken", ["reading", "deciding"])
@pytest.mark.parametrize("verbose", [(), ("-v",)], ids=["file", "screen"])
def test_a_bug_whose_words_are_the_keys(place: Path, broken: str, verbose: tuple[str, ...]) -> None:
    with keyed() as url:
        args = ["watch", "--jsonl", "--arm", "--once", *verbose, *options(place)]
        done = run(args, place, **planted(url), BREAK=broken)
    crashes = list(place.rglob("crash-*.txt"))
    assert done.code == ExitCode.BUG
    assert bool(crashes) is not bool(verbose)
    assert "RuntimeError" in done.err + "".join(path.read_text() for path in crashes)
    assert leaks(place, done.out, done.err) == []


def test_the_crash_screen_of_a_broken_dashboard(place: Path) -> None:
    with keyed() as url, Terminal(["watch", *options(place)], place, **planted(url), BREAK="dashboard") as terminal:
        end = time.monotonic() + PATIENCE_S
        while "the dashboard ended" not in terminal.shown and time.monotonic() < end:
            terminal.read()
        terminal.process.terminate()
        terminal.wait()
        shown = terminal.shown
    assert "the dashboard ended" in shown
    assert "RuntimeError" in shown
    assert leaks(place, shown) == []
