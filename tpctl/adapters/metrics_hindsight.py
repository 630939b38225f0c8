"""How the metrics index takes in what is known of positions in hindsight.

Differences are the alternative less the real outcome, so what had been better is positive, in USD and in units of what
the first stop put at stake.
"""

import sqlite3
from collections.abc import Callable
from decimal import Decimal

from tpctl.adapters.metrics_cells import fit
from tpctl.exits.costs import Costs
from tpctl.exits.instrument import Unavailable
from tpctl.exits.mid import MidRead
from tpctl.exits.scoring import Verdict
from tpctl.exits.settlement import ALTERNATIVES, Settlement
from tpctl.exits.statistics import to_pico
from tpctl.exits.units import Millis

# Every figure has an index that holds all its question needs, so that a quantile is a walk to its rank and no sort.
TABLES = """
CREATE TABLE settled (generation TEXT PRIMARY KEY, symbol INTEGER NOT NULL, at INTEGER NOT NULL,
    policy INTEGER NOT NULL, regret, regret_r) WITHOUT ROWID;
CREATE TABLE alternatives (generation TEXT NOT NULL, name INTEGER NOT NULL, symbol INTEGER NOT NULL,
    at INTEGER NOT NULL, policy INTEGER NOT NULL, better NOT NULL, better_r,
    PRIMARY KEY (generation, name)) WITHOUT ROWID;
CREATE TABLE afters (generation TEXT NOT NULL, minutes INTEGER NOT NULL, symbol INTEGER NOT NULL, at INTEGER NOT NULL,
    policy INTEGER NOT NULL, further NOT NULL, PRIMARY KEY (generation, minutes)) WITHOUT ROWID;
CREATE TABLE costs (generation TEXT PRIMARY KEY, symbol INTEGER NOT NULL, at INTEGER NOT NULL,
    policy INTEGER NOT NULL, entry_fees, funding, net) WITHOUT ROWID;
CREATE TABLE mids (id TEXT PRIMARY KEY, symbol INTEGER NOT NULL, at INTEGER NOT NULL, policy INTEGER NOT NULL,
    kind INTEGER NOT NULL, slip NOT NULL, late INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX settled_by_regret ON settled (regret, at, policy, symbol);
CREATE INDEX settled_by_regret_r ON settled (regret_r, at, policy, symbol);
CREATE INDEX alternatives_by_better ON alternatives (name, better, at, policy, symbol);
CREATE INDEX alternatives_by_better_r ON alternatives (name, better_r, at, policy, symbol);
CREATE INDEX afters_by_further ON afters (minutes, further, at, policy, symbol);
CREATE INDEX costs_by_entry_fees ON costs (entry_fees, at, policy, symbol);
CREATE INDEX costs_by_funding ON costs (funding, at, policy, symbol);
CREATE INDEX costs_by_net ON costs (net, at, policy, symbol);
CREATE INDEX mids_by_slip ON mids (kind, slip, at, policy, symbol);
CREATE INDEX mids_by_late ON mids (late, at, policy, symbol);
CREATE TABLE verdicts (n INTEGER PRIMARY KEY, symbol INTEGER NOT NULL, at INTEGER NOT NULL, policy INTEGER NOT NULL,
    premature INTEGER NOT NULL, after INTEGER);
"""


def put_settlement(db: sqlite3.Connection, found: Settlement, name: Callable[[str], int]) -> None:
    """Keep one settlement, once by its position; `name` numbers a text."""
    place = (name(found.key.symbol), found.closed_at, name(found.policy or ""))

    def scaled(value: Decimal | None) -> int | str | None:
        return None if value is None else fit(to_pico(value))

    def in_r(value: Decimal | None) -> Decimal | None:
        return value / found.risk if value is not None and found.risk else None

    row = (found.generation, *place, scaled(found.regret), scaled(in_r(found.regret)))
    if not db.execute("INSERT OR IGNORE INTO settled VALUES (?, ?, ?, ?, ?, ?)", row).rowcount:
        return
    for one in found.alternatives:
        if one.pnl is not None and one.name in ALTERNATIVES:
            better = one.pnl - found.pnl
            other = (found.generation, ALTERNATIVES.index(one.name), *place, scaled(better), scaled(in_r(better)))
            db.execute("INSERT INTO alternatives VALUES (?, ?, ?, ?, ?, ?, ?)", other)
    for after in found.after:
        further = found.key.side.sign * (after.best - found.average_exit) / found.average_exit
        values = (found.generation, after.minutes, *place, scaled(further))
        db.execute("INSERT INTO afters VALUES (?, ?, ?, ?, ?, ?)", values)


def put_costs(db: sqlite3.Connection, found: Costs, name: Callable[[str], int]) -> None:
    """Keep what one position cost, once; `net` is its profit after everything, where everything is known."""
    fees, funding = (None if isinstance(value, Unavailable) else value for value in (found.entry_fees, found.funding))
    net = None if fees is None or funding is None else found.pnl - fees - funding
    row = (found.generation, name(found.key.symbol), found.closed_at, name(found.policy or ""))
    amounts = (None if value is None else fit(to_pico(value)) for value in (fees, funding, net))
    db.execute("INSERT OR IGNORE INTO costs VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, *amounts))


def put_mid(db: sqlite3.Connection, found: MidRead, name: Callable[[str], int], policy: int) -> None:
    """Keep what one execution lost to the mid, once."""
    symbol = found.key.symbol
    row = (f"{symbol}-{found.trade_id}", name(symbol), found.at, policy, name(found.order))
    slip = fit(to_pico(found.slippage))
    db.execute("INSERT OR IGNORE INTO mids VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, slip, found.late_ms))


def put_verdict(db: sqlite3.Connection, n: int, place: tuple[int, Millis, int], verdict: Verdict) -> None:
    """Keep how long after its exit a miss was seen to be premature; `place` is symbol, time of the exit, strategy."""
    row = (n, *place, int(verdict.premature), verdict.after_ms)
    db.execute("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?, ?)", row)
