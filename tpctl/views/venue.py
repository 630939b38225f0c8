"""What `tpctl venue` prints: where it is, and what to set in a client that should talk to it."""

from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from tpctl.views.machine import document

# More faults than this are counted instead of named.
_NAMED = 8


def tell_addresses(
    out: TextIO, url: str, key: str, status: Mapping[str, Any], *, json: bool, faults: Iterable[str] = ()
) -> None:
    """Write the addresses and the names of the faults that are on, for people or as one document (`tpctl.venue/1`)."""
    stream = url.replace("http://", "ws://", 1)
    data = {
        "rest": f"{url}/fapi",
        "stream": stream,
        "websocket_api": f"{stream}/ws-fapi/v1",
        "key": key,
        "secret": key,
        "speed": str(status["speed"]),
        "symbols": list(status["symbols"]),
        "faults": list(faults),
    }
    if json:
        out.write(document("venue", int(status["now"]), "sim", "sim", "armed", data))
    else:
        out.write(f"twin exchange at {url}, speed {status['speed']}, {', '.join(status['symbols'])}\n")
        out.write(f"  watch it           tpctl watch --venue {url}\n")
        out.write(f"  REST base          {data['rest']}\n")
        out.write(f"  websocket base     {stream}/market, /public, /private\n")
        out.write(f"  websocket API      {data['websocket_api']}\n")
        out.write(f"  API key and secret {key}\n")
        if data["faults"]:
            named = ", ".join(data["faults"]) if len(data["faults"]) <= _NAMED else f"{len(data['faults'])} of them"
            out.write(f"  faults             {named}\n")
    out.flush()


def tell_faults(out: TextIO, faults: Iterable[tuple[str, str, str]]) -> None:
    """Write the faults there are: name, rate unless another is given, and what each does."""
    rows = list(faults)
    wide = max(len(name) for name, _, _ in rows)
    out.writelines(f"{name:<{wide}}  {rate:>7}  {text}\n" for name, rate, text in rows)


def tell_strikes(out: TextIO, struck: Mapping[str, int]) -> None:
    """Write how often each fault has struck, the most frequent first."""
    told = sorted(struck.items(), key=lambda entry: (-entry[1], entry[0]))
    out.write(f"faults struck: {', '.join(f'{name} {count}' for name, count in told) or 'none'}\n")
