"""Between the reducer's state and the journal: what is stored of a position, and the state a start begins with.

Start and recovery are one path: a journal with no positions gives an empty state.
"""

from collections.abc import Iterable, Iterator

from tpctl.adapters.codec import CodecError, decode, encode
from tpctl.adapters.journal_reader import EpisodeRow, JournalReader, PositionRow
from tpctl.exits.episode import Episode, Phase, Scope, State
from tpctl.exits.errors import StateFileError
from tpctl.exits.experiment import NO_EXPERIMENT, Experiment
from tpctl.exits.model import PositionKey
from tpctl.exits.rules import ExitRules


def position_row(state: State, key: PositionKey) -> PositionRow:
    """Return what the journal keeps of one position; a position that ended keeps only its count of lives."""
    episode = state.episodes.get(key)
    lives = state.lives.get(key, 0)
    if episode is None:
        return PositionRow(key, lives, None, None)
    return PositionRow(key, lives, episode.generation, encode(episode))


def episode_rows(before: State, after: State, keys: Iterable[PositionKey]) -> Iterator[EpisodeRow]:
    """Yield the lives that began or went flat between two states."""
    for key in keys:
        old, new = before.episodes.get(key), after.episodes.get(key)
        if new is None:
            continue
        began = old is None or old.generation != new.generation
        ended = new.phase is Phase.FLAT and (began or old is None or old.phase is not Phase.FLAT)
        if began or ended:
            yield _row(new, closed=new.phase is Phase.FLAT)


def _row(episode: Episode, *, closed: bool) -> EpisodeRow:
    return EpisodeRow(
        generation=episode.generation,
        key=episode.key,
        opened_at=episode.opened_at,
        entry=episode.entry,
        quantity=episode.quantity if not closed else episode.exit_quantity,
        closed_at=episode.flat_at if closed else None,
        average_exit=episode.average_exit if closed else None,
        realised=episode.realised if closed else None,
        fees=episode.fees if closed else None,
        naked_ms=episode.naked_ms if closed else None,
        reason=episode.close_reason if closed else None,
    )


def load_state(
    journal: JournalReader, account: str, rules: ExitRules, scope: Scope, experiment: Experiment = NO_EXPERIMENT
) -> State:
    """Return the state the journal remembers of what `scope` allows; raises `StateFileError` where it cannot be read.

    What it does not allow stays in the journal as it is, for a run that does.
    """
    episodes: dict[PositionKey, Episode] = {}
    lives: dict[PositionKey, int] = {}
    for key, row in journal.states().items():
        lives[key] = row.lives
        if row.state is None or not scope.allows(key.symbol):
            continue
        try:
            episodes[key] = decode(row.state, Episode)
        except CodecError as error:
            raise StateFileError(
                f"the journal's state of {key} does not fit this version: {error}",
                "use the version that wrote it, or move the journal aside: tpctl rebuilds from the exchange",
            ) from error
    return State(account=account, rules=rules, scope=scope, episodes=episodes, lives=lives, experiment=experiment)
