"""One question, answered by several arms side by side."""

from prism_core.compare.comparison import ArmAnswer, ComparisonRequest, compare
from prism_core.compare.logprob_shift import largest_shifts, logprob_shift

__all__ = ["ArmAnswer", "ComparisonRequest", "compare", "largest_shifts", "logprob_shift"]
