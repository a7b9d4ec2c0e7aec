"""Every decision that a set of labelled scores allows: sort once, then cumulative sums."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Num

from jaxae.numerics import in_float32, is_traced, real_array
from jaxae.scoring.checks import as_labels, require_finite, require_labels, require_vectors
from jaxae.scoring.metrics.ordering import descending, order_key, sort_with_labels


class OperatingPoints(NamedTuple):
    """Counts under `score >= threshold` for every threshold that changes a decision, highest first.

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
        """Where at least the share `recall` of the anomalies is flagged."""
        # rounding in long sums may leave the last share below 1, but a count of no misses is exactly 0
        # XLA's division may be a unit in the last place below: 10 / 12.5 is 0.79999995 on a CPU
        reached = (self.true_positives / self.positives >= recall) | (self.true_positives >= recall * self.positives)
        return reached | (self.false_negatives == 0)


def operating_points(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> OperatingPoints:
    """True and false positives at every threshold; tied scores are one decision.

    Under a `vmap` over weights alone the scores are sorted once.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous; compared as float32, 0.0 and -0.0 as equal. Where the points alone are of
        interest and not their thresholds, `numerics.ranked` keeps scores apart that float32 would merge.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1 and sorts fastest.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, float32 merges scores (see
        `numerics.in_float32`), a weight is negative.

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
    scores, truth = in_float32("scores", scores), jnp.asarray(as_labels(labels)).astype(jnp.int32)
    if weight is None:
        ordered, positive = sort_with_labels(scores, truth)
        # without weights only scores and labels are sorted: false positives are the rows flagged less the hits
        last = ends_of_ties(ordered)
        hits = jnp.cumsum(positive)[last]
        return OperatingPoints(*_from_none(ordered, hits, last + 1 - hits), _missed(hits, positive))
    order, mass = descending(scores), as_mass(weight)
    ordered, mass, truth = scores[order], mass[order], truth[order].astype(mass.dtype)
    positive, last = mass * truth, ends_of_ties(ordered)
    hits, alarms = jnp.cumsum(positive)[last], jnp.cumsum(mass * (1 - truth))[last]
    return OperatingPoints(*_from_none(ordered, hits, alarms), _missed(hits, positive, last))


def ends_of_ties(ordered: Float[Array, " N"]) -> Int[Array, " N"]:
    """Index of the last value that equals each value.

    Args:
      ordered: `[N]`, sorted in either direction.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.curves import ends_of_ties
      >>> ends_of_ties(jnp.array([3.0, 2.0, 2.0, 1.0])).tolist()
      [0, 2, 2, 3]
    """
    count, key = ordered.shape[0], order_key(ordered)
    # compared by key: on some devices subnormal floats compare as equal to 0
    is_last = jnp.append(key[1:] != key[:-1], True)
    # the nearest last-of-a-tie at or after each position: a minimum accumulated from the end
    return jax.lax.cummin(jnp.where(is_last, jnp.arange(count), count - 1), reverse=True)


def as_mass(weight: ArrayLike, times: int = 1) -> Num[Array, " N"]:
    """Weights as int32 if their dtype is integer or bool, so that sums are exact, and as float32 otherwise.

    Integers whose sum int32 does not hold are float32 too.

    Args:
      weight: `[N]`, weight of each row, not negative.
      times: how often all of them may be counted.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.curves import as_mass
      >>> str(as_mass(jnp.array([True, False])).dtype), str(as_mass(jnp.array([0.5])).dtype)
      ('int32', 'float32')
    """
    mass = real_array("weights", weight)
    exact = not jnp.issubdtype(mass.dtype, jnp.inexact)
    if exact and not is_traced(mass):
        exact = times * np.asarray(mass).sum(dtype=np.float64) <= np.iinfo(np.int32).max
    return jnp.asarray(mass, jnp.int32 if exact else jnp.float32)


def area(points: OperatingPoints) -> Float[Array, ""]:
    """Area under true over false positives: number of pairs that the anomaly wins, ties counting half.

    Args:
      points: every operating point, from `operating_points`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics.curves import area, operating_points
      >>> float(area(operating_points(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]))))
      3.0
    """
    hits, alarms = points.true_positives, points.false_positives
    # trapezoids: a tie flags its anomalies and normals together, on a straight line, which is half of each pair
    return jnp.sum(jnp.diff(alarms).astype(jnp.float32) * (hits[1:] + hits[:-1]).astype(jnp.float32)) / 2


def bounded(rate: Array) -> Array:
    """A rate within 0..1, which rounding in long sums may leave; NaN stays."""
    return jnp.clip(rate, 0, 1)


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
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

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
    # 0 / 0 is NaN where a class is missing, as documented
    false_alarms = bounded(points.false_positives / points.negatives)
    return false_alarms, bounded(points.true_positives / points.positives), points.threshold


def precision_recall_curve(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None
) -> tuple[Float[Array, " M"], Float[Array, " M"], Float[Array, " M"]]:
    """Precision, recall and threshold, from flag-none to flag-all.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

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
    # the inner where keeps 0 / 0 out of the gradient
    precision = jnp.where(flagged > 0, points.true_positives / jnp.where(flagged > 0, flagged, 1), 1)
    return precision, bounded(points.true_positives / points.positives), points.threshold
