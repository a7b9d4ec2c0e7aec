"""Disentanglement, completeness and informativeness, from the importance of each dimension for each factor."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from jaxae.disentanglement.boosted_trees import boosted_trees
from jaxae.disentanglement.checks import sizes_of


class DCI(NamedTuple):
    """The three figures, and what they come from.

    Attributes:
      disentanglement: scalar in 0..1, how few factors a dimension matters for.
      completeness: scalar in 0..1, how few dimensions a factor needs.
      informativeness: scalar, accuracy of the factors' prediction on the test part, mean over factors.
      informativeness_train: likewise on the train part.
      importance: `[D, F]`, each column's sum 1 (or 0).
    """

    disentanglement: Array
    completeness: Array
    informativeness: Array
    informativeness_train: Array
    importance: Array


def dci(
    codes: Float[Array, "N D"],
    factors: Int[Array, "N F"],
    test_codes: Float[Array, "M D"],
    test_factors: Int[Array, "M F"],
    *,
    factor_sizes: Sequence[int] | None = None,
    num_trees: int = 100,
    depth: int = 3,
    num_bins: int = 64,
) -> DCI:
    """DCI by gradient-boosted trees that predict each factor from the codes, on the device.

    Args:
      codes: `[N, D]`, the train part.
      factors: `[N, F]` whole numbers 0..K-1.
      test_codes: `[M, D]`.
      test_factors: `[M, F]`.
      factor_sizes: F numbers of values, needed where factors are traced.
      num_trees: see `boosted_trees`; 100 of depth 3 are the literature's, scikit-learn's defaults.
      depth: likewise.
      num_bins: likewise.

    Returns:
      A `DCI`.

    Raises:
      ValueError: see `checks.sizes_of`.

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
    sizes = sizes_of(codes, factors, factor_sizes)
    if test_codes.shape[1] != codes.shape[1] or test_factors.shape[1:] != factors.shape[1:]:
        raise ValueError(
            f"train and test differ: {codes.shape}, {factors.shape}; {test_codes.shape}, {test_factors.shape}"
        )
    found = [
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
    importance = jnp.stack([each.importance for each in found], 1)
    return DCI(
        disentanglement(importance),
        completeness(importance),
        jnp.stack([each.test_accuracy for each in found]).mean(),
        jnp.stack([each.train_accuracy for each in found]).mean(),
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
    rows = importance.sum(1)
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
    """Of each row, to the base of their length; 1 (nothing known) for a row of zeros."""
    total = rows.sum(1, keepdims=True)
    p = jnp.where(total > 0, rows / jnp.where(total > 0, total, 1), 1 / rows.shape[1])
    return -(p * jnp.log(jnp.where(p > 0, p, 1))).sum(1) / jnp.log(rows.shape[1])
