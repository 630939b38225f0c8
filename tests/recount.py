"""Every figure of `metrics --json`, counted again from the journal by plain SQL and sums: none of tpctl's code is used.

Written from the documents (exit-rules 12, the help text) and not from the aggregation it judges. The result has the
form of the JSON contract's `data`, with fractions in place of digits.
"""

import json
import math
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

MINUTE = 60_000
_Z = Fraction("1.959963984540054")


def money(value: Any) -> Fraction | None:
    """Return a number of a payload, which a note wraps and a record does not."""
    if isinstance(value, dict):
        value = value["$decimal"]
    return None if value is None else Fraction(value)


class Recount:
    """What one journal holds, read once."""

    def __init__(self, path: Path) -> None:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        verdicts = {
            row[0]: json.loads(row[1])["verdict"] for row in db.execute("SELECT attempt_id, payload FROM hindsights")
        }
        self.attempts = [json.loads(row[0]) for row in db.execute("SELECT payload FROM attempts ORDER BY rowid")]
        for attempt in self.attempts:
            attempt["verdict"] = verdicts.get(attempt["id"]) if attempt["outcome"] == "miss" else None
        self.notes = [json.loads(row[0]) for row in db.execute("SELECT payload FROM notes ORDER BY seq")]
        self.mids = [json.loads(row[0]) for row in db.execute("SELECT payload FROM mids")]
        self.costs = [json.loads(row[0]) for row in db.execute("SELECT payload FROM costs")]
        self.settlements = [json.loads(row[0]) for row in db.execute("SELECT payload FROM settlements")]
        states = [json.loads(row[0]) for row in db.execute("SELECT state FROM positions WHERE state IS NOT NULL")]
        self.open = [
            {"strategy_id": s["plan"]["policy"], "symbol": s["key"]["symbol"], "since": s["opened_at"]}
            | {"position_side": s["key"]["side"], "leg": leg["number"]}
            for s in states
            if s["phase"] != "flat" and s["plan"] is not None
            for leg in s["legs"]
            if leg["status"] == "waiting" and not leg.get("recorded")
        ]
        # The clock of the journal: the newest thing it heard or said.
        last = (db.execute("SELECT max(at) FROM events"), db.execute("SELECT max(at) FROM notes"))
        self.newest = max(found.fetchone()[0] or 0 for found in last)
        db.close()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the notes of one kind."""
        return [note for note in self.notes if note["kind"] == kind]

    def data(self) -> dict[str, Any]:
        """Return the figures by strategy and symbol, the totals, and what stands beside the attempts."""
        closes = self.of("closed")
        found: dict[str, Any] = {
            "records": self.rows("strategy_id", "symbol"),
            "totals": self.figures(self.attempts) | {"tp_open": len(self.open)},
            "feedback": self.feedback(),
            "naked_ms": self.naked(closes),
            "slippage": list(self.slippages()),
            "positions": self.positions(closes),
            "slippage_to_mid": {"read_late_ms": spread([one["late_ms"] for one in self.mids])},
            **self.charges(),
            "stop_moves": self.moves(),
            "hit_probability": self.hit_probability(),
            **self.excursions(closes),
            "latency_ms": self.latency(),
            "premature_within": [self.early(minutes) for minutes in (5, 30, 240)],
            **self.hindsight(),
        }
        return found

    def rows(self, *by: str) -> list[dict[str, Any]]:
        """Return the figures of every group, sorted by group."""
        groups = defaultdict(list)
        for attempt in self.attempts:
            groups[tuple(attempt[name] or "" for name in by)].append(attempt)
        # An open attempt has no reason and no regime yet.
        told = not {"reason", "regime"} & {*by}
        waiting = Counter(tuple(one[name] for name in by) for one in self.open) if told else Counter()
        return [
            dict(zip(by, group, strict=True))
            | self.figures(groups[group])
            | {"tp_open": waiting[group] if told else None}
            for group in sorted({*groups, *waiting})
        ]

    def figures(self, attempts: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the figures of some attempts; None where there is nothing to divide by."""
        hits = [one for one in attempts if one["outcome"] == "hit"]
        verdicts = [one["verdict"] for one in attempts if one["verdict"] is not None]
        premature = [one for one in verdicts if one["premature"]]
        slips = [signed_slip(one) for one in hits]
        minutes = [Fraction(one["exit_time"] - one["entry_time"], MINUTE) for one in hits]
        profit = [Fraction(one["profit_usd"]) for one in attempts]
        gains = [Fraction(one["profit_usd"]) for one in hits]
        low, high = wilson(len(hits), len(attempts))
        return {
            "tp_attempts": len(attempts),
            "tp_hits": len(hits),
            "tp_misses": len(attempts) - len(hits),
            "tp_hit_rate": share(len(hits), len(attempts)),
            "hit_rate_low": low,
            "hit_rate_high": high,
            "avg_slippage_pct": mean([abs(slip) for slip in slips]),
            "max_slippage_pct": max((abs(slip) for slip in slips), default=None),
            "mean_signed_slippage_pct": mean(slips),
            "avg_time_to_tp_minutes": mean(minutes),
            "fastest_tp_minutes": min(minutes, default=None),
            "slowest_tp_minutes": max(minutes, default=None),
            "total_tp_profit_usd": sum(gains, Fraction()),
            "avg_tp_profit_usd": mean(gains),
            "profit_usd": sum(profit, Fraction()),
            "avg_profit_usd": mean(profit),
            "avg_r": mean([Fraction(one["profit_usd"]) / at_risk(one) for one in attempts]),
            "avg_profit_share": mean([on_notional(one) for one in attempts]),
            "avg_roi": mean([on_notional(one) * Fraction(one["leverage"]) for one in attempts]),
            "premature_exits": len(premature),
            "premature_judged": len(verdicts),
            "premature_exit_rate": share(len(premature), len(attempts)),
            "missed_opportunities_usd": sum((Fraction(one["missed_usd"]) for one in verdicts), Fraction()),
            "last_updated": stamp(max(one["exit_time"] for one in attempts)) if attempts else None,
        }

    def feedback(self) -> dict[str, Any]:
        """Return the vector for training."""
        found = self.figures(self.attempts)
        return {
            "tp_hit_rate": found["tp_hit_rate"],
            "avg_slippage": found["avg_slippage_pct"],
            "premature_exit_rate": found["premature_exit_rate"],
        }

    def naked(self, closes: list[dict[str, Any]]) -> dict[str, Any]:
        """Return how long positions were without a stop."""
        ordered = sorted(note["data"]["naked_ms"] for note in closes)
        return {
            "count": len(ordered),
            "p50": nearest(ordered, Fraction(1, 2)),
            "p99": nearest(ordered, Fraction(99, 100)),
            "max": ordered[-1],
        }

    def slippages(self) -> Iterable[dict[str, Any]]:
        """Yield the slippage against the trigger, a loss positive, by what the order was."""
        kinds = {"take_profit": [signed_slip(one) for one in self.attempts if one["outcome"] == "hit"]}
        for note in sorted(self.of("stop_hit"), key=lambda note: note["reason"]):
            price, trigger = money(note["data"]["price"]), money(note["data"]["trigger"])
            assert price is not None
            assert trigger is not None
            kinds.setdefault(note["reason"], []).append(sign(note["key"]["side"]) * (trigger - price) / trigger)
        for kind, values in kinds.items():
            yield {"order": kind, "against": "trigger", **spread(values)}
        kinds = {}
        for one in sorted(self.mids, key=lambda one: one["order"]):
            mid = (Fraction(one["bid"]) + Fraction(one["ask"])) / 2
            kinds.setdefault(one["order"], []).append(sign(one["key"]["side"]) * (mid - Fraction(one["price"])) / mid)
        for kind, values in kinds.items():
            yield {"order": kind, "against": "mid", **spread(values)}

    def positions(self, closes: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what became of the positions that closed."""
        r = [money(note["data"]["pnl"]) / risk for note in closes if (risk := first_risk(note))]  # type: ignore[operator]
        return {
            "closed": len(closes),
            "reasons": dict(Counter(note["reason"] for note in closes)),
            "with_r": len(r),
            "pnl": sum(money(note["data"]["pnl"]) or 0 for note in closes),
            "exit_fees": sum(money(note["data"]["fees"]) or 0 for note in closes),
            "mean_r": mean(r),
        }

    def charges(self) -> dict[str, Any]:
        """Return what the account's history says positions cost: what it does not tell is a record with a reason."""
        told: dict[str, list[Fraction]] = defaultdict(list)
        for one in self.costs:
            fees, funding = one["entry_fees"], one["funding"]
            for name, value in (("entry_fees_usd", fees), ("funding_usd", funding)):
                if isinstance(value, str):
                    told[name].append(Fraction(value))
            if isinstance(fees, str) and isinstance(funding, str):
                told["net_pnl_usd"].append(Fraction(one["pnl"]) - Fraction(fees) - Fraction(funding))
        return {name: summed(told[name]) for name in ("funding_usd", "entry_fees_usd", "net_pnl_usd")}

    def moves(self) -> dict[str, int]:
        """Return how often stops moved, by cause without its figures."""
        moved = [re.sub(r"\s-?\d+(\.\d+)?%?", "", note["reason"]) for note in self.of("stop_moved")]
        return dict(Counter([*moved, *("trail" for _ in self.of("trail_moved"))]))

    def hit_probability(self) -> dict[str, Any]:
        """Return Aalen and Johansen's incidence of hits by age, open attempts leaving in the middle of their band."""

        def aged(times: Iterable[int]) -> Counter[int]:
            return Counter(0 if t < MINUTE else 1 + math.floor(4 * math.log2(t / MINUTE)) for t in times)

        took = [(one["exit_time"] - one["entry_time"], one["outcome"]) for one in self.attempts]
        hits, misses = (aged(t for t, how in took if how == kind) for kind in ("hit", "miss"))
        left = aged(max(0, self.newest - one["since"]) for one in self.open)
        risk, alive, incidence = Fraction(len(took) + len(self.open)), Fraction(1), Fraction()
        for age in sorted({*hits, *misses, *left}):
            exposed = risk - Fraction(left[age], 2)
            if exposed:
                incidence += alive * hits[age] / exposed
                alive *= max(Fraction(), 1 - (hits[age] + misses[age]) / exposed)
            risk -= hits[age] + misses[age] + left[age]
        return {"low": incidence, "high": min(Fraction(1), incidence + alive)}

    def excursions(self, closes: list[dict[str, Any]]) -> dict[str, Any]:
        """Return how far positions went, and what of it was kept."""
        kept: dict[str, list[Fraction]] = defaultdict(list)
        taken: list[tuple[Fraction, Fraction]] = []
        for note in closes:
            data, side = note["data"], sign(note["key"]["side"])
            entry, left = Fraction(money(data["entry"]) or 0), money(data["average_exit"])
            best, worst = money(data["best_mark"]), money(data["worst_mark"])
            if best is None or worst is None or left is None:
                continue
            up, down = max(Fraction(), side * (best - entry)), max(Fraction(), side * (entry - worst))
            kept["mfe"].append(up / entry)
            kept["mae"].append(down / entry)
            stop = money(data["stop_initial"])
            if stop is not None and stop != entry:
                kept["mfe_r"].append(up / abs(entry - stop))
                kept["mae_r"].append(down / abs(entry - stop))
            if up:
                kept["capture_ratio"].append(side * (left - entry) / up)
                size = Fraction(money(data["quantity"]) or 0)
                taken.append((side * (left - entry) * size, up * size))
        got, offered = (sum(part, Fraction()) for part in zip(*taken, strict=True))
        total = {"count": len(taken), "taken_usd": got, "offered_usd": offered, "ratio": got / offered}
        found: dict[str, Any] = {name: spread(kept[name]) for name in ("mfe", "mae", "mfe_r", "mae_r", "capture_ratio")}
        return found | {"capture_total": total}

    def latency(self) -> dict[str, Any]:
        """Return how long orders took by stage."""
        stages = {"sent": ("sent_ms", "accepted"), "acknowledged": ("acknowledged_ms", "accepted")}
        found = {}
        for stage, (name, kind) in stages.items():
            found[stage] = spread([note["data"][name] for note in self.of(kind) if note["data"].get(name) is not None])
        filled = [
            note["data"].get("filled_ms") for note in self.notes if note["kind"] in {"tp_hit", "stop_hit", "closed"}
        ]
        return found | {"filled": spread([took for took in filled if took is not None])}

    def early(self, minutes: int) -> dict[str, Any]:
        """Return how many judged misses had reached their target so long after the exit."""
        verdicts = [one["verdict"] for one in self.attempts if one["verdict"] is not None]
        early = [
            one
            for one in verdicts
            if one["premature"]
            and (minutes == 240 or (one["after_ms"] is not None and one["after_ms"] <= minutes * MINUTE))
        ]
        low, high = wilson(len(early), len(verdicts))
        return {"minutes": minutes, "judged": len(verdicts), "premature": len(early)} | {
            "rate": share(len(early), len(verdicts)),
            "rate_low": low,
            "rate_high": high,
        }

    def hindsight(self) -> dict[str, Any]:
        """Return how far prices went after exits, what other exits had given, and the regret."""
        afters = []
        for number, minutes in enumerate((5, 30, 240)):
            further = [
                sign(one["key"]["side"])
                * (Fraction(one["after"][number]["best"]) - Fraction(one["average_exit"]))
                / Fraction(one["average_exit"])
                for one in self.settlements
            ]
            afters.append({"minutes": minutes, **spread(further)})
        others: dict[str, list[tuple[Fraction, Fraction | None]]] = defaultdict(list)
        for one in self.settlements:
            risk = None if one["risk"] is None else Fraction(one["risk"])
            for other in one["alternatives"]:
                if other["pnl"] is not None:
                    better = Fraction(other["pnl"]) - Fraction(one["pnl"])
                    others[other["name"]].append((better, better / risk if risk else None))
        regrets = [(Fraction(one["regret"]), one["risk"]) for one in self.settlements if one["regret"] is not None]
        return {
            "after_exit": afters,
            "counterfactuals": [
                {"name": name, "difference_usd": summed([usd for usd, _ in values])}
                | {"difference_r": spread([r for _, r in values if r is not None])}
                for name, values in others.items()
            ],
            "regret": summed([usd for usd, _ in regrets]),
            "regret_r": summed([usd / Fraction(risk) for usd, risk in regrets if risk is not None]),
        }


def signed_slip(attempt: dict[str, Any]) -> Fraction:
    """Return the share of the target that was lost to the fill, to the twelve places the documents give it."""
    target, left = Fraction(attempt["target_price"]), Fraction(attempt["exit_price"])
    return Fraction(round(sign(attempt["position_side"]) * (target - left) / target, 12))


def at_risk(attempt: dict[str, Any]) -> Fraction:
    """Return what the first stop put at stake."""
    return abs(Fraction(attempt["entry_price"]) - Fraction(attempt["stop_initial"])) * Fraction(attempt["quantity"])


def on_notional(attempt: dict[str, Any]) -> Fraction:
    """Return the profit as a share of the notional at entry."""
    return Fraction(attempt["profit_usd"]) / (Fraction(attempt["entry_price"]) * Fraction(attempt["quantity"]))


def first_risk(note: dict[str, Any]) -> Fraction | None:
    """Return what the first stop of a closed position put at stake; None where it is not on record."""
    entry, quantity, stop = (money(note["data"][name]) for name in ("entry", "quantity", "stop_initial"))
    return None if entry is None or quantity is None or stop is None else abs(entry - stop) * quantity


def sign(side: str) -> int:
    """Return 1 for long, -1 for short."""
    return 1 if side == "long" else -1


def share(part: int, whole: int) -> Fraction | None:
    """Return a ratio of counts."""
    return Fraction(part, whole) if whole else None


def mean(values: Any) -> Fraction | None:
    """Return an average."""
    return Fraction(sum(values)) / len(values) if values else None


def wilson(hits: int, count: int) -> tuple[Fraction | None, Fraction | None]:
    """Return Wilson's 95% interval of a rate."""
    if not count:
        return None, None
    z, n, p = float(_Z), float(count), hits / count
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + way * half) / (1 + z * z / n) for way in (-1, 1))
    return Fraction(max(0.0, low)), Fraction(min(1.0, high))


def nearest(ordered: list[Any], part: Fraction) -> Any:
    """Return the nearest-rank quantile: a value that occurred."""
    return ordered[max(1, math.ceil(part * len(ordered))) - 1]


def spread(values: Any) -> dict[str, Any]:
    """Return count, mean, quantiles and the largest."""
    ordered = sorted(values)
    parts = {"p50": Fraction(1, 2), "p90": Fraction(9, 10), "p99": Fraction(99, 100), "max": Fraction(1)}
    return {"count": len(ordered), "mean": mean(ordered), **{name: nearest(ordered, p) for name, p in parts.items()}}


def summed(values: list[Fraction]) -> dict[str, Any]:
    """Return the same with the sum."""
    return {"total": sum(values, Fraction()), **spread(values)}


def stamp(at: int) -> str:
    """Return a time as the contract writes it."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def differences(shown: Any, real: Any, place: str = "") -> list[str]:
    """Return where what was shown is not what was counted, leaf by leaf; neither side may hold more than the other."""
    if isinstance(real, dict) and isinstance(shown, dict):
        names = {name for name in shown if not name.endswith("_unavailable_reason")}
        lacking = [f"{place}.{name} is on one side only" for name in names ^ {*real}]
        pairs = [(f"{place}.{name}", shown[name], real[name]) for name in sorted(names & {*real})]
        return lacking + [found for name, a, b in pairs for found in differences(a, b, name)]
    if isinstance(real, list) and isinstance(shown, list) and len(real) == len(shown):
        pairs = [(f"{place}[{number}]", a, b) for number, (a, b) in enumerate(zip(shown, real, strict=True))]
        return [found for name, a, b in pairs for found in differences(a, b, name)]
    if isinstance(real, int | Fraction) and isinstance(shown, int | str):
        # A mean of whole milliseconds is shown in whole milliseconds.
        near = 1 if isinstance(shown, int) and place.endswith(".mean") else Fraction(1, 10**9) * max(1, abs(real))
        equal = abs(Fraction(shown) - real) <= near
    else:
        equal = shown == real
    return [] if equal else [f"{place}: {shown!r}, counted {float(real) if isinstance(real, Fraction) else real!r}"]
