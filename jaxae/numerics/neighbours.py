"""The nearest rows of a bank: exact search, without a matrix of all queries by the whole bank."""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Num

from jaxae.numerics.arguments import check_arguments

# memory of one chunk's distances, and of the bank rows gathered for it
CHUNK_BYTES = 4 * 2**20


def nearest_rows(
    queries: Float[Array, "N D"], bank: Float[Array, "M E"], k: int = 1, weight: Num[Array, " M"] | None = None
) -> tuple[Float[Array, "N k"], Int[Array, "N k"]]:
    """The k rows of the bank with the least Euclidean distance to each query, the nearest first.

    Candidates are ranked by `|b|^2 - 2 q.b`, chunk by chunk. The distances of those k are then computed from
    differences, so that a row of the bank is at distance 0 from itself. Under `vmap` over queries with one bank the
    mapped axis is folded into the queries: row-by-row scoring is chunked as a batch is. No gradient flows.

    Args:
      queries: `[N, D]` floating.
      bank: `[M, D]` floating, as wide as the queries (E is D), M at least k.
      k: number of neighbours, at least 1.
      weight: `[M]`, 0 where a row is left out of the search; None searches all rows.

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
            # chunks of equal size: the last one is padded by less than a row per chunk
            rows = -(-n // -(-n // rows))
        chunks = -(-n // rows)
        padded = jnp.pad(queries, ((0, chunks * rows - n), (0, 0))).reshape(chunks, rows, -1)
        nearest = jax.lax.map(lambda chunk: _in_chunk(chunk, bank, norms, k), padded)
        return tuple(a.reshape(-1, k)[:n] for a in nearest)

    @search.def_vmap
    def fold_queries(axis_size, in_batched, queries, bank, absent):
        if any(in_batched[1:]):
            # an ensemble: each member has its own bank, so the members are searched one after another
            per_member = [
                a if batched else jnp.broadcast_to(a, (axis_size, *a.shape))
                for a, batched in zip((queries, bank, absent), in_batched, strict=True)
            ]
            return jax.lax.map(lambda arrays: search(*arrays), tuple(per_member)), (True, True)
        # the mapped axis becomes more queries: mapping the chunked loop would multiply a chunk's memory by its size
        nearest = search(queries.reshape(-1, queries.shape[-1]), bank, absent)
        return tuple(a.reshape(*queries.shape[:2], k) for a in nearest), (True, True)

    return search


def _in_chunk(queries, bank, norms, k):
    # |q - b|^2 = |q|^2 - (2 q.b - |b|^2): |q|^2 is the same for the whole bank and left out of the ranking
    product = jnp.matmul(queries, bank.T, precision=jax.lax.Precision.HIGHEST)
    closeness, index = jax.lax.top_k(2 * product - norms[None], k)
    # the expansion cancels digits where q is near b, so the k distances are taken anew from differences
    difference = queries[:, None] - bank.at[index].get(mode="promise_in_bounds")
    distance = jnp.sqrt(jnp.sum(difference**2, -1))
    # a row of weight 0 has norm infinity: it may fill up the k, but at infinite distance
    distance = jnp.where(closeness == -jnp.inf, jnp.inf, distance)
    order = jnp.argsort(distance, -1)  # rounding may have swapped neighbours among the candidates
    return jnp.take_along_axis(distance, order, -1), jnp.take_along_axis(index, order, -1).astype(jnp.int32)


check_arguments(__name__)
