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
    # log N(x; m, s^2) = -((x - m)^2 / s^2 + log s^2 + log 2 pi) / 2
    return -0.5 * ((x - mean) ** 2 * jnp.exp(-log_variance) + log_variance + LOG_2PI)


def bounded_log_variance(raw: Array, bound: float = 10.0) -> Array:
    """Keep a network's log-variance within ±bound smoothly, so that its exponential cannot overflow.

    Args:
      raw: a network's output, of any shape.
      bound: limit of the log-variance, nats; 10 keeps standard deviations between 0.007 and 148.
    """
    # tanh, not a clip: the gradient stays above 0, so a log-variance at the bound can come back
    return bound * jnp.tanh(raw / bound)
