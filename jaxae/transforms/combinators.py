"""Transforms made of transforms, and of none."""

import jax

from jaxae.numerics import target_of
from jaxae.types import Transform


def chain(*transforms: Transform) -> Transform:
    """The transforms one after the other, each with a key of its own.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> both = transforms.chain(transforms.scale_uint8(), transforms.gaussian_noise(0.1))
      >>> batch = both(jax.random.key(0), Batch(jnp.full((2, 3), 255, jnp.uint8)))
      >>> batch.target.tolist()[0]
      [1.0, 1.0, 1.0]
    """

    def apply(rng, batch):
        keys = (None,) * len(transforms) if rng is None else jax.random.split(rng, len(transforms))
        for transform, key in zip(transforms, keys, strict=True):
            batch = transform(key, batch)
        return batch

    return apply


def condition_on_input() -> Transform:
    """Sets `Batch.condition` to the target, or to `x` where there is none: for decoders that read the image's own
    pixels (`networks.local_autoregressive`). The last of a chain, so that they read what the likelihood scores.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> transforms.condition_on_input()(None, Batch(jnp.ones((2, 3)))).condition.shape
      (2, 3)
    """
    return lambda rng, batch: batch._replace(condition=target_of(batch))
