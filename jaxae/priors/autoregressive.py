"""A prior that predicts each symbol from those before it."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxae.networks import transformer
from jaxae.priors.symbols import (
    flat_symbols,
    log_prob_of,
    narrowed,
    positions,
    require_codes,
    require_narrowing,
)
from jaxae.types import Prior


def autoregressive(
    num_codes: int,
    *,
    num_classes: int | None = None,
    width: int = 128,
    depth: int = 3,
    heads: int = 4,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    top_p: ArrayLike | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Prior:
    """`log p(s | c) = sum_t log p(s_t | s_1, ..., s_{t-1}, c)` by a causal transformer.

    Symbols `[B, ...]` are read in row-major order, with as many symbols in each example as in `init`. A sample is one
    compiled scan over the positions: each step reads the cached keys and values of the steps before it.

    Args:
      num_codes: number of codes K, at least 2; symbols are 0..K-1.
      num_classes: number of classes; the condition is then a class 0..num_classes-1 for each example, `[B]`. None
        ignores the condition.
      width: width of the transformer, a multiple of `heads`.
      depth: number of the transformer's blocks.
      heads: number of attention heads.
      temperature: divisor of the logits in `sample`, above 0; `log_prob` does not read it, `top_k` or `top_p`. See
        `priors.symbols.narrowed`.
      top_k: number of most probable symbols that `sample` keeps; None keeps all.
      top_p: probability mass that the symbols kept by `sample` reach, in (0, 1]; None keeps all.
      dtype: compute type of the products.

    Returns:
      A `Prior` over symbols. `sample` draws position t with key t of `jax.random.split(rng, T)`.

    Raises:
      ValueError: an argument is out of its range; (from `log_prob`) symbols out of range, or another number of symbols
        than in `init`.

    Source: van den Oord, Vinyals and Kavukcuoglu 2017, section 3.3, with a transformer instead of the PixelCNN.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.priors import autoregressive
      >>> prior, symbols = autoregressive(4, width=8, depth=1, heads=2), jnp.zeros((5, 2, 3), int)
      >>> params = jax.jit(prior.init)(jax.random.key(0), symbols)
      >>> jax.jit(prior.sample)(params, jax.random.key(1), symbols).shape
      (5, 2, 3)
    """
    name = "autoregressive"
    require_codes(name, num_codes)
    require_narrowing(name, temperature, top_k, top_p)
    # the additional input num_codes marks the position before the first symbol
    network = transformer(
        num_codes + 1, num_codes, width=width, depth=depth, heads=heads, num_classes=num_classes, dtype=dtype
    )

    def init(rng, symbols, condition=None):
        return network.init(rng, positions(symbols))

    def log_prob(params, symbols, condition=None):
        rows, in_range = flat_symbols(name, symbols, num_codes)
        # shifted by one: the input at position t is the symbol before it
        before = jnp.pad(rows[:, :-1], ((0, 0), (1, 0)), constant_values=num_codes)
        logits = network.apply(params, before, condition)
        # chain rule: the log-probability of a sequence is the sum over its positions
        return jnp.where(in_range, log_prob_of(logits, rows).sum(-1), jnp.nan)

    def sample(params, rng, symbols, condition=None):
        batch_size, length = symbols.shape[0], positions(symbols)
        assert network.step is not None
        advance = network.step

        def draw(carry, position_and_key):
            cache, last = carry
            position, key = position_and_key
            logits, cache = advance(params, cache, last, position, condition)
            drawn = jax.random.categorical(key, narrowed(logits, temperature, top_k, top_p)).astype(jnp.int32)
            return (cache, drawn), drawn

        start_symbol = jnp.full(batch_size, num_codes, jnp.int32)
        steps = jnp.arange(length), jax.random.split(rng, length)
        # one step for each position: the cost of a draw is T steps, not T passes
        _, drawn = jax.lax.scan(draw, (network.start(params, batch_size), start_symbol), steps)
        return drawn.T.reshape(symbols.shape)

    return Prior(init, log_prob, sample)
