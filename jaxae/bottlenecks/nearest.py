"""The nearest code of a codebook, or a random one: exact, without a matrix of all tokens by all codes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

# memory of a chunk's distances, which should fit a core's cache; on XLA:CPU 4 to 8 MB is fastest for D 64 to 256
CHUNK_BYTES = 4 * 2**20
# least rows of a chunk, up to the memory cap: products of a few rows with a large codebook are slow
CHUNK_ROWS = 64
MOST_BYTES = 64 * 2**20
# number of blocks of codes: argmin is a slow tuple reduction on XLA:CPU, a running minimum over blocks is elementwise
BLOCKS = 8


def nearest_code(tokens: Float[Array, "N D"], codebook: Float[Array, "K D"]) -> Int[Array, " N"]:
    """The index of the code with the least squared distance, the lowest on ties; -1 for a token that is not finite.

    Distances are float32 for every input dtype, without gradient. Tokens are processed in chunks, so that at most
    `MOST_BYTES` of distances exist at a time (or one row of K, if that is more). Under `vmap` over tokens with one
    codebook the mapped axis is folded into the tokens, so row-by-row scoring is chunked as a batch is.

    Args:
      tokens: `[N, D]` floating, vectors to quantize.
      codebook: `[K, D]` floating, the codes.

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

    Args:
      tokens: `[N, D]` floating, vectors to quantize.
      codebook: `[K, D]` floating, the codes.
      count: number of codes for each token, 1 to K.

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

    The largest of `-distance / temperature` plus Gumbel noise is such a draw (Gumbel 1954); no normalisation is needed.

    Args:
      rng: a key.
      tokens: `[N, D]` floating, vectors to quantize.
      codebook: `[K, D]` floating, the codes.
      temperature: temperature of the draw, above 0.

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
    """`|token - code|^2` of all pairs, with gradients: for `map_rows`, or where the matrix is small.

    Args:
      tokens: `[N, D]`, vectors to compare with the codes.
      codebook: `[K, D]`, the codes.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.nearest import squared_distances
      >>> squared_distances(jnp.array([[2.0]]), jnp.array([[0.0], [1.0]])).tolist()
      [[4.0, 1.0]]
    """
    product = jnp.matmul(tokens, codebook.T, precision=jax.lax.Precision.HIGHEST)
    # |t - c|^2 = |t|^2 - 2 t.c + |c|^2
    return jnp.sum(tokens**2, -1, keepdims=True) - 2 * product + jnp.sum(codebook**2, -1)[None]


def map_rows(function: Callable, num_columns: int, *rows: Array):
    """`function(*rows)` in chunks of rows, so that a matrix of `num_columns` floats a row stays within the memory cap.

    Args:
      function: function of arrays with a leading axis of rows, which it treats independently. Its results have a
        leading axis of rows, or of length 1: a sum over the chunk's rows, which the caller sums. Rows of zeros may be
        added.
      num_columns: number of columns of the largest matrix inside the function.
      *rows: arrays of the same length.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks.nearest import map_rows
      >>> map_rows(lambda a: a + 1, 10**9, jnp.arange(3)).tolist()
      [1, 2, 3]
    """
    n = rows[0].shape[0]
    # as many rows as fit the cache, but at least CHUNK_ROWS while they stay under the cap
    count = max(1, CHUNK_BYTES // (4 * num_columns), min(CHUNK_ROWS, MOST_BYTES // (4 * num_columns)))
    if isinstance(n, int):  # an exported program's batch is symbolic: full chunks then
        if n <= count:
            return function(*rows)
        # chunks of equal size: the last one is padded by less than a row per chunk
        count = -(-n // -(-n // count))
    chunks = -(-n // count)

    def to_chunks(a):
        if not isinstance(n, int) or chunks * count > n:
            last = jnp.broadcast_to(a[-1:], (chunks * count - n, *a.shape[1:]))
            # zeros, so that weights of padded rows are 0; keys are no numbers and repeat the last one
            a = jnp.concatenate([a, jnp.zeros_like(last) if jnp.issubdtype(a.dtype, jnp.number) else last])
        return a.reshape(chunks, count, *a.shape[1:])

    results = jax.lax.map(lambda chunk: function(*chunk), tuple(to_chunks(a) for a in rows))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:n], results)


def _check_widths(tokens, codebook):
    if tokens.shape[-1] != codebook.shape[-1]:
        raise ValueError(f"tokens are {tokens.shape[-1]} wide, codes {codebook.shape[-1]}: they must agree")


@jax.custom_batching.custom_vmap
def _nearest(tokens, codebook):
    k = codebook.shape[0]
    width = -(-k // BLOCKS)
    missing = width * BLOCKS - k
    # padding codes have norm infinity and are never nearest
    norms = jnp.pad(jnp.sum(codebook**2, -1), (0, missing), constant_values=jnp.inf)
    # |t|^2 is the same for all codes and left out: the rank is by |c|^2 - 2 t.c
    codes = jnp.pad(-2 * codebook, ((0, missing), (0, 0)))
    return map_rows(lambda rows: _nearest_in_chunk(rows, codes, norms), width * BLOCKS, tokens)


@_nearest.def_vmap
def _nearest_vmap(axis_size, in_batched, tokens, codebook):
    tokens_batched, codebook_batched = in_batched
    if codebook_batched:
        # an ensemble: each member has its own codebook, so the members are searched one after another
        if not tokens_batched:
            return jax.lax.map(lambda book: _nearest(tokens, book), codebook), True
        return jax.lax.map(lambda pair: _nearest(*pair), (tokens, codebook)), True
    # the mapped axis becomes more tokens: mapping the chunked loop would multiply a chunk's memory
    ids = _nearest(tokens.reshape(-1, tokens.shape[-1]), codebook)
    return ids.reshape(tokens.shape[:2]), True


def _nearest_in_chunk(tokens, codes, norms):
    width = norms.shape[0] // BLOCKS
    product = jnp.matmul(tokens, codes.T, precision=jax.lax.Precision.HIGHEST)
    # codes in BLOCKS blocks of `width`: block b holds codes b * width to (b + 1) * width - 1
    distance = (product + norms[None]).reshape(-1, BLOCKS, width)
    least, block = distance[:, 0], jnp.zeros((tokens.shape[0], width), jnp.int32)
    for i in range(1, BLOCKS):
        is_closer = distance[:, i] < least
        least, block = jnp.where(is_closer, distance[:, i], least), jnp.where(is_closer, i, block)
    index = block * width + jnp.arange(width, dtype=jnp.int32)[None]
    nearest = least.min(-1, keepdims=True)
    # the lowest index among equals, as argmin would give
    first = jnp.where(least == nearest, index, jnp.iinfo(jnp.int32).max).min(-1)
    return jnp.where(jnp.isfinite(nearest[:, 0]), first, -1)
