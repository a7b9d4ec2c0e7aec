"""Flows for posteriors, `(params, z, context) -> (z', log |det dz'/dz|)`: for `bottlenecks.gaussian(flow=...)`."""

import math

import jax
import jax.numpy as jnp

from jaxae.networks.autoregressive import autoregressive_mlp
from jaxae.types import Network


def planar(num_layers: int = 4) -> Network:
    """Planar layers: `z' = z + u tanh(w'z + v'context + b)`, each one bend along a plane.

    `u` is shifted along `w` so that `w'u >= -1`, which keeps each layer invertible.

    Args:
      num_layers: at least 1; each adds 3 D + 1 parameters.

    Returns:
      A `Network` `(z [B, ..., D], context like z) -> (z', [B])`.

    Raises:
      ValueError: num_layers below 1.

    Source: Rezende and Mohamed 2015, "Variational Inference with Normalizing Flows", section 4.1 and appendix A.1; the
    offset that reads the context is ours, theirs are parameters that the encoder gives.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.networks import planar
      >>> flow, z = planar(2), jnp.ones((5, 3))
      >>> new, log_det = flow.apply(flow.init(jax.random.key(0), z, z), z, z)
      >>> new.shape, log_det.shape
      ((5, 3), (5,))
    """
    _check("planar", num_layers)

    def init(rng, z, condition=None):
        size = _row(z)
        keys = jax.random.split(rng, (num_layers, 3))
        draw = jax.vmap(jax.vmap(lambda key: jax.random.normal(key, (size,)) / jnp.sqrt(size)))(keys)
        return {"u": 0.1 * draw[:, 0], "w": draw[:, 1], "v": draw[:, 2], "b": jnp.zeros(num_layers)}

    def apply(params, z, condition=None):
        rows, read = z.reshape(z.shape[0], -1), _context("planar", z, condition)

        def layer(carry, p):
            rows, log_det = carry
            product = p["w"] @ p["u"]
            u = p["u"] + (jax.nn.softplus(product) - 1 - product) * p["w"] / jnp.maximum((p["w"] ** 2).sum(), 1e-12)
            bend = jnp.tanh(rows @ p["w"] + read @ p["v"] + p["b"])
            log_det = log_det + jnp.log1p((1 - bend**2) * (p["w"] @ u))
            return (rows + bend[:, None] * u[None], log_det), None

        (rows, log_det), _ = jax.lax.scan(layer, (rows, jnp.zeros(z.shape[0])), params)
        return rows.reshape(z.shape), log_det

    return Network(init, apply)


def inverse_autoregressive(*sizes: int, num_layers: int = 2) -> Network:
    """Inverse autoregressive flow: `z'_d = s_d z_d + (1 - s_d) m_d`, with `s, m` from `z_1..z_{d-1}` and the context.

    `s = sigmoid(raw + 2)` starts near 0.88; the order of the dimensions is reversed between layers.

    Args:
      *sizes: hidden layers of each network; none: one of 128.
      num_layers: at least 1.

    Returns:
      A `Network` `(z [B, ..., D], context like z) -> (z', [B])`.

    Raises:
      ValueError: num_layers or a size below 1.

    Source: Kingma et al. 2016, "Improving Variational Inference with Inverse Autoregressive Flow", equations 13 and 14.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae.networks import inverse_autoregressive
      >>> flow, z = inverse_autoregressive(16), jnp.ones((5, 3))
      >>> new, log_det = flow.apply(flow.init(jax.random.key(0), z, z), z, z)
      >>> new.shape, log_det.shape
      ((5, 3), (5,))
    """
    _check("inverse_autoregressive", num_layers)
    network = autoregressive_mlp(*(sizes or (128,)))

    def init(rng, z, condition=None):
        like = jnp.zeros((1, _row(z)))
        return [network.init(key, like, like) for key in jax.random.split(rng, num_layers)]

    def apply(params, z, condition=None):
        rows, read = z.reshape(z.shape[0], -1), _context("inverse_autoregressive", z, condition)
        log_det = jnp.zeros(z.shape[0])
        for i, layer in enumerate(params):
            raw, mean = jnp.moveaxis(network.apply(layer, rows, read), -1, 0)
            log_scale = jax.nn.log_sigmoid(raw + 2)
            rows = jnp.exp(log_scale) * (rows - mean) + mean
            log_det = log_det + log_scale.sum(-1)
            if i + 1 < len(params):
                rows, read = rows[:, ::-1], read[:, ::-1]
        return rows.reshape(z.shape), log_det

    return Network(init, apply)


def _context(name, z, condition):
    if condition is None:
        raise ValueError(f"{name}: a context like z {z.shape} is needed, as bottlenecks.gaussian(flow=...) gives it")
    return condition.reshape(z.shape[0], -1)


def _row(z) -> int:
    return math.prod(z.shape[1:])


def _check(name, num_layers):
    if num_layers < 1:
        raise ValueError(f"{name}: num_layers must be at least 1, got {num_layers}")
