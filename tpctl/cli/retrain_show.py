"""What `retrain` does without training: due or not, the registry, and the choice of what is used."""

import sys
import time
from collections.abc import Sequence

from tpctl.adapters.files import StateDir, find_state_dir
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.policy_pointer import Choice, Pointer, Stage
from tpctl.adapters.policy_registry import PolicyRegistry, Record
from tpctl.cli.retrain import Mode, RetrainOptions
from tpctl.exits.errors import ExitCode, StateFileError
from tpctl.exits.model import Attempt, Outcome
from tpctl.exits.units import Millis
from tpctl.market.policy.drift import slips_more
from tpctl.market.policy.due import Due, Standing, due
from tpctl.settings.profile import profile_state
from tpctl.views.retrain import RetrainView, document, listing, page

# How long a change waits for another that is being written.
_PATIENCE_MS = 2_000


def run_registry(options: RetrainOptions) -> ExitCode:
    """Do what was asked, print it, and return the exit code."""
    shared = options.shared
    profile, env, place = profile_state(shared.config, shared.profile, shared.state_dir)
    state, now = find_state_dir(place), time.time_ns() // 1_000_000
    if state is not None:
        registry = PolicyRegistry(state.path)
        if options.mode is Mode.PROMOTE:
            _promote(registry, options, now)
        elif options.mode is Mode.ROLLBACK:
            with registry.lock(_PATIENCE_MS):
                registry.rollback(now, "asked for")
        records, pointer = registry.records(), registry.pointer()
        found = _due(state, records, pointer, now)
        view = RetrainView(profile, env, now, pointer, records, registry.trials().count, found)
    elif options.mode in {Mode.PROMOTE, Mode.ROLLBACK}:
        raise StateFileError(f"{str(place)!r} holds no policies", "train one first: tpctl retrain --run")
    else:
        view = RetrainView(profile, env, now, Pointer(), (), 0, due(Standing(now, None, 0)))
    if options.json:
        sys.stdout.write(document(view))
    else:
        sys.stdout.write(listing(view) if options.mode is Mode.LIST else page(view))
    return ExitCode.RETRAIN_DUE if options.check and view.due.due else ExitCode.OK


def _promote(registry: PolicyRegistry, options: RetrainOptions, now: Millis) -> None:
    record = registry.find(options.named)
    with registry.lock(_PATIENCE_MS):
        choice = Choice(record.hash, Stage(options.trust.value), options.share, now)
        registry.promote(record, choice, "asked for")


def _due(state: StateDir, records: Sequence[Record], pointer: Pointer, now: Millis) -> Due:
    trained_at = records[-1].at if records else None
    if not state.journal.exists():
        return due(Standing(now, trained_at, 0))
    with JournalReader.read_only(state.journal) as journal:
        closed = len(journal.episodes(closed_since=trained_at or 0))
        in_use = pointer.choice
        alarms = () if in_use is None else _alarms(journal.attempts(), records, in_use)
    return due(Standing(now, trained_at, closed, alarms))


def _alarms(attempts: Sequence[Attempt], records: Sequence[Record], choice: Choice) -> tuple[str, ...]:
    """Return what speaks against the policy in use, by what was measured since its promotion."""
    record = next((one for one in records if one.hash == choice.hash), None)
    if record is None:
        return ()
    slips = [slippage_of(one) for one in attempts if one.exit_time >= choice.at and one.outcome is Outcome.HIT]
    found = slips_more(slips, record.slippage)
    return () if found is None else (found,)


def slippage_of(attempt: Attempt) -> float:
    """Return how far behind its target a take-profit was filled, as a fraction of price; adverse above zero."""
    short = attempt.target_price - attempt.exit_price
    return float(attempt.position_side.sign * short / attempt.target_price)
