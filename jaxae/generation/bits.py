"""Bits per dimension: what it costs to send an example as its codes and what they leave open."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import log_ndtr


def bits_per_dimension(nats: Array, num_dimensions: int) -> Array:
    """`nats / (num_dimensions log 2)`.

    Args:
      nats: of whole examples, e.g. `-prior.log_prob(symbols)` plus what the decoder leaves.
      num_dimensions: numbers in one example, at least 1.

    Raises:
      ValueError: num_dimensions < 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.generation import bits_per_dimension
      >>> round(float(bits_per_dimension(16 * jnp.log(512.0), 784)), 4)  # 16 codes of a book of 512, 784 pixels
      0.1837
    """
    if num_dimensions < 1:
        raise ValueError(f"bits_per_dimension: there must be at least one dimension, got {num_dimensions}")
    return nats / (num_dimensions * math.log(2))


def discretized_normal(pixels: Array, mean: Array, scale: Array) -> Array:
    """`log p` of bytes under a normal distribution cut into 256 levels, nats per element.

    Level `l` has the mass of `N(mean, scale^2)` between `(l - 1/2) / 255` and `(l + 1/2) / 255`; what lies below the
    first or above the last level counts to it, so that the 256 sum to 1. A density has no bits per dimension that
    could be compared with those of other models; this has.

    Args:
      pixels: 0..255, of an integer or a floating type.
      mean: like the pixels, in 0..1: a reconstruction.
      scale: broadcastable to them, above 0, in the unit of the mean: the decoder's error, of all pixels or of each.

    Source: the cut is that of Salimans et al. 2017, "PixelCNN++", equation 2, with a normal for the logistic.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.generation import discretized_normal
      >>> log_p = discretized_normal(jnp.arange(256), jnp.full(256, 0.3), jnp.float32(0.1))
      >>> round(float(jnp.exp(log_p).sum()), 4)
      1.0
    """
    level = pixels.astype(jnp.float32)
    low = jnp.where(level <= 0, -jnp.inf, ((level - 0.5) / 255 - mean) / scale)
    high = jnp.where(level >= 255, jnp.inf, ((level + 0.5) / 255 - mean) / scale)
    # in the upper tail both masses round to 1: take those of its mirror image
    flip = low > 0
    low, high = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    far = log_ndtr(high)
    return far + jax.nn.log1mexp(far - log_ndtr(low))
