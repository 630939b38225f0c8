"""`tpctl plan --apply`: places what is missing of a plan, once, as `watch --once` would.

The account's lock, the journal, the guard and the reducer are those of `watch`; this file reads the document, refuses
it where the world has moved on, and says in the end which of its orders rest. Only `arming` decides whether anything is
sent; without arming the plan is checked and nothing else happens (exit 18).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tpctl.adapters.files import read_file
from tpctl.cli.arming import arm
from tpctl.cli.plan_options import Format, PlanOptions
from tpctl.cli.runs import WatchOptions
from tpctl.engine.apply import PlanFile, check_plan, pin, read_plan
from tpctl.exits.episode import OrderState, State
from tpctl.exits.errors import ExitCode, InputsError, NotArmedError, PartialError, UsageError
from tpctl.exits.model import LiveOrder, NoteKind, Plan, Position, PositionKey
from tpctl.exits.planned import Standing, compare, planned_orders, wanted_by
from tpctl.exits.units import Millis, plain
from tpctl.ports import AccountReader
from tpctl.settings.load import load
from tpctl.settings.schema import Env, Settings
from tpctl.views.streams import LineStory, SilentStory, Story, detect

if TYPE_CHECKING:
    from tpctl.views.machine import Json


@dataclass(slots=True)
class Application:
    """One plan file being applied: the hold on the session, and what became of it."""

    file: PlanFile
    settings: Settings
    armed: bool
    at: Millis = 0
    state: State | None = None
    due: int = 0

    async def prepare(self, reader: AccountReader, state: State, halt: str | None) -> State:
        """Return the state that holds the plans; refuse where they no longer fit, or may not be sent."""
        positions = await reader.positions()
        self._check_sides(positions)
        instruments = await reader.instruments()
        pairs: list[tuple[Plan, Position]] = []
        execution = self.settings.exits.execution
        for planned in self.file.plans:
            symbol = planned.plan.key.symbol
            if symbol not in instruments:
                raise InputsError(f"the exchange lists no symbol {symbol!r}", "check the profile the plan is for")
            pairs.append((planned.plan, check_plan(planned, positions, instruments[symbol], execution)))
        live: tuple[LiveOrder, ...] = ()
        for symbol in dict.fromkeys(plan.key.symbol for plan, _ in pairs):
            live += await reader.open_orders(symbol)
        for plan, position in pairs:
            standing = Standing(mark=position.mark_price, live=live, whole=False)
            orders = planned_orders(wanted_by(plan), instruments[plan.key.symbol], "", execution, standing)
            self.due += len(compare(plan.key, orders, live).due)
        if not self.armed:
            raise NotArmedError(
                f"the plan still fits, and {self.due} of its orders are not placed: nothing is sent without --arm",
                "add --arm to send them",
            )
        if halt is not None:
            raise NotArmedError(f"HALT is set: {halt}", "remove the HALT file, or leave the exits to watch")
        self.at = await reader.server_time()
        return pin(state, pairs, live, self.at)

    def settle(self, state: State) -> None:
        """Take the state the run ended with."""
        self.state = state

    def _check_sides(self, positions: tuple[Position, ...]) -> None:
        """Refuse to leave the other side of a hedged symbol to a plan nobody has seen."""
        wanted = {planned.plan.key for planned in self.file.plans}
        for position in positions:
            key = position.key
            if PositionKey(key.symbol, key.side.other) in wanted and key not in wanted:
                raise InputsError(
                    f"{key} is open too and has no plan in the file",
                    f"plan both sides: tpctl plan {key.symbol} -o FILE",
                )


def run_apply(options: PlanOptions) -> ExitCode:
    """Place what is missing of the plan in a file; return 0 where all of it rests."""
    shared = options.shared
    settings = load(shared.config, shared.profile, shared.state_dir)
    path = options.apply or Path()
    data = read_file(path)
    if data is None:
        raise InputsError(f"plan file {str(path)!r} does not exist", "make one with tpctl plan -o FILE")
    file = read_plan(data, str(path))
    _check_profile(file, settings, options)
    armed = arm(settings, asked=options.arm, confirm=options.confirm, no_input=shared.no_input)
    application = Application(file, settings, armed)
    machine = options.format is Format.JSON
    silent = SilentStory()
    story: Story = silent
    if not machine:
        story = LineStory(
            detect(sys.stdout, sys.stderr, shared.color.value), quiet=shared.quiet, verbose=shared.verbose
        )
    symbols = tuple(dict.fromkeys(planned.plan.key.symbol for planned in file.plans))
    watch = WatchOptions(symbols=symbols, shared=shared, venue=options.venue, once=True, arm=options.arm)
    from tpctl.cli.session import run_pinned

    code = run_pinned(settings, watch, story, application, armed=armed)
    if machine:
        sys.stdout.write(_document(application, silent, settings))
    missing = _missing(application)
    if missing and code in {ExitCode.OK, ExitCode.PARTIAL}:
        raise PartialError(
            f"{len(missing)} orders of the plan do not rest: {missing[0]}", "run it again, or see why above"
        )
    return code


def _check_profile(file: PlanFile, settings: Settings, options: PlanOptions) -> None:
    env = settings.profile.env
    if (file.profile, file.env) != (settings.name, env.value):
        raise InputsError(
            f"the plan was made for profile {file.profile!r} ({file.env}), not for {settings.name!r} ({env.value})",
            f"add -p {file.profile}, or make the plan again",
        )
    if env is Env.SIM and options.venue is None:
        raise UsageError(
            "--apply needs a twin that outlives this run", "serve one with 'tpctl venue' and name it with --venue URL"
        )
    if env is not Env.SIM and options.venue is not None:
        raise UsageError(f"profile {settings.name!r} has no simulated market", "leave --venue out")


def _missing(application: Application) -> list[str]:
    """Return what of the plans neither rests nor was carried out."""
    state = application.state
    if state is None:
        return []
    missing = []
    for planned in application.file.plans:
        key = planned.plan.key
        episode = state.episodes.get(key)
        if episode is None or not episode.protected:
            missing.append(f"{key} has no stop")
            continue
        wanted = {leg.number for leg in episode.legs if leg.remaining > 0 and leg.status.value == "waiting"}
        resting = {leg for order in episode.orders if order.open for leg in order.legs}
        if application.settings.exits.execution.take_profit == "resident":
            missing += [f"take-profit {number} of {key}" for number in sorted(wanted - resting)]
    return missing


def _document(application: Application, silent: SilentStory, settings: Settings) -> str:
    """Return what became of the plans as `tpctl.plan/1`."""
    from tpctl.views.machine import document

    placed = {note.data.get("client_id") for note in silent.notes if note.kind is NoteKind.PLACED}
    rows: list[Json] = []
    for planned in application.file.plans:
        key = planned.plan.key
        episode = None if application.state is None else application.state.episodes.get(key)
        if episode is None:
            continue
        orders: list[Json] = [
            {
                "client_id": order.client_id,
                "role": order.role.label,
                "trigger": None if order.trigger is None else plain(order.trigger),
                "quantity": None if order.quantity is None else plain(order.quantity),
                "state": "resting" if order.state is OrderState.LIVE else order.state.value,
                "placed_now": order.client_id in placed,
            }
            for order in episode.orders
        ]
        rows.append(
            {
                "symbol": key.symbol,
                "position_side": key.side.value,
                "generation": episode.generation,
                "protected": episode.protected,
                "orders": orders,
            }
        )
    data: dict[str, Json] = {"applied": rows, "orders_placed": len(placed)}
    return document(
        "plan", ts=application.at, profile=settings.name, env=settings.profile.env.value, mode="armed", data=data
    )
