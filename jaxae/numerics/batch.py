"""Defaults of a `Batch`: its target is x, its weights are ones."""

import contextlib
from collections.abc import Hashable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxae.numerics.tracing import tracing_apart
from jaxae.numerics.values import is_traced
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


def counted_target(batch: Batch) -> PyTree:
    """`target_of(batch)` with 0 where the mask is 0, for what is differentiated.

    What a mask hides may be NaN or infinite; summed out behind a log-probability it would still reach the gradients,
    since 0 times NaN is NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import counted_target
      >>> from jaxae.types import Batch
      >>> x = jnp.array([[1.0, jnp.nan]])
      >>> counted_target(Batch(x, mask=jnp.array([[1, 0]]))).tolist()
      [[1.0, 0.0]]
    """
    target = target_of(batch)
    if batch.mask is None:
        return target
    target = jnp.asarray(target)
    return jnp.where(jnp.broadcast_to(batch.mask, target.shape) > 0, target, jnp.zeros((), target.dtype))


def without_padding_rows(batch: Batch) -> Batch:
    """The batch with 0 in place of what is not finite in rows of weight 0, for what is differentiated.

    A weight of 0 does not keep a NaN from the gradients: 0 times NaN is NaN. Finite values stay, as statistics of the
    whole batch may read them.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import without_padding_rows
      >>> from jaxae.types import Batch
      >>> without_padding_rows(Batch(jnp.array([[jnp.nan], [2.0]]), weight=jnp.array([0.0, 1.0]))).x.tolist()
      [[0.0], [2.0]]
    """
    weight = batch.weight
    if weight is None:
        return batch
    # of the members of an ensemble, which have a column each, one suffices
    counted = (jnp.asarray(weight).reshape(weight.shape[0], -1) > 0).any(-1)

    def replaced(leaf):
        leaf = jnp.asarray(leaf)
        if not jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.shape[:1] != counted.shape:
            return leaf
        counts = counted.reshape(-1, *(1,) * (leaf.ndim - 1))
        return jnp.where(counts | jnp.isfinite(leaf), leaf, jnp.zeros((), leaf.dtype))

    return jax.tree.map(replaced, batch._replace(weight=None))._replace(weight=weight)


_ROWS: ContextVar[Array | None] = ContextVar("weights of the rows", default=None)


@contextlib.contextmanager
def rows_weighing(weight: Array | None) -> Iterator[None]:
    """A context in which statistics of a batch leave out rows of weight 0: `row_counts` says which.

    A bottleneck reads no `Batch`. Objectives put this around the call of their model.

    Args:
      weight: `Batch.weight`, `[B]`; None: all rows count.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics import row_counts, rows_weighing
      >>> with rows_weighing(jnp.array([2.0, 0.0])):
      ...     row_counts(2).tolist()
      [True, False]
    """
    token = _ROWS.set(weight)
    try:
        with tracing_apart(_told_apart(weight)):
            yield
    finally:
        _ROWS.reset(token)


def _told_apart(weight: Array | None) -> Hashable:
    """A key that differs between weights: of traced ones, between traces."""
    if weight is None:
        return None
    return object() if is_traced(weight) else (weight.shape, np.asarray(weight).tobytes())


def row_counts(num_rows: Any) -> Array | None:
    """Which of the rows of a batch count, `[num_rows]` bool; None where all do.

    Args:
      num_rows: number of rows of the array at hand (symbolic in an exported program); None is returned if the weights
        are of other rows.
    """
    weight = _ROWS.get()
    return None if weight is None or weight.shape != (num_rows,) else weight > 0


def weight_of(batch: Batch, like: Array) -> Array:
    """`batch.weight`, or ones of the shape of `like` (`[B]`)."""
    # the weight may be uint8 or bool; products with losses need their dtype
    return jnp.ones_like(like) if batch.weight is None else batch.weight.astype(like.dtype)
