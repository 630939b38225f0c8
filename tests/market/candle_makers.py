"""Synthetic candles: a path of log prices becomes bars; every maker is a function of its seed."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from tpctl.ports import Candle

HOUR = 3_600_000
START = 1_700_000_000_000 - 1_700_000_000_000 % HOUR


def from_path(path: Callable[[int, random.Random], float], count: int, seed: int = 1, parts: int = 12) -> list[Candle]:
    """Sample `path(step, rng)` (log price) `parts` times a bar, and gather bars whose open is the last close."""
    rng = random.Random(seed)
    last = path(0, rng)
    candles = []
    for bar in range(count):
        seen = [last, *(path(bar * parts + part, rng) for part in range(1, parts + 1))]
        last = seen[-1]
        prices = [100 * math.exp(value) for value in seen]
        candles.append(Candle(START + bar * HOUR, prices[0], max(prices), min(prices), prices[-1], 1e6))
    return candles


def walk(count: int, seed: int = 1, sigma: float = 0.006, drift: float = 0.0, late: float = 1.0) -> list[Candle]:
    """A random walk, `sigma` a bar; `late` multiplies sigma in the last 24 bars."""
    parts, place = 12, 0.0

    def path(step: int, rng: random.Random) -> float:
        nonlocal place
        scale = late if step > (count - 24) * parts else 1.0
        place += drift / parts + rng.gauss(0, scale * sigma / math.sqrt(parts))
        return place

    return from_path(path, count, seed, parts)


def wave(count: int, period: float, height: float, noise: float = 0.0005, seed: int = 1) -> list[Candle]:
    """An oscillation of `period` bars between two fixed levels."""
    return from_path(
        lambda step, rng: height * math.sin(2 * math.pi * step / (12 * period)) + rng.gauss(0, noise), count, seed
    )


def scaled(candles: Sequence[Candle], factor: float) -> list[Candle]:
    """The same market quoted in another unit."""
    return [
        replace(c, open=c.open * factor, high=c.high * factor, low=c.low * factor, close=c.close * factor)
        for c in candles
    ]


def mirrored(candles: Sequence[Candle]) -> list[Candle]:
    """The market whose rises are this one's falls: every price inverted."""
    return [replace(c, open=1 / c.open, high=1 / c.low, low=1 / c.high, close=1 / c.close) for c in candles]
