"""Sources of codes with factors: fixed arrays, a renderer with an encoder, or the codes of the whole grid.

Some scores read rows `(code, factors)`, others groups of rows that share a factor's value. A `Source` draws both, so
that every score runs on every source.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.data.factors import check_sizes, factors_at, index_of, sample_factors
from jaxae.disentanglement.checks import as_codes, checked, checked_sizes
from jaxae.numerics import require_count


class Source(NamedTuple):
    """Draws of codes with their factors. Both functions trace under `jit` and `vmap`.

    Attributes:
      factor_sizes: number of values of each of the F factors.
      sample: `(rng, num) -> (codes [num, D], factors [num, F] int32)`.
      sharing: `(rng, factor [P] int32, size) -> codes [P, size, D]`: all rows of group p share a random value
        of factor `factor[p]`; the other factors vary.
    """

    factor_sizes: tuple[int, ...]
    sample: Callable
    sharing: Callable


def from_generator(represent: Callable, factor_sizes: Sequence[int], batch_size: int | None = 1024) -> Source:
    """Draws uniformly from the grid of all combinations, independently: the protocol of the literature.

    Args:
      represent: function `factors [B, F] int32 -> codes [B, D]`, a renderer followed by an encoder.
      factor_sizes: number of values of each of the F factors.
      batch_size: number of rows in each call, which bounds the memory of images; None: all rows in one call.

    Raises:
      ValueError: sizes below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.disentanglement import from_generator
      >>> source = from_generator(lambda factors: factors.astype(jnp.float32), (3, 6))
      >>> codes, factors = source.sample(jax.random.key(0), 4)
      >>> bool((codes == factors).all()), source.sharing(jax.random.key(1), jnp.array([0, 1]), 5).shape
      (True, (2, 5, 2))
    """
    sizes = checked_sizes(factor_sizes, least=1)
    check_sizes(sizes)
    if batch_size is not None:
        batch_size = require_count("batch_size", batch_size)

    def codes_of(factors):
        if batch_size is None or len(factors) <= batch_size:
            return represent(factors)
        chunks = -(-len(factors) // batch_size)
        # padded to whole chunks: one program, and the memory of one chunk of images
        padded = jnp.pad(factors, ((0, chunks * batch_size - len(factors)), (0, 0)))
        codes = jax.lax.map(represent, padded.reshape(chunks, batch_size, -1))
        return codes.reshape(chunks * batch_size, *codes.shape[2:])[: len(factors)]

    def sample(rng, num):
        factors = sample_factors(rng, sizes, num)
        return codes_of(factors), factors

    def sharing(rng, factor, size):
        groups = factor.shape[0]
        factors = sample_factors(rng, sizes, groups * size).reshape(groups, size, -1)
        # the group's factor takes the value of the group's first row in all rows
        shared = jnp.arange(len(sizes))[None, None] == factor[:, None, None]
        factors = jnp.where(shared, factors[:, :1], factors)
        return codes_of(factors.reshape(groups * size, -1)).reshape(groups, size, -1)

    return Source(sizes, sample, sharing)


def code_table(represent: Callable, factor_sizes: Sequence[int], batch_size: int = 1024) -> Float[Array, "N D"]:
    """The codes of every combination, in the grid's order: enough for every score of a deterministic encoder.

    The 737,280 codes of sprites are encoded once, fewer images than one FactorVAE score draws.

    Args:
      represent: function `factors [B, F] int32 -> codes [B, D]`, as in `from_generator`.
      factor_sizes: number of values of each of the F factors.
      batch_size: number of rows in each call.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.disentanglement import code_table
      >>> code_table(lambda factors: factors.astype(jnp.float32), (2, 2)).tolist()
      [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    sizes = checked_sizes(factor_sizes, least=1)
    check_sizes(sizes)
    batch_size = require_count("batch_size", batch_size)
    total = int(np.prod(sizes))
    chunks = -(-total // batch_size)
    # the last chunk repeats the last combination, so that all chunks have one size
    index = jnp.minimum(jnp.arange(chunks * batch_size, dtype=jnp.int32), total - 1).reshape(chunks, batch_size)
    codes = jax.lax.map(lambda rows: represent(factors_at(rows, sizes)), index)
    return codes.reshape(chunks * batch_size, *codes.shape[2:])[:total]


def from_table(table: ArrayLike, factor_sizes: Sequence[int]) -> Source:
    """As `from_generator`, with codes that are looked up; under `vmap` over `table`, a source for each model.

    Args:
      table: `[N, D]`, codes of all combinations in the grid's order, from `code_table`.
      factor_sizes: number of values of each of the F factors; their product is N.

    Raises:
      ValueError: the table has another number of rows than there are combinations.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.disentanglement import from_table
      >>> from_table(jnp.arange(6.0)[:, None], (2, 3)).sample(jax.random.key(0), 4)[0].shape
      (4, 1)
    """
    factor_sizes = checked_sizes(factor_sizes, least=1)
    check_sizes(factor_sizes)
    total = int(np.prod(factor_sizes))
    table = as_codes(table, "table")
    if table.ndim != 2 or table.shape[0] != total:
        raise ValueError(
            f"factors of sizes {factor_sizes} have {total} combinations, which need a table [{total}, D]; got shape "
            f"{table.shape}"
        )
    return from_generator(lambda factors: table[index_of(factors, factor_sizes)], factor_sizes, batch_size=None)


def from_arrays(codes: ArrayLike, factors: ArrayLike) -> Source:
    """Draws from fixed rows: `sample` without replacement, so that a test part holds no row of the train part.

    Repeated draws are subsets of the same rows, so they vary less than new data where a draw takes most rows.
    `scoring.metrics.bootstrap` with a score's `weight` gives an interval over the rows themselves. Groups are made of
    rows of the data: where factors depend on each other in the data, they do so in the groups.

    Args:
      codes: `[N, D]`, finite.
      factors: `[N, F]` whole numbers 0..K-1.

    Raises:
      ValueError: see `checks.sizes_of`; a value that only one row has; (from `sample`) more rows are drawn than there
        are.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.disentanglement import from_arrays
      >>> source = from_arrays(jnp.arange(8.0)[:, None], jnp.arange(8)[:, None] % 2)
      >>> source.sharing(jax.random.key(0), jnp.array([0]), 3).shape
      (1, 3, 1)
    """
    codes, factors, sizes = checked(codes, factors)
    total = len(factors)
    order = jnp.argsort(factors, 0).T  # [F, N]: the rows by each factor's value
    ordered = jnp.take_along_axis(factors.T, order, 1)
    first, after = (jax.vmap(lambda row, s=s: jnp.searchsorted(row, row, side=s))(ordered) for s in ("left", "right"))
    # rows of one value are contiguous in each factor's order, from `first` to before `after`
    single_rows = np.argwhere(np.asarray(after - first) == 1)
    if len(single_rows):
        f, position = single_rows[0]
        raise ValueError(
            f"value {int(ordered[f, position])} of factor {f} has one row only; a group needs two to differ"
        )

    def sample(rng, num):
        if require_count("num", num) > total:
            raise ValueError(f"the protocol draws {num} rows, but there are {total}: draw fewer, or give more")
        rows = jax.random.permutation(rng, total)[:num]
        return codes[rows], factors[rows]

    def sharing(rng, factor, size):
        # a random row sets the group's value, so that values occur as often as in the data
        position_rng, row_rng = jax.random.split(rng)
        position = jax.random.randint(position_rng, factor.shape, 0, total)
        low, high = (bound[factor, position][:, None] for bound in (first, after))
        drawn = jax.random.randint(row_rng, (factor.shape[0], size), low, high)
        return codes[order[factor[:, None], drawn]]

    return Source(sizes, sample, sharing)
