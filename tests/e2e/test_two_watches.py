"""Several watches on one account: one acts, the others say who does and end; a killed one is followed at once (I19)."""

import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from exchanges import SYMBOLS, Exchange, exchange
from processes import Done, Process, run, watch_args

from tpctl.adapters.journal_reader import JournalReader
from tpctl.exits.errors import ExitCode
from tpctl.exits.ids import is_ours, parse_client_id
from tpctl.venue.venue import Venue

RIVALS = 5


def placed(venue: Venue) -> dict[str, int]:
    """Return how many orders of ours the exchange ever took, by what they are for."""
    names = {row.client_id: row.symbol for row in venue.ledger.transitions if is_ours(row.client_id)}
    parsed = {client_id: parse_client_id(client_id) for client_id in names}
    return Counter(f"{names[client_id]} {name.role.value}{name.leg}" for client_id, name in parsed.items() if name)


ONCE_EACH = {f"{symbol} {what}": 1 for symbol in SYMBOLS for what in ("b0", "s0", "t1", "t2", "t3")}


def race(served: Exchange, states: list[Path], home: Path, stack: ExitStack) -> tuple[Process, list[Done]]:
    """Start one watch per entry of `states`, all at once; return the one that acts and how the others ended."""
    started = [stack.enter_context(Process(watch_args("--venue", served.url, state=state), home)) for state in states]
    speaking = [process for process in started if process.line() is not None]
    assert len(speaking) == 1, [process.finish() for process in started if process not in speaking]
    return speaking[0], [process.finish() for process in started if process is not speaking[0]]


@pytest.mark.parametrize("shared", [True, False], ids=["one state directory", "a state directory each"])
def test_of_several_watches_one_acts_and_another_follows_it(home: Path, tmp_path: Path, shared: bool) -> None:
    states = [tmp_path / ("state" if shared else f"state{number}") for number in range(RIVALS)]
    with exchange(speed=30) as served, ExitStack() as stack:
        first, others = race(served, states, home, stack)
        for _ in ONCE_EACH:
            assert first.until(lambda event: event["type"] == "accepted") is not None
        check_losers(others, first)
        assert served.ask(placed) == ONCE_EACH
        (acted,) = {state for state in states if (state / "journal.db").exists()}

        first.kill()
        second, others = race(served, [acted] * RIVALS, home, stack)
        check_losers(others, second)
        second.terminate()
        assert second.finish().code == ExitCode.TERMINATED
        once = run(watch_args("--venue", served.url, "--once", state=acted), home)
        assert (once.code, once.events[-1]["protected"]) == (ExitCode.OK, len(SYMBOLS))
        assert served.ask(placed) == ONCE_EACH
    with JournalReader.read_only(acted / "journal.db") as journal:
        assert len(list(journal.intents())) == len(ONCE_EACH)


def test_a_lock_that_cannot_be_made_is_told_and_the_account_guarded(home: Path, state: Path, tmp_path: Path) -> None:
    """Where only the state directory can be written, as in a container."""
    (tmp_path / "tpctl").write_text("in the way")
    with exchange(speed=30) as served:
        done = run(watch_args("--venue", served.url, "--once", state=state), home, XDG_STATE_HOME=str(tmp_path))
        assert served.ask(placed) == ONCE_EACH
    assert done.code == ExitCode.OK
    (warning,) = done.errors
    assert warning.startswith("warning: ")
    assert str(tmp_path / "tpctl") in warning
    assert warning.endswith("a watch with another state directory would not be noticed")


def check_losers(losers: list[Done], winner: Process) -> None:
    assert len(losers) == RIVALS - 1
    for done in losers:
        assert (done.code, done.out) == (ExitCode.LOCKED, "")
        error, hint, *_ = done.errors
        found = re.fullmatch(r"error: the account of profile 'sim' is held by another process(, pid (\d+))? .*", error)
        assert found is not None, error
        assert found[2] in {None, str(winner.pid)}
        assert hint.startswith("hint: stop that process first")
