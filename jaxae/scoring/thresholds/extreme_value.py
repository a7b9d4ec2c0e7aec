"""λ beyond the calibration scores: the tail above a high score, extrapolated by extreme-value theory."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import as_number
from jaxae.scoring.checks import is_traced, require_open_unit
from jaxae.scoring.thresholds.rule import rule
from jaxae.types import Threshold

LEAST_PEAKS = 10


class Tail(NamedTuple):
    """A generalised Pareto distribution of what exceeds a level.

    Attributes:
      level: scalar, the score from which on the tail is modelled.
      share: scalar, the share of scores above the level.
      shape: scalar ξ; above 0 the tail is heavy, below 0 it ends.
      scale: scalar σ, in the score's unit.
    """

    level: Float[Array, ""]
    share: Float[Array, ""]
    shape: Float[Array, ""]
    scale: Float[Array, ""]


def extreme_value(alpha: ArrayLike, tail_share: ArrayLike = 0.1) -> Threshold:
    """λ is exceeded with probability alpha if the tail of the scores is generalised Pareto (peaks over threshold).

    `λ = t + σ / ξ ((share / alpha)^ξ - 1)`, t the score above which the tail begins. It reads calibration scores
    alone and goes where `conformal` cannot, to rates below 1 / n; the price is a model in place of a proof. The theory
    holds as the tail gets thin; anomalies among the scores lift λ.

    Args:
      alpha: the false-alarm rate wanted, in (0, 1), below `tail_share`.
      tail_share: the share of the scores that is the tail, in (0, 1).

    Raises:
      ValueError: a number is outside its range; in `fit`, scores are not finite or all equal, fewer than 10 of them
        make the tail, or those are all equal.

    Source: Siffer et al. 2017, "Anomaly Detection in Streams with Extreme Value Theory", equation 1; fitted as Hosking
    and Wallis 1987, "Parameter and Quantile Estimation for the Generalized Pareto Distribution", not by likelihood.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.scoring import thresholds
      >>> scores = jax.random.exponential(jax.random.key(0), (20000,))  # exceeds 9.2 at a rate of 1e-4
      >>> 8.2 < float(thresholds.extreme_value(1e-4).fit(scores)["threshold"]) < 10.2
      True
    """
    require_open_unit("alpha", alpha)
    require_open_unit("tail_share", tail_share)
    rate, share = as_number(alpha), as_number(tail_share)
    if rate is not None and share is not None and rate >= share:
        raise ValueError(f"alpha must be below tail_share, where the tail begins; got {alpha:g} and {tail_share:g}")

    def choose(calibration, dev, labels, weight):
        count = calibration.shape[0]
        if share is not None and int(share * count) < LEAST_PEAKS:
            raise ValueError(
                f"{count} calibration scores leave {int(share * count)} for a tail of {tail_share:g}; "
                f"at least {LEAST_PEAKS} are needed: more scores or a larger tail_share"
            )
        tail = fit_tail(calibration, tail_share)
        if not is_traced(tail.scale) and not np.asarray(tail.scale) > 0:
            raise ValueError(f"calibration scores: the highest {tail_share:g} of them are equal, so they show no tail")
        return tail_quantile(tail, alpha)

    return rule(choose)


def fit_tail(ordered: ArrayLike, tail_share: ArrayLike = 0.1) -> Tail:
    """A generalised Pareto fit to the highest scores by probability-weighted moments.

    With Y the k excesses in ascending order, `a0 = mean(Y)` and `a1 = mean(Y_j (k - j) / (k - 1))`:
    `ξ = 2 - a0 / (a0 - 2 a1)`, `σ = 2 a0 a1 / (a0 - 2 a1)`. Meant for ξ below 1/2.

    Args:
      ordered: `[n]`, ascending.
      tail_share: the share of scores that is the tail, in (0, 1).

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.thresholds.extreme_value import fit_tail
      >>> tail = fit_tail(jnp.arange(1000.0))  # uniform: a tail that ends, ξ = -1
      >>> round(float(tail.shape), 2), round(float(tail.share), 2)
      (-1.0, 0.1)
    """
    ordered = jnp.asarray(ordered, jnp.float32)
    count = ordered.shape[0]
    peaks = jnp.clip(
        jnp.floor(jnp.asarray(tail_share, jnp.float32) * count * (1 + 1e-6)).astype(jnp.int32), 2, count - 1
    )
    level = ordered[count - 1 - peaks]
    above = count - 1 - jnp.arange(count)  # scores of higher rank
    excess = jnp.where(above < peaks, ordered - level, 0)
    first = excess.sum() / peaks
    second = (excess * above / (peaks - 1)).sum() / peaks
    # zero for a tail of equal scores alone, which has no scale
    gap = first - 2 * second
    safe = jnp.where(gap > 0, gap, 1)
    scale = jnp.where(gap > 0, 2 * first * second / safe, 0)
    return Tail(level, peaks / jnp.float32(count), 2 - first / safe, scale)


def tail_quantile(tail: Tail, alpha: ArrayLike) -> Float[Array, ""]:
    """The score exceeded with probability alpha, at most the tail's share.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.thresholds.extreme_value import Tail, tail_quantile
      >>> float(tail_quantile(Tail(*map(jnp.float32, (3.0, 0.1, 1.0, 2.0))), 0.05))
      5.0
    """
    ratio = jnp.log(tail.share) - jnp.log(jnp.asarray(alpha, jnp.float32))
    near_zero = jnp.abs(tail.shape) < 1e-6
    shape = jnp.where(near_zero, 1, tail.shape)
    return tail.level + tail.scale * jnp.where(near_zero, ratio, jnp.expm1(shape * ratio) / shape)
