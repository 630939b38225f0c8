"""Plans of positions that are not open, from what nobody has to be asked for. Decides nothing about levels."""

import time
from dataclasses import replace

from tpctl.adapters.policy_use import policy_in_use
from tpctl.cli.plan_options import PlanOptions
from tpctl.cli.rule_sources import offline_rules
from tpctl.engine.plan_request import bare_context, hypothetical_request, margin_assumption
from tpctl.engine.planning import Situation, compose
from tpctl.exits.errors import InputsError, TpctlError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Context
from tpctl.settings.schema import InputSettings, Settings
from tpctl.views.plan import PlanReport


def plan_offline(options: PlanOptions, settings: Settings, failures: list[TpctlError]) -> PlanReport:
    """Plan what the options name; what cannot be planned is added to `failures`. Raises `InputsError` without rules."""
    now = time.time_ns() // 1_000_000
    env = settings.profile.env.value
    book = offline_rules(env, now, options.rules, options.brackets)
    sheets = []
    for name in options.symbols:
        try:
            symbol = book.spelled(name)
            instrument = book.instrument(symbol)
            context = _configured(bare_context(book.brackets(symbol), "offline"), settings.inputs, symbol)
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


def _configured(context: Context, inputs: InputSettings, symbol: str) -> Context:
    """Return the context with what the configuration states for a symbol."""
    own = inputs.values_for(symbol)
    return replace(
        context,
        volatility=context.volatility if own.volatility is None else own.volatility,
        regime=own.regime or context.regime,
        confidence=context.confidence if own.confidence is None else own.confidence,
    )
