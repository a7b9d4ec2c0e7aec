"""Transforms, `(rng, Batch) -> Batch`: scaling, binarisation and corruption.

A scaling or a binarisation acts on `x` and on `target` alike. A corruption changes `x` alone and keeps the
uncorrupted value as `target`: otherwise a network would be taught to copy the noise. `objectives.prepared` and
`scoring.prepared` put a transform in front of an objective or a scorer, so that a saved detector carries its own.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxae import filters
from jaxae.numerics import target_of
from jaxae.types import Batch

Transform = Callable[[Array | None, Batch], Batch]


class Standardisation(NamedTuple):
    """Mean and scale of a table's columns over the training rows, each `[D]` float32."""

    mean: np.ndarray
    scale: np.ndarray


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


def scale_uint8() -> Transform:
    """Pixels 0..255 (uint8) to 0..1 (float32); what is floating already passes through.

    Pixels travel to the device as bytes and are scaled there: a quarter of the traffic.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> transforms.scale_uint8()(None, Batch(jnp.array([[0, 255]], jnp.uint8))).x.tolist()
      [[0.0, 1.0]]
    """

    def scale(values):
        if values is None or values.dtype != jnp.uint8:
            return values
        return values.astype(jnp.float32) / 255.0

    return lambda rng, batch: batch._replace(x=scale(batch.x), target=scale(batch.target))


def standardise(mean: Array, scale: Array) -> Transform:
    """`(x - mean) / scale` on `x` and `target`, with statistics of the training data.

    Args:
      mean: like one example, or broadcastable to it.
      scale: the same, > 0; `fit_standardise` makes both.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> transforms.standardise(jnp.ones(2), jnp.full(2, 2.0))(None, Batch(jnp.array([[3.0, 1.0]]))).x.tolist()
      [[1.0, 0.0]]
    """

    def scaled(values):
        return None if values is None else (values.astype(jnp.float32) - mean[None]) / scale[None]

    return lambda rng, batch: batch._replace(x=scaled(batch.x), target=scaled(batch.target))


def fit_standardise(x: Array) -> Transform:
    """`standardise` with the mean and standard deviation of the rows of `x`; constant features keep scale 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> rows = jnp.array([[0.0, 7.0], [2.0, 7.0]])
      >>> transforms.fit_standardise(rows)(None, Batch(rows)).x.tolist()
      [[-1.0, 0.0], [1.0, 0.0]]
    """
    return standardise(*map(jnp.asarray, standardisation(np.asarray(x))))


def standardisation(x: np.ndarray) -> Standardisation:
    """Mean and standard deviation of the rows of `x`, `[N, ...]`; constant features get scale 1.

    Example:
      >>> import numpy as np
      >>> from jaxae import transforms
      >>> transforms.standardisation(np.array([[0.0, 7.0], [2.0, 7.0]])).scale.tolist()
      [1.0, 1.0]
    """
    deviation = x.std(0, dtype=np.float64)
    # rounding leaves a constant feature of size m a deviation of about 1e-7 m; dividing by that invents outliers
    floor = 1e-6 * np.maximum(1.0, np.abs(x).max(0))
    scale = np.where(deviation > floor, deviation, 1.0)
    return Standardisation(x.mean(0, dtype=np.float64).astype(np.float32), scale.astype(np.float32))


def binarise() -> Transform:
    """Dynamic binarisation: each element in 0..1 becomes 1 with that probability, anew at every call.

    Without a key (`rng=None`) the value is rounded at 1/2. `x` and `target` get the same draws where they are the
    same array; a separate target gets draws of its own.

    Source: Salakhutdinov and Murray 2008; dynamic as in Burda et al. 2016, section 5.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import transforms
      >>> from jaxae.types import Batch
      >>> transforms.binarise()(jax.random.key(0), Batch(jnp.array([[0.0, 1.0]]))).x.tolist()
      [[0.0, 1.0]]
    """

    def draw(rng, values):
        if rng is None:
            return (values >= 0.5).astype(jnp.float32)
        return jax.random.bernoulli(rng, values).astype(jnp.float32)

    def apply(rng, batch):
        kx, kt = (None, None) if rng is None else jax.random.split(rng)
        target = None if batch.target is None else draw(kt, batch.target)
        return batch._replace(x=draw(kx, batch.x), target=target)

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


def gaussian_noise(scale: float | Array) -> Transform:
    """Corruption: adds normal noise of standard deviation `scale`, in the data's unit.

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
    if isinstance(scale, int | float) and not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"gaussian_noise: scale must be a finite number >= 0, got {scale}")
    return _corruption(lambda rng, x: x + scale * jax.random.normal(rng, x.shape, x.dtype))


def log_uniform_noise(low: float, high: float) -> Transform:
    """Corruption: normal noise whose deviation is drawn anew for every example, uniform in its logarithm.

    One model learns to take out small and large deviations alike, where the size that tells anomalies is not known.

    Args:
      low: the least standard deviation, in the data's unit, > 0.
      high: the largest, at least `low`.

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
        each = (x.shape[0], *(1,) * (x.ndim - 1))
        size = jnp.exp(jax.random.uniform(size_rng, each, minval=math.log(low), maxval=math.log(high)))
        return x + size.astype(x.dtype) * jax.random.normal(noise_rng, x.shape, x.dtype)

    return _corruption(corrupt)


def feature_dropout(rate: float | Array) -> Transform:
    """Corruption: sets each element to 0 with probability `rate`, without rescaling the others.

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


def salt_and_pepper(rate: float | Array, low: float = 0.0, high: float = 1.0) -> Transform:
    """Corruption: replaces each element with probability `rate` by `low` or `high`, equally often.

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
        u = jax.random.uniform(rng, x.shape)
        return jnp.where(u < rate / 2, low, jnp.where(u < rate, high, x)).astype(x.dtype)

    return _corruption(corrupt)


def patch_mask(patch: int, rate: float) -> Transform:
    """Corruption: hides whole square patches of an image (sets them to 0); the loss counts the hidden ones alone.

    The same number of patches, `round(rate * patches)` and at least one, is hidden in every image. `mask` is 1 on
    hidden pixels (times the batch's own mask, if it has one). An image side that is not a multiple of `patch` has
    smaller patches at its far edge.

    Args:
      patch: side of a patch, pixels.
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
    if patch < 1 or rate == 0:
        raise ValueError(f"patch_mask: patch must be at least 1 and rate above 0, got patch {patch}, rate {rate}")

    def apply(rng, batch):
        if rng is None:
            return batch
        if batch.x.ndim != 4:
            raise ValueError(f"patch_mask: images must be [B, H, W, C], got shape {batch.x.shape}")
        b, height, width, _ = batch.x.shape
        rows, columns = -(-height // patch), -(-width // patch)
        hidden = max(1, round(rate * rows * columns))
        rank = jnp.argsort(jnp.argsort(jax.random.uniform(rng, (b, rows * columns)), -1), -1)
        grid = (rank < hidden).reshape(b, rows, columns)
        mask = jnp.repeat(jnp.repeat(grid, patch, 1), patch, 2)[:, :height, :width, None]
        mask = jnp.broadcast_to(mask, batch.x.shape).astype(jnp.float32)
        counted = mask if batch.mask is None else mask * batch.mask
        return batch._replace(x=batch.x * (1 - mask), target=target_of(batch), mask=counted)

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


TRANSFORMS = {
    "scale_uint8": scale_uint8,
    "binarise": binarise,
    "gaussian_noise": lambda: gaussian_noise(0.3),
    "log_uniform_noise": lambda: log_uniform_noise(0.05, 1.0),
    "feature_dropout": lambda: feature_dropout(0.3),
    "salt_and_pepper": lambda: salt_and_pepper(0.3),
    "patch_mask": lambda: patch_mask(4, 0.5),
    "oriented_gradients": oriented_gradients,
    "random_affine": random_affine,
    "condition_on_input": condition_on_input,
}
"""Name to constructor without arguments: what the contract tests walk through."""


def _corruption(corrupt):
    # no key: evaluation reads the uncorrupted example
    def apply(rng, batch):
        if rng is None:
            return batch
        return batch._replace(x=corrupt(rng, batch.x), target=target_of(batch))

    return apply


def _check_rate(owner, rate):
    if isinstance(rate, int | float) and not 0 <= rate < 1:
        raise ValueError(f"{owner}: rate must be in [0, 1), got {rate}")
