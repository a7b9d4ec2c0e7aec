"""Two groups in unlabelled scores: a mixture of two normals, and λ where the upper one takes over."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.numerics import normal_log_prob
from jaxae.scoring.checks import is_traced, require_open_unit
from jaxae.scoring.thresholds.rule import rule
from jaxae.types import Threshold

ITERATIONS = 300
HALVINGS = 40
LEAST_VARIANCE = 1e-6  # relative to the variance of all scores: no group closes in on one score


class _Groups(NamedTuple):
    """The lower group, then the upper: each field `[2]`."""

    share: Array
    mean: Array
    variance: Array


def mixture(posterior: ArrayLike = 0.5, upper_share: ArrayLike = 0.1, log: bool = True) -> Threshold:
    """λ is where the upper of two normal distributions, fitted to the scores by EM, has this posterior probability.

    Reads unlabelled scores alone, as calibration, and is of use only if they hold anomalies that form a group of
    their own. Among clean scores it finds a second group in the tail as well, and λ amid normal examples: then use
    `conformal`. Nothing bounds its errors. λ is +inf where the upper group takes over nowhere up to its mean.

    Args:
      posterior: of the upper group at λ, in (0, 1).
      upper_share: where EM starts: this share of the highest scores is the upper group; in (0, 1).
      log: whether to fit the logarithms of the scores, which squared errors want.

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
        # standardised, so that rounding does not depend on the unit of the score
        center, scale = jnp.mean(values), jnp.std(values)
        limit = center + scale * _crossing(_fit((values - center) / scale, upper_share), posterior)
        return jnp.exp(limit) if log else limit

    return rule(choose)


def _fit(ordered: Array, upper_share: ArrayLike) -> _Groups:
    """Expectation-maximisation on standardised ascending values, from a cut by rank."""
    place = (jnp.arange(ordered.shape[0], dtype=jnp.float32) + 0.5) / ordered.shape[0]
    upper = (place > 1 - jnp.asarray(upper_share, jnp.float32)).astype(jnp.float32)

    def maximise(upper):
        member = jnp.stack([1 - upper, upper])
        mass = jnp.maximum(member.sum(1), 1e-3)
        mean = (member @ ordered) / mass
        variance = (member * (ordered[None] - mean[:, None]) ** 2).sum(1) / mass
        return _Groups(mass / mass.sum(), mean, jnp.maximum(variance, LEAST_VARIANCE))

    def step(_, groups):
        return maximise(jax.nn.sigmoid(_log_odds(groups, ordered)))

    return jax.lax.fori_loop(0, ITERATIONS, step, maximise(upper))


def _log_odds(groups: _Groups, value: Array) -> Array:
    """Of the upper group against the lower."""
    lower, upper = (
        jnp.log(share) + normal_log_prob(value, mean, jnp.log(variance))
        for share, mean, variance in zip(*groups, strict=True)
    )
    return upper - lower


def _crossing(groups: _Groups, posterior: ArrayLike) -> Array:
    """Between the two means, by bisection; +inf where the upper group does not reach the posterior at its mean."""
    wanted = jnp.log(jnp.asarray(posterior, jnp.float32)) - jnp.log1p(-jnp.asarray(posterior, jnp.float32))

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        reached = _log_odds(groups, middle) >= wanted
        return jnp.where(reached, low, middle), jnp.where(reached, middle, high)

    low, high = groups.mean
    limit = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))[1]
    return jnp.where((_log_odds(groups, high) >= wanted) & (low < high), limit, jnp.inf)
