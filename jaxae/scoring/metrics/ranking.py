"""Metrics of a ranking, which need no λ or take the best one."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import as_number, is_traced, ranked, require_within
from jaxae.scoring.checks import require_finite, require_labels
from jaxae.scoring.metrics.confusion import require_beta
from jaxae.scoring.metrics.curves import OperatingPoints, area, bounded, operating_points


def auroc(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """Area under the ROC curve: the probability that an anomaly scores above a normal example, ties counting half.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, a class is missing.

    Source: Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import auroc
      >>> float(auroc(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])))
      0.75
    """
    points = points_in_order(labels, scores, weight)
    require_labels(labels, weight, "AUROC")
    # pairs that the anomaly wins over all pairs; divided twice, as the product of the counts may overflow
    return bounded(area(points) / points.positives / points.negatives)


def average_precision(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """Precision averaged over recall, `sum_i (R_i - R_{i-1}) P_i`, without interpolation.

    Depends on the share of anomalies: see `prevalence_weight`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, there is no anomaly.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import average_precision
      >>> round(float(average_precision(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]))), 4)
      0.8333
    """
    points = points_in_order(labels, scores, weight)
    require_labels(labels, weight, "average precision", both=False)
    # from flag-none to flag-all; point 0 flags nothing and adds no recall
    hits, flagged = points.true_positives, points.flagged[1:]
    # the inner where keeps 0 / 0 out of the gradient; rows of weight 0 at the top flag nothing
    precisions = jnp.where(flagged > 0, hits[1:] / jnp.where(flagged > 0, flagged, 1), 1)
    # divided once, after the sum: of a perfect ranking the sum of hits is exact, that of shares is not
    return bounded(jnp.sum(jnp.diff(hits) * precisions) / points.positives)


def fpr_at_tpr(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, tpr: ArrayLike = 0.95
) -> Float[Array, ""]:
    """The least false-alarm rate among thresholds whose recall is at least `tpr`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.
      tpr: least recall of the thresholds compared, in (0, 1].

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, a class is missing, `tpr` is outside.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import fpr_at_tpr
      >>> float(fpr_at_tpr(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])))
      0.5
    """
    require_within("tpr", tpr, "(0, 1]")
    points = points_in_order(labels, scores, weight)
    require_labels(labels, weight, "the false-alarm rate at a recall")
    # false alarms grow with recall, so the first point that reaches the recall has the fewest
    index = jnp.argmax(points.reaches(tpr))
    return jnp.where(points.positives > 0, bounded(points.false_positives[index] / points.negatives), jnp.nan)


def tnr_at_fnr(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, fnr: ArrayLike = 0.05
) -> Float[Array, ""]:
    """The greatest share of normals not flagged among thresholds that miss at most `fnr` of the anomalies.

    The complement of `fpr_at_tpr` at `tpr = 1 - fnr`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.
      fnr: largest miss rate of the thresholds compared, in [0, 1).

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, a class is missing, `fnr` is outside.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import tnr_at_fnr
      >>> float(tnr_at_fnr(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])))
      0.5
    """
    require_within("fnr", fnr, "[0, 1)")
    points = points_in_order(labels, scores, weight)
    require_labels(labels, weight, "the share of normals passed at a miss rate")
    # misses fall along the points: the first with few enough has the highest λ
    index = jnp.argmax(points.false_negatives / points.positives <= fnr)
    # normals below λ
    passed = (points.negatives - points.false_positives[index]) / points.negatives
    return jnp.where(points.positives > 0, bounded(passed), jnp.nan)


def best_f1(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """The highest F1 of any threshold, chosen on these labels: an upper bound, not an estimate for new data.

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
    """The highest F-beta of any threshold (see `f_beta`), chosen on these labels.

    Depends on the share of anomalies: see `prevalence_weight`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.
      beta: weight of recall relative to precision, above 0.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, there is no anomaly, `beta` is not above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import best_f_beta
      >>> round(float(best_f_beta(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]), beta=0.5)), 4)
      0.8333
    """
    require_beta(beta)
    points = points_in_order(labels, scores, weight)
    require_labels(labels, weight, "F-beta", both=False)
    # F = (1 + b^2) TP / (flagged + b^2 positives), from TP + FP = flagged and TP + FN = positives
    return bounded(jnp.max((1 + beta**2) * points.true_positives / (points.flagged + beta**2 * points.positives)))


def precision_at_k(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, k: ArrayLike = 10
) -> Float[Array, ""]:
    """The share of anomalies among the k highest scores: the yield of k inspections.

    Where the k-th score is tied, the tied rows that are counted hold anomalies in the tie's proportion: the mean over
    all orders of the tied rows.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.
      k: number of inspections, above 0 and at most N (with weights: at most their sum).

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, k is outside.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import precision_at_k
      >>> float(precision_at_k(jnp.array([0, 1, 1, 0]), jnp.array([0.1, 0.4, 0.4, 0.8]), k=2))
      0.5
    """
    return bounded(_hits_at_k(labels, scores, weight, k)[0] / k)


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
    hits, anomalies = _hits_at_k(labels, scores, weight, k)
    require_labels(labels, weight, "recall at k", both=False)
    return bounded(hits / anomalies)


def points_in_order(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> OperatingPoints:
    """`operating_points` for what depends on the order of scores alone, which is that of the caller's precision.

    The thresholds are the scores only where float32 holds those.
    """
    require_finite("scores", scores)  # ranks would hide a NaN
    return operating_points(labels, ranked("scores", scores), weight)


def _hits_at_k(labels, scores, weight, k):
    """Weight of the anomalies among the k highest scores, and among all rows."""
    points = points_in_order(labels, scores, weight)
    flagged, hits = points.flagged, points.true_positives
    require_within("k", k, "(0, inf)")
    total = np.size(labels) if weight is None else None if is_traced(weight) else float(np.sum(weight))
    if (number := as_number(k)) is not None and total is not None and number > total:
        raise ValueError(f"k must be above 0 and at most {total:g}; got {k}")
    # rounding may leave the last of the cumulative sums below a k that is all of them
    k = jnp.minimum(k, flagged[-1])
    # the first point that flags k or more; point 0 flags none, so there is one before it
    after = jnp.argmax(flagged >= k)
    before = jnp.maximum(after - 1, 0)
    # linear between the two points: the mean number of hits over the orders of the tied rows
    share = (k - flagged[before]) / jnp.maximum(flagged[after] - flagged[before], jnp.finfo(jnp.float32).tiny)
    return hits[before] + share * (hits[after] - hits[before]), points.positives
