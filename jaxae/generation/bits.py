"""Bits per dimension: the code length of an example, as its symbols and the residual that they leave."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import log_ndtr
from jax.typing import ArrayLike

from jaxae.numerics import is_traced, real_array, require_count


def bits_per_dimension(nats: ArrayLike, num_dimensions: int) -> Array:
    """`nats / (num_dimensions log 2)`.

    Args:
      nats: `[B]`, code length of each example, e.g. `-prior.log_prob(symbols)` plus the decoder's negative
        log-likelihood.
      num_dimensions: number of elements of an example, at least 1.

    Raises:
      ValueError: num_dimensions < 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.generation import bits_per_dimension
      >>> round(float(bits_per_dimension(16 * jnp.log(512.0), 784)), 4)  # 16 codes of a book of 512, 784 pixels
      0.1837
    """
    num_dimensions = require_count("num_dimensions", num_dimensions)
    nats = jnp.asarray(real_array("nats", nats), jnp.float32)
    # 1 bit is log 2 nats
    return nats / (num_dimensions * math.log(2))


def discretized_normal(pixels: ArrayLike, mean: ArrayLike, scale: ArrayLike) -> Array:
    """`log p` of bytes under a normal distribution discretized to 256 levels, nats per element.

    Level `l` has the mass of `N(mean, scale^2)` between `(l - 1/2) / 255` and `(l + 1/2) / 255`. The tails below the
    first and above the last level count to those levels, so that the 256 masses sum to 1. Unlike a density it gives
    bits per dimension that are comparable between models.

    Args:
      pixels: levels 0..255, integer or floating.
      mean: reconstruction of the pixels in 0..1, of the same shape.
      scale: standard deviation of the decoder's error, in the unit of the mean, > 0; broadcastable to the pixels.

    Source: the discretization is that of Salimans et al. 2017, "PixelCNN++", equation 2, with a normal for the
    logistic.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.generation import discretized_normal
      >>> log_p = discretized_normal(jnp.arange(256), jnp.full(256, 0.3), jnp.float32(0.1))
      >>> round(float(jnp.exp(log_p).sum()), 4)
      1.0
    """
    level, mean, scale = (
        jnp.asarray(real_array(name, values), jnp.float32)
        for name, values in (("pixels", pixels), ("mean", mean), ("scale", scale))
    )
    try:
        np.broadcast_shapes(level.shape, mean.shape, scale.shape)
    except ValueError:
        shapes = f"{level.shape}, {mean.shape} and {scale.shape}"
        raise ValueError(f"pixels, mean and scale must fit; got shapes {shapes}") from None
    if not is_traced(scale) and not (np.asarray(scale) > 0).all():
        raise ValueError(f"scale must be above 0 everywhere; the least is {np.min(np.asarray(scale)):g}")
    low = jnp.where(level <= 0, -jnp.inf, ((level - 0.5) / 255 - mean) / scale)
    high = jnp.where(level >= 255, jnp.inf, ((level + 0.5) / 255 - mean) / scale)
    # in the upper tail both distribution functions round to 1: use the mirrored interval in the lower tail
    flip = low > 0
    low, high = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    # log(P(high) - P(low)) = log P(high) + log(1 - exp(log P(low) - log P(high)))
    log_high = log_ndtr(high)
    return log_high + jax.nn.log1mexp(log_high - log_ndtr(low))
