"""A Laplace prior: most latents near 0, a few far from it."""

import math

import jax
import jax.numpy as jnp

from jaxae.numerics import as_number, sum_per_example
from jaxae.testing import check_prior
from jaxae.types import Prior


def laplace_prior(scale: float = 1.0) -> Prior:
    """`log p(z) = sum_d -|z_d| / scale - log(2 scale)`. No parameters, and no closed form for the KL.

    Args:
      scale: mean absolute value of a latent, above 0.

    Raises:
      ValueError: scale is not above 0 and finite.

    Example:
      >>> laplace_prior(0.5).log_prob((), jnp.array([[0.0, 1.0]])).tolist()
      [-2.0]
    """
    if (number := as_number(scale)) is not None and not 0 < number < math.inf:
        raise ValueError(f"laplace_prior: scale must be above 0 and finite, got {scale}")

    def log_prob(params, latent, condition=None):
        return sum_per_example(-jnp.abs(latent) / scale - jnp.log(2 * jnp.float32(scale)))

    def sample(params, rng, latent, condition=None):
        return scale * jax.random.laplace(rng, latent.shape)

    return Prior(lambda rng, latent, condition=None: (), log_prob, sample)


def test_laplace_prior_keeps_the_contract():
    check_prior(laplace_prior())
