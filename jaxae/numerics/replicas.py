"""Computations over all replicas of a mapped train step, so that the replicas stay equal.

A step with an axis (`train.build_step(axis_name=...)`, `parallel.pmap_step`) binds the axis while it is traced. Parts
that keep statistics, or that read a batch as a whole, use that axis.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
from jax import Array

from jaxae.numerics.tracing import tracing_apart
from jaxae.types import Penalty, PyTree

_AXIS: ContextVar[str | None] = ContextVar("axis of the replicas", default=None)


@contextlib.contextmanager
def along_replicas(axis_name: str | None) -> Iterator[None]:
    """A context in which `replica_axis()` is `axis_name`.

    Args:
      axis_name: name of the mapped axis; None leaves the axis unchanged.

    Example:
      >>> from jaxae.numerics import along_replicas, replica_axis
      >>> with along_replicas("devices"):
      ...     replica_axis()
      'devices'
    """
    token = _AXIS.set(_AXIS.get() if axis_name is None else axis_name)
    try:
        with tracing_apart(_AXIS.get()):
            yield
    finally:
        _AXIS.reset(token)


def replica_axis(axis_name: str | None = None) -> str | None:
    """The mapped axis of the replicas.

    Args:
      axis_name: name of the axis; None takes the axis of the step that is being traced, if it has one.

    Example:
      >>> from jaxae.numerics import replica_axis
      >>> replica_axis("devices"), replica_axis()
      ('devices', None)
    """
    return _AXIS.get() if axis_name is None else axis_name


def over_replicas(total: PyTree, axis_name: str | None) -> Any:
    """The sum over the replicas of a mapped axis; without an axis, the input.

    Args:
      total: tree of arrays to sum.
      axis_name: name of the mapped axis, or None.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.numerics import over_replicas
      >>> jax.vmap(lambda x: over_replicas(x, "i"), axis_name="i")(jnp.arange(3.0)).tolist()
      [3.0, 3.0, 3.0]
    """
    return total if axis_name is None else jax.lax.psum(total, axis_name)


def gathered(axis_name: str | None, rng: Array | None, *rows: PyTree) -> tuple:
    """The key of the first replica and the rows of all replicas, on every replica; without an axis, the inputs.

    Results computed from them are equal on all replicas.

    Args:
      axis_name: name of the mapped axis, or None.
      rng: a key, or None.
      *rows: trees of arrays `[B, ...]`.

    Returns:
      `(rng, *rows)`, the rows `[B * replicas, ...]` in the order of the replicas.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.numerics import gathered
      >>> gathered(None, jax.random.key(0), jnp.zeros(3))[1].shape
      (3,)
    """
    if axis_name is None:
        return (rng, *rows)
    if rng is not None:
        # typed keys cannot be gathered, their uint32 data can
        data = jax.lax.all_gather(jax.random.key_data(rng), axis_name)[0]
        rng = jax.random.wrap_key_data(data, impl=jax.random.key_impl(rng))
    return (rng, *jax.tree.map(lambda a: jax.lax.all_gather(a, axis_name, tiled=True), rows))


def on_all_rows(function: Callable[..., Array], *rows: PyTree, rng: Array | None = None) -> Array:
    """`function(rng, *rows)` on the rows of all replicas; of a result with rows, the rows of this replica.

    Args:
      function: function `(rng, *rows) -> [B, ...]` or to a scalar, which reads the batch as a whole.
      *rows: trees of arrays `[B, ...]`.
      rng: a key, or None; the key of the first replica is used.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.numerics import along_replicas, on_all_rows
      >>> with along_replicas("i"):
      ...     centred = jax.vmap(lambda x: on_all_rows(lambda rng, x: x - x.mean(), x), axis_name="i")
      ...     centred(jnp.array([[1.0], [3.0]])).tolist()
      [[-1.0], [1.0]]
    """
    axis_name = replica_axis()
    result = function(*gathered(axis_name, rng, *rows))
    if axis_name is None or result.ndim == 0:
        return result
    count = jax.tree.leaves(rows)[0].shape[0]
    # rows were gathered in the order of the replicas: this replica's are `count` rows from its index on
    return jax.lax.dynamic_slice_in_dim(result, jax.lax.axis_index(axis_name) * count, count)


def of_whole_batch(penalty: Penalty) -> Penalty:
    """A penalty or reference that reads the whole batch, which under a mapped step is that of all replicas.

    Args:
      penalty: function `(params, state, rng, batch, output) -> [B]`.

    Example:
      >>> from jaxae.numerics import of_whole_batch
      >>> spread = of_whole_batch(lambda params, state, rng, batch, output: output.code.latent.std())
    """

    def on_whole_batch(params, state, rng, batch, output):
        return on_all_rows(lambda key, b, o: penalty(params, state, key, b, o), batch, output, rng=rng)

    return on_whole_batch
