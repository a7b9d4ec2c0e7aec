"""Small numerical building blocks that several rooms share."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer
from jax.lax import stop_gradient
from jaxtyping import Shaped

from jaxae.types import Batch, PyTree

LOG_2PI = math.log(2 * math.pi)


def is_traced(*values: object) -> bool:
    """Whether any of these is known by its shape alone (under `jit`, `vmap`, `grad`)."""
    return any(isinstance(value, Tracer) for value in values)


def as_batch(x: PyTree) -> Batch:
    """A `Batch` of `x`; a `Batch` comes back as it is.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import as_batch
      >>> as_batch(jnp.zeros((2, 3))).x.shape
      (2, 3)
    """
    return x if isinstance(x, Batch) else Batch(x)


def target_of(batch: Batch) -> PyTree:
    """What the likelihood scores: `batch.target`, or `batch.x` where there is none."""
    return batch.x if batch.target is None else batch.target


def weight_of(batch: Batch, like: Array) -> Array:
    """`batch.weight`, or ones of the shape of `like` (`[B]`)."""
    return jnp.ones_like(like) if batch.weight is None else batch.weight.astype(like.dtype)


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
    return values.sum(range(1, values.ndim))


def mean_per_example(values: Shaped[Array, "B *dims"], mask: Array | None = None) -> Shaped[Array, " B"]:
    """Mean over all axes but the first; with a mask, over the elements that count (0 where none does).

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import mean_per_example
      >>> mean_per_example(jnp.array([[1.0, 3.0]]), jnp.array([[0.0, 1.0]])).tolist()
      [3.0]
    """
    if mask is None:
        return values.mean(range(1, values.ndim))
    count = sum_per_example(jnp.broadcast_to(mask, values.shape).astype(values.dtype))
    return sum_per_example(values, mask) / jnp.maximum(count, jnp.finfo(values.dtype).tiny)


def weighted_mean(values: Shaped[Array, "B *dims"], weight: Shaped[Array, " B"]) -> Shaped[Array, " *dims"]:
    """Mean over the rows of a batch: sum, then divide; rows of weight 0 count for nothing, NaN or not.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import weighted_mean
      >>> weighted_mean(jnp.array([[1.0], [3.0], [jnp.nan]]), jnp.array([1.0, 1.0, 0.0])).tolist()
      [2.0]
    """
    along = weight.reshape(-1, *(1,) * (values.ndim - 1))
    total = jnp.where(along > 0, values * along, 0).sum(0)
    return total / jnp.maximum(weight.sum(), jnp.finfo(weight.dtype).tiny)


def straight_through(hard: Array, soft: Array) -> Array:
    """The value of `hard`, bit for bit, with the gradient of `soft`.

    `soft + stop_gradient(hard - soft)` rounds: it differs from `hard` in about a third of all values. Here the
    added term is exactly zero.

    Source: Bengio, Leonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons".

    Example:
      >>> import jax
      >>> from jaxae.numerics import straight_through
      >>> float(jax.grad(lambda x: straight_through(jax.numpy.round(x), x))(0.7))
      1.0
    """
    return stop_gradient(hard) + (soft - stop_gradient(soft))


def normal_log_prob(x: Array, mean: Array, log_variance: Array) -> Array:
    """Log-density of a normal distribution, nats per element.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import normal_log_prob
      >>> round(float(normal_log_prob(jnp.float32(0), jnp.float32(0), jnp.float32(0))), 4)
      -0.9189
    """
    return -0.5 * ((x - mean) ** 2 * jnp.exp(-log_variance) + log_variance + LOG_2PI)


def bounded_log_variance(raw: Array, bound: float = 10.0) -> Array:
    """Keep a network's log-variance within ±bound smoothly, so that its exponential cannot overflow."""
    return bound * jnp.tanh(raw / bound)


def split_keys(rng: Array | None, num: int) -> tuple:
    """`num` keys from one; `num` times None from None, so that deterministic calls stay so."""
    return (None,) * num if rng is None else tuple(jax.random.split(rng, num))


def at_step(weight: float | Array | Callable, step: Array | int) -> Array | float:
    """A schedule's value at a step; a number (perhaps traced, for a vmap over it) is its own value."""
    return weight(step) if callable(weight) else weight


def first_nonfinite(tree: PyTree) -> tuple[int, int]:
    """How many elements of a floating array are NaN or infinite, and the flat index of the first (-1: none)."""
    import numpy as np

    values = np.asarray(tree)
    if not np.issubdtype(values.dtype, np.floating):
        return 0, -1
    bad = ~np.isfinite(values.ravel())
    return int(bad.sum()), int(bad.argmax()) if bad.any() else -1
