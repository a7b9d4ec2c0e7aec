"""Validity of p-values of normal examples, `P(p <= a) <= a` at every level a, as a curve and its largest excess."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.scoring.checks import as_labels, is_traced, require_p_values, require_vectors
from jaxae.scoring.metrics.curves import bounded, operating_points


def p_value_curve(
    labels: ArrayLike, p_values: ArrayLike, weight: ArrayLike | None = None
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    """The share of normals with `p <= level`, at every p-value; valid p-values stay on or below the diagonal.

    Args:
      labels: `[N]`, 1 anomaly, 0 normal; anomalies are not counted.
      p_values: `[N]`, p-value of each row, in [0, 1].
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Returns:
      `(level, share)`, each `[N + 1]`, rising from (0, 0); tied p-values repeat their point.

    Raises:
      ValueError: shapes differ, labels are not 0/1, a p-value is outside [0, 1], there is no normal.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import p_value_curve
      >>> [v.tolist() for v in p_value_curve(jnp.array([0, 0, 1]), jnp.array([0.5, 0.25, 0.125]))]
      [[0.0, 0.125, 0.25, 0.5], [0.0, 0.0, 0.5, 1.0]]
    """
    require_vectors(labels=labels, p_values=p_values, weight=weight)
    require_p_values(p_values)
    labels = as_labels(labels)
    # small p-values flag: with -p as score, false positives are the normals with p <= level
    points = operating_points(labels, -jnp.asarray(p_values, jnp.float32), weight)
    if not is_traced(labels, weight) and not float(points.negatives) > 0:
        raise ValueError(f"p-values are judged on normals; none of the {np.size(labels)} rows is one (with weight)")
    # the first point, +inf as threshold, becomes level 0
    level = jnp.concatenate([jnp.zeros(1), -points.threshold[1:]])
    return level, bounded(points.false_positives / points.negatives)


def p_value_excess(labels: ArrayLike, p_values: ArrayLike, weight: ArrayLike | None = None) -> Float[Array, ""]:
    """The most that the share of normals with `p <= a` exceeds a: `max_a F(a) - a`, 0 where it never does.

    The one-sided Kolmogorov-Smirnov statistic. All p-values of one calibration set of n rows depend on its draw: valid
    ones have an excess of about `0.6 / sqrt(n)` on average, however many examples are tested.

    Arguments and errors as in `p_value_curve`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import p_value_excess
      >>> float(p_value_excess(jnp.array([0, 0, 1]), jnp.array([0.5, 0.25, 0.125])))
      0.5
    """
    level, share = p_value_curve(labels, p_values, weight)
    # the share steps up at p-values alone, so the maximum is at one of them
    return jnp.max(share - level)
