"""`tpctl plan`: the vectors of exit-rules through the JSON, the twin, the document and applying it, what is loaded."""

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tpctl.adapters.files import open_state_dir
from tpctl.adapters.halt import set_halt
from tpctl.adapters.lock import acquire
from tpctl.cli.main import run
from tpctl.cli.quantize import built_in_rules
from tpctl.exits.errors import ExitCode
from tpctl.views.plan import PLAN_FIELDS
from tpctl.views.plan_rows import COLUMNS

D = Decimal


class Seen:
    """What one command line printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        self.code = ExitCode(run(["plan", *arguments]))
        self.out, self.err = capsys.readouterr()

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def plan(self) -> Any:
        (plan,) = self.document["data"]["plans"]
        return plan


@pytest.fixture
def offline(capsys: pytest.CaptureFixture[str]) -> Any:
    """Plan one hypothetical position offline and return its JSON."""

    def ask(symbol: str, options: str, *more: str) -> Any:
        seen = Seen(capsys, symbol, "--offline", "--json", *options.split(), *more)
        assert seen.code is ExitCode.OK, seen.err
        return seen.plan

    return ask


def percents(plan: Any) -> list[Decimal]:
    return [D(leg["distance"]) * 100 for leg in plan["legs"]]


def split(plan: Any) -> list[Decimal]:
    return [D(leg["fraction"]) * 100 for leg in plan["legs"]]


def numbers(text: str) -> list[Decimal]:
    return [D(part) for part in text.split("/")]


# exit-rules 1: the dynamic ladder


@pytest.mark.parametrize(
    ("symbol", "options", "distances", "shares"),
    [
        (
            "XRPUSDT",
            "--entry 0.5 --lev 20 --notional 2000 --volatility 2.5% --regime normal --confidence .85",
            "1.092/1.820/2.912",
            "40/35/25",
        ),
        (
            "BTCUSDT",
            "--entry 100000 --lev 10 --notional 4997 --volatility 3% --regime normal --confidence .90",
            "1.560/2.600/4.160",
            "40/35/25",
        ),
        (
            "SOLUSDT",
            "--entry 150 --lev 15 --notional 1800 --volatility 4.5% --regime trending --confidence .88",
            "2.8665/4.7775/7.644",
            "20/30/50",
        ),
        (
            "ETHUSDT",
            "--entry 3000 --lev 20 --notional 1750 --volatility 2.8% --regime normal --confidence .82",
            "1.050/1.750/2.800",
            "30/30/40",
        ),
        (
            "ETHUSDT",
            "--entry 3000 --lev 3 --notional 500 --volatility 5% --regime trending --confidence .9",
            "5.3235/8.8725/10.0",
            "20/30/50",
        ),
    ],
)
def test_vectors_of_the_dynamic_ladder(offline: Any, symbol: str, options: str, distances: str, shares: str) -> None:
    plan = offline(symbol, options)

    assert percents(plan) == numbers(distances)
    assert split(plan) == numbers(shares)


def test_everything_that_tightens_clamps_and_then_merges(offline: Any) -> None:
    plan = offline(
        "ETHUSDT",
        "--entry 3000 --lev 20 --notional 5000 --volatility 1% --regime ranging --confidence .5 --volume-24h 50000",
        "--pnl=6%",
    )
    clamped = next(reason for reason in plan["reasons"] if reason["code"] == "clamped")

    # 0.56 in the reference's two places.
    assert clamped["after"] == "0.5% / 0.5% / 0.5645%"
    assert split(plan) == [80, 20]
    assert "levels_merged" in [reason["code"] for reason in plan["reasons"]]


def test_each_factor_is_a_sentence_an_operator_reads(offline: Any) -> None:
    plan = offline(
        "XRPUSDT", "--entry 0.5 --lev 20 --notional 2000 --volatility 4.5% --regime trending --confidence .85"
    )
    said = [reason["text"] for reason in plan["reasons"]]

    for sentence in (
        "High leverage (20.0x) → -30% TP distance",
        "Large position ($2000) → -20% TP distance, front-load exits (40/35/25)",
        "High volatility (4.5%) → +40% TP distance",
        "TRENDING regime → +50% TP distance, back-load (20/30/50)",
        "High confidence (85%) → +30% TP distance",
    ):
        assert sentence in said


# exit-rules 2, 3, 4: static, target, hybrid


@pytest.mark.parametrize(
    ("regime", "distances", "shares", "trail"),
    [
        ("normal", "1.25/2.5/5", "25/25/50", ("0.015", "0")),
        ("trending", "1.25/2.5/5", "15/20/30", ("0.02", "0.35")),
        ("ranging", "0.5/1/1.75", "35/35/30", None),
        ("volatile", "1/2/3.75", "25/35/40", ("0.025", "0")),
        ("chop", "0.375/0.875/1.5", "40/40/20", None),
    ],
)
def test_static_profiles(offline: Any, regime: str, distances: str, shares: str, trail: tuple[str, str] | None) -> None:
    plan = offline("BTCUSDT", f"--entry 100000 --lev 5 --notional 50000 --policy static --regime {regime}")

    assert percents(plan) == numbers(distances)
    assert split(plan) == numbers(shares)
    found = plan["trail"]
    assert (None if found is None else (found["callback"], found["fraction"])) == trail


@pytest.mark.parametrize(
    ("options", "target", "stop", "trail"),
    [
        ("--confidence .40", "5.625", "3.75", "2.25"),
        ("--confidence .75", "6.818", "2.159", "2.727"),
        ("--confidence .90", "8.455", "2.114", "3.382"),
        ("--confidence .75 --volatility 2%", "7.273", "2.303", "2.909"),
    ],
)
def test_vectors_of_the_target(offline: Any, options: str, target: str, stop: str, trail: str) -> None:
    plan = offline("BTCUSDT", f"--entry 100000 --lev 5 --notional 50000 --policy target {options}")
    thousandth = D("0.001")

    assert [value.quantize(thousandth) for value in percents(plan)] == [D(target)]
    assert (D(plan["stop"]["distance"]) * 100).quantize(thousandth) == D(stop)
    assert (D(plan["trail"]["callback"]) * 100).quantize(thousandth) == D(trail)


def test_hybrid_blends_by_confidence(offline: Any) -> None:
    asked = "--entry 100000 --lev 5 --notional 50000 --policy hybrid --regime normal --confidence"
    cautious, middle, sure = (offline("BTCUSDT", f"{asked} {confidence}") for confidence in (".1", ".5", ".9"))

    assert cautious["trail"] is None
    assert split(cautious) == split(middle) == [25, 25, 50]
    assert middle["trail"]["callback"] < sure["trail"]["callback"]
    assert len(sure["legs"]) == 4
    assert "-10% stop distance" in " ".join(reason["text"] for reason in sure["reasons"])


# exit-rules 6, 8, 9, 10, 11, 15


def test_the_backstop_is_a_quarter_farther_than_the_stop_and_inside_liquidation(offline: Any) -> None:
    plan = offline("BTCUSDT", "--entry 100000 --lev 20 --qty 1 --stop 2% --leg 4%:100%")

    assert (plan["stop"]["distance"], plan["backstop"]["distance"]) == ("0.02", "0.025")
    assert D(plan["liquidation"]["distance"]) * D("0.9") > D("0.025")


def test_a_stop_beyond_its_share_of_liquidation_is_pulled_in_with_a_reason(offline: Any) -> None:
    plan = offline("BTCUSDT", "--entry 100000 --lev 50 --qty 0.1 --stop 2.5% --leg 4%:100%")

    assert D(plan["stop"]["distance"]) == pytest.approx(D(plan["liquidation"]["distance"]) * D("0.8"), abs=D("1e-9"))
    assert "liquidation_clamp" in [reason["code"] for reason in plan["reasons"]]


@pytest.mark.parametrize(
    ("symbol", "options", "stops"),
    [
        ("BTCUSDT", "--entry 50000 --stop 2% --leg 2%:50% --leg 4%:50%", ["49000", "50000", "51000"]),
        ("BTCUSDT", "--entry 50000 --stop 2% --leg 2%:50% --leg 4%:50% --side short", ["51000", "50000", "49000"]),
        ("ETHUSDT", "--entry 3000 --stop 2% --leg 5%:50% --leg 10%:50%", ["2940", "3000", "3150"]),
    ],
)
def test_vectors_of_the_ratchet(offline: Any, tmp_path: Path, symbol: str, options: str, stops: list[str]) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[exits.execution]\nbreakeven = "entry"\n')
    plan = offline(symbol, f"{options} --lev 10 --notional 10000", "-c", str(config))

    assert [D(plan["stop"]["trigger"]), *(D(step["stop"]) for step in plan["ratchet"])] == [D(stop) for stop in stops]


@pytest.mark.parametrize(
    ("callback", "schedule"),
    [("2%", "0.02/0.015/0.01/0.006/0.004"), ("0.05%", "0.0005/0.0005/0.0005/0.0005/0.0005")],
)
def test_vectors_of_the_trailing_schedule(offline: Any, callback: str, schedule: str) -> None:
    plan = offline("BTCUSDT", f"--entry 100000 --lev 10 --notional 10000 --trail {callback}@3%")

    assert [D(row["callback"]) for row in plan["trail"]["schedule"]] == numbers(schedule)
    assert [D(row["profit"]) * 100 for row in plan["trail"]["schedule"]] == [2, 5, 10, 15, 20]
    assert plan["trail"]["activation"] == "0.03"


@pytest.mark.parametrize(
    ("options", "prices"),
    [("", "107.50/111.25/115.00"), ("--side short", "92.50/88.75/85.00")],
)
def test_vectors_of_the_partial_levels(offline: Any, options: str, prices: str) -> None:
    plan = offline("SOLUSDT", f"--entry 100 --lev 3 --notional 1000 --leg 15%:100% --pnl 12% {options}")

    assert [D(level["price"]) for level in plan["partials"]] == numbers(prices)
    assert [level["fraction"] for level in plan["partials"]] == ["0.3", "0.4", "0.3"]
    assert [level["passed"] for level in plan["partials"]] == [True, True, False]


@pytest.mark.parametrize(
    ("readings", "factor"),
    [
        ((1.0, 0.2, 0.3), "1.00"),
        ((2.8, 0.2, 0.3), "0.70"),
        ((1.51, None, None), "0.85"),
        ((2.5, None, None), "0.85"),
        ((1.0, 0.85, 0.3), "0.75"),
        ((1.0, 0.61, 0.3), "0.90"),
        ((2.8, 0.85, 0.3), "0.525"),
        ((2.8, 0.85, 0.9), "0.50"),
    ],
)
def test_vectors_of_the_risk_factor(
    offline: Any, tmp_path: Path, readings: tuple[float | None, ...], factor: str
) -> None:
    file = tmp_path / "risk.json"
    file.write_text(json.dumps(dict(zip(("ess", "systemic", "correlation"), readings, strict=True)) | {"heat": 0.4}))
    asked = "--entry 100000 --lev 10 --notional 50000"
    plain = offline("BTCUSDT", f"{asked} --risk none")
    plan = offline("BTCUSDT", asked, "--risk", str(file))

    assert D(plan["risk"]["tp_factor"]) == D(factor)
    assert percents(plan) == [max(D("0.5"), value * D(factor)) for value in percents(plain)]


def test_risk_is_measured_once_for_all_plans_of_a_run(capsys: pytest.CaptureFixture[str], venue: str) -> None:
    plans = Seen(capsys, "--venue", venue, "--json").document["data"]["plans"]
    assert len(plans) > 1
    assert len({plan["inputs"]["ess"] for plan in plans}) == 1
    assert all(0 < D(plan["inputs"]["ess"]) < 10 for plan in plans)
    assert len({plan["risk"]["tp_factor"] for plan in plans}) == 1


def test_risk_that_is_not_measured_says_why(offline: Any) -> None:
    for option, reason in (("auto", "offline"), ("none", "left out")):
        plan = offline("BTCUSDT", f"--entry 100000 --lev 10 --risk {option}")
        assert plan["inputs"]["ess"] is None
        assert reason in plan["inputs"]["ess_unavailable_reason"]


@pytest.mark.parametrize(
    "content", ['{"ess": NaN}', '{"systemic": 2}', '{"heat": -1}', '{"esss": 1}', "[]", "nonsense", '{"ess": true}']
)
def test_a_bad_risk_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str) -> None:
    file = tmp_path / "risk.json"
    file.write_text(content)
    seen = Seen(capsys, "BTCUSDT", "--offline", "--entry", "100000", "--lev", "10", "--risk", str(file))

    assert (seen.code, seen.out) == (ExitCode.INPUTS, "")


@pytest.mark.parametrize(
    ("options", "rate", "cum", "price"),
    [
        ("--entry 20000 --qty 1 --lev 20", 0.004, 0, "19076.3052"),
        ("--entry 20000 --qty 1 --lev 20 --side short", 0.004, 0, "20916.3347"),
        ("--entry 50000 --qty 10 --lev 20", 0.01, 1300, "47848.4848"),
    ],
)
def test_vectors_of_liquidation(
    offline: Any, tmp_path: Path, *, options: str, rate: float, cum: int, price: str
) -> None:
    """Isolated: 20x of the notional is the wallet of the vectors."""
    rules, brackets = tmp_path / "rules.json", tmp_path / "brackets.json"
    rules.write_text(json.dumps({"symbols": [built_in_rules().rule_payload("BTCUSDT")]}))
    row = {"bracket": 1, "initialLeverage": 125, "notionalFloor": 0, "notionalCap": 10**7}
    row |= {"maintMarginRatio": rate, "cum": cum}
    brackets.write_text(json.dumps({"symbol": "BTCUSDT", "brackets": [row]}))
    plan = offline(
        "BTCUSDT", f"{options} --margin isolated --stop 1%", "--rules", str(rules), "--brackets", str(brackets)
    )

    assert D(plan["liquidation"]["price"]).quantize(D("0.0001")) == D(price)


def test_without_brackets_the_leverage_bounds_liquidation_and_the_plan_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"symbols": [built_in_rules().rule_payload("BTCUSDT")]}))
    asked = ("BTCUSDT", "--offline", "--entry", "100000", "--lev", "20", "--rules", str(rules), "--json")
    seen = Seen(capsys, *asked)

    assert seen.plan["liquidation"]["price"] is None
    assert "at most 5% from entry" in seen.plan["liquidation"]["price_unavailable_reason"]
    assert "liquidation_bound" in [warning["code"] for warning in seen.document["warnings"]]


# The contract


def test_json_follows_the_contract(offline: Any) -> None:
    plan = offline("XRPUSDT", "--entry 0.5 --lev 20 --notional 2000 --volatility 2.5%")

    assert set(PLAN_FIELDS) - {"diff"} == {name for name in plan if not name.endswith("_unavailable_reason")}
    assert plan["orders"][0] == {
        "algoType": "CONDITIONAL",
        "symbol": "XRPUSDT",
        "side": "SELL",
        "type": "STOP_MARKET",
        "triggerPrice": plan["backstop"]["trigger"],
        "workingType": "MARK_PRICE",
        "closePosition": "true",
        "clientAlgoId": f"tp1-{plan['generation']}-b-1",
    }
    assert [order["quantity"] for order in plan["orders"][2:]] == [leg["quantity"] for leg in plan["legs"]]
    assert plan["stop"]["quantity"] == plan["quantity"] == "4000.0"
    odds = plan["legs"][0]["odds"]
    assert 0 < D(odds["reach_before_stop"]) < 1
    assert odds["model"].startswith("driftless")
    assert not [text for text in json.dumps(plan).split('"') if text.lower() in {"nan", "infinity"} or "e-" in text[:4]]


def test_what_is_unavailable_is_null_beside_its_reason(offline: Any) -> None:
    plan = offline("XRPUSDT", "--entry 0.5 --lev 20")

    for record, name in ((plan, "mark"), (plan["funding"], "paid"), (plan["inputs"], "volatility")):
        assert record[name] is None
        assert record[f"{name}_unavailable_reason"]


@pytest.mark.parametrize("form", ["json", "csv", "plain", "table"])
def test_fields_choose_what_is_printed_in_every_format(capsys: pytest.CaptureFixture[str], form: str) -> None:
    names = ("symbol", "stop") if form == "json" else ("exit", "trigger")
    asked = ("XRPUSDT", "--offline", "--entry", "0.5", "--lev", "20", "-q", "--format", form)
    seen = Seen(capsys, *asked, "--fields", ",".join(names))

    if form == "json":
        assert set(seen.plan) == set(names)
    elif form == "csv":
        assert seen.out.splitlines()[0] == "exit,trigger"
    elif form == "plain":
        assert all(line.count("\t") == 1 for line in seen.out.splitlines())
    else:
        assert seen.out.splitlines()[2].split() == ["exit", "trigger"]


def test_csv_has_every_column_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(capsys, "XRPUSDT", "--offline", "--entry", "0.5", "--lev", "20", "--format", "csv")

    assert seen.out.splitlines()[0] == ",".join(COLUMNS)
    assert [line.split(",")[2] for line in seen.out.splitlines()[1:]] == ["TP1", "TP2", "TP3", "stop", "backstop"]


def test_the_page_fits_80_columns_and_explains_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("BTCUSDT", "--offline", "--entry", "96123.4", "--lev", "20", "--notional", "250000", "--pnl", "7%")
    seen = Seen(capsys, *asked, "--volatility", "4%", "--explain")

    assert max(map(len, seen.out.splitlines())) <= 80
    assert "[policy] High leverage (20.0x) → -30% TP distance" in seen.out
    assert "      1.5% / 2.5% / 4% → 1.05% / 1.75% / 2.8%" in seen.out
    assert "\x1b" not in seen.out
    assert "\x1b" in Seen(capsys, *asked, "--color", "always").out


def test_a_settling_contract_is_planned_and_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    row = {**built_in_rules().rule_payload("BTCUSDT"), "status": "SETTLING"}
    rules.write_text(json.dumps({"symbols": [row]}))
    asked = ("BTCUSDT", "--offline", "--entry", "100000", "--lev", "20", "--rules", str(rules), "--json")
    seen = Seen(capsys, *asked)

    assert seen.code is ExitCode.NOT_PLACEABLE
    assert {row["code"] for row in seen.plan["refused"]} == {-4141}
    assert len(seen.plan["refused"]) == len(seen.plan["orders"])


def test_one_unknown_symbol_among_several_is_partial(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(capsys, "XRPUSDT", "NOPEUSDT", "--lev", "20", "--offline", "--json")
    assert seen.code is ExitCode.INPUTS  # no entry: neither has a plan

    seen = Seen(capsys, "NOPEUSDT", "--entry", "1", "--lev", "20", "--offline")
    assert "unknown symbol 'NOPEUSDT'" in seen.err


def test_the_configuration_states_inputs_and_options_win(offline: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[inputs]\nconfidence = 0.9\n[inputs.symbols.XRPUSDT]\nvolatility = "4%"\n')
    asked = "--entry 0.5 --lev 20"
    stated = offline("XRPUSDT", asked, "-c", str(config))
    given = offline("XRPUSDT", f"{asked} --confidence .7", "-c", str(config))

    assert (stated["inputs"]["confidence"], stated["inputs"]["volatility"]) == ("0.9", "0.04")
    assert given["inputs"]["confidence"] == "0.7"


def test_the_document_is_written_whole_and_privately(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    asked = ("XRPUSDT", "--offline", "--entry", "0.5", "--lev", "20")
    seen = Seen(capsys, *asked, "-q", "--fields", "exit", "-o", str(path))

    assert seen.code is ExitCode.OK
    assert set(json.loads(path.read_text())["data"]["plans"][0]) >= set(PLAN_FIELDS) - {"diff"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]
    assert Seen(capsys, *asked, "-o", str(tmp_path / "nowhere" / "plan.json")).code is ExitCode.STATE_FILE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "is not JSON"),
        ("[]", "has schema None"),
        ('{"schema": "tpctl.plan/2"}', "this tpctl reads 'tpctl.plan/1'"),
        ('{"schema": "tpctl.plan/1", "profile": "sim", "env": "sim", "data": {"plans": []}}', "holds no plan"),
        ('{"schema": "tpctl.plan/1", "profile": "sim", "env": "sim", "data": {"plans": [{}]}}', "lacks"),
    ],
)
def test_what_is_no_plan_document_is_not_applied(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    seen = Seen(capsys, "--apply", str(path), "--arm")

    assert seen.code is ExitCode.INPUTS
    assert said in seen.err


def test_a_plan_of_another_profile_is_not_applied(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    Seen(capsys, "XRPUSDT", "--offline", "--entry", "0.5", "--lev", "20", "-o", str(path))

    assert "was made for profile 'sim'" in Seen(capsys, "-p", "demo", "--apply", str(path), "--arm").err
    assert Seen(capsys, "--apply", str(path)).code is ExitCode.USAGE  # an embedded twin ends with the run


def test_offline_loads_nothing_heavy() -> None:
    """A whole offline plan, page and JSON, without the client, an event loop, numerics or a terminal library."""
    heavy = (
        "binance",
        "aiohttp",
        "websockets",
        "asyncio",
        "numpy",
        "duckdb",
        "rich",
        "requests",
        "sqlite3",
        "pydantic",
    )
    code = (
        "import sys; from tpctl.cli.main import run; "
        "asked = ['plan', 'XRPUSDT', '--offline', '--entry', '0.5', '--lev', '20', '--volatility', '2.5%']; "
        "codes = [run(asked), run([*asked, '--json'])]; "
        f"print([m for m in {heavy} if m in sys.modules], codes, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.splitlines()[-1] == "[] [0, 0]"


# The twin


def test_a_symbol_and_a_leverage_alone_give_a_useful_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """Mark, volatility, volume, brackets and fees come from the embedded twin, the same every time."""
    first = Seen(capsys, "xrpusdt", "--lev", "20", "--json")
    again = Seen(capsys, "xrpusdt", "--lev", "20", "--json")
    plan = first.plan

    assert (first.code, first.err) == (ExitCode.OK, "")
    assert plan == again.plan
    assert plan["mark"] is not None
    assert D(plan["notional"]) >= 1000
    assert {"volatility", "quote_volume", "atr"} <= {name for name, value in plan["inputs"].items() if value}
    assert all(D(leg["odds_bootstrap"]["reach_before_stop"]) > 0 for leg in plan["legs"])
    assert plan["funding"]["next_at"].endswith("Z")
    assert plan["refused"] == []


def test_every_open_position_of_the_simulated_account_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen(capsys, "--json")
    plans = {plan["symbol"]: plan for plan in seen.document["data"]["plans"]}

    assert seen.code is ExitCode.OK
    assert set(plans) == {"BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"}
    assert plans["ETHUSDT"]["position_side"] == "short"
    for plan in plans.values():
        assert not plan["hypothetical"]
        assert sum(D(leg["quantity"]) for leg in plan["legs"]) == D(plan["quantity"])
        assert D(plan["funding"]["paid"]) == 0
        assert plan["refused"] == []


@pytest.fixture
def venue() -> Iterator[str]:
    """Serve a twin in a process of its own, at a pace that gives every second a new minute's request budget."""
    command = [sys.executable, "-m", "tpctl", "venue", "--json", "--port", "0", "--speed", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["data"]["rest"].removesuffix("/fapi")
        finally:
            process.terminate()


def test_a_plan_is_applied_once_and_applying_it_again_changes_nothing(
    capsys: pytest.CaptureFixture[str], venue: str, tmp_path: Path
) -> None:
    path, here = tmp_path / "plan.json", ("--venue", venue, "--state-dir", str(tmp_path / "state"))
    made = Seen(capsys, "XRPUSDT", *here, "--check", "--json", "-o", str(path))
    wanted = [order["clientAlgoId"] for order in made.plan["orders"]]
    assert made.code is ExitCode.CHANGES_DUE
    assert [row["role"] for row in made.plan["diff"]["due"]] == ["backstop", "stop", *["take_profit"] * 3]

    first = Seen(capsys, "--apply", str(path), *here, "--json")
    assert first.code is ExitCode.OK, first.err
    (applied,) = first.document["data"]["applied"]
    assert [(order["client_id"], order["state"]) for order in applied["orders"]] == [(one, "resting") for one in wanted]
    assert first.document["data"]["orders_placed"] == len(wanted)

    again = Seen(capsys, "--apply", str(path), *here, "--json")
    forgotten = Seen(capsys, "--apply", str(path), "--venue", venue, "--state-dir", str(tmp_path / "other"), "--json")
    for seen in (again, forgotten):
        assert seen.code is ExitCode.OK, seen.err
        assert seen.document["data"]["orders_placed"] == 0
        assert {order["client_id"] for order in seen.document["data"]["applied"][0]["orders"]} == set(wanted)


def test_once_it_rests_check_passes_and_compares_with_the_plan_under_way(
    capsys: pytest.CaptureFixture[str], venue: str, tmp_path: Path
) -> None:
    """Applied by hand-made levels: a plan made anew would have others, but nothing is due."""
    path, here = tmp_path / "plan.json", ("--venue", venue, "--state-dir", str(tmp_path / "state"))
    asked = ("ETHUSDT", *here, "--leg", "1.23%:40%", "--leg", "3.4%:60%", "--stop", "1.5%")
    assert Seen(capsys, *asked, "-q", "-o", str(path)).code is ExitCode.OK
    assert Seen(capsys, "--apply", str(path), *here, "-q").code is ExitCode.OK
    seen = Seen(capsys, "ETHUSDT", *here, "--check", "--json")

    assert seen.code is ExitCode.OK
    diff = seen.plan["diff"]
    assert (diff["running"], diff["due"], diff["extra"], len(diff["rests"])) == (True, [], [], 4)
    assert Seen(capsys, "ETHUSDT", "--venue", venue, "--check", "-q").code is ExitCode.CHANGES_DUE


def test_a_running_watch_holds_the_account(capsys: pytest.CaptureFixture[str], venue: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "plan.json", tmp_path / "state"
    here = ("--venue", venue, "--state-dir", str(folder))
    assert Seen(capsys, "BTCUSDT", *here, "-q", "-o", str(path)).code is ExitCode.OK
    with acquire(open_state_dir(folder).lock):
        assert Seen(capsys, "--apply", str(path), *here).code is ExitCode.LOCKED


def test_halt_is_respected_and_nothing_is_sent(capsys: pytest.CaptureFixture[str], venue: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "plan.json", tmp_path / "state"
    here = ("--venue", venue, "--state-dir", str(folder))
    assert Seen(capsys, "BTCUSDT", *here, "-q", "-o", str(path)).code is ExitCode.OK
    set_halt(open_state_dir(folder), "maintenance")
    seen = Seen(capsys, "--apply", str(path), *here)

    assert seen.code is ExitCode.NOT_ARMED
    assert "HALT is set: maintenance" in seen.err


def test_a_plan_for_another_size_is_drift_and_nothing_is_sent(
    capsys: pytest.CaptureFixture[str], venue: str, tmp_path: Path
) -> None:
    path, here = tmp_path / "plan.json", ("--venue", venue, "--state-dir", str(tmp_path / "state"))
    asked = ("SOLUSDT", "--venue", venue, "--lev", "15", "--qty", "1", "-q", "-o", str(path))
    assert Seen(capsys, *asked).code is ExitCode.OK
    seen = Seen(capsys, "--apply", str(path), *here)

    assert seen.code is ExitCode.INPUTS
    assert "size of SOLUSDT LONG" in seen.err
    assert seen.out == ""
