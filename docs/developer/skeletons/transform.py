"""A corruption of images and tables: each example gets brighter or fainter as a whole."""

import math

import jax
import jax.numpy as jnp

from jaxae.numerics import as_number, target_of
from jaxae.testing import check_transform
from jaxae.types import Transform


def random_gain(spread: float = 0.3) -> Transform:
    """Corruption: multiplies each example by `exp(spread * e)`, e standard normal. The target stays uncorrupted.

    Args:
      spread: standard deviation of the gain's logarithm, above 0.

    Raises:
      ValueError: spread is not above 0 and finite.

    Example:
      >>> from jaxae.types import Batch
      >>> batch = random_gain()(jax.random.key(0), Batch(jnp.ones((3, 2))))
      >>> batch.x.shape, batch.target.tolist()
      ((3, 2), [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    """
    if (number := as_number(spread)) is not None and not 0 < number < math.inf:
        raise ValueError(f"random_gain: spread must be above 0 and finite, got {spread}")

    def apply(rng, batch):
        if rng is None:  # evaluation reads the uncorrupted example
            return batch
        axes = (batch.x.shape[0],) + (1,) * (batch.x.ndim - 1)
        gain = jnp.exp(spread * jax.random.normal(rng, axes))
        return batch._replace(x=batch.x * gain, target=target_of(batch))

    return apply


def test_random_gain_keeps_the_contract():
    check_transform(random_gain())
