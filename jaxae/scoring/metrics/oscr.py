"""Open-set classification rate: right classes among the known against false alarms among the unknown."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import is_traced, ranked
from jaxae.scoring.checks import binary, require_finite, require_labels, require_vectors
from jaxae.scoring.metrics.curves import area, as_mass, bounded, operating_points


def oscr(
    is_known: ArrayLike, correct: ArrayLike, confidence: ArrayLike, weight: ArrayLike | None = None
) -> Float[Array, ""]:
    """Area under the correct-classification rate over the false-positive rate, as λ falls from flag-all.

    At λ, the correct-classification rate is the share of known rows with the right class and `confidence >= λ`, the
    false-positive rate the share of unknown rows with `confidence >= λ`. The area is the probability that a known row
    is right and more confident than an unknown row, ties counting half; it is at most the closed-set accuracy.

    Args:
      is_known: `[N]`, 1 where the row's class is one of the classifier's, 0 where it is unknown.
      correct: `[N]`, 1 where the predicted class is right; not read for unknown rows.
      confidence: `[N]`, confidence c(x) that a row is known (the negated anomaly score).
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

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
    is_known, correct = binary("is_known", is_known), binary("correct", correct)
    _require(is_known, weight)
    require_finite("confidence", confidence)
    known = jnp.asarray(is_known).astype(jnp.int32)
    # integer counts where there are no weights: their sums are exact
    mass = jnp.ones(known.shape, jnp.int32) if weight is None else as_mass(weight)
    is_correct = jnp.asarray(correct).astype(mass.dtype)
    # known rows with a wrong class can never be counted: weight 0 removes them from the numerator
    counted = jnp.where(known == 1, mass * is_correct, mass)
    points = operating_points(known, ranked("confidence", confidence), counted)
    # the divisor is all known rows, wrong ones included
    return bounded(area(points) / jnp.sum(mass * known) / jnp.sum(mass * (1 - known)))


def _require(is_known, weight) -> None:
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
