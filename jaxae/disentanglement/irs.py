"""The interventional robustness score: how little a code changes while other factors change."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.disentanglement.checks import checked
from jaxae.numerics import require_within


def irs(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    factor_sizes: Sequence[int] | None = None,
    quantile: float = 0.99,
) -> Float[Array, ""]:
    """`sum_d w_d max_f (1 - mean_v Q(|z_d - E[z_d | v_f = v]|) / m_d)`, `m_d = max |z_d - E z_d|` and `w = m / sum m`.

    Q is a quantile over the rows with that value. Dimensions that are constant do not count.

    Args:
      codes: `[N, D]`, finite.
      factors: `[N, F]` whole numbers 0..K-1.
      factor_sizes: number of values of each factor; needed where factors are traced.
      quantile: quantile level of Q in (0, 1]; 1 is the paper's maximum.

    Returns:
      A scalar in 0..1; 0 where all dimensions are constant.

    Raises:
      ValueError: see `checks.checked`.

    Source: Suter, Miladinovic, Schoelkopf and Bauer 2019, "Robustly Disentangled Causal Mechanisms"; the quantile 0.99
    is that of Locatello et al. 2019.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import irs
      >>> factors = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
      >>> float(irs(factors.astype(jnp.float32), factors))
      1.0
    """
    rows, classes, sizes = checked(codes, factors, factor_sizes)
    require_within("quantile", quantile, "[0, 1]")
    greatest = jnp.abs(rows - rows.mean(0, keepdims=True)).max(0)

    def spread(column, values, size):
        """Mean over the values that occur of the quantile of distances to that value's mean."""
        count = jnp.zeros(size).at[values].add(1)
        middle = jnp.zeros(size).at[values].add(column) / jnp.maximum(count, 1)
        distances = jnp.abs(column - middle[values])
        # sorted within each value: a value's rows are contiguous, its quantile is at `position`
        distances = distances[jnp.lexsort((distances, values))]
        position = jnp.cumsum(count) - count + quantile * jnp.maximum(count - 1, 0)
        low = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, len(column) - 1)
        # linear between order statistics, as numpy.quantile
        fraction = position - jnp.floor(position)
        quantiles = distances[low] * (1 - fraction) + distances[jnp.minimum(low + 1, len(column) - 1)] * fraction
        return jnp.sum(jnp.where(count > 0, quantiles, 0)) / jnp.maximum((count > 0).sum(), 1)

    spreads = [
        jax.vmap(lambda column, f=f, size=size: spread(column, classes[:, f], size), 1)(rows)
        for f, size in enumerate(sizes)
    ]
    # relative to the largest deviation of the dimension: 1 where the factor's value determines the code
    robust = 1 - jnp.stack(spreads, 1) / jnp.where(greatest > 0, greatest, 1)[:, None]
    weight = jnp.where(greatest > 0, greatest, 0)
    return jnp.clip(jnp.sum(robust.max(1) * weight) / jnp.where(weight.sum() > 0, weight.sum(), 1), 0, 1)
