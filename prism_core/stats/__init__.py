"""The statistics of PRISM Studio: every number with its uncertainty, or none at all.

Comparisons are paired by item, repeats are averaged inside their item, everything random takes a
seed, and what the data cannot define is an undefined `Estimate` or a `StatisticsError`, never 0.
"""

from prism_core.stats.best_of import expected_best_of
from prism_core.stats.bootstrap import Bounds, mean_estimate, mean_of, paired_difference
from prism_core.stats.calibration_bins import Calibration, CalibrationBin, brier_score, calibration
from prism_core.stats.correlation import pearson, spearman
from prism_core.stats.interactions import group_interaction, interaction
from prism_core.stats.length_control import LengthControl, length_controlled
from prism_core.stats.margin import (
    MINIMUM_ITEMS,
    NonInferiority,
    NonInferiorityVerdict,
    noninferiority,
)
from prism_core.stats.mean_grid import means_of, paired_differences
from prism_core.stats.planning import Detectable, items_needed, right_wrong_sd, smallest_detectable
from prism_core.stats.ranking import (
    PrecisionRecallCurve,
    RocCurve,
    average_precision,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from prism_core.stats.rates import order_consistency, rate, rate_of
from prism_core.stats.region import JointRegion, joint_region
from prism_core.stats.routing_quality import (
    Confusion,
    OracleComparison,
    ThresholdChoice,
    against_oracle,
    best_threshold,
    confusion,
    confusion_at,
)
from prism_core.stats.samples import ItemScores, Pairs, item_scores, pair
from prism_core.stats.significance import PairedTest, holm, mcnemar, permutation, wilcoxon

__all__ = [
    "MINIMUM_ITEMS",
    "Bounds",
    "Calibration",
    "CalibrationBin",
    "Confusion",
    "Detectable",
    "ItemScores",
    "JointRegion",
    "LengthControl",
    "NonInferiority",
    "NonInferiorityVerdict",
    "OracleComparison",
    "PairedTest",
    "Pairs",
    "PrecisionRecallCurve",
    "RocCurve",
    "ThresholdChoice",
    "against_oracle",
    "average_precision",
    "best_threshold",
    "brier_score",
    "calibration",
    "confusion",
    "confusion_at",
    "expected_best_of",
    "group_interaction",
    "holm",
    "interaction",
    "item_scores",
    "items_needed",
    "joint_region",
    "length_controlled",
    "mcnemar",
    "mean_estimate",
    "mean_of",
    "means_of",
    "noninferiority",
    "order_consistency",
    "pair",
    "paired_difference",
    "paired_differences",
    "pearson",
    "permutation",
    "precision_recall_curve",
    "rate",
    "rate_of",
    "right_wrong_sd",
    "roc_auc",
    "roc_curve",
    "smallest_detectable",
    "spearman",
    "wilcoxon",
]
