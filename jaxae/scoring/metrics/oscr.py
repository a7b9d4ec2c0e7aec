"""Open-set classification rate: right classes among the known against false alarms among the unknown."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.scoring.checks import is_traced, require_labels, require_vectors
from jaxae.scoring.metrics.curves import area, as_mass, operating_points


def oscr(
    is_known: ArrayLike, correct: ArrayLike, confidence: ArrayLike, weight: ArrayLike | None = None
) -> Float[Array, ""]:
    """Area under the correct-classification rate over the false-positive rate, as λ falls from flag-all.

    At λ, the one is the share of the known rows that have the right class and `confidence >= λ`, the other the share
    of the unknown rows with `confidence >= λ`. The area is the chance that a known row is right and more confident
    than an unknown one, ties counting half; so it is at most the closed-set accuracy.

    Args:
      is_known: `[N]`, 1 where the row's class is one of the classifier's, 0 where it is unknown.
      correct: `[N]`, 1 where the predicted class is right; not read for unknown rows.
      confidence: `[N]`, c(x): higher is more surely known (the negated anomaly score).
      weight: `[N]`, not negative, or None.

    Raises:
      ValueError: shapes differ, `is_known` or `correct` is not 0/1, a confidence is not finite, known or unknown rows
        are missing.

    Source: Dhamija, Guenther and Boult 2018, "Reducing Network Agnostophobia", section 4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.metrics import oscr
      >>> float(oscr(jnp.array([1, 1, 0, 0]), jnp.array([1, 0, 0, 0]), jnp.array([0.9, 0.8, 0.3, 0.7])))
      0.5
    """
    require_vectors(is_known=is_known, correct=correct, confidence=confidence, weight=weight)
    _require(is_known, correct, weight)
    known = jnp.asarray(is_known).astype(jnp.int32)
    mass = jnp.ones(known.shape, jnp.int32) if weight is None else as_mass(weight)
    right = jnp.asarray(correct).astype(mass.dtype)
    counted = jnp.where(known == 1, mass * right, mass)
    points = operating_points(known, jnp.asarray(confidence, jnp.float32), counted)
    return area(points) / jnp.sum(mass * known) / jnp.sum(mass * (1 - known))


def _require(is_known, correct, weight) -> None:
    for name, values in {"is_known": is_known, "correct": correct}.items():
        if not is_traced(values) and not np.isin(np.asarray(values), (0, 1)).all():
            odd = np.asarray(values)[~np.isin(np.asarray(values), (0, 1))][0]
            raise ValueError(f"{name} must be 0 or 1; got {odd}")
    require_labels(is_known, weight)
    if is_traced(is_known, weight):
        return
    known = np.asarray(is_known) == 1
    mass = np.ones(known.shape) if weight is None else np.asarray(weight, np.float64)
    if not (mass[known].sum() > 0 and mass[~known].sum() > 0):
        raise ValueError(
            f"OSCR needs known and unknown rows with weight; got {mass[known].sum():g} of known, "
            f"{mass[~known].sum():g} of unknown"
        )
