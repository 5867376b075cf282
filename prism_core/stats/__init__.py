"""The statistics of PRISM Studio: every number with its uncertainty, or none at all.

Comparisons are paired by item, repeats are averaged inside their item, everything random is
seeded, and what the data cannot define is an undefined `Estimate` or a `StatisticsError`, never 0.
Intervals are at 95 %. Every function raises `InputError` where lengths differ or a value is not
finite or out of its range; a docstring says only what it raises besides.
"""

from prism_core.stats.best_of import expected_best_of
from prism_core.stats.calibration_bins import Calibration, calibration
from prism_core.stats.correlation import pearson, spearman
from prism_core.stats.interactions import group_interaction, interaction
from prism_core.stats.length_control import length_controlled
from prism_core.stats.means import mean_of, paired_difference
from prism_core.stats.planning import Detectable, mcnemar_power, smallest_detectable
from prism_core.stats.ranking import average_precision, precision_recall_curve, roc_auc, roc_curve
from prism_core.stats.rates import order_consistency, rate, rate_of
from prism_core.stats.region import JointRegion, joint_region
from prism_core.stats.routing_quality import (
    Confusion,
    against_oracle,
    best_threshold,
    confusion,
    confusion_at,
)
from prism_core.stats.samples import ItemScores, Pairs, item_scores, pair
from prism_core.stats.significance import (
    ALPHA,
    MINIMUM_ITEMS,
    NonInferiorityVerdict,
    holm,
    noninferiority,
    paired_p,
)

__all__ = [
    "ALPHA",
    "MINIMUM_ITEMS",
    "Calibration",
    "Confusion",
    "Detectable",
    "ItemScores",
    "JointRegion",
    "NonInferiorityVerdict",
    "Pairs",
    "against_oracle",
    "average_precision",
    "best_threshold",
    "calibration",
    "confusion",
    "confusion_at",
    "expected_best_of",
    "group_interaction",
    "holm",
    "interaction",
    "item_scores",
    "joint_region",
    "length_controlled",
    "mcnemar_power",
    "mean_of",
    "noninferiority",
    "order_consistency",
    "pair",
    "paired_difference",
    "paired_p",
    "pearson",
    "precision_recall_curve",
    "rate",
    "rate_of",
    "roc_auc",
    "roc_curve",
    "smallest_detectable",
    "spearman",
]
