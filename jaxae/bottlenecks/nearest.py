"""The nearest code of a codebook: exact, without a matrix of all tokens by all codes."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

# A chunk of distances that stays in a core's cache. Measured on XLA:CPU: 4 to 8 MB is best for D 64 to 256.
CHUNK_BYTES = 4 * 2**20
# argmin is a slow tuple reduction on XLA:CPU; a running minimum over this many blocks of codes is elementwise.
BLOCKS = 8


def nearest_code(tokens: Float[Array, "N D"], codebook: Float[Array, "K D"]) -> Int[Array, " N"]:
    """The index of the code with the least squared distance; the lowest index on ties.

    Distances are float32 whatever comes in, without gradient. Tokens go through in chunks, so at most
    `CHUNK_BYTES` of distances exist at a time (one row of K where that is more). Under `vmap` over tokens with one
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
      >>> nearest_code(jnp.array([[0.9], [0.1]]), jnp.array([[0.0], [1.0], [1.0]])).tolist()
      [1, 0]
    """
    if tokens.shape[-1] != codebook.shape[-1]:
        raise ValueError(f"tokens are {tokens.shape[-1]} wide, codes {codebook.shape[-1]}: they must agree")
    tokens, codebook = (jax.lax.stop_gradient(a.astype(jnp.float32)) for a in (tokens, codebook))
    return _nearest(tokens, codebook)


@jax.custom_batching.custom_vmap
def _nearest(tokens, codebook):
    n, k = tokens.shape[0], codebook.shape[0]
    width = -(-k // BLOCKS)
    missing = width * BLOCKS - k
    norms = jnp.pad(jnp.sum(codebook**2, -1), (0, missing), constant_values=jnp.inf)
    codes = jnp.pad(-2 * codebook, ((0, missing), (0, 0)))
    rows = max(1, CHUNK_BYTES // (4 * width * BLOCKS))
    if isinstance(n, int):  # an exported program's batch is symbolic: full chunks then
        if n <= rows:
            return _nearest_in_chunk(tokens, codes, norms)
        rows = -(-n // -(-n // rows))
    chunks = -(-n // rows)
    padded = jnp.pad(tokens, ((0, chunks * rows - n), (0, 0))).reshape(chunks, rows, -1)
    return jax.lax.map(lambda chunk: _nearest_in_chunk(chunk, codes, norms), padded).reshape(-1)[:n]


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
    ties = jnp.where(least == least.min(-1, keepdims=True), index, jnp.iinfo(jnp.int32).max)
    # NaN tokens tie with nothing: they get code 0, so that every symbol is in range
    found = ties.min(-1)
    return jnp.where(found == jnp.iinfo(jnp.int32).max, 0, found)
