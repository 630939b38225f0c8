"""Runs `risk`: gathers, measures, prints, and says by which exit code.

numpy is asked for before anything else is read, and not at all where every reading is given by hand.
"""

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from tpctl.cli.options import Format
from tpctl.cli.risk_inputs import HypotheticalBook, Told, parse_marks, parse_settings, read_inputs
from tpctl.cli.risk_options import RiskOptions
from tpctl.engine.risk_context import require_numerics
from tpctl.exits.errors import ExitCode, InputsError, TpctlError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.risk import risk_effect
from tpctl.market.risk.readings import CONTRACT, EFFECTIVE, Level, Measured, Reading, RiskReport
from tpctl.settings.load import load
from tpctl.settings.schema import Settings
from tpctl.views.risk import RiskView

if TYPE_CHECKING:
    from tpctl.market.risk.measurement import Measurement
    from tpctl.views.machine import Json

_CODES = {Level.OK: ExitCode.OK, Level.WARNING: ExitCode.CHECK_WARNING, Level.CRITICAL: ExitCode.CHECK_CRITICAL}
# What a Nagios plugin ends with; unknown is 3.
_PLUGIN_CODES = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2}
_PLUGIN_UNKNOWN = 3


def run_risk(options: RiskOptions) -> ExitCode:
    """Do what the options ask for; return the exit code."""
    if not options.nagios:
        return _run(options)
    try:
        return _run(options)
    except TpctlError as error:
        sys.stdout.write(f"TPCTL RISK UNKNOWN - {error.message}; {error.hint}\n")
        _end_as_plugin(_PLUGIN_UNKNOWN)


def _run(options: RiskOptions) -> ExitCode:
    settings = load(options.shared.config, options.shared.profile, options.shared.state_dir)
    marks = parse_marks(options.warn, options.crit)
    told = Told() if options.inputs is None else read_inputs(options.inputs)
    told = replace(told, readings={**told.readings, **parse_settings(options.settings)})
    if options.backtest or options.stress is not None:
        _prepare()
        from tpctl.cli.risk_history import run_backtest, run_stress

        return run_backtest(options, settings) if options.backtest else run_stress(options, settings, told)
    asked: Measurement | None = None
    if _needs_measuring(options, told):
        _prepare()
        asked = _gathered(options, settings, told)
        report = _measured(asked)
    else:
        report = _unmeasured()
    report = _told_over(report, told.readings)
    more: dict[str, Json] = {}
    extra = ""
    if options.plot is not None and asked is not None:
        from tpctl.cli.risk_history import draw_course

        figures_rows, extra = draw_course(options, asked)
        more["course"] = figures_rows
    view = RiskView(
        report=report,
        effect=risk_effect(report.exit_readings(), settings.exits.risk),
        marks=marks,
        profile=settings.name,
        env=settings.profile.env.value,
        more=more,
    )
    _print(view, options, extra)
    return _code(view, options)


def _needs_measuring(options: RiskOptions, told: Told) -> bool:
    """Whether anything is left to measure: what is told in full is a what-if, and asks nobody."""
    full = all(name in told.readings for name in EFFECTIVE)
    return not full or bool(options.data) or options.plot is not None or told.book is not None


def _prepare() -> None:
    """Ask for numpy before anything else is read, and for one thread of it."""
    # The matrices are small: a second thread of the linear algebra waits longer for the first than it helps.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    require_numerics()


# Gathering and measuring


def _gathered(options: RiskOptions, settings: Settings, told: Told) -> "Measurement":
    if options.data:
        return _from_files(options, told)
    from tpctl.cli.risk_sources import read_exchange

    asked = asyncio.run(read_exchange(options, settings))
    return asked if told.book is None else _with_book(asked, told.book)


def _from_files(options: RiskOptions, told: Told) -> "Measurement":
    from tpctl.cli.risk_files import recorded_panel
    from tpctl.market.risk.measurement import Measurement

    panel = recorded_panel(options)
    asked = Measurement(
        panel=panel,
        exposures=(),
        account=Unavailable("no account: candles are from files"),
        at=panel.newest if options.at is None else options.at,
        level=options.level,
        source="recorded candles",
        window_days=options.window_days,
    )
    return asked if told.book is None else _with_book(asked, told.book)


def _with_book(asked: "Measurement", book: HypotheticalBook) -> "Measurement":
    from tpctl.cli.risk_files import newest_closes

    marked = book.marked({} if isinstance(asked.panel, Unavailable) else newest_closes(asked.panel))
    return replace(asked, exposures=marked.exposures, account=marked.account)


def _measured(asked: "Measurement") -> RiskReport:
    from tpctl.market.risk.measure import measure

    return measure(asked)


def _unmeasured() -> RiskReport:
    missing = Unavailable("not measured: the readings were set")
    readings = {name: Reading(name, missing, "", "", None) for name in CONTRACT}
    return RiskReport(time.time_ns() // 1_000_000, readings, (), (), {})


def _told_over(report: RiskReport, told: Mapping[str, Measured]) -> RiskReport:
    readings = dict(report.readings)
    for name, value in told.items():
        readings[name] = Reading(name, value, "given", "", None)
    return replace(report, readings=readings)


# Results


def _print(view: RiskView, options: RiskOptions, extra: str) -> None:
    from tpctl.views import risk as views

    out, shared = sys.stdout, options.shared
    if options.nagios:
        out.write(views.nagios_text(view))
        return
    match options.format:
        case Format.JSON:
            out.write(views.document_text(view))
        case Format.JSONL:
            out.write(views.jsonl_text(view, options.fields))
        case Format.CSV:
            out.write(views.csv_text(view, options.fields))
        case Format.PLAIN:
            out.write(views.plain_text(view, options.fields))
        case Format.TABLE:
            from tpctl.cli.options import colored

            color = colored(shared.color)
            out.write(views.table_text(view, quiet=shared.quiet, explain=options.explain, color=color))
            out.write(extra)


def _code(view: RiskView, options: RiskOptions) -> ExitCode:
    worst = view.worst
    if options.nagios:
        _end_as_plugin(_PLUGIN_UNKNOWN if worst is None else _PLUGIN_CODES[worst])
    if not options.check:
        return ExitCode.OK
    if worst is None:
        reasons = {r.value.reason for r in view.report.readings.values() if isinstance(r.value, Unavailable)}
        raise InputsError(f"no reading is available: {min(reasons)}", "see the reasons above")
    return _CODES[worst]


def _end_as_plugin(code: int) -> NoReturn:
    """End the process with a Nagios plugin's exit code, which are not those of this program."""
    sys.stdout.flush()
    raise SystemExit(code)
