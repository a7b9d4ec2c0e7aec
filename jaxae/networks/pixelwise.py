"""A perceptron shared by all pixels. Pixels are columns: products with many columns use vector units well."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

PIXELS = 4096  # pixels of a chunk on a CPU: a layer's output for them stays in the cache


def init_layers(rng: Array, widths: Sequence[int], last: float = 1.0) -> list[dict]:
    """Kernels `[outputs, inputs]` of deviation `sqrt(2 / inputs)`, the last `last / sqrt(inputs)`; biases are 0.

    Args:
      rng: a key.
      widths: widths of the input and of each layer.
      last: scale of the last layer's kernel.

    Example:
      >>> import jax
      >>> from jaxae.networks.pixelwise import init_layers
      >>> [layer["kernel"].shape for layer in init_layers(jax.random.key(0), (5, 8, 1))]
      [(8, 5), (1, 8)]
    """
    layers = []
    for key, inputs, outputs in zip(jax.random.split(rng, len(widths) - 1), widths[:-1], widths[1:], strict=True):
        # He initialisation for layers before a ReLU
        scale = math.sqrt(2) if len(layers) < len(widths) - 2 else last
        kernel = scale / math.sqrt(inputs) * jax.random.normal(key, (outputs, inputs))
        layers.append({"kernel": kernel, "bias": jnp.zeros(outputs)})
    return layers


def finish(layers: Sequence[dict], columns: Array) -> Array:
    """The layers of the perceptron after a first product: ReLU, product, ReLU, ..., product.

    Args:
      layers: the remaining layers.
      columns: `[width of the first layer, N]`, its output before the ReLU.

    Returns:
      `[width of the last layer, N]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.networks.pixelwise import finish
      >>> finish([{"kernel": jnp.array([[2.0, 3.0]]), "bias": jnp.ones(1)}], jnp.array([[1.0], [-1.0]])).tolist()
      [[3.0]]
    """
    for layer in layers:
        columns = layer["kernel"] @ jax.nn.relu(columns) + layer["bias"][:, None]
    return columns


def by_rows(function: Callable, pixels: int, params: Any, *arrays: Array) -> Array:
    """`function(params, *arrays)` of a function that treats rows independently, in chunks of rows on a CPU.

    On a CPU each chunk is computed again for the gradient, so that wide activations never leave the cache: a step takes
    less than half the time. On other platforms, and for a symbolic batch, it is one call.

    Args:
      function: function `(params, *arrays [B, ...]) -> [B, ...]`.
      pixels: number of pixels of a row.
      params: tree of arrays without an axis of rows.
      *arrays: arrays `[B, ...]`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.networks.pixelwise import by_rows
      >>> by_rows(lambda p, x: p * x, 2048, 3.0, jnp.arange(5.0)).tolist()
      [0.0, 3.0, 6.0, 9.0, 12.0]
    """

    def in_chunks(params, *arrays):
        rows, chunk = arrays[0].shape[0], max(1, PIXELS // pixels)
        if not isinstance(rows, int) or rows <= chunk:
            return function(params, *arrays)
        fill = -rows % chunk
        parts = [jnp.pad(a, ((0, fill), *((0, 0),) * (a.ndim - 1))).reshape(-1, chunk, *a.shape[1:]) for a in arrays]
        # checkpoint: the backward pass computes a chunk's activations again instead of reading them from memory
        y = lax.map(jax.checkpoint(lambda part: function(params, *part)), parts)
        return y.reshape(-1, *y.shape[2:])[:rows]

    return lax.platform_dependent(params, *arrays, cpu=in_chunks, default=function)
