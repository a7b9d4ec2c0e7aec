"""Every decision that a set of labelled scores allows: sort once, then cumulative sums."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from jaxae.scoring.checks import require_finite, require_labels, require_vectors


class OperatingPoints(NamedTuple):
    """What flagging `score >= threshold` does, for every threshold that matters, highest first.

    Attributes:
      threshold: `[N + 1]` float32: +inf (flag none), then the scores in descending order. Equal scores repeat
        the same point, which keeps the shape fixed.
      true_positives: `[N + 1]` weight of flagged anomalies.
      false_positives: `[N + 1]` weight of flagged normals.
      false_negatives: `[N + 1]` weight of missed anomalies.
    """

    threshold: Float[Array, " M"]
    true_positives: Float[Array, " M"]
    false_positives: Float[Array, " M"]
    false_negatives: Float[Array, " M"]

    @property
    def positives(self) -> Float[Array, ""]:
        """Weight of all anomalies."""
        return self.true_positives[-1]

    @property
    def negatives(self) -> Float[Array, ""]:
        """Weight of all normals."""
        return self.false_positives[-1]

    def reaches(self, recall: ArrayLike) -> Bool[Array, " M"]:
        """Where at least this share of the anomalies is flagged."""
        # Rounding in long sums may leave the last share a bit below 1; nothing missed is exactly 0, always.
        return (self.true_positives / self.positives >= recall) | (self.false_negatives == 0)


def operating_points(labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None) -> OperatingPoints:
    """True and false positives at every threshold, ties as one decision.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous; compared as float32.
      weight: `[N]`, not negative; None weighs all rows 1.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a score is not finite, a weight is negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.curves import operating_points
      >>> points = operating_points(jnp.array([0, 1, 1]), jnp.array([1.0, 1.0, 2.0]))
      >>> points.threshold.tolist(), points.true_positives.tolist(), points.false_positives.tolist()
      ([inf, 2.0, 1.0, 1.0], [0.0, 1.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0])
    """
    require_vectors(labels=labels, scores=scores, weight=weight)
    require_finite("scores", scores)
    require_labels(labels, weight)
    scores = jnp.asarray(scores, jnp.float32)
    truth = jnp.asarray(labels, jnp.float32)
    mass = jnp.ones_like(truth) if weight is None else jnp.asarray(weight, jnp.float32)
    key, positive, negative = jax.lax.sort((-scores, mass * truth, mass * (1 - truth)), num_keys=1)
    count = key.shape[0]
    is_last = jnp.append(key[1:] != key[:-1], True)
    end = jax.lax.cummin(jnp.where(is_last, jnp.arange(count), count - 1), reverse=True)  # of each run of ties

    def at_least(values):
        return jnp.pad(jnp.cumsum(values)[end], (1, 0))

    missed = jnp.append(jax.lax.cumsum(positive, reverse=True), 0.0)
    return OperatingPoints(
        jnp.pad(-key, (1, 0), constant_values=jnp.inf),
        at_least(positive),
        at_least(negative),
        jnp.append(missed[:1], missed[1:][end]),
    )


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
    flagged = points.true_positives + points.false_positives
    precision = jnp.where(flagged > 0, points.true_positives / jnp.where(flagged > 0, flagged, 1), 1)
    return precision, points.true_positives / points.positives, points.threshold
