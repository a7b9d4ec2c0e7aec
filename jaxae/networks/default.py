"""The networks that presets use when none are given."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax.typing import DTypeLike

from jaxae.networks.mlp import mlp
from jaxae.types import Network


def default_encoder(shape: Sequence[int], num_outputs: int, dtype: DTypeLike = jnp.float32) -> Network:
    """The encoder that presets use: `[B, *shape] -> [B, num_outputs]`.

    Args:
      shape: one example's shape: `(H, W, C)`, or `(D,)` for a row of a table.
      num_outputs: the size of the bottleneck's input.
      dtype: compute type; parameters and output are float32.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> encoder = networks.default_encoder((28, 28, 1), 32)
      >>> params = encoder.init(jax.random.key(0), jnp.ones((2, 28, 28, 1)))
      >>> encoder.apply(params, jnp.ones((2, 28, 28, 1))).shape
      (2, 32)
    """
    return mlp(*_widths(shape), num_outputs, flatten=True, dtype=dtype)


def default_decoder(shape: Sequence[int], num_params: int = 1, dtype: DTypeLike = jnp.float32) -> Network:
    """The decoder that presets use: `[B, latent] -> [B, *shape[:-1], shape[-1] * num_params]`.

    Args:
      shape: one example's shape: `(H, W, C)`, or `(D,)` for a row of a table.
      num_params: output channels for each data channel, the likelihood's `num_params`.
      dtype: compute type; parameters and output are float32.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> decoder = networks.default_decoder((28, 28, 1), num_params=2)
      >>> params = decoder.init(jax.random.key(0), jnp.ones((2, 32)))
      >>> decoder.apply(params, jnp.ones((2, 32))).shape
      (2, 28, 28, 2)
    """
    output_shape = (*shape[:-1], shape[-1] * num_params)
    return mlp(*reversed(_widths(shape)), output_shape=output_shape, dtype=dtype)


def _widths(shape):
    return (512, 256) if math.prod(shape) > 256 else (128, 64)
