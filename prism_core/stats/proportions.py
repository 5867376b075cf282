"""Score intervals of proportions, for counts that need not be whole numbers.

`wilson` is the interval of one proportion, `tango` of the difference of two paired ones (Tango
1998): all differences that the score test does not reject at 5 %, with the share of items that
change either way estimated under each of them. Both keep their coverage for small n and near the
ends, where a bootstrap, which sees no more than the few items that changed, does not
(`tests/stats/test_coverage.py` has the numbers). At no difference Tango's statistic is McNemar's,
(b - c) / sqrt(b + c), which is never stricter than the exact test: where exact McNemar rejects,
Tango's interval leaves out 0.
"""

from __future__ import annotations

import math
from functools import lru_cache

from scipy.special import ndtri

from prism_core.stats.checks import LEVEL

Z = float(ndtri((1 + LEVEL) / 2))
"""The normal quantile of every interval, 1.96."""
_HALVINGS = 50


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Return the ends of the interval of a proportion, `hits` of `n` trials."""
    share, square = hits / n, Z * Z / n
    centre = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    # Exact at the ends, where rounding would leave 0 or 1 outside.
    return (0.0 if hits <= 0 else centre - half), (1.0 if hits >= n else centre + half)


@lru_cache(maxsize=16_384)
def tango(up: float, down: float, n: float) -> tuple[float, float]:
    """Return the ends of the interval of (up - down) / n, where `up` + `down` of `n` change."""
    middle = (up - down) / n
    low = _end(up, down, n, -1.0, middle, Z)
    return low, -_end(down, up, n, -1.0, -middle, Z)


def _end(up: float, down: float, n: float, low: float, high: float, limit: float) -> float:
    """Return the difference between `low` and `high` whose score statistic is the limit."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _score(up, down, n, middle) > limit else (low, middle)
    return (low + high) / 2


def _score(up: float, down: float, n: float, difference: float) -> float:
    """Return Tango's statistic of a supposed difference (1998, equations 3 to 6)."""
    linear = (2 * n - up + down) * difference - up - down
    square = linear * linear + 8 * n * down * difference * (1 - difference)
    losing = (math.sqrt(max(square, 0.0)) - linear) / (4 * n)
    """P(down), estimated under the supposed difference."""
    variance = n * (2 * losing + difference * (1 - difference))
    return (up - down - n * difference) / math.sqrt(max(variance, 1e-300))
