"""Every decision that a set of labelled scores allows: sort once, then cumulative sums."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from jaxae.scoring.checks import require_finite, require_labels, require_vectors
from jaxae.scoring.metrics.ordering import descending, order_key, sort_with_labels


class OperatingPoints(NamedTuple):
    """What flagging `score >= threshold` does, for every threshold that matters, highest first.

    Without weights, or with whole ones, the counts are int32 and exact; otherwise they are float32.

    Attributes:
      threshold: `[N + 1]` float32: +inf (flag none), then the scores in descending order. Equal scores repeat
        the same point, which keeps the shape fixed.
      true_positives: `[N + 1]` weight of flagged anomalies.
      false_positives: `[N + 1]` weight of flagged normals.
      false_negatives: `[N + 1]` weight of missed anomalies.
    """

    threshold: Float[Array, " M"]
    true_positives: Num[Array, " M"]
    false_positives: Num[Array, " M"]
    false_negatives: Num[Array, " M"]

    @property
    def positives(self) -> Num[Array, ""]:
        """Weight of all anomalies."""
        return self.true_positives[-1]

    @property
    def negatives(self) -> Num[Array, ""]:
        """Weight of all normals."""
        return self.false_positives[-1]

    @property
    def flagged(self) -> Num[Array, " M"]:
        """Weight of all flagged rows."""
        return self.true_positives + self.false_positives

    def reaches(self, recall: ArrayLike) -> Bool[Array, " M"]:
        """Where at least this share of the anomalies is flagged."""
        # Rounding in long sums may leave the last share a bit below 1; nothing missed is exactly 0, always.
        return (self.true_positives / self.positives >= recall) | (self.false_negatives == 0)


def operating_points(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> OperatingPoints:
    """True and false positives at every threshold, ties as one decision.

    Under a `vmap` over weights alone the scores are sorted once for all of them.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous; compared as float32, 0.0 and -0.0 as equal.
      weight: `[N]`, not negative; None weighs all rows 1 and sorts fastest.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, a weight is negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.curves import operating_points
      >>> points = operating_points(jnp.array([0, 1, 1]), jnp.array([1.0, 1.0, 2.0]))
      >>> points.threshold.tolist(), points.true_positives.tolist(), points.false_positives.tolist()
      ([inf, 2.0, 1.0, 1.0], [0, 1, 2, 2], [0, 0, 1, 1])
    """
    require_vectors(labels=labels, scores=scores, weight=weight)
    require_finite("scores", scores)
    require_labels(labels, weight)
    scores, truth = jnp.asarray(scores, jnp.float32), jnp.asarray(labels).astype(jnp.int32)
    if weight is None:
        ordered, positive = sort_with_labels(scores, truth)
        end = ends_of_ties(ordered)
        hits = jnp.cumsum(positive)[end]
        return OperatingPoints(*_from_none(ordered, hits, end + 1 - hits), _missed(hits, positive))
    order, mass = descending(scores), as_mass(weight)
    ordered, mass, truth = scores[order], mass[order], truth[order].astype(mass.dtype)
    positive, end = mass * truth, ends_of_ties(ordered)
    hits, alarms = jnp.cumsum(positive)[end], jnp.cumsum(mass * (1 - truth))[end]
    return OperatingPoints(*_from_none(ordered, hits, alarms), _missed(hits, positive, end))


def ends_of_ties(ordered: Float[Array, " N"]) -> Int[Array, " N"]:
    """Of each sorted value, the index of the last that equals it.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.curves import ends_of_ties
      >>> ends_of_ties(jnp.array([3.0, 2.0, 2.0, 1.0])).tolist()
      [0, 2, 2, 3]
    """
    count, key = ordered.shape[0], order_key(ordered)
    is_last = jnp.append(key[1:] != key[:-1], True)
    return jax.lax.cummin(jnp.where(is_last, jnp.arange(count), count - 1), reverse=True)


def as_mass(weight: ArrayLike) -> Num[Array, " N"]:
    """Weights as int32 where they are whole by type, so that their sums are exact, and as float32 otherwise.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.curves import as_mass
      >>> str(as_mass(jnp.array([True, False])).dtype), str(as_mass(jnp.array([0.5])).dtype)
      ('int32', 'float32')
    """
    weight = jnp.asarray(weight)
    return weight.astype(jnp.float32 if jnp.issubdtype(weight.dtype, jnp.inexact) else jnp.int32)


def area(points: OperatingPoints) -> Float[Array, ""]:
    """Area under true over false positives, in pairs of an anomaly and a normal: each won counts 1, each tied 1/2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.curves import area, operating_points
      >>> float(area(operating_points(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]))))
      3.0
    """
    hits, alarms = points.true_positives, points.false_positives
    return jnp.sum(jnp.diff(alarms).astype(jnp.float32) * (hits[1:] + hits[:-1]).astype(jnp.float32)) / 2


def _from_none(ordered, hits, alarms):
    return jnp.pad(ordered, (1, 0), constant_values=jnp.inf), jnp.pad(hits, (1, 0)), jnp.pad(alarms, (1, 0))


def _missed(hits, positive, end=None):
    if end is None or jnp.issubdtype(hits.dtype, jnp.integer):
        return hits[-1] - jnp.pad(hits, (1, 0))
    # by its own sum: what is left of a difference of rounded sums is not 0 where nothing is missed
    missed = jnp.append(jax.lax.cumsum(positive, reverse=True), 0.0)
    return jnp.append(missed[:1], missed[1:][end])


def roc_curve(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None
) -> tuple[Float[Array, " M"], Float[Array, " M"], Float[Array, " M"]]:
    """False-alarm rate, recall and threshold, from flag-none to flag-all.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]` or None.

    Returns:
      `(false_positive_rate, true_positive_rate, threshold)`, each `[N + 1]`; tied scores repeat their point
      (scikit-learn drops repeats, whose shape depends on the data). NaN where a class is missing.

    Raises:
      ValueError: as `operating_points`; a class is missing.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import roc_curve
      >>> [v.tolist() for v in roc_curve(jnp.array([0, 1]), jnp.array([0.1, 0.9]))[:2]]
      [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
    """
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "the ROC curve")
    return points.false_positives / points.negatives, points.true_positives / points.positives, points.threshold


def precision_recall_curve(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None
) -> tuple[Float[Array, " M"], Float[Array, " M"], Float[Array, " M"]]:
    """Precision, recall and threshold, from flag-none to flag-all.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]` or None.

    Returns:
      `(precision, recall, threshold)`, each `[N + 1]`, highest threshold first (scikit-learn's order reversed);
      precision is 1 where nothing is flagged.

    Raises:
      ValueError: as `operating_points`; there is no anomaly.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import precision_recall_curve
      >>> [v.tolist() for v in precision_recall_curve(jnp.array([0, 1]), jnp.array([0.1, 0.9]))[:2]]
      [[1.0, 1.0, 0.5], [0.0, 1.0, 1.0]]
    """
    points = operating_points(labels, scores, weight)
    require_labels(labels, weight, "the precision-recall curve", both=False)
    flagged = points.flagged
    precision = jnp.where(flagged > 0, points.true_positives / jnp.where(flagged > 0, flagged, 1), 1)
    return precision, points.true_positives / points.positives, points.threshold
