"""The nearest rows of a bank: exact, without a matrix of all queries by the whole bank."""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Num

# What exists of distances, or of the rows that were found, at a time.
CHUNK_BYTES = 4 * 2**20


def nearest_rows(
    queries: Float[Array, "N D"], bank: Float[Array, "M E"], k: int = 1, weight: Num[Array, " M"] | None = None
) -> tuple[Float[Array, "N k"], Int[Array, "N k"]]:
    """The k rows of the bank with the least Euclidean distance to each query, the nearest first.

    Candidates are found by `|b|^2 - 2 q.b`, chunk by chunk; the distances of those k are then taken from the
    differences themselves, so that a row of the bank is at distance 0 from itself. Under `vmap` over queries with one
    bank the mapped axis is folded into the queries: row-by-row scoring is chunked as a batch is. Without gradient.

    Args:
      queries: `[N, D]` floating.
      bank: `[M, D]` floating, as wide as the queries (E is D), M at least k.
      k: how many, at least 1.
      weight: `[M]`; a row of weight 0 is as if it were not there. None: all count.

    Returns:
      Distances `[N, k]` float32 (infinite where fewer than k rows count), and indices into the bank `[N, k]` int32.

    Raises:
      ValueError: the widths differ, or the bank has fewer than k rows.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.numerics.neighbours import nearest_rows
      >>> distance, index = nearest_rows(jnp.array([[2.0]]), jnp.array([[0.0], [1.0], [5.0]]), k=2)
      >>> distance.tolist(), index.tolist()
      ([[1.0, 2.0]], [[1, 0]])
    """
    if queries.shape[-1] != bank.shape[-1]:
        raise ValueError(f"queries are {queries.shape[-1]} wide, the bank {bank.shape[-1]}: they must agree")
    if not 1 <= k <= bank.shape[0]:
        raise ValueError(f"k must lie between 1 and the number of rows of the bank, {bank.shape[0]}; got {k}")
    queries, bank = (jax.lax.stop_gradient(a.astype(jnp.float32)) for a in (queries, bank))
    absent = jnp.zeros(bank.shape[0]) if weight is None else jnp.where(weight > 0, 0.0, jnp.inf)
    return _search(k)(queries, bank, absent)


@functools.cache
def _search(k):
    @jax.custom_batching.custom_vmap
    def search(queries, bank, absent):
        n, (m, width) = queries.shape[0], bank.shape
        norms = jnp.sum(bank**2, -1) + absent
        rows = max(1, CHUNK_BYTES // (4 * max(m, k * width)))
        if isinstance(n, int):  # an exported program's batch is symbolic: full chunks then
            if n <= rows:
                return _in_chunk(queries, bank, norms, k)
            rows = -(-n // -(-n // rows))
        chunks = -(-n // rows)
        padded = jnp.pad(queries, ((0, chunks * rows - n), (0, 0))).reshape(chunks, rows, -1)
        found = jax.lax.map(lambda chunk: _in_chunk(chunk, bank, norms, k), padded)
        return tuple(a.reshape(-1, k)[:n] for a in found)

    @search.def_vmap
    def rule(axis_size, in_batched, queries, bank, absent):
        if any(in_batched[1:]):
            # an ensemble: each member has a bank of its own, so the members go one after the other
            members = [
                a if batched else jnp.broadcast_to(a, (axis_size, *a.shape))
                for a, batched in zip((queries, bank, absent), in_batched, strict=True)
            ]
            return jax.lax.map(lambda one: search(*one), tuple(members)), (True, True)
        found = search(queries.reshape(-1, queries.shape[-1]), bank, absent)
        return tuple(a.reshape(*queries.shape[:2], k) for a in found), (True, True)

    return search


def _in_chunk(queries, bank, norms, k):
    product = jnp.matmul(queries, bank.T, precision=jax.lax.Precision.HIGHEST)
    closeness, index = jax.lax.top_k(2 * product - norms[None], k)
    difference = queries[:, None] - bank.at[index].get(mode="promise_in_bounds")
    distance = jnp.sqrt(jnp.sum(difference**2, -1))
    distance = jnp.where(closeness == -jnp.inf, jnp.inf, distance)
    order = jnp.argsort(distance, -1)  # rounding may have swapped neighbours among the candidates
    return jnp.take_along_axis(distance, order, -1), jnp.take_along_axis(index, order, -1).astype(jnp.int32)
