"""`tpctl quantize`: values as the exchange would accept them, by rules that are data and never memory.

Decides which rule book applies and how values are rounded, from the command line; rounding and judging are
`exits.placeable`, showing is `views.quantize`. Sends nothing.
"""

import sys
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from tpctl.adapters.rulebook import DEFAULT_TTL_MS, RuleBook
from tpctl.cli.options import (
    HELP_NAMES,
    ColorMode,
    ColorOption,
    Command,
    ConfigOption,
    Example,
    Format,
    NoInputOption,
    ProfileOption,
    QuietOption,
    SharedOptions,
    StateDirOption,
    VerboseOption,
    colored,
    epilog,
    parse_length,
    parse_number,
)
from tpctl.cli.rule_sources import built_in_rules, rule_cache
from tpctl.exits.errors import ExitCode, InputsError, PartialError, UsageError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.placeable import Field, Placement, Role, Terms, place
from tpctl.exits.quantize import Direction
from tpctl.exits.units import Millis
from tpctl.settings.profile import profile_env
from tpctl.views.quantize import COLUMNS, QuantizeReport

EXAMPLES = (
    Example("tpctl quantize XRPUSDT --price 1.23456789 --qty 742.891234", "what would be sent, and every rule judged"),
    Example("tpctl quantize XRPUSDT --stop-price 1.9983741 --side long --for stop --raw", "a stop, for a script"),
    Example("tpctl quantize BTCUSDT --show-rules --json", "the rules of one symbol, and how old they are"),
)
EXIT_CODES = (
    ExitCode.OK,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.UNAVAILABLE,
    ExitCode.RATE_LIMITED,
    ExitCode.STATE_FILE,
    ExitCode.INPUTS,
    ExitCode.PARTIAL,
    ExitCode.NOT_PLACEABLE,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """A `quantize` command line, read and checked. `ttl_ms` is how old cached rules may be."""

    symbol: str | None
    values: tuple[tuple[Field, Decimal], ...]
    terms: Terms
    shared: SharedOptions = field(default_factory=SharedOptions)
    rules: Path | None = None
    refresh: bool = False
    offline: bool = False
    ttl_ms: Millis = DEFAULT_TTL_MS
    show_rules: bool = False
    stdin: bool = False
    raw: bool = False
    strict: bool = False
    format: Format = Format.TABLE
    fields: tuple[str, ...] = COLUMNS

    def __post_init__(self) -> None:
        if self.symbol is None and not self.stdin:
            raise UsageError("'SYMBOL' is missing", "name one, such as XRPUSDT")
        if self.refresh and (self.rules is not None or self.offline):
            other = "--rules" if self.rules is not None else "--offline"
            raise UsageError(f"--refresh and {other} contradict each other", "give one of them")
        if self.stdin and (self.values or self.show_rules or self.raw or self.format is not Format.TABLE):
            raise UsageError(
                "--stdin takes its values and its format from the rows",
                "leave --price, --stop-price, --qty, --show-rules, --raw and --format out",
            )
        if not (self.values or self.show_rules or self.stdin):
            raise UsageError("there is nothing to round", "give --price, --stop-price, --qty, --stdin or --show-rules")


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def parse_value(text: str) -> Decimal:
    """Read a price or quantity, above zero."""
    value = parse_number(text)
    if value <= 0:
        raise UsageError(f"value {text!r} is not above zero", "give a positive number")
    return value


def _values(option: str, words: str) -> object:
    return typer.Option(option, metavar="NUMBER", parser=parse_value, help=words)


@app.command("quantize", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def quantize(
    symbol: Annotated[
        str | None, typer.Argument(metavar="[SYMBOL]", help="Symbol, such as XRPUSDT; with --stdin rows may name it.")
    ] = None,
    price: Annotated[list[Decimal] | None, _values("--price", "Limit price to round; repeatable.")] = None,
    stop_price: Annotated[list[Decimal] | None, _values("--stop-price", "Trigger price to round; repeatable.")] = None,
    qty: Annotated[list[Decimal] | None, _values("--qty", "Quantity to round, always down; repeatable.")] = None,
    side: Annotated[
        PositionSide | None, typer.Option("--side", help="Side of the position; with --for, prices go toward entry.")
    ] = None,
    role: Annotated[Role | None, typer.Option("--for", help="What the values are for.")] = None,
    direction: Annotated[
        Direction | None, typer.Option("--round", help="Where prices off the tick go.  [default: down]")
    ] = None,
    mark: Annotated[
        Decimal | None,
        typer.Option("--mark", metavar="NUMBER", parser=parse_value, help="Mark price, for the rules that need one."),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", metavar="FILE", help="Rules from an exchangeInfo file, plain or .gz."),
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch the rules again first.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch; use cached rules of any age.")] = False,
    max_age: Annotated[
        Millis | None,
        typer.Option(
            "--max-age", metavar="DURATION", parser=parse_length, help="Fetch rules older than this.  [default: 1h]"
        ),
    ] = None,
    show_rules: Annotated[bool, typer.Option("--show-rules", help="Print the symbol's rules too.")] = False,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Round rows from stdin: JSON lines, or tab-separated below a header.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the values only, or nothing if one is refused.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 23 where rounding changes a value.")] = False,
    output: Annotated[Format | None, typer.Option("--format", help="How to print.  [default: table]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (tpctl.quantize/1).")] = False,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="LIST", help=f"Columns to print, of: {', '.join(COLUMNS)}.")
    ] = None,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = ColorMode.AUTO,
    no_input: NoInputOption = False,
) -> ExitCode:
    """Round prices and quantities to what the exchange accepts, and say which rule refuses them.

    Prices go down to the tick, or with --side and --for toward entry: a stop loses no more and a take-profit fills no
    later than planned. Quantities always go down: an exit must not exceed its position.

    Rules come from the profile's exchange and are cached for an hour; in sim they are the twin's own. Judged as
    orders that reduce: the smallest notional does not bind them. Take-profits, stops and market orders trade at
    market, so their quantity is held to the market limits.
    """
    if json and output not in {None, Format.JSON}:
        raise UsageError("--json and --format contradict each other", "give one of them")
    given = ((Field.PRICE, price), (Field.STOP_PRICE, stop_price), (Field.QUANTITY, qty))
    options = QuantizeOptions(
        symbol=symbol,
        values=tuple((name, number) for name, numbers in given for number in numbers or ()),
        terms=_terms(side, role, direction, mark),
        shared=SharedOptions(profile, config, state_dir, quiet, verbose, color, no_input),
        rules=rules,
        refresh=refresh,
        offline=offline,
        ttl_ms=DEFAULT_TTL_MS if max_age is None else max_age,
        show_rules=show_rules,
        stdin=stdin,
        raw=raw,
        strict=strict,
        format=Format.JSON if json else output or Format.TABLE,
        fields=_fields(fields),
    )
    return run_quantize(options)


def run_quantize(options: QuantizeOptions) -> ExitCode:
    """Round what the options name, print it, and return 0, or 23 where something cannot be placed."""
    now = time.time_ns() // 1_000_000
    name, env = profile_env(options.shared.config, options.shared.profile)
    book = rule_book(options, env, now)
    if options.stdin:
        return _stream(options, book)
    instrument = book.instrument(book.spelled(options.symbol or ""))
    symbol = instrument.symbol
    worth = next((number for kind, number in options.values if kind is not Field.QUANTITY), None)
    values = tuple(place(instrument, kind, number, options.terms, price=worth) for kind, number in options.values)
    warnings = book.warnings
    if instrument.unknown_filters:
        unknown = ", ".join(instrument.unknown_filters)
        warnings += (("filters_unknown", f"{symbol} has filters this tpctl does not judge: {unknown}"),)
    report = QuantizeReport(
        symbol=symbol,
        values=values,
        origin=book.origin,
        fetched_at=book.fetched_at,
        age_ms=book.age_ms(now),
        rules=instrument if options.show_rules else None,
        warnings=warnings,
    )
    _print(report, options, now, name, env)
    return _code(values, strict=options.strict)


def rule_book(options: QuantizeOptions, env: str, now: Millis) -> RuleBook:
    """Return the rules to round by: a named file, the twin's, the cache, or a fetch, in this order.

    Raises `InputsError`, and what the fetch raises.
    """
    if options.rules is not None:
        return RuleBook.from_files(options.rules)
    if env == "sim":
        return built_in_rules()
    cache = rule_cache(env, options.ttl_ms)
    if options.offline:
        return cache.offline(now)
    book = None if options.refresh else cache.fresh(now)
    if book is not None:
        return book
    import asyncio

    from tpctl.adapters.binance.endpoints import DEMO, LIVE
    from tpctl.adapters.binance.rule_fetch import fetch_rules

    endpoints = LIVE if env == LIVE.env else DEMO
    return asyncio.run(cache.current(lambda: fetch_rules(endpoints), now, refresh=options.refresh))


def _terms(side: PositionSide | None, role: Role | None, direction: Direction | None, mark: Decimal | None) -> Terms:
    if direction is not None and role is not None:
        raise UsageError("--round and --for contradict each other", "--side and --for choose the direction")
    if role in {Role.TP, Role.STOP, Role.LIMIT} and side is None:
        raise UsageError(f"--for {role} needs a side", "add --side long or --side short")
    if side is not None and role is None:
        raise UsageError("--side does nothing without --for", "add --for tp, stop, limit or market")
    return Terms(direction or Direction.DOWN, side, role, mark)


def _fields(text: str | None) -> tuple[str, ...]:
    if text is None:
        return COLUMNS
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = next((name for name in names if name not in COLUMNS), None)
    if unknown is not None or not names:
        raise UsageError(f"no such field {unknown or text!r}", f"the fields are: {', '.join(COLUMNS)}")
    return names


def _print(report: QuantizeReport, options: QuantizeOptions, now: Millis, name: str, env: str) -> None:
    from tpctl.views import quantize as view

    out, err = sys.stdout, sys.stderr
    if options.raw:
        out.write(view.raw_text(report))
        err.write(view.refusal_lines(report))
    elif options.format is Format.JSON:
        out.write(view.document_text(report, now, name, env, options.fields))
        return
    elif options.format is Format.JSONL:
        out.write(view.jsonl_text(report, options.fields))
    elif options.format is Format.CSV:
        out.write(view.csv_text(report, options.fields))
    elif options.format is Format.PLAIN:
        out.write(view.plain_text(report, options.fields))
    else:
        shared = options.shared
        out.write(view.table_text(report, options.fields, quiet=shared.quiet, color=colored(shared.color)))
    if not options.shared.quiet:
        err.writelines(f"warning: {text}\n" for _, text in report.warnings)


def _code(values: tuple[Placement, ...], *, strict: bool) -> ExitCode:
    if all(value.placeable and not (strict and value.changed) for value in values):
        return ExitCode.OK
    return ExitCode.NOT_PLACEABLE


def _stream(options: QuantizeOptions, book: RuleBook) -> ExitCode:
    from tpctl.cli.quantize_rows import quantize_rows

    # A symbol nobody knows is one mistake, not one a row.
    symbol = None if options.symbol is None else book.instrument(book.spelled(options.symbol)).symbol
    tally = quantize_rows(sys.stdin.buffer, sys.stdout, sys.stderr, book, symbol, options.terms)
    if tally.broken == tally.rows:
        raise InputsError(f"none of the {tally.rows} rows can be read", "the first of them are named above")
    if tally.broken:
        raise PartialError(
            f"{tally.broken} of {tally.rows} rows were left out, the first at line {tally.first_broken}",
            "mend the lines named above; the other rows were rounded",
        )
    refused = tally.refused or (options.strict and tally.changed)
    return ExitCode.NOT_PLACEABLE if refused else ExitCode.OK
