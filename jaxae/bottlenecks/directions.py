"""Vectors of length 1."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import straight_through

# below this length the Jacobian of the normalisation, which is 1 / |a| across, grows no further
LEAST_LENGTH = 1e-3


def unit(a: Array) -> Array:
    """`a / |a|` along the last axis, 0 for a vector of zeros.

    The gradient is that of `a / sqrt(|a|^2 + 1e-6)`: the exact one for lengths above some 1e-2, and at most 1000 for
    vectors near 0, whose direction is noise.

    Args:
      a: `[..., D]` floating.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.directions import unit
      >>> unit(jnp.array([3.0, 4.0])).round(3).tolist(), round(float(jax.grad(lambda a: unit(a)[0])(jnp.zeros(2))[0]))
      ([0.6000000238418579, 0.800000011920929], 1000)
    """
    squared = (a**2).sum(-1, keepdims=True)
    value = a * jax.lax.rsqrt(jnp.where(squared > 0, squared, 1.0))
    return straight_through(value, a * jax.lax.rsqrt(squared + LEAST_LENGTH**2))
