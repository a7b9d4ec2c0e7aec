"""Figures of merit `(labels, scores, weight=None)`: pure, fixed shapes, scikit-learn's values on ties and weights.

Labels are 1 for an anomaly and 0 for a normal example; higher scores are more anomalous; every decision is
`score >= threshold`. Where a class is missing, ranking metrics raise a ValueError on concrete labels and give NaN
under `jit` and `vmap`. To see a metric at the deployment's anomaly rate, pass `prevalence_weight(labels, rate)`.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.scoring.checks import (
    is_traced,
    require_labels,
    require_open_unit,
    require_vectors,
)
from jaxae.scoring.curves import operating_points, precision_recall_curve, roc_curve

__all__ = [
    "auroc",
    "average_precision",
    "confusion",
    "f1",
    "false_alarm_rate",
    "fpr_at_tpr",
    "precision",
    "precision_recall_curve",
    "prevalence_weight",
    "recall",
    "roc_curve",
]


def auroc(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """Area under the ROC curve: the chance that an anomaly scores above a normal example, ties counting half.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, not negative, or None.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, a class is missing.

    Source: Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import auroc
      >>> float(auroc(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])))
      0.75
    """
    false_alarms, hits, _ = roc_curve(labels, scores, weight)
    return jnp.sum(jnp.diff(false_alarms) * (hits[1:] + hits[:-1])) / 2


def average_precision(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """Precision averaged over recall, `sum_i (R_i - R_{i-1}) P_i`, without interpolation.

    Depends on the share of anomalies: see `prevalence_weight`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, not negative, or None.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, there is no anomaly.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import average_precision
      >>> round(float(average_precision(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]))), 4)
      0.8333
    """
    precisions, recalls, _ = precision_recall_curve(labels, scores, weight)
    return jnp.sum(jnp.diff(recalls) * precisions[1:])


def fpr_at_tpr(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, tpr: ArrayLike = 0.95
) -> Float[Array, ""]:
    """The least false-alarm rate among thresholds whose recall is at least `tpr`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, not negative, or None.
      tpr: the recall to reach, in (0, 1].

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, a class is missing, `tpr` is outside.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import fpr_at_tpr
      >>> float(fpr_at_tpr(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])))
      0.5
    """
    if isinstance(tpr, int | float) and not 0 < tpr <= 1:
        raise ValueError(f"tpr must lie in (0, 1]; got {tpr}")
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "the false-alarm rate at a recall")
    first = jnp.argmax(points.reaches(tpr))
    return jnp.where(points.positives > 0, points.false_positives[first] / points.negatives, jnp.nan)


def confusion(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, threshold: ArrayLike | None = None
) -> Float[Array, "2 2"]:
    """Weight of each truth and decision: `[[true negatives, false alarms], [misses, true positives]]`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous; or, without a threshold, decisions (bool or 0/1).
      weight: `[N]`, not negative, or None.
      threshold: λ; flags `score >= threshold`. None: `scores` are the decisions themselves.

    Raises:
      ValueError: shapes differ, labels are not 0/1, or `scores` are no decisions and there is no threshold.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import confusion
      >>> confusion(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]), threshold=0.4).tolist()
      [[1.0, 1.0], [1.0, 1.0]]
    """
    require_vectors(labels=labels, scores=scores, weight=weight)
    require_labels(labels, weight)
    if threshold is None:
        if not is_traced(scores) and not np.isin(np.asarray(scores), (0, 1)).all():
            raise ValueError("without a threshold, decisions (bool or 0/1) are expected instead of scores")
        flagged = jnp.asarray(scores) > 0
    else:
        flagged = jnp.asarray(scores, jnp.float32) >= jnp.asarray(threshold, jnp.float32)
    mass = jnp.ones(jnp.shape(labels)) if weight is None else jnp.asarray(weight, jnp.float32)
    cell = 2 * jnp.asarray(labels, jnp.int32) + flagged
    return jnp.stack([jnp.sum(mass * (cell == index)) for index in range(4)]).reshape(2, 2)


def _share(part: Array, whole: Array) -> Float[Array, ""]:
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0)


def precision(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, threshold: ArrayLike | None = None
) -> Float[Array, ""]:
    """The share of anomalies among what is flagged; 0 where nothing is.

    Depends on the share of anomalies: see `prevalence_weight`. Arguments and errors as in `confusion`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import precision
      >>> float(precision(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]), threshold=0.4))
      0.5
    """
    (_, false_alarms), (_, hits) = confusion(labels, scores, weight, threshold)
    return _share(hits, hits + false_alarms)


def recall(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, threshold: ArrayLike | None = None
) -> Float[Array, ""]:
    """The share of the anomalies that is flagged; 0 where there are none. Arguments and errors as in `confusion`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import recall
      >>> float(recall(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]), threshold=0.3))
      1.0
    """
    _, (misses, hits) = confusion(labels, scores, weight, threshold)
    return _share(hits, hits + misses)


def f1(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, threshold: ArrayLike | None = None
) -> Float[Array, ""]:
    """Harmonic mean of precision and recall, `2 TP / (2 TP + FP + FN)`; 0 where that is 0 / 0.

    Depends on the share of anomalies: see `prevalence_weight`. Arguments and errors as in `confusion`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import f1
      >>> round(float(f1(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]), threshold=0.3)), 4)
      0.8
    """
    (_, false_alarms), (misses, hits) = confusion(labels, scores, weight, threshold)
    return _share(2 * hits, 2 * hits + false_alarms + misses)


def false_alarm_rate(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, threshold: ArrayLike | None = None
) -> Float[Array, ""]:
    """The share of the normals that is flagged; NaN where there are none. Arguments and errors as in `confusion`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import false_alarm_rate
      >>> float(false_alarm_rate(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]), threshold=0.4))
      0.5
    """
    (passed, false_alarms), _ = confusion(labels, scores, weight, threshold)
    return false_alarms / (false_alarms + passed)


def prevalence_weight(
    labels: ArrayLike, anomaly_rate: ArrayLike, weight: ArrayLike | None = None
) -> Float[Array, " N"]:
    """Weights under which anomalies make up `anomaly_rate` of the whole, which is 1.

    Precision, F1 and average precision depend on the share of anomalies, and test sets hold far more of them than
    a deployment sees; under these weights they are what the deployment would see.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      anomaly_rate: P, the deployment's share of anomalies, in (0, 1).
      weight: `[N]` weights that rows have already, or None.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a class is missing, the rate is outside (0, 1).

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import prevalence_weight
      >>> prevalence_weight(jnp.array([0, 0, 1]), 0.5).tolist()
      [0.25, 0.25, 0.5]
    """
    require_open_unit("anomaly_rate", anomaly_rate)
    require_vectors(labels=labels, weight=weight)
    require_labels(labels, weight, "reweighting to an anomaly rate")
    truth = jnp.asarray(labels, jnp.float32)
    mass = jnp.ones_like(truth) if weight is None else jnp.asarray(weight, jnp.float32)
    anomalies, normals = mass * truth, mass * (1 - truth)
    rate = jnp.asarray(anomaly_rate, jnp.float32)
    return rate * anomalies / anomalies.sum() + (1 - rate) * normals / normals.sum()
