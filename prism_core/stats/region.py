"""The joint region of two paired effects, e.g. on accuracy (x) and on alignment (y).

Two intervals side by side ignore that the effects may move together. The region is the covariance
ellipse of the two means (Hotelling's T squared): centre = the means, axes = the eigenvectors of
their covariance, half-lengths = sqrt(eigenvalue * 2 (n-1) / (n-2) * F[0.95; 2, n-2]).
Effects measured on different items are independent there: with m shared items the covariance of
the means is m * cov / (n_x * n_y); n is then the smaller of the two, which errs to the wide side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from prism_core.stats.checks import LEVEL, FloatArray
from prism_core.stats.samples import Pairs

_CORNERS = 64


@dataclass(frozen=True)
class JointRegion:
    """An ellipse that holds both mean effects with the given confidence."""

    x: float | None
    """Mean paired effect on the first score; None without items."""
    y: float | None
    major: float | None
    """Half-length of the longer axis; this, `minor` and `angle` are None where no region is."""
    minor: float | None
    angle: float | None
    """Direction of the longer axis, radians from the x axis, in (-pi/2, pi/2]."""
    n: int
    """Items behind the effect with fewer of them."""
    level: float = LEVEL

    def outline(self) -> tuple[tuple[float, float], ...]:
        """Return corners of the closed ellipse, empty where there is none."""
        if self.x is None or self.y is None or self.angle is None:
            return ()
        if self.major is None or self.minor is None:
            return ()
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        corners = []
        for step in range(_CORNERS + 1):
            turn = 2 * math.pi * step / _CORNERS
            along, across = self.major * math.cos(turn), self.minor * math.sin(turn)
            corners.append(
                (self.x + along * cos - across * sin, self.y + along * sin + across * cos)
            )
        return tuple(corners)

    def holds(self, x: float, y: float) -> bool | None:
        """Return whether a point lies in the region, None where there is none.

        `holds(0, 0)` asks whether "no effect on either" is compatible with the data.
        """
        if self.x is None or self.y is None or self.angle is None:
            return None
        if self.major is None or self.minor is None:
            return None
        dx, dy = x - self.x, y - self.y
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        return (along / self.major) ** 2 + (across / self.minor) ** 2 <= 1


def joint_region(x: Pairs, y: Pairs) -> JointRegion:
    """Estimate the joint region of two paired effects, on the same items or on others.

    It has no axes below 3 items, or where either effect has no spread or the two lie on one line:
    the data then show no region.
    """
    first, second = x.differences, y.differences
    n = min(x.n, y.n)
    center_x = float(first.mean()) if x.n else None
    center_y = float(second.mean()) if y.n else None
    empty = JointRegion(center_x, center_y, None, None, None, n)
    if n < 3:
        return empty
    covariance = _covariance_of_means(x, y)
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= 1e-12 * values[1] or values[1] <= 1e-24:
        return empty
    scale = 2 * (n - 1) / (n - 2) * float(scipy.stats.f.ppf(LEVEL, 2, n - 2))
    angle = math.atan2(vectors[1, 1], vectors[0, 1])
    # An axis has no sign: fold the direction into (-pi/2, pi/2].
    angle = angle - math.copysign(math.pi, angle) if abs(angle) > math.pi / 2 else angle
    angle = math.pi / 2 if angle <= -math.pi / 2 else angle
    major, minor = math.sqrt(values[1] * scale), math.sqrt(values[0] * scale)
    return JointRegion(center_x, center_y, major, minor, angle, n)


def _covariance_of_means(x: Pairs, y: Pairs) -> FloatArray:
    first, second = x.differences, y.differences
    var_x, var_y = first.var(ddof=1) / x.n, second.var(ddof=1) / y.n
    position = {item: index for index, item in enumerate(y.items)}
    shared = [(i, position[item]) for i, item in enumerate(x.items) if item in position]
    cov = 0.0
    if len(shared) >= 2:
        rows = np.asarray(shared)
        both = np.cov(first[rows[:, 0]], second[rows[:, 1]])[0, 1]
        cov = float(both) * len(shared) / (x.n * y.n)
    return np.array([[var_x, cov], [cov, var_y]], dtype=np.float64)
