"""Vector quantization with a learned codebook: by exponential moving averages or by gradient."""

import math

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from jaxae.bottlenecks.nearest import nearest_code
from jaxae.numerics import straight_through, sum_per_example
from jaxae.types import Bottleneck, Code


def vector_quantizer(
    num_codes: int,
    *,
    learn: str = "ema",
    commitment: float = 0.25,
    decay: float = 0.99,
    restart_below: float = 0.1,
    axis_name: str | None = None,
) -> Bottleneck:
    """Each vector of `h` becomes the nearest of `num_codes` codes; straight-through gradient to the encoder.

    `penalty = commitment * |h - sg(code)|^2` summed over an example's vectors, and with `learn="gradient"` also
    `|sg(h) - code|^2`. `rate` is `log num_codes` nats a vector, the code length under a uniform prior.

    Statistics start empty, so the first training batch restarts every code at one of its own vectors: that is the
    initialisation. Later a code whose running count falls below `restart_below` of the mean count is restarted in
    the same way, with its statistics. The codebook of `learn="gradient"` belongs to the optimizer; its restarts are
    a shift kept in the state, and the book in use is their sum.

    Args:
      num_codes: K, at least 2.
      learn: "ema" (codes are running means of the vectors they quantize; no parameters) or "gradient".
      commitment: weight of the commitment term, >= 0.
      decay: of the running counts and sums, in [0, 1).
      restart_below: fraction of the mean count under which a code is restarted; 0 switches restarts off, and the
        book then starts (and may stay) at random normal vectors.
      axis_name: under `pmap` or `shard_map` alone, the mapped axis: vectors are gathered from all replicas before the
        statistics are updated, and restarts drawn once for all. Under `jit` with a sharded batch leave it None.

    Returns:
      A `Bottleneck` with `lookup`, whose latents equal those that the decoder read bit for bit.

    Raises:
      ValueError: an argument is out of its range.

    Source: van den Oord, Vinyals and Kavukcuoglu 2017, equation 3 and appendix A.1; restarts: Dhariwal et al. 2020,
    "Jukebox", section 3.1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks
      >>> layer = bottlenecks.vector_quantizer(4)
      >>> h = jax.random.normal(jax.random.key(0), (2, 5, 3))
      >>> params, state = layer.init(jax.random.key(1), h)
      >>> code, state = layer.apply(params, state, jax.random.key(2), h)
      >>> code.latent.shape, code.symbols.shape
      ((2, 5, 3), (2, 5))
    """
    _check(num_codes, learn, commitment, decay, restart_below)
    by_gradient = learn == "gradient"

    def init(rng, h, condition=None):
        book = jax.random.normal(rng, (num_codes, h.shape[-1]))
        counts = jnp.zeros(num_codes)
        if by_gradient:
            return {"codebook": book}, {"shift": jnp.zeros_like(book), "counts": counts}
        return {}, {"codebook": book, "counts": counts, "sums": jnp.zeros_like(book)}

    def book_of(params, state):
        return params["codebook"] + state["shift"] if by_gradient else state["codebook"]

    def apply(params, state, rng, h, condition=None):
        h = h.astype(jnp.float32)
        book = book_of(params, state)
        vectors = h.reshape(-1, h.shape[-1])
        ids = nearest_code(vectors, book)
        codes = _rows(book, ids).reshape(h.shape)
        penalty = commitment * sum_per_example((h - stop_gradient(codes)) ** 2)
        if by_gradient:
            penalty = penalty + sum_per_example((stop_gradient(h) - codes) ** 2)
        if rng is not None:
            state = jax.tree.map(stop_gradient, update(params, state, rng, stop_gradient(vectors), ids))
        rate = jnp.full(h.shape[0], math.prod(h.shape[1:-1]) * math.log(num_codes), jnp.float32)
        latent = straight_through(stop_gradient(codes), h)
        return Code(latent, penalty, rate, ids.reshape(h.shape[:-1])), state

    def update(params, state, rng, vectors, ids):
        draws = jax.random.randint(rng, (num_codes,), 0, vectors.shape[0] * _replicas(axis_name))
        if axis_name is not None:
            vectors = jax.lax.all_gather(vectors, axis_name, tiled=True)
            ids = jax.lax.all_gather(ids, axis_name, tiled=True)
            draws = jax.lax.all_gather(draws, axis_name)[0]  # replicas hold different keys: all follow the first
        seen = jnp.zeros(num_codes).at[ids].add(1.0)
        counts = decay * state["counts"] + (1 - decay) * seen
        mean_count = vectors.shape[0] / num_codes
        dead = counts < restart_below * mean_count
        fresh = vectors[draws]
        new_counts = jnp.where(dead, mean_count, counts)
        if by_gradient:
            shift = jnp.where(dead[:, None], fresh - params["codebook"], state["shift"])
            return {"shift": shift, "counts": new_counts}
        sums = decay * state["sums"] + (1 - decay) * jnp.zeros_like(state["sums"]).at[ids].add(vectors)
        # the restart resets count and sum too, or the next step would undo it
        sums = jnp.where(dead[:, None], fresh * mean_count, sums)
        used = (new_counts > 0)[:, None]
        book = jnp.where(used, sums / jnp.where(used, new_counts[:, None], 1.0), state["codebook"])
        return {"codebook": book, "counts": new_counts, "sums": sums}

    def lookup(params, state, symbols, condition=None):
        return _rows(stop_gradient(book_of(params, state)), symbols)

    def sample(params, state, rng, h, condition=None):
        return lookup(params, state, jax.random.randint(rng, h.shape[:-1], 0, num_codes))

    return Bottleneck(init, apply, sample, lookup)


def _rows(book, ids):
    # ids come from the lookup or from a caller's symbols: clipping keeps a foreign symbol from reading elsewhere
    return book.at[ids].get(mode="clip")


def _replicas(axis_name):
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def _check(num_codes, learn, commitment, decay, restart_below):
    if num_codes < 2:
        raise ValueError(f"vector_quantizer: num_codes must be at least 2, got {num_codes}")
    if learn not in ("ema", "gradient"):
        raise ValueError(f'vector_quantizer: learn must be "ema" or "gradient", got {learn!r}')
    ranges = {"commitment": (commitment, math.inf), "decay": (decay, 1), "restart_below": (restart_below, 1)}
    for name, (value, top) in ranges.items():
        if isinstance(value, int | float) and not 0 <= value < top:
            raise ValueError(f"vector_quantizer: {name} must be in [0, {top}), got {value}")
