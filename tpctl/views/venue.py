"""What `tpctl venue` prints: where it is, and what to set in a client that should talk to it."""

from collections.abc import Mapping
from typing import Any, TextIO

from tpctl.views.machine import document


def tell_addresses(out: TextIO, url: str, key: str, status: Mapping[str, Any], *, json: bool) -> None:
    """Write the addresses, for people or as one JSON document (`tpctl.venue/1`)."""
    stream = url.replace("http://", "ws://", 1)
    data = {
        "rest": f"{url}/fapi",
        "stream": stream,
        "key": key,
        "secret": key,
        "speed": str(status["speed"]),
        "symbols": list(status["symbols"]),
    }
    if json:
        out.write(document("venue", int(status["now"]), "sim", "sim", "armed", data))
    else:
        out.write(f"twin exchange at {url}, speed {status['speed']}, {', '.join(status['symbols'])}\n")
        out.write(f"  watch it           tpctl watch --venue {url}\n")
        out.write(f"  REST base          {data['rest']}\n")
        out.write(f"  websocket base     {stream}/market, /public, /private\n")
        out.write(f"  API key and secret {key}\n")
    out.flush()
