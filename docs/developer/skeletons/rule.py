"""λ so many standard deviations above the mean of the scores."""

import math

from jaxae.numerics import as_number
from jaxae.scoring.thresholds.rule import rule
from jaxae.testing import check_threshold
from jaxae.types import Threshold


def standard_deviations(k: float = 3.0) -> Threshold:
    """λ is `mean + k * standard deviation` of the calibration scores; no label is read, and no rate is promised.

    Args:
      k: standard deviations above the mean, above 0.

    Returns:
      A `Threshold`; the λ that it fits depends on every calibration score (`reads` is "calibration").

    Raises:
      ValueError: k is not above 0 and finite; from `fit`, scores are not finite or all equal.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(standard_deviations(2.0).fit(jnp.array([1.0, 2.0, 3.0]))["threshold"]), 3)
      3.633
    """
    if (number := as_number(k)) is not None and not 0 < number < math.inf:
        raise ValueError(f"standard_deviations: k must be above 0 and finite, got {k}")

    # `rule` sorts and checks the scores, and adds verdicts and p-values
    return rule(lambda calibration, dev, labels, weight: calibration.mean() + k * calibration.std())


def test_standard_deviations_keeps_the_contract():
    check_threshold(standard_deviations())
