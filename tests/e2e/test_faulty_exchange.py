"""The real client against a served exchange with every fault on: it guards on, and says what it could not do."""

import json
from pathlib import Path
from urllib.request import urlopen

from processes import of, served_twin, watch

from tpctl.exits.errors import ExitCode

# What a story of this length is sure to meet; the rarer faults come as they come.
SURE = {"latency", "read-lag", "lost-before", "lost-after", "unknown", "unavailable", "duplicate-events"}


def test_it_guards_through_every_fault(home: Path, state: Path) -> None:
    with served_twin(home, "--faults", "all", "--speed", "30", "--seed", "11") as url:
        done = watch("--venue", url, "--for", "15m", state=state, home=home)
        with urlopen(f"{url}/twin/v1/status", timeout=10) as answer:  # noqa: S310 - our own twin, on loopback
            struck = json.load(answer)["faults"]

    assert done.code == ExitCode.OK
    assert "Traceback" not in done.err
    assert struck.keys() >= SURE
    assert len(of("adopted", done.events)) >= 4
    placed = [event["client_id"] for event in of("placed", done.events)]
    assert len(placed) == len(set(placed)) >= 20
    # Each is heard of again: taken, refused, or found by its id after its answer was lost.
    told = {event.get("client_id") for event in done.events if event["type"] != "placed"}
    unheard = [client_id for client_id in placed if client_id not in told]
    assert unheard[:-6] == [], "more than what was under way at the end is not heard of"
