"""Student's t distribution for each element: a residual of many scales costs its logarithm, not its square."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxae.numerics import as_number
from jaxae.testing import check_likelihood
from jaxae.types import Likelihood


def student_t(degrees: float = 4.0, scale: float = 1.0) -> Likelihood:
    """`log p(x) = c - (d + 1) / 2 * log(1 + ((x - prediction) / scale)^2 / d)`, d the degrees of freedom.

    Args:
      degrees: degrees of freedom, above 2, where the variance is finite; large values give the normal distribution.
      scale: unit of the residual, above 0.

    Raises:
      ValueError: an argument is out of its range.

    Example:
      >>> wide = student_t(degrees=3.0)
      >>> round(float(wide.log_prob(jnp.array([0.0]), jnp.array([0.0]))[0]), 4)
      -1.0009
    """
    for name, value, least in (("degrees", degrees, 2.0), ("scale", scale, 0.0)):
        if (number := as_number(value)) is not None and not least < number < math.inf:
            raise ValueError(f"student_t: {name} must be finite and above {least:g}, got {value}")

    def log_prob(x, prediction):
        d = jnp.float32(degrees)
        constant = gammaln((d + 1) / 2) - gammaln(d / 2) - 0.5 * jnp.log(math.pi * d) - jnp.log(scale)
        residual = (x - prediction.astype(jnp.float32)) / scale
        return constant - (d + 1) / 2 * jnp.log1p(residual**2 / d)

    def sample(rng, prediction):
        prediction = prediction.astype(jnp.float32)
        return prediction + scale * jax.random.t(rng, degrees, prediction.shape)

    return Likelihood(num_params=1, log_prob=log_prob, mean=lambda prediction: prediction, sample=sample)


def test_student_t_keeps_the_contract():
    check_likelihood(student_t(scale=0.5))
