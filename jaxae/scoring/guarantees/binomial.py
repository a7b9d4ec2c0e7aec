"""Binomial tails with full precision in float32, which the regularised beta function loses to lgamma.

At a million trials `betainc` gives a 95 % bound that is off by a third, at ten thousand by 0.2 %; the bounds here are
off by less than 2e-5.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.numerics import LOG_2PI

# log n! minus Stirling's formula for n < 16, where the asymptotic series is not accurate enough
_STIRLING = [0.0] + [
    math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - 0.5 * math.log(2 * math.pi) for n in range(1, 16)
]


def _stirling_error(n: Array) -> Array:
    table = jnp.asarray(_STIRLING, jnp.float32)[jnp.clip(n, 0, 15).astype(jnp.int32)]
    # the first two terms of Stirling's series, 1 / 12 n - 1 / 360 n^3
    large = jnp.maximum(n, 16)
    return jnp.where(n < 16, table, (1 / 12 - 1 / (360 * large**2)) / large)


def _deviance(x: Array, mean: Array, gap: Array) -> Array:
    """`x log(x / mean) + mean - x` for `gap = x - mean`, without cancellation where the two are close."""
    # Loader 2000: with v = (x - mean) / (x + mean), a series in v^2 that has no cancellation
    v = gap / (x + mean)
    series = gap * v + 2 * x * v**3 * (1 / 3 + v**2 * (1 / 5 + v**2 / 7))
    ratio = jnp.where(x > 0, x, 1) / jnp.maximum(mean, jnp.finfo(jnp.float32).tiny)
    return jnp.where(jnp.abs(v) < 0.1, series, x * jnp.log(ratio) - gap)


def log_pmf(k: ArrayLike, n: ArrayLike, p: ArrayLike, q: ArrayLike) -> Float[Array, ""]:
    """Log-probability of k successes in n trials.

    Args:
      k: number of successes, 0 to n.
      n: number of trials.
      p: probability of a success.
      q: `1 - p`, passed separately so that a small value keeps its digits.

    Source: Loader 2000, "Fast and Accurate Computation of Binomial Probabilities".

    Example:
      >>> import math
      >>> from jaxae.scoring.guarantees.binomial import log_pmf
      >>> round(math.exp(float(log_pmf(2, 4, 0.5, 0.5))), 5)
      0.375
    """
    k, n, p, q = (jnp.asarray(value, jnp.float32) for value in (k, n, p, q))
    failures = n - k
    # k - n p loses digits where p is near 1, and n q - (n - k) where q is; both are the same number
    gap = jnp.where(p < q, k - n * p, n * q - failures)
    # Loader 2000: Stirling errors of the factorials, deviances of k and n - k, and sqrt(n / (2 pi k (n - k)))
    within = (
        _stirling_error(n)
        - _stirling_error(k)
        - _stirling_error(failures)
        - _deviance(k, n * p, gap)
        - _deviance(failures, n * q, -gap)
        - 0.5 * (LOG_2PI + jnp.log(jnp.maximum(k, 1) * (jnp.maximum(failures, 1) / n)))
    )
    # k = 0: n log q, k = n: n log p; log1p of the smaller one of p and q keeps the digits
    no_successes = n * jnp.where(p < q, jnp.log1p(-p), jnp.log(q))
    all_successes = n * jnp.where(q < p, jnp.log1p(-q), jnp.log(p))
    return jnp.where(k == 0, no_successes, jnp.where(failures == 0, all_successes, within))


def lower_tail(k: ArrayLike, n: ArrayLike, p: ArrayLike, q: ArrayLike) -> Float[Array, ""]:
    """`P(at most k successes)` for `k <= n p`: the terms fall from k down and are summed until they vanish.

    Args:
      k: number of successes, at most n p.
      n: number of trials.
      p: probability of a success.
      q: `1 - p`, passed separately so that a small value keeps its digits.

    Example:
      >>> from jaxae.scoring.guarantees.binomial import lower_tail
      >>> round(float(lower_tail(1, 4, 0.5, 0.5)), 5)
      0.3125
    """
    k, n, p, q = (jnp.asarray(value, jnp.float32) for value in (k, n, p, q))
    odds = q / jnp.maximum(p, jnp.finfo(jnp.float32).tiny)

    def is_significant(carry):
        _, term, total = carry
        return term > 1e-8 * total

    def add(carry):
        i, term, total = carry
        # P(k - i - 1) / P(k - i) = (k - i) q / ((n - k + i + 1) p)
        term = term * odds * (k - i) / (n - k + 1 + i)
        return i + 1, jnp.maximum(term, 0), total + jnp.maximum(term, 0)

    first_term = jnp.ones_like(odds * k)
    total = jax.lax.while_loop(is_significant, add, (jnp.zeros_like(first_term), first_term, first_term))[2]
    return jnp.minimum(jnp.exp(log_pmf(k, n, p, q)) * total, 1)
