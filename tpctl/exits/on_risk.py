"""What a new measurement of risk does to take-profits that rest: scale the levels not yet hit, and nothing else.

A level is its distance before risk times the factor in force, so a factor acts once however often it changes
(exit-rules 11). A change smaller than the hysteresis is left alone, a wider ladder waits until every measurement has
asked for it long enough, and a reading that went missing never widens what it had tightened. Stops are not touched: the
stop factor shapes plans that are not placed yet (I4).
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from decimal import Decimal

from tpctl.exits.draft import Draft
from tpctl.exits.episode import Episode, LegState, LegStatus, Phase
from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.ladder import clamp_distances, show_distances
from tpctl.exits.model import Context, Leg, NoteKind, Plan, Policy, RiskReadings
from tpctl.exits.quantize import round_tp
from tpctl.exits.risk import tp_factor
from tpctl.exits.rules import ExitRules, RiskRules
from tpctl.exits.units import ONE, ZERO, Price, Ratio, trimmed


def risk_waits(episode: Episode, readings: RiskReadings, rules: RiskRules) -> bool:
    """Whether the readings ask for other levels than the ones in force, by enough, or end such a wish."""
    if episode.phase is not Phase.GUARDED or episode.plan is None or episode.instrument is None:
        return False
    if not any(leg.status is LegStatus.WAITING and leg.base is not None for leg in episode.legs):
        return False
    return episode.risk_wider_since is not None or _wish(episode, readings, rules) is not None


def see_risk(draft: Draft, readings: RiskReadings) -> None:
    """Move the levels not yet hit to where the measured risk puts them: nearer at once, farther out after a while."""
    rules, episode = draft.state.rules, draft.episode
    plan, instrument = episode.plan, episode.instrument
    if plan is None or instrument is None or not risk_waits(episode, readings, rules.risk):
        return
    factor = _wish(episode, readings, rules.risk)
    if factor is None:
        draft.set(risk_wider_since=None)
        return
    if factor > episode.risk_factor:
        since = draft.now if episode.risk_wider_since is None else episode.risk_wider_since
        if draft.now - since < rules.risk.widen_after_ms:
            draft.set(risk_wider_since=since)
            return
    before = episode.risk_factor
    legs = _moved(episode, plan, instrument, factor, rules)
    draft.set(legs=legs, risk=readings, risk_factor=factor, risk_wider_since=None)
    if legs == episode.legs:
        return
    was, now = (
        show_distances([leg.distance for leg in some if leg.status is LegStatus.WAITING])
        for some in (episode.legs, legs)
    )
    text = f"risk factor {trimmed(before, 4)} → {trimmed(factor, 4)}: take-profits not yet hit from {was} to {now}"
    _, reasons = tp_factor(readings, rules.risk)
    draft.tell(
        NoteKind.PLANNED,
        text,
        mark=episode.mark,
        stop=episode.stop,
        reasons="\n".join(reason.text for reason in reasons if reason.before is not None),
    )


def _wish(episode: Episode, readings: RiskReadings, rules: RiskRules) -> Decimal | None:
    """Return the factor the readings ask for where it is not the one in force, give or take the hysteresis."""
    factor, _ = tp_factor(readings, rules)
    if abs(factor / episode.risk_factor - ONE) < rules.hysteresis:
        return None
    if factor > episode.risk_factor and episode.risk is not None and _gone(episode.risk, readings):
        return None
    return factor


def placed_legs(legs: Sequence[Leg], calm: Sequence[Leg], factor: Decimal) -> tuple[LegState, ...]:
    """Return the legs of a new plan as they are kept. `calm` are those of the same plan without measured risk.

    Where the two plans merged other levels into one, the base is what the factor in force scaled to the distance.
    """
    if len(calm) == len(legs):
        bases = [leg.distance for leg in calm]
    else:
        bases = [Ratio(leg.distance.fraction / factor) for leg in legs]
    return tuple(
        LegState(leg.number, leg.distance, leg.trigger, leg.fraction, leg.quantity, base=base)
        for leg, base in zip(legs, bases, strict=True)
    )


def readings_of(context: Context) -> RiskReadings | None:
    """Return the readings a plan was made with, None where there were none."""
    return None if isinstance(context.risk, Unavailable) else context.risk


def _gone(old: RiskReadings, new: RiskReadings) -> bool:
    """Whether a reading that was there is not there any more."""
    return any(
        not isinstance(getattr(old, item.name), Unavailable) and isinstance(getattr(new, item.name), Unavailable)
        for item in fields(RiskReadings)
    )


def _moved(
    episode: Episode, plan: Plan, instrument: Instrument, factor: Decimal, rules: ExitRules
) -> tuple[LegState, ...]:
    """Return the legs with the waiting ones at their new levels: clamped, past the fees, each beyond the one before."""
    side = episode.key.side
    least = max(side.sign * plan.breakeven, side.sign * episode.entry)
    legs: list[LegState] = []
    for leg in episode.legs:
        moved = leg
        if leg.status is LegStatus.WAITING and leg.base is not None:
            distance = _held(plan.policy, leg.base.scaled(factor), rules)
            trigger = round_tp(instrument, side, episode.entry * (ONE + side.sign * distance.fraction))
            if side.sign * trigger <= least:
                trigger = Price(side.sign * (least + instrument.tick))
                distance = Ratio(side.sign * (trigger - episode.entry) / episode.entry)
            moved = replace(leg, distance=distance, trigger=trigger)
        least = max(least, side.sign * moved.trigger)
        legs.append(moved)
    return tuple(legs)


def _held(policy: Policy, distance: Ratio, rules: ExitRules) -> Ratio:
    """Hold a distance to the floors and clamps its policy's plan is held to (exit-rules 5)."""
    if policy is Policy.DYNAMIC:
        return clamp_distances([distance], rules.ladder)[0]
    if policy is Policy.TARGET:
        return max(distance, rules.target.min_take_profit)
    return distance if distance.fraction > ZERO else rules.ladder.min_distance
