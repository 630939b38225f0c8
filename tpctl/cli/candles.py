"""Which candles risk is measured on, and where a profile's exchange keeps them on disk."""

from tpctl.adapters.candle_cache import PAGE_ROWS, CandleCache, PageReader
from tpctl.market.bars import MINUTE_MS
from tpctl.settings.profile import cache_dir
from tpctl.settings.schema import Env

INTERVAL, INTERVAL_MS = "15m", 15 * MINUTE_MS
# The twin weighs nothing, but makes each page anew from all of its candles.
_TWIN_PAGE_ROWS = 499


def candle_cache(env: Env, pages: PageReader, *, patient: bool = True) -> CandleCache:
    """Return the cache of a profile's exchange; only `patient` ones wait for the request budget."""
    if env is Env.SIM:
        # A twin's candles are those of its seed: they are nobody else's.
        return CandleCache(pages, INTERVAL, INTERVAL_MS, None, page_rows=_TWIN_PAGE_ROWS, patient=patient)
    folder = cache_dir() / "candles" / env.value
    return CandleCache(pages, INTERVAL, INTERVAL_MS, folder, page_rows=PAGE_ROWS, patient=patient)
