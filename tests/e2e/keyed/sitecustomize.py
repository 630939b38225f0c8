"""Loaded by the children of test_secrets: the demo exchange is the test's twin, and parts may break.

`DEMO_AT` is the twin's address; `BREAK` names what raises an error that holds everything secret.
"""

import os

if at := os.environ.get("DEMO_AT"):
    from tpctl.adapters.binance import endpoints

    endpoints.DEMO = endpoints.twin(at, "demo")


def _break(*_args: object, **_kwargs: object) -> None:
    key, secret = os.environ["CANARY_KEY"], os.environ["CANARY_SECRET"]
    raise RuntimeError(f"sent {{'X-MBX-APIKEY': '{key}'}} signed with {secret}: signature={key.lower()[::-1]}")


match os.environ.get("BREAK"):
    case "reading":
        from tpctl.adapters.binance.client import BinanceReader

        BinanceReader.positions = _break
    case "deciding":
        from tpctl.engine import watch

        watch.step = _break
    case "dashboard":
        from tpctl.views.dashboard.app import Dashboard

        Dashboard.on_mount = _break
