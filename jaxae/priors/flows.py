"""Flows as priors: a standard normal transformed by invertible layers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.networks import autoregressive_mlp
from jaxae.numerics import bounded_log_variance, normal_log_prob, require_whole
from jaxae.types import Prior

# bound of a layer's log-scale, smooth as in `bounded_log_variance`: no layer can stretch by more than e^3
_BOUND = 3.0


def coupling_flow(*sizes: int, num_layers: int = 4, conditional: bool = False) -> Prior:
    """`z = T(e)`, e standard normal: layers scale and shift every other dimension, as a function of the rest (RealNVP).

    Density and draws cost one pass each. The axes of a latent are flattened; layers alternate between even and odd
    dimensions.

    Args:
      *sizes: widths of the hidden layers of each network; none: one layer of 128.
      num_layers: number of layers, at least 1; every dimension changes with 2 or more.
      conditional: whether all layers read the condition, `[B, C]`; else it is ignored.

    Returns:
      A `Prior`, near the standard normal after `init`.

    Raises:
      ValueError: num_layers or a size below 1.

    Source: Dinh, Sohl-Dickstein and Bengio 2017, "Density Estimation using Real NVP", equations 4, 5 and 9.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import bottlenecks, priors
      >>> layer = bottlenecks.gaussian(priors.coupling_flow(32))
      >>> prior, z = priors.coupling_flow(16), jnp.zeros((5, 3))
      >>> params = prior.init(jax.random.key(0), z)
      >>> prior.log_prob(params, z).shape, prior.sample(params, jax.random.key(1), z).shape
      ((5,), (5, 3))
    """
    _check("coupling_flow", num_layers, sizes)
    sizes = sizes or (128,)

    def dense(rng, inputs, outputs, scale=1.0):
        kernel = scale * jax.random.normal(rng, (inputs, outputs)) / jnp.sqrt(inputs)
        return {"kernel": kernel, "bias": jnp.zeros(outputs)}

    def init_layer(rng, size, context):
        widths = [size + context, *sizes, 2 * size]
        keys = jax.random.split(rng, len(widths) - 1)
        # a small last layer: the flow starts near the identity
        scales = [1.0] * len(sizes) + [0.1]
        return [dense(*sizes_and_scale) for sizes_and_scale in zip(keys, widths[:-1], widths[1:], scales, strict=True)]

    def shift_and_log_scale(layer, i, z, condition):
        is_moved = (jnp.arange(z.shape[1]) % 2 == i % 2)[None]
        # moved dimensions are hidden from the network that moves them, so the Jacobian is triangular
        y = jnp.where(is_moved, 0, z)
        y = y if condition is None else jnp.concatenate([y, condition.astype(y.dtype)], -1)
        for j, dense_layer in enumerate(layer):
            y = y @ dense_layer["kernel"] + dense_layer["bias"][None]
            y = y if j + 1 == len(layer) else jax.nn.gelu(y)
        shift, raw = jnp.split(y, 2, -1)
        return jnp.where(is_moved, shift, 0), jnp.where(is_moved, bounded_log_variance(raw, _BOUND), 0)

    def to_noise(params, z, condition):
        log_det = jnp.zeros(z.shape[0])
        for i, layer in reversed(list(enumerate(params))):
            shift, log_scale = shift_and_log_scale(layer, i, z, condition)
            # |det de/dz| of e = (z - m) exp(-a) is exp(-sum a)
            z = (z - shift) * jnp.exp(-log_scale)
            log_det = log_det - log_scale.sum(-1)
        return z, log_det

    def from_noise(params, e, condition):
        for i, layer in enumerate(params):
            shift, log_scale = shift_and_log_scale(layer, i, e, condition)
            e = e * jnp.exp(log_scale) + shift
        return e

    return _flow(init_layer, num_layers, to_noise, from_noise, conditional)


def autoregressive_flow(*sizes: int, num_layers: int = 3, conditional: bool = False) -> Prior:
    """`e_d = (z_d - m_d) exp(-a_d)` with `m, a` from `z_1..z_{d-1}`: a masked autoregressive flow.

    The density costs one pass, a draw D of them. The order of the dimensions is reversed between layers.

    Args:
      *sizes: widths of the hidden layers of each network; none: one layer of 128.
      num_layers: number of layers, at least 1.
      conditional: whether all layers read the condition, `[B, C]`; else it is ignored.

    Returns:
      A `Prior`, near the standard normal after `init`.

    Raises:
      ValueError: num_layers or a size below 1.

    Source: Papamakarios, Pavlakou and Murray 2017, "Masked Autoregressive Flow for Density Estimation", section 3.1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxae import priors
      >>> prior, z = priors.autoregressive_flow(16), jnp.zeros((5, 3))
      >>> params = prior.init(jax.random.key(0), z)
      >>> prior.log_prob(params, z).shape, prior.sample(params, jax.random.key(1), z).shape
      ((5,), (5, 3))
    """
    _check("autoregressive_flow", num_layers, sizes)
    network = autoregressive_mlp(*(sizes or (128,)))

    def init_layer(rng, size, context):
        return network.init(rng, jnp.zeros((1, size)), jnp.zeros((1, context)) if context else None)

    def shift_and_log_scale(layer, z, condition):
        # dimension d of both outputs reads z_1..z_{d-1} alone: the Jacobian is triangular
        shift, raw = jnp.moveaxis(network.apply(layer, z, condition), -1, 0)
        return shift, bounded_log_variance(raw, _BOUND)

    def to_noise(params, z, condition):
        log_det = jnp.zeros(z.shape[0])
        for layer in params:
            shift, log_scale = shift_and_log_scale(layer, z, condition)
            z = ((z - shift) * jnp.exp(-log_scale))[:, ::-1]
            log_det = log_det - log_scale.sum(-1)
        return z, log_det

    def from_noise(params, e, condition):
        for layer in reversed(params):
            e = inverted(layer, e[:, ::-1], condition)
        return e

    def inverted(layer, e, condition):
        def next_dimension(d, z):
            shift, log_scale = shift_and_log_scale(layer, z, condition)
            # shift and scale of dimension d read the dimensions before it alone, which are final by now
            return z.at[:, d].set((e * jnp.exp(log_scale) + shift)[:, d])

        return jax.lax.fori_loop(0, e.shape[1], next_dimension, jnp.zeros_like(e))

    return _flow(init_layer, num_layers, to_noise, from_noise, conditional)


def _flow(init_layer: Callable, num_layers: int, to_noise: Callable, from_noise: Callable, conditional: bool) -> Prior:
    def rows(latent: Array) -> Array:
        return latent.reshape(latent.shape[0], -1).astype(jnp.float32)

    def required(condition):
        if conditional and (condition is None or condition.ndim != 2):
            raise ValueError("a conditional flow reads a condition [B, C]: set Batch.condition (labels: one-hot)")
        return condition if conditional else None

    def init(rng, latent, condition=None):
        size, condition = jax.eval_shape(rows, latent).shape[1], required(condition)
        context = 0 if condition is None else condition.shape[-1]
        return [init_layer(key, size, context) for key in jax.random.split(rng, num_layers)]

    def log_prob(params, latent, condition=None):
        e, log_det = to_noise(params, rows(latent), required(condition))
        # log p(z) = log N(e; 0, 1) + log |det de/dz|
        return normal_log_prob(e, jnp.zeros_like(e), jnp.zeros_like(e)).sum(-1) + log_det

    def sample(params, rng, latent, condition=None):
        e = jax.random.normal(rng, jax.eval_shape(rows, latent).shape)
        return from_noise(params, e, required(condition)).reshape(latent.shape)

    return Prior(init, log_prob, sample)


def _check(name, num_layers, sizes):
    require_whole(name, num_layers=num_layers)
    for size in sizes:
        require_whole(name, size=size)
    if min((num_layers, *sizes)) < 1:
        raise ValueError(f"{name}: num_layers and sizes must be at least 1, got {num_layers} and {sizes}")
