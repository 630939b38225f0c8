"""Plays exits over the same episodes again and again, on whatever is fastest and installed; the answer is one.

The compiled twin (extra `compiled`) plays linear policies and none; numpy plays the rest. Both give the same float64.
"""

from functools import cached_property
from importlib.util import find_spec

from tpctl.learn.costs import Costs
from tpctl.learn.episodes import Episodes
from tpctl.learn.policies import batch
from tpctl.learn.replay import ZONE, Floats, Outcomes, Tape, replay, tape_of
from tpctl.learn.terms import Terms
from tpctl.market.policy.model import LearnedPolicy, Linear


class Player:
    """Episodes, and their paths laid out once for all who play them."""

    def __init__(self, episodes: Episodes, *, compiled: bool | None = None) -> None:
        """Take `compiled` for whether to use the compiled twin; by default where numba is installed."""
        self.episodes = episodes
        self.compiled = find_spec("numba") is not None if compiled is None else compiled

    @cached_property
    def tape(self) -> Tape:
        """The paths as numpy plays them."""
        return tape_of(self.episodes)

    @cached_property
    def _prices(self) -> Floats:
        from tpctl.learn.compiled import prices_of  # noqa: PLC0415 - the compiled extra

        return prices_of(self.episodes)

    def play(self, terms: Terms, costs: Costs, policy: LearnedPolicy | None = None, *, zone: float = ZONE) -> Outcomes:
        """Play every position to its end; without a policy the exits are carried through."""
        if self.compiled and (policy is None or isinstance(policy.body, Linear)):
            from tpctl.learn.compiled import replay_compiled  # noqa: PLC0415

            return replay_compiled(self.episodes, terms, costs, policy, zone=zone, prices=self._prices)
        decide = None if policy is None else batch(policy)
        reach = 1.0 if policy is None else policy.tighten_reach
        return replay(self.episodes, terms, costs, decide, tighten_reach=reach, zone=zone, tape=self.tape)
