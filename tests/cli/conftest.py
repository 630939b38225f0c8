"""A session that records what it was asked to run, in place of the composition root."""

import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from tpctl.exits.errors import ExitCode


@dataclass
class FakeSession:
    """Stands where `tpctl.cli.session` stands: keeps the options, and does what a test tells it to."""

    asked: list[Any] = field(default_factory=list)
    does: Any = None

    def run(self, options: Any) -> ExitCode:
        self.asked.append(options)
        return ExitCode.OK if self.does is None else self.does()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    fake = FakeSession()
    module = ModuleType("tpctl.cli.session")
    module.run_watch = fake.run  # type: ignore[attr-defined]  # a module built for the test
    module.run_venue = fake.run  # type: ignore[attr-defined]  # a module built for the test
    monkeypatch.setitem(sys.modules, "tpctl.cli.session", module)
    return fake
