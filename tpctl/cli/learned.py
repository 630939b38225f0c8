"""The learned policy of a running watch: where it is kept, what was measured of it, and how it is taken out of use."""

from collections.abc import Callable
from pathlib import Path

from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.policy_evidence import read_evidence
from tpctl.adapters.policy_registry import PolicyRegistry
from tpctl.adapters.policy_use import PolicyFile, PolicyUse
from tpctl.adapters.requests import wall_ms
from tpctl.engine.learned import LearnedExits
from tpctl.exits.episode import State
from tpctl.exits.model import PositionKey
from tpctl.ports import AccountReader, Clock


def open_adviser(
    reader: AccountReader, clock: Clock, folder: Path, journal: JournalReader, state: Callable[[], State]
) -> LearnedExits:
    """Return the policy in use in the state directory `folder`, read again whenever that changes."""
    registry = PolicyRegistry(folder)

    def life(key: PositionKey) -> str | None:
        episode = state().episodes.get(key)
        return None if episode is None else episode.generation

    def suspend(use: PolicyUse, why: str) -> None:
        registry.suspend(use.choice, wall_ms(), why)

    return LearnedExits(
        reader,
        clock,
        PolicyFile(folder).current,
        rules=lambda: state().rules,
        life=life,
        book=lambda use: read_evidence(journal, use.choice, use.symbols, use.policy.longest_ms),
        suspend=suspend,
    )
