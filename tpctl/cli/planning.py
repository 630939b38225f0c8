"""Runs `plan`: where its inputs come from, how the result is written, and which exit code it has.

Offline is here, everything that asks an exchange in `planning_live`, which is imported only then. Decides nothing about
levels or orders.
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tpctl.adapters.policy_use import policy_in_use
from tpctl.adapters.rulebook import RuleBook, RuleCache
from tpctl.cli.options import ColorMode
from tpctl.cli.plan import Format, PlanOptions
from tpctl.cli.quantize import built_in_rules
from tpctl.engine.plan_request import Given, bare_context, hypothetical_request
from tpctl.engine.planning import Situation, compose
from tpctl.exits.errors import ExitCode, InputsError, PartialError, StateFileError, TpctlError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Context, Reason, RiskReadings
from tpctl.exits.units import Millis, trimmed
from tpctl.settings.load import load
from tpctl.settings.profile import cache_dir
from tpctl.settings.schema import InputSettings, Settings
from tpctl.views.plan import PLAN_FIELDS, PlanReport

_READINGS = ("ess", "systemic", "correlation", "heat")
_RISK_HINT = 'write {"ess": 1.2, "systemic": 0.3, "correlation": 0.4, "heat": 0.1}; leave out or null what is not known'

NOT_WANTED = Unavailable("left out by --risk none")


def run_plan(options: PlanOptions) -> ExitCode:
    """Plan what the options ask for and print it, or apply a plan; return the exit code."""
    if options.apply is not None:
        from tpctl.cli.plan_apply import run_apply

        return run_apply(options)
    settings = load(options.shared.config, options.shared.profile, options.shared.state_dir)
    options = replace(options, given=replace(options.given, risk=_risk(options.risk)))
    failures: list[TpctlError] = []
    if options.offline:
        report = _plan_offline(options, settings, failures)
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


def _plan_offline(options: PlanOptions, settings: Settings, failures: list[TpctlError]) -> PlanReport:
    now = time.time_ns() // 1_000_000
    env = settings.profile.env.value
    book = offline_rules(options, env, now)
    sheets = []
    for name in options.symbols:
        try:
            symbol = spelled(name, book)
            instrument = book.instrument(symbol)
            context = configured(bare_context(book.brackets(symbol), "offline"), settings.inputs, symbol)
            context = replace(context, suggestion=_unasked(settings))
            missing = Unavailable("offline")
            request, notes = hypothetical_request(symbol, instrument, context, missing, options.given)
            notes = (*notes, *margin_assumption(options.given))
            situation = Situation(env, candles=missing, notes=notes, odds=options.odds)
            sheets.append(compose(request, settings.exits, situation))
        except InputsError as error:
            failures.append(error)
    return PlanReport(
        sheets=tuple(sheets),
        ts=now,
        profile=settings.name,
        env=env,
        origin=book.origin,
        fetched_at=book.fetched_at,
        age_ms=book.age_ms(now),
        warnings=(*book.warnings, *((error.kind, error.message) for error in failures)),
    )


def _unasked(settings: Settings) -> Unavailable:
    """Return why no learned policy has a say in a plan that asks nobody."""
    use = policy_in_use(settings.state_dir)
    return use if isinstance(use, Unavailable) else Unavailable(f"policy {use.name} needs candles, and this is offline")


def offline_rules(options: PlanOptions, env: str, now: Millis) -> RuleBook:
    """Return the rules nobody has to be asked for: named files, the twin's, or the cache; raises `InputsError`."""
    if options.rules is not None:
        return RuleBook.from_files(options.rules, options.brackets)
    if env == "sim":
        return built_in_rules()
    return rule_cache(env).offline(now)


def rule_cache(env: str) -> RuleCache:
    """Return the cache of an environment's rules."""
    return RuleCache(cache_dir() / f"rules-{env}.cache", env)


def spelled(symbol: str, book: RuleBook) -> str:
    """Return the symbol in the exchange's spelling where only its case differs."""
    return symbol if symbol in book.symbols() else symbol.upper()


def configured(context: Context, inputs: InputSettings, symbol: str) -> Context:
    """Return the context with what the configuration states for a symbol."""
    own = inputs.values_for(symbol)
    return replace(
        context,
        volatility=context.volatility if own.volatility is None else own.volatility,
        regime=own.regime or context.regime,
        confidence=context.confidence if own.confidence is None else own.confidence,
    )


def margin_assumption(given: Given) -> tuple[Reason, ...]:
    """Return that a position that is not open, of an unknown margin mode, is planned as isolated."""
    if given.margin is not None:
        return ()
    text = "the margin mode is not known: planned as isolated, where only its own margin backs the position"
    return (Reason("inputs", "margin_assumed", text),)


def _risk(text: str) -> RiskReadings | Unavailable | None:
    """Return the readings given by hand; None where they are to be measured."""
    if text == "auto":
        return None
    if text == "none":
        return NOT_WANTED
    return read_risk(Path(text))


def read_risk(path: Path) -> RiskReadings:
    """Return the readings of a JSON file, or of a `tpctl.risk/1` document; raises `InputsError`."""
    try:
        content = json.loads(path.read_bytes(), parse_float=Decimal, parse_int=Decimal)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise InputsError(f"risk file {str(path)!r} cannot be read: {reason}", "give auto, none or a file") from None
    except (ValueError, RecursionError):
        raise InputsError(f"risk file {str(path)!r} is not JSON", _RISK_HINT) from None
    rows, measured = content, {*_READINGS}
    if isinstance(content, Mapping) and content.get("schema") == "tpctl.risk/1":
        data = content.get("data")
        rows = data.get("readings") if isinstance(data, Mapping) else None
        measured = {*_READINGS, "var_95", "es_95"}
    if not isinstance(rows, Mapping):
        raise InputsError(f"risk file {str(path)!r} holds no readings", _RISK_HINT)
    unknown = next((name for name in rows if name not in measured), None)
    if unknown is not None:
        raise InputsError(f"risk file {str(path)!r} has an unknown reading {unknown!r}", _RISK_HINT)
    return RiskReadings(*(_reading(path, name, rows.get(name)) for name in _READINGS))


def _reading(path: Path, name: str, value: Any) -> Decimal | Unavailable:
    if isinstance(value, Mapping):
        if value.get("value") is None:
            return Unavailable(str(value.get("unavailable_reason") or "not measured"))
        value = value["value"]
    if value is None:
        return Unavailable(f"not in {str(path)!r}")
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except ArithmeticError:
        number = Decimal("NaN")
    most = Decimal(1000) if name == "ess" else Decimal(1)
    if not number.is_finite() or not 0 <= number <= most:
        raise InputsError(f"{name} '{value}' in {str(path)!r} is not between 0 and {trimmed(most)}", _RISK_HINT)
    return number


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


def colored(mode: ColorMode) -> bool:
    """Whether stdout takes colour."""
    if mode is not ColorMode.AUTO:
        return mode is ColorMode.ALWAYS
    if not sys.stdout.isatty():
        return False
    from tpctl.views.streams import detect

    return detect(sys.stdout, sys.stderr, mode).color
