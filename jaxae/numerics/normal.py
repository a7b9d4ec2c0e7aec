"""The normal distribution with a log-variance, as networks give it."""

import math

import jax.numpy as jnp
from jax import Array

LOG_2PI = math.log(2 * math.pi)


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
