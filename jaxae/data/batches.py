"""Batches as a pure function of their index: a resumed training asks for the next index.

Anything with `batches[i]` serves: `shuffled` below, or Grain's `MapDataset`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import jax
import numpy as np

from jaxae.numerics import as_batch
from jaxae.numerics.arguments import check_arguments
from jaxae.types import Batch, PyTree


@lru_cache(maxsize=8)
def _epoch_order(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    order = np.random.default_rng([seed, epoch]).permutation(num_rows).astype(np.int32)
    order.flags.writeable = False  # callers get views of the cached array
    return order


@dataclass(frozen=True)
class Shuffled:
    """What `shuffled` returns; `len` is the number of batches in one epoch, indices go on beyond it."""

    num_rows: int
    batch_size: int
    seed: int

    def __len__(self) -> int:
        return self.num_rows // self.batch_size

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        if index < 0:
            raise IndexError(f"batch index must be >= 0, got {index}")
        # one permutation per epoch, so that every row occurs once before any occurs twice
        epoch, place = divmod(int(index), len(self))
        order = _epoch_order(self.num_rows, self.seed, epoch)
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))


def shuffled(num_rows: int, batch_size: int, seed: int = 0) -> Shuffled:
    """Row indices of batch `i`, a pure function of `i`: epoch `i // len` in its own order, the remainder dropped.

    Args:
      num_rows: number of rows of the data.
      batch_size: number of rows of a batch, at most `num_rows`.
      seed: seed of the order, which differs from epoch to epoch.

    Returns:
      An object with `batches[i]`, `[batch_size]` int32 for every `i >= 0`; iterating it gives the first epoch.

    Raises:
      ValueError: `batch_size` is not in 1..num_rows, or the seed is negative.

    Example:
      >>> from jaxae.data.batches import shuffled
      >>> batches = shuffled(num_rows=5, batch_size=2, seed=0)
      >>> len(batches), batches[7].shape, len(set(batches[0]) | set(batches[1]))
      (2, (2,), 4)
    """
    if not 1 <= batch_size <= num_rows:
        raise ValueError(f"batch size must lie in 1..{num_rows}, the number of rows; got {batch_size}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    return Shuffled(num_rows, batch_size, seed)


def padded(data: PyTree, batch_size: int) -> Iterator[Batch]:
    """All rows in order, in batches of one size; the last repeats its last row with weight 0.

    Args:
      data: array `[N, ...]`, or a `Batch` of arrays; its weights are kept.
      batch_size: number of rows of every batch.

    Yields:
      `Batch` with `weight` `[batch_size]` float32; the weights of all batches sum to those of the data.

    Raises:
      ValueError: no rows, or `batch_size < 1`.

    Example:
      >>> import numpy as np
      >>> from jaxae.data.batches import padded
      >>> [(b.x.tolist(), b.weight.tolist()) for b in padded(np.array([5, 6, 7]), batch_size=2)]
      [([5, 6], [1.0, 1.0]), ([7, 7], [1.0, 0.0])]
    """
    batch = as_batch(data)
    leaves = jax.tree.leaves(batch.x)
    if not leaves or any(np.ndim(leaf) == 0 for leaf in leaves):
        raise ValueError("padded needs arrays with rows [N, ...]; got a number or nothing")
    num_rows = len(leaves[0])
    if num_rows == 0 or batch_size < 1:
        raise ValueError(f"padded needs rows and a batch size >= 1; got {num_rows} rows, batch size {batch_size}")
    weight = np.ones(num_rows, np.float32) if batch.weight is None else np.asarray(batch.weight, np.float32)
    return _padded(batch._replace(weight=weight), num_rows, batch_size)


def _padded(batch: Batch, num_rows: int, batch_size: int) -> Iterator[Batch]:
    for start in range(0, num_rows, batch_size):
        place = np.arange(start, start + batch_size)
        # a repeated row, not zeros: zeros may be far outside the data and overflow
        rows = np.minimum(place, num_rows - 1)
        taken = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], batch)  # noqa: B023
        yield taken._replace(weight=taken.weight * (place < num_rows))


check_arguments(__name__)
