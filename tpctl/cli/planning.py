"""Runs `plan`: where its inputs come from, how the result is written, and which exit code it has.

Offline plans are made in `plan_offline`, those that ask an exchange in `planning_live`; only the one that is needed is
imported. Decides nothing about levels or orders.
"""

import sys
from dataclasses import replace
from pathlib import Path

from tpctl.cli.options import colored
from tpctl.cli.plan_options import Format, PlanOptions
from tpctl.cli.plan_risk import given_risk
from tpctl.exits.errors import ExitCode, PartialError, StateFileError, TpctlError
from tpctl.settings.load import load
from tpctl.views.plan import PLAN_FIELDS, PlanReport


def run_plan(options: PlanOptions) -> ExitCode:
    """Plan what the options ask for and print it, or apply a plan; return the exit code."""
    if options.apply is not None:
        from tpctl.cli.plan_apply import run_apply

        return run_apply(options)
    settings = load(options.shared.config, options.shared.profile, options.shared.state_dir)
    options = replace(options, given=replace(options.given, risk=given_risk(options.risk)))
    failures: list[TpctlError] = []
    if options.offline:
        from tpctl.cli.plan_offline import plan_offline

        report = plan_offline(options, settings, failures)
    else:
        from tpctl.cli.planning_live import plan_live

        report = plan_live(options, settings, failures)
    if not report.sheets and failures:
        raise failures[0]
    if options.output is not None:
        _write(options.output, report)
    _print(report, options)
    if failures:
        first = failures[0]
        raise PartialError(
            f"{len(failures)} of {len(failures) + len(report.sheets)} not planned: {first.message}", first.hint
        )
    return _code(report, options)


def _code(report: PlanReport, options: PlanOptions) -> ExitCode:
    if any(sheet.refused for sheet in report.sheets):
        return ExitCode.NOT_PLACEABLE
    if options.check and any(sheet.diff is not None and sheet.diff.due for sheet in report.sheets):
        return ExitCode.CHANGES_DUE
    return ExitCode.OK if report.sheets or options.check else ExitCode.EMPTY


def _write(path: Path, report: PlanReport) -> None:
    from tpctl.adapters.files import write_atomic
    from tpctl.views.plan import document_text

    if path.is_dir():
        raise StateFileError(f"cannot write {str(path)!r}: it is a directory", "name a file after -o")
    write_atomic(path.absolute(), document_text(report, PLAN_FIELDS).encode())


def _print(report: PlanReport, options: PlanOptions) -> None:
    out, err, shared = sys.stdout, sys.stderr, options.shared
    if options.format is Format.JSON:
        from tpctl.views.plan import document_text

        out.write(document_text(report, options.fields))
        return
    if options.format is Format.TABLE:
        from tpctl.views.plan_page import table_text

        color = colored(shared.color)
        out.write(table_text(report, options.fields, quiet=shared.quiet, explain=options.explain, color=color))
    else:
        from tpctl.views.plan_rows import csv_text, plain_text

        out.write((csv_text if options.format is Format.CSV else plain_text)(report, options.fields))
    if not shared.quiet:
        # The page shows the plans' own warnings.
        told = report.warnings if options.format is Format.TABLE else report.all_warnings
        err.writelines(f"warning: {text}\n" for _, text in told)
