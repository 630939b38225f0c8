"""A disk that fails under a running watch (D2): it stops deciding, says why, and leaves every stop where it rests."""

import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from exchanges import SYMBOLS, Exchange, exchange
from processes import Done, Process, environment, run, watch_args

from tpctl.exits.errors import ExitCode
from tpctl.venue.orders import Conditional
from tpctl.venue.venue import Venue

SHIM = Path(__file__).parent / "disk_faults.c"
SAYS = {"full": "no space|disk is full|disk i/o error", "fsync": "disk i/o error|input/output error"}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the library that makes the disk fail."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("this system has no C compiler to make a failing disk with")
    made = tmp_path_factory.mktemp("shim") / "disk_faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(SHIM)], check=True)
    return str(made)


def ours(venue: Venue, symbol: str | None = None) -> list[Conditional]:
    return [order for order in venue.resting_conditionals(symbol) if order.client_id.startswith("tp1-")]


def sent(venue: Venue) -> list[str]:
    """Return the ids of every order of ours the exchange ever had."""
    return sorted({row.client_id for row in venue.ledger.transitions if row.client_id.startswith("tp1-")})


def covered(venue: Venue) -> bool:
    """Whether every position has one backstop and stops for its whole quantity."""
    for position in venue.positions():
        orders = [order for order in ours(venue, position.symbol) if order.stop]
        backstops = [order for order in orders if order.close_position]
        working = sum(order.quantity for order in orders if not order.close_position)
        if len(backstops) != 1 or working != position.quantity:
            return False
    return bool(venue.positions())


def guarded(watch: Process, served: Exchange) -> None:
    """Wait until every order of both positions rests."""
    wanted = 5 * len(SYMBOLS)
    while wanted:
        event = watch.until(lambda event: event["type"] == "accepted")
        assert event is not None, watch.finish()
        wanted -= 1
    assert served.ask(covered)


def two_lines(done: Done) -> tuple[str, str]:
    [error] = [line for line in done.errors if line.startswith("error: ")]
    [hint] = [line for line in done.errors if line.startswith("hint: ")]
    return error, hint


@pytest.mark.parametrize("kind", ["full", "fsync"])
def test_a_disk_that_fails_under_a_watch(kind: str, shim: str, home: Path, state: Path, tmp_path: Path) -> None:
    flag = tmp_path / "fault"
    with exchange(speed=30) as served:
        args = watch_args("--venue", served.url, state=state)
        with Process(args, home, LD_PRELOAD=shim, DISK_FAULT=str(flag)) as watch:
            guarded(watch, served)
            before = served.ask(sent)
            flag.write_text(kind)
            # An addition asks for a larger stop, which must be written down before it is sent.
            served.ask(lambda venue: venue.add_position("XRPUSDT", "LONG", quantity=Decimal(1000)))
            done = watch.finish()
        assert done.code == ExitCode.STATE_FILE, done
        error, hint = two_lines(done)
        assert "journal.db" in error
        assert re.search(SAYS[kind], error)
        assert "disk" in hint
        # Nothing unwritten was sent, nothing that rested was taken away; the backstop follows the added quantity.
        assert served.ask(sent) == before
        assert len(served.ask(ours)) == len(before)

        flag.unlink()
        again = run(watch_args("--venue", served.url, "--once", state=state), home)
        assert again.code == ExitCode.OK, again
        assert served.ask(covered)


@pytest.mark.parametrize("known", [False, True], ids=["first run", "later run"])
def test_a_disk_that_is_full_before_the_watch_begins(
    known: bool, shim: str, home: Path, state: Path, tmp_path: Path
) -> None:
    flag = tmp_path / "fault"
    with exchange(speed=30) as served:
        if known:
            assert run(watch_args("--venue", served.url, "--once", state=state), home).code == ExitCode.OK
        before = served.ask(sent)
        flag.write_text(f"full {state}")
        done = run(watch_args("--venue", served.url, state=state), home, LD_PRELOAD=shim, DISK_FAULT=str(flag))
        assert done.code == ExitCode.STATE_FILE, done
        assert str(state) in two_lines(done)[0]
        assert served.ask(sent) == before


def test_a_log_and_figures_that_cannot_be_written_do_not_end_the_watch(
    shim: str, home: Path, state: Path, tmp_path: Path
) -> None:
    flag, beside = tmp_path / "fault", tmp_path / "beside"
    beside.mkdir()
    config = tmp_path / "config.toml"
    config.write_text(
        f'[telemetry]\nlog_file = "{beside}/events.log"\nprometheus_file = "{beside}/tpctl.prom"\n'
        'prometheus_interval = "1s"\n'
    )
    flag.write_text(f"full {beside}")
    with exchange(speed=30) as served:
        args = watch_args("--venue", served.url, "-c", str(config), state=state)
        with Process(args, home, LD_PRELOAD=shim, DISK_FAULT=str(flag)) as watch:
            guarded(watch, served)
            served.ask(lambda venue: venue.add_position("XRPUSDT", "LONG", quantity=Decimal(1000)))
            assert watch.until(lambda event: event["type"] == "cancelled" and event["order"] == "stop") is not None
            watch.interrupt()
            done = watch.finish()
        assert done.code == ExitCode.INTERRUPTED, done
        assert served.ask(covered)
    assert "events.log" in done.err or "events.log" in done.out


@pytest.fixture
def read_only(state: Path) -> list[str]:
    """Return the words that run a command where the state directory is on a read-only file system."""
    mount = f"mount --bind {state} {state} && mount -o remount,ro,bind {state}"
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    state.mkdir(mode=0o700)
    if shutil.which("unshare") is None or subprocess.run([*words, mount], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let a user mount read-only")
    return [*words, f'{mount} && exec "$0" -m tpctl "$@"', sys.executable]


def test_a_read_only_state_directory_is_read_and_never_guarded_from(
    read_only: list[str], home: Path, state: Path
) -> None:
    with exchange(speed=30) as served:
        assert run(watch_args("--venue", served.url, "--once", state=state), home).code == ExitCode.OK
        before, files = served.ask(sent), sorted(state.iterdir())

        def tried(*args: str) -> subprocess.CompletedProcess[str]:
            words = [*read_only, *args, "--state-dir", str(state)]
            return subprocess.run(words, env=environment(home), capture_output=True, text=True, check=False)

        watched = tried("watch", "--jsonl", "--venue", served.url)
        assert watched.returncode == ExitCode.STATE_FILE
        assert str(state) in watched.stderr.splitlines()[0]
        assert "read-only" in watched.stderr
        looked = tried("metrics")
        assert looked.returncode == ExitCode.STATE_FILE
        assert "read-only" in looked.stderr
        assert served.ask(sent) == before
        assert sorted(state.iterdir()) == files
