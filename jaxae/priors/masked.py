"""A prior that predicts hidden symbols from those that are seen, and draws many of them at once."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxae.networks import transformer
from jaxae.numerics import as_number
from jaxae.priors.symbols import (
    flat_symbols,
    log_prob_of,
    narrowed,
    positions,
    require_codes,
    require_narrowing,
)
from jaxae.types import Prior


def masked(
    num_codes: int,
    *,
    num_classes: int | None = None,
    width: int = 128,
    depth: int = 3,
    heads: int = 4,
    num_steps: int = 8,
    choice_temperature: ArrayLike = 4.5,
    temperature: ArrayLike = 1.0,
    top_k: int | None = None,
    top_p: ArrayLike | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Prior:
    """A bidirectional transformer gives `p(s_i | the symbols seen)` for every hidden i.

    Three distributions come of it, and they are not the same:

    - `log_prob` is exact for drawing one symbol after the other, from the first to the last: a proper distribution,
      at the price of T passes.
    - `bound`, what training maximises, hides n symbols, n uniform on 1..T and then which, and gives `T / n` times the
      sum of `log p` of the hidden ones. Its mean is the mean of log-probabilities along all orders, a lower bound on
      the log-probability of drawing one by one in a random order.
    - `sample` starts with all hidden and in each step draws all that are; those with the greatest
      `log p + choice_temperature (1 - step / num_steps) Gumbel noise` stay, so many that a share
      `cos(pi step / (2 num_steps))` remains hidden. Its log-probability is not known.

    Args:
      num_codes: K, at least 2; symbols are 0..K-1.
      num_classes: as in `autoregressive`.
      width: of the transformer.
      depth: its blocks.
      heads: of its attention.
      num_steps: of `sample`, at least 1; at most one a symbol is taken.
      choice_temperature: how random the choice is of what stays; 0 keeps the surest.
      temperature: of the draws in `sample`, as are the next two; see `priors.symbols.narrowed`.
      top_k: the most probable are kept.
      top_p: the fewest of this mass are kept.
      dtype: compute type of the products.

    Returns:
      A `Prior` over symbols `[B, ...]`, with `bound`.

    Raises:
      ValueError: an argument is out of its range; (from `log_prob`) symbols out of range or of another number.

    Source: Chang et al. 2022, "MaskGIT: Masked Generative Image Transformer"; the bound: Uria, Murray and Larochelle
    2014, "A Deep and Tractable Density Estimator"; Hoogeboom et al. 2022, "Autoregressive Diffusion Models".

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.priors import masked
      >>> prior, symbols = masked(4, width=8, depth=1, heads=2), jnp.zeros((5, 2, 3), int)
      >>> params = jax.jit(prior.init)(jax.random.key(0), symbols)
      >>> jax.jit(prior.sample)(params, jax.random.key(1), symbols).shape
      (5, 2, 3)
    """
    name = "masked"
    require_codes(name, num_codes)
    require_narrowing(name, temperature, top_k, top_p)
    if num_steps < 1 or (as_number(choice_temperature) or 0) < 0:
        raise ValueError(
            f"{name}: num_steps must be at least 1 and choice_temperature not negative; got {num_steps}, "
            f"{choice_temperature}"
        )
    hidden = num_codes  # one more input, which stands for what is not seen
    network = transformer(
        num_codes + 1,
        num_codes,
        width=width,
        depth=depth,
        heads=heads,
        causal=False,
        num_classes=num_classes,
        dtype=dtype,
    )

    def init(rng, symbols, condition=None):
        return network.init(rng, positions(symbols))

    def log_prob(params, symbols, condition=None):
        rows, known = flat_symbols(name, symbols, num_codes)
        place = jnp.arange(rows.shape[1])

        def one(total, t):
            logits = network.apply(params, jnp.where(place[None] < t, rows, hidden), condition)
            return total + log_prob_of(logits[:, t], rows[:, t]), None

        total, _ = jax.lax.scan(one, jnp.zeros(rows.shape[0]), place)
        return jnp.where(known, total, jnp.nan)

    def bound(params, rng, symbols, condition=None):
        rows, known = flat_symbols(name, symbols, num_codes)
        batch_size, length = rows.shape
        many, which = jax.random.split(rng)
        count = jax.random.randint(many, (batch_size, 1), 1, length + 1)
        hide = _rank(jax.random.uniform(which, rows.shape)) < count
        logits = network.apply(params, jnp.where(hide, hidden, rows), condition)
        nats = jnp.where(hide, log_prob_of(logits, rows), 0.0).sum(-1)
        return jnp.where(known, nats * length / count[:, 0], jnp.nan)

    def sample(params, rng, symbols, condition=None):
        batch_size, length = symbols.shape[0], positions(symbols)
        left = remaining(length, num_steps)
        noise = np.linspace(1, 0, len(left) + 1)[1:]

        def draw(rows, now):
            count, share, key = now
            value, choice = jax.random.split(key)
            open_ = rows == hidden
            logits = narrowed(network.apply(params, rows, condition), temperature, top_k, top_p)
            drawn = jax.random.categorical(value, logits).astype(jnp.int32)
            sure = log_prob_of(logits, drawn)
            sure += choice_temperature * share * jax.random.gumbel(choice, sure.shape)
            hide = _rank(jnp.where(open_, sure, jnp.inf)) < count
            return jnp.where(hide, hidden, jnp.where(open_, drawn, rows)), None

        rows = jnp.full((batch_size, length), hidden, jnp.int32)
        steps = jnp.asarray(left), jnp.asarray(noise, jnp.float32), jax.random.split(rng, len(left))
        rows, _ = jax.lax.scan(draw, rows, steps)
        return rows.reshape(symbols.shape)

    return Prior(init, log_prob, sample, bound=bound)


def remaining(length: int, num_steps: int) -> np.ndarray:
    """How many of `length` symbols are hidden after each step of the cosine schedule; every step shows one at least.

    Example:
      >>> from jaxae.priors.masked import remaining
      >>> remaining(16, 4).tolist(), remaining(2, 8).tolist()
      ([14, 11, 6, 0], [1, 0])
    """
    num_steps = min(num_steps, length)
    step = np.arange(1, num_steps + 1)
    # at most one fewer a step, and no fewer than the steps that are to come
    left, before = [], length
    for share, later in zip(np.cos(np.pi * step / (2 * num_steps)), num_steps - step, strict=True):
        before = int(max(later, min(before - 1, np.floor(share * length + 1e-9))))
        left.append(before)
    return np.array(left, np.int32)


def _rank(values: Array) -> Array:
    """The place of each value in its sorted row."""
    return jnp.argsort(jnp.argsort(values, axis=-1), axis=-1)
