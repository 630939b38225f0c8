"""A session that records what it was asked to run, in place of the composition root."""

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from tpctl.exits.errors import ExitCode


@dataclass
class FakeSession:
    """Stands where sessions are put together: keeps the options, and does what a test tells it to."""

    asked: list[Any] = field(default_factory=list)
    does: Any = None

    def run(self, options: Any) -> ExitCode:
        self.asked.append(options)
        return ExitCode.OK if self.does is None else self.does()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    fake = FakeSession()
    for name, function in (("session", "run_watch"), ("serving", "run_venue"), ("flatten", "run_flatten")):
        module = ModuleType(f"tpctl.cli.{name}")
        setattr(module, function, fake.run)
        monkeypatch.setitem(sys.modules, f"tpctl.cli.{name}", module)
    return fake
