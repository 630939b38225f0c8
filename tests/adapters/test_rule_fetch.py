"""Fetching rules through the real client from a server on loopback, into the cache and back."""

import asyncio
import time
from pathlib import Path

import pytest
from aiohttp import web
from test_exchange_rules import BRACKETS, ROW

from tpctl.adapters.binance.endpoints import twin
from tpctl.adapters.binance.rule_fetch import fetch_rules
from tpctl.adapters.rulebook import RuleBook, RuleCache
from tpctl.adapters.secrets import Secret
from tpctl.exits.errors import UnavailableError
from tpctl.exits.instrument import Unavailable

NOW = 1_760_000_000_000


class Server:
    """Answers the two reads, and keeps which were asked."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        self.asked.append(name)
        answers = {
            "exchangeInfo": {"serverTime": NOW, "symbols": [ROW]},
            "leverageBracket": [{"symbol": "XRPUSDT", "brackets": BRACKETS}],
            "time": {"serverTime": time.time_ns() // 1_000_000},
        }
        return web.json_response(answers[name], status=self.status)


def _current(server: Server, cache: RuleCache, **keys: Secret) -> RuleBook:
    async def main() -> RuleBook:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", server.answer)
        runner = web.AppRunner(app, shutdown_timeout=0, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoints = twin(f"http://127.0.0.1:{runner.addresses[0][1]}")
        try:
            return await cache.current(lambda: fetch_rules(endpoints, **keys), NOW)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


def test_rules_are_public_and_brackets_need_keys(tmp_path: Path) -> None:
    server, cache = Server(), RuleCache(tmp_path / "rules.cache", "live")
    book = _current(server, cache)

    assert server.asked == ["exchangeInfo"]
    assert book.instrument("XRPUSDT").tick == cache.offline(NOW).instrument("XRPUSDT").tick
    assert isinstance(book.brackets("XRPUSDT"), Unavailable)


def test_with_keys_the_brackets_come_too_and_keep_their_digits_in_the_cache(tmp_path: Path) -> None:
    server, cache = Server(), RuleCache(tmp_path / "rules.cache", "live")
    book = _current(server, cache, key=Secret("k" * 64), secret=Secret("s" * 64))
    expected = RuleBook.from_payload(
        {"symbols": [ROW]}, [{"symbol": "XRPUSDT", "brackets": BRACKETS}], origin="a test"
    ).brackets("XRPUSDT")

    assert "leverageBracket" in server.asked
    assert book.brackets("XRPUSDT") == expected
    assert cache.offline(NOW).brackets("XRPUSDT") == expected


def test_an_exchange_in_trouble_is_unavailable_and_leaves_no_cache(tmp_path: Path) -> None:
    cache = RuleCache(tmp_path / "rules.cache", "live")

    with pytest.raises(UnavailableError):
        _current(Server(404), cache)
    assert cache.load() is None
