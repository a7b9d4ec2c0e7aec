"""Finite scalar quantization: every channel rounded to a few levels, no codebook to collapse."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxae.bottlenecks.tokens import MAX_CODES, checked_symbols, tokens_per_example, unpadded, whole_levels
from jaxae.numerics import as_number, straight_through
from jaxae.types import Bottleneck, Code

# keeps the bound inside the outermost rounding interval, so that no rounding leaves the levels (the paper's value)
EPSILON = 1e-3


def fsq(levels: Sequence[int], *, noise_dropout: ArrayLike = 0.0) -> Bottleneck:
    """Channel i is bounded to an interval that `levels[i]` integers fit in, rounded, and divided by `levels[i] // 2`.

    `bound(h) = (L - 1) (1 - e) / 2 * tanh(h + shift) - offset`; for even L the offset is 1/2 and
    `shift = tan(offset / ((L - 1) (1 - e) / 2))`, for odd L both are 0. The latent lies in [-1, 1].

    The gradient is straight-through at the rounding: the Jacobian of latent to `h` is that of
    `bound(h) / (L // 2)`, diagonal and not the identity. It has no parameters and no penalty; `rate` is
    `sum_i log L_i` nats a token, the code length under the uniform prior.
    NaN in `h` stays NaN in the latent, the token's symbol is -1.

    Args:
      levels: number of levels L of each channel, at least 2, with a product of at most 2**31; one for each channel of
        `h`. The paper advises at least 5 each: (8, 6, 5) for 2**8 codes, (8, 5, 5, 5) for 2**10, (8, 8, 8, 5, 5, 5) for
        2**16.
      noise_dropout: probability, in calls with a key, that an element gets uniform noise one level wide before the
        rounding (the result is still a code); in [0, 1].

    Returns:
      A `Bottleneck`; a token's symbol is its channels' digits in mixed radix, the first the least significant.
      `condition["mask"]` `[B, ...]` leaves padded tokens out.

    Raises:
      ValueError: an argument is out of its range; from `apply` a wrong width.

    Source: Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple", section 3 and appendix A.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.bottlenecks import fsq
      >>> code, _ = fsq((5, 4)).apply({}, (), None, jnp.array([[9.0, -9.0], [0.1, 0.1]]))
      >>> code.latent.tolist(), code.symbols.tolist()
      ([[1.0, -1.0], [0.0, 0.0]], [4, 12])
    """
    levels = whole_levels("fsq", levels)
    if not levels or min(levels) < 2:
        raise ValueError(f"fsq: levels must be at least one number, each at least 2, got {levels}")
    num_codes = math.prod(levels)
    if num_codes > MAX_CODES:
        raise ValueError(f"fsq: levels {levels} make {num_codes} codes, more than int32 holds: use grouped")
    if (number := as_number(noise_dropout)) is not None and not 0 <= number <= 1:
        raise ValueError(f"fsq: noise_dropout must be in [0, 1], got {noise_dropout}")
    width = len(levels)
    sizes = np.array(levels)
    # half the range of L - 1 roundings, less epsilon: the bound never reaches the next integer
    half = ((sizes - 1) * (1 - EPSILON) / 2).astype(np.float32)
    offset = np.where(sizes % 2 == 1, 0.0, 0.5).astype(np.float32)
    shift = np.tan(offset / half).astype(np.float32)
    # levels are divided by L // 2, so that the latent lies in [-1, 1]
    unit = sizes // 2
    # mixed radix: the weight of digit i is the product of the levels before it
    basis = np.cumprod((1, *levels[:-1])).astype(np.int32)
    # a table that apply and lookup share: a division in a compiled program may differ from the eager one in a bit
    values_of_digits = np.concatenate([(np.arange(n) - n // 2) / (n // 2) for n in levels]).astype(np.float32)
    start = np.cumsum((0, *levels[:-1])).astype(np.int32)

    def along(values, ndim):
        return jnp.asarray(values).reshape((1,) * (ndim - 1) + (width,))

    def decode(digits):
        return jnp.asarray(values_of_digits)[digits + along(start, digits.ndim)]

    def apply(params, state, rng, h, condition=None):
        h, mask = unpadded("fsq", h, condition, width)
        bounded = jnp.tanh(h + along(shift, h.ndim)) * along(half, h.ndim) - along(offset, h.ndim)
        rounded = bounded
        if rng is not None and as_number(noise_dropout) != 0:
            choice_rng, noise_rng = jax.random.split(rng)
            noise = jax.random.uniform(noise_rng, h.shape, minval=-0.5, maxval=0.5)
            rounded = bounded + jnp.where(jax.random.bernoulli(choice_rng, noise_dropout, h.shape), noise, 0.0)
        is_nan = jnp.isnan(h)
        digits = jnp.where(is_nan, 0, jnp.round(rounded)).astype(jnp.int32) + along(unit, h.ndim).astype(jnp.int32)
        latent = straight_through(decode(digits), bounded / along(unit, h.ndim).astype(jnp.float32))
        symbols = jnp.where(is_nan.any(-1), -1, (digits * along(basis, h.ndim)).sum(-1)).astype(jnp.int32)
        rate = tokens_per_example(h, mask) * math.log(num_codes)
        return Code(latent, jnp.zeros(h.shape[0], jnp.float32), rate, symbols), state

    def lookup(params, state, symbols, condition=None):
        ids, in_range = checked_symbols("fsq", symbols, num_codes)
        ids = ids[..., None]
        # the inverse of the mixed radix: digit i is id // weight_i modulo L_i
        digits = ids // along(basis, ids.ndim) % along(sizes.astype(np.int32), ids.ndim)
        return jnp.where(in_range[..., None], decode(digits), jnp.nan)

    def sample(params, state, rng, h, condition=None):
        return decode(jax.random.randint(rng, h.shape, 0, along(sizes.astype(np.int32), len(h.shape))))

    return Bottleneck(lambda rng, h, condition=None: ({}, ()), apply, sample, lookup, math.prod(levels))
