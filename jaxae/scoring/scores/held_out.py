"""Held-out normals of a reference: its last rows, to which no parameter was fitted. Functions over rows in chunks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from jaxae.numerics import require_count
from jaxae.types import Batch, PyTree

# number of rows that `fit` passes through a function at a time
CHUNK = 512


def divided(reference: Batch | None, held_out: int | None = None) -> tuple[Batch, Batch]:
    """The rows that a score may be fitted to, and the last `held_out` rows, on which it is then measured.

    Args:
      reference: training normals, followed by held-out normals.
      held_out: number of held-out rows; None: a fifth of all.

    Raises:
      ValueError: no reference, or a number that leaves no rows on one side.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.held_out import divided
      >>> from jaxae.types import Batch
      >>> fitting_rows, held_out_rows = divided(Batch(jnp.arange(10.0)))
      >>> held_out_rows.x.tolist()
      [8.0, 9.0]
    """
    reference = require_reference(reference)
    num = jax.tree.leaves(reference.x)[0].shape[0]
    count = num // 5 if held_out is None else require_count("held_out", held_out)
    if not 1 <= count < num:
        raise ValueError(f"held_out must leave rows on both sides; got {held_out} of {num} reference rows")
    fitting_rows = jax.tree.map(lambda leaf: leaf[: num - count], reference)
    return fitting_rows, jax.tree.map(lambda leaf: leaf[num - count :], reference)


def require_reference(reference: Batch | None) -> Batch:
    """The reference; raises where it is None."""
    if reference is None:
        raise ValueError("this score compares with normal examples: give fit a reference")
    return reference


def row_weights(rows: Batch) -> Float[Array, " N"]:
    """Weights of the rows `[N]` float32, ones where the batch has none; rows may be on the host."""
    num = jax.tree.leaves(rows.x)[0].shape[0]
    return jnp.ones(num) if rows.weight is None else jnp.asarray(rows.weight, jnp.float32)


def in_chunks(function: Callable[[Batch], PyTree], rows: Batch, chunk: int = CHUNK) -> PyTree:
    """`function(rows)` in chunks of rows in one program; `rows.weight` does not reach the function.

    Args:
      function: function `Batch -> [B, ...]`, or to a tree of arrays.
      rows: `Batch` of N rows.
      chunk: number of rows in each call.

    Returns:
      The results of the function, with N rows.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.held_out import in_chunks
      >>> from jaxae.types import Batch
      >>> in_chunks(lambda batch: 2 * batch.x, Batch(jnp.arange(3.0)), chunk=2).tolist()
      [0.0, 2.0, 4.0]
    """
    indices, unweighted = _chunk_indices(rows, chunk)
    results = jax.lax.map(lambda i: function(_rows_at(unweighted, i)), indices)
    num = jax.tree.leaves(rows.x)[0].shape[0]
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num], results)


def mean_in_chunks(function: Callable[[Batch], Array], rows: Batch, chunk: int = CHUNK) -> Array:
    """The mean of `function(rows)` over the rows, weighted by their weight and, element by element, by their mask.

    Only one chunk's values exist at a time. An element that no row counts has mean 0.

    Args:
      function: function `Batch -> [B, ...]`, its result shaped like the mask if the rows have one.
      rows: `Batch` of N rows.
      chunk: number of rows in each call.

    Returns:
      `[...]` float32.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.scoring.scores.held_out import mean_in_chunks
      >>> from jaxae.types import Batch
      >>> rows = Batch(jnp.array([[1.0, 2.0], [3.0, 4.0]]), mask=jnp.array([[1.0, 1.0], [0.0, 1.0]]))
      >>> mean_in_chunks(lambda batch: batch.x, rows).tolist()
      [1.0, 3.0]
    """
    indices, unweighted = _chunk_indices(rows, chunk)
    num = jax.tree.leaves(rows.x)[0].shape[0]
    # padded copies of the last row weigh 0
    weight = jnp.where(jnp.arange(indices.size) < num, row_weights(rows)[indices.reshape(-1)], 0).reshape(indices.shape)

    def add(sums: tuple[Array, Array], step: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        index, weight = step
        batch = _rows_at(unweighted, index)
        values = function(batch)
        # row weight times element mask: each element has its own divisor
        counts = jnp.broadcast_to(weight.reshape(-1, *(1,) * (values.ndim - 1)), values.shape)
        if batch.mask is not None:
            counts = counts * jnp.broadcast_to(batch.mask, values.shape)
        # where, not a product: an element that does not count may be infinite or NaN
        return (sums[0] + jnp.where(counts > 0, values * counts, 0).sum(0), sums[1] + counts.sum(0)), None

    # the shape of the sums without running the function
    shape = jax.eval_shape(lambda i: function(_rows_at(unweighted, i)), indices[0]).shape[1:]
    (total, count), _ = jax.lax.scan(add, (jnp.zeros(shape), jnp.zeros(shape)), (indices, weight))
    return total / jnp.where(count > 0, count, 1)


def _chunk_indices(rows: Batch, chunk: int) -> tuple[Array, Batch]:
    """Indices of the rows `[chunks, size]`, and the rows without their weight."""
    num = jax.tree.leaves(rows.x)[0].shape[0]
    size = min(chunk, num)
    chunks = -(-num // size)
    # the last chunk is padded with copies of the last row: zeros may be far outside the data
    indices = np.minimum(np.arange(chunks * size), num - 1).reshape(chunks, size)
    return jnp.asarray(indices), jax.tree.map(jnp.asarray, rows._replace(weight=None))


def _rows_at(rows: Batch, index: Array) -> Batch:
    return jax.tree.map(lambda leaf: leaf[index], rows)
