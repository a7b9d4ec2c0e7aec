"""Ground-truth factors: whole numbers `[..., F]`, factor f in 0..sizes[f] - 1, and their index in the full grid."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Int

from jaxae.numerics.arguments import check_arguments


def sample_factors(rng: Array, sizes: Sequence[int], num: int) -> Int[Array, "num F"]:
    """Factors drawn uniformly and independently of each other.

    Args:
      rng: a key.
      sizes: number of values of each of the F factors.
      num: number of rows.

    Raises:
      ValueError: a size below 1, or no factor.

    Example:
      >>> import jax
      >>> from jaxae.data.factors import sample_factors
      >>> sample_factors(jax.random.key(0), (3, 6, 40), 5).shape
      (5, 3)
    """
    check_sizes(sizes)
    return jax.random.randint(rng, (num, len(sizes)), 0, jnp.array(sizes, jnp.int32)[None])


def index_of(factors: Int[Array, "*B F"], sizes: Sequence[int]) -> Int[Array, "*B"]:
    """Index of a combination in the grid of all combinations; the last factor varies fastest.

    Args:
      factors: `[..., F]` whole numbers.
      sizes: number of values of each of the F factors.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.data.factors import index_of
      >>> index_of(jnp.array([[0, 0], [1, 2]]), (2, 3)).tolist()
      [0, 5]
    """
    check_sizes(sizes)
    # mixed radix: one step of factor f passes all combinations of the factors after it
    steps = [math.prod(sizes[f + 1 :]) for f in range(len(sizes))]
    return jnp.einsum("...f,f->...", jnp.asarray(factors), jnp.array(steps, jnp.int32))


def factors_at(index: Int[Array, "*B"], sizes: Sequence[int]) -> Int[Array, "*B F"]:
    """The combination at an index of the grid: the inverse of `index_of`.

    Args:
      index: `[...]` int32, 0 to the product of `sizes` less 1.
      sizes: number of values of each of the F factors.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.data.factors import factors_at
      >>> factors_at(jnp.array([0, 5]), (2, 3)).tolist()
      [[0, 0], [1, 2]]
    """
    check_sizes(sizes)
    return jnp.stack(jnp.unravel_index(jnp.asarray(index), tuple(sizes)), -1).astype(jnp.int32)


def check_sizes(sizes: Sequence[int]) -> None:
    """Raises ValueError where these are no numbers of values, or their grid has no int32 index."""
    if not len(sizes) or min(sizes) < 1 or math.prod(sizes) >= 2**31:
        raise ValueError(f"factors need sizes of at least 1 and below 2^31 combinations in all; got {tuple(sizes)}")


check_arguments(__name__)
