"""What a run works with: the settings with its options over them, and the positions it may manage."""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches

from tpctl.cli.runs import WatchOptions
from tpctl.exits.episode import Scope
from tpctl.exits.errors import InputsError, UsageError
from tpctl.ports import AccountReader
from tpctl.settings.load import load
from tpctl.settings.schema import InputSettings, InputValues, Settings


def read_settings(options: WatchOptions) -> Settings:
    """Return the settings of a run, the options of its command line over those of the file."""
    shared = options.shared
    return _with_options(load(shared.config, shared.profile, shared.state_dir), options)


def _with_options(settings: Settings, options: WatchOptions) -> Settings:
    """Return the settings with what the command line names put over them."""
    given = InputValues(options.confidence, options.volatility)
    own = {name: _over(given, values) for name, values in settings.inputs.symbols.items()}
    default = _over(given, settings.inputs.values_for(""))
    inputs = InputSettings(default.confidence, default.volatility, default.regime, own)
    exits = settings.exits if options.policy is None else replace(settings.exits, policy=options.policy)
    return replace(settings, inputs=inputs, exits=exits)


def _over(given: InputValues, values: InputValues) -> InputValues:
    """Return the values with those of the command line put over them: an option is for this run and every symbol."""
    return InputValues(
        values.confidence if given.confidence is None else given.confidence,
        values.volatility if given.volatility is None else given.volatility,
        values.regime,
    )


def scope_of(settings: Settings, options: WatchOptions) -> Scope:
    """Return which positions a run manages; raises `UsageError` where a named one is excluded by the configuration."""
    excluded = frozenset((*settings.watch.exclude, *options.exclude))
    for symbol in options.symbols:
        if symbol in excluded:
            raise UsageError(f"{symbol} is excluded by watch.exclude", "take it out of the configuration to guard it")
    return Scope(frozenset(options.symbols), excluded, settings.watch.rollout.fraction)


async def check_symbols(reader: AccountReader, symbols: tuple[str, ...]) -> None:
    """Raise `InputsError` for a symbol the exchange does not list, with the nearest that it does."""
    if not symbols:
        return
    known = await reader.instruments()
    for symbol in symbols:
        if symbol not in known:
            near = get_close_matches(symbol, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the exchange lists {len(known)} symbols"
            raise InputsError(f"unknown symbol {symbol!r}", hint)


async def warn_of_unlisted(reader: AccountReader, excluded: tuple[str, ...], warn: Callable[[str], object]) -> None:
    """Say which excluded symbols the exchange does not list: mistyped, or gone, which is no reason not to guard."""
    known = await reader.instruments()
    for symbol in excluded:
        if symbol not in known:
            near = get_close_matches(symbol, known, n=1)
            guess = f"; did you mean {near[0]}?" if near else ""
            warn(f"warning: watch.exclude names {symbol}, which the exchange does not list{guess}\n")
