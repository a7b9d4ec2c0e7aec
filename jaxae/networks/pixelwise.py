"""A perceptron that all pixels share. Pixels are columns: a product of few rows and many columns fills vector units."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

PIXELS = 4096  # in a chunk on a CPU: what a layer gives of them stays in the cache


def init_layers(rng: Array, widths: Sequence[int], last: float = 1.0) -> list[dict]:
    """Kernels `[outputs, inputs]` of deviation `sqrt(2 / inputs)`, the last of `last / sqrt(inputs)`, and zero biases.

    Args:
      widths: of the input and of each layer.
      last: the last layer's scale.

    Example:
      >>> import jax
      >>> from jaxae.networks.pixelwise import init_layers
      >>> [layer["kernel"].shape for layer in init_layers(jax.random.key(0), (5, 8, 1))]
      [(8, 5), (1, 8)]
    """
    layers = []
    for key, inputs, outputs in zip(jax.random.split(rng, len(widths) - 1), widths[:-1], widths[1:], strict=True):
        scale = math.sqrt(2) if len(layers) < len(widths) - 2 else last
        kernel = scale / math.sqrt(inputs) * jax.random.normal(key, (outputs, inputs))
        layers.append({"kernel": kernel, "bias": jnp.zeros(outputs)})
    return layers


def finish(layers: Sequence[dict], columns: Array) -> Array:
    """What is left of the perceptron after a first product: ReLU, product, ReLU, ..., product.

    Args:
      layers: those that are left.
      columns: `[first layer's width, N]`, before its ReLU.

    Returns:
      `[last layer's width, N]`.

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
    """`function(params, *arrays)` of a function that treats rows alike, on a CPU some rows at a time.

    There each chunk is computed once more for the gradient, so that nothing wide ever leaves the cache: a step takes
    less than half the time. Elsewhere, and for a symbolic batch, it is one call.

    Args:
      function: `(params, *arrays [B, ...]) -> [B, ...]`.
      pixels: of a row.

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
        y = lax.map(jax.checkpoint(lambda part: function(params, *part)), parts)
        return y.reshape(-1, *y.shape[2:])[:rows]

    return lax.platform_dependent(params, *arrays, cpu=in_chunks, default=function)
