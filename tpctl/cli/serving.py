"""Serving the twin by itself: `tpctl venue` until it is interrupted, or until its market ends."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal

from tpctl.cli.options import Speed
from tpctl.cli.runs import TWIN_KEY, KeyRightsName, VenueOptions
from tpctl.exits.errors import ExitCode


def run_venue(options: VenueOptions) -> ExitCode:
    """Serve the twin until interrupted, or until its market ends."""
    return asyncio.run(_serve(options))


async def _serve(options: VenueOptions) -> ExitCode:
    from tpctl.cli.twin import TwinOptions, open_twin
    from tpctl.venue.auth import KeyRights
    from tpctl.views.venue import tell_addresses, tell_strikes

    rights = {
        KeyRightsName.FUTURES: KeyRights(),
        KeyRightsName.WITHDRAW: KeyRights(withdraws=True),
        KeyRightsName.READ: KeyRights(trades_futures=False),
    }

    shape = TwinOptions(
        market=options.market,
        since=options.since,
        until=options.until,
        speed=options.speed or Speed(Decimal(1)),
        seed=options.seed,
        entries=options.entries,
        rules=options.rules,
        brackets=options.brackets,
        port=options.port,
        rights=None if options.key_rights is None else rights[options.key_rights],
        skew_ms=options.skew_ms,
        faults=options.faults,
    )
    stopped: asyncio.Future[ExitCode] = asyncio.get_running_loop().create_future()

    def stop(code: ExitCode) -> None:
        if not stopped.done():
            stopped.set_result(code)

    with _handled(
        {signal.SIGINT: lambda: stop(ExitCode.INTERRUPTED), signal.SIGTERM: lambda: stop(ExitCode.TERMINATED)}
    ):
        async with open_twin(shape) as served:
            tell_addresses(sys.stdout, served.url, TWIN_KEY, served.status, json=options.json, faults=options.faults)
            try:
                ended = asyncio.ensure_future(served.wait_done())
                waiting: set[asyncio.Future[None] | asyncio.Future[ExitCode]] = {ended, stopped}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if stopped.done():
                    ended.cancel()
                    return stopped.result()
                ended.result()
                if shape.speed is not None and shape.speed.factor is None:
                    # A lockstep market that ended still answers its reader, who has to see the end.
                    return await stopped
            finally:
                if options.faults and not options.shared.quiet:
                    tell_strikes(sys.stderr, served.status["faults"])
    return ExitCode.OK


@contextmanager
def _handled(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
