"""Planted bugs: one small edit of the real code each, the incident it repeats, and the story that finds it.

An edit names a function and a piece of its source, so a mutant that no longer fits the code fails loudly. `finds` is
the invariant the witness must object with.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any

from tpctl.exits.rules import ExecutionRules, ExitRules
from tpctl.rehearsal.market import ASSETS
from tpctl.rehearsal.world import Story
from tpctl.venue.faults import parse_faults

SOFTWARE = ExitRules(execution=ExecutionRules(take_profit="software"))


@dataclass(frozen=True)
class Edit:
    """Replaces `old` by `new` in one function (`module:qualname`), or the value of a constant where `old` is None."""

    where: str
    old: str | None
    new: Any


@dataclass(frozen=True)
class Mutant:
    """One planted bug."""

    name: str
    incident: str
    edits: tuple[Edit, ...]
    story: str
    seed: int
    finds: str


def _story(faults: str = "none", days: str = "0.12", **more: Any) -> Story:
    # Hours, not days: a market of fewer symbols, told more finely than in the long stories.
    return Story(0, Decimal(days), parse_faults(faults), symbols=tuple(ASSETS)[:3], calm_ms=1_800_000, **more)


STORIES: dict[str, Story] = {
    "calm": _story(days="0.2"),
    "calm hedge": _story(days="0.1", hedge=True),
    "lossy": _story("lost-after=20%,lost-before=10%,unknown=20%,read-lag=30%"),
    "lagging": _story("unknown=30%,read-lag=90%"),
    "empty reads": _story("empty-positions=8%,disconnect=6/h"),
    "blind": _story("drop-events=40%"),
    "doubled": _story("duplicate-events=60%,hand-reduce=3/h"),
    "hands": _story("hand-reduce=3/h,hand-add=4/h,hand-cancel=4/h"),
    "modes": _story("hand-mode=60/h,hand-close=6/h", days="0.25"),
    "drops": _story("stop-expired=10/h,late-reject=30%"),
    "keys": _story("key-expiry=2/h"),
    "bans": _story("ban=3/h"),
    "overload": _story("overload=6/h,hand-cancel=4/h"),
    "thin": _story("thin-book=20/h", days="0.3", depth=Decimal(900)),
    "bad marks": _story("bad-marks=30%,late-marks=30%,flood=2/h"),
    "gaps": _story("price-gap=6/h", rules=SOFTWARE, days="0.2"),
    "deaths": _story(days="0.3", deaths={"kill-send": 6.0, "kill-write": 6.0, "kill-now": 2.0}),
    "shadow": _story("disconnect=6/h", armed=False),
    "trends": _story(days="0.4"),
    "orphans": _story("hand-close=4/h,drop-events=10%", days="0.2"),
}

_RECONCILE, _GUARD, _ANSWERS = "tpctl.exits.reconcile", "tpctl.engine.guard", "tpctl.exits.answers"
_FACTS, _FILLS, _LEGS = "tpctl.exits.facts", "tpctl.exits.fills", "tpctl.exits.legs"
_OPEN_GUARD = Edit(f"{_GUARD}:_uncovers", "others = [", "return None\n    others = [")
_BLIND_GUARD = Edit(
    f"{_GUARD}:_fault", "if intent.quantity is not None:", "return None\n    if intent.quantity is not None:"
)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "cancel before place",
        "freqtrade#5451: the old stop is cancelled, then a new one placed",
        (
            Edit(
                f"{_RECONCILE}:_keep_stop",
                "    for quantity in missing:",
                "    _cancel_all(draft, (o for o in stops if o.resting), 'first')\n    for quantity in missing:",
            ),
            _OPEN_GUARD,
        ),
        "calm",
        0,
        "I5",
    ),
    Mutant(
        "retry with a new id",
        "hummingbot#493: a timeout counted as a failure",
        (
            Edit(
                f"{_ANSWERS}:see_answer",
                "case Unknown(reason=reason):\n            draft.set_order(client_id, state=OrderState.UNKNOWN)",
                "case Unknown(reason=reason):\n            draft.set_order(client_id, state=OrderState.REFUSED)",
            ),
        ),
        "lossy",
        0,
        "I10",
    ),
    Mutant(
        "absence believed at once",
        "nautilus: an order not listed yet taken for one that does not exist",
        (
            Edit(
                f"{_FACTS}:see_lookup",
                "if absences >= 2 and (late or own.state is not OrderState.UNKNOWN):",
                "if absences >= 1:",
            ),
            Edit(
                f"{_FACTS}:see_lookup",
                "if own.state is OrderState.SENT or at - own.settles_from < SETTLE_MS:",
                "if False:",
            ),
        ),
        "lagging",
        0,
        "I10",
    ),
    Mutant(
        "empty read taken for flat",
        "kimchibot: a failure value equal to a success value, the position dropped",
        (Edit("tpctl.exits.snapshot:AGREEING_READS", None, 1),),
        "empty reads",
        2,
        "I24",
    ),
    Mutant(
        "the same request sent twice",
        "Haehnchen#53: a close sent several times",
        (
            Edit(
                "tpctl.adapters.binance.wire:Wire.attempt",
                "if outcome.kind is Kind.OVERLOADED:",
                "if outcome.kind in {Kind.OVERLOADED, Kind.LOST}:",
            ),
        ),
        "lossy",
        0,
        "I10",
    ),
    Mutant(
        "initial size after a partial",
        "fractions of the initial size: a stop for what is no longer there",
        (
            Edit(
                f"{_RECONCILE}:_keep_stop",
                "wanted = slices(episode.quantity, instrument)",
                "wanted = slices(episode.plan.quantity if episode.plan else episode.quantity, instrument)",
            ),
            _BLIND_GUARD,
        ),
        "calm",
        0,
        "I2",
    ),
    Mutant(
        "a take-profit of the whole size",
        "a leg closes the position instead of its part",
        (
            Edit(
                f"{_RECONCILE}:_place_target",
                "new_order(Role.TAKE_PROFIT, (leg.number,), quantity, leg.trigger)",
                "new_order(Role.TAKE_PROFIT, (leg.number,), episode.quantity, leg.trigger)",
            ),
            Edit(
                f"{_RECONCILE}:_place_target",
                "leg.number, quantity, leg.trigger, working",
                "leg.number, episode.quantity, leg.trigger, working",
            ),
        ),
        "calm",
        0,
        "I22",
    ),
    Mutant(
        "intents left out of the journal",
        "I8: the journal is written after, or without, what is sent",
        (
            Edit(
                "tpctl.engine.decisions:Decisions._commit",
                "intents=tuple(i for i in decision.intents if isinstance(i, OrderIntent)),",
                "intents=(),",
            ),
        ),
        "calm",
        0,
        "I8",
    ),
    Mutant(
        "no reduce-only",
        "hummingbot#3710: a close opened a position",
        (Edit("tpctl.adapters.binance_map.params:_sized", "if mode is PositionMode.ONE_WAY:", "if False:"),),
        "calm",
        0,
        "I3",
    ),
    Mutant(
        "the opening side",
        "an order on the side that opens",
        (
            Edit(
                "tpctl.adapters.binance_map.params:_target",
                "key.side.closing.value",
                "next(s.value for s in type(key.side.closing) if s is not key.side.closing)",
            ),
        ),
        "calm",
        0,
        "I2",
    ),
    Mutant(
        "no position side in hedge mode",
        "-4061: an order of one-way mode in a hedged account",
        (Edit("tpctl.adapters.binance_map.params:_target", "if mode is PositionMode.HEDGE:", "if False:"),),
        "calm hedge",
        0,
        "I3",
    ),
    Mutant(
        "off the tick",
        "decimals-count quantize: prices the exchange's grid does not have",
        (
            Edit(
                f"{_RECONCILE}:_place_stop",
                "order = draft.new_order(role, (), quantity, trigger)",
                "trigger += draft.episode.instrument.tick / 2\n"
                "    order = draft.new_order(role, (), quantity, trigger)",
            ),
            _BLIND_GUARD,
        ),
        "calm",
        0,
        "I16",
    ),
    Mutant(
        "orphans stay",
        "freqtrade#7838: stops never cancelled after the close",
        (Edit(f"{_RECONCILE}:_sweep", "since_flat = ", "return\n    since_flat = "),),
        "calm",
        0,
        "I11",
    ),
    Mutant(
        "foreign orders swept",
        "a sweep that cancels what somebody else placed",
        (
            Edit(
                f"{_FACTS}:see_foreign",
                "others = tuple(",
                "draft.ask(CancelOrder(draft.episode.key, order.client_id, Book.ALGO, 'sweep'))\n    others = tuple(",
            ),
            Edit(
                "tpctl.exits.snapshot:take_read",
                "            foreign.append(order)",
                "            foreign.append(order)\n            facts.see_foreign(draft, order)",
            ),
            Edit(f"{_GUARD}:Guard.admit", "if not is_ours(intent.client_id):", "if False:"),
        ),
        "calm",
        0,
        "I12",
    ),
    Mutant(
        "legs out of order",
        "one TP per cycle through a gap, the farthest first",
        (
            Edit(
                f"{_RECONCILE}:_take_crossed",
                "numbers = tuple(leg.number for leg in crossed)",
                "crossed = crossed[-1:]\n    numbers = tuple(leg.number for leg in crossed)",
            ),
        ),
        "gaps",
        0,
        "I7",
    ),
    Mutant(
        "outcomes counted twice",
        "metrics incremented by every reader of a hit",
        (Edit(f"{_LEGS}:record_hits", "draft.set_leg(replace(leg, recorded=True))", "pass"),),
        "calm",
        0,
        "I17",
    ),
    Mutant(
        "a sent order stays sent after a death",
        "nautilus#5000: working orders dropped after SIGKILL",
        (
            Edit(
                "tpctl.exits.decide:_recover_episode",
                "OrderState.UNKNOWN if order.state is OrderState.SENT else order.state",
                "order.state",
            ),
            Edit(
                f"{_RECONCILE}:_unclear",
                "if order.state is OrderState.UNKNOWN:",
                "if order.state is OrderState.UNKNOWN and order.looked_at is None:",
            ),
        ),
        "deaths",
        3,
        "I23",
    ),
    Mutant(
        "nobody asks about an unknown order",
        "hummingbot#7503: a fill undetected, its fate never resolved",
        (Edit(f"{_RECONCILE}:_look_up_unclear", "for order in draft.episode.orders:", "for order in ():"),),
        "lossy",
        0,
        "I23",
    ),
    Mutant(
        "requests during a ban",
        "418: going on asking makes the ban longer",
        (
            Edit("tpctl.adapters.binance.budget:Budget.admit", "if now < self._banned_until:", "if False:"),
            Edit("tpctl.adapters.binance.budget:Budget.admit", "if now < self._blocked_until:", "if False:"),
        ),
        "bans",
        0,
        "I22",
    ),
    Mutant(
        "a spent listen key",
        "cryptoxlib#65: listenKeyExpired ignored, blind from then on",
        (Edit("tpctl.adapters.streams.feed:LiveFeed.take_facts", "if frame.key_expired:", "if False:"),),
        "keys",
        0,
        "I23",
    ),
    Mutant(
        "no regular read",
        "ibkr-risk-bot#1: a watchdog that trusts its own flags",
        (
            Edit(
                "tpctl.engine.account_reads:AccountReads.ask_if_old",
                "passed(self._clock.now(), self._wide_at, every_ms)",
                "False",
            ),
        ),
        "blind",
        0,
        "I1",
    ),
    Mutant(
        "additions ignored",
        "I24: an increase by hand is not covered, nor planned for",
        (Edit("tpctl.exits.size:_see_increase", "episode = draft.episode", "return\n    episode = draft.episode"),),
        "hands",
        0,
        "I24",
    ),
    Mutant(
        "inputs asked for once",
        "a first stop that waits for a reading which never comes",
        (Edit("tpctl.exits.progress:_ask_context_again", "if awaited and asked", "if False and asked"),),
        "lossy",
        1,
        "I1",
    ),
    Mutant(
        "no backstop, and stops of a part",
        "a stop for the first slice only",
        (
            Edit(
                f"{_RECONCILE}:_keep_backstop",
                "if draft.stopped(episode.backstop):",
                "return\n    if draft.stopped(episode.backstop):",
            ),
            Edit(
                f"{_RECONCILE}:_keep_stop",
                "wanted = slices(episode.quantity, instrument)",
                "wanted = tuple(part - instrument.step for part in slices(episode.quantity, instrument))",
            ),
        ),
        "calm",
        0,
        "I1",
    ),
    Mutant(
        "a lost stop is not missed",
        "freqtrade#4523: a stop the exchange dropped is never placed again",
        (
            Edit(
                f"{_FACTS}:see_order",
                'changes["state"] = state',
                'changes["state"] = own.state if state is OrderState.GONE and own.role.value[0] in "sb" else state',
            ),
        ),
        "drops",
        0,
        "I1",
    ),
    Mutant(
        "the mode is read once",
        "-4061 for ever: hedge mode switched by hand",
        (
            Edit(
                "tpctl.exits.decide:_on_snapshot", "Decision(replace_state(state, mode=event.mode))", "Decision(state)"
            ),
            Edit("tpctl.exits.decide:_on_mode", "Decision(replace_state(state, mode=mode),", "Decision(state,"),
        ),
        "modes",
        1,
        "I1",
    ),
    Mutant(
        "a ghost of the last position",
        "freqtrade#12528: exits placed again after the position closed",
        (
            Edit("tpctl.exits.size:see_size", "or episode.stated == 0:", ":"),
            Edit("tpctl.exits.progress:progress", "if episode.stated == 0:", "if False:"),
        ),
        "calm",
        0,
        "I11",
    ),
    Mutant(
        "an id used twice",
        "numbers that do not survive a restart: the next order takes the last one's id",
        (
            Edit(
                "tpctl.exits.draft:Draft.new_order",
                "next_revision=self.episode.next_revision + 1",
                "next_revision=self.episode.next_revision",
            ),
        ),
        "calm",
        0,
        "I10",
    ),
    Mutant(
        "a shadow that sends",
        "a dry run that trades",
        (
            Edit(
                "tpctl.rehearsal.life:Life._run",
                "kind = BinanceExchange if self._armed else ShadowExchange",
                "kind = BinanceExchange",
            ),
            Edit("tpctl.rehearsal.life:Life._run", "armed=self._armed", "armed=True"),
        ),
        "shadow",
        0,
        "I13",
    ),
    Mutant(
        "a resting order taken for gone",
        "nautilus#4176: what was not understood counts as cancelled",
        (Edit(f"{_FACTS}:see_order", 'changes["state"] = state', 'changes["state"] = OrderState.GONE'),),
        "calm",
        0,
        "I10",
    ),
    Mutant(
        "every level is passed",
        "a long's comparison used for shorts: closed at once, or never",
        (Edit("tpctl.exits.draft:Draft.beyond", "return False", "return True"),),
        "calm",
        19,
        "I15",
    ),
    Mutant(
        "one stop slice too many",
        "quantities rounded up: stops close more than there is",
        (
            Edit(
                f"{_RECONCILE}:_keep_stop",
                "wanted = slices(episode.quantity, instrument)",
                "wanted = tuple(part + instrument.step for part in slices(episode.quantity, instrument))",
            ),
            _BLIND_GUARD,
        ),
        "calm",
        0,
        "I2",
    ),
    Mutant(
        "a trail that follows the price back",
        "a trail from the mark and not from the best price: it loosens",
        (
            Edit(
                "tpctl.exits.progress:_follow_trail",
                "level = trail_stop(instrument, side, peak, callback)",
                "level = trail_stop(instrument, side, episode.mark or peak, callback)",
            ),
            Edit("tpctl.exits.progress:_follow_trail", "change.changed or side.sign", "True or side.sign"),
            Edit(
                "tpctl.exits.progress:move_stop",
                "if old is None or tighter(draft.episode, old, level) == old:",
                "if old is None or old == level:",
            ),
            _BLIND_GUARD,
        ),
        "trends",
        1,
        "I4",
    ),
)


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Plant a bug for a while."""
    undo: list[tuple[Any, str, Any]] = []
    try:
        by_function: dict[str, list[Edit]] = {}
        for edit in mutant.edits:
            by_function.setdefault(edit.where, []).append(edit)
        for where, edits in by_function.items():
            undo += _plant(where, edits)
        yield
    finally:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)


def _plant(where: str, edits: list[Edit]) -> list[tuple[Any, str, Any]]:
    module_name, _, path = where.partition(":")
    module = import_module(module_name)
    owner: Any = module
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = inspect.getattr_static(owner, name)
    if edits[0].old is None:
        changed: Any = edits[0].new
    else:
        source = textwrap.dedent(inspect.getsource(original))
        for edit in edits:
            assert edit.old is not None
            assert source.count(edit.old) == 1, f"{where}: {edit.old!r} is there {source.count(edit.old)} times"
            source = source.replace(edit.old, edit.new)
        names = dict(vars(module))
        exec(compile(ast.parse(source), f"<{where}>", "exec"), names)  # noqa: S102 - our own source with one edit
        changed = names[name]
        if inspect.isfunction(changed):
            # It must see what the module's other functions see, mutants included.
            changed = type(changed)(changed.__code__, vars(module), name, changed.__defaults__, changed.__closure__)
            changed.__kwdefaults__ = original.__kwdefaults__
    found = [(owner, name, original)]
    setattr(owner, name, changed)
    if owner is module:
        for other in [m for key, m in sys.modules.items() if key.startswith("tpctl.") and m is not module]:
            for alias, value in list(vars(other).items()):
                if (value is original and callable(original)) or (
                    edits[0].old is None and alias == name and value == original
                ):
                    found.append((other, alias, original))
                    setattr(other, alias, changed)
    return found
