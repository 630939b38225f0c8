"""Which positions a watch manages, on the served twin: named, excluded, and the share of a rollout."""

from pathlib import Path

import pytest
from ledger import Ledger, check_books, read_ledger
from processes import Done, of, served_twin, watch

from tpctl.exits.errors import ExitCode

FOUR = ("--speed", "max", "--seed", "4")


def resting(ledger: Ledger) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for order in ledger.open_algo:
        found.setdefault(order["symbol"], set()).add(order["clientAlgoId"])
    return found


def left_alone(done: Done) -> list[str]:
    return [event["reason"] for event in of("left_alone", done.events)]


def test_an_excluded_symbol_is_never_touched_and_taken_up_again_as_it_was(
    home: Path, state: Path, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[watch]\nrisk = false\n")  # four runs in one minute of the twin would use up its request weight
    with served_twin(home, *FOUR) as url:
        ledgers, told = [], []
        for options in (("--exclude", "btcusdt"), (), ("--exclude", "BTCUSDT"), ()):
            done = watch("--venue", url, "--once", "-c", str(file), *options, state=state, home=home)
            assert (done.code, done.err) == (ExitCode.OK, "")
            ledgers.append(read_ledger(url))
            told.append(left_alone(done))

    first, second, third, fourth = map(resting, ledgers)
    assert sorted(first) == ["ETHUSDT", "SOLUSDT", "XRPUSDT"]
    assert sorted(second) == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
    assert second == third == fourth
    assert told == [["BTCUSDT LONG (excluded)"], [], ["BTCUSDT LONG (excluded)"], []]
    check_books(ledgers[-1])


def test_the_configuration_excludes_and_rolls_out(home: Path, state: Path, tmp_path: Path) -> None:
    """By their hashes BTC lies at 0.45, SOL at 0.59, XRP at 0.78 and ETH at 0.88."""
    file = tmp_path / "config.toml"
    file.write_text('[watch]\nexclude = ["SOLUSDT", "SOLUSTD"]\nrollout = "60%"\n')
    config = ("-c", str(file))
    with served_twin(home, *FOUR) as url:
        done = watch("--venue", url, "--once", *config, state=state, home=home)
        after = resting(read_ledger(url))
        named = watch("--venue", url, "--once", "ETHUSDT", *config, state=state, home=home)
        refused = watch("--venue", url, "--once", "SOLUSDT", *config, state=state, home=home)
        last = resting(read_ledger(url))

    assert done.code == named.code == ExitCode.OK
    assert done.err == "warning: watch.exclude names SOLUSTD, which the exchange does not list; did you mean SOLUSDT?\n"
    assert sorted(after) == ["BTCUSDT"]
    outside = "ETHUSDT SHORT, XRPUSDT LONG (outside the rollout of 60%); SOLUSDT LONG (excluded)"
    assert left_alone(done) == [outside]
    assert sorted(last) == ["BTCUSDT", "ETHUSDT"]
    assert last["BTCUSDT"] == after["BTCUSDT"]
    assert (refused.code, refused.errors[0]) == (ExitCode.USAGE, "error: SOLUSDT is excluded by watch.exclude")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("XRPUSDT", "--exclude", "XRPUSDT"), ExitCode.USAGE, "XRPUSDT is both named and excluded"),
        (("--exclude", "XRPUSTD"), ExitCode.INPUTS, "unknown symbol 'XRPUSTD'"),
        (("--exclude", "XRP/USDT"), ExitCode.USAGE, "symbol 'XRP/USDT' is not one"),
        (("--attach", "--exclude", "XRPUSDT"), ExitCode.USAGE, "--exclude does not go with --attach"),
    ],
)
def test_what_cannot_be_excluded(home: Path, state: Path, options: tuple[str, ...], code: ExitCode, words: str) -> None:
    done = watch(*options, state=state, home=home)

    assert done.code == code
    assert words in done.errors[0]
    assert done.errors[1].startswith("hint: ")
