"""Where the codes of a vector quantizer live and how they learn: by running means, by gradient, or not at all."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxae.bottlenecks.restarts import restarts
from jaxae.bottlenecks.seeding import kmeans
from jaxae.numerics import gathered, replica_axis


class Codebook(NamedTuple):
    """K codes and how they learn.

    Attributes:
      size: K.
      init: `(rng, width) -> (params, state)`.
      read: `(params, state) -> [K, D]`, with gradients to params.
      update: `(params, state, rng, tokens [N, D], ids [N], weight [N]) -> state`, after the lookup of these tokens.
    """

    size: int
    init: Callable
    read: Callable
    update: Callable


class Upkeep(NamedTuple):
    """How codes are kept alive.

    Attributes:
      decay: of the running counts (and sums), in [0, 1); None: see `memory`.
      restart_below: fraction of the mean count under which a code is restarted; 0 switches restarts off.
      seeding: "data" (the first batch restarts every code), "kmeans" (k-means of the first batch) or "random".
      axis_name: the mapped axis of a step of one's own; None: that of the train step, if it has one.
    """

    decay: ArrayLike | None
    restart_below: ArrayLike
    seeding: str
    axis_name: str | None


def memory(decay: ArrayLike | None, num_tokens: int, num_codes: int) -> ArrayLike:
    """The decay itself; for None that under which a code's mean holds about 60 tokens, within 0.9 and 0.99.

    Example:
      >>> from jaxae.bottlenecks.codebooks import memory
      >>> [round(memory(None, 3136, num_codes), 3) for num_codes in (64, 1024, 16384)]
      [0.9, 0.949, 0.99]
    """
    return min(max(1 - num_tokens / (60 * num_codes), 0.9), 0.99) if decay is None else decay


def moving_average(num_codes: int, upkeep: Upkeep, smoothing: ArrayLike) -> Codebook:
    """Codes are running means of the tokens that they quantize; no parameters.

    `count = decay * count + (1 - decay) * seen`, the sums alike, `code = sum / smoothed count`, where Laplace smoothing
    makes of count c among n in all `(c + smoothing) / (n + K * smoothing) * n`.

    Source: van den Oord, Vinyals and Kavukcuoglu 2017, appendix A.1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks.codebooks import Upkeep, moving_average
      >>> book = moving_average(2, Upkeep(0.99, 0.1, "data", None), 1e-5)
      >>> params, state = book.init(jax.random.key(0), 3)
      >>> book.read(params, state).shape
      (2, 3)
    """

    def init(rng, width):
        book = jax.random.normal(rng, (num_codes, width))
        return {}, {"codebook": book, "counts": jnp.zeros(num_codes), "sums": jnp.zeros_like(book)}

    def update(params, state, rng, tokens, ids, weight):
        rng, tokens, ids, weight = gathered(replica_axis(upkeep.axis_name), rng, tokens, ids, weight)
        decay = memory(upkeep.decay, tokens.shape[0], num_codes)
        counts = _moved(decay, state["counts"], ids, weight)
        sums = _moved(decay, state["sums"], ids, tokens * weight[:, None])
        fresh, moved, counts = _alive(rng, state["codebook"], state["counts"], counts, tokens, weight, upkeep)
        # the restart resets count and sum too, or the next step would undo it
        sums = jnp.where(moved[:, None], fresh * counts[:, None], sums)
        total = counts.sum()
        smoothed = (counts + smoothing) / (total + num_codes * smoothing) * total
        used = (counts > 0)[:, None]
        book = jnp.where(used, sums / jnp.where(used, smoothed[:, None], 1.0), state["codebook"])
        return {"codebook": jnp.where(moved[:, None], fresh, book), "counts": counts, "sums": sums}

    return Codebook(num_codes, init, lambda params, state: state["codebook"], update)


def by_gradient(num_codes: int, upkeep: Upkeep) -> Codebook:
    """Codes are parameters. The optimizer owns them, so restarts are a shift in the state; the book is their sum.

    Example:
      >>> import jax
      >>> from jaxae.bottlenecks.codebooks import Upkeep, by_gradient
      >>> book = by_gradient(2, Upkeep(0.99, 0.1, "data", None))
      >>> params, state = book.init(jax.random.key(0), 3)
      >>> book.read(params, state).shape
      (2, 3)
    """

    def init(rng, width):
        book = jax.random.normal(rng, (num_codes, width))
        return {"codebook": book}, {"shift": jnp.zeros_like(book), "counts": jnp.zeros(num_codes)}

    def update(params, state, rng, tokens, ids, weight):
        rng, tokens, ids, weight = gathered(replica_axis(upkeep.axis_name), rng, tokens, ids, weight)
        counts = _moved(memory(upkeep.decay, tokens.shape[0], num_codes), state["counts"], ids, weight)
        book = params["codebook"] + state["shift"]
        fresh, moved, counts = _alive(rng, book, state["counts"], counts, tokens, weight, upkeep)
        shift = jnp.where(moved[:, None], fresh - params["codebook"], state["shift"])
        return {"shift": shift, "counts": counts}

    return Codebook(num_codes, init, lambda params, state: params["codebook"] + state["shift"], update)


def frozen(num_codes: int, scale: Callable = lambda width: 1.0) -> Codebook:
    """Random normal codes that stay where they are (or a book that was put into the state).

    Args:
      num_codes: K.
      scale: `width -> standard deviation`.

    Example:
      >>> import jax
      >>> from jaxae.bottlenecks.codebooks import frozen
      >>> frozen(2).init(jax.random.key(0), 3)[1]["codebook"].shape
      (2, 3)
    """

    def init(rng, width):
        return {}, {"codebook": scale(width) * jax.random.normal(rng, (num_codes, width))}

    return Codebook(num_codes, init, lambda params, state: state["codebook"], lambda params, state, *rest: state)


def transformed(base: Codebook) -> Codebook:
    """The base's codes behind one learned linear map, which starts as the identity.

    Example:
      >>> import jax
      >>> from jaxae.bottlenecks.codebooks import frozen, transformed
      >>> params, state = transformed(frozen(2)).init(jax.random.key(0), 3)
      >>> params["transform"].shape
      (3, 3)
    """

    def init(rng, width):
        params, state = base.init(rng, width)
        return {**params, "transform": jnp.eye(width)}, state

    def read(params, state):
        return jnp.matmul(base.read(params, state), params["transform"], precision=jax.lax.Precision.HIGHEST)

    return base._replace(init=init, read=read)


def _moved(decay, average, ids, values):
    return decay * average + (1 - decay) * jnp.zeros_like(average).at[ids].add(values)


def _alive(rng, book, before, counts, tokens, weight, upkeep):
    """Where codes that are dead or unborn go: `(fresh [K, D], moved [K], counts [K])`."""
    num_codes = counts.shape[0]
    mean = weight.sum() / num_codes
    dead = counts < upkeep.restart_below * mean
    # a code's first tokens soon outweigh a small count; one that finds none dies soon, and moves again
    start = jnp.minimum(2 * upkeep.restart_below, 1.0) * mean

    def keep(rng):
        return book, jnp.zeros(num_codes, bool), counts

    def restart(rng):
        fresh, moved = restarts(rng, dead, tokens, weight)
        return fresh, moved, jnp.where(moved, start, counts)

    def seed(rng):
        if upkeep.seeding == "random":
            return book, jnp.ones(num_codes, bool), jnp.full(num_codes, mean)
        centres, sizes = kmeans(rng, tokens, weight, num_codes)
        return centres, sizes > 0, sizes

    # sorting and copying cost more than a small lookup, and most steps have nothing to restart
    found = jax.lax.cond(dead.any(), restart, keep, rng)
    return found if upkeep.seeding == "data" else jax.lax.cond(before.sum() == 0, seed, lambda rng: found, rng)
