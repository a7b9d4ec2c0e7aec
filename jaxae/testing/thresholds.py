"""The contract of a threshold rule."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxae.testing.properties import (
    Compiled,
    keys,
    require,
    require_alike,
    require_equal,
    require_finite,
    require_shape,
)
from jaxae.types import Threshold

READS = ("dev", "rank", "calibration")
NORMALS, ANOMALIES = 300, 60


def check_threshold(threshold: Threshold) -> None:
    """Refuse a threshold rule that breaks its contract.

    - `fit` gives one finite λ and does not depend on the order of the scores; constant scores are a `ValueError`;
    - verdicts are `[B]`, of the stated dtypes, in one trace;
    - `is_anomaly` is `score >= threshold`, the highest score of all is flagged, the lowest is not;
    - `p_value` is `(1 + #{calibration scores >= score}) / (1 + n)`;
    - `reads` is one of "dev", "rank" and "calibration", and with "dev" λ does not depend on calibration scores.

    The rule is fitted to 300 unlabelled scores, 25 of them in a group of high ones, and to 360 labelled ones.

    Args:
      threshold: what is checked.

    Raises:
      AssertionError: a property does not hold; the message says which.

    Example:
      >>> from jaxae.scoring import thresholds
      >>> from jaxae.testing import check_threshold
      >>> check_threshold(thresholds.conformal(0.1))
    """
    first, second, third, order_key = keys(4)
    # positive, as errors are: some rules read their logarithm; others look for a group of high ones
    calibration = jnp.exp(jax.random.normal(first, (NORMALS,)) + 4.0 * (jnp.arange(NORMALS) % 12 == 0))
    labels = jnp.arange(NORMALS + ANOMALIES) >= NORMALS
    dev = jnp.exp(jax.random.normal(second, labels.shape) + 3.0 * labels)
    labels, weight = labels.astype(jnp.int32), jnp.ones(labels.shape)
    require(threshold.reads in READS, f"reads must be one of {', '.join(READS)}, got {threshold.reads!r}")
    _check_constant_refused(threshold, dev, labels)

    def everything(calibration, dev, labels, scores):
        fitted = threshold.fit(calibration, dev, labels, weight)
        return fitted, threshold.apply(fitted, scores)

    run = Compiled(everything, "threshold")
    scores = jnp.concatenate([jnp.exp(2 * jax.random.normal(third, (20,))), jnp.array([1e-6, 1e6]), calibration[:3]])
    fitted, verdict = run(calibration, dev, labels, scores)
    level = verdict.threshold
    for name, dtype in {"score": "float32", "threshold": "float32", "p_value": "float32", "is_anomaly": "bool"}.items():
        value = getattr(verdict, name)
        require_shape(value, scores.shape, name)
        require(value.dtype == dtype, f"{name} must be {dtype}, got {value.dtype}")
    require_finite((level, verdict.p_value), "threshold and p_value")
    require(np.ptp(np.asarray(level)) == 0, "one λ holds for every row")
    require_equal(verdict.is_anomaly, scores >= level, "is_anomaly must be score >= threshold, but it")
    flagged = np.asarray(verdict.is_anomaly)
    require(flagged[21] and not flagged[20], "higher is more anomalous: the highest score is flagged, the lowest not")
    counts = np.asarray(calibration[None] >= scores[:, None]).sum(1)
    wanted = ((1 + counts) / (1 + NORMALS)).astype(np.float32)
    require_equal(verdict.p_value, wanted, "p_value must be (1 + #{calibration >= score}) / (1 + n), but it", 1e-6)
    order, dev_order = (jax.random.permutation(order_key, n) for n in (NORMALS, NORMALS + ANOMALIES))
    shuffled, moved = run(calibration[order], dev[dev_order], labels[dev_order], scores)
    require_alike(shuffled, fitted, "fitted")
    require_equal(moved.threshold, level, "λ must not depend on the order of the scores, but it", 1e-4, 1e-4)
    _, other = run(calibration + 1.0, dev, labels, scores)
    if threshold.reads == "dev":
        require_equal(other.threshold, level, 'a rule that reads "dev" must not depend on calibration scores, but λ')
    else:
        require(other.threshold[0] != level[0], f"a rule that reads {threshold.reads!r} must follow calibration scores")
    run.require_pure(calibration, dev, labels, scores)


def _check_constant_refused(threshold, dev, labels):
    try:
        threshold.fit(jnp.ones(NORMALS), dev, labels)
    except ValueError as error:
        return require("\n" not in str(error), f"constant scores must be refused in one line, got {error}")
    raise AssertionError("calibration scores that are all equal decide nothing: fit must raise a ValueError")
