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

    Symbols `[B, ...]` are read in row-major order, all examples as long as those in `init`. A sample is one compiled
    scan over the positions: each step reads the keys and values that the steps before it kept.

    Args:
      num_codes: K, at least 2; symbols are 0..K-1.
      num_classes: the condition is a class 0..num_classes-1 for each example, `[B]`; None: any condition is ignored.
      width: of the transformer.
      depth: its blocks.
      heads: of its attention.
      temperature: of `sample` alone, as are the next two: `log_prob` stays that of the model. See
        `priors.symbols.narrowed`.
      top_k: of each step's symbols the most probable are kept.
      top_p: of each step's symbols the fewest of this mass are kept.
      dtype: compute type of the products.

    Returns:
      A `Prior` over symbols. `sample` draws position t with key t of `jax.random.split(rng, T)`.

    Raises:
      ValueError: an argument is out of its range; (from `log_prob`) symbols out of range or of another number.

    Source: van den Oord, Vinyals and Kavukcuoglu 2017, section 3.3, with a transformer for the PixelCNN.

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
    # input num_codes stands before the first symbol
    network = transformer(
        num_codes + 1, num_codes, width=width, depth=depth, heads=heads, num_classes=num_classes, dtype=dtype
    )

    def init(rng, symbols, condition=None):
        return network.init(rng, positions(symbols))

    def log_prob(params, symbols, condition=None):
        rows, known = flat_symbols(name, symbols, num_codes)
        before = jnp.pad(rows[:, :-1], ((0, 0), (1, 0)), constant_values=num_codes)
        logits = network.apply(params, before, condition)
        return jnp.where(known, log_prob_of(logits, rows).sum(-1), jnp.nan)

    def sample(params, rng, symbols, condition=None):
        batch_size, length = symbols.shape[0], positions(symbols)
        assert network.step is not None
        one = network.step

        def draw(carry, now):
            cache, last = carry
            position, key = now
            logits, cache = one(params, cache, last, position, condition)
            drawn = jax.random.categorical(key, narrowed(logits, temperature, top_k, top_p)).astype(jnp.int32)
            return (cache, drawn), drawn

        first = jnp.full(batch_size, num_codes, jnp.int32)
        steps = jnp.arange(length), jax.random.split(rng, length)
        _, drawn = jax.lax.scan(draw, (network.start(params, batch_size), first), steps)
        return drawn.T.reshape(symbols.shape)

    return Prior(init, log_prob, sample)
