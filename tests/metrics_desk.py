"""Journals for tests of `metrics`: attempts and stories as a watch leaves them, from a seed or by hand."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

from tpctl.adapters.files import StateDir, account_fingerprint, open_state_dir
from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import Hindsight
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Attempt, Note, NoteKind, Outcome, PositionKey
from tpctl.exits.scoring import Verdict

# exit-rules 12: entry 50 000, target 51 000, exit 50 950 after 120 min, $100.
VECTOR = Attempt(
    id="a1",
    strategy_id="tp",
    symbol="BTCUSDT",
    position_side=PositionSide.LONG,
    leg=1,
    entry_time=1_763_640_000_000,
    entry_price=Decimal(50_000),
    target_price=Decimal(51_000),
    exit_time=1_763_647_200_000,
    exit_price=Decimal(50_950),
    quantity=Decimal("0.1"),
    profit_usd=Decimal(100),
    outcome=Outcome.HIT,
    reason="take_profit",
)
FINGERPRINT = account_fingerprint("sim", "sim")
START = 1_767_571_200_000
DAY = 86_400_000


def state_dir(path: Path) -> StateDir:
    """Return a state directory of the simulated account, made where there is none."""
    return open_state_dir(path, FINGERPRINT)


def open_journal(path: Path) -> Journal:
    """Open the journal of a state directory for writing."""
    return Journal.open(state_dir(path).journal, FINGERPRINT, at=START, code_version="0")


def random_attempts(seed: int, count: int, *, prefix: str = "r", days: int = 80) -> list[Attempt]:
    """Return attempts of several strategies, symbols and months, in the order they ended."""
    random = Random(seed)
    found = []
    for number in range(count):
        entry = Decimal(random.randrange(100, 10_000_000)).scaleb(-2)
        side = random.choice(list(PositionSide))
        target = (entry * (1 + side.sign * Decimal(random.randrange(1, 80)) / 1000)).quantize(Decimal("0.0001"))
        hit = random.random() < 0.6
        left = (target if hit else entry) * (1 + Decimal(random.randrange(-40, 40)) / 10_000)
        began = START + random.randrange(days * DAY)
        judged = not hit and random.random() < 0.5
        premature = random.random() < 0.3 if judged else None
        found.append(
            Attempt(
                id=f"{prefix}{number}",
                strategy_id=random.choice(["static", "dynamic"]),
                symbol=random.choice(["BTCUSDT", "ETHUSDT", "XRPUSDT"]),
                position_side=side,
                leg=random.randrange(1, 4),
                entry_time=began,
                entry_price=entry,
                target_price=target,
                exit_time=began + random.randrange(3 * DAY),
                exit_price=left,
                quantity=Decimal(random.randrange(1, 5000)).scaleb(-3),
                profit_usd=Decimal(random.randrange(-(10**9), 10**9)).scaleb(-random.randrange(2, 9)),
                outcome=Outcome.HIT if hit else Outcome.MISS,
                reason="take_profit" if hit else random.choice(["stop", "ratchet", "trail"]),
                premature=premature,
                missed_usd=Decimal(random.randrange(1000)) / 8 if premature else None,
                arm=(None, "tp_v3/a", "tp_v3/b")[number % 3],
            )
        )
    return sorted(found, key=lambda attempt: (attempt.exit_time, attempt.id))


def commit_attempts(journal: Journal, attempts: Iterable[Attempt]) -> None:
    """Record attempts as a watch does: a verdict comes later than its miss."""
    for attempt in attempts:
        bare = replace(attempt, premature=None, missed_usd=None)
        journal.commit(Entry(attempt.exit_time, attempts=(bare,)))
        if attempt.premature is not None:
            verdict = Verdict(attempt.premature, attempt.missed_usd or Decimal(0))
            journal.commit(Entry(attempt.exit_time + 1000, hindsights=(Hindsight(attempt.id, verdict),)))


def journal_of(path: Path, attempts: Sequence[Attempt]) -> Path:
    """Make a journal with attempts; return its path."""
    with open_journal(path) as journal:
        journal.record(START, attempts)
    return path / "journal.db"


def commit_at_once(journal: Journal, entries: Iterable[Entry]) -> None:
    """Commit the notes and attempts of many decisions as one, which takes one sync of the disk."""
    found = list(entries)
    notes = tuple(note for entry in found for note in entry.notes)
    journal.commit(Entry(START, notes=notes, attempts=tuple(a for entry in found for a in entry.attempts)))


LIFE = PositionKey("XRPUSDT", PositionSide.LONG)


def life(number: int, *, pnl: str, reason: str = "stop", naked_ms: int = 0, policy: str = "dynamic") -> list[Entry]:
    """Return what a watch journals of one long position of 100 at 2.00 with a first stop at 1.96 and one target.

    It opens at `START` plus `number` hours and closes half an hour later.
    """
    opened = START + number * 3_600_000
    closed = opened + 1_800_000
    hit = reason == "take_profit"
    left = Decimal(2) + Decimal(pnl) / 100
    attempt = Attempt(
        id=f"{number:010x}-1-1",
        strategy_id=policy,
        symbol=LIFE.symbol,
        position_side=LIFE.side,
        leg=1,
        entry_time=opened,
        entry_price=Decimal(2),
        target_price=Decimal("2.06"),
        exit_time=closed,
        exit_price=left,
        quantity=Decimal(100),
        profit_usd=Decimal(pnl),
        outcome=Outcome.HIT if hit else Outcome.MISS,
        reason=reason,
    )
    plan = {"policy": policy, "stop": Decimal("1.96"), "leverage": Decimal(10)}
    close = {
        "average_exit": left,
        "entry": Decimal(2),
        "quantity": Decimal(100),
        "pnl": Decimal(pnl),
        "fees": Decimal("0.2"),
        "naked_ms": naked_ms,
        "duration_ms": closed - opened,
        "best_mark": max(left, Decimal("2.04")),
        "worst_mark": min(left, Decimal("1.99")),
    }
    ending = [Note(closed, NoteKind.CLOSED, LIFE, reason, close)]
    if reason == "stop":
        hit_at = {"price": left, "trigger": Decimal("1.96"), "quantity": Decimal(100), "filled_ms": 30 + number}
        ending.insert(0, Note(closed, NoteKind.STOP_HIT, LIFE, "stop", hit_at))
    moved = {"from": Decimal("1.96"), "to": Decimal("1.97"), "mark": Decimal("2.01")}
    return [
        Entry(opened + 5, notes=(Note(opened + 5, NoteKind.PLANNED, LIFE, "first plan", plan),)),
        Entry(
            opened + 7,
            notes=(Note(opened + 7, NoteKind.ACCEPTED, LIFE, "stop", {"sent_ms": number, "acknowledged_ms": 20}),),
        ),
        Entry(opened + 9, notes=(Note(opened + 9, NoteKind.TRAIL_MOVED, LIFE, "trail 2.00% behind 2.0100", moved),)),
        # A later plan of the same life has another stop, which changes nothing about its risk.
        Entry(
            opened + 20, notes=(Note(opened + 20, NoteKind.PLANNED, LIFE, "again", {**plan, "stop": Decimal("1.99")}),)
        ),
        Entry(closed, notes=tuple(ending), attempts=(attempt,)),
    ]


def drawn_into(arm: str, entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries as a watch journals them of a position that was drawn into an arm with one half."""
    drawn = {"arm": arm, "propensity": Decimal("0.5")}
    return [
        replace(
            entry,
            notes=tuple(replace(note, data={**note.data, **drawn}) for note in entry.notes),
            attempts=tuple(replace(attempt, arm=arm) for attempt in entry.attempts),
        )
        for entry in entries
    ]
