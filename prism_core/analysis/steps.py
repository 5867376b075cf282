"""Steps from neutral to an arm on both scores at once, in one category or in all.

A step says something where one score's exact test does, and the joint region, if there is one,
leaves out "no change on either score".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prism_core.analysis.arms import Arm
from prism_core.analysis.effects import Call, Effect, effects_of
from prism_core.analysis.grid import SCORE_NAMES, ScoreName
from prism_core.analysis.view import View
from prism_core.stats import MINIMUM_ITEMS, JointRegion, joint_region


@dataclass(frozen=True, eq=False)
class Step:
    """One arm in one category; an empty category means all."""

    arm: Arm
    category: str
    effects: Mapping[ScoreName, Effect]
    """The effect on each score, without a value where nothing was measured."""
    region: JointRegion

    @property
    def measured(self) -> Iterator[tuple[ScoreName, Effect]]:
        """The scores on which something was measured."""
        return ((score, e) for score, e in self.effects.items() if e.estimate.n)

    @property
    def has_both(self) -> bool:
        """Whether both scores were measured."""
        return len(list(self.measured)) == 2

    @property
    def call(self) -> Call:
        """What may be said: jointly where both scores are there, else about the one."""
        if not self.has_both:
            return next(effect.call for _, effect in self.measured)
        if self.region.n < MINIMUM_ITEMS:
            return "too few"
        clear = any(e.is_clear for e in self.effects.values())
        return "up" if clear and self.region.holds(0.0, 0.0) is not True else "none"


def steps_of(view: View, arms: Sequence[Arm]) -> list[Step]:
    """Return every arm's steps, category by category and then over all, if anything is known."""
    places = [(arm, category) for arm in arms for category in (*view.categories, "")]
    pairs = [[arm.pairs(view, score, at) for score in SCORE_NAMES] for arm, at in places]
    effects = iter(effects_of([one for both in pairs for one in both]))
    found = []
    for (arm, category), (x, y) in zip(places, pairs, strict=True):
        both = {score: next(effects) for score in SCORE_NAMES}
        if x.n or y.n:
            found.append(Step(arm, category, both, joint_region(x, y)))
    return found


def only_on(steps: Sequence[Step], category: str, score: ScoreName) -> bool:
    """Return whether a category was measured on this score and on no other."""
    return {s for step in steps if step.category == category for s, _ in step.measured} == {score}
