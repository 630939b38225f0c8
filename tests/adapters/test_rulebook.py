"""The rule book: freshness, fallbacks, and a cache that is whole or not there."""

import asyncio
import gzip
import json
import stat
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_exchange_rules import BRACKETS, ROW

from tpctl.adapters import rulebook
from tpctl.adapters.rulebook import DEFAULT_TTL_MS, Fetched, RuleBook, RuleCache, show_age
from tpctl.exits.errors import InputsError, StateFileError, UnavailableError
from tpctl.exits.instrument import Unavailable

NOW = 1_760_000_000_000
INFO = {"serverTime": NOW - 5, "symbols": [ROW, {**ROW, "symbol": "币安人生USDT"}, {**ROW, "symbol": "ETHUSDT"}]}
TABLES = [{"symbol": "XRPUSDT", "brackets": BRACKETS}]


@pytest.fixture
def cache(tmp_path: Path) -> RuleCache:
    return RuleCache(tmp_path / "cache" / "rules-live.cache", "live")


class Exchange:
    """Answers a fetch, or fails as it is told to."""

    def __init__(self, tick: str = "0.001", *, fails: bool = False, brackets: Any = TABLES) -> None:
        self.asked = 0
        self.fails = fails
        self.brackets = brackets
        row = json.loads(json.dumps(ROW).replace("0.0001000", tick))
        self.info = {"symbols": [row]}

    async def __call__(self) -> Fetched:
        self.asked += 1
        if self.fails:
            raise UnavailableError("the exchange does not answer", "try again")
        return Fetched(self.info, self.brackets, NOW)


def _current(cache: RuleCache, fetch: Callable[[], Awaitable[Fetched]], now: int, **how: bool) -> RuleBook:
    return asyncio.run(cache.current(fetch, now, **how))


def test_what_is_cached_reads_back_the_same(cache: RuleCache) -> None:
    stored = cache.store(Fetched(INFO, TABLES, NOW))
    found = cache.fresh(NOW + DEFAULT_TTL_MS)

    assert found is not None
    assert found.symbols() == ("XRPUSDT", "币安人生USDT", "ETHUSDT")
    assert found.instruments() == stored.instruments()
    assert found.brackets("XRPUSDT") == stored.brackets("XRPUSDT")
    assert isinstance(found.brackets("ETHUSDT"), Unavailable)
    assert (found.fetched_at, found.brackets_at, found.age_ms(NOW + 7)) == (NOW, NOW, 7)


def test_decimals_of_an_answer_survive_the_cache(cache: RuleCache) -> None:
    rows = [{**entry, "maintMarginRatio": Decimal(str(entry["maintMarginRatio"]))} for entry in BRACKETS]
    cache.store(Fetched(INFO, [{"symbol": "XRPUSDT", "brackets": rows}], NOW))
    found = cache.fresh(NOW)

    assert found is not None
    assert found.brackets("XRPUSDT") == RuleBook.from_payload(INFO, TABLES, origin="").brackets("XRPUSDT")


def test_looking_one_symbol_up_parses_that_symbol_only(cache: RuleCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.store(Fetched(INFO, TABLES, NOW))
    book = cache.fresh(NOW)
    parsed: list[str] = []
    original = rulebook.parse_instrument

    def counted(row: Any) -> Any:
        parsed.append(row["symbol"])
        return original(row)

    monkeypatch.setattr(rulebook, "parse_instrument", counted)
    assert book is not None
    book.instrument("ETHUSDT")
    book.instrument("ETHUSDT")

    assert parsed == ["ETHUSDT"]


def test_only_the_owner_can_read_the_cache(cache: RuleCache) -> None:
    cache.store(Fetched(INFO, TABLES, NOW))

    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("age", [DEFAULT_TTL_MS + 1, -120_000], ids=["old", "from the future"])
def test_rules_out_of_their_time_are_not_fresh(cache: RuleCache, age: int) -> None:
    cache.store(Fetched(INFO, TABLES, NOW))

    assert cache.fresh(NOW + age) is None


def test_young_rules_are_not_fetched_again_and_old_ones_are(cache: RuleCache) -> None:
    exchange = Exchange()
    _current(cache, exchange, NOW)
    _current(cache, exchange, NOW + DEFAULT_TTL_MS)
    assert exchange.asked == 1

    _current(cache, exchange, NOW + DEFAULT_TTL_MS + 1)
    assert exchange.asked == 2


def test_refresh_fetches_at_once(cache: RuleCache) -> None:
    _current(cache, Exchange("0.001"), NOW)
    book = _current(cache, Exchange("0.01"), NOW, refresh=True)

    assert book.instrument("XRPUSDT").tick == Decimal("0.01")
    assert cache.offline(NOW).instrument("XRPUSDT").tick == Decimal("0.01")


def test_old_rules_serve_where_the_exchange_does_not_answer_and_say_so(cache: RuleCache) -> None:
    _current(cache, Exchange(), NOW)
    later = NOW + 3 * DEFAULT_TTL_MS
    book = _current(cache, Exchange(fails=True), later)

    assert book.instrument("XRPUSDT").tick == Decimal("0.001")
    assert [code for code, _ in book.warnings] == ["rules_old"]
    assert "3 h old" in book.warnings[0][1]
    with pytest.raises(UnavailableError):
        _current(cache, Exchange(fails=True), later, refresh=True)


def test_without_a_cache_a_failed_fetch_is_the_answer(cache: RuleCache) -> None:
    with pytest.raises(UnavailableError):
        _current(cache, Exchange(fails=True), NOW)


def test_brackets_that_were_not_fetched_are_kept_with_their_own_date(cache: RuleCache) -> None:
    cache.store(Fetched(INFO, TABLES, NOW - 99))
    book = _current(cache, Exchange(brackets=None), NOW, refresh=True)

    assert not isinstance(book.brackets("XRPUSDT"), Unavailable)
    assert (book.fetched_at, book.brackets_at) == (NOW, NOW - 99)


def test_offline_serves_any_age_and_says_how_old(cache: RuleCache) -> None:
    cache.store(Fetched(INFO, TABLES, NOW))

    assert cache.offline(NOW + 1).warnings == ()
    assert cache.offline(NOW + 5 * 86_400_000).warnings == (("rules_old", "the rules are 5 d old"),)


def test_offline_without_a_cache_names_the_way_out(cache: RuleCache) -> None:
    with pytest.raises(InputsError) as refused:
        cache.offline(NOW)

    assert "--rules" in refused.value.hint


def test_a_cache_cut_or_changed_anywhere_is_damaged_never_misread(cache: RuleCache) -> None:
    cache.store(Fetched(INFO, TABLES, NOW))
    whole = cache.path.read_bytes()
    for place in range(0, len(whole), 37):
        for bad in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            cache.path.write_bytes(bad)
            try:
                assert isinstance(cache.load(), Unavailable)
            except StateFileError:
                # The version itself was changed to a later one.
                assert whole[place : place + 1] == b"1"


def test_a_damaged_cache_is_fetched_again_with_a_warning(cache: RuleCache) -> None:
    cache.store(Fetched(INFO, TABLES, NOW))
    cache.path.write_bytes(cache.path.read_bytes()[:-1])

    with pytest.raises(InputsError, match="damaged"):
        cache.offline(NOW)
    book = _current(cache, Exchange(), NOW)

    assert [code for code, _ in book.warnings] == ["rule_cache_damaged"]
    assert cache.offline(NOW).warnings == ()


def test_a_cache_of_a_newer_tpctl_is_refused_and_left_alone(cache: RuleCache) -> None:
    cache.store(Fetched(INFO, TABLES, NOW))
    newer = cache.path.read_bytes().replace(b'"version":1', b'"version":2')
    cache.path.write_bytes(newer)

    with pytest.raises(StateFileError, match="newer"):
        _current(cache, Exchange(), NOW, refresh=True)
    assert cache.path.read_bytes() == newer


def test_the_cache_of_another_environment_is_not_used(cache: RuleCache) -> None:
    cache.store(Fetched(INFO, TABLES, NOW))

    assert RuleCache(cache.path, "demo").fresh(NOW) is None


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    book = _current(RuleCache(tmp_path / "file" / "rules.cache", "live"), Exchange(), NOW)

    assert [code for code, _ in book.warnings] == ["rule_cache_unwritable"]
    assert book.instrument("XRPUSDT").tick == Decimal("0.001")


def test_an_answer_without_symbols_replaces_nothing(cache: RuleCache) -> None:
    cache.store(Fetched(INFO, TABLES, NOW))
    exchange = Exchange()
    exchange.info = {"symbols": []}

    with pytest.raises(InputsError):
        _current(cache, exchange, NOW, refresh=True)
    assert cache.fresh(NOW) is not None


@pytest.mark.parametrize(
    ("asked", "near"), [("XRPUSD", "XRPUSDT"), ("xrpusdt", "XRPUSDT"), ("ETHUSDC", "ETHUSDT"), ("Q", "XRPUSDT")]
)
def test_an_unknown_symbol_is_answered_with_the_nearest(asked: str, near: str) -> None:
    with pytest.raises(InputsError) as refused:
        RuleBook.from_payload(INFO, origin="a test").instrument(asked)

    assert repr(asked) in refused.value.message
    assert near in refused.value.hint


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_files_read_plain_or_packed_wrapped_or_not(tmp_path: Path, packed: bool, wrapped: bool) -> None:
    rules, tables = tmp_path / "rules", tmp_path / "tables"
    for path, content in ((rules, {"ts": 1.0, "info": INFO} if wrapped else INFO), (tables, TABLES)):
        data = json.dumps(content).encode()
        path.write_bytes(gzip.compress(data) if packed else data)
    book = RuleBook.from_files(rules, tables)

    assert book.instrument("XRPUSDT").tick == Decimal("0.0001")
    assert not isinstance(book.brackets("XRPUSDT"), Unavailable)
    assert book.fetched_at == NOW - 5


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[1]", b"\x1f\x8bxx", gzip.compress(json.dumps(INFO).encode())[:-9], b"[" * 100_000, b"{}"],
    ids=["empty", "cut", "list", "no gzip", "cut gzip", "deep", "no symbols"],
)
def test_a_file_that_holds_no_rules_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rules"
    path.write_bytes(data)

    with pytest.raises(InputsError):
        RuleBook.from_files(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputsError, match=r"nowhere\.json"):
        RuleBook.from_files(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("age", "shown"), [(0, "0 min"), (7_199_999, "119 min"), (7_200_000, "2 h"), (172_800_000, "2 d"), (-5, "0 min")]
)
def test_ages_are_shown_for_people(age: int, shown: str) -> None:
    assert show_age(age) == shown
