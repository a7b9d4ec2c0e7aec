"""A mixture of two normal distributions fitted to unlabelled scores, and λ where the upper one becomes probable."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import normal_log_prob
from jaxae.numerics.bisection import bisected
from jaxae.scoring.checks import is_traced, require_open_unit
from jaxae.scoring.thresholds.rule import rule
from jaxae.types import Threshold

ITERATIONS = 300
HALVINGS = 40
LEAST_VARIANCE = 1e-6  # relative to the variance of all scores; a component on a single score would have none


class _Components(NamedTuple):
    """Parameters of the lower and the upper component, each field `[2]`."""

    share: Array
    mean: Array
    variance: Array


def mixture(posterior: ArrayLike = 0.5, upper_share: ArrayLike = 0.1, log: bool = True) -> Threshold:
    """λ is where the upper of two normal distributions, fitted to the scores by EM, has this posterior probability.

    Reads unlabelled scores as calibration, and is useful only if they hold anomalies that form a separate group. In
    clean scores it finds a second component in the tail, and λ lies among normal examples: use `conformal` there. Its
    errors have no bound. λ is +inf where the upper component does not reach the posterior up to its mean.

    Args:
      posterior: posterior probability of the upper component at λ, in (0, 1).
      upper_share: share of the highest scores that EM starts with as the upper component, in (0, 1).
      log: whether to fit the logarithms of the scores, which are closer to normal for squared errors.

    Raises:
      ValueError: a number is outside (0, 1); in `fit`, scores are not finite or all equal, or, with `log`, not above 0.

    Source: Dempster, Laird and Rubin 1977, "Maximum Likelihood from Incomplete Data via the EM Algorithm".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> scores = jnp.concatenate([jax.random.normal(jax.random.key(0), (450,)), 10 + jnp.linspace(-1.0, 1.0, 50)])
      >>> 3 < float(thresholds.mixture(log=False).fit(scores)["threshold"]) < 9
      True
    """
    require_open_unit("posterior", posterior)
    require_open_unit("upper_share", upper_share)

    def choose(calibration, dev, labels, weight):
        if log and not is_traced(calibration) and not np.asarray(calibration[0]) > 0:
            raise ValueError(
                f"a mixture of log-scores needs scores above 0; the least is {calibration[0]:g}: use mixture(log=False)"
            )
        values = jnp.log(calibration) if log else calibration
        # standardised, so that rounding and the least variance do not depend on the unit of the score
        center, scale = jnp.mean(values), jnp.std(values)
        limit = center + scale * _crossing(_fit((values - center) / scale, upper_share), posterior)
        return jnp.exp(limit) if log else limit

    return rule(choose)


def _fit(ordered: Array, upper_share: ArrayLike) -> _Components:
    """Expectation-maximisation on standardised ascending values, started from a split by rank."""
    rank = (jnp.arange(ordered.shape[0], dtype=jnp.float32) + 0.5) / ordered.shape[0]
    # hard responsibilities to start with: the upper share of the ranks belongs to the upper component
    upper = (rank > 1 - jnp.asarray(upper_share, jnp.float32)).astype(jnp.float32)

    def maximise(upper):
        # M step: weighted share, mean and variance of each component
        responsibility = jnp.stack([1 - upper, upper])
        mass = jnp.maximum(responsibility.sum(1), 1e-3)
        mean = (responsibility @ ordered) / mass
        variance = (responsibility * (ordered[None] - mean[:, None]) ** 2).sum(1) / mass
        return _Components(mass / mass.sum(), mean, jnp.maximum(variance, LEAST_VARIANCE))

    def step(_, components):
        # E step: with two components the responsibility is the sigmoid of the log-odds
        return maximise(jax.nn.sigmoid(_log_odds(components, ordered)))

    return jax.lax.fori_loop(0, ITERATIONS, step, maximise(upper))


def _log_odds(components: _Components, value: Array) -> Array:
    """Posterior log-odds of the upper component against the lower one."""
    lower, upper = (
        jnp.log(share) + normal_log_prob(value, mean, jnp.log(variance))
        for share, mean, variance in zip(*components, strict=True)
    )
    return upper - lower


def _crossing(components: _Components, posterior: ArrayLike) -> Array:
    """Value of the required posterior, by bisection between the means; +inf if the upper mean has a lower one."""
    required = jnp.log(jnp.asarray(posterior, jnp.float32)) - jnp.log1p(-jnp.asarray(posterior, jnp.float32))

    low, high = components.mean
    _, limit = bisected(lambda value: _log_odds(components, value) >= required, low, high, HALVINGS)
    return jnp.where((_log_odds(components, high) >= required) & (low < high), limit, jnp.inf)
