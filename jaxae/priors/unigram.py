"""Priors whose symbols are independent of each other: uniform, or with their own frequencies at each position."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxae.priors.symbols import (
    flat_symbols,
    log_prob_of,
    narrowed,
    positions,
    require_codes,
    require_narrowing,
)
from jaxae.types import Prior


def uniform(num_codes: int) -> Prior:
    """`log p(s) = -T log K`: every symbol is as probable as any other. No parameters.

    Args:
      num_codes: K, at least 2.

    Raises:
      ValueError: fewer than 2 codes; (from `log_prob`) symbols out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.priors import uniform
      >>> round(float(uniform(2).log_prob((), jnp.zeros((1, 3), int))[0]), 4)
      -2.0794
    """
    require_codes("uniform", num_codes)

    def log_prob(params, symbols, condition=None):
        rows, known = flat_symbols("uniform", symbols, num_codes)
        return jnp.where(known, -rows.shape[1] * math.log(num_codes), jnp.nan)

    def sample(params, rng, symbols, condition=None):
        return jax.random.randint(rng, symbols.shape, 0, num_codes, jnp.int32)

    return Prior(lambda rng, symbols, condition=None: (), log_prob, sample)


def unigram(
    num_codes: int,
    *,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    top_p: ArrayLike | None = None,
) -> Prior:
    """`log p(s) = sum_t log softmax(logits_t)[s_t]`: at each position its own frequencies, and nothing else.

    What a prior has to beat that reads the symbols together. `fit_unigram` counts the parameters; they can be trained
    as well.

    Args:
      num_codes: K, at least 2.
      temperature: of `sample` alone, as are the next two; see `priors.symbols.narrowed`.
      top_k: the greatest are kept.
      top_p: the fewest of this mass are kept.

    Raises:
      ValueError: an argument is out of its range; (from `log_prob`) symbols out of range.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.priors import unigram
      >>> prior, symbols = unigram(4), jnp.zeros((5, 3), int)
      >>> params = prior.init(jax.random.key(0), symbols)
      >>> prior.log_prob(params, symbols).shape, prior.sample(params, jax.random.key(1), symbols).shape
      ((5,), (5, 3))
    """
    require_codes("unigram", num_codes)
    require_narrowing("unigram", temperature, top_k, top_p)

    def init(rng, symbols, condition=None):
        return {"logits": jnp.zeros((positions(symbols), num_codes))}

    def log_prob(params, symbols, condition=None):
        rows, known = flat_symbols("unigram", symbols, num_codes)
        each = jax.vmap(log_prob_of, (None, 0))(params["logits"], rows)
        return jnp.where(known, each.sum(-1), jnp.nan)

    def sample(params, rng, symbols, condition=None):
        logits = narrowed(params["logits"], temperature, top_k, top_p)
        shape = (symbols.shape[0], logits.shape[0])
        return jax.random.categorical(rng, logits, shape=shape).astype(jnp.int32).reshape(symbols.shape)

    return Prior(init, log_prob, sample)


def fit_unigram(symbols: ArrayLike, num_codes: int, smoothing: float = 1.0) -> dict[str, Array]:
    """The parameters of `unigram`, counted: `p_t(k) = (n_tk + smoothing) / (N + smoothing K)`.

    Args:
      symbols: `[N, ...]`, 0..K-1.
      num_codes: K.
      smoothing: pseudo-count of every symbol, above 0.

    Returns:
      `{"logits": [T, K]}`, the logarithms of the probabilities.

    Raises:
      ValueError: no rows, symbols out of range, or a smoothing that is not above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.priors import fit_unigram
      >>> jnp.exp(fit_unigram(jnp.array([[0], [0]]), 2)["logits"]).round(4).tolist()
      [[0.75, 0.25]]
    """
    require_codes("fit_unigram", num_codes)
    rows = np.asarray(flat_symbols("fit_unigram", symbols, num_codes)[0])
    if not smoothing > 0 or not rows.size:
        raise ValueError(f"fit_unigram needs rows and a smoothing above 0; got {rows.shape} and {smoothing}")
    place = np.arange(rows.shape[1])[None] * num_codes
    counts = np.bincount((place + rows).ravel(), minlength=rows.shape[1] * num_codes).reshape(-1, num_codes)
    mass = counts + float(smoothing)
    return {"logits": jnp.asarray(np.log(mass / mass.sum(-1, keepdims=True)), jnp.float32)}
