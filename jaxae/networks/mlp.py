"""The multilayer perceptron."""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from jaxae.networks.linen import stateless
from jaxae.numerics import require_whole
from jaxae.types import Network


def mlp(
    *sizes: int,
    activation: Callable[[Array], Array] = nn.gelu,
    flatten: bool = False,
    output_shape: Sequence[int] | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Network:
    """Dense layers with a non-linearity between them: `W_n a(... a(W_1 x + b_1) ...) + b_n`.

    Acts on the last axis, so that `[B, T, C]` is `T` rows of each example; a condition is ignored.

    Args:
      *sizes: output widths of the layers; the last layer is linear.
      activation: non-linearity between the layers.
      flatten: whether each example is flattened first, `[B, ...] -> [B, D]`.
      output_shape: shape of the outputs of an additional linear layer, `[B, D] -> [B, *output_shape]`; None: no such
        layer.
      dtype: compute type; parameters and output are float32.

    Returns:
      A `Network` from `[B, ..., C]` to float32 `[B, ..., sizes[-1]]`, or `[B, *output_shape]`.

    Raises:
      ValueError: there is no layer, or a size is below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import networks
      >>> encoder = networks.mlp(16, 2, flatten=True)
      >>> params = encoder.init(jax.random.key(0), jnp.ones((5, 8, 8, 1)))
      >>> encoder.apply(params, jnp.ones((5, 8, 8, 1))).shape
      (5, 2)
      >>> decoder = networks.mlp(16, output_shape=(8, 8, 1))
      >>> params = decoder.init(jax.random.key(0), jnp.ones((5, 2)))
      >>> decoder.apply(params, jnp.ones((5, 2))).shape
      (5, 8, 8, 1)
    """
    shape = None if output_shape is None else tuple(output_shape)
    layers = sizes if shape is None else (*sizes, math.prod(shape))
    for size in layers:
        require_whole("mlp", size=size)
    if not layers or min(layers) < 1:
        raise ValueError(f"mlp needs at least one layer and sizes of 1 or more; got sizes {sizes}, output {shape}")
    return stateless(_MLP(layers, activation, flatten, shape, dtype))


class _MLP(nn.Module):
    sizes: Sequence[int]
    activation: Callable
    flatten: bool
    output_shape: tuple[int, ...] | None
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x):
        if self.flatten:
            # without it, axes after the batch are positions that share the layers
            x = x.reshape(x.shape[0], -1)
        for size in self.sizes[:-1]:
            x = self.activation(nn.Dense(size, dtype=self.dtype)(x))
        x = nn.Dense(self.sizes[-1], dtype=self.dtype)(x).astype(jnp.float32)
        return x if self.output_shape is None else x.reshape(x.shape[0], *self.output_shape)
