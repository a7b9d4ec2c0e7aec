"""Gradient-boosted trees for classes, on the device: what DCI measures importance by."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


class Boosted(NamedTuple):
    """What boosting found out.

    Attributes:
      importance: `[D]`, each dimension's share of the squared error that all splits took away; zeros where none did.
      train_accuracy: scalar.
      test_accuracy: scalar.
    """

    importance: Array
    train_accuracy: Array
    test_accuracy: Array


def boosted_trees(
    codes: Float[Array, "N D"],
    classes: Int[Array, " N"],
    num_classes: int,
    test_codes: Float[Array, "M D"],
    test_classes: Int[Array, " M"],
    *,
    num_trees: int = 100,
    depth: int = 3,
    rate: float = 0.1,
    num_bins: int = 64,
) -> Boosted:
    """Boosting under the multinomial loss: in each round a regression tree for each class, fitted to `1[y = k] - p_k`.

    scikit-learn's `GradientBoostingClassifier` with its defaults, but for thresholds: they lie at quantiles of a code
    dimension, `num_bins` of them, not between any two rows. Where no dimension has more values than bins the two agree.
    All classes' trees grow at once; split gains come from one product of bins and residuals.

    Args:
      codes: `[N, D]`.
      classes: `[N]`, 0..K-1.
      num_classes: K.
      test_codes: `[M, D]`.
      test_classes: `[M]`.
      num_trees: rounds.
      depth: of a tree.
      rate: what each tree counts.
      num_bins: of each dimension.

    Returns:
      A `Boosted`.

    Source: Friedman 2001, "Greedy Function Approximation: A Gradient Boosting Machine", algorithm 6; bins as in Ke et
    al. 2017, "LightGBM".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import boosted_trees
      >>> codes = jnp.stack([jnp.arange(12.0) % 3, jnp.arange(12.0) // 6], 1)
      >>> found = boosted_trees(codes, jnp.arange(12) % 3, 3, codes, jnp.arange(12) % 3, num_trees=5)
      >>> [round(float(share), 4) for share in found.importance], float(found.test_accuracy)
      ([1.0, 0.0], 1.0)
    """
    edges = jnp.quantile(codes, jnp.arange(1, num_bins) / num_bins, axis=0).T
    rows, test_rows = (_bins(part, edges) for part in (codes, test_codes))
    one_hot_bins = jax.nn.one_hot(rows, num_bins).reshape(len(rows), -1)
    target = jax.nn.one_hot(classes, num_classes)
    start = jnp.log(jnp.maximum(target.mean(0), 1e-30))

    def round_(carry, _):
        raw, test_raw, importance = carry
        residual = target - jax.nn.softmax(raw)
        node = jnp.zeros(raw.shape, jnp.int32)
        test_node = jnp.zeros(test_raw.shape, jnp.int32)
        histogram = None
        for level in range(depth):
            histogram = _histogram(one_hot_bins, residual, node, 2**level, histogram)
            gain, feature, cut = _best_splits(histogram, num_bins)
            importance = importance.at[feature.reshape(-1)].add(gain.reshape(-1))
            node, test_node = (_descend(*pair, feature, cut) for pair in ((rows, node), (test_rows, test_node)))
        leaves = _leaf_values(residual, node, 2**depth, num_classes)
        step, test_step = (rate * jnp.take_along_axis(leaves, part, 0) for part in (node, test_node))
        return (raw + step, test_raw + test_step, importance), None

    def everywhere(rows):
        return jnp.broadcast_to(start[None], (len(rows), num_classes))

    first = (everywhere(rows), everywhere(test_rows), jnp.zeros(codes.shape[1]))
    (raw, test_raw, importance), _ = jax.lax.scan(round_, first, None, length=num_trees)
    total = importance.sum()
    return Boosted(
        importance / jnp.where(total > 0, total, 1),
        jnp.mean(raw.argmax(1) == classes),
        jnp.mean(test_raw.argmax(1) == test_classes),
    )


def _bins(codes, edges):
    """`[N, D]`: how many of a dimension's edges lie at or below a code."""
    return jax.vmap(lambda row, e: jnp.searchsorted(e, row, side="right"), (1, 0), 1)(codes, edges).astype(jnp.int32)


def _histogram(one_hot_bins, residual, node, num_nodes, parents):
    """`[D * bins, K, nodes, 2]`: sums of residuals, and rows. A right child has what the left one leaves."""
    lefts = 2 * jnp.arange(max(1, num_nodes // 2))
    inside = (node[..., None] == lefts[None, None]).astype(jnp.float32)  # [N, K, left children]
    columns = jnp.stack([inside * residual[..., None], inside], -1)
    left = jnp.matmul(one_hot_bins.T, columns.reshape(len(node), -1), precision=jax.lax.Precision.HIGHEST)
    left = left.reshape(-1, *columns.shape[1:])
    if parents is None:
        return left
    return jnp.stack([left, parents - left], 3).reshape(*left.shape[:2], num_nodes, 2)


def _best_splits(histogram, num_bins):
    """Of each node of each class's tree `[nodes, K]`: error taken away, dimension, last bin on the left.

    A node without a gain sends all rows to the left.
    """
    left = jnp.cumsum(histogram.reshape(-1, num_bins, *histogram.shape[1:]), 1)  # [D, bins, K, nodes, 2]
    total = left[:, -1:]
    sums, counts = left[..., 0], left[..., 1]
    other_sums, other_counts = total[..., 0] - sums, total[..., 1] - counts
    all_sums, all_counts = total[..., 0], total[..., 1]
    gain = _squared_over(sums, counts) + _squared_over(other_sums, other_counts) - _squared_over(all_sums, all_counts)
    gain = jnp.where((counts > 0.5) & (other_counts > 0.5), gain, 0)
    flat = gain.reshape(-1, *gain.shape[2:])
    best = flat.argmax(0)
    value = jnp.take_along_axis(flat, best[None], 0)[0]
    # below: rounding of sums over all rows
    real = value > 1e-9 * jnp.maximum(all_counts[0, 0], 1)
    cut = jnp.where(real, best % num_bins, num_bins)
    return jnp.where(real, value, 0).T, (best // num_bins).astype(jnp.int32).T, cut.astype(jnp.int32).T


def _squared_over(sums, counts):
    return sums**2 / jnp.maximum(counts, 1)


def _descend(rows, node, feature, cut):
    chosen, last = (jnp.take_along_axis(part, node, 0) for part in (feature, cut))
    return 2 * node + (jnp.take_along_axis(rows, chosen, 1) > last)


def _leaf_values(residual, node, num_leaves, num_classes):
    """One Newton step of the loss in each leaf `[leaves, K]`."""
    inside = jax.nn.one_hot(node, num_leaves)
    above, below = (
        (inside * part[..., None]).sum(0).T for part in (residual, jnp.abs(residual) * (1 - jnp.abs(residual)))
    )
    return jnp.where(below > 1e-12, (num_classes - 1) / num_classes * above / jnp.maximum(below, 1e-12), 0)
