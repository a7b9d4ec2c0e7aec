"""A prior that predicts hidden symbols from visible ones, and draws many symbols at once."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from jaxae.networks import transformer
from jaxae.numerics import as_number, require_real, require_whole
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
    """A bidirectional transformer gives `p(s_i | visible symbols)` for every hidden i.

    The three functions belong to three different distributions:

    - `log_prob` is the exact log-probability of drawing one symbol after another, from the first to the last; it costs
      T passes.
    - `bound`, what training maximises, hides n random symbols, n uniform on 1..T, and is `T / n` times the sum of
      `log p` of the hidden symbols. Its expectation is the mean of the log-probabilities over all orders, a lower bound
      on the log-probability of drawing one by one in a random order.
    - `sample` starts with all symbols hidden and draws all hidden ones in each step. It keeps those with the greatest
      `log p + choice_temperature (1 - step / num_steps) Gumbel noise`, so that a share `cos(pi step / (2 num_steps))`
      remains hidden. The log-probability of its draws is not known.

    Args:
      num_codes: number of codes K, at least 2; symbols are 0..K-1.
      num_classes: number of classes; the condition is then a class 0..num_classes-1 for each example, `[B]`. None
        ignores the condition.
      width: width of the transformer, a multiple of `heads`.
      depth: number of the transformer's blocks.
      heads: number of attention heads.
      num_steps: number of steps of `sample`, at least 1; at most one step per symbol is used.
      choice_temperature: scale of the noise in the choice of kept symbols; 0 keeps the most probable.
      temperature: divisor of the logits in `sample`, above 0; see `priors.symbols.narrowed`.
      top_k: number of most probable symbols that `sample` keeps; None keeps all.
      top_p: probability mass that the symbols kept by `sample` reach, in (0, 1]; None keeps all.
      dtype: compute type of the products.

    Returns:
      A `Prior` over symbols `[B, ...]`, with `bound`.

    Raises:
      ValueError: an argument is out of its range; (from `log_prob`) symbols out of range, or another number of symbols
        than in `init`.

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
    require_whole(name, num_steps=num_steps)
    require_real(name, choice_temperature=choice_temperature)
    if num_steps < 1 or (as_number(choice_temperature) or 0) < 0:
        raise ValueError(
            f"{name}: num_steps must be at least 1 and choice_temperature not negative; got {num_steps}, "
            f"{choice_temperature}"
        )
    hidden = num_codes  # the additional input that marks a hidden symbol
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
        rows, in_range = flat_symbols(name, symbols, num_codes)
        indices = jnp.arange(rows.shape[1])

        def add_position(total, t):
            logits = network.apply(params, jnp.where(indices[None] < t, rows, hidden), condition)
            return total + log_prob_of(logits[:, t], rows[:, t]), None

        total, _ = jax.lax.scan(add_position, jnp.zeros(rows.shape[0]), indices)
        return jnp.where(in_range, total, jnp.nan)

    def bound(params, rng, symbols, condition=None):
        rows, in_range = flat_symbols(name, symbols, num_codes)
        batch_size, length = rows.shape
        count_rng, choice_rng = jax.random.split(rng)
        # n uniform on 1..T, then n positions uniform: every order of the symbols is equally likely
        count = jax.random.randint(count_rng, (batch_size, 1), 1, length + 1)
        hide = _rank(jax.random.uniform(choice_rng, rows.shape)) < count
        logits = network.apply(params, jnp.where(hide, hidden, rows), condition)
        nats = jnp.where(hide, log_prob_of(logits, rows), 0.0).sum(-1)
        # n of T positions are scored: T / n makes the expectation a sum over all T
        return jnp.where(in_range, nats * length / count[:, 0], jnp.nan)

    def sample(params, rng, symbols, condition=None):
        batch_size, length = symbols.shape[0], positions(symbols)
        # the schedule depends on static sizes: it is computed once, outside of the program
        num_hidden = remaining(length, num_steps)
        noise = np.linspace(1, 0, len(num_hidden) + 1)[1:]

        def draw(rows, step_inputs):
            count, share, key = step_inputs
            value_rng, choice_rng = jax.random.split(key)
            is_hidden = rows == hidden
            logits = narrowed(network.apply(params, rows, condition), temperature, top_k, top_p)
            drawn = jax.random.categorical(value_rng, logits).astype(jnp.int32)
            certainty = log_prob_of(logits, drawn)
            # noise in the choice keeps samples diverse; it fades out over the steps
            certainty += choice_temperature * share * jax.random.gumbel(choice_rng, certainty.shape)
            # visible symbols rank last and stay; the `count` least certain of the others are hidden again
            hide = _rank(jnp.where(is_hidden, certainty, jnp.inf)) < count
            return jnp.where(hide, hidden, jnp.where(is_hidden, drawn, rows)), None

        rows = jnp.full((batch_size, length), hidden, jnp.int32)
        steps = jnp.asarray(num_hidden), jnp.asarray(noise, jnp.float32), jax.random.split(rng, len(num_hidden))
        rows, _ = jax.lax.scan(draw, rows, steps)
        return rows.reshape(symbols.shape)

    return Prior(init, log_prob, sample, bound=bound)


def remaining(length: int, num_steps: int) -> np.ndarray:
    """Number of hidden symbols after each step of the cosine schedule; every step reveals at least one.

    Args:
      length: number of symbols T.
      num_steps: number of steps.

    Example:
      >>> from jaxae.priors.masked import remaining
      >>> remaining(16, 4).tolist(), remaining(2, 8).tolist()
      ([14, 11, 6, 0], [1, 0])
    """
    num_steps = min(num_steps, length)
    step = np.arange(1, num_steps + 1)
    # at least one symbol is revealed in this step, and one is left for each of the later steps
    num_hidden, previous = [], length
    for share, later_steps in zip(np.cos(np.pi * step / (2 * num_steps)), num_steps - step, strict=True):
        previous = int(max(later_steps, min(previous - 1, np.floor(share * length + 1e-9))))
        num_hidden.append(previous)
    return np.array(num_hidden, np.int32)


def _rank(values: Array) -> Array:
    """The rank of each value in its row, from 0."""
    return jnp.argsort(jnp.argsort(values, axis=-1), axis=-1)
