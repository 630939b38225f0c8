"""A learned policy as plain JSON: what is written, what is accepted, and its hash.

Decides the file format `tpctl.policy/1`. A file is data: nothing in it is executed or imported, no name in it chooses
code beyond the two kinds of body, and its size is bounded before it is parsed. Whatever is truncated, altered, newer,
too large, or holds an unknown key or a number that is not finite is refused with a reason. The same policy always gives
the same bytes, so its hash is its name.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NoReturn

from tpctl.exits.errors import StateFileError
from tpctl.market.policy.features import ENTRY_FEATURES, STEP_FEATURES
from tpctl.market.policy.model import Action, Body, Layer, LearnedPolicy, Linear, Network, Origin, Score, Zone

SCHEMA = "tpctl.policy/1"
# A linear policy takes 3 KB, a network of 2 x 64 about 150 KB.
LARGEST_BYTES = 1_000_000
_WIDEST, _DEEPEST = 256, 6
_KEYS = {
    "schema",
    "interval_ms",
    "horizon",
    "step_features",
    "entry_features",
    "body",
    "zones",
    "tighten_reach",
    "origin",
    "hash",
}


def policy_hash(policy: LearnedPolicy) -> str:
    """Return the SHA-256 of what a policy is, in hex; where it came from is part of it."""
    return _digest(_content(policy))


def weights_hash(policy: LearnedPolicy) -> str:
    """Return the SHA-256 of the weights alone: equal for a training that was repeated elsewhere."""
    return _digest({key: value for key, value in _content(policy).items() if key != "origin"})


def encode_policy(policy: LearnedPolicy) -> bytes:
    """Return the file of a policy."""
    content = _content(policy)
    return (json.dumps({**content, "hash": _digest(content)}, indent=1, sort_keys=True) + "\n").encode()


def decode_policy(data: bytes, name: str = "policy") -> LearnedPolicy:
    """Return the policy of a file; `name` stands in errors. Raises `StateFileError` for anything but a sound one."""
    if len(data) > LARGEST_BYTES:
        _refuse(name, f"it has {len(data)} bytes, more than any policy")
    try:
        found = json.loads(data, parse_constant=lambda text: _refuse(name, f"it holds '{text}'"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        _refuse(name, "it is not JSON: truncated or damaged")
    if not isinstance(found, dict):
        _refuse(name, "it is not an object")
    schema = found.get("schema")
    if schema != SCHEMA:
        raise StateFileError(
            f"policy file {name!r} has schema {str(schema)[:40]!r}, not {SCHEMA!r}",
            "it was written by another version: use that one, or train again",
        )
    if set(found) != _KEYS:
        _refuse(name, f"its keys differ: {', '.join(sorted(set(found) ^ _KEYS))[:120]}")
    stated = found.pop("hash")
    for key, known in (("step_features", STEP_FEATURES), ("entry_features", ENTRY_FEATURES)):
        if found[key] != list(known):
            _refuse(name, f"its {key.replace('_', ' ')} are not those of this version")
    try:
        policy = LearnedPolicy(
            interval_ms=_whole(found["interval_ms"]),
            horizon=_whole(found["horizon"]),
            body=_body(found["body"]),
            zones=tuple(_zone(zone) for zone in _list(found["zones"])),
            tighten_reach=_number(found["tighten_reach"]),
            origin=_origin(found["origin"]),
        )
    except (ValueError, OverflowError) as error:
        _refuse(name, str(error))
    if stated != policy_hash(policy):
        _refuse(name, "its content does not match its hash")
    return policy


def _refuse(name: str, why: str) -> NoReturn:
    raise StateFileError(f"policy file {name!r} is refused: {why}", "train again, or roll back to another policy")


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _content(policy: LearnedPolicy) -> dict[str, Any]:
    origin = policy.origin
    return {
        "schema": SCHEMA,
        "interval_ms": policy.interval_ms,
        "horizon": policy.horizon,
        "step_features": list(STEP_FEATURES),
        "entry_features": list(ENTRY_FEATURES),
        "body": _body_content(policy.body),
        "zones": [{"multiple": zone.multiple, "value": _score_content(zone.value)} for zone in policy.zones],
        "tighten_reach": policy.tighten_reach,
        "origin": {
            "learner": origin.learner,
            "seed": origin.seed,
            "episodes": origin.episodes,
            "data_hash": origin.data_hash,
            "configuration": origin.configuration,
        },
    }


def _score_content(score: Score) -> dict[str, Any]:
    return {"bias": score.bias, "weights": list(score.weights)}


def _body_content(body: Body) -> dict[str, Any]:
    if isinstance(body, Linear):
        return {
            "kind": "linear",
            "close": _score_content(body.close),
            "tighten": _score_content(body.tighten),
            "shares": [[least, action.name.lower()] for least, action in body.shares],
        }
    layers = [{"weights": [list(row) for row in layer.weights], "bias": list(layer.bias)} for layer in body.layers]
    return {"kind": "network", "layers": layers}


def _body(found: Any) -> Body:
    match found:
        case {"kind": "linear", "close": close, "tighten": tighten, "shares": shares, **rest} if not rest:
            return Linear(_score(close), _score(tighten), tuple(_share(row) for row in _list(shares)))
        case {"kind": "network", "layers": layers, **rest} if not rest:
            return Network(tuple(_layer(layer) for layer in _list(layers, _DEEPEST)))
    raise ValueError("its body is neither linear nor a network")


def _share(row: Any) -> tuple[float, Action]:
    match row:
        case [least, str(word)] if word.upper() in Action.__members__:
            return _number(least), Action[word.upper()]
    raise ValueError("a close share is not a pair of score and action")


def _layer(found: Any) -> Layer:
    match found:
        case {"weights": rows, "bias": bias, **rest} if not rest:
            return Layer(tuple(_numbers(row) for row in _list(rows)), _numbers(bias))
    raise ValueError("a layer is not weights and bias")


def _zone(found: Any) -> Zone:
    match found:
        case {"multiple": multiple, "value": value, **rest} if not rest:
            return Zone(_number(multiple), _score(value))
    raise ValueError("a zone is not a multiple and a value")


def _score(found: Any) -> Score:
    match found:
        case {"bias": bias, "weights": weights, **rest} if not rest:
            return Score(_number(bias), _numbers(weights))
    raise ValueError("a score is not a bias and weights")


def _origin(found: Any) -> Origin:
    match found:
        case {
            "learner": str(learner),
            "seed": seed,
            "episodes": episodes,
            "data_hash": str(data),
            "configuration": str(configuration),
            **rest,
        } if not rest:
            return Origin(learner, _whole(seed), _whole(episodes), data, configuration)
    raise ValueError("its origin is not complete")


def _list(found: Any, longest: int = _WIDEST) -> list[Any]:
    if not isinstance(found, list) or len(found) > longest:
        raise ValueError(f"a list of at most {longest} was expected")
    return found


def _numbers(found: Any) -> tuple[float, ...]:
    return tuple(_number(value) for value in _list(found))


def _number(found: Any) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError("a number was expected")  # noqa: TRY004 - one kind of refusal for a file
    return float(found)


def _whole(found: Any) -> int:
    if isinstance(found, bool) or not isinstance(found, int):
        raise ValueError("a whole number was expected")  # noqa: TRY004
    return found
