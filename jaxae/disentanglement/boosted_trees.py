"""Gradient-boosted classification trees on the device, whose importances DCI reads."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxae.disentanglement.checks import as_codes
from jaxae.numerics import as_classes, require_count, require_within


class Boosted(NamedTuple):
    """Importances and accuracies of boosted trees.

    Attributes:
      importance: `[D]`, share of each dimension in the squared error that all splits removed; zeros without a split.
      train_accuracy: scalar, accuracy on the train rows.
      test_accuracy: scalar, accuracy on the test rows.
    """

    importance: Array
    train_accuracy: Array
    test_accuracy: Array


def boosted_trees(
    codes: ArrayLike,
    classes: ArrayLike,
    num_classes: int,
    test_codes: ArrayLike,
    test_classes: ArrayLike,
    *,
    num_trees: int = 100,
    depth: int = 3,
    rate: float = 0.1,
    num_bins: int = 64,
) -> Boosted:
    """Boosting under the multinomial loss: in each round a regression tree for each class, fitted to `1[y = k] - p_k`.

    scikit-learn's `GradientBoostingClassifier` with its defaults, except that split thresholds lie at `num_bins`
    quantiles of a code dimension, not between any two rows. Where no dimension has more values than bins the two agree.
    The trees of all classes grow together; split gains come from one product of bins and residuals.

    Args:
      codes: `[N, D]`, codes of the train rows.
      classes: `[N]`, classes of the train rows, 0..K-1.
      num_classes: number of classes K.
      test_codes: `[M, D]`, codes of the test rows.
      test_classes: `[M]`, classes of the test rows.
      num_trees: number of rounds, each with one tree per class.
      depth: depth of a tree.
      rate: learning rate, the factor of each tree's output.
      num_bins: number of bins of each dimension.

    Returns:
      A `Boosted`.

    Source: Friedman 2001, "Greedy Function Approximation: A Gradient Boosting Machine", algorithm 6; bins as in Ke et
    al. 2017, "LightGBM".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import boosted_trees
      >>> codes = jnp.stack([jnp.arange(12.0) % 3, jnp.arange(12.0) // 6], 1)
      >>> boosted = boosted_trees(codes, jnp.arange(12) % 3, 3, codes, jnp.arange(12) % 3, num_trees=5)
      >>> [round(float(share), 4) for share in boosted.importance], float(boosted.test_accuracy)
      ([1.0, 0.0], 1.0)
    """
    codes, test_codes = as_codes(codes), as_codes(test_codes, "test codes")
    if codes.ndim != 2 or test_codes.ndim != 2 or codes.shape[1] != test_codes.shape[1] or 0 in codes.shape:
        raise ValueError(f"codes [N, D] and test codes [M, D] are needed; got {codes.shape} and {test_codes.shape}")
    num_classes = require_count("num_classes", num_classes, 2)
    classes = as_classes("classes", classes, len(codes), num_classes)
    test_classes = as_classes("test classes", test_classes, len(test_codes), num_classes)
    num_trees, depth = require_count("num_trees", num_trees), require_count("depth", depth)
    num_bins = require_count("num_bins", num_bins, 2)
    require_within("rate", rate, "(0, inf)")
    # quantiles of the train part: bins with equal numbers of rows
    edges = jnp.quantile(codes, jnp.arange(1, num_bins) / num_bins, axis=0).T
    bins, test_bins = (_bins(part, edges) for part in (codes, test_codes))
    one_hot_bins = jax.nn.one_hot(bins, num_bins).reshape(len(bins), -1)
    target = jax.nn.one_hot(classes, num_classes)
    # the constant model of least loss: the log of the class frequencies
    start = jnp.log(jnp.maximum(target.mean(0), 1e-30))

    def boost(carry, _):
        logits, test_logits, importance = carry
        # the negative gradient of the multinomial loss with respect to the logits
        residual = target - jax.nn.softmax(logits)
        # node numbers count within a level: the children of node n are 2 n and 2 n + 1
        node = jnp.zeros(logits.shape, jnp.int32)
        test_node = jnp.zeros(test_logits.shape, jnp.int32)
        histogram = None
        for level in range(depth):
            histogram = _histogram(one_hot_bins, residual, node, 2**level, histogram)
            gain, feature, cut = _best_splits(histogram, num_bins)
            # a dimension's importance is the error that its splits remove, over all trees and classes
            importance = importance.at[feature.reshape(-1)].add(gain.reshape(-1))
            node, test_node = (_descend(*pair, feature, cut) for pair in ((bins, node), (test_bins, test_node)))
        leaves = _leaf_values(residual, node, 2**depth, num_classes)
        step, test_step = (rate * jnp.take_along_axis(leaves, part, 0) for part in (node, test_node))
        return (logits + step, test_logits + test_step, importance), None

    def constant(bins):
        return jnp.broadcast_to(start[None], (len(bins), num_classes))

    initial = (constant(bins), constant(test_bins), jnp.zeros(codes.shape[1]))
    (logits, test_logits, importance), _ = jax.lax.scan(boost, initial, None, length=num_trees)
    total = importance.sum()
    return Boosted(
        importance / jnp.where(total > 0, total, 1),
        jnp.mean(logits.argmax(1) == classes),
        jnp.mean(test_logits.argmax(1) == test_classes),
    )


def _bins(codes, edges):
    """`[N, D]`: bin of each code, the number of its dimension's edges at or below it."""
    return jax.vmap(lambda row, e: jnp.searchsorted(e, row, side="right"), (1, 0), 1)(codes, edges).astype(jnp.int32)


def _histogram(one_hot_bins, residual, node, num_nodes, parents):
    """`[D * bins, K, nodes, 2]`: sum of residuals and number of rows of each bin; right = parent - left."""
    lefts = 2 * jnp.arange(max(1, num_nodes // 2))
    inside = (node[..., None] == lefts[None, None]).astype(jnp.float32)  # [N, K, left children]
    columns = jnp.stack([inside * residual[..., None], inside], -1)
    left = jnp.matmul(one_hot_bins.T, columns.reshape(len(node), -1), precision=jax.lax.Precision.HIGHEST)
    left = left.reshape(-1, *columns.shape[1:])
    if parents is None:
        return left
    return jnp.stack([left, parents - left], 3).reshape(*left.shape[:2], num_nodes, 2)


def _best_splits(histogram, num_bins):
    """The best split of each node of each class's tree, `[nodes, K]`: error removed, dimension, last bin on the left.

    A node without a gain sends all rows to the left.
    """
    left = jnp.cumsum(histogram.reshape(-1, num_bins, *histogram.shape[1:]), 1)  # [D, bins, K, nodes, 2]
    total = left[:, -1:]
    sums, counts = left[..., 0], left[..., 1]
    other_sums, other_counts = total[..., 0] - sums, total[..., 1] - counts
    all_sums, all_counts = total[..., 0], total[..., 1]
    # squared error of a node with sum s and n rows is (sum of squares) - s^2 / n: the split gains the change of s^2 / n
    gain = _squared_over(sums, counts) + _squared_over(other_sums, other_counts) - _squared_over(all_sums, all_counts)
    gain = jnp.where((counts > 0.5) & (other_counts > 0.5), gain, 0)
    flat = gain.reshape(-1, *gain.shape[2:])
    best = flat.argmax(0)
    value = jnp.take_along_axis(flat, best[None], 0)[0]
    # smaller gains are rounding of sums over all rows
    is_gain = value > 1e-9 * jnp.maximum(all_counts[0, 0], 1)
    cut = jnp.where(is_gain, best % num_bins, num_bins)
    return jnp.where(is_gain, value, 0).T, (best // num_bins).astype(jnp.int32).T, cut.astype(jnp.int32).T


def _squared_over(sums, counts):
    return sums**2 / jnp.maximum(counts, 1)


def _descend(rows, node, feature, cut):
    chosen, last = (jnp.take_along_axis(part, node, 0) for part in (feature, cut))
    return 2 * node + (jnp.take_along_axis(rows, chosen, 1) > last)


def _leaf_values(residual, node, num_leaves, num_classes):
    """Outputs of the leaves, `[leaves, K]`: one Newton step of the multinomial loss in each leaf."""
    # gamma = (K - 1) / K * sum r / sum |r| (1 - |r|), the last step of algorithm 6
    inside = jax.nn.one_hot(node, num_leaves)
    numerator, denominator = (
        (inside * part[..., None]).sum(0).T for part in (residual, jnp.abs(residual) * (1 - jnp.abs(residual)))
    )
    return jnp.where(
        denominator > 1e-12, (num_classes - 1) / num_classes * numerator / jnp.maximum(denominator, 1e-12), 0
    )
