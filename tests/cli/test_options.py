"""What a command line becomes: the options the session receives."""

import shlex
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.cli.main import ENTRIES, run
from tpctl.cli.options import ColorMode, Entries, SharedOptions, Speed, parse_instant
from tpctl.cli.runs import VenueOptions, WatchOptions
from tpctl.cli.tree import CommandDoc, describe
from tpctl.exits.errors import ExitCode
from tpctl.exits.model import Policy
from tpctl.exits.units import Ratio
from tpctl.rehearsal.deaths import DEATHS
from tpctl.venue.faults import CATALOG
from tpctl.views.machine import rfc3339

if TYPE_CHECKING:
    from conftest import FakeSession


def test_watch_alone_asks_for_nothing_but_defaults(session: "FakeSession") -> None:
    assert run(["watch"]) == 0
    assert session.asked == [WatchOptions()]


def test_watch_reads_every_option(session: "FakeSession", tmp_path: Path) -> None:
    market, entries = tmp_path / "bars.parquet", tmp_path / "entries.json"
    market.touch()
    entries.touch()

    line = (
        f"watch xrpusdt BTCUSDT XRPUSDT --exclude ethusdt --market {market} "
        f"--from 2025-02-03 --until 2025-02-03T12:30:00+01:00 "
        f"--speed 60x --seed 7 --entries {entries} --for 1h30m --arm --confirm main --policy hybrid --confidence 0.85 "
        f"--volatility 250bps --jsonl -p main -c {tmp_path}/c.toml --state-dir {tmp_path}/s -v --color never --no-input"
    )

    assert run(shlex.split(line)) == 0
    assert session.asked == [
        WatchOptions(
            symbols=("XRPUSDT", "BTCUSDT"),
            exclude=("ETHUSDT",),
            shared=SharedOptions(
                profile="main",
                config=tmp_path / "c.toml",
                state_dir=tmp_path / "s",
                quiet=False,
                verbose=True,
                color=ColorMode.NEVER,
                no_input=True,
            ),
            market=(market,),
            since=1_738_540_800_000,
            until=1_738_582_200_000,
            speed=Speed(Decimal(60)),
            seed=7,
            entries=Entries(file=entries),
            stop_after=5_400_000,
            jsonl=True,
            arm=True,
            confirm="main",
            confidence=Decimal("0.85"),
            volatility=Ratio.percent("2.5"),
            policy=Policy.HYBRID,
        )
    ]


def test_watch_attaches_to_a_served_twin(session: "FakeSession") -> None:
    assert run(["watch", "--venue", "http://127.0.0.1:8790/", "--once"]) == 0
    assert session.asked == [WatchOptions(venue="http://127.0.0.1:8790", once=True)]


def test_venue_reads_its_options(session: "FakeSession", tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    rules.touch()

    assert run(["venue", "--rules", str(rules), "--port", "8790", "--speed", "max", "--entries", "48/d", "--json"]) == 0
    assert session.asked == [
        VenueOptions(rules=rules, port=8790, speed=Speed(None), entries=Entries(per_hour=Decimal(2)), json=True)
    ]


def test_venue_takes_faults_with_their_rates_and_lists_them(
    session: "FakeSession", capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["venue", "--faults", "lost-after=20%,wick=2/h"]) == 0
    assert session.asked == [VenueOptions(faults={"lost-after": 0.2, "wick": 2.0})]
    assert run(["venue", "--faults", "wik"]) == ExitCode.USAGE
    assert run(["venue", "--faults", "help"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == list(CATALOG)
    assert "did you mean 'wick'?" in err
    assert run(["venue", "rehearse", "--faults", "help"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*CATALOG, *DEATHS]
    assert len(session.asked) == 1


def test_faults_are_read_from_a_file(
    session: "FakeSession", tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "worst-day.txt"
    listed.write_text("lost-after=20%  # answers\n\n# prices\nwick=2/h, price-gap\n")
    assert run(["venue", "--faults", f"@{listed}"]) == 0
    assert session.asked == [VenueOptions(faults={"lost-after": 0.2, "wick": 2.0, "price-gap": 0.1})]
    listed.write_text("# nothing\n")
    assert run(["venue", "--faults", f"@{listed}"]) == ExitCode.INPUTS
    listed.write_bytes(b"\xff\xfe")
    assert run(["venue", "--faults", f"@{listed}"]) == ExitCode.INPUTS
    assert run(["venue", "--faults", f"@{tmp_path}/missing"]) == ExitCode.INPUTS
    assert "holds no entry" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "rate"), [("4/h", 4), ("2/m", 120), ("0.5/h", Decimal("0.5"))])
def test_entry_rates_are_per_hour_of_market_time(session: "FakeSession", text: str, rate: Decimal) -> None:
    assert run(["watch", "--entries", text]) == 0
    assert session.asked[0].entries.per_hour == pytest.approx(rate)


def test_no_entries_is_not_the_same_as_unasked(session: "FakeSession") -> None:
    assert run(["watch", "--entries", "none"]) == 0
    assert session.asked[0].entries == Entries()


def test_a_symbol_beyond_ascii_is_taken(session: "FakeSession") -> None:
    assert run(["watch", "币安人生USDT"]) == 0
    assert session.asked[0].symbols == ("币安人生USDT",)


@given(at=st.integers(min_value=0, max_value=4_102_444_800_000))
@settings(max_examples=100)
def test_an_instant_survives_its_spelling(at: int) -> None:
    assert parse_instant(rfc3339(at)) == at


COMMANDS = describe()[1]
EXAMPLES = [pytest.param(example.command, id=example.command) for command in COMMANDS for example in command.examples]


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_in_the_help_is_a_line_the_command_takes(
    line: str, session: "FakeSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tpctl.rehearsal.stories.rehearse", lambda stories, jobs: iter(()))
    (tmp_path / "bars_1m_2025-01_02.parquet").touch()

    # What an example finds where nothing was ever watched (nothing to show, orders due) is an answer; usage is not.
    assert run(shlex.split(line)[1:]) not in {ExitCode.BUG, ExitCode.USAGE}
    looks = "--attach" in line or "--replay" in line or "rehearse" in line
    runs = line.startswith(("tpctl watch", "tpctl venue")) and not looks
    assert len(session.asked) == runs


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_root_help_says_of_a_command_what_its_own_help_says(command: CommandDoc) -> None:
    assert command.summary == ENTRIES[command.name].summary


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_help_ends_with_examples_and_exit_status(command: CommandDoc) -> None:
    tail = command.help_text.partition("Examples:")[2]

    assert all(example.command in tail for example in command.examples)
    assert "Exit status:" in tail
    assert all(f"  {code.value}  " in tail for code in command.exit_codes)
