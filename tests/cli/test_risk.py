"""`tpctl risk`: what-ifs, the JSON contract, checks for monitors, recorded markets, crashes, pictures, the twin."""

import io
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tpctl.cli.main import run
from tpctl.cli.risk_inputs import parse_marks, parse_settings, read_inputs
from tpctl.exits.errors import ExitCode, InputsError, UsageError
from tpctl.exits.instrument import Unavailable


class Seen:
    """What one command line printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        self.code = ExitCode(run(["risk", *arguments]))
        self.out, self.err = capsys.readouterr()

    @property
    def data(self) -> Any:
        return json.loads(self.out)["data"]


def _what_if(ess: str, systemic: str, correlation: str, heat: str = "0.4") -> list[str]:
    values = {"ess": ess, "systemic": systemic, "correlation": correlation, "heat": heat}
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.parametrize(
    ("readings", "factor", "stop", "tighten"),
    [
        (("1.0", "0.2", "0.3"), "1", "1", False),
        (("2.8", "0.2", "0.3"), "0.70", "1", True),
        (("1.51", "n/a", "n/a"), "0.85", "1", True),
        (("2.5", "n/a", "n/a"), "0.85", "1", True),
        (("1.0", "0.85", "0.3"), "0.75", "1.20", True),
        (("1.0", "0.61", "0.3"), "0.90", "1", True),
        (("2.8", "0.85", "0.3"), "0.525", "1.20", True),
        (("2.8", "0.85", "0.9"), "0.50", "1.20", True),
        (("0.7", "0.1", "0.3"), "1.10", "1", False),
        (("1.0", "0.2", "0.3", "0.71"), "0.95", "1", True),
        (("n/a", "n/a", "n/a", "n/a"), "1", "1", False),
    ],
)
def test_vectors_of_exit_rules_11(
    capsys: pytest.CaptureFixture[str], readings: tuple[str, ...], factor: str, stop: str, tighten: bool
) -> None:
    effect = Seen(capsys, *_what_if(*readings), "--json").data["effect"]

    assert Decimal(effect["tp_factor"]) == Decimal(factor)
    assert Decimal(effect["stop_factor"]) == Decimal(stop)
    assert effect["tighten"] is tighten


def test_a_full_what_if_asks_nobody_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from tpctl.cli.main import run;"
        f"code = run(['risk', *{_what_if('2.8', '0.85', '0.3')!r}, '--format', 'plain', '--fields', 'reading,level']);"
        "heavy = ['binance', 'aiohttp', 'websockets', 'numpy', 'duckdb', 'rich', 'matplotlib'];"
        "print(code, [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[:2] == ["ess\tcritical", "systemic\tcritical"]
    assert done.stdout.splitlines()[-1] == "0 []"
    assert done.stderr == ""


def test_json_follows_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(capsys, *_what_if("2.8", "n/a", "0.3"), "--json")
    document = json.loads(seen.out)

    assert {name: document[name] for name in ("schema", "profile", "env", "mode", "warnings")} == {
        "schema": "tpctl.risk/1",
        "profile": "sim",
        "env": "sim",
        "mode": "shadow",
        "warnings": [],
    }
    readings = document["data"]["readings"]
    assert list(readings) == ["ess", "systemic", "correlation", "heat", "var_95", "es_95"]
    assert readings["ess"] == {
        "value": "2.8",
        "level": "critical",
        "source": "given",
        "window": "",
        "age_ms": None,
        "unavailable_reason": None,
        "parts": {},
    }
    assert (readings["systemic"]["value"], readings["systemic"]["level"]) == (None, None)
    assert readings["systemic"]["unavailable_reason"] == "set to n/a"
    assert {reason["code"] for reason in document["data"]["effect"]["reasons"]} == {
        "high_ess",
        "systemic_risk_unavailable",
        "systemic_unavailable",
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--check",), ExitCode.OK),
        (("--check", "--warn", "ess=0.9"), ExitCode.CHECK_WARNING),
        (("--check", "--warn", "ess=0.5", "--crit", "ess=0.9"), ExitCode.CHECK_CRITICAL),
        (("--warn", "ess=0.5", "--crit", "ess=0.9"), ExitCode.OK),
        (("--check", "--warn", "heat=n/a"), ExitCode.OK),
    ],
)
def test_check_says_by_its_exit_code(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: ExitCode
) -> None:
    assert Seen(capsys, *_what_if("1.0", "0.2", "0.3"), *arguments).code is code


def test_a_check_that_knows_nothing_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(capsys, *_what_if("n/a", "n/a", "n/a", "n/a"), "--check")

    assert seen.code == ExitCode.INPUTS
    assert seen.err.startswith("error: no reading is available: ")


@pytest.mark.parametrize(
    ("readings", "code", "word"),
    [
        (("1.0", "0.2", "0.3"), 0, "OK - 4 of 6 readings measured"),
        (("1.6", "0.2", "0.3"), 1, "WARNING - ess 1.6 warning"),
        (("1.6", "0.9", "0.3"), 2, "CRITICAL - ess 1.6 warning; systemic 0.9 critical"),
        (("n/a", "n/a", "n/a", "n/a"), 3, "UNKNOWN - 0 of 6 readings measured"),
    ],
)
def test_nagios_ends_as_its_plugins_do(
    capsys: pytest.CaptureFixture[str], readings: tuple[str, ...], code: int, word: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["risk", *_what_if(*readings), "--nagios"])
    out, err = capsys.readouterr()

    assert ended.value.code == code
    assert out.startswith(f"TPCTL RISK {word}; TP x ")
    assert (err, out.count("\n"), out.count(" | ")) == ("", 1, 1)
    if readings[0] != "n/a":
        assert f"ess={readings[0].rstrip('0').rstrip('.')};1.5;2.5;0" in out


def test_nagios_is_unknown_where_something_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["risk", "--nagios", "--inputs", "/nowhere.json"])

    assert ended.value.code == 3
    assert capsys.readouterr().out.startswith("TPCTL RISK UNKNOWN - inputs file '/nowhere.json' cannot be read")


def test_readings_come_from_a_file_stdin_or_an_earlier_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = '{"readings": {"ess": 2.8, "systemic": "0.85", "correlation": null, "heat": 0.4}}'
    (tmp_path / "told.json").write_text(text)
    by_file = Seen(capsys, "--inputs", str(tmp_path / "told.json"), "--json")
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    by_stdin = Seen(capsys, "--inputs", "-", "--json")
    (tmp_path / "earlier.json").write_text(by_file.out)
    again = Seen(capsys, "--inputs", str(tmp_path / "earlier.json"), "--set", "heat=0.9", "--json")

    assert by_file.data["effect"]["tp_factor"] == by_stdin.data["effect"]["tp_factor"] == "0.5250"
    assert by_file.data["readings"] == by_stdin.data["readings"]
    assert again.data["readings"]["ess"]["value"] == "2.8"
    assert again.data["readings"]["correlation"]["unavailable_reason"] == "not known"
    assert Decimal(again.data["effect"]["tp_factor"]) == Decimal("0.5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "es=2"), "--set names no reading 'es'"),
        (("--set", "ess"), "--set 'ess' is not NAME=VALUE"),
        (("--set", "ess=much"), "ess 'much' is not a number"),
        (("--set", "ess=NaN"), "ess 'NaN' is out of range"),
        (("--set", "systemic=1.2"), "systemic '1.2' is not between 0 and 1"),
        (("--set", "ess=-1"), "ess '-1' is not between 0 and 1000"),
        (("--warn", "ess=3"), "ess is critical from 2.5 and a warning from 3"),
        (("--var", "95", "--window", "3d"), "a window of 3 days is out of range"),
        (("--var", "20"), "level '20' is not from 80 to below 100"),
        (("--plot", "chart.gif"), "plot 'chart.gif' is of no known kind"),
        (("--backtest", "--check"), "--backtest has no level to check"),
        (("--backtest", "--stress", "luna"), "--backtest and --stress contradict each other"),
        (("--at", "2023-01-01"), "--at needs recorded candles"),
        (("--stress", "lehman", "--data", __file__), "stress 'lehman' is neither a date nor a known crash"),
        (("--fields", "colour"), "no such field 'colour'"),
        (("--json", "--format", "csv"), "--json and --format contradict each other"),
    ],
)
def test_command_lines_that_ask_for_the_impossible(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    seen = Seen(capsys, *arguments)

    assert seen.code == ExitCode.USAGE
    assert seen.err.splitlines()[0] == f"error: {message}"
    assert seen.err.splitlines()[1].startswith("hint: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is not an object"),
        ("{", "is not JSON"),
        ('{"readings": {"es": 1}}', "has an unknown key 'es'"),
        ('{"postions": []}', "has an unknown key 'postions'"),
        ('{"equity": 0, "positions": []}', "is not above zero"),
        ('{"positions": []}', "needs both equity and a list of positions"),
        ('{"equity": 1, "positions": [{"symbol": "X", "position_side": "up", "quantity": 1}]}', "neither long nor"),
        ('{"equity": 1, "positions": [{"symbol": "X", "position_side": "long"}]}', "has no 'quantity'"),
        ('{"equity": 1, "positions": [{"symbol": "X", "position_side": "long", "quantity": true}]}', "not a number"),
        ('{"readings": {"ess": 1e400}}', "out of range"),
    ],
)
def test_inputs_that_cannot_be_read_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "in.json").write_text(content)
    with pytest.raises(InputsError) as caught:
        read_inputs(str(tmp_path / "in.json"))

    assert message in caught.value.message


def test_values_and_marks_are_spelled_one_way() -> None:
    assert parse_settings(["ESS = 2.1", "heat=n/a"]) == {"ess": Decimal("2.1"), "heat": Unavailable("set to n/a")}
    assert parse_marks(["ess=1"], ["ess=2"])["ess"].critical == 2
    with pytest.raises(UsageError):
        parse_marks(["ess=x"], [])


def test_without_numpy_the_extra_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpctl.engine.risk_context.find_spec", lambda _: None)
    seen = Seen(capsys)

    assert seen.code == ExitCode.INPUTS
    assert seen.err == "error: measuring risk needs the risk extra\nhint: install it: pip install 'tpctl[risk]'\n"


# Recorded markets


@pytest.fixture(scope="module")
def quarters(shared_data: Path) -> str:
    return str(shared_data / "bars_15m_2022-01_2025-01.parquet")


@pytest.mark.parametrize(
    ("at", "ess", "systemic"),
    [
        ("2022-05-12T00:00Z", "critical", "critical"),
        ("2022-11-09T20:00Z", "critical", "critical"),
        ("2023-08-17T21:45Z", "critical", "critical"),
        ("2023-08-17T21:30Z", "warning", None),
        ("2023-05-20", "ok", "ok"),
    ],
)
def test_a_recorded_moment(
    capsys: pytest.CaptureFixture[str], quarters: str, at: str, ess: str, systemic: str | None
) -> None:
    readings = Seen(capsys, "--data", quarters, "--at", at, "--json").data["readings"]

    assert readings["ess"]["level"] == ess
    assert systemic is None or readings["systemic"]["level"] == systemic
    assert readings["heat"]["unavailable_reason"] == "no position is open"


def test_a_book_is_measured_on_recorded_candles(
    capsys: pytest.CaptureFixture[str], quarters: str, tmp_path: Path
) -> None:
    book = {
        "equity": "10000",
        "positions": [
            {"symbol": "ETHUSDT", "position_side": "long", "quantity": "2", "stop": "1750", "margin": 360},
            {"symbol": "BTCUSDT", "position_side": "short", "quantity": "0.1", "mark": "27000", "liquidation": 31000},
        ],
    }
    (tmp_path / "book.json").write_text(json.dumps(book))
    seen = Seen(
        capsys,
        "--data",
        quarters,
        "--at",
        "2023-06-01",
        "--inputs",
        str(tmp_path / "book.json"),
        "--var",
        "99",
        "--json",
    )
    readings, positions = seen.data["readings"], seen.data["positions"]

    assert seen.code is ExitCode.OK
    assert all(reading["value"] is not None for reading in readings.values())
    assert Decimal(readings["correlation"]["value"]) == 0
    assert Decimal(seen.data["others"]["var_99"]["value"]) > Decimal(readings["var_95"]["value"]) > 0
    assert [row["stop"] for row in positions] == ["1750", None]
    assert positions[1]["stop_sigmas_unavailable_reason"] == "no stop rests"
    assert Decimal(positions[1]["liquidation_sigmas"]) > 1
    assert seen.data["others"]["open_risk"]["unavailable_reason"] == "BTCUSDT SHORT has no resting stop"
    assert len(seen.data["basket"]) == 8


def test_a_symbol_the_recording_lacks_is_refused(capsys: pytest.CaptureFixture[str], quarters: str) -> None:
    seen = Seen(capsys, "NOPEUSDT", "--data", quarters)

    assert seen.code == ExitCode.INPUTS
    assert seen.err.startswith("error: symbol 'NOPEUSDT' is in none of the files\n")


def test_a_symbol_the_exchange_does_not_list_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(capsys, "BTCUSDT", "NOPEUSDT")

    assert seen.code == ExitCode.INPUTS
    assert seen.err == (
        "error: the exchange lists no symbol 'NOPEUSDT'\nhint: check the symbol and the profile's env\n"
    )


def test_a_backtest_prints_its_tests(capsys: pytest.CaptureFixture[str], shared_data: Path) -> None:
    files = ("--data", str(shared_data / "bars_1h_last_2019_2025-04.parquet"))
    funding = ("--funding", str(shared_data / "funding_2019_2025-04.parquet"))
    seen = Seen(capsys, *files, *funding, "--backtest", "--at", "2020-09-01")
    rows = Seen(capsys, *files, *funding, "--backtest", "--at", "2022-06-01", "--json").data["backtest"]["tests"]

    assert seen.code is ExitCode.OK
    assert "Kupiec p" in seen.out
    assert seen.out.splitlines()[-2].endswith("without clusters (p > 0.05)")
    filtered = [row for row in rows if row["method"] == "filtered"]
    assert [row["book"] for row in filtered] == ["BTCUSDT", "ETHUSDT", "XRPUSDT", "equal weight"]
    assert all(row["days"] > 700 and row["in_band"] for row in filtered)


def test_a_crash_is_replayed_against_a_book(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    book = {
        "equity": 10000,
        "positions": [
            {"symbol": "ETHUSDT", "position_side": "long", "quantity": 3, "mark": 3000, "stop": 2900},
            {"symbol": "XRPUSDT", "position_side": "long", "quantity": 1000, "mark": 2},
            {"symbol": "NOPEUSDT", "position_side": "short", "quantity": 1, "mark": 2},
        ],
    }
    (tmp_path / "book.json").write_text(json.dumps(book))
    asked = ("--inputs", str(tmp_path / "book.json"), "--data", str(shared_data / "bars_1m_2025-01_02.parquet"))
    by_name = Seen(capsys, "--stress", "february-2025", *asked, "--json").data["stress"]
    by_date = Seen(capsys, "--stress", "2025-02-03", *asked, "--json").data["stress"]
    eth, xrp, nope = by_name["positions"]

    assert by_name == by_date
    assert (eth["end"], eth["planned"], eth["stop"]) == ("stopped", False, "2900")
    assert Decimal(eth["unprotected_pnl"]) < Decimal(eth["worst_pnl"]) <= Decimal(eth["pnl"]) == -300
    assert (xrp["end"], xrp["planned"], Decimal(xrp["stop"])) == ("stopped", True, Decimal("1.95"))
    assert nope["end_unavailable_reason"] == "NOPEUSDT was not recorded then"
    table = Seen(capsys, "--stress", "february-2025", *asked)
    assert table.out.startswith("3 February 2025, 01:45 UTC: ")
    assert "planned" in table.out


def test_a_crash_that_was_not_recorded_is_refused(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "book.json").write_text(
        '{"equity": 1, "positions": [{"symbol": "X", "position_side": "long", "quantity": 1, "mark": 1}]}'
    )
    asked = ("--inputs", str(tmp_path / "book.json"))
    files = ("--data", str(shared_data / "bars_1m_2025-01_02.parquet"))

    assert "hold nothing from 2022-05-11" in Seen(capsys, "--stress", "luna", *asked, *files).err
    assert "the twin has no recording" in Seen(capsys, "--stress", "luna", *asked).err


def test_a_picture_of_years_marks_the_crashes(
    capsys: pytest.CaptureFixture[str], quarters: str, tmp_path: Path
) -> None:
    drawing = tmp_path / "course.svg"
    asked = ("BTCUSDT", "ETHUSDT", "XRPUSDT", "--data", quarters, "--at", "2022-12-15", "--json")
    course = Seen(capsys, *asked, "--plot", str(drawing)).data["course"]
    words = {element.text for element in ET.fromstring(drawing.read_text()).iter()}  # noqa: S314 - our own
    highest = {row["name"]: row["highest"] for row in course["ess"]["crashes"]}

    assert {"luna", "ftx"} <= words
    assert "august-2023" not in words
    assert highest["february-2025"] is None
    assert all(Decimal(highest[name]) > Decimal("2.5") for name in ("luna", "ftx"))
    assert course["systemic"]["hours"] > 7_000


# The twin


def test_in_sim_the_twins_account_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(capsys, "--explain")
    again = Seen(capsys, "--json").data

    assert seen.code is ExitCode.OK
    assert "BTCUSDT LONG" in seen.out
    assert "source: 15m exchange candles of 6 symbols" in seen.out
    assert "turbulence rank" in seen.out
    assert all(reading["value"] is not None for reading in again["readings"].values())
    assert {row["symbol"] for row in again["positions"]} == {"BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT"}
    assert again["others"]["open_risk"]["unavailable_reason"].endswith("has no resting stop")
    assert seen.err == ""


def test_csv_has_a_header_and_a_row_a_reading(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(capsys, *_what_if("1.2", "0.2", "0.3"), "--format", "csv", "--fields", "reading,value,level")

    assert seen.out.splitlines()[:3] == ["reading,value,level", "ess,1.2,ok", "systemic,0.2,ok"]
    lines = [
        json.loads(line) for line in Seen(capsys, *_what_if("1.2", "0.2", "0.3"), "--format", "jsonl").out.splitlines()
    ]
    assert lines[0]["reading"] == "ess"
    assert lines[-1]["unavailable_reason"] == "not measured: the readings were set"
