"""Metrics `(labels, scores, weight=None)`: pure, of fixed shapes, with scikit-learn's values on ties and weights.

Labels are 1 for an anomaly and 0 for a normal example; higher scores are more anomalous; every decision is
`score >= threshold`. Where a class is missing, ranking metrics raise a ValueError on concrete labels and give NaN
under `jit` and `vmap`. For a metric at the deployment's anomaly rate, pass `prevalence_weight(labels, rate)` as weight.
"""

from jaxae.numerics.arguments import check_arguments
from jaxae.scoring.metrics.bootstrap import Interval, bootstrap
from jaxae.scoring.metrics.confusion import (
    confusion,
    f1,
    f_beta,
    false_alarm_rate,
    precision,
    prevalence_weight,
    recall,
)
from jaxae.scoring.metrics.contamination import Contamination, contamination
from jaxae.scoring.metrics.curves import precision_recall_curve, roc_curve
from jaxae.scoring.metrics.oscr import oscr
from jaxae.scoring.metrics.pixels import per_region_overlap, pixel_auroc, region_share
from jaxae.scoring.metrics.ranking import (
    auroc,
    average_precision,
    best_f1,
    best_f_beta,
    fpr_at_tpr,
    precision_at_k,
    recall_at_k,
    tnr_at_fnr,
)
from jaxae.scoring.metrics.uniformity import p_value_curve, p_value_excess

__all__ = [
    "Contamination",
    "Interval",
    "auroc",
    "average_precision",
    "best_f1",
    "best_f_beta",
    "bootstrap",
    "confusion",
    "contamination",
    "f1",
    "f_beta",
    "false_alarm_rate",
    "fpr_at_tpr",
    "oscr",
    "p_value_curve",
    "p_value_excess",
    "per_region_overlap",
    "pixel_auroc",
    "precision",
    "precision_at_k",
    "precision_recall_curve",
    "prevalence_weight",
    "recall",
    "recall_at_k",
    "region_share",
    "roc_curve",
    "tnr_at_fnr",
]

check_arguments(__name__)
