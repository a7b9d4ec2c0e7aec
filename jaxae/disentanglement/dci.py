"""Disentanglement, completeness and informativeness, from the importance of each dimension for each factor."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.disentanglement.boosted_trees import boosted_trees
from jaxae.disentanglement.checks import checked_parts


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness, with the importances that they come from.

    Attributes:
      disentanglement: scalar in 0..1, 1 where each dimension matters for one factor alone.
      completeness: scalar in 0..1, 1 where each factor depends on one dimension alone.
      informativeness: scalar, accuracy of the predicted factors on the test part, mean over factors.
      informativeness_train: scalar, the same on the train part.
      importance: `[D, F]`, importance of dimension d for factor f; a column sums to 1 (or 0).
    """

    disentanglement: Array
    completeness: Array
    informativeness: Array
    informativeness_train: Array
    importance: Array


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    test_codes: ArrayLike,
    test_factors: ArrayLike,
    *,
    factor_sizes: Sequence[int] | None = None,
    num_trees: int = 100,
    depth: int = 3,
    num_bins: int = 64,
) -> DCI:
    """DCI by gradient-boosted trees that predict each factor from the codes, on the device.

    Args:
      codes: `[N, D]`, codes of the train part.
      factors: `[N, F]`, factors of the train part, whole numbers 0..K-1.
      test_codes: `[M, D]`, codes of the test part.
      test_factors: `[M, F]`, factors of the test part.
      factor_sizes: number of values of each factor; needed where factors are traced.
      num_trees: number of boosting rounds; 100 with depth 3 are scikit-learn's defaults, which the literature uses.
      depth: depth of a tree.
      num_bins: number of bins of each code dimension.

    Returns:
      A `DCI`.

    Raises:
      ValueError: see `checks.checked`.

    Source: Eastwood and Williams 2018, "A Framework for the Quantitative Evaluation of Disentangled Representations",
    section 2 (by lasso and random forests); boosted trees and the accuracy as in Locatello et al. 2019.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import dci
      >>> factors = jnp.array([[a, b] for a in range(3) for b in range(3)] * 2)
      >>> codes = factors.astype(jnp.float32)
      >>> result = dci(codes, factors, codes, factors, num_trees=5)
      >>> round(float(result.disentanglement), 4), float(result.informativeness)
      (1.0, 1.0)
    """
    codes, factors, test_codes, test_factors, sizes = checked_parts(
        codes, factors, test_codes, test_factors, factor_sizes
    )
    boosted = [
        boosted_trees(
            codes,
            factors[:, f],
            size,
            test_codes,
            test_factors[:, f],
            num_trees=num_trees,
            depth=depth,
            num_bins=num_bins,
        )
        for f, size in enumerate(sizes)
    ]
    # each factor has its own ensemble of trees; their importances are the columns of the matrix R
    importance = jnp.stack([fit.importance for fit in boosted], 1)
    return DCI(
        disentanglement(importance),
        completeness(importance),
        jnp.stack([fit.test_accuracy for fit in boosted]).mean(),
        jnp.stack([fit.train_accuracy for fit in boosted]).mean(),
        importance,
    )


def disentanglement(importance: Float[Array, "D F"]) -> Float[Array, ""]:
    """`sum_d w_d (1 - H_F(R_d))`: entropies of the rows R_d to base F, weighted by the rows' sums.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement.dci import disentanglement
      >>> round(float(disentanglement(jnp.array([[1.0, 0.0], [1.0, 1.0]]))), 4)
      0.3333
    """
    # w_d: a dimension that matters little for every factor weighs little
    rows = importance.sum(1)
    # weights rho_d sum to 1: the mean is over dimensions in use
    share = rows / jnp.where(rows.sum() > 0, rows.sum(), 1)
    return jnp.sum(share * (1 - _entropy(importance)))


def completeness(importance: Float[Array, "D F"]) -> Float[Array, ""]:
    """`disentanglement` of the transposed matrix: entropies of the columns to base D.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement.dci import completeness
      >>> round(float(completeness(jnp.array([[1.0, 0.0], [1.0, 1.0]]))), 4)
      0.3333
    """
    return disentanglement(importance.T)


def _entropy(rows):
    """Entropy of each row to the base of its length; a row of zeros counts as uniform, with entropy 1."""
    total = rows.sum(1, keepdims=True)
    # 0 log 0 = 0: the inner where keeps log 0 out of the product
    p = jnp.where(total > 0, rows / jnp.where(total > 0, total, 1), 1 / rows.shape[1])
    return -(p * jnp.log(jnp.where(p > 0, p, 1))).sum(1) / jnp.log(rows.shape[1])
