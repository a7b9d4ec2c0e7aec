"""Any number of rows through one compiled program."""

from collections.abc import Callable

import jax
import numpy as np

from jaxae.files.messages import listed
from jaxae.numerics import real_array, require_count
from jaxae.types import PyTree


def score_batches(apply: Callable, x: PyTree, batch_size: int = 512) -> PyTree:
    """Apply a function of a batch to all rows, in batches of one padded size.

    The last batch is padded with copies of its last row, whose results are dropped. One shape means one compilation,
    and a row's score is the same to the bit whatever rows it is batched with.

    Args:
      apply: function `Batch -> [B, ...]` or a tree of arrays, e.g. `jax.jit(partial(detector.apply, fitted))`. The
        caller owns `jit`.
      x: array `[N, ...]`, or a `Batch` or tree of arrays; on the host, so that data may exceed the device's memory.
      batch_size: number of rows in each call.

    Returns:
      The results of `apply`, concatenated to NumPy arrays of N rows.

    Raises:
      ValueError: `batch_size` is below 1, there are no rows, or arrays differ in their number of rows.

    Example:
      >>> import jax, numpy as np
      >>> from jaxae import scoring
      >>> scoring.score_batches(jax.jit(lambda x: x.sum(-1)), np.ones((5, 3), np.float32), batch_size=2).tolist()
      [3.0, 3.0, 3.0, 3.0, 3.0]
    """
    batch_size = require_count("batch_size", batch_size)
    for leaf in jax.tree.leaves(x):
        real_array("x", leaf)
    counts = sorted({np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(x)})
    if len(counts) != 1 or counts[0] == 0:
        raise ValueError(f"expected arrays with one and the same number of rows, at least 1; got {listed(counts)}")
    (total,) = counts
    results = []
    for start in range(0, total, batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), total - 1)
        results.append(apply(jax.tree.map(lambda leaf, rows=rows: leaf[rows], x)))
        if len(results) > 2:
            jax.block_until_ready(results[-3])  # a bounded queue: inputs of all batches may not fit on the device
    results = jax.device_get(results)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:total], *results)
