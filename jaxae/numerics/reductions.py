"""Sums and means over the elements of an example, and over the examples of a batch."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Shaped


def sum_per_example(values: Shaped[Array, "B *dims"], mask: Array | None = None) -> Shaped[Array, " B"]:
    """Sum over all axes but the first; with a mask (broadcastable to `values`), of the unmasked elements only.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import sum_per_example
      >>> sum_per_example(jnp.ones((2, 3, 4))).tolist()
      [12.0, 12.0]
    """
    if mask is not None:
        # where, not a product: a masked element may be infinite or NaN (a missing value)
        values = jnp.where(jnp.broadcast_to(mask, values.shape) > 0, values * mask, 0)
    return values.sum(tuple(range(1, values.ndim)))


def mean_per_example(values: Shaped[Array, "B *dims"], mask: Array | None = None) -> Shaped[Array, " B"]:
    """Mean over all axes but the first; with a mask, over the elements that count (0 where none does).

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import mean_per_example
      >>> mean_per_example(jnp.array([[1.0, 3.0]]), jnp.array([[0.0, 1.0]])).tolist()
      [3.0]
    """
    if mask is None:
        return values.mean(tuple(range(1, values.ndim)))
    count = sum_per_example(jnp.broadcast_to(mask, values.shape).astype(values.dtype))
    # tiny: 0 / tiny is 0 where no element counts
    return sum_per_example(values, mask) / jnp.maximum(count, jnp.finfo(values.dtype).tiny)


def weighted_mean(values: Shaped[Array, "B *dims"], weight: Shaped[Array, " B"]) -> Shaped[Array, " *dims"]:
    """Mean over the rows of a batch: sum, then divide; rows of weight 0 do not count, even where they are NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import weighted_mean
      >>> weighted_mean(jnp.array([[1.0], [3.0], [jnp.nan]]), jnp.array([1.0, 1.0, 0.0])).tolist()
      [2.0]
    """
    row_weight = weight.reshape(-1, *(1,) * (values.ndim - 1))
    total = jnp.where(row_weight > 0, values * row_weight, 0).sum(0)
    return total / jnp.maximum(weight.sum(), jnp.finfo(weight.dtype).tiny)
