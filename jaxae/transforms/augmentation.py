"""Other views of an image: moved, turned, stretched; and its edges."""

import math

import jax.numpy as jnp

from jaxae.numerics import filters
from jaxae.types import Transform


def random_affine(
    shift: float | int = 2, rotation: float | int = 10, scale: float | int = 0.1, shear: float | int = 0
) -> Transform:
    """Augmentation: every image is shifted, turned, stretched and sheared by amounts of its own, about its centre.

    Only `x` changes. A target of its own, such as a label, stays; without one the model rebuilds what it sees. Values
    are interpolated linearly and are 0 outside of the image. Without a key images come back as they are.

    Args:
      shift: at most so many pixels along each axis.
      rotation: at most so many degrees, either way.
      scale: each axis is stretched by a factor in `1 - scale .. 1 + scale`, in [0, 1).
      shear: at most so many pixels per pixel.

    Raises:
      ValueError: an amount is negative or not finite, `scale` is not below 1; (in use) `x` is not `[B, H, W, C]`.

    Source: Simard, Steinkraus and Platt 2003, "Best Practices for Convolutional Neural Networks", section 2.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> moved = transforms.random_affine(shift=3)(jax.random.key(0), Batch(jnp.ones((2, 8, 8, 1))))
      >>> moved.x.shape, bool(moved.x.min() < 1), moved.target
      ((2, 8, 8, 1), True, None)
    """
    amounts = {"shift": shift, "rotation": rotation, "scale": scale, "shear": shear}
    if any(not (math.isfinite(a) and a >= 0) for a in amounts.values()) or scale >= 1:
        raise ValueError(f"random_affine: amounts must be finite and >= 0, scale below 1; got {amounts}")

    def apply(rng, batch):
        if rng is None:
            return batch
        if batch.x.ndim != 4:
            raise ValueError(f"random_affine: images must be [B, H, W, C], got shape {batch.x.shape}")
        return batch._replace(x=filters.warped(batch.x, *filters.affine_draws(rng, batch.x.shape[0], **amounts)))

    return apply


def oriented_gradients(fine: float = 0.7, coarse: float = 1.5, stride: int = 2) -> Transform:
    """Images to maps of their edges, `x` and `target` alike; see `filters.oriented_gradients`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> transforms.oriented_gradients()(None, Batch(jnp.zeros((2, 28, 28, 1)))).x.shape
      (2, 14, 14, 4)
    """

    def maps(images):
        return filters.oriented_gradients(jnp.asarray(images), fine, coarse, stride)

    return lambda rng, batch: batch._replace(
        x=maps(batch.x), target=None if batch.target is None else maps(batch.target)
    )
