"""Figures of merit of a ranking: no λ is needed, or the best one is taken."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import as_number
from jaxae.scoring.checks import is_traced, require_labels
from jaxae.scoring.metrics.confusion import require_beta
from jaxae.scoring.metrics.curves import area, operating_points, precision_recall_curve


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
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "AUROC")
    return area(points) / points.positives / points.negatives


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
    if (number := as_number(tpr)) is not None and not 0 < number <= 1:
        raise ValueError(f"tpr must lie in (0, 1]; got {tpr}")
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "the false-alarm rate at a recall")
    first = jnp.argmax(points.reaches(tpr))
    return jnp.where(points.positives > 0, points.false_positives[first] / points.negatives, jnp.nan)


def tnr_at_fnr(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, fnr: ArrayLike = 0.05
) -> Float[Array, ""]:
    """The greatest share of normals passed among thresholds that miss at most `fnr` of the anomalies.

    The complement of `fpr_at_tpr` at `tpr = 1 - fnr`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, not negative, or None.
      fnr: the miss rate to allow, in [0, 1).

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, a class is missing, `fnr` is outside.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import tnr_at_fnr
      >>> float(tnr_at_fnr(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])))
      0.5
    """
    if (number := as_number(fnr)) is not None and not 0 <= number < 1:
        raise ValueError(f"fnr must lie in [0, 1); got {fnr}")
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "the share of normals passed at a miss rate")
    first = jnp.argmax(points.false_negatives / points.positives <= fnr)
    passed = (points.negatives - points.false_positives[first]) / points.negatives
    return jnp.where(points.positives > 0, passed, jnp.nan)


def best_f1(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """The highest F1 of any threshold, which is chosen with a look at these labels: an upper end, not an estimate.

    Arguments and errors as in `average_precision`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import best_f1
      >>> round(float(best_f1(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]))), 4)
      0.8
    """
    return best_f_beta(labels, scores, weight, 1.0)


def best_f_beta(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, beta: ArrayLike = 1.0
) -> Float[Array, ""]:
    """The highest F-beta of any threshold (see `f_beta`), chosen with a look at these labels.

    Depends on the share of anomalies: see `prevalence_weight`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, not negative, or None.
      beta: above 0: how many times as much recall counts as precision.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, there is no anomaly, `beta` is not above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import best_f_beta
      >>> round(float(best_f_beta(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]), beta=0.5)), 4)
      0.8333
    """
    require_beta(beta)
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "F-beta", both=False)
    return jnp.max((1 + beta**2) * points.true_positives / (points.flagged + beta**2 * points.positives))


def precision_at_k(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, k: ArrayLike = 10
) -> Float[Array, ""]:
    """The share of anomalies among the k highest scores: what is found in k inspections.

    Of tied scores that not all fit, the part that fits holds anomalies in the tie's own proportion: the mean over all
    orders of the tied rows.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, not negative, or None.
      k: above 0, at most N (with weights: at most their sum).

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, k is outside.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import precision_at_k
      >>> float(precision_at_k(jnp.array([0, 1, 1, 0]), jnp.array([0.1, 0.4, 0.4, 0.8]), k=2))
      0.5
    """
    return _found(labels, scores, weight, k)[0] / k


def recall_at_k(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, k: ArrayLike = 10
) -> Float[Array, ""]:
    """The share of all anomalies that is among the k highest scores; ties and arguments as in `precision_at_k`.

    Raises:
      ValueError: as `precision_at_k`; there is no anomaly.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import recall_at_k
      >>> float(recall_at_k(jnp.array([0, 1, 1, 0]), jnp.array([0.1, 0.4, 0.4, 0.8]), k=2))
      0.5
    """
    hits, all_of_them = _found(labels, scores, weight, k)
    require_labels(labels, weight, "recall at k", both=False)
    return hits / all_of_them


def _found(labels, scores, weight, k):
    """Anomalies among the k highest scores, and among all."""
    points = operating_points(labels, scores, weight)
    flagged, hits = points.flagged, points.true_positives
    total = len(labels) if weight is None else None if is_traced(weight) else float(np.sum(weight))
    if (number := as_number(k)) is not None and not (number > 0 and (total is None or number <= total)):
        limit = "the weights' sum" if total is None else f"{total:g}"
        raise ValueError(f"k must be above 0 and at most {limit}; got {k}")
    after = jnp.argmax(flagged >= k)  # the first point, which flags none, never is
    here = jnp.maximum(after - 1, 0)
    share = (k - flagged[here]) / jnp.maximum(flagged[after] - flagged[here], jnp.finfo(jnp.float32).tiny)
    return hits[here] + share * (hits[after] - hits[here]), points.positives
