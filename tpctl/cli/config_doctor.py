"""`tpctl config doctor`: what a watch would stumble over, found before it does. Composition and printing only."""

import asyncio
import shutil
import sys
import time
from pathlib import Path

from tpctl.adapters.files import StateDir, check_private_file, find_state_dir
from tpctl.adapters.halt import halted
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.lock import acquire
from tpctl.adapters.requests import wall_ms
from tpctl.adapters.rulebook import RuleBook, show_age
from tpctl.adapters.secrets import Secret
from tpctl.cli.config_options import ConfigOptions
from tpctl.cli.rule_sources import rule_cache
from tpctl.engine.doctor import Check, Verdict, examine, exit_code, failed, ok, rules_age
from tpctl.exits.errors import ExitCode, LockedError, TpctlError, UnavailableError, UsageError
from tpctl.exits.units import Millis
from tpctl.settings.load import load
from tpctl.settings.schema import Env, Settings
from tpctl.views.machine import Json, document

# The journal of a busy account grows by some megabytes a day.
_LEAST_SPACE = 256 * 1024 * 1024
_MARKS = {Verdict.OK: "ok", Verdict.WARNING: "warn", Verdict.ERROR: "ERROR", Verdict.SKIPPED: "skip"}
_COLOURS = {Verdict.OK: "32", Verdict.WARNING: "33", Verdict.ERROR: "1;31", Verdict.SKIPPED: "2"}


def run_doctor(options: ConfigOptions) -> ExitCode:
    """Make every check, print what they found, and return the code of the first error."""
    shared = options.shared
    settings = load(shared.config, shared.profile, shared.state_dir)
    if settings.profile.env is not Env.SIM and options.venue is not None:
        raise UsageError(f"profile {settings.name!r} has no simulated market", "leave --venue out")
    file = "no file, the defaults are in force" if settings.path is None else f"{settings.path} is valid"
    checks = [ok("config", file), *_files(settings)]
    checks += asyncio.run(_exchange(options, settings))
    checks.append(_filters(settings))
    code = exit_code(checks)
    if code is ExitCode.OK and options.check and any(check.verdict is Verdict.WARNING for check in checks):
        code = ExitCode.CHECK_WARNING
    sys.stdout.write(_document(settings, checks) if options.json else _table(checks, options))
    return code


def _files(settings: Settings) -> list[Check]:
    """Check the state directory and what lies in it."""
    try:
        state_dir = find_state_dir(settings.state_dir)
    except TpctlError as error:
        return [failed("state directory", error)]
    if state_dir is None:
        return [ok("state directory", f"{settings.state_dir} does not exist yet; the first watch makes it")]
    return [_modes(state_dir), _journal(state_dir), _lock(state_dir), _halt(state_dir), _space(state_dir.path)]


def _modes(state_dir: StateDir) -> Check:
    try:
        for path in sorted(state_dir.path.iterdir()):
            if path.is_file() or path.is_symlink():
                check_private_file(path)
    except TpctlError as error:
        return failed("state directory", error)
    return ok("state directory", f"{state_dir.path} and its files are ours alone")


def _journal(state_dir: StateDir) -> Check:
    if not state_dir.journal.exists():
        return ok("journal", "there is none yet")
    try:
        with JournalReader.read_only(state_dir.journal) as journal:
            journal.integrity()
            schema = journal.meta.schema
    except TpctlError as error:
        return failed("journal", error)
    return ok("journal", f"whole, schema {schema}")


def _lock(state_dir: StateDir) -> Check:
    try:
        acquire(state_dir.lock).release()
    except LockedError as error:
        return ok("lock", error.message)
    except TpctlError as error:
        return failed("lock", error)
    return ok("lock", "free: no watch holds this state directory now")


def _halt(state_dir: StateDir) -> Check:
    reason = halted(state_dir)
    if reason is None:
        return ok("halt", "not set")
    return Check("halt", Verdict.WARNING, f"HALT is set: {reason}", f"remove {state_dir.halt} to let new orders out")


def _space(path: Path) -> Check:
    free = shutil.disk_usage(path).free
    text = f"{free // (1024 * 1024)} MB free"
    if free < _LEAST_SPACE:
        return Check("disk", Verdict.WARNING, text, "make room: what cannot be written down may not be sent")
    return ok("disk", text)


def _filters(settings: Settings) -> Check:
    if settings.profile.env is Env.SIM:
        return Check("filters", Verdict.SKIPPED, "the twin's rules come with it")
    now = wall_ms()
    book = rule_cache(settings.profile.env.value).load()
    age = book.age_ms(now) if isinstance(book, RuleBook) else None
    return rules_age(age, "an unknown time" if age is None else show_age(age))


async def _exchange(options: ConfigOptions, settings: Settings) -> list[Check]:
    """Check the account itself; an embedded twin has nothing to check."""
    env = settings.profile.env
    if env is Env.SIM and options.venue is None:
        return [Check("reachability", Verdict.SKIPPED, "the twin is embedded: name a served one with --venue URL")]
    from tpctl.adapters.binance.client import BinanceReader
    from tpctl.adapters.binance.clock import EventClock, ExchangeClock
    from tpctl.adapters.binance.endpoints import DEMO, LIVE, twin
    from tpctl.adapters.streams.discover import discover

    key, secret, keys = _keys(settings)
    if options.venue is not None:
        address = options.venue
        try:
            status = await discover(address)
        except TpctlError as error:
            return [failed("reachability", error)]
        reader = BinanceReader(
            twin(address, rights=status.rights),
            EventClock(status.now) if status.speed is None else ExchangeClock(speed=status.speed),
            key=key,
            secret=secret,
        )

        async def local() -> Millis:
            return (await discover(address)).now

    else:
        reader = BinanceReader(LIVE if env is Env.LIVE else DEMO, ExchangeClock(), key=key, secret=secret)

        async def local() -> Millis:
            return wall_ms()

    try:
        async with asyncio.timeout(options.timeout_ms / 1000):
            return await examine(reader, local, keys)
    except TimeoutError:
        late = UnavailableError(
            f"the exchange did not answer within {options.timeout_ms / 1000:g} s",
            "check the network, or give it longer with --timeout",
        )
        return [failed("reachability", late)]
    finally:
        await reader.close()


def _keys(settings: Settings) -> tuple[Secret | None, Secret | None, Check]:
    if settings.profile.env is Env.SIM:
        from tpctl.cli.runs import TWIN_KEY

        return Secret(TWIN_KEY), Secret(TWIN_KEY), ok("keys", "the twin's own")
    from tpctl.adapters.credentials import load_credentials

    try:
        found = load_credentials(settings.name, settings.profile)
    except TpctlError as error:
        return None, None, failed("keys", error)
    if found.warning:
        hint = "a file of mode 0600 is safer: set key_file in the profile"
        return found.key, found.secret, Check("keys", Verdict.WARNING, found.warning, hint)
    return found.key, found.secret, ok("keys", f"from {found.source}")


def _table(checks: list[Check], options: ConfigOptions) -> str:
    from tpctl.views.streams import detect

    color = detect(sys.stdout, sys.stderr, options.shared.color.value).color
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        if options.shared.quiet and check.verdict in {Verdict.OK, Verdict.SKIPPED}:
            continue
        mark = f"{_MARKS[check.verdict]:<5}"
        if color:
            mark = f"\x1b[{_COLOURS[check.verdict]}m{mark}\x1b[0m"
        lines.append(f"{mark}  {check.name:<{width}}  {check.text}")
        if check.hint:
            lines.append(f"{'':5}  {'':{width}}  hint: {check.hint}")
    return "".join(f"{line}\n" for line in lines)


def _document(settings: Settings, checks: list[Check]) -> str:
    rows: list[Json] = [
        {
            "name": check.name,
            "verdict": check.verdict.value,
            "text": check.text,
            "hint": check.hint,
            "exit_code": None if check.code is None else int(check.code),
        }
        for check in checks
    ]
    now = time.time_ns() // 1_000_000
    return document("config", now, settings.name, settings.profile.env.value, "shadow", {"checks": rows})
