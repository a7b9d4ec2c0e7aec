"""A masked multilayer perceptron: output d reads only the inputs before d."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.types import Network


def autoregressive_mlp(*sizes: int, num_outputs: int = 2) -> Network:
    """`y_d = f_d(x_1, ..., x_{d-1}, condition)` for all d in one pass, by masks on the products (MADE).

    Args:
      *sizes: widths of the hidden layers.
      num_outputs: number of outputs n for each input.

    Returns:
      A `Network` from `[B, D]`, with a condition `[B, C]` or None, to `[B, D, n]`. Outputs are near 0 after `init`.

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
        """Degrees of inputs and hidden units, and of outputs: a unit of degree k reads inputs 1..k."""
        # degrees 0..D-1 in turn: every output has hidden units that it may read
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
        condition_kernel = jax.random.normal(keys[-1], (condition.shape[-1], widths[1])) / jnp.sqrt(condition.shape[-1])
        return {"layers": layers, "condition": condition_kernel}

    def apply(params, x, condition=None):
        unit_degrees, output_degrees = degrees(x.shape[-1])
        y: Array = x.astype(jnp.float32)
        for i, layer in enumerate(params["layers"]):
            is_last = i == len(sizes)
            # a weight is kept where the degree of its input is at most that of its output
            mask = unit_degrees[i][:, None] <= (output_degrees if is_last else unit_degrees[i + 1])[None]
            y = y @ (layer["kernel"] * mask) + layer["bias"][None]
            # the condition enters the first hidden layer of every degree: it is no input that is ordered
            if i == 0 and condition is not None:
                y = y + condition @ params["condition"]
            y = y if is_last else jax.nn.gelu(y)
        return y.reshape(*x.shape, num_outputs)

    return Network(init, apply)
