"""The HTML report of an evaluation: one file that opens offline, with its charts drawn inside it.

Decides layout only. The verdict comes first, then what it rests on, then what speaks against trusting it.
"""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from tpctl.exits.units import Millis
from tpctl.views.evaluation import (
    CHECK_HEADS,
    POLICY_HEADS,
    PROOF_HEADS,
    SLICE_HEADS,
    TRIAL_HEADS,
    answer,
    check_rows,
    luck,
    policy_row,
    proof_rows,
    slice_row,
    slice_tables,
    trial_row,
)
from tpctl.views.evaluation_svg import bonus_svg, curves_svg, gains_svg, spread_svg
from tpctl.views.html_page import section, whole
from tpctl.views.machine import rfc3339

if TYPE_CHECKING:
    from tpctl.market.evaluation import Evaluation


_TITLE = "Walk-forward evaluation"


def page_html(found: "Evaluation", candidate: str | None, made_at: Millis, profile: str) -> str:
    """Return the report as one HTML file; `candidate` is the hash the verdict is of, None where it is of none."""
    verdict, *rest = answer(found, candidate)
    incumbent = next(row.figures for row in found.rows if row.name == "incumbent")
    parts = [
        f"<h1>{_TITLE}</h1>",
        f'<p class="faint">profile {escape(profile)} · made {rfc3339(made_at)} · {escape(rest[-1])}</p>',
        _tiles(found),
        section("Verdict", _verdict(found, verdict)),
        section("Candidate, incumbent and baselines", _table(POLICY_HEADS, [policy_row(row) for row in found.rows])),
        section("Running sum of net R out of sample", curves_svg(found.curves)),
        section("Gain by fold", gains_svg(found.folds, "fold") + _words("Each fold is a month no training saw.")),
        *(
            section(
                f"Gain by {title}",
                gains_svg(slices, title)
                + _table((title, *SLICE_HEADS[1:], *extra), [slice_row(one, apart=bool(extra)) for one in slices]),
            )
            for title, slices, extra in slice_tables(found)
        ),
        section("What the bonus does to hit rate and profit", _bonus(found, (incumbent.mean, incumbent.hit_rate))),
        section(
            "Outcomes",
            spread_svg(found.outcomes["candidate"].tolist(), found.outcomes["incumbent"].tolist()),
        ),
        section("Luck", "".join(f"<p>{escape(line)}</p>" for line in luck(found))),
        section("Known answers of the learner", _table(PROOF_HEADS, proof_rows(found))) if found.proofs else "",
        section("Method", _METHOD),
    ]
    return whole(_TITLE, parts)


_METHOD = (
    "<p>Every figure is of positions after the training that judged them: a year teaches, then a gap of two horizons "
    "or more, then a month judges. Gains are paired on the same positions; their intervals draw whole days, all "
    "symbols of a day at once, in blocks at least as long as the longest holding. R is the distance of the first "
    "stop. Inside a candle the worst comes first, gaps fill at the open, and a decision is carried out a candle "
    "later.</p><p>The clairvoyant is no rule but a bound; capture is the share of what it has over holding. The "
    "deflated Sharpe ratio counts every configuration that was ever tried here.</p>"
)


def _tiles(found: "Evaluation") -> str:
    judgement = found.judgement
    gain = judgement.interval
    tiles = [
        (judgement.verdict.value, "the gate's verdict"),
        ("n/a" if gain is None else f"{gain.mean:+.4f} R", "mean gain over the incumbent"),
        ("n/a" if gain is None else f"{gain.lower_bound:+.4f} R", "lower bound, one-sided 95 %"),
        (f"{found.deflated.probability:.3f}", f"deflated Sharpe, {found.deflated.trials} trials"),
        ("n/a" if found.overfitting is None else f"{found.overfitting.probability:.3f}", "probability of overfitting"),
        (str(found.positions), f"positions in {len(found.folds)} folds"),
    ]
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(value)}</b><span>{escape(words)}</span></div>' for value, words in tiles
        )
        + "</div>"
    )


def _verdict(found: "Evaluation", verdict: str) -> str:
    rows = "".join(
        f"<tr{'' if one.ok else ' class=critical'}>{_cells(cells)}</tr>"
        for one, cells in zip(found.judgement.checks, check_rows(found), strict=True)
    )
    head = f"<p><b>{escape(verdict)}</b></p><table><thead><tr>{_heads(CHECK_HEADS)}</tr></thead>"
    return f"{head}<tbody>{rows}</tbody></table>"


def _bonus(found: "Evaluation", incumbent: tuple[float, float]) -> str:
    words = (
        "The bonus pays for taking the zone, whatever that brings. It never counts in these figures: they are of net R "
        "alone, and it is worth having only where they say so."
    )
    table = _table(TRIAL_HEADS, [trial_row(one) for one in found.trials])
    never = all(one.hit_rate == 0.0 for one in found.trials)
    nothing = _words("No exit takes the zone: it lies beyond every target, so the bonus pays nothing.") if never else ""
    return bonus_svg(found.trials, incumbent) + table + nothing + _words(words)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{_heads(heads)}</tr></thead><tbody>{body}</tbody></table>"


def _heads(heads: Sequence[str]) -> str:
    return "".join(f"<th{'' if place else ' class=left'}>{escape(head)}</th>" for place, head in enumerate(heads))


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td{'' if place else ' class=left'}>{escape(cell)}</td>" for place, cell in enumerate(row))


def _words(text: str) -> str:
    return f'<p class="faint">{escape(text)}</p>'
