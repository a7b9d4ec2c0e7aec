"""The contractive autoencoder: a penalty on the sensitivity of the latents to the input."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.numerics import require_whole, sum_per_example
from jaxae.types import Autoencoder, Batch, Output, Penalty


def contractive(model: Autoencoder, num_probes: int | None = None) -> Penalty:
    """A penalty: `||dz/dx||_F^2`, the squared Jacobian of the encoder (to the mean, where it is a posterior's).

    Args:
      model: an `Autoencoder` that treats rows independently.
      num_probes: number of random probes, see `squared_jacobian`; None: exact.

    Returns:
      `(params, state, rng, batch, output) -> [B]` for `penalized`.

    Raises:
      ValueError: num_probes below 1.

    Source: Rifai et al. 2011, "Contractive Auto-Encoders", equation 2.

    Example:
      >>> from jaxae import objectives, presets
      >>> model, _ = presets.ae((5,), latent_size=2)
      >>> objective = objectives.penalized(objectives.elbo(model), "jacobian", objectives.contractive(model), 0.1)
    """
    _check_probes("contractive", num_probes)

    def penalty(params, state, rng, batch: Batch, output: Output) -> Array:
        def encode(x):
            return model.encode(params, state, x, batch.condition).latent

        return squared_jacobian(encode, batch.x, rng, num_probes)

    return penalty


def squared_jacobian(
    function: Callable[[Array], Array], x: Array, rng: Array | None = None, num_probes: int | None = None
) -> Array:
    """`sum_ij (dy_j / dx_i)^2` for each row of a function that treats rows independently: `[B]`.

    The exact norm takes a product with each unit vector of the smaller side: forward mode over the inputs, or reverse
    mode over the outputs. With probes it is Hutchinson's unbiased estimate: the mean of `||v' J||^2` over random signs
    v, in reverse mode.

    Args:
      function: function `[B, ...] -> [B, ...]`.
      x: `[B, ...]`, points at which the Jacobian is taken.
      rng: key of the probes; None: the same probes at every call.
      num_probes: number of probes; None: exact, which costs as many passes as the smaller side has elements.

    Source: Rifai et al. 2011, equation 2; Hutchinson 1990, "A Stochastic Estimator of the Trace of the Influence
    Matrix".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.objectives import squared_jacobian
      >>> squared_jacobian(lambda x: x * x, jnp.array([[1.0, 2.0], [0.0, 3.0]])).tolist()
      [20.0, 36.0]
    """
    _check_probes("squared_jacobian", num_probes)
    result = jax.eval_shape(function, x)
    inputs, outputs = math.prod(x.shape[1:]), math.prod(result.shape[1:])
    if num_probes is None and inputs < outputs:
        tangents = _units(x.shape, x.dtype)
        # forward mode: column i of the Jacobian of every row at once
        columns = jax.vmap(lambda tangent: jax.jvp(function, (x,), (tangent,))[1])(tangents)
        return sum_per_example(jnp.moveaxis(columns, 1, 0) ** 2)
    _, back = jax.vjp(function, x)
    if num_probes is None:
        cotangents, factor = _units(result.shape, result.dtype), 1.0
    else:
        key = jax.random.key(0) if rng is None else rng
        cotangents = jax.random.rademacher(key, (num_probes, *result.shape), result.dtype)
        factor = 1 / num_probes
    # rows are independent, so one cotangent for the whole batch gives each row's own v' J
    (rows,) = jax.vmap(back)(cotangents)
    return factor * sum_per_example(jnp.moveaxis(rows, 1, 0) ** 2)


def _units(shape: tuple[int, ...], dtype) -> Array:
    """`[n, B, ...]`: every unit vector of an example, for all rows at once."""
    size = math.prod(shape[1:])
    # the same unit vector in every row: rows are independent, so one pass serves the whole batch
    units = jnp.eye(size, dtype=dtype).reshape(size, 1, *shape[1:])
    return jnp.broadcast_to(units, (size, *shape))


def _check_probes(name, num_probes):
    if num_probes is not None:
        require_whole(name, num_probes=num_probes)
    if num_probes is not None and num_probes < 1:
        raise ValueError(f"{name}: num_probes must be at least 1, or None for the exact norm; got {num_probes}")
