"""Modularity: each dimension depends on one factor at most."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.disentanglement.checks import require_factors
from jaxae.disentanglement.information import mutual_information


def modularity(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    factor_sizes: Sequence[int] | None = None,
    num_bins: int = 20,
    weight: ArrayLike | None = None,
) -> Float[Array, ""]:
    """`mean_d (1 - sum_{f != best} I(z_d; v_f)^2 / ((F - 1) I(z_d; v_best)^2))`; 0 for a dimension without information.

    Args:
      codes: `[N, D]`, finite.
      factors: `[N, F]` whole numbers 0..K-1, F at least 2.
      factor_sizes: number of values of each factor; needed where factors are traced.
      num_bins: number of bins of each code dimension.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Returns:
      A scalar in 0..1.

    Raises:
      ValueError: see `checks.checked`; a single factor.

    Source: Ridgeway and Mozer 2018, "Learning Deep Disentangled Embeddings With the F-Statistic Loss", section 3.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import modularity
      >>> factors = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
      >>> round(float(modularity(factors.astype(jnp.float32), factors)), 4)
      1.0
    """
    require_factors("modularity compares factors, so it", factors)
    information, _ = mutual_information(codes, factors, factor_sizes=factor_sizes, num_bins=num_bins, weight=weight)
    return modularity_of(information)


def modularity_of(information: Float[Array, "D F"]) -> Float[Array, ""]:
    """Modularity from a matrix of mutual information.

    Args:
      information: `[D, F]` nats, F at least 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement.modularity import modularity_of
      >>> float(modularity_of(jnp.array([[2.0, 1.0], [0.0, 0.0]])))
      0.375
    """
    # squares as published: small amounts of information about other factors weigh little
    squared = information**2
    best = squared.max(1)
    # deviation from an ideal template, which has information about its best factor alone
    mean_of_others = (squared.sum(1) - best) / (squared.shape[1] - 1)
    return jnp.clip(jnp.mean(jnp.where(best > 0, 1 - mean_of_others / jnp.where(best > 0, best, 1), 0)), 0, 1)
