"""How good is an answer: by program, or by a model that judges."""

from typing import TYPE_CHECKING

from prism_core.utils.lazy import lazy

if TYPE_CHECKING:
    from prism_core.scorers.graders import grade
    from prism_core.scorers.judge_check import check_judge
    from prism_core.scorers.judges import Judge, ModelJudge, judge_pair

__all__ = ["Judge", "ModelJudge", "check_judge", "grade", "judge_pair"]
__getattr__ = lazy(
    __name__,
    {"graders": "grade", "judges": "Judge ModelJudge judge_pair", "judge_check": "check_judge"},
)
