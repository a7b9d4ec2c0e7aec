"""Codebooks of a vector quantizer, learned by moving averages, by gradient, or not at all."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxae.bottlenecks.directions import unit
from jaxae.bottlenecks.restarts import restarts
from jaxae.bottlenecks.seeding import kmeans
from jaxae.numerics import gathered, replica_axis


class Codebook(NamedTuple):
    """K codes and their updates, as functions.

    Attributes:
      size: number of codes K.
      init: `(rng, width) -> (params, state)`.
      read: `(params, state) -> [K, D]`, with gradients to params.
      update: `(params, state, rng, tokens [N, D], ids [N], weight [N]) -> state`, after the lookup of these tokens.
      stored: whether `read` gives `state["codebook"]` as it is.
    """

    size: int
    init: Callable
    read: Callable
    update: Callable
    stored: bool = False


class Upkeep(NamedTuple):
    """Settings that keep codes in use.

    Attributes:
      decay: decay of the moving averages of counts (and sums), in [0, 1); None: see `memory`.
      restart_below: fraction of the mean count below which a code is restarted; 0 switches restarts off.
      seeding: "data" (the first batch restarts every code), "kmeans" (k-means of the first batch) or "random".
      axis_name: name of the mapped axis of a step that `build_step` did not build; None: that of the train step, if
        any.
    """

    decay: ArrayLike | None
    restart_below: ArrayLike
    seeding: str
    axis_name: str | None


def memory(decay: ArrayLike | None, num_tokens: int, num_codes: int) -> ArrayLike:
    """The decay; for None, the decay at which a code's mean covers about 60 tokens, within 0.9 and 0.99.

    Args:
      decay: decay in [0, 1), or None.
      num_tokens: number of tokens of a batch.
      num_codes: number of codes K.

    Example:
      >>> from jaxae.bottlenecks.codebooks import memory
      >>> [round(memory(None, 3136, num_codes), 3) for num_codes in (64, 1024, 16384)]
      [0.9, 0.949, 0.99]
    """
    return min(max(1 - num_tokens / (60 * num_codes), 0.9), 0.99) if decay is None else decay


def moving_average(num_codes: int, upkeep: Upkeep, smoothing: ArrayLike) -> Codebook:
    """Codes are moving averages of the tokens that they quantize; there are no parameters.

    `count = decay * count + (1 - decay) * batch count`, the same for sums, and `code = sum / smoothed count`. Laplace
    smoothing of count c among n tokens is `(c + smoothing) / (n + K * smoothing) * n`.

    Args:
      num_codes: number of codes K.
      upkeep: settings of decay, restarts and seeding.
      smoothing: Laplace smoothing of the counts, >= 0.

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
        # averages of the weighted tokens: padded tokens have weight 0
        counts = _averaged(decay, state["counts"], ids, weight)
        sums = _averaged(decay, state["sums"], ids, tokens * weight[:, None])
        fresh, moved, counts = _restarted(rng, state["codebook"], state["counts"], counts, tokens, weight, upkeep)
        # a restart resets count and sum too, or the next step would undo it
        sums = jnp.where(moved[:, None], fresh * counts[:, None], sums)
        total = counts.sum()
        # Laplace smoothing keeps the total count and small counts, which divide the sums, away from 0
        smoothed = (counts + smoothing) / (total + num_codes * smoothing) * total
        used = (counts > 0)[:, None]
        # a code without tokens so far keeps its value; dividing by its count 0 would give NaN
        book = jnp.where(used, sums / jnp.where(used, smoothed[:, None], 1.0), state["codebook"])
        return {"codebook": jnp.where(moved[:, None], fresh, book), "counts": counts, "sums": sums}

    return Codebook(num_codes, init, lambda params, state: state["codebook"], update, stored=True)


def by_gradient(num_codes: int, upkeep: Upkeep) -> Codebook:
    """Codes are parameters. Restarts add a shift in the state, since the optimizer owns parameters; codes are the sum.

    Args:
      num_codes: number of codes K.
      upkeep: settings of decay, restarts and seeding.

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
        counts = _averaged(memory(upkeep.decay, tokens.shape[0], num_codes), state["counts"], ids, weight)
        book = params["codebook"] + state["shift"]
        fresh, moved, counts = _restarted(rng, book, state["counts"], counts, tokens, weight, upkeep)
        # params + shift is then the fresh code; gradients go on from there
        shift = jnp.where(moved[:, None], fresh - params["codebook"], state["shift"])
        return {"shift": shift, "counts": counts}

    return Codebook(num_codes, init, lambda params, state: params["codebook"] + state["shift"], update)


def frozen(num_codes: int, scale: Callable = lambda width: 1.0) -> Codebook:
    """Random normal codes that never change (or a codebook that the caller puts into the state).

    Args:
      num_codes: number of codes K.
      scale: function `width -> standard deviation` of the codes.

    Example:
      >>> import jax
      >>> from jaxae.bottlenecks.codebooks import frozen
      >>> frozen(2).init(jax.random.key(0), 3)[1]["codebook"].shape
      (2, 3)
    """

    def init(rng, width):
        return {}, {"codebook": scale(width) * jax.random.normal(rng, (num_codes, width))}

    def update(params, state, *arguments):
        return state

    return Codebook(num_codes, init, lambda params, state: state["codebook"], update, stored=True)


def transformed(base: Codebook) -> Codebook:
    """The codes of `base` under a learned linear map, which starts as the identity.

    Args:
      base: the codebook whose codes are mapped.

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

    return base._replace(init=init, read=read, stored=False)


def of_unit_length(base: Codebook) -> Codebook:
    """The codes of `base`, scaled to length 1.

    A division by the length is rounded differently from one compiled program to the next. Codes in the state are
    therefore scaled when they are stored, and every program reads the same bits; codes that are parameters are scaled
    when they are read.

    Args:
      base: the codebook whose codes are scaled.

    Example:
      >>> import jax
      >>> from jaxae.bottlenecks.codebooks import frozen, of_unit_length
      >>> codes = of_unit_length(frozen(2)).init(jax.random.key(0), 3)[1]["codebook"]
      >>> (codes**2).sum(-1).round(5).tolist()
      [1.0, 1.0]
    """
    if not base.stored:
        return base._replace(read=lambda params, state: unit(base.read(params, state)))

    def scaled(state):
        return {**state, "codebook": unit(state["codebook"])}

    def init(rng, width):
        params, state = base.init(rng, width)
        return params, scaled(state)

    def update(params, state, *arguments):
        new = base.update(params, state, *arguments)
        # codes that nothing changed keep their bits
        return new if new is state else scaled(new)

    return base._replace(init=init, update=update)


def _averaged(decay, average, ids, values):
    return decay * average + (1 - decay) * jnp.zeros_like(average).at[ids].add(values)


def _restarted(rng, book, before, counts, tokens, weight, upkeep):
    """Restart dead codes, seed all in the first batch: `(fresh [K, D], moved [K], counts [K])`."""
    num_codes = counts.shape[0]
    # counts are averages per batch, so they are compared with the batch's mean count
    mean = weight.sum() / num_codes
    # before the first update counts are 0 and every code is dead: that is the seeding by data
    dead = counts < upkeep.restart_below * mean
    # a small start count: the code's first tokens soon outweigh it, and a code without tokens soon restarts again
    start = jnp.minimum(2 * upkeep.restart_below, 1.0) * mean

    def unchanged(rng):
        return book, jnp.zeros(num_codes, bool), counts

    def restart(rng):
        fresh, moved = restarts(rng, dead, tokens, weight)
        return fresh, moved, jnp.where(moved, start, counts)

    def seed(rng):
        if upkeep.seeding == "random":
            return book, jnp.ones(num_codes, bool), jnp.full(num_codes, mean)
        centres, sizes = kmeans(rng, tokens, weight, num_codes)
        return centres, sizes > 0, sizes

    # behind a cond: sorting and copying cost more than a small lookup, and most steps restart nothing
    restarted = jax.lax.cond(dead.any(), restart, unchanged, rng)
    return restarted if upkeep.seeding == "data" else jax.lax.cond(before.sum() == 0, seed, lambda rng: restarted, rng)
