"""Where trading rules come from when nobody is asked for them: a named file, the twin's own, or the cache.

What asks an exchange for them (`quantize`, `plan`) does so itself, through the same cache.
"""

from pathlib import Path

from tpctl.adapters.rulebook import DEFAULT_TTL_MS, RuleBook, RuleCache
from tpctl.exits.units import Millis
from tpctl.settings.profile import cache_dir


def rule_cache(env: str, ttl_ms: Millis = DEFAULT_TTL_MS) -> RuleCache:
    """Return the cache of an environment's rules."""
    return RuleCache(cache_dir() / f"rules-{env}.cache", env, ttl_ms)


def offline_rules(env: str, now: Millis, rules: Path | None, brackets: Path | None = None) -> RuleBook:
    """Return the rules nobody has to be asked for; raises `InputsError` where there are none."""
    if rules is not None:
        return RuleBook.from_files(rules, brackets)
    if env == "sim":
        return built_in_rules()
    return rule_cache(env).offline(now)


def built_in_rules() -> RuleBook:
    """Return the twin's rules, read from its own file without building the twin."""
    import json
    import pkgutil

    document = json.loads(pkgutil.get_data("tpctl.venue", "builtin_rules.json") or b"")
    return RuleBook.from_payload(document["exchange_info"], document["brackets"], origin="the twin's rule book")
