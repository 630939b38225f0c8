"""What `retrain` does without training: due or not, the registry, and the choice of what is used."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from tpctl.adapters.files import StateDir, find_state_dir
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.policy_evidence import read_evidence
from tpctl.adapters.policy_pointer import Choice, Pointer, Stage
from tpctl.adapters.policy_registry import PolicyRegistry, Record
from tpctl.adapters.policy_use import policy_in_use
from tpctl.cli.retrain_options import Mode, RetrainOptions
from tpctl.exits.errors import ExitCode, StateFileError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Millis
from tpctl.market.bars import DAY_MS
from tpctl.market.policy.drift import Evidence, alarms, leaves_early, waiting
from tpctl.market.policy.due import Due, Standing, due
from tpctl.settings.profile import profile_state
from tpctl.views.retrain import Drift, RetrainView, document, listing, page

# Learning 8: how long a policy is in shadow before it is used.
_SHADOW_DAYS, _SHADOW_POSITIONS = 14, 100


def run_registry(options: RetrainOptions) -> ExitCode:
    """Do what was asked, print it, and return the exit code."""
    shared = options.shared
    profile, env, place = profile_state(shared.config, shared.profile, shared.state_dir)
    state, now = find_state_dir(place), time.time_ns() // 1_000_000
    warnings: list[tuple[str, str]] = []
    if state is not None:
        registry = PolicyRegistry(state.path)
        if options.mode is Mode.PROMOTE:
            warnings += _promote(state, registry, options, now)
        elif options.mode is Mode.ROLLBACK:
            registry.rollback(now, "asked for")
        records, pointer = registry.records(), registry.pointer()
        found, drift = _due(state, records, pointer, now)
        view = RetrainView(profile, env, now, pointer, records, registry.trials().count, found, drift=drift)
        if pointer.choice is not None and isinstance(use := policy_in_use(state.path), Unavailable):
            view = replace(view, refused=use.reason)
    elif options.mode in {Mode.PROMOTE, Mode.ROLLBACK}:
        raise StateFileError(f"{str(place)!r} holds no policies", "train one first: tpctl retrain --run")
    else:
        view = RetrainView(profile, env, now, Pointer(), (), 0, due(Standing(now, None, 0)))
    if options.json:
        sys.stdout.write(document(view, warnings))
    else:
        sys.stderr.writelines(f"warning: {text}\n" for _, text in warnings)
        sys.stdout.write(listing(view) if options.mode is Mode.LIST else page(view))
    return ExitCode.RETRAIN_DUE if options.check and view.due.due else ExitCode.OK


def _promote(state: StateDir, registry: PolicyRegistry, options: RetrainOptions, now: Millis) -> list[tuple[str, str]]:
    """Promote, and return what a careful operator would have waited for."""
    record = registry.find(options.named)
    stage = Stage(options.trust.value)
    untried = None if stage is Stage.SHADOW else _untried(state, registry.pointer().choice, record, now)
    registry.promote(record, Choice(record.hash, stage, options.share, now), "asked for")
    return [] if untried is None else [("shadow", untried)]


def _untried(state: StateDir, choice: Choice | None, record: Record, now: Millis) -> str | None:
    """Return what is missing of the time in shadow that learning 8 asks for; None once a policy was in use."""
    advised = f"{_SHADOW_DAYS} days and {_SHADOW_POSITIONS} positions are advised"
    if choice is None or choice.hash != record.hash:
        return f"it was not in shadow before: {advised}"
    if choice.stage is not Stage.SHADOW:
        return None
    days, met = (now - choice.at) // DAY_MS, 0
    if state.journal.exists():
        with JournalReader.read_only(state.journal) as journal:
            met = len(read_evidence(journal, choice, frozenset(record.symbols)).met)
    if days >= _SHADOW_DAYS and met >= _SHADOW_POSITIONS:
        return None
    return f"it was in shadow for {days} days and {met} positions: {advised}"


def _due(state: StateDir, records: Sequence[Record], pointer: Pointer, now: Millis) -> tuple[Due, Drift]:
    trained_at = records[-1].at if records else None
    if not state.journal.exists():
        drift = _drift(state, None, pointer)
        return due(Standing(now, trained_at, 0, drift.alarms)), drift
    with JournalReader.read_only(state.journal) as journal:
        closed = len(journal.episodes(closed_since=trained_at or 0))
        drift = _drift(state, journal, pointer)
        found = (*drift.alarms, *_premature(journal, trained_at or 0))
    return due(Standing(now, trained_at, closed, found)), drift


def _premature(journal: JournalReader, since: Millis) -> tuple[str, ...]:
    """Return what exits since the last training say against going on as before."""
    judged = [one.premature for one in journal.attempts() if one.exit_time >= since]
    found = leaves_early(judged.count(True), len(judged))
    return () if found is None else (found,)


def _drift(state: StateDir, journal: JournalReader | None, pointer: Pointer) -> Drift:
    """Return what speaks against the policy in use, or what took it out of use."""
    if pointer.suspended is not None:
        return Drift((pointer.why_none,))
    use = policy_in_use(state.path)
    if isinstance(use, Unavailable):
        return Drift() if pointer.choice is None else Drift((use.reason,))
    evidence = Evidence()
    if journal is not None:
        evidence = read_evidence(journal, use.choice, use.symbols, use.policy.longest_ms).evidence
    return Drift(alarms(evidence, use.expected), waiting(evidence, use.expected))
