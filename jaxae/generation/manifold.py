"""Precision and recall of generated examples: the share that looks real, and the share of real ones covered."""

import numpy as np
from numpy.typing import ArrayLike

from jaxae.numerics import real_array, require_count

# number of queries whose distances exist at a time
CHUNK = 1000


def precision_recall(real: ArrayLike, generated: ArrayLike, k: int = 3) -> tuple[float, float]:
    """The share of generated features within the real manifold, and of real ones within the generated.

    A set's manifold is the union of balls around its members; a ball's radius is the distance to the k-th nearest other
    member.

    Args:
      real: `[N, D]` features.
      generated: `[M, D]` features; M should equal N, or the two shares are not comparable.
      k: rank of the neighbour that sets the radius, at least 1, below N and M.

    Returns:
      `(precision, recall)`, each in 0..1; computed in float64.

    Raises:
      ValueError: other widths, fewer than k + 1 rows, or features that are not finite.

    Source: Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", equations
    1 and 2.

    Example:
      >>> from jaxae.generation import precision_recall
      >>> precision_recall([[0.0], [1.0], [2.0], [9.0]], [[0.5], [0.6], [30.0]], k=1)
      (0.6666666666666666, 0.75)
    """
    a, b = (np.asarray(real_array(name, f), np.float64) for name, f in (("real", real), ("generated", generated)))
    k = require_count("k", k)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not 1 <= k < min(len(a), len(b)):
        raise ValueError(
            f"two sets of features [N, D] of one width and 1 <= k < N are needed; got {a.shape}, {b.shape}, k {k}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"features must be finite; of {a.shape} and {b.shape} some are NaN or infinite")
    return _share_within(b, a, k), _share_within(a, b, k)


def _share_within(queries, members, k):
    # position 0 of a member's sorted distances is the member itself, so position k is its k-th other member
    radii = np.concatenate([np.partition(rows, k, axis=1)[:, k] for rows in _squared_distances(members, members)])
    # within the ball of any member: distance at most that member's radius
    inside = [(rows <= radii).any(1) for rows in _squared_distances(queries, members)]
    return float(np.concatenate(inside).mean())


def _squared_distances(queries, members):
    # |q - m|^2 = |q|^2 + |m|^2 - 2 q.m; float64 keeps the digits that the cancellation costs
    norms = (members**2).sum(1)
    for start in range(0, len(queries), CHUNK):
        rows = queries[start : start + CHUNK]
        squared = (rows**2).sum(1, keepdims=True) + norms - 2 * rows @ members.T
        yield np.maximum(squared, 0)
