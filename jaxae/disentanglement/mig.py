"""The mutual information gap, and its counterpart over factors."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.disentanglement.checks import require_factors, require_gap
from jaxae.disentanglement.information import best_gap, mutual_information
from jaxae.numerics import require_within


def mig(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    factor_sizes: Sequence[int] | None = None,
    num_bins: int = 20,
    weight: ArrayLike | None = None,
) -> Float[Array, ""]:
    """MIG: `mean_f (I(z_best; v_f) - I(z_second; v_f)) / H(v_f)`, 1 where one dimension alone encodes each factor.

    Information is estimated by counting binned codes, usually posterior means. The paper integrates over posterior
    samples; figures of the two estimates are not comparable.

    Args:
      codes: `[N, D]`, D at least 2.
      factors: `[N, F]` whole numbers 0..K-1.
      factor_sizes: number of values of each factor; needed where factors are traced.
      num_bins: number of bins of each code dimension.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Returns:
      A scalar in 0..1.

    Raises:
      ValueError: see `checks.checked`; a single code dimension.

    Source: Chen, Li, Grosse and Duvenaud 2018, "Isolating Sources of Disentanglement in VAEs", equation 6; binned as in
    Locatello et al. 2019, "Challenging Common Assumptions in the Unsupervised Learning of Disentangled
    Representations".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import mig
      >>> factors = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
      >>> round(float(mig(factors.astype(jnp.float32), factors)), 4)
      1.0
    """
    require_gap(codes)
    information, entropy = mutual_information(
        codes, factors, factor_sizes=factor_sizes, num_bins=num_bins, weight=weight
    )
    # I(z; v) <= H(v): the gap is a share of the factor's entropy
    # a factor whose rows of weight share one value has no entropy, and nothing to inform about
    return jnp.mean(jnp.clip(best_gap(information) / jnp.where(entropy > 0, entropy, 1), 0, 1))


def mig_sup(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    factor_sizes: Sequence[int] | None = None,
    num_bins: int = 20,
    weight: ArrayLike | None = None,
    least: float = 0.0,
) -> Float[Array, ""]:
    """MIG-sup: `mean_d (best - second over f of I(z_d; v_f) / H(v_f))`, 1 where a dimension encodes one factor alone.

    Args:
      codes: `[N, D]`, finite.
      factors: `[N, F]` whole numbers 0..K-1, F at least 2.
      factor_sizes: number of values of each factor; needed where factors are traced.
      num_bins: number of bins of each code dimension.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.
      least: least share `I / H` of some factor that a dimension must have to count in the mean; 0 counts all
        dimensions, as the paper does, so that idle ones lower the score.

    Raises:
      ValueError: see `checks.checked`; a single factor.

    Source: Li, Murphy, Wong and Ling 2020, "Progressive Learning and Disentanglement of Hierarchical Representations",
    section 4.1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import mig_sup
      >>> factors = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]])
      >>> round(float(mig_sup(factors.astype(jnp.float32), factors)), 4)
      1.0
    """
    require_factors("a gap between the best two factors", factors)
    require_within("least", least, "[0, 1]")
    information, entropy = mutual_information(
        codes, factors, factor_sizes=factor_sizes, num_bins=num_bins, weight=weight
    )
    # transposed, since the gap is taken over factors here, not over dimensions
    shares = (information / jnp.where(entropy > 0, entropy, 1)[None]).T
    # with least = 0 every dimension counts
    counts = shares.max(0) >= least
    return jnp.clip(jnp.sum(best_gap(shares) * counts) / jnp.maximum(counts.sum(), 1), 0, 1)
