"""How metrics are shown: nothing invented, few attempts pale, one page that needs nothing but itself."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from metrics_desk import LIFE, START, VECTOR, random_attempts

from tpctl.adapters.metrics_positions import Amounts, Charges, Early, Excursions, InHindsight
from tpctl.adapters.metrics_query import Closed, Closes, Spread
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import Outcome, PositionKey
from tpctl.exits.settlement import Stretch
from tpctl.exits.statistics import Dimension, Tally, measure
from tpctl.exits.targets import Level, Targets, judge_targets
from tpctl.market.bootstrap import Spread as Drawn
from tpctl.market.incidence import Incidence
from tpctl.market.sequential import Sequential
from tpctl.views import metrics as text
from tpctl.views import metrics_fields as fields
from tpctl.views.metrics_charts import HeatMap, heat_text, sparkline
from tpctl.views.metrics_compare import Compared, Comparison, compare_fields, compare_text
from tpctl.views.metrics_page import Page, Trade, page_html
from tpctl.views.metrics_report import FIELDS, TABLE_FIELDS, MetricsReport, Rest, Row, value_of
from tpctl.views.metrics_svg import alone, equity_svg, heat_svg
from tpctl.views.metrics_trade_svg import Path, trade_svg

NASTY = '<script>alert("x")</script>&'
BY = (Dimension.STRATEGY, Dimension.SYMBOL)


def tally_of(hits: int, misses: int) -> Tally:
    miss = replace(VECTOR, outcome=Outcome.MISS, profit_usd=Decimal(-50), reason="stop")
    return Tally.of([measure(VECTOR, None, None)] * hits + [measure(miss, None, None)] * misses)


def row_of(symbol: str, hits: int, misses: int, waiting: int | Unavailable = 0) -> Row:
    tally = tally_of(hits, misses)
    return Row(("tp", symbol), tally, waiting, judge_targets(tally, Targets(), 10))


REST = Rest(
    slippage=Spread(3, Decimal("0.001"), (Decimal("0.001"), Decimal("0.002"), Decimal("0.003")), Decimal("0.003")),
    stop_slippage={"ratchet": Spread(1, Decimal("-0.0001"), (Decimal("-0.0001"),) * 3, Decimal("-0.0001"))},
    naked_ms=(5, 0, 120, 340),
    closes=Closes(5, Decimal("-12.5"), Decimal("1.25"), 5, Decimal("-0.25"), {"stop": 3, "take_profit": 2}),
    stop_moves={"trail": 4},
    incidence=Incidence(0.4, 0.2),
    excursions=Excursions(*[Spread(4, Decimal("0.02"), (Decimal("0.01"),) * 3, Decimal("0.05"))] * 2, None, None, None),
    hindsight=InHindsight((Early(5, 20, 1, None), Early(30, 20, 3, None), Early(240, 20, 9, None)), {}, None, None),
    charges=Charges(
        4, Amounts(Decimal(2), Spread(4, Decimal("0.5"), (Decimal("0.5"),) * 3, Decimal("0.6"))), None, None
    ),
    latency_ms={"sent": Spread(9, Decimal(3), (Decimal(2), Decimal(5), Decimal(7)), Decimal(8))},
)


def report_of(*rows: Row, rest: Rest | Unavailable = REST) -> MetricsReport:
    whole = Row((), tally_of(sum(r.tally.hits for r in rows), sum(r.tally.misses for r in rows)), 7)
    return MetricsReport(BY, rows, whole, "journal.db", 10, Targets(), rest)


GOOD, BAD, FEW = row_of("BTCUSDT", 90, 10), row_of("ETHUSDT", 30, 70), row_of("XRPUSDT", 0, 3)


def test_the_table_tells_every_row_and_the_sum() -> None:
    lines = text.table_text(report_of(GOOD, BAD, FEW), TABLE_FIELDS).splitlines()

    assert lines[1].split()[:6] == ["tp", "BTCUSDT", "100", "0", "90.0%", "82.6%"]
    assert lines[4].split()[:4] == ["all", "203", "7", "59.1%"]
    assert any("counting 7 attempts still open, 40.0% to 60.0% end in a hit" in line for line in lines)
    assert any(line.startswith("n/a") and "slippage to mid" in line for line in lines)
    assert "excursions   in favour p50 1.00%, mean 2.00%; against p50 1.00%, mean 2.00%, worst 5.00%" in lines
    assert "left early   of 20 judged misses the target was reached within 5 min 1, 30 min 3, 4 h 9" in lines
    late = Spread(1, Decimal(4), (Decimal(4),) * 3, Decimal(4))
    rest = replace(REST, mid_slippage={"close": REST.stop_slippage["ratchet"]}, mid_late_ms=late)
    with_mid = text.table_text(report_of(GOOD, rest=rest), TABLE_FIELDS).splitlines()
    assert any(line.startswith("slippage     close (1) against the mid: mean -0.010%") for line in with_mid)
    assert "             the mid was read p50 4 ms, p99 4 ms after them" in with_mid
    assert "costs        entry fees 2.00 USD (4), of 4 positions read" in lines
    assert any(line.startswith("n/a") and line.endswith("slippage to mid, funding") for line in lines)
    assert "latency      sent p50 2 ms, p99 7 ms, longest 8 ms" in lines


@pytest.mark.parametrize("screen", [60, 80, 100, 200])
def test_a_narrow_screen_gets_fewer_columns_and_folded_lines_and_loses_nothing_unsaid(screen: int) -> None:
    report = report_of(GOOD, BAD, FEW)
    whole = text.table_text(report, TABLE_FIELDS).splitlines()
    shown = text.table_text(report, TABLE_FIELDS, screen=screen).splitlines()

    assert max(map(len, shown)) <= screen
    words = " ".join(" ".join(shown[6:]).split())
    said = re.search("not shown (.*): a wider terminal shows them, or --fields ", words)
    heads = ("done", "open", "hit rate", "95% low", "high", "slippage", "minutes", "profit", "R", "early")
    assert all(head in shown[0] or (said and head in said[1]) for head in heads)
    assert bool(said) is (len(whole[0]) > screen)
    # Folded at words: together they are what is said without a screen.
    assert (words.replace(said[0], "") if said else words) == " ".join(" ".join(whole[6:]).split())
    assert text.table_text(report, TABLE_FIELDS, screen=screen, fixed=True).splitlines()[0] == whole[0]


def test_few_attempts_stand_in_parentheses_and_dim_in_colour_and_never_alert() -> None:
    plain = text.table_text(report_of(FEW), TABLE_FIELDS)
    coloured = text.table_text(report_of(FEW, BAD), TABLE_FIELDS, color=True).splitlines()

    assert "(0.0%)" in plain
    assert "fewer than 10 attempts: no alert" in plain
    assert coloured[1].startswith("\x1b[2m")
    assert coloured[2].startswith("\x1b[1;31m")
    assert report_of(FEW).level is Level.UNJUDGED
    assert text.nagios_line(report_of(FEW)).startswith("TPCTL OK - 3 attempts, too few to judge |")


def test_what_was_not_measured_is_na_and_never_a_zero() -> None:
    assert value_of(FEW, "avg_slippage_pct") == Unavailable("no hits")
    assert value_of(FEW, "avg_r") == Unavailable("the first stop of these positions is not on record")
    assert value_of(Row((), Tally(), 0), "tp_hit_rate") == Unavailable("no finished attempts")
    assert text.cell(FEW, "avg_time_to_tp_minutes") == "n/a"


def test_a_metrics_file_does_not_speak_of_what_it_does_not_hold() -> None:
    row = replace(BAD, from_file=True)

    for name in ("profit_usd", "avg_r", "avg_roi", "avg_profit_share", "premature_judged"):
        assert value_of(row, name) == Unavailable("a metrics file does not hold it")
    assert value_of(row, "tp_attempts") == 100


def test_the_document_keeps_the_contract() -> None:
    document = json.loads(
        fields.document_text(report_of(GOOD, FEW), START, ("sim", "sim"), FIELDS, {}), parse_float=pytest.fail
    )
    data = document["data"]
    record = data["records"][1]

    assert document["schema"] == "tpctl.metrics/1"
    assert set(data["feedback"]) == {"tp_hit_rate", "avg_slippage", "premature_exit_rate"}
    assert data["naked_ms"] == {"count": 5, "p50": 0, "p99": 120, "max": 340}
    assert data["hit_probability"] == {"low": "0.4", "high": "0.6"}
    assert (record["tp_attempts"], record["tp_hit_rate"], record["avg_slippage_pct"]) == (3, "0", None)
    assert record["avg_slippage_pct_unavailable_reason"] == "no hits"
    assert record["hit_rate_high"].startswith("0.56")
    assert record["last_updated"] == "2025-11-20T14:00:00.000Z"
    assert (data["entry_fees_usd"]["total"], data["funding_usd"], data["net_pnl_usd"]) == ("2", None, None)
    assert "does not tell" in data["funding_usd_unavailable_reason"]
    assert data["slippage_to_mid"] is None
    assert "no book was read" in data["slippage_to_mid_unavailable_reason"]
    for value in _leaves(document):
        assert not (isinstance(value, str) and re.fullmatch(r"-?[\d.]+[eE][+-]?\d+", value)), value


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]


def test_findings_name_the_group_the_figure_and_the_interval() -> None:
    found = fields.findings_fields(report_of(GOOD, BAD))

    assert [(row["symbol"], row["name"], row["level"]) for row in found if isinstance(row, dict)] == [
        ("ETHUSDT", "hit_rate", "critical")
    ]


def test_rows_for_scripts_leave_out_what_is_unavailable() -> None:
    names = ("tp_attempts", "tp_hit_rate", "avg_slippage_pct")
    report = report_of(FEW)

    assert fields.csv_text(report, names) == f"strategy_id,symbol,{','.join(names)}\ntp,XRPUSDT,3,0,\n"
    assert fields.plain_text(report, names) == "tp\tXRPUSDT\t3\t0\t-\n"
    assert json.loads(fields.jsonl_text(report, names))["avg_slippage_pct"] is None


def test_the_status_line_has_performance_data_and_names_the_worst() -> None:
    line = text.nagios_line(report_of(GOOD, BAD))

    assert re.fullmatch(
        r"TPCTL CRITICAL - tp ETHUSDT hit rate 30\.0% \(95% .+\), target ≥ 75% \| attempts=200 hit_rate=0\.6;0\.75:"
        r" slippage=0\.00098;0\.003 premature=0;0\.15\n",
        line,
    )
    assert text.nagios_line(report_of(GOOD)).startswith("TPCTL OK - 100 attempts | ")


def test_feedback_is_plain_digits() -> None:
    assert text.feedback_text(tally_of(1, 1)).splitlines()[0] == "tp_hit_rate 0.5"
    assert text.feedback_text(Tally()) == "tp_hit_rate -\navg_slippage -\npremature_exit_rate -\n"


def test_a_trend_shows_gaps_as_gaps() -> None:
    assert sparkline([(0, 0), (4, 0), (4, 2), (4, 4), (0, 0)]) == "·▁▅█·"
    trended = replace(GOOD, trend=((1, 1), (0, 0)))
    assert text.table_text(report_of(trended), TABLE_FIELDS, quiet=True).splitlines()[1].endswith("█·")


HEAT = HeatMap(NASTY, ("BTCUSDT", NASTY), ("00", "01"), {(0, 0): tally_of(20, 0), (1, 1): tally_of(1, 1)})


def test_a_heat_map_says_hits_few_and_none_apart() -> None:
    lines = heat_text(HeatMap("t", ("BTCUSDT", "X"), ("00", "01"), HEAT.cells), 10).splitlines()

    assert lines[2].split() == ["BTCUSDT", "█", "100", "·"]
    assert lines[3].split() == ["X", "·", "(50)"]


def test_a_heat_map_that_is_too_wide_goes_on_below() -> None:
    hours = tuple(f"{hour:02}" for hour in range(24))
    heat = HeatMap("t", ("BTCUSDT", "X"), hours, {(0, hour): tally_of(hour, 20) for hour in range(24)})
    wide, folded = heat_text(heat, 10).splitlines(), heat_text(heat, 10, screen=80).splitlines()

    assert len(wide) == 5
    assert len(folded) == 8
    assert max(map(len, folded[:-1])) <= 80
    assert " ".join((folded[1] + folded[4]).split()) == " ".join(hours)
    assert folded[2].split()[1:] + folded[5].split()[1:] == wide[2].split()[1:]
    assert heat_text(HeatMap("t", (), ("00",), {}), 10, screen=3)


def stretch(since: int, steps: int) -> Stretch:
    last = tuple(Decimal(2) - Decimal(n) / 100 for n in range(steps))
    return Stretch(since, 250, tuple(p - 1 for p in last), tuple(p + 1 for p in last), last)


NOWHERE = Path((), (), (), (), START)


def trade(pnl: str = "-4", *, settled: bool = False) -> Trade:
    closed = Closed(LIFE, START, START - 1000, NASTY, NASTY, Decimal(pnl), None, Decimal(-1), *(Decimal(2),) * 4)
    marks = tuple((START - 1000 + n * 10, Decimal(2) - Decimal(n) / 1000) for n in range(50))
    levels = (
        ("entry", "entry", Decimal(2)),
        ("stop", "first stop", Decimal("1.96")),
        ("target", NASTY, Decimal("2.06")),
    )
    path = (stretch(START - 1000, 4), stretch(START, 3)) if settled else ()
    stops = ((START - 1000, Decimal("1.96")), (START - 500, Decimal("1.97")))
    return Trade(closed, Path(marks, path, stops, ((START, Decimal("1.96")),), START), levels)


@pytest.mark.parametrize(
    "svg",
    [
        equity_svg([(START + n, Decimal(n % 7) - 3) for n in range(40)]),
        equity_svg([]),
        equity_svg([(START, Decimal(0))]),
        heat_svg(HEAT, 10),
        heat_svg(HeatMap("", (), (), {}), 10),
        trade_svg(trade().path, trade().levels),
        trade_svg(trade(settled=True).path, trade().levels),
        trade_svg(trade(settled=True).path, trade().levels, 350),
        trade_svg(NOWHERE, ()),
        trade_svg(NOWHERE, trade().levels),
    ],
)
def test_charts_are_well_formed_and_fetch_nothing(svg: str) -> None:
    root = ET.fromstring(alone(svg))  # noqa: S314 - our own text

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "href" not in svg
    assert "url(" not in svg
    assert "nan" not in svg.lower()


def test_levels_stand_in_the_order_of_their_prices() -> None:
    svg = trade_svg(trade().path, trade().levels)
    heights = {
        name: float(found[1])
        for name in ("entry 2", "first stop 1.96")
        if (found := re.search(rf'y="([\d.]+)" fill="[^"]+">{name}<', svg))
    }

    assert heights["entry 2"] < heights["first stop 1.96"]


def test_labels_of_levels_never_cover_each_other_and_stay_in_the_picture() -> None:
    close = tuple(("target", f"TP{n}", Decimal(2) + Decimal(n) / 10_000) for n in range(12))
    svg = trade_svg(trade(settled=True).path, (*close, ("stop", "first stop", Decimal("0.5"))))
    places = [float(y) for y in re.findall(r'y="([\d.]+)" fill="[^"]+">(?:TP|first)', svg)]

    assert len(places) == 13
    assert all(b - a >= 10.9 for a, b in pairwise(places))
    assert max(places) <= 240


def test_a_settled_trade_shows_what_came_after_its_exit_and_where_the_stop_stood() -> None:
    shown, open_yet = trade_svg(trade(settled=True).path, trade().levels), trade_svg(trade().path, trade().levels)

    assert ">after</text>" in shown
    assert ">after</text>" not in open_yet
    # Two bands and one line of the price, one line of the stop.
    assert shown.count("<path") == 4
    assert open_yet.count("<path") == 2


def test_the_page_is_one_file_that_fetches_and_runs_nothing() -> None:
    bad = replace(BAD, group=(NASTY, "ETHUSDT"))
    page = Page(
        NASTY,
        START,
        "sim",
        "sim",
        report_of(bad, FEW),
        (report_of(GOOD),),
        ((START, Decimal(-3)),),
        (HEAT,),
        (trade(),),
    )
    html = page_html(page)

    assert "<script" not in html
    assert re.findall(r"https?://[^\"' )]+", html) == ["http://www.w3.org/2000/svg"] * html.count("<svg")
    for word in (" src=", " href=", "url(", "@import", "<link", "<iframe"):
        assert word not in html
    assert "default-src 'none'" in html
    assert html.count("&lt;script&gt;") >= 5
    for section in (
        "By strategy, symbol",
        "Equity of exits",
        "Missed targets",
        "Positions",
        "While they were held",
        "In hindsight",
        "Worst trades",
        "Not recorded",
    ):
        assert f"<h2>{section}" in html


def test_the_page_of_a_fresh_account_says_what_it_lacks() -> None:
    empty = MetricsReport(BY, (), Row((), Tally(), 0), "j", 10, Targets(), Unavailable("nothing yet"))
    html = page_html(Page("t", START, "sim", "sim", empty, (), (), (), ()))

    assert "no exits yet" in html
    assert "Too few attempts to judge." in html
    assert "n/a: nothing yet" in html


def compared(test: Sequential) -> Comparison:
    figure = Compared("mean_r", 0.1, 0.4, Drawn(0.3, 0.1, 0.5, 30), test)
    none = Compared("mean_profit_usd", None, 0.4, Unavailable("8 days"), Sequential(0, 9, None, None, None, 1.0, None))
    return Comparison("static", "dynamic", (900, 800), (2700, 2400), (figure, none))


def test_a_comparison_says_what_may_be_said() -> None:
    shown = compare_text(compared(Sequential(900, 800, 0.3, 0.1, 0.5, 0.001, 640)))
    undecided = compare_text(compared(Sequential(900, 800, 0.3, -0.1, 0.7, 0.4, None)))

    assert "mean R: dynamic is higher, shown after 640 positions" in shown
    assert "mean R: no difference shown yet" in undecided
    assert "mean profit, USD: n/a: one of the two has no position with this figure" in shown
    assert "+0.100 to +0.500" in shown
    row = compare_fields(compared(Sequential(900, 800, 0.3, 0.1, 0.5, 0.001, 640)))["figures"]
    assert isinstance(row, list)
    assert isinstance(row[0], dict)
    assert (row[0]["difference"], row[0]["decided"]) == ("0.3", True)
    assert json.dumps(row, default=pytest.fail)


def test_groups_read_as_people_say_them() -> None:
    rows = [Row((2, 5, 3), tally_of(1, 0), Unavailable("x"))]
    report = replace(report_of(), by=(Dimension.LEG, Dimension.HOUR, Dimension.WEEKDAY), rows=tuple(rows))

    assert text.table_text(report, ("tp_attempts",), quiet=True).splitlines()[1].split() == ["TP2", "05:00", "Thu", "1"]


def test_random_reports_never_fail_to_render() -> None:
    for seed in range(20):
        rows = tuple(
            Row((a.strategy_id, a.symbol), Tally.of([measure(a, None, None)]), 0) for a in random_attempts(seed, 5)
        )
        for report in (report_of(*rows), report_of(*rows, rest=Unavailable("x"))):
            assert text.table_text(report, FIELDS)
            assert text.targets_text(report)
            assert json.loads(fields.document_text(report, START, ("sim", "sim"), FIELDS, {}))


def test_a_position_key_reads_as_symbol_and_side() -> None:
    assert str(PositionKey("XRPUSDT", PositionSide.LONG)) in page_html(
        Page("t", START, "sim", "sim", report_of(GOOD), (), (), (), (trade(),))
    )
