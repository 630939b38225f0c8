"""Judges every instant by the exchange's own ledger, against the invariants I1 to I25 (reliability 2).

What the tool believes is looked at only where an invariant is about belief; what counts is what rests, what was
executed, what was sent and what was durable before. Time without a stop is measured, never excused: a fault stretches
the bound by a declared window (`excuses`), and the time is reported under its name.

Judged elsewhere: I13 also by type (the read-only session), I18 and I19 with real processes, I21 by running twice.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Final

from tpctl.adapters.journal import Entry
from tpctl.exits.episode import Episode, LegStatus, OrderState, OwnOrder, Phase, State
from tpctl.exits.events import MarkPrice
from tpctl.exits.ids import PREFIX, Role, is_ours, parse_client_id
from tpctl.exits.instrument import PositionSide
from tpctl.exits.intents import CancelOrder
from tpctl.exits.model import PositionKey
from tpctl.exits.units import ZERO, Millis, Price, Quantity
from tpctl.rehearsal.excuses import GRACE, SLOW_MS, Excuses
from tpctl.venue.account import Holding
from tpctl.venue.venue import Venue

# What the exchange answers to a request that was formed wrongly (I16).
MALFORMED: Final = frozenset(
    {-1102, -1106, -1111, -1130, -4001, -4003, -4004, -4005, -4006, -4007, -4013, -4014, -4015, -4023, -4060, -4062}
    | {-4137, -4164}
)
_PLACING: Final = frozenset({"v1/order", "v1/algoOrder"})
# Executions a position's size is compared over: news takes this long, or a regular read where it was lost.
_NEWS_MS: Final = 45_000
# An order that is being executed covers what it still has to close, as long as it goes on (F3).
_EXECUTING_MS: Final = 3_000
# An answer that tells of a ban is on its way this long at most, and requests sent before are in flight.
_BAN_NEWS_MS: Final = 6_000
# What the mark reached leads to an order within this, or within the longer where faults strike it.
_MARKS_MS: Final = 15_000
_TAKING_MS: Final = 90_000
# What happened so long before a stop was gone may have led to it.
_CAUSE_MS: Final = 5_000
# A refused order is tried again for as long as this, after which the tool forgets the first try (exits.draft).
_TRYING_MS: Final = 900_000
# More orders and cancels in one minute than the positions of one symbol need, however often they are refused.
_MOST_ORDERS: Final = 67


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant: which, when in the story, and what was seen."""

    invariant: str
    at: Millis
    text: str


@dataclass(frozen=True, slots=True)
class Naked:
    """A stretch of time in which stops did not cover a position. `first` is before anything of ours ever did."""

    symbol: str
    began: Millis
    ms: Millis
    first: bool
    faults: tuple[str, ...]


@dataclass(slots=True)
class _Condition:
    invariant: str
    symbol: str
    since: Millis
    text: str
    told: bool = False


@dataclass(slots=True)
class _Life:
    """One life of a position on the exchange."""

    opened: Millis
    covered: bool = False
    size: Quantity = ZERO


class Witness:
    """Watches one story. `state` is set to what the living process believes, None while there is none."""

    def __init__(self, venue: Venue, start: Millis, *, symbols: int, armed: bool, slow: bool) -> None:
        self.venue = venue
        self.armed = armed
        self.state: State | None = None
        self.excuses = Excuses()
        self.violations: list[Violation] = []
        self.naked: list[Naked] = []
        self.conditions: dict[tuple[str, str], _Condition] = {}
        self.blind = False
        self.reduces = 0
        self.orders = 0
        self.attempts: set[str] = set()
        self.journalled: set[str] = set()
        # The newest ban, and from when on the process must have heard of the first 418.
        self.banned: tuple[Millis, Millis] = (0, 0)
        self._told_of_ban: Millis = 0
        # What the process takes the time for.
        self.clock: Millis = start
        self.peak_weight = 0
        self._slow = slow
        self._start = start
        self._trace = blake2b(digest_size=16)
        self._fills = self._moves = self._refused = 0
        self._lives: dict[PositionKey, _Life] = {}
        self._sizes: dict[PositionKey, deque[tuple[Millis, Quantity]]] = {}
        self._accepted: set[str] = set()
        # The grids, as tick and step, that were known when an order left.
        self._grids: dict[str, set[tuple[Decimal, Decimal]]] = {}
        self._withdrawn: set[str] = set()
        self._tightest: dict[str, Price] = {}
        self._planned: dict[tuple[str, int, int], Quantity] = {}
        self._legs: dict[str, tuple[str, int, tuple[int, ...]]] = {}
        self._executed: dict[tuple[str, int, tuple[int, ...]], Quantity] = {}
        self._seen: dict[PositionKey, Episode] = {}
        self._marks: dict[str, deque[tuple[Millis, Price]]] = {}
        self._executing: dict[str, Millis] = {}
        self._weight: tuple[int, int] = (0, 0)
        self._told: set[str] = set()
        self._recent: deque[Millis] = deque(maxlen=_MOST_ORDERS * symbols)
        # What was last compared with the ledger, and whether the ledger has moved since.
        self._compared: State | None = None
        self._moved = True

    @property
    def trace(self) -> str:
        """A digest of everything that was sent, answered and made durable."""
        return self._trace.hexdigest()

    def objection(self, invariant: str, at: Millis, text: str) -> None:
        """Note a broken invariant, once for each text."""
        if text not in self._told:
            self._told.add(text)
            self.violations.append(Violation(invariant, at, text))

    def born(self) -> None:
        """Begin the life of a process; it knows of no ban, and may ask once."""
        self._told_of_ban = 0

    # what is sent

    def sending(self, now: Millis, method: str, path: str, params: Mapping[str, str]) -> None:
        """Judge a request as it leaves."""
        self._mix("send", now, method, path, sorted(params.items()))
        began, until = self.banned
        # How long it lasts is told as a time of the exchange's clock, and may be waited for by ours alone.
        if began <= self._told_of_ban < now and max(now, self.clock) < until:
            self.objection("I22", now, f"{method} {path} was sent while the address was banned")
        if method == "GET" or path == "v1/listenKey":
            return
        client_id = params.get("clientAlgoId") or params.get("newClientOrderId") or params.get("origClientOrderId", "")
        if not self.armed:
            self.objection("I13", now, f"a shadow run sent {method} {path}")
        if path not in _PLACING or not is_ours(client_id):
            self.objection("I12", now, f"{method} {path} {client_id!r} is no order of ours")
            return
        if client_id not in self.journalled:
            self.objection("I8", now, f"{method} {client_id} left before it was in the journal")
        self._recent.append(now)
        if len(self._recent) == self._recent.maxlen and now - self._recent[0] < 60_000:
            self.objection("I22", now, f"{len(self._recent)} orders and cancels within a minute")
        if method == "DELETE":
            self._see_cancel(now, client_id)
        else:
            self.orders += 1
            self._see_placement(now, client_id, params)

    def _see_placement(self, now: Millis, client_id: str, params: Mapping[str, str]) -> None:
        name = parse_client_id(client_id)
        if name is None:
            self.objection("I9", now, f"{client_id} is no id of ours")
            return
        if client_id in self._accepted:
            self.objection("I10", now, f"{client_id} was sent again after the exchange had taken it")
        episodes = () if self.state is None else self.state.of_symbol(params["symbol"])
        known = [episode.instrument for episode in episodes if episode.instrument is not None]
        # A request the exchange was too busy for goes out again as it is.
        self._grids.setdefault(client_id, {(one.tick, one.market_step) for one in known})
        selling = params.get("side") == "SELL"
        key = PositionKey(params["symbol"], PositionSide.LONG if selling else PositionSide.SHORT)
        side = params.get("positionSide", "BOTH")
        closing = side == key.side.value.upper()
        if not (params.get("reduceOnly") == "true" or params.get("closePosition") == "true" or closing):
            self.objection("I3", now, f"{client_id} may open: {dict(params)}")
        if "quantity" in params:
            self._see_quantity(now, client_id, key, Decimal(params["quantity"]))
        if name.role is Role.STOP and "triggerPrice" in params:
            trigger = Decimal(params["triggerPrice"])
            tightest = self._tightest.get(name.generation, trigger)
            if key.side.sign * (trigger - tightest) < 0:
                self.objection("I4", now, f"{client_id} at {trigger} is looser than {tightest}")
            self._tightest[name.generation] = trigger
        self._see_double(now, client_id, params)
        episode = None if self.state is None else self.state.episodes.get(key)
        own = None if episode is None else episode.order(client_id)
        if episode is not None and own is not None:
            self._see_intent(now, key, episode, own)

    def _see_double(self, now: Millis, client_id: str, params: Mapping[str, str]) -> None:
        """Object to an order where one like it, for the same leg of the same life, already rests."""
        slot, trigger = client_id.rpartition("-")[0], params.get("triggerPrice")
        if trigger is None:
            return
        quantity = Decimal(params.get("quantity", "0"))
        for order in self.venue.core.books.resting(params["symbol"]):
            like = order.trigger == Decimal(trigger) and (order.close_position or order.quantity == quantity)
            stands = order.status == "NEW" and not order.stuck and order.client_id not in self._withdrawn
            if like and stands and order.client_id.rpartition("-")[0] == slot:
                self.objection("I10", now, f"{client_id} was sent while {order.client_id} rests for the same")

    def _see_quantity(self, now: Millis, client_id: str, key: PositionKey, quantity: Quantity) -> None:
        # The size may have changed while nobody could tell, for as long as a wrong belief may last (I24).
        sizes = list(self._sizes.get(key, ()))
        ends = [at for at, _ in sizes[1:]]
        known = [size for _, size in sizes[-1:]]
        known += [
            size
            for (_, size), end in zip(sizes, ends, strict=False)
            if now <= self.excuses.deadline(key.symbol, end, now, SLOW_MS)
        ]
        largest = max(known, default=ZERO)
        if quantity > largest:
            self.objection("I2", now, f"{client_id} closes {quantity} of {largest}")

    def _note_size(self, now: Millis, symbol: str, amount: Quantity) -> None:
        key = PositionKey(symbol, PositionSide.LONG if amount > 0 else PositionSide.SHORT)
        sizes = self._sizes.setdefault(key, deque(maxlen=60))
        sizes.append((now, abs(amount)))

    def _see_intent(self, now: Millis, key: PositionKey, episode: Episode, own: OwnOrder) -> None:
        if own.role is Role.REDUCE:
            self.reduces += 1
            self._see_reduce(now, key, episode, own)
        if own.legs:
            # The plan it is of may be replaced before the next look.
            self._note_planned(episode)
            self._legs[own.client_id] = (episode.generation, own.plan, own.legs)
        if own.trigger is None:
            return
        for other in episode.orders:
            same = other.role is own.role and other.legs == own.legs and other is not own
            if same and other.state is OrderState.UNKNOWN:
                self.objection("I10", now, f"{own.client_id} was sent while {other.client_id} is unknown")

    def _see_reduce(self, now: Millis, key: PositionKey, episode: Episode, own: OwnOrder) -> None:
        sign = key.side.sign
        legs = {leg.number: leg for leg in episode.legs}
        # A leg that the mark has reached is taken, however often the exchange refuses it first.
        tries = [o.sent_at for o in episode.of_role(Role.REDUCE) if not set(o.legs).isdisjoint(own.legs)]
        marks = self._recent_marks(now, key.symbol, since=min(tries, default=now))
        for number in own.legs:
            leg = legs.get(number)
            if leg is not None and marks and all(sign * (mark - leg.trigger) < 0 for mark in marks):
                self.objection("I15", now, f"{own.client_id} takes leg {number}, the mark was never at {leg.trigger}")
            nearer = [
                other
                for other in episode.legs
                if other.number < number and other.status is LegStatus.WAITING and other.remaining > 0
            ]
            for other in nearer:
                if other.number not in own.legs and not self._leg_at_work(episode, other.number):
                    self.objection("I7", now, f"{own.client_id} takes leg {number} before leg {other.number}")

    def _see_closing(self, now: Millis, key: PositionKey, episode: Episode) -> None:
        """Judge why a position is to be closed, at the moment that is decided."""
        reason = episode.close_reason or ""
        if "says" in reason or not ("already passed" in reason or "did not trigger" in reason):
            return
        level = episode.backstop if "disaster" in reason else episode.stop
        marks = self._recent_marks(now, key.symbol)
        if level is not None and marks and all(key.side.sign * (mark - level) > 0 for mark in marks):
            self.objection("I15", now, f"{episode.generation} closes at {level}, the mark was never there")

    @staticmethod
    def _leg_at_work(episode: Episode, number: int) -> bool:
        """Whether an order of a leg rests, is under way or is being executed."""
        return any(number in order.legs and order.open for order in episode.orders)

    def _see_cancel(self, now: Millis, client_id: str) -> None:
        self._withdrawn.add(client_id)
        name = parse_client_id(client_id)
        order = self.venue.core.books.resting_by_client(client_id)
        if name is None or name.role is not Role.STOP or order is None or self.state is None or order.status != "NEW":
            return
        key = PositionKey(order.symbol, PositionSide.SHORT if order.buy else PositionSide.LONG)
        episode = self.state.episodes.get(key)
        held = self._size(key)
        if not held or episode is None or episode.generation != name.generation or episode.phase is Phase.FLAT:
            return
        others = sum(
            (
                own.quantity
                for own in episode.of_role(Role.STOP)
                if own.client_id != client_id and own.client_id in self._accepted and own.resting and own.confirmed
                if own.quantity and own.trigger and key.side.sign * (own.trigger - order.trigger) >= 0
            ),
            ZERO,
        )
        # On a grid that has become wider the last step of a size cannot be covered by a quantity.
        if others + self.venue.core.rules.symbols[key.symbol].step <= min(episode.quantity, order.quantity):
            self.objection("I5", now, f"{client_id} is cancelled, {others} of {episode.quantity} are covered without")

    # what the exchange did

    def handled(self, now: Millis, method: str, path: str, status: int, weight: int) -> None:
        """Take in how a request fared at the exchange."""
        self._mix("done", now, method, path, status)
        minute, used = now // 60_000, weight
        if self._weight[0] == minute:
            used += self._weight[1]
        self._weight = (minute, used)
        self.peak_weight = max(self.peak_weight, used)
        # A ban may begin with the very request that is refused: it is not noted then yet.
        began, until = self.banned
        if status == 418 and (now >= until or self._told_of_ban < began):
            self._told_of_ban = now + _BAN_NEWS_MS
        for rejection in self.venue.rejected[self._refused :]:
            if rejection.code in MALFORMED and rejection.endpoint in _PLACING and self._knew_better(rejection.params):
                self.objection("I16", now, f"refused with {rejection.code}: {rejection.endpoint} {rejection.params}")
        self._refused = len(self.venue.rejected)

    def _knew_better(self, params: Mapping[str, str]) -> bool:
        """Whether the process had read the grid an order is refused by; one that changed is learned by a refusal."""
        rules = self.venue.core.rules.symbols.get(params.get("symbol", ""))
        client_id = params.get("clientAlgoId") or params.get("newClientOrderId", "")
        return rules is None or (rules.tick, rules.market_step) in self._grids.get(client_id, ())

    def mark(self, now: Millis, symbol: str, price: Price) -> None:
        """Take in what the mark really is."""
        marks = self._marks.setdefault(symbol, deque())
        marks.append((now, price))
        while len(marks) > 2 and marks[1][0] < now - _TRYING_MS:
            marks.popleft()

    def _recent_marks(self, now: Millis, symbol: str, since: Millis | None = None) -> list[Price]:
        """Return the marks an order may rest on that was first sent at `since`.

        One whose fate was unclear is repeated after a while.
        """
        window = _TAKING_MS if any(self.excuses.over(symbol, now - _TAKING_MS, now)) else _MARKS_MS
        earliest = (now if since is None else since) - window
        marks = self._marks.get(symbol, ())
        # With the one that stood when the time began: in calm hours that is an old one.
        stood = [price for at, price in marks if at < earliest][-1:]
        return stood + [price for at, price in marks if at >= earliest]

    # what is durable

    def committed(self, now: Millis, entry: Entry) -> None:
        """Take in what became durable."""
        self._mix("wrote", entry.at, type(entry.event).__name__, [i.client_id for i in entry.intents])
        self._mix("told", [note.kind.value for note in entry.notes])
        self.journalled.update(intent.client_id for intent in entry.intents)
        # Decided and durable: it only waits for its turn in the lane.
        self._withdrawn.update(intent.client_id for intent in entry.intents if isinstance(intent, CancelOrder))
        for attempt in entry.attempts:
            if attempt.id in self.attempts:
                self.objection("I17", now, f"the attempt {attempt.id} was recorded twice")
            self.attempts.add(attempt.id)
        if isinstance(entry.event, MarkPrice) and any(not isinstance(i, CancelOrder) for i in entry.intents):
            age = now - entry.event.at
            if age > 3_500:
                self.objection("I14", now, f"a mark {age} ms old led to {[i.client_id for i in entry.intents]}")

    # the instant

    def check(self, now: Millis) -> None:
        """Judge the instant."""
        self._see_ledger(now)
        if not self.armed:
            return
        # Both are judged by what is known and by the ledger: where neither has changed they stand as they stood.
        if self._moved or self.state is not self._compared:
            self._see_states(now)
        if self._moved:
            self._see_orphans(now)
        self._compared, self._moved = self.state, False
        self._hold(now, "I23", {"blind": ("", "no user event reaches the process")} if self.blind else {}, "blind")
        for name, condition in list(self.conditions.items()):
            if condition.told:
                continue
            grace = GRACE[condition.invariant]
            if self._slow:
                grace = max(grace, SLOW_MS)
            late = now > condition.since + grace
            if late and now > self.excuses.deadline(condition.symbol, condition.since, now, grace):
                condition.told = True
                self.objection(condition.invariant, now, f"{condition.text} for {now - condition.since} ms ({name[1]})")

    def _see_ledger(self, now: Millis) -> None:
        ledger = self.venue.ledger
        symbols: dict[str, None] = {}
        for row in ledger.fills[self._fills :]:
            symbols[row.symbol] = None
            self._executing[row.symbol] = now
            for size in (row.before, row.after):
                self._note_size(now, row.symbol, size)
            if not is_ours(row.client_id):
                continue
            if abs(row.after) >= abs(row.before):
                self.objection("I3", now, f"a fill of {row.client_id} grew {row.before} to {row.after}")
            if row.after * row.before < 0:
                self.objection("I3", now, f"a fill of {row.client_id} turned {row.before} to {row.after}")
            self._fill_legs(now, row.client_id, row.quantity)
        self._fills = len(ledger.fills)
        for move in ledger.transitions[self._moves :]:
            symbols[move.symbol] = None
            if is_ours(move.client_id) and move.status == "NEW":
                if move.client_id not in self.journalled:
                    self.objection("I9", now, f"{move.client_id} rests and is not in the journal")
                self._accepted.add(move.client_id)
        self._moves = len(ledger.transitions)
        self._moved = self._moved or bool(symbols)
        if self.conditions:
            symbols.update({key.symbol: None for key in self._lives if ("I1", str(key)) in self.conditions})
        for symbol in symbols:
            self._see_symbol(now, symbol)

    def _fill_legs(self, now: Millis, client_id: str, quantity: Quantity) -> None:
        slot = self._legs.get(client_id)
        if slot is None:
            return
        generation, plan, legs = slot
        done = self._executed[slot] = self._executed.get(slot, ZERO) + quantity
        limit = sum((self._planned.get((generation, plan, leg), ZERO) for leg in legs), ZERO)
        if done > limit:
            self.objection("I6", now, f"legs {legs} of {generation} executed {done} of {limit}")

    def _see_symbol(self, now: Millis, symbol: str) -> None:
        account = self.venue.core.account
        sides: tuple[str, ...] = ("BOTH",) if not account.hedge else ("LONG", "SHORT")
        found: dict[PositionKey, Holding] = {}
        for side in sides:
            holding = account.holding(symbol, side)
            if holding.amount:
                key = PositionKey(symbol, PositionSide.LONG if holding.amount > 0 else PositionSide.SHORT)
                found[key] = holding
        for side in PositionSide:
            key = PositionKey(symbol, side)
            held = found.get(key)
            if held is None:
                self._lives.pop(key, None)
                self._clear_naked(now, key)
            else:
                life = self._lives.get(key)
                if life is None:
                    life = self._lives[key] = _Life(now)
                life.size = abs(held.amount)
                self._see_cover(now, key, life, held)

    def _see_cover(self, now: Millis, key: PositionKey, life: _Life, holding: Holding) -> None:
        if self._covered(now, holding) >= abs(holding.amount):
            life.covered = True
            self._clear_naked(now, key)
        elif ("I1", str(key)) not in self.conditions:
            text = "a position is without a stop" if life.covered else "a position found is without a stop"
            self.conditions["I1", str(key)] = _Condition("I1", key.symbol, now, text)

    def _covered(self, now: Millis, holding: Holding) -> Quantity:
        books, size = self.venue.core.books, abs(holding.amount)
        buy = holding.amount < 0
        covered = ZERO
        for order in books.resting(holding.symbol):
            if order.buy is not buy or order.position_side != holding.side or not order.stop:
                continue
            if order.status == "NEW":
                if order.close_position:
                    return size
                covered += order.quantity
        if now - self._executing.get(holding.symbol, 0) <= _EXECUTING_MS:
            for child in books.open_orders(holding.symbol):
                if child.buy is buy and child.reducing and child.kind == "MARKET":
                    covered += child.remaining
        return covered

    def _clear_naked(self, now: Millis, key: PositionKey) -> None:
        condition = self.conditions.pop(("I1", str(key)), None)
        if condition is None or now == condition.since:
            return
        names = tuple(sorted({one.name for one in self.excuses.over(key.symbol, condition.since - _CAUSE_MS, now)}))
        first = "found" in condition.text
        self.naked.append(Naked(key.symbol, condition.since, now - condition.since, first, names))

    def _size(self, key: PositionKey) -> Quantity:
        account = self.venue.core.account
        holding = account.holding(key.symbol, key.side.value.upper() if account.hedge else "BOTH")
        return holding.amount * key.side.sign if holding.amount * key.side.sign > 0 else ZERO

    # what is believed

    def _see_states(self, now: Millis) -> None:
        state = self.state
        if state is None:
            for name in [name for name in self.conditions if name[0] in {"fate", "size"}]:
                del self.conditions[name]
            return
        wrong: dict[str, tuple[str, str]] = {}
        for key, life in self._lives.items():
            episode = state.episodes.get(key)
            size = life.size
            if episode is None or episode.quantity != size:
                believed = None if episode is None else episode.quantity
                wrong[f"{key}"] = (key.symbol, f"{key} is {size}, believed {believed}")
        for key, episode in state.episodes.items():
            if key not in self._lives and episode.phase is not Phase.FLAT and episode.quantity > 0:
                wrong[f"{key}"] = (key.symbol, f"{key} is gone, believed {episode.quantity}")
            if self._seen.get(key) is not episode:
                self._see_episode(now, key, episode)
        self._hold(now, "I24", wrong, "size")
        unclear = {
            order.client_id: (key.symbol, f"the fate of {order.client_id} is not known")
            for key, episode in state.episodes.items()
            for order in episode.orders
            if order.pending
        }
        self._hold(now, "I23", unclear, "fate")

    def _see_episode(self, now: Millis, key: PositionKey, episode: Episode) -> None:
        old = self._seen.get(key)
        self._seen[key] = episode
        self._note_planned(episode)
        for leg in episode.legs:
            if leg.filled > leg.quantity:
                self.objection("I6", now, f"leg {leg.number} of {episode.generation} is overfilled")
        life = self._lives.get(key)
        if episode.phase is Phase.FLAT and life is not None and life.opened < min(now - _NEWS_MS, episode.opened_at):
            self.objection("I24", now, f"{key} was taken for flat while {life.size} is open")
        same = old is not None and old.generation == episode.generation
        if episode.phase is Phase.CLOSING and not (same and old is not None and old.phase is Phase.CLOSING):
            self._see_closing(now, key, episode)
        if old is None or not same or old.stop is None:
            return
        if episode.stop is None or key.side.sign * (episode.stop - old.stop) < 0:
            self.objection("I4", now, f"the level of {episode.generation} went from {old.stop} to {episode.stop}")

    def _note_planned(self, episode: Episode) -> None:
        for leg in episode.legs:
            slot = (episode.generation, episode.plans, leg.number)
            if leg.quantity > self._planned.get(slot, ZERO):
                self._planned[slot] = leg.quantity

    def _see_orphans(self, now: Millis) -> None:
        left: dict[str, tuple[str, str]] = {}
        for order in self.venue.core.books.resting():
            if not order.client_id.startswith(PREFIX):
                continue
            key = PositionKey(order.symbol, PositionSide.SHORT if order.buy else PositionSide.LONG)
            if key not in self._lives and order.status == "NEW":
                left[order.client_id] = (order.symbol, f"{order.client_id} rests without a position")
        self._hold(now, "I11", left, "left")

    def _hold(self, now: Millis, invariant: str, found: Mapping[str, tuple[str, str]], kind: str) -> None:
        """Let conditions of one kind begin and end."""
        for old in [one for one in self.conditions if one[0] == kind and one[1] not in found]:
            del self.conditions[old]
        for name, (symbol, text) in found.items():
            if (kind, name) not in self.conditions:
                self.conditions[kind, name] = _Condition(invariant, symbol, now, text)

    def _mix(self, *parts: object) -> None:
        self._trace.update(repr(parts).encode())
