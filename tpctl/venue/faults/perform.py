"""Carries out the fate of a request: what the exchange does, and what the client gets to see of it.

`perform` is for callers without sockets. The served twin executes by itself, behind its checks of key, signature and
weight, and takes what comes back from `answered`.
"""

import json
from dataclasses import dataclass
from typing import Any

from tpctl.exits.units import Millis
from tpctl.venue.faults.fates import Canned, Fate
from tpctl.venue.params import Params
from tpctl.venue.refusals import VenueError
from tpctl.venue.venue import Venue


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as the client gets it; `body` is the parsed JSON, or bytes where it is none."""

    status: int
    body: Any
    retry_after_s: int | None = None
    back_ms: Millis = 0


def perform(venue: Venue, fate: Fate, method: str, path: str, params: Params) -> Reply | None:
    """Do what the fate says (its delays are the caller's) and return what comes back, None for nothing."""
    status, body = 200, None
    if fate.executes:
        status, body = _executed(venue, fate, method, path, params)
    return answered(fate, status, body)


def answered(fate: Fate, status: int, body: Any) -> Reply | None:
    """Return what comes back of an answer, None for nothing."""
    if fate.lost:
        return None
    if fate.answer is not None:
        return canned(fate.answer, fate.back_ms)
    if fate.garbled:
        return Reply(status, json.dumps(body).encode()[:-5], back_ms=fate.back_ms)
    return Reply(status, body, back_ms=fate.back_ms)


def _executed(venue: Venue, fate: Fate, method: str, path: str, params: Params) -> tuple[int, Any]:
    try:
        body: Any = [] if fate.empty else venue.call(method, path, params, lag_ms=fate.lag_ms)
    except VenueError as refused:
        return refused.http_status, refused.body
    if fate.rejects:
        venue.reject(body["clientAlgoId"])
    return 200, body


def canned(answer: Canned, back_ms: Millis = 0) -> Reply:
    """Return the reply of an answer that the matching core did not give."""
    if not answer.code:
        return Reply(answer.status, answer.msg.encode(), answer.retry_after_s, back_ms)
    return Reply(answer.status, {"code": answer.code, "msg": answer.msg}, answer.retry_after_s, back_ms)
