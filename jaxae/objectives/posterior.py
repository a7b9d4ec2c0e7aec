"""Latent, mean and log-variance of a code, flattened to rows, for penalties on the posterior."""

from jax import Array

from jaxae.types import Code, Gaussian


def rows_of(values: Array) -> Array:
    """`[B, ..., D]` flattened to `[B, D']`.

    Args:
      values: array with an axis of rows.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae.objectives.posterior import rows_of
      >>> rows_of(jnp.zeros((2, 3, 4))).shape
      (2, 12)
    """
    return values.reshape(values.shape[0], -1)


def normal_posterior(code: Code) -> tuple[Array, Array, Array]:
    """Latent, mean and log-variance, each `[B, D]`.

    Args:
      code: code with a normal posterior.

    Raises:
      ValueError: the code has no normal posterior, or its latent is not a draw of it.
    """
    posterior = code.posterior
    if not isinstance(posterior, Gaussian) or posterior.mean.shape != code.latent.shape:
        raise ValueError("this penalty needs a normal posterior: the bottleneck must be a gaussian one")
    return rows_of(code.latent), rows_of(posterior.mean), rows_of(posterior.log_variance)
