"""`tpctl watch --flatten`: every managed position is closed at market, under a typed confirmation, leaving no order.

Whoever holds the account's lock owns its positions. Held, each close is asked for through the journal and followed
there until the position is flat and no order of ours is left; free, one pass takes up what a watch would guard and
closes it, through the same reducer, guard and journal. Doing it again finds nothing to do. HALT does not stop it: it
only reduces.
"""

import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tpctl.adapters.files import StateDir, find_state_dir
from tpctl.adapters.journal_reader import JournalReader
from tpctl.cli.arming import arm
from tpctl.cli.asking import ask_running, check_answers, is_guarded
from tpctl.cli.runs import WatchOptions
from tpctl.cli.telling import never_waiting
from tpctl.cli.trail_positions import read_episodes
from tpctl.exits.episode import Episode, Scope, State
from tpctl.exits.errors import ExitCode, NotArmedError, PartialError, UsageError
from tpctl.exits.flatten import AT_ONCE, is_over, open_episodes
from tpctl.exits.model import Note, NoteKind, Position, PositionKey
from tpctl.exits.requests import CloseAll
from tpctl.exits.units import Price, Quantity, trimmed
from tpctl.ports import AccountReader
from tpctl.settings.load import load
from tpctl.settings.schema import Env, Settings
from tpctl.views.streams import Story, detect, plain_story

WORD = "flatten"
_ANSWER_MS = 10_000
# A running watch that closes nothing for so long is not waited for.
_STALLED_S = 30.0
_LOOK_S = 0.1


class Progress:
    """A story that also counts what is closed; the counting goes to stderr."""

    def __init__(self, story: Story, *, quiet: bool) -> None:
        self._story = story
        self._quiet = quiet
        self._closed: set[tuple[PositionKey, int]] = set()
        self.total = 0

    def open(self) -> None:
        """Begin."""
        self._story.open()

    def tell(self, note: Note, seq: int) -> None:
        """Tell one event."""
        self._story.tell(note, seq)
        if note.kind is NoteKind.CLOSED and note.key is not None:
            self._closed.add((note.key, note.at))
            if not self._quiet:
                sys.stderr.write(f"closed {len(self._closed)} of {max(self.total, len(self._closed))}\n")

    def close(self) -> None:
        """End."""
        self._story.close()


@dataclass(slots=True)
class Flattening:
    """Holds a pass until the operator has seen what it will close, and said so."""

    settings: Settings
    options: WatchOptions
    progress: Progress
    armed: bool
    remaining: Sequence[Episode] = ()

    async def prepare(self, reader: AccountReader, state: State, halt: str | None) -> State:  # noqa: ARG002 - of the protocol; HALT stops no reduction
        """Return the state as it is, once the list is confirmed; raises `NotArmedError` where it is not."""
        held = [each for each in await reader.positions() if each.quantity and _managed(each.key, state)]
        self.progress.total = len(held)
        await _confirm(self.settings, self.options, [_position_words(each) for each in held], armed=self.armed)
        return state

    def settle(self, state: State) -> None:
        """Take the state the pass ended with."""
        self.remaining = open_episodes(state)


def run_flatten(options: WatchOptions) -> ExitCode:
    """Close everything; return 0 where all of it is flat, also where nothing was open."""
    shared = options.shared
    settings = load(shared.config, shared.profile, shared.state_dir)
    armed = arm(settings, asked=options.arm, confirm=options.confirm, no_input=shared.no_input)
    streams = detect(sys.stdout, sys.stderr, shared.color.value)
    streams, outlet = never_waiting(streams, jsonl=options.jsonl)
    story = plain_story(streams, jsonl=options.jsonl, quiet=shared.quiet, verbose=shared.verbose)
    progress = Progress(story, quiet=shared.quiet or options.jsonl)
    state_dir = find_state_dir(settings.state_dir)
    try:
        if state_dir is not None and is_guarded(state_dir):
            return _through_running(settings, options, state_dir, progress, armed=armed)
        return _alone(settings, options, progress, armed=armed)
    finally:
        if outlet is not None:
            outlet.close()


def _through_running(
    settings: Settings, options: WatchOptions, state_dir: StateDir, progress: Progress, *, armed: bool
) -> ExitCode:
    with JournalReader.read_only(state_dir.journal) as reader:
        seq = reader.last_note_seq()
        held = _open_ones(reader, settings, options)
        progress.total = len(held)
        asyncio.run(_confirm(settings, options, [_episode_words(each) for each in held], armed=armed))
        progress.open()
        for begin in range(0, len(held), AT_ONCE):
            part = held[begin : begin + AT_ONCE]
            wanted = [(each.key, CloseAll()) for each in part]
            answers = ask_running(state_dir, wanted, WORD, _ANSWER_MS)
            seq = _tell(reader, seq, progress)
            check_answers(list(zip((each.key for each in part), answers, strict=True)), _ANSWER_MS)
            seq = _follow(reader, seq, part, progress)
        _tell(reader, seq, progress)
        progress.close()
    return ExitCode.OK


def _follow(reader: JournalReader, seq: int, wanted: Sequence[Episode], progress: Progress) -> int:
    """Tell what the running watch does until all of these are over; raises `PartialError` where it stalls."""
    left, since = len(wanted), time.monotonic()
    while True:
        seq = _tell(reader, seq, progress)
        now = {each.key: each for each in read_episodes(reader)}
        open_ones = [each for each in wanted if _still_open(each, now.get(each.key))]
        if not open_ones:
            return seq
        if len(open_ones) < left:
            left, since = len(open_ones), time.monotonic()
        if time.monotonic() - since > _STALLED_S:
            raise PartialError(*_left_open([each.key for each in open_ones]))
        time.sleep(_LOOK_S)


def _still_open(before: Episode, now: Episode | None) -> bool:
    return now is not None and now.generation == before.generation and not is_over(now)


def _tell(reader: JournalReader, seq: int, progress: Progress) -> int:
    for number, note in reader.notes(seq):
        progress.tell(note, number)
        seq = number
    return seq


def _open_ones(reader: JournalReader, settings: Settings, options: WatchOptions) -> list[Episode]:
    """Return the open positions of the journal that the options name, the largest first."""
    scope = Scope(frozenset(options.symbols), frozenset((*settings.watch.exclude, *options.exclude)))
    named = {each.key: each for each in read_episodes(reader) if scope.allows(each.key.symbol)}
    return open_episodes(State(account="", rules=settings.exits, episodes=named))


def _alone(settings: Settings, options: WatchOptions, progress: Progress, *, armed: bool) -> ExitCode:
    if settings.profile.env is Env.SIM and options.venue is None:
        raise UsageError(
            "no watch guards this account, and its embedded twin ended with the last one",
            "run it beside a watch, or serve a twin with 'tpctl venue' and name it with --venue URL",
        )
    from tpctl.cli.session import run_pinned

    flattening = Flattening(settings, options, progress, armed)
    code = run_pinned(settings, replace(options, once=True), progress, flattening, armed=armed)
    if flattening.remaining:
        raise PartialError(*_left_open([each.key for each in flattening.remaining]))
    return code


def _managed(key: PositionKey, state: State) -> bool:
    return key in state.episodes or state.scope.covers(key.symbol)


def _left_open(keys: Iterable[PositionKey]) -> tuple[str, str]:
    names = ", ".join(map(str, keys))
    return (
        f"still open, or orders of ours still rest: {names}",
        "run it again: what is closed already is left alone; stops stay meanwhile",
    )


async def _confirm(settings: Settings, options: WatchOptions, rows: Sequence[str], *, armed: bool) -> None:
    """Show what would be closed and have it confirmed; with nothing to close there is nothing to confirm."""
    where = f"profile {settings.name!r} ({settings.profile.env.value})"
    if not rows:
        sys.stderr.write(f"nothing to close in {where}\n")
        return
    listed = "".join(f"  {row}\n" for row in rows)
    if not options.shared.quiet or not options.yes:
        sys.stderr.write(f"to close at market in {where}:\n{listed}")
    if not armed:
        raise NotArmedError("nothing is sent without --arm", "add --arm to close them")
    if options.yes:
        return
    if options.shared.no_input or not sys.stdin.isatty():
        raise NotArmedError("closing everything was not confirmed", "add --yes, or type the word on a terminal")
    sys.stderr.write(f"Type {WORD!r} to close {len(rows)} at market: ")
    sys.stderr.flush()
    if (await _typed()).strip() != WORD:
        raise NotArmedError("closing everything was not confirmed", f"type {WORD!r}, or add --yes")


async def _typed() -> str:
    """Return a line from the terminal; the loop, and with it Ctrl-C, goes on meanwhile."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()


def _position_words(position: Position) -> str:
    return _words(position.key, position.quantity, position.entry_price, position.mark_price)


def _episode_words(episode: Episode) -> str:
    return _words(episode.key, episode.quantity, episode.entry, episode.mark)


def _words(key: PositionKey, quantity: Quantity, entry: Price, mark: Price | None) -> str:
    text = f"{key!s:<18} {trimmed(quantity)} at {trimmed(entry)}"
    if not mark:
        return text
    gain = key.side.sign * (mark - entry) * quantity
    return f"{text}, mark {trimmed(mark)}, PnL {gain:+.2f}"
