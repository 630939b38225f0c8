"""A recorded market guarded by `watch` at full speed: every figure of the report is counted again from the journal.

In CI half a day of two symbols. The whole month: run `tpctl watch` on the recording with `--speed max --state-dir DIR`
and name DIR in TPCTL_GUARDED_STATE.
"""

import json
import os
import re
from decimal import Decimal
from fractions import Fraction
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from recount import Recount, differences

from tpctl.cli.main import run
from tpctl.exits.errors import ExitCode

SYMBOLS = ("BTCUSDT", "XRPUSDT")
# What the report says of itself and of what no journal holds.
ABOUT = {"source", "by", "min_attempts", "level", "findings"}


@pytest.fixture(scope="module")
def guarded(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("TPCTL_GUARDED_STATE")
    if named:
        return Path(named)
    duckdb = pytest.importorskip("duckdb")
    folder = tmp_path_factory.mktemp("guarded")
    source, market = shared_data / "bars_1m_2025-01_02.parquet", folder / "two.parquet"
    recorded = duckdb.read_parquet(str(source))
    recorded.filter(f"symbol IN {SYMBOLS}").write_parquet(str(market))
    arguments = ["watch", "--market", str(market), "--from", "2025-02-03", "--until", "2025-02-03T09:00:00Z"]
    arguments += ["--speed", "max", "--entries", "4/h", "--lines", "-q", "--state-dir", str(folder / "state")]
    assert run(arguments) == ExitCode.OK
    return folder / "state"


@pytest.fixture(scope="module")
def counted(guarded: Path) -> Recount:
    return Recount(guarded / "journal.db")


def shown(guarded: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["metrics", "--state-dir", str(guarded), "--json", *arguments]) == ExitCode.OK
    return json.loads(capsys.readouterr().out)["data"]


def test_every_figure_is_what_the_journal_gives(
    guarded: Path, counted: Recount, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shown(guarded, capsys)

    assert data["totals"]["tp_attempts"] >= 20
    assert data["totals"]["premature_judged"] >= 10
    # Every close of ours was an execution, and the book after each of them was read.
    ours = len(counted.of("tp_hit")) + len(counted.of("stop_hit"))
    assert data["slippage_to_mid"]["read_late_ms"]["count"] >= ours
    assert data["funding_usd"]["count"] == data["positions"]["closed"] == len(counted.of("closed"))
    assert differences({name: data[name] for name in data if name not in ABOUT}, counted.data()) == []


@pytest.mark.parametrize("name", ["leg", "side", "reason", "regime"])
def test_every_group_is_what_the_journal_gives(
    guarded: Path, counted: Recount, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data = shown(guarded, capsys, "--by", name)
    real = counted.rows("position_side" if name == "side" else name)

    assert differences(data["records"], real) == []


def percent(value: Any, places: int) -> str:
    return "n/a" if value is None else f"{decimal(value) * 100:.{places}f}%"


def decimal(value: Any) -> Decimal:
    return Decimal(Fraction(value).numerator) / Fraction(value).denominator


def row_text(group: list[str], row: dict[str, Any], least: int = 10) -> list[str]:
    """Return one row of the page's tables as the page should write it."""

    def rate(value: Any) -> str:
        text = percent(value, 1)
        return f"({text})" if row["tp_attempts"] < least and text != "n/a" else text

    minutes, r = row["avg_time_to_tp_minutes"], row["avg_r"]
    return [
        *group,
        str(row["tp_attempts"]),
        "n/a" if row["tp_open"] is None else str(row["tp_open"]),
        *(rate(row[name]) for name in ("tp_hit_rate", "hit_rate_low", "hit_rate_high")),
        percent(row["avg_slippage_pct"], 3),
        "n/a" if minutes is None else f"{decimal(minutes):.1f}",
        f"{decimal(row['profit_usd']):,.2f}",
        "n/a" if r is None else f"{decimal(r):.2f}",
        str(row["premature_exits"]),
    ]


def test_the_page_shows_what_the_journal_gives(guarded: Path, counted: Recount, tmp_path: Path) -> None:
    page = tmp_path / "exits.html"
    assert run(["metrics", "--state-dir", str(guarded), "--report", str(page), "-q"]) == ExitCode.OK
    html = page.read_text()
    sections = dict(re.findall(r"<section><h2>(.*?)</h2>(.*?)</section>", html, re.DOTALL))
    tables = {
        title: [cells(row) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body)] for title, body in sections.items()
    }
    data = counted.data()
    total = data["totals"]

    by_symbol = [row_text([row["strategy_id"], row["symbol"]], row) for row in data["records"]]
    assert tables["By strategy, symbol"][1:] == [*by_symbol, row_text(["all", ""], total, 0)]
    by_leg = [row_text([f"TP{row['leg']}"], row) for row in counted.rows("leg")]
    assert tables["By leg"][1:] == [*by_leg, row_text(["all"], total, 0)]
    instead = {row[0]: row[1:3] for row in tables["In hindsight"]}
    for one in data["counterfactuals"]:
        words = {"dynamic": "dynamic ladder", "static": "static ladder"}.get(one["name"], one["name"].replace("_", " "))
        words = {"trail tighter": "tighter trail", "trail looser": "looser trail"}.get(words, words)
        usd = one["difference_usd"]
        assert instead[words] == [str(usd["count"]), f"{decimal(usd['total']):+,.2f}"]
    closed = sum(decimal(row) for row in [data["positions"]["pnl"]])
    assert f"{data['positions']['closed']} closed, PnL {closed:+,.2f} USD" in sections["Positions"]
    # The equity ends at the sum of all profits, and each place of a heat map counts its own attempts.
    assert f"{decimal(total['profit_usd']):+.2f} USD at the end" in sections["Equity of exits, USD after exit fees"]
    for title in ("distance of the target, from", "hour of the exit, UTC", "weekday of the exit, UTC"):
        places = re.findall(r"<title>(\d+) of (\d+) hit</title>", sections[f"Hits: symbol by {title}"])
        assert sum(int(hits) for hits, _ in places) == total["tp_hits"]
        assert sum(int(count) for _, count in places) == total["tp_attempts"]
    losses = sorted(decimal(pnl) for note in counted.of("closed") if (pnl := amount(note)) < 0)[:6]
    drawn = re.findall(r'<span class="bad">([+-][\d,.]+) USD', sections["Worst trades"])
    assert drawn == [f"{loss:+,.2f}" for loss in losses]


def amount(note: dict[str, Any]) -> Fraction:
    return Fraction(note["data"]["pnl"]["$decimal"])


def cells(row: str) -> list[str]:
    return [unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)]


def rows(body: str) -> list[list[str]]:
    return [cells(row) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body)]
