"""Defaults of a `Batch`: its target is x, its weights are ones."""

import jax.numpy as jnp
from jax import Array

from jaxae.types import Batch, PyTree


def as_batch(x: PyTree) -> Batch:
    """A `Batch` of `x`; a `Batch` comes back as it is.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import as_batch
      >>> as_batch(jnp.zeros((2, 3))).x.shape
      (2, 3)
    """
    return x if isinstance(x, Batch) else Batch(x)


def target_of(batch: Batch) -> PyTree:
    """What the likelihood scores: `batch.target`, or `batch.x` where there is none."""
    return batch.x if batch.target is None else batch.target


def weight_of(batch: Batch, like: Array) -> Array:
    """`batch.weight`, or ones of the shape of `like` (`[B]`)."""
    # the weight may be uint8 or bool; products with losses need their dtype
    return jnp.ones_like(like) if batch.weight is None else batch.weight.astype(like.dtype)
