"""Upper bounds on the false-alarm and the miss rate of a λ that was fixed without the data that bound it.

Exact binomial bounds (Clopper and Pearson 1934): with probability at least `confidence` over the examples counted, the
true rate is below the bound. They do not hold if λ (or the model) was chosen on the same examples, or if deployment
examples differ in distribution; neither can be checked here. A miss-rate bound holds for anomalies like those counted.

Computed in float32 to a relative 2e-5 against SciPy up to a million examples, and never below the rate observed.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import as_number, in_float32, real_array, require_count
from jaxae.numerics.arguments import check_arguments
from jaxae.scoring.checks import flagged, is_traced, require_finite, require_open_unit, require_vectors
from jaxae.scoring.guarantees.binomial import lower_tail

HALVINGS = 50


def upper_bound(errors: ArrayLike, count: ArrayLike, confidence: ArrayLike = 0.95) -> Float[Array, ""]:
    """The rate u at which `P(at most this many errors in count) = 1 - confidence`; 1 where all are errors.

    Args:
      errors: number of errors, 0 to `count`.
      count: number of independent examples, at least 1.
      confidence: confidence level of the bound, in (0, 1), usually above one half.

    Raises:
      ValueError: `confidence` is outside (0, 1), or there are not 0 <= errors <= count.

    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the
    binomial".

    Example:
      >>> from jaxae.scoring.guarantees.bounds import upper_bound
      >>> round(float(upper_bound(0, 59)), 4), round(float(upper_bound(3, 100)), 4)
      (0.0495, 0.0757)
    """
    _check(errors, count, confidence)
    _require_scalars(errors, count)
    risk = jnp.asarray(1 - confidence, jnp.float32)
    return _solve(jnp.asarray(errors, jnp.float32), jnp.asarray(count, jnp.float32), risk)


def interval(
    errors: ArrayLike, count: ArrayLike, confidence: ArrayLike = 0.95
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Two-sided interval of a rate, `(low, high)`: each side errs with probability at most `(1 - confidence) / 2`.

    Args:
      errors: number of errors, 0 to `count`.
      count: number of independent examples, at least 1.
      confidence: confidence level of the interval, in (0, 1).

    Raises:
      ValueError: as `upper_bound`.

    Example:
      >>> from jaxae.scoring.guarantees.bounds import interval
      >>> [round(float(end), 4) for end in interval(3, 100)]
      [0.0062, 0.0852]
    """
    _check(errors, count, confidence)
    _require_scalars(errors, count)
    errors, count = jnp.asarray(errors, jnp.float32), jnp.asarray(count, jnp.float32)
    risk = jnp.asarray((1 - confidence) / 2, jnp.float32)
    return _solve(errors, count, risk, lower=True), _solve(errors, count, risk)


def needed(alpha: float, confidence: float = 0.95, errors: int = 0) -> int:
    """The least number of examples for which a number of errors bounds the rate by alpha.

    Without errors `(1 - alpha)^n <= 1 - confidence`: 59 for 5 % at 95 %, 299 for 1 %.

    Args:
      alpha: upper bound on the rate, in (0, 1).
      confidence: confidence level of the bound, in (0, 1).
      errors: number of errors among the examples, at least 0.

    Raises:
      ValueError: a number is outside its range.

    Example:
      >>> from jaxae.scoring.guarantees.bounds import needed
      >>> needed(0.05), needed(0.01), needed(0.05, errors=1)
      (59, 299, 93)
    """
    require_open_unit("alpha", alpha)
    require_open_unit("confidence", confidence)
    errors, alpha, confidence = require_count("errors", errors, 0), float(alpha), float(confidence)
    risk = (1 - confidence) * (1 + 1e-9)  # 1 - 0.9 rounds to below 0.1
    log_p, log_q = math.log(alpha), math.log1p(-alpha)

    # exact binomial tail in float64 by log factorials; called for few n only
    def enough(n: int) -> bool:
        logs = [math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in range(errors + 1)]
        return sum(math.exp(log + j * log_p + (n - j) * log_q) for j, log in enumerate(logs)) <= risk

    # double until enough, then bisect: the tail probability falls with n
    low, high = errors, errors + 1
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def false_alarm_bound(
    scores: ArrayLike, threshold: ArrayLike, confidence: ArrayLike = 0.95, weight: ArrayLike | None = None
) -> Float[Array, ""]:
    """Upper bound on the share of normal examples at or above λ, from clean scores that λ was not chosen on.

    Args:
      scores: `[n]`, scores of clean normals.
      threshold: λ, a scalar; `score >= threshold` is flagged.
      confidence: confidence level of the bound, in (0, 1).
      weight: must be None: a count of weighted rows has no binomial distribution.

    Raises:
      ValueError: scores are not a finite vector, weights are given, or `confidence` is outside (0, 1).

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.bounds import false_alarm_bound
      >>> round(float(false_alarm_bound(jnp.arange(100.0), 97.0)), 4)
      0.0757
    """
    _check_rows(scores, confidence, weight, "normal")
    return upper_bound(jnp.sum(flagged("scores", scores, threshold)), np.size(scores), confidence)


def miss_rate_bound(
    scores: ArrayLike, threshold: ArrayLike, confidence: ArrayLike = 0.95, weight: ArrayLike | None = None
) -> Float[Array, ""]:
    """Upper bound on the share of anomalies below λ, from anomalies that neither λ nor the model was chosen on.

    Args:
      scores: `[m]`, scores of the anomalies of the certify part, and of no other rows.
      threshold: λ, a scalar; `score < threshold` is missed.
      confidence: confidence level of the bound, in (0, 1).
      weight: must be None: a count of weighted rows has no binomial distribution.

    Raises:
      ValueError: scores are not a finite vector, weights are given, or `confidence` is outside (0, 1).

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.guarantees.bounds import miss_rate_bound
      >>> round(float(miss_rate_bound(jnp.arange(100.0), 3.0)), 4)
      0.0757
    """
    _check_rows(scores, confidence, weight, "anomalous")
    return upper_bound(jnp.sum(~flagged("scores", scores, threshold)), np.size(scores), confidence)


def rank_bound(calibration: ArrayLike, threshold: ArrayLike, confidence: ArrayLike = 0.95) -> Float[Array, ""]:
    """Upper bound on the false-alarm rate of a λ that is the calibration score of a rank fixed beforehand.

    It applies to the threshold rules `quantile`, `false_alarm_rate`, `conformal` and `false_alarm_bound` alone. The
    rate above the score with k others above it is Beta(k + 1, n - k) distributed over calibration sets, with the
    quantile `upper_bound(k, n)`; scores tied with it count as above.

    Args:
      calibration: `[n]`, scores of the clean normals that λ was chosen on.
      threshold: λ, a scalar.
      confidence: confidence level of the bound, in (0, 1).

    Raises:
      ValueError: scores are not a finite vector, or `confidence` is outside (0, 1).

    Source: Wilks 1941, "Determination of Sample Sizes for Setting Tolerance Limits"; Vovk 2012, "Conditional
    Validity of Inductive Conformal Predictors".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring import bounds
      >>> from jaxae.scoring import thresholds
      >>> calibration = jnp.arange(99.0)
      >>> fitted = thresholds.conformal(0.05).fit(calibration)  # four of 99 are flagged
      >>> round(float(bounds.rank_bound(calibration, fitted["threshold"])), 4)
      0.0901
    """
    _check_rows(calibration, confidence, None, "normal")
    calibration = in_float32("calibration scores", calibration)
    below = ~flagged("calibration scores", calibration, threshold)
    # the rank is that of the highest calibration score below λ, with its ties counted as above
    highest_below = jnp.max(jnp.where(below, calibration, -jnp.inf))
    above = jnp.sum(calibration >= highest_below) - jnp.any(below)
    return upper_bound(above, calibration.size, confidence)


def uniform_bound(errors: ArrayLike, count: ArrayLike, confidence: ArrayLike = 0.95) -> Float[Array, ""]:
    """Upper bound that holds at every λ simultaneously, also at a λ chosen on the scores that are counted.

    `errors / count + sqrt(log(1 / (1 - confidence)) / (2 count))`, looser than `upper_bound` for small rates.

    Args:
      errors: number of errors at the chosen λ, 0 to `count`.
      count: number of independent examples, at least 1.
      confidence: confidence level of the bound, in [1/2, 1).

    Raises:
      ValueError: as `upper_bound`, or `confidence` is below one half.

    Source: Massart 1990, "The Tight Constant in the Dvoretzky-Kiefer-Wolfowitz Inequality".

    Example:
      >>> from jaxae.scoring.guarantees.bounds import uniform_bound
      >>> round(float(uniform_bound(3, 100)), 4)
      0.1524
    """
    _check(errors, count, confidence)
    if (number := as_number(confidence)) is not None and number < 0.5:
        raise ValueError(f"a bound at every λ at once needs a confidence of at least 0.5; got {confidence}")
    errors, count = jnp.asarray(errors, jnp.float32), jnp.asarray(count, jnp.float32)
    # Dvoretzky-Kiefer-Wolfowitz, one-sided: P(sup F_n - F > e) <= exp(-2 n e^2)
    margin = jnp.sqrt(-jnp.log(jnp.asarray(1 - confidence, jnp.float32)) / (2 * count))
    return jnp.minimum(errors / count + margin, 1)


def _solve(errors: Array, count: Array, risk: Array, lower: bool = False) -> Array:
    """The rate at which at most (`lower`: at least) as many errors have probability `risk`, by bisection."""
    # the tail probability is monotone between the observed rate and the end: bisection
    observed = errors / count

    def halve(_, ends):
        near, far = ends
        rate = (near + far) / 2
        if lower:
            # at least `errors` errors are at most count - errors successes
            is_nearer = lower_tail(count - errors, count, 1 - rate, rate) > risk
        else:
            is_nearer = lower_tail(errors, count, rate, 1 - rate) > risk
        return jnp.where(is_nearer, rate, near), jnp.where(is_nearer, far, rate)

    limit = jnp.zeros_like(observed) if lower else jnp.ones_like(observed)
    far = jax.lax.fori_loop(0, HALVINGS, halve, (observed, limit))[1]
    # no rate beyond 0 or 1 exists: all errors give the bound 1, none the lower end 0
    return jnp.where(observed == limit, limit, far)


def _check(errors: ArrayLike, count: ArrayLike, confidence: ArrayLike) -> None:
    require_open_unit("confidence", confidence)
    errors, count = real_array("errors", errors), real_array("count", count)
    if not np.size(errors) or not np.size(count):
        raise ValueError(f"a rate needs errors and a count; got shapes {np.shape(errors)} and {np.shape(count)}")
    # NumPy, since jnp would trace concrete numbers inside a compiled program
    if not is_traced(count) and np.min(np.asarray(count)) < 1:
        raise ValueError(f"a rate needs at least one example; got {count}")
    if not is_traced(errors, count) and not np.all(
        (np.asarray(errors) >= 0) & (np.asarray(errors) <= np.asarray(count))
    ):
        raise ValueError(f"errors must lie between 0 and the number of examples; got {errors} of {count}")


def _require_scalars(errors: ArrayLike, count: ArrayLike) -> None:
    if np.ndim(errors) or np.ndim(count):
        raise ValueError(
            f"errors and count are one number each (jax.vmap maps over several); got shapes {np.shape(errors)} and "
            f"{np.shape(count)}"
        )


def _check_rows(scores: ArrayLike, confidence: ArrayLike, weight: ArrayLike | None, kind: str) -> None:
    require_open_unit("confidence", confidence)
    if weight is not None:
        raise ValueError("bounds count independent examples, so weighted rows have none: leave weight out")
    scores = real_array("scores", scores)
    if np.size(scores) == 0:
        raise ValueError(f"no {kind} scores to count: without examples the rate may be anything up to 1")
    require_vectors(scores=scores)
    require_finite("scores", scores)


check_arguments(__name__)
