"""Scaling and binarisation: `x` and `target` alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxae.types import Transform


class Standardisation(NamedTuple):
    """Mean and scale of a table's columns over the training rows, each `[D]` float32."""

    mean: np.ndarray
    scale: np.ndarray


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
