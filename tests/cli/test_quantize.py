"""`tpctl quantize`: the recorded rule books, the JSON contract, streams, caches, and what is loaded to do it."""

import gzip
import io
import json
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpctl.adapters.rulebook import Fetched, RuleBook, RuleCache
from tpctl.adapters.rules import parse_instruments
from tpctl.cli.main import run
from tpctl.cli.quantize import built_in_rules
from tpctl.cli.quantize_rows import quantize_rows
from tpctl.exits.errors import ExitCode
from tpctl.exits.instrument import Instrument
from tpctl.exits.placeable import Field, Role, Terms, place
from tpctl.settings import load, profile
from tpctl.venue import filters
from tpctl.venue.refusals import VenueError
from tpctl.venue.rulebook import SymbolRules, load_rules

RECORDED = "exchangeInfo_mainnet_20250811.json.gz"
NOW = 1_760_000_000_000


class Seen:
    """What one command line printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        self.code = ExitCode(run(["quantize", *arguments]))
        self.out, self.err = capsys.readouterr()

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def _rule_file(folder: Path, tick: str, step: str) -> Path:
    row = json.loads(json.dumps(built_in_rules().rule_payload("XRPUSDT")))
    for entry in row["filters"]:
        entry.update({name: value for name, value in (("tickSize", tick), ("stepSize", step)) if name in entry})
        entry.update({"minQty": step} if "minQty" in entry else {})
    path = folder / "rules.json"
    path.write_text(json.dumps({"symbols": [{**row, "pricePrecision": 7, "quantityPrecision": 7}]}))
    return path


def test_rules_are_data_the_twins_and_a_files_round_differently(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = ("XRPUSDT", "--price", "1.23456789", "--qty", "742.891234", "--json")
    by_file = Seen(capsys, *asked, "--rules", str(_rule_file(tmp_path, "0.00001", "1")))
    by_twin = Seen(capsys, *asked)

    assert [row["value"] for row in by_file.document["data"]["values"]] == ["1.23456", "742"]
    assert [row["value"] for row in by_twin.document["data"]["values"]] == ["1.2345", "742.8"]


def test_the_recorded_rule_book_rounds_by_its_own_tick_and_step(
    capsys: pytest.CaptureFixture[str], shared_data: Path
) -> None:
    rules = str(shared_data / RECORDED)
    seen = Seen(capsys, "XRPUSDT", "--price", "1.23456789", "--qty", "742.891234", "--raw", "--rules", rules)

    assert (seen.code, seen.out) == (ExitCode.OK, "1.2345\n742.8\n")


@pytest.mark.parametrize(
    ("grid", "option", "given", "value"),
    [
        (("0.1", "1"), "--price", "95234.567891", "95234.5"),
        (("0.00001", "1"), "--price", "1.23456789", "1.23456"),
        (("0.00001", "1"), "--stop-price", "1.998374", "1.99837"),
        (("1", "0.001"), "--qty", "0.0527891", "0.052"),
        (("1", "1"), "--qty", "742.891234", "742"),
        (("0.05", "1"), "--price", "101.37", "101.35"),
        (("1", "5"), "--qty", "12.7", "10"),
        (("1", "10"), "--qty", "123", "120"),
        (("1", "0.00001"), "--qty", "0.123456", "0.12345"),
        (("10", "1"), "--price", "1237", "1230"),
    ],
)
def test_vectors_of_exit_rules_14(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    *,
    grid: tuple[str, str],
    option: str,
    given: str,
    value: str,
) -> None:
    """The grid is a tick and a step."""
    rules = str(_rule_file(tmp_path, *grid))

    assert Seen(capsys, "XRPUSDT", option, given, "--raw", "--rules", rules).out == f"{value}\n"


@pytest.mark.parametrize("quantity", ["0.5", "0.6"])
def test_a_quantity_below_the_step_is_not_placeable(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, quantity: str
) -> None:
    seen = Seen(capsys, "XRPUSDT", "--qty", quantity, "--json", "--rules", str(_rule_file(tmp_path, "1", "1")))

    assert seen.code is ExitCode.NOT_PLACEABLE
    assert seen.document["data"]["values"][0]["placeable"] is False


def test_json_follows_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(capsys, "XRPUSDT", "--qty", "742.891234", "--show-rules", "--json")
    document = seen.document
    value = document["data"]["values"][0]

    assert {name: document[name] for name in ("schema", "profile", "env", "mode", "warnings")} == {
        "schema": "tpctl.quantize/1",
        "profile": "sim",
        "env": "sim",
        "mode": "shadow",
        "warnings": [],
    }
    assert document["ts"].endswith("Z")
    assert document["data"]["symbol"] == "XRPUSDT"
    assert {name: value[name] for name in value if name != "filters"} == {
        "field": "qty",
        "input": "742.891234",
        "value": "742.8",
        "changed": True,
        "placeable": True,
        "ticks": 7428,
    }
    assert value["filters"][-2:] == [
        {"filter": "LOT_SIZE", "ok": True, "limit": "stepSize 0.1", "code": None},
        {"filter": "MIN_NOTIONAL", "ok": True, "limit": "notional 5, exempt: reduce-only", "code": None},
    ]
    assert document["data"]["rules"]["tick"] == "0.0001"
    assert document["data"]["rules_source"]["origin"] == "the twin's rule book"
    assert document["data"]["rules_source"]["age_ms"] > 0


def test_a_settling_contract_is_not_placeable_and_says_why(
    capsys: pytest.CaptureFixture[str], shared_data: Path
) -> None:
    seen = Seen(capsys, "OMGUSDT", "--price", "1", "--json", "--rules", str(shared_data / RECORDED))

    assert seen.code is ExitCode.NOT_PLACEABLE
    refused = [row for row in seen.document["data"]["values"][0]["filters"] if not row["ok"]]
    assert refused == [
        {"filter": "STATUS", "ok": False, "limit": "status TRADING, is SETTLING", "code": -4141},
    ]


def _cache(home: Path, at: int, env: str = "live") -> RuleCache:
    cache = RuleCache(home / "cache" / "tpctl" / f"rules-{env}.cache", env)
    row = built_in_rules().rule_payload("XRPUSDT")
    cache.store(Fetched({"symbols": [{**row, "filters": [*row["filters"], {"filterType": "NEW_RULE"}]}]}, None, at))
    return cache


def test_offline_with_an_old_cache_works_and_says_how_old(
    capsys: pytest.CaptureFixture[str], own_directories: Path
) -> None:
    _cache(own_directories, NOW)
    seen = Seen(capsys, "XRPUSDT", "--price", "1.23456", "-p", "live", "--offline", "--json")

    assert seen.code is ExitCode.OK
    assert seen.document["env"] == "live"
    assert seen.document["data"]["rules_source"]["fetched_at"] == "2025-10-09T08:53:20.000Z"
    assert [warning["code"] for warning in seen.document["warnings"]] == ["rules_old", "filters_unknown"]


def test_a_young_cache_needs_no_connection_and_loads_no_client(own_directories: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tpctl.adapters.rulebook import *; import json;"
        "from tpctl.cli.quantize import built_in_rules; from tpctl.settings.profile import cache_dir;"
        "row = built_in_rules().rule_payload('XRPUSDT');"
        "RuleCache(cache_dir() / 'rules-demo.cache', 'demo')"
        ".store(Fetched({'symbols': [row]}, None, time.time_ns() // 10**6))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = (
        "import sys; from tpctl.cli.main import run;"
        "code = run(['quantize', 'XRPUSDT', '--price', '1.23456', '--raw', '-p', 'demo']);"
        "heavy = ['binance', 'aiohttp', 'websockets', 'numpy', 'duckdb', 'rich', 'asyncio', 'pydantic', 'msgspec',"
        " 'platformdirs', 'tpctl.settings.schema', 'tpctl.venue.rulebook'];"
        "print(code, [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("1.2345\n0 []\n", "")


def test_places_are_those_of_platformdirs(own_directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, str(own_directories / "elsewhere"), "  "):
        for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(variable, raising=False)
            if value is not None:
                monkeypatch.setenv(variable, value)
        assert profile.cache_dir() == Path(platformdirs.user_cache_dir("tpctl", appauthor=False))
        assert profile._default_config() == load.default_config_path()


def test_a_configuration_file_names_the_environment_of_a_profile(
    capsys: pytest.CaptureFixture[str], own_directories: Path, tmp_path: Path
) -> None:
    _cache(own_directories, NOW, "demo")
    config = tmp_path / "config.toml"
    config.write_text('[profiles.practice]\nenv = "demo"\n')
    seen = Seen(capsys, "XRPUSDT", "--price", "1", "-c", str(config), "-p", "practice", "--offline", "--json")

    assert (seen.document["profile"], seen.document["env"]) == ("practice", "demo")


def _stream(monkeypatch: pytest.MonkeyPatch, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_json_rows_come_back_rounded_with_all_else_untouched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _stream(
        monkeypatch,
        '{"id":7,"price":"1.23456","qty":7.89,"note":"é","x":1.10,"big":12345678901234567890123.5}\n\n'
        '{"symbol":"BTCUSDT","stop_price":60000.05,"qty":"0.0004"}\n',
    )
    seen = Seen(capsys, "XRPUSDT", "--stdin")

    assert seen.code is ExitCode.NOT_PLACEABLE
    assert seen.out.splitlines() == [
        (
            '{"id":7,"price":"1.2345","qty":"7.8","note":"é","x":1.10,"big":12345678901234567890123.5,'
            '"changed":true,"placeable":true,"codes":[]}'
        ),
        (
            '{"symbol":"BTCUSDT","stop_price":"60000.0","qty":"0.000","changed":true,"placeable":false,'
            '"codes":[-4003,-4004]}'
        ),
    ]
    assert seen.err == ""


def test_tab_separated_rows_keep_their_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _stream(monkeypatch, "symbol\tprice\tqty\tnote\nXRPUSDT\t1.5\t\ta b\r\nBTCUSDT\t60000.05\t1\t\n")
    seen = Seen(capsys, "--stdin", "--side", "short", "--for", "tp")

    assert seen.code is ExitCode.OK
    assert seen.out.splitlines() == [
        "symbol\tprice\tqty\tnote\tchanged\tplaceable\tcodes",
        "XRPUSDT\t1.5000\t\ta b\tno\tyes\t",
        "BTCUSDT\t60000.1\t1.000\t\tyes\tyes\t",
    ]


BROKEN = [
    '{"price":"abc"}',
    '{"price":NaN}',
    '{"price":1e400}',
    '{"price":-1}',
    '{"price":0}',
    '{"price":true}',
    '{"note":"no value"}',
    '{"symbol":"NOPEUSDT","price":1}',
    '{"symbol":7,"price":1}',
    '{"price":1',
    "[1]",
    '"text"',
    "\udcff",
]


@pytest.mark.parametrize("row", BROKEN)
def test_a_broken_row_is_named_by_its_line_and_the_rest_is_rounded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    _stream(monkeypatch, b'{"price":1.23456}\n' + row.encode(errors="surrogateescape") + b'\n{"price":2}\n')
    seen = Seen(capsys, "XRPUSDT", "--stdin")

    assert seen.code is ExitCode.PARTIAL
    assert [json.loads(line)["price"] for line in seen.out.splitlines()] == ["1.2345", "2.0000"]
    first, error, _ = seen.err.splitlines()
    assert first.startswith("line 2: ")
    assert error == "error: 1 of 3 rows were left out, the first at line 2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "stdin holds no row"),
        ("\n \n", "stdin holds no row"),
        ("price\n", "stdin holds no row"),
        ("a\tb\n1\t2\n", "stdin is neither"),
        ("price\tprice\n1\t2\n", "twice"),
        ("price\tcodes\n1\t2\n", "adds"),
        ('{"price":"x"}\n', "none of the 1 rows"),
    ],
)
def test_streams_without_a_usable_row_are_refused_as_inputs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    _stream(monkeypatch, text)
    seen = Seen(capsys, "XRPUSDT", "--stdin")

    assert seen.code is ExitCode.INPUTS
    assert said in seen.err


def test_a_short_row_of_a_table_is_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _stream(monkeypatch, "price\tqty\n1\n1\t2\n")
    seen = Seen(capsys, "XRPUSDT", "--stdin")

    assert seen.code is ExitCode.PARTIAL
    assert "line 2: the row has 1 cells, the header 2" in seen.err


@pytest.mark.parametrize(
    ("row", "code"), [('{"price":1.5}', ExitCode.OK), ('{"price":1.55555}', ExitCode.NOT_PLACEABLE)]
)
def test_strict_counts_changed_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, row: str, code: ExitCode
) -> None:
    _stream(monkeypatch, row)

    assert Seen(capsys, "XRPUSDT", "--stdin", "--strict").code is code


class _Endless(io.RawIOBase):
    """So many rows, made as they are read; one of them, by its line number, is broken."""

    def __init__(self, rows: int, broken: int) -> None:
        self.left, self.rows, self.broken = rows, rows, broken

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.left:
            return 0
        line = self.rows - self.left + 1
        self.left -= 1
        data = b'{"price":"?"}\n' if line == self.broken else b'{"price":"1.2345678","qty":"%d.55"}\n' % line
        buffer[: len(data)] = data
        return len(data)


class _Counted(io.StringIO):
    """Counts lines and forgets them."""

    lines = 0

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        return len(text)


def test_many_rows_stream_through_without_growing_memory() -> None:
    rows, out, err = 10_000, _Counted(), io.StringIO()
    book = built_in_rules()
    quantize_rows(io.BufferedReader(_Endless(1000, 0)), out, err, book, "XRPUSDT", Terms())
    tracemalloc.start()
    tally = quantize_rows(io.BufferedReader(_Endless(rows, 5_000)), out, err, book, "XRPUSDT", Terms())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (tally.rows, tally.broken, tally.first_broken) == (rows, 1, 5_000)
    assert out.lines == 1000 + rows - 1
    assert err.getvalue() == "line 5000: price '?' is not a number\n"
    assert peak < 500_000


def test_a_line_without_end_is_one_broken_row() -> None:
    source = io.BytesIO(b'{"price":1}\n{"price":"' + b"1" * 5_000_000 + b'"}\n{"price":2}\n')
    out, err = io.StringIO(), io.StringIO()
    tally = quantize_rows(source, out, err, built_in_rules(), "XRPUSDT", Terms())

    assert (tally.rows, tally.broken, tally.first_broken) == (3, 1, 2)
    assert err.getvalue() == "line 2: the line is too long\n"


def test_a_thousand_broken_rows_are_counted_and_the_first_of_them_named() -> None:
    source = io.BytesIO(b'{"price":1}\n' + b"{}\n" * 1000)
    err = io.StringIO()
    tally = quantize_rows(source, io.StringIO(), err, built_in_rules(), "XRPUSDT", Terms())

    assert tally.broken == 1000
    assert len(err.getvalue().splitlines()) == 20


Book = list[tuple[Instrument, SymbolRules]]


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> Book:
    """Every symbol as the tool and as the twin read it."""
    info = json.loads(gzip.decompress((shared_data / RECORDED).read_bytes()))
    twin = load_rules(info, []).symbols
    return [(instrument, twin[symbol]) for symbol, instrument in parse_instruments(info).items()]


def _twins_code(rules: SymbolRules, field: Field, value: Decimal, *, market: bool) -> int | None:
    try:
        match field:
            case Field.PRICE:
                filters.check_price(rules, value)
            case Field.STOP_PRICE:
                filters.check_trigger(rules, value)
            case Field.QUANTITY:
                filters.check_quantity(rules, value, market=market)
    except VenueError as refused:
        return refused.code
    return None


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    mantissa=st.integers(1, 10**12),
    exponent=st.integers(-9, 0),
    field=st.sampled_from(Field),
    role=st.sampled_from([None, Role.MARKET]),
)
def test_every_recorded_symbol_rounds_to_what_the_twin_judges_alike(
    recorded: Book, mantissa: int, exponent: int, field: Field, role: Role | None
) -> None:
    value, terms = Decimal(mantissa).scaleb(exponent), Terms(role=role)
    for instrument, rules in recorded:
        step = instrument.step if field is Field.QUANTITY else instrument.tick
        found = place(instrument, field, value, terms)
        codes = [check.code for check in found.checks if check.code is not None and check.filter != "STATUS"]

        assert Fraction(found.value) % Fraction(step) == 0
        assert 0 <= Fraction(value) - Fraction(found.value) < Fraction(step)
        assert place(instrument, field, found.value, terms).value == found.value
        assert (codes[0] if codes else None) == _twins_code(rules, field, found.value, market=terms.market)


def test_the_built_in_rules_are_a_rule_book_of_the_twin() -> None:
    book = built_in_rules()

    assert isinstance(book, RuleBook)
    assert {"BTCUSDT", "ETHUSDT", "XRPUSDT"} <= set(book.symbols())
    assert len(book.instruments()) == len(book.symbols())
