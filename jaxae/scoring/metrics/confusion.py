"""Metrics of decisions `(labels, scores, weight=None, threshold=None)`, and weights for a deployment."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import require_within
from jaxae.scoring.checks import as_labels, binary, flagged, require_labels, require_open_unit, require_vectors
from jaxae.scoring.metrics.curves import as_mass


def confusion(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, threshold: ArrayLike | None = None
) -> Float[Array, "2 2"]:
    """Weight of each truth and decision: `[[true negatives, false alarms], [misses, true positives]]`.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      scores: `[N]`, higher is more anomalous; or, without a threshold, decisions (bool or 0/1).
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.
      threshold: λ, `score >= threshold` is flagged; None: `scores` are the decisions themselves.

    Raises:
      ValueError: shapes differ, labels are not 0/1, or `scores` are no decisions and there is no threshold.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import confusion
      >>> confusion(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8]), threshold=0.4).tolist()
      [[1.0, 1.0], [1.0, 1.0]]
    """
    require_vectors(labels=labels, scores=scores, weight=weight)
    labels = as_labels(labels)
    require_labels(labels, weight)
    if threshold is None:
        hint = ": without a threshold, decisions (bool or 0/1) are expected instead of scores"
        decisions = jnp.asarray(binary("scores", scores, hint=hint)) > 0
    else:
        decisions = flagged("scores", scores, threshold)
    mass = jnp.ones(jnp.shape(labels)) if weight is None else as_mass(weight).astype(jnp.float32)
    # rows of the table are truths, columns decisions: cell number 2 truth + decision
    cell = 2 * jnp.asarray(labels, jnp.int32) + decisions
    return jnp.stack([jnp.sum(mass * (cell == index)) for index in range(4)]).reshape(2, 2)


def _share(numerator: Array, denominator: Array) -> Float[Array, ""]:
    # the inner where keeps the gradient finite where the denominator is 0
    return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1), 0)


def precision(
    labels: ArrayLike, scores: ArrayLike, weight: ArrayLike | None = None, threshold: ArrayLike | None = None
) -> Float[Array, ""]:
    """The share of anomalies among flagged rows; 0 where none is flagged.

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


def f_beta(
    labels: ArrayLike,
    scores: ArrayLike,
    weight: ArrayLike | None = None,
    threshold: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
) -> Float[Array, ""]:
    """`(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)`: recall counts `beta` times as much as precision; 0 where 0 / 0.

    Depends on the share of anomalies: see `prevalence_weight`. Other arguments and errors as in `confusion`.

    Raises:
      ValueError: `beta` is not above 0.

    Source: van Rijsbergen 1979, "Information Retrieval", chapter 7.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import f_beta
      >>> labels, scores = jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])
      >>> round(float(f_beta(labels, scores, threshold=0.3, beta=2.0)), 4)
      0.9091
    """
    require_beta(beta)
    (_, false_alarms), (misses, hits) = confusion(labels, scores, weight, threshold)
    # F-beta from counts: no division by a precision or recall that may be 0 / 0
    scaled = (1 + beta**2) * hits
    return _share(scaled, scaled + beta**2 * misses + false_alarms)


def require_beta(beta: ArrayLike) -> None:
    """A Python number must be above 0 and finite."""
    require_within("beta", beta, "(0, inf)")


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
    """Weights that sum to 1 and under which anomalies have the share `anomaly_rate`.

    Precision, F1 and average precision depend on the share of anomalies, which is far higher in test sets than in
    deployments; under these weights they estimate the deployment's figures.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal.
      anomaly_rate: anomaly rate P of the deployment, in (0, 1).
      weight: `[N]`, weight of each row before reweighting; None weighs all rows 1.

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
    truth = jnp.asarray(as_labels(labels), jnp.float32)
    mass = jnp.ones_like(truth) if weight is None else as_mass(weight).astype(jnp.float32)
    # weights that rows had before count within their class
    anomalies, normals = mass * truth, mass * (1 - truth)
    rate = jnp.asarray(anomaly_rate, jnp.float32)
    # each class is normalised by itself, so the rate alone decides their shares
    return rate * anomalies / anomalies.sum() + (1 - rate) * normals / normals.sum()
