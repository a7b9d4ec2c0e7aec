"""Corruption: `x` alone is changed, and the uncorrupted value is kept as `target`."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxae.numerics import as_number, require_real, require_whole, target_of
from jaxae.types import Transform


def gaussian_noise(scale: ArrayLike) -> Transform:
    """Corruption: adds normal noise.

    Args:
      scale: standard deviation of the noise, in the data's unit, >= 0.

    Raises:
      ValueError: scale is negative or not finite.

    Source: Vincent et al. 2010, "Stacked Denoising Autoencoders", section 3.3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> noisy = transforms.gaussian_noise(0.5)(jax.random.key(0), Batch(jnp.zeros((1, 4))))
      >>> bool((noisy.x != 0).all()), noisy.target.tolist()
      (True, [[0.0, 0.0, 0.0, 0.0]])
    """
    if (number := as_number(scale)) is not None and not (math.isfinite(number) and number >= 0):
        raise ValueError(f"gaussian_noise: scale must be a finite number >= 0, got {scale}")
    return _corruption(lambda rng, x: x + scale * jax.random.normal(rng, x.shape, x.dtype))


def log_uniform_noise(low: float, high: float) -> Transform:
    """Corruption: normal noise whose standard deviation is drawn for every example, uniform in its logarithm.

    One model learns to remove small and large noise alike, where the size that separates anomalies is not known.

    Args:
      low: least standard deviation, in the data's unit, > 0.
      high: largest standard deviation, in the data's unit, at least `low`.

    Raises:
      ValueError: the deviations are not finite, positive and in order.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> noisy = transforms.log_uniform_noise(0.01, 1.0)(jax.random.key(0), Batch(jnp.zeros((100, 400))))
      >>> 0.008 < float(noisy.x.std(-1).min()) < 0.02, 0.5 < float(noisy.x.std(-1).max()) < 1.2
      (True, True)
    """
    if not (math.isfinite(high) and 0 < low <= high):
        raise ValueError(f"log_uniform_noise: deviations must be finite with 0 < low <= high, got {low} and {high}")

    def corrupt(rng, x):
        size_rng, noise_rng = jax.random.split(rng)
        shape = (x.shape[0], *(1,) * (x.ndim - 1))
        # one deviation an example, broadcast over its elements
        deviation = jnp.exp(jax.random.uniform(size_rng, shape, minval=math.log(low), maxval=math.log(high)))
        return x + deviation.astype(x.dtype) * jax.random.normal(noise_rng, x.shape, x.dtype)

    return _corruption(corrupt)


def feature_dropout(rate: ArrayLike) -> Transform:
    """Corruption: sets each element to 0 at random, without rescaling the others.

    Args:
      rate: probability that an element is set to 0, in [0, 1).

    Raises:
      ValueError: rate is not in [0, 1).

    Source: Vincent et al. 2008, "Extracting and Composing Robust Features with Denoising Autoencoders".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> x = transforms.feature_dropout(0.5)(jax.random.key(0), Batch(jnp.ones((1, 1000)))).x
      >>> 400 < int((x == 0).sum()) < 600
      True
    """
    _check_rate("feature_dropout", rate)
    return _corruption(lambda rng, x: jnp.where(jax.random.bernoulli(rng, rate, x.shape), jnp.zeros_like(x), x))


def salt_and_pepper(rate: ArrayLike, low: float = 0.0, high: float = 1.0) -> Transform:
    """Corruption: replaces random elements by `low` or `high`, equally often.

    Args:
      rate: probability that an element is replaced, in [0, 1).
      low: value of "pepper", in the data's unit.
      high: value of "salt", in the data's unit.

    Raises:
      ValueError: rate is not in [0, 1).

    Source: Vincent et al. 2010, section 3.3.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> x = transforms.salt_and_pepper(0.5)(jax.random.key(0), Batch(jnp.full((1, 99), 0.5))).x
      >>> sorted(set(x.ravel().tolist()))
      [0.0, 0.5, 1.0]
    """
    _check_rate("salt_and_pepper", rate)

    def corrupt(rng, x):
        # one uniform draw decides all three outcomes: the lowest rate / 2 is pepper, the next rate / 2 salt
        u = jax.random.uniform(rng, x.shape)
        return jnp.where(u < rate / 2, low, jnp.where(u < rate, high, x)).astype(x.dtype)

    return _corruption(corrupt)


def patch_mask(patch: int, rate: float) -> Transform:
    """Corruption: hides whole square patches of an image (sets them to 0); the loss counts the hidden ones alone.

    The same number of patches, `round(rate * patches)` and at least one, is hidden in every image. `mask` is 1 on
    hidden pixels (times the batch's own mask, if it has one). An image side that is not a multiple of `patch` has
    smaller patches at its far edge.

    Args:
      patch: side of a square patch, pixels, at least 1.
      rate: fraction of the patches that is hidden, in (0, 1).

    Raises:
      ValueError: patch < 1, rate outside (0, 1), or `x` is not `[B, H, W, C]`.

    Source: He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> batch = transforms.patch_mask(2, 0.5)(jax.random.key(0), Batch(jnp.ones((1, 4, 4, 1))))
      >>> int(batch.mask.sum()), float((batch.x * batch.mask).sum())
      (8, 0.0)
    """
    _check_rate("patch_mask", rate)
    require_whole("patch_mask", patch=patch)
    if patch < 1 or rate == 0:
        raise ValueError(f"patch_mask: patch must be at least 1 and rate above 0, got patch {patch}, rate {rate}")

    def apply(rng, batch):
        if rng is None:
            return batch
        if batch.x.ndim != 4:
            raise ValueError(f"patch_mask: images must be [B, H, W, C], got shape {batch.x.shape}")
        b, height, width, _ = batch.x.shape
        rows, columns = -(-height // patch), -(-width // patch)
        # a fixed number per image: the loss then has the same number of elements in every example
        hidden = max(1, round(rate * rows * columns))
        # the ranks of uniform draws are a random permutation: each image hides exactly `hidden` patches
        rank = jnp.argsort(jnp.argsort(jax.random.uniform(rng, (b, rows * columns)), -1), -1)
        # patches to pixels; the last patch of an axis may be cut
        grid = (rank < hidden).reshape(b, rows, columns)
        mask = jnp.repeat(jnp.repeat(grid, patch, 1), patch, 2)[:, :height, :width, None]
        mask = jnp.broadcast_to(mask, batch.x.shape).astype(jnp.float32)
        # an element counts if it is hidden and was observed
        counted = mask if batch.mask is None else mask * batch.mask
        return batch._replace(x=batch.x * (1 - mask), target=target_of(batch), mask=counted)

    return apply


def _corruption(corrupt):
    # no key: evaluation reads the uncorrupted example
    def apply(rng, batch):
        if rng is None:
            return batch
        return batch._replace(x=corrupt(rng, batch.x), target=target_of(batch))

    return apply


def _check_rate(owner, rate):
    require_real(owner, rate=rate)
    if (number := as_number(rate)) is not None and not 0 <= number < 1:
        raise ValueError(f"{owner}: rate must be in [0, 1), got {rate}")
