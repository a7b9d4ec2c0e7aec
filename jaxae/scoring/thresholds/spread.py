"""Rules of thumb on the spread of the scores: they read no labels and bound no rate."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import require_within
from jaxae.scoring.checks import is_traced
from jaxae.scoring.thresholds.rule import rule
from jaxae.types import Threshold

NORMAL_SCALE = 1.482602218505602  # standard deviation over MAD of a normal distribution


def mad(k: ArrayLike = 3.0) -> Threshold:
    """λ is `median + k 1.4826 MAD`, MAD the median distance from the median: k standard deviations of a normal.

    Reads calibration scores alone, and up to half of them may be anomalies: unlabelled scores suffice. Reconstruction
    errors have long upper tails, so more is flagged than of a normal distribution, without a bound.

    Args:
      k: number of standard deviations, above 0.

    Raises:
      ValueError: `k` is not above 0; in `fit`, scores are not finite or all equal, or more than half of them are.

    Source: Hampel 1974, "The Influence Curve and its Role in Robust Estimation"; Leys et al. 2013, "Detecting
    outliers: Do not use standard deviation around the mean, use absolute deviation around the median".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> round(float(thresholds.mad(2.0).fit(jnp.array([1.0, 2.0, 3.0, 4.0, 90.0]))["threshold"]), 4)
      5.9652
    """
    _require_positive("k", k)

    def choose(calibration, dev, labels, weight):
        middle = jnp.median(calibration)
        distance = jnp.median(jnp.abs(calibration - middle))
        _require_some("half of them lie within no distance of the median", distance)
        # the factor turns a MAD into the standard deviation of a normal distribution
        return middle + k * NORMAL_SCALE * distance

    return rule(choose)


def iqr(k: ArrayLike = 1.5) -> Threshold:
    """λ is the upper fence of a box plot, `Q3 + k (Q3 - Q1)`, quartiles linear between order statistics.

    Reads calibration scores alone, and up to a quarter of them may be anomalies: unlabelled scores suffice. It flags
    0.35 % of a normal distribution (k = 1.5) and more of a long upper tail, without a bound.

    Args:
      k: number of interquartile ranges above the upper quartile, above 0.

    Raises:
      ValueError: `k` is not above 0; in `fit`, scores are not finite or all equal, or the quartiles are.

    Source: Tukey 1977, "Exploratory Data Analysis".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> float(thresholds.iqr().fit(jnp.array([1.0, 2.0, 3.0, 4.0, 90.0]))["threshold"])
      7.0
    """
    _require_positive("k", k)

    def choose(calibration, dev, labels, weight):
        # Tukey's fence uses quartiles, which a quarter of anomalies cannot move past the normals
        low, high = jnp.quantile(calibration, jnp.array([0.25, 0.75], jnp.float32))
        _require_some("the quartiles are equal", high - low)
        return high + k * (high - low)

    return rule(choose)


def _require_positive(name: str, value: ArrayLike) -> None:
    require_within(name, value, "(0, inf)")


def _require_some(what: str, spread: Array) -> None:
    if not is_traced(spread) and not np.asarray(spread) > 0:
        raise ValueError(f"calibration scores: {what}, so their spread sets no λ; quantile or conformal can")
