"""The state of one run and what it decides: on the disk before any of it leaves (I8), then told.

Every event passes through `Decisions.take`. What only moved with the market waits for the next checkpoint, because a
start learns it anew. It decides when to write, not what: that is the reducer's.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.recording import Recorder
from tpctl.engine.elapsed import passed
from tpctl.engine.memory import episode_rows, position_row
from tpctl.engine.scorekeeper import Scorekeeper, aftermaths_of
from tpctl.exits.decide import recover, step
from tpctl.exits.episode import Decision, Scope, State
from tpctl.exits.events import Event, MarkPrice, OrderSeen, RiskRead, Snapshot, Tick
from tpctl.exits.intents import OrderIntent
from tpctl.exits.model import Note, NoteKind, OrderStatus, PositionKey, Scalar
from tpctl.exits.quiet import awake, keys_of
from tpctl.exits.requests import Outcome, RequestAnswer, answer_in
from tpctl.exits.rules import ExitRules
from tpctl.exits.units import Millis
from tpctl.ports import Clock

# How much of the quiet changes, above all of a trail's peak, a crash may cost.
_CHECKPOINT_MS = 60_000


class Decisions:
    """The decisions of one run, which begins with what a restart must make of `state`.

    `tell` hears of each note and its number in the journal, `heard` of each event and its notes, once they are durable.
    In a run that is not `armed` no request is answered as done. All raise `StateFileError` where the journal cannot
    take what was decided; the state is then the one before.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        scores: Scorekeeper,
        *,
        state: State,
        armed: bool,
        tell: Callable[[Note, int], None],
        heard: Callable[[Event | None, Sequence[Note]], None],
        recorder: Recorder | None,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._scores = scores
        self._armed = armed
        self._tell = tell
        self._heard = heard
        self._recorder = recorder
        self.state = recover(state)
        self.rejected = 0
        self.naked_ms = 0
        self._checkpoint_at: Millis = 0
        self._dirty: set[PositionKey] = set()
        self._unsure: set[PositionKey] = set()

    def take(self, event: Event) -> Decision:
        """Decide on one event, and make it durable."""
        decision = step(self.state, event)
        if self._recorder is not None:
            self._recorder.took(self.state, event, decision)
        lasting = bool(decision.intents or decision.notes or decision.attempts)
        if lasting or (decision.changed and not _is_seen_again(event)):
            self._commit(event, decision)
        else:
            self._dirty |= decision.changed
            self.state = decision.state
        return decision

    def say(self, kind: NoteKind, reason: str, **data: Scalar) -> None:
        """Tell something of the whole run."""
        self.tell([Note(self._clock.now(), kind, None, reason, data)])

    def tell(self, notes: Sequence[Note]) -> None:
        """Make notes durable and tell them."""
        if self._recorder is not None:
            for note in notes:
                self._recorder.said(note)
        if notes:
            self._commit(None, Decision(self.state, notes=tuple(notes)))

    def answer(self, name: str, outcome: Outcome, text: str) -> None:
        """Answer a request that no position has to hear of."""
        self._journal.commit(Entry(self._clock.now(), answers=((name, RequestAnswer(outcome, text)),)))

    def checkpoint_if_due(self) -> None:
        """Write what has moved quietly, once it has waited long enough."""
        if self._dirty and passed(self._clock.now(), self._checkpoint_at, _CHECKPOINT_MS):
            self._commit(None, Decision(self.state))

    def reconfigure(self, rules: ExitRules, scope: Scope) -> None:
        """Decide by other rules from now on. A plan that stands keeps its levels: the next one follows the rules."""
        quiet = self.state.quiet.keys()
        self._dirty |= {key for symbol in quiet for key in keys_of(symbol) if key in self.state.episodes}
        self.state = replace(awake(self.state, quiet), rules=rules, scope=scope)

    def watch_record(self) -> None:
        """Say that a record ended before its time: it is missed later, the positions are guarded all the same."""
        if self._recorder is not None and self._recorder.fault is not None:
            fault, path, self._recorder = self._recorder.fault, self._recorder.path, None
            self.say(NoteKind.DEGRADED, f"the record {path.name!r} ends here: {fault}")

    def _commit(self, event: Event | None, decision: Decision) -> None:
        # What moved with the market alone waits for the next checkpoint, which has no event.
        keys = (decision.changed if event is not None else decision.changed | self._dirty) - self._unsure
        self._dirty -= keys
        now = self._clock.now()
        if not self._dirty:
            self._checkpoint_at = now
        both = {**self.state.episodes, **decision.state.episodes} if decision.attempts else {}
        watched, clear = aftermaths_of(decision.attempts, both)
        entry = Entry(
            at=now if event is None else event.at,
            event=event,
            states=tuple(position_row(decision.state, key) for key in sorted(keys, key=str)),
            intents=tuple(i for i in decision.intents if isinstance(i, OrderIntent)),
            notes=decision.notes,
            attempts=decision.attempts,
            episodes=tuple(episode_rows(self.state, decision.state, keys)),
            aftermaths=tuple(aftermath for _, aftermath in watched),
            hindsights=tuple(clear),
            answers=self._answers(decision.notes),
        )
        try:
            committed = self._journal.commit(entry)
        except BaseException:
            # It may be durable all the same; memory, which is now behind it, must not be written over it.
            self._unsure |= keys
            raise
        # At once: whatever fails from here on, memory may not fall behind the journal.
        self.state = decision.state
        for note, seq in zip(decision.notes, committed.note_seqs, strict=True):
            self._count(note)
            self._tell(note, seq)
        if decision.attempts:
            self._scores.watch(watched)
        self._heard(event, decision.notes)

    def _count(self, note: Note) -> None:
        if note.kind is NoteKind.REJECTED:
            self.rejected += 1
        elif note.kind is NoteKind.CLOSED and isinstance(naked := note.data.get("naked_ms"), int):
            self.naked_ms += naked

    def _answers(self, notes: Sequence[Note]) -> tuple[tuple[str, RequestAnswer], ...]:
        """Return the answers among notes; of a watch that sends nothing, none says that something was done."""
        found = tuple(answer for note in notes if (answer := answer_in(note)) is not None)
        if self._armed:
            return found
        text = "shadow mode, nothing is sent"
        return tuple(
            (
                name,
                RequestAnswer(Outcome.WITHHELD, f"{answer.text} ({text})")
                if answer.outcome is Outcome.DONE
                else answer,
            )
            for name, answer in found
        )


def _is_seen_again(event: Event) -> bool:
    """Whether a start learns anew what the event told: from a mark, the time, a read, or that an order rests."""
    if isinstance(event, OrderSeen):
        return event.order.status is OrderStatus.NEW
    return isinstance(event, MarkPrice | Tick | Snapshot | RiskRead)
