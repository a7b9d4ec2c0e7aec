"""Latent quantization: every channel has its own few learned scalar values."""

import math
from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jax.typing import ArrayLike

from jaxae.bottlenecks.tokens import checked_symbols, tokens_per_example, unpadded, whole_levels
from jaxae.numerics import as_number, straight_through, sum_per_example
from jaxae.types import Bottleneck, Code


def latent_quantizer(
    levels: Sequence[int], *, commitment: ArrayLike = 0.1, quantization: ArrayLike = 0.1
) -> Bottleneck:
    """Channel i becomes the nearest of its `levels[i]` learned values (the lowest index on ties).

    `penalty = commitment * |h - sg(latent)|^2 + quantization * |sg(h) - latent|^2` over an example; the second term
    alone moves the values, which start evenly spaced in [-1/2, 1/2]. The gradient to `h` is straight-through, the
    identity. `rate` is `sum_i log levels[i]` nats a token. NaN stays NaN in the latent, with symbol -1.

    Args:
      levels: number of values of each channel, at least 2; one for each channel of `h`.
      commitment: weight of the commitment term, >= 0.
      quantization: weight of the term that moves the values, above 0: without it they would never learn.

    Returns:
      A `Bottleneck`; symbols are `[B, ..., D]`, one a channel. `condition["mask"]` `[B, ...]` leaves padded tokens out.

    Raises:
      ValueError: an argument is out of its range; from `apply` a wrong width.

    Source: Hsu et al. 2023, "Disentanglement via Latent Quantization", section 3. The paper pairs it with strong
    weight decay, which is a setting of the optimizer.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.bottlenecks import latent_quantizer
      >>> layer, h = latent_quantizer((2, 3)), jnp.array([[9.0, 0.1]])
      >>> params, state = layer.init(jax.random.key(0), h)
      >>> layer.apply(params, state, None, h)[0].latent.tolist()
      [[0.5, 0.0]]
    """
    levels = whole_levels("latent_quantizer", levels)
    if not levels or min(levels) < 2:
        raise ValueError(f"latent_quantizer: levels must be at least one number, each at least 2, got {levels}")
    for name, value in {"commitment": commitment, "quantization": quantization}.items():
        if (number := as_number(value)) is not None and not 0 <= number < math.inf:
            raise ValueError(f"latent_quantizer: {name} must be a finite number >= 0, got {value}")
    if as_number(quantization) == 0:
        raise ValueError("latent_quantizer: quantization 0 would leave the values without a gradient: set it above 0")
    width = len(levels)

    def init(rng, h, condition=None):
        return {"values": tuple(jnp.linspace(-0.5, 0.5, n) for n in levels)}, ()

    def read(params, ids):
        return jnp.stack([values[ids[..., i]] for i, values in enumerate(params["values"])], -1)

    def apply(params, state, rng, h, condition=None):
        h, mask = unpadded("latent_quantizer", h, condition, width)
        values = stop_gradient(params["values"])
        # one scalar search per channel: the sizes of the value sets may differ
        nearest = [jnp.argmin(jnp.abs(h[..., i, None] - v), -1) for i, v in enumerate(_broadcastable(values, h.ndim))]
        ids = jnp.stack(nearest, -1)
        latent = read(params, ids)
        counted = None if mask is None else mask[..., None] > 0
        penalty = sum_per_example((h - stop_gradient(latent)) ** 2, counted) * commitment
        # the values follow the inputs, the inputs the values: each term has a gradient on one side alone
        penalty = penalty + sum_per_example((stop_gradient(h) - latent) ** 2, counted) * quantization
        # code length under a uniform prior: log L_i nats for channel i
        rate = tokens_per_example(h, mask) * sum(map(math.log, levels))
        symbols = jnp.where(jnp.isnan(h), -1, ids).astype(jnp.int32)
        return Code(straight_through(latent, h), penalty, rate, symbols), state

    def lookup(params, state, symbols, condition=None):
        if np.shape(symbols)[-1:] != (width,):
            # an index beyond the last would be clamped to it
            raise ValueError(f"latent_quantizer: symbols need a last axis of {width} channels, got {np.shape(symbols)}")
        symbols = cast(jax.Array, symbols if isinstance(symbols, jax.Array) else np.asarray(symbols))
        checked = [checked_symbols("latent_quantizer", symbols[..., i], n) for i, n in enumerate(levels)]
        ids, in_range = (jnp.stack(column, -1) for column in zip(*checked, strict=True))
        return jnp.where(in_range, stop_gradient(read(params, ids)), jnp.nan)

    def sample(params, state, rng, h, condition=None):
        keys = jax.random.split(rng, width)
        drawn = [jax.random.randint(key, h.shape[:-1], 0, n) for key, n in zip(keys, levels, strict=True)]
        return read(params, jnp.stack(drawn, -1))

    return Bottleneck(init, apply, sample, lookup, max(levels))


def _broadcastable(values, ndim):
    return [v.reshape((1,) * (ndim - 1) + (-1,)) for v in values]
