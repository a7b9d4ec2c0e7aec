"""Mutual information between binned codes and factors, by counting."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from jaxae.disentanglement.checks import checked
from jaxae.numerics import as_weights, require_count


def binned(codes: Float[Array, "N D"], num_bins: int = 20) -> Int[Array, "N D"]:
    """Bin of each code: each dimension is divided into bins of equal width from its least to its greatest value.

    Args:
      codes: `[N, D]`, finite.
      num_bins: number of bins.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement.information import binned
      >>> binned(jnp.array([[0.0], [0.4], [0.5], [1.0]]), 2)[:, 0].tolist()
      [0, 0, 1, 1]
    """
    low, high = codes.min(0, keepdims=True), codes.max(0, keepdims=True)
    position = (codes - low) / jnp.where(high > low, high - low, 1) * num_bins
    return jnp.clip(jnp.floor(position), 0, num_bins - 1).astype(jnp.int32)


ROUNDING = 1e-5  # nats


def mutual_information(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    factor_sizes: Sequence[int] | None = None,
    num_bins: int = 20,
    weight: ArrayLike | None = None,
) -> tuple[Float[Array, "D F"], Float[Array, " F"]]:
    """`I(z_d; v_f) = sum p(z, v) log(p(z, v) / p(z) p(v))` of binned codes, and the entropies `H(v_f)`.

    Estimated from N rows of independent variables it is about `(bins - 1) (size - 1) / 2N` nats instead of 0: compare
    at equal numbers of rows and bins.

    Args:
      codes: `[N, D]`, finite.
      factors: `[N, F]` whole numbers 0..K-1.
      factor_sizes: number of values of each factor; None takes the greatest value plus 1, which needs concrete factors.
      num_bins: number of bins of each code dimension, of equal width.
      weight: `[N]`, weight of each row, not negative; None weighs all rows 1.

    Returns:
      `[D, F]` and `[F]`, nats.

    Raises:
      ValueError: see `checks.checked`; fewer than 2 bins.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import mutual_information
      >>> information, entropy = mutual_information(jnp.array([[0.0], [9.0]]), jnp.array([[0], [1]]))
      >>> round(float(information[0, 0]), 4), round(float(entropy[0]), 4)
      (0.6931, 0.6931)
    """
    codes, factors, sizes = checked(codes, factors, factor_sizes)
    num_bins = require_count("num_bins", num_bins, 2)
    rows, width = codes.shape
    share = as_weights(weight, rows)
    share = share / jnp.maximum(share.sum(), 1e-30)
    bins = jax.nn.one_hot(binned(codes, num_bins), num_bins).reshape(rows, -1)
    values = [jax.nn.one_hot(factors[:, f], size) for f, size in enumerate(sizes)]
    # all joint distributions p(z_d, v_f) in one product of one-hot matrices
    product = jnp.matmul(bins.T, share[:, None] * jnp.concatenate(values, 1), precision=jax.lax.Precision.HIGHEST)
    # back to one joint distribution [D, bins, values] for each factor
    joint = jnp.split(product.reshape(width, num_bins, -1), [sum(sizes[: f + 1]) for f in range(len(sizes) - 1)], -1)
    of_code = [-_entropy(part.sum(2)).sum(1) for part in joint]
    of_factor = [-_entropy(part[0].sum(0)).sum() for part in joint]
    of_both = [-_entropy(part).sum((1, 2)) for part in joint]
    # I(z; v) = H(z) + H(v) - H(z, v)
    information = [c + f - b for c, f, b in zip(of_code, of_factor, of_both, strict=True)]
    stacked = jnp.stack(information, 1)
    # an idle dimension gets a rounding error, which a ratio such as modularity would take for information
    return jnp.where(stacked > ROUNDING, stacked, 0), jnp.stack(of_factor)


def _entropy(p):
    # 0 log 0 = 0; the inner where keeps log 0 out of the product
    return p * jnp.log(jnp.where(p > 0, p, 1))


def best_gap(values: Float[Array, "D F"]) -> Float[Array, " F"]:
    """The greatest value of each column minus the second greatest.

    Args:
      values: `[D, F]`, D at least 2.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement.information import best_gap
      >>> best_gap(jnp.array([[1.0, 5.0], [4.0, 5.0]])).tolist()
      [3.0, 0.0]
    """
    top, _ = jax.lax.top_k(values.T, 2)
    return top[:, 0] - top[:, 1]
