"""The nearest code of a codebook, or a drawn one: exact, without a matrix of all tokens by all codes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

# A chunk of distances that stays in a core's cache. Measured on XLA:CPU: 4 to 8 MB is best for D 64 to 256.
CHUNK_BYTES = 4 * 2**20
# Products of a few rows are slow, so a large book gets chunks of this many rows, up to the cap.
CHUNK_ROWS = 64
MOST_BYTES = 64 * 2**20
# argmin is a slow tuple reduction on XLA:CPU; a running minimum over this many blocks of codes is elementwise.
BLOCKS = 8


def nearest_code(tokens: Float[Array, "N D"], codebook: Float[Array, "K D"]) -> Int[Array, " N"]:
    """The index of the code with the least squared distance, the lowest on ties; -1 for a token that is not finite.

    Distances are float32 whatever comes in, without gradient. Tokens go through in chunks, so that at most
    `MOST_BYTES` of distances exist at a time (one row of K where that is more). Under `vmap` over tokens with one
    codebook the mapped axis is folded into the tokens, so row-by-row scoring is chunked as a batch is.

    Args:
      tokens: `[N, D]` floating.
      codebook: `[K, D]` floating.

    Returns:
      `[N]` int32.

    Raises:
      ValueError: the widths differ.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.nearest import nearest_code
      >>> nearest_code(jnp.array([[0.9], [0.1], [jnp.nan]]), jnp.array([[0.0], [1.0], [1.0]])).tolist()
      [1, 0, -1]
    """
    _check_widths(tokens, codebook)
    tokens, codebook = (jax.lax.stop_gradient(a.astype(jnp.float32)) for a in (tokens, codebook))
    return _nearest(tokens, codebook)


def nearest_codes(tokens: Float[Array, "N D"], codebook: Float[Array, "K D"], count: int) -> Int[Array, "N count"]:
    """The indices of the `count` nearest codes, nearest first, the lowest first on ties; chunked as `nearest_code`.

    Raises:
      ValueError: the widths differ, or count is not in [1, K].

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.nearest import nearest_codes
      >>> nearest_codes(jnp.array([[0.9], [0.1]]), jnp.array([[0.0], [1.0], [2.0]]), 2).tolist()
      [[1, 0], [0, 1]]
    """
    _check_widths(tokens, codebook)
    if not 1 <= count <= codebook.shape[0]:
        raise ValueError(f"nearest_codes: count must be in [1, {codebook.shape[0]}], got {count}")
    tokens, codebook = (jax.lax.stop_gradient(a.astype(jnp.float32)) for a in (tokens, codebook))

    def chunk(rows):
        least, ids = jax.lax.top_k(-squared_distances(rows, codebook), count)
        return jnp.where(jnp.isfinite(least), ids, -1)

    return map_rows(chunk, codebook.shape[0], tokens)


def drawn_code(
    rng: Array, tokens: Float[Array, "N D"], codebook: Float[Array, "K D"], temperature: ArrayLike
) -> Int[Array, " N"]:
    """A code drawn with probability proportional to `exp(-distance / temperature)`; -1 for a token that is not finite.

    The largest of `-distance / temperature` plus Gumbel noise is such a draw (Gumbel 1954), so nothing is normalised.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.nearest import drawn_code
      >>> drawn_code(jax.random.key(0), jnp.array([[0.9], [0.1]]), jnp.array([[0.0], [1.0]]), 1e-3).tolist()
      [1, 0]
    """
    _check_widths(tokens, codebook)
    tokens, codebook = (jax.lax.stop_gradient(a.astype(jnp.float32)) for a in (tokens, codebook))
    keys = jax.random.split(rng, tokens.shape[0])

    def chunk(rows, keys):
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (codebook.shape[0],)))(keys)
        ids = jnp.argmax(noise - squared_distances(rows, codebook) / temperature, -1).astype(jnp.int32)
        return jnp.where(jnp.isfinite(rows).all(-1), ids, -1)

    return map_rows(chunk, codebook.shape[0], tokens, keys)


def squared_distances(tokens: Float[Array, "N D"], codebook: Float[Array, "K D"]) -> Float[Array, "N K"]:
    """`|token - code|^2` of all pairs, with gradients: for `map_rows`, or where the matrix is known to be small.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.nearest import squared_distances
      >>> squared_distances(jnp.array([[2.0]]), jnp.array([[0.0], [1.0]])).tolist()
      [[4.0, 1.0]]
    """
    product = jnp.matmul(tokens, codebook.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(tokens**2, -1, keepdims=True) - 2 * product + jnp.sum(codebook**2, -1)[None]


def map_rows(function: Callable, num_columns: int, *rows: Array):
    """`function(*rows)` in chunks of rows: what it holds of `num_columns` floats a row stays within the cap.

    Args:
      function: acts on rows independently; arrays with a leading axis in and out (of length 1: a sum over the chunk's
        rows, to be summed by the caller). Rows of zeros may be added.
      num_columns: of its largest matrix.
      *rows: arrays of the same length.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.nearest import map_rows
      >>> map_rows(lambda a: a + 1, 10**9, jnp.arange(3)).tolist()
      [1, 2, 3]
    """
    n = rows[0].shape[0]
    count = max(1, CHUNK_BYTES // (4 * num_columns), min(CHUNK_ROWS, MOST_BYTES // (4 * num_columns)))
    if isinstance(n, int):  # an exported program's batch is symbolic: full chunks then
        if n <= count:
            return function(*rows)
        count = -(-n // -(-n // count))
    chunks = -(-n // count)

    def cut(a):
        if not isinstance(n, int) or chunks * count > n:
            last = jnp.broadcast_to(a[-1:], (chunks * count - n, *a.shape[1:]))
            # weights must not count twice; keys hold no numbers
            a = jnp.concatenate([a, jnp.zeros_like(last) if jnp.issubdtype(a.dtype, jnp.number) else last])
        return a.reshape(chunks, count, *a.shape[1:])

    found = jax.lax.map(lambda chunk: function(*chunk), tuple(cut(a) for a in rows))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], found)


def _check_widths(tokens, codebook):
    if tokens.shape[-1] != codebook.shape[-1]:
        raise ValueError(f"tokens are {tokens.shape[-1]} wide, codes {codebook.shape[-1]}: they must agree")


@jax.custom_batching.custom_vmap
def _nearest(tokens, codebook):
    k = codebook.shape[0]
    width = -(-k // BLOCKS)
    missing = width * BLOCKS - k
    norms = jnp.pad(jnp.sum(codebook**2, -1), (0, missing), constant_values=jnp.inf)
    codes = jnp.pad(-2 * codebook, ((0, missing), (0, 0)))
    return map_rows(lambda rows: _nearest_in_chunk(rows, codes, norms), width * BLOCKS, tokens)


@_nearest.def_vmap
def _nearest_vmap(axis_size, in_batched, tokens, codebook):
    tokens_batched, codebook_batched = in_batched
    if codebook_batched:
        # an ensemble: each member has a book of its own, so the members go one after the other
        if not tokens_batched:
            return jax.lax.map(lambda book: _nearest(tokens, book), codebook), True
        return jax.lax.map(lambda pair: _nearest(*pair), (tokens, codebook)), True
    ids = _nearest(tokens.reshape(-1, tokens.shape[-1]), codebook)
    return ids.reshape(tokens.shape[:2]), True


def _nearest_in_chunk(tokens, codes, norms):
    width = norms.shape[0] // BLOCKS
    product = jnp.matmul(tokens, codes.T, precision=jax.lax.Precision.HIGHEST)
    distance = (product + norms[None]).reshape(-1, BLOCKS, width)
    least, block = distance[:, 0], jnp.zeros((tokens.shape[0], width), jnp.int32)
    for i in range(1, BLOCKS):
        closer = distance[:, i] < least
        least, block = jnp.where(closer, distance[:, i], least), jnp.where(closer, i, block)
    index = block * width + jnp.arange(width, dtype=jnp.int32)[None]
    nearest = least.min(-1, keepdims=True)
    found = jnp.where(least == nearest, index, jnp.iinfo(jnp.int32).max).min(-1)
    return jnp.where(jnp.isfinite(nearest[:, 0]), found, -1)
