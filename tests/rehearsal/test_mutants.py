"""The rehearsal finds each planted bug: the suite that cannot fail proves nothing.

Every mutant is one edit of the real code that repeats an incident, with the story and the seed that find it; the same
story without it is clean.
"""

from dataclasses import replace
from functools import cache

import pytest
from mutants import MUTANTS, STORIES, Mutant, planted

from tpctl.rehearsal.stories import tell
from tpctl.rehearsal.witness import Violation


@cache
def first(name: str, seed: int) -> Violation | None:
    """Return what breaks first in a story as the code is."""
    return next(iter(tell(replace(STORIES[name], seed=seed, brief=True)).violations), None)


def test_there_are_enough_of_them() -> None:
    assert len(MUTANTS) >= 30
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_bug_is_found(mutant: Mutant) -> None:
    with planted(mutant):
        told = tell(replace(STORIES[mutant.story], seed=mutant.seed, brief=True))

    assert [one.invariant for one in told.violations][:1] == [mutant.finds], told.violations[:3]
    assert first(mutant.story, mutant.seed) is None
