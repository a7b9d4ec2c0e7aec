"""A masked multilayer perceptron: output d reads inputs before d alone."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.types import Network


def autoregressive_mlp(*sizes: int, num_outputs: int = 2) -> Network:
    """`y_d = f_d(x_1, ..., x_{d-1}, condition)` for all d in one pass, by masks on the products (MADE).

    Args:
      *sizes: hidden layers.
      num_outputs: n, numbers for each input.

    Returns:
      A `Network` from `[B, D]`, with a condition `[B, C]` or None, to `[B, D, n]`. What it gives at first is near 0.

    Raises:
      ValueError: a size below 1.

    Source: Germain et al. 2015, "MADE: Masked Autoencoder for Distribution Estimation", section 4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.networks import autoregressive_mlp
      >>> network = autoregressive_mlp(16)
      >>> params = network.init(jax.random.key(0), jnp.ones((5, 3)))
      >>> network.apply(params, jnp.ones((5, 3))).shape
      (5, 3, 2)
    """
    if min((*sizes, num_outputs)) < 1 or not sizes:
        raise ValueError(f"autoregressive_mlp: sizes must be 1 or more, got {sizes} and {num_outputs} outputs")

    def degrees(size):
        """Units of degree k read inputs 1..k; of degree 0 the condition alone."""
        hidden = [jnp.arange(width) % size for width in sizes]
        return [jnp.arange(1, size + 1), *hidden], jnp.repeat(jnp.arange(size), num_outputs)

    def init(rng, x, condition=None):
        size, keys = x.shape[-1], jax.random.split(rng, len(sizes) + 2)
        widths = [size, *sizes, size * num_outputs]
        layers = []
        for key, inputs, outputs in zip(keys, widths[:-1], widths[1:], strict=False):
            scale = 0.1 if len(layers) == len(sizes) else 1.0
            kernel = scale * jax.random.normal(key, (inputs, outputs)) / jnp.sqrt(inputs)
            layers.append({"kernel": kernel, "bias": jnp.zeros(outputs)})
        if condition is None:
            return {"layers": layers}
        read = jax.random.normal(keys[-1], (condition.shape[-1], widths[1])) / jnp.sqrt(condition.shape[-1])
        return {"layers": layers, "condition": read}

    def apply(params, x, condition=None):
        inner, last = degrees(x.shape[-1])
        y: Array = x.astype(jnp.float32)
        for i, layer in enumerate(params["layers"]):
            final = i == len(sizes)
            mask = inner[i][:, None] <= (last if final else inner[i + 1])[None]
            y = y @ (layer["kernel"] * mask) + layer["bias"][None]
            if i == 0 and condition is not None:
                y = y + condition @ params["condition"]
            y = y if final else jax.nn.gelu(y)
        return y.reshape(*x.shape, num_outputs)

    return Network(init, apply)
