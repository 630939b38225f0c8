"""Who may send orders: the twin always, demo when asked, live only with consent and its name; and a plan only armed."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tpctl.adapters.rules import parse_instruments
from tpctl.cli.arming import arm
from tpctl.cli.plan_apply import Application
from tpctl.engine.apply import PlanFile, PlannedPosition
from tpctl.engine.plan_request import Given, bare_context, hypothetical_request
from tpctl.engine.planning import Situation, compose
from tpctl.exits.episode import State
from tpctl.exits.errors import InputsError, NotArmedError
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import LiveOrder, Position, PositionKey
from tpctl.exits.rules import ExitRules
from tpctl.settings.load import load
from tpctl.settings.schema import Settings
from tpctl.venue.rulebook import builtin_rules


@pytest.fixture
def consenting(tmp_path: Path) -> Settings:
    config = tmp_path / "config.toml"
    config.write_text('[profiles.main]\nenv = "live"\nallow_live = true\n')
    return load(config, "main")


def test_the_twin_is_armed_and_others_only_when_asked(consenting: Settings) -> None:
    assert arm(load(None, "sim"), asked=False, confirm=None, no_input=True)
    assert arm(load(None, "demo"), asked=True, confirm=None, no_input=True)
    for settings in (load(None, "demo"), load(None, "live"), consenting):
        assert not arm(settings, asked=False, confirm=None, no_input=True)


def test_live_needs_consent_and_its_name(consenting: Settings) -> None:
    assert arm(consenting, asked=True, confirm="main", no_input=True)
    with pytest.raises(NotArmedError, match="does not allow live orders"):
        arm(load(None, "live"), asked=True, confirm="live", no_input=True)
    for wrong in (None, "live", "Main"):
        with pytest.raises(NotArmedError, match="was not confirmed"):
            arm(consenting, asked=True, confirm=wrong, no_input=True)


class Account:
    """An account of one XRPUSDT long, which can only be read."""

    def __init__(self, *positions: Position) -> None:
        self._positions = positions

    async def positions(self) -> tuple[Position, ...]:
        return self._positions

    async def instruments(self) -> Any:
        return parse_instruments(builtin_rules().exchange_info)

    async def open_orders(self, symbol: str) -> tuple[LiveOrder, ...]:
        return ()


def _application(settings: Settings) -> tuple[Application, Position]:
    key = PositionKey("XRPUSDT", PositionSide.LONG)
    half, size = Decimal("0.5"), Decimal(800)
    instrument = parse_instruments(builtin_rules().exchange_info)["XRPUSDT"]
    missing = Unavailable("not here")
    given = Given(entry=half, mark=half, quantity=size, leverage=Decimal(20))
    request, _ = hypothetical_request("XRPUSDT", instrument, bare_context(missing, "not here"), missing, given)
    plan = compose(request, ExitRules(), Situation("test")).plan
    zero = Decimal(0)
    position = Position(key, size, half, half, 1, None, zero, Decimal(20), zero)
    file = PlanFile(settings.name, settings.profile.env.value, (PlannedPosition(plan, half),))
    return Application(file, settings, armed=False), position


def test_an_unarmed_plan_is_checked_and_then_refused_with_what_is_due() -> None:
    settings = load(None, "demo")
    application, position = _application(settings)
    state = State(account="test", rules=ExitRules())

    with pytest.raises(NotArmedError, match="5 of its orders are not placed"):
        asyncio.run(application.prepare(Account(position), state, None))  # type: ignore[arg-type]  # reads only


def test_the_other_side_of_a_hedged_symbol_is_not_left_to_a_plan_nobody_saw() -> None:
    application, position = _application(load(None, "demo"))
    other = replace(position, key=PositionKey("XRPUSDT", PositionSide.SHORT))
    state = State(account="test", rules=ExitRules())

    with pytest.raises(InputsError, match="XRPUSDT SHORT is open too"):
        asyncio.run(application.prepare(Account(position, other), state, None))  # type: ignore[arg-type]  # reads only
