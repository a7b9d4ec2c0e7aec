"""Grey levels as classes, for pixels scaled to 0..1."""

import jax.numpy as jnp

from jaxae.likelihoods.basic import categorical
from jaxae.types import Likelihood


def pixel_levels(num_levels: int = 256) -> Likelihood:
    """`categorical(num_levels)` for pixels in 0..1: level `l` stands for `l / (num_levels - 1)`.

    The probability is that of the nearest level, which is exact for pixels from `transforms.scale_uint8`. Values
    outside 0..1 give NaN. A decoder gives `num_levels` channels for each data channel.

    Args:
      num_levels: number of grey levels, at least 2.

    Returns:
      A `Likelihood`; mean and samples are in 0..1.

    Raises:
      ValueError: num_levels is not a whole number of at least 2.

    Source: van den Oord et al. 2016, "Pixel Recurrent Neural Networks", section 3.4.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import likelihoods
      >>> levels = likelihoods.pixel_levels(256)
      >>> round(float(levels.log_prob(jnp.full((1, 1), 0.2), jnp.zeros((1, 256)))[0, 0]), 4)
      -5.5452
    """
    classes, top = categorical(num_levels), num_levels - 1
    return Likelihood(
        num_params=num_levels,
        # the nearest level: scaled bytes are exact multiples of 1 / top up to rounding
        log_prob=lambda x, prediction: classes.log_prob(jnp.round(x * top), prediction),
        mean=lambda prediction: classes.mean(prediction) / top,
        sample=lambda rng, prediction: classes.sample(rng, prediction).astype(jnp.float32) / top,
    )
