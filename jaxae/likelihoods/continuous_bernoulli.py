"""A distribution on 0..1 whose density is the cross-entropy's, normalised."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.types import Likelihood

# below it the exact forms cancel, and series are exact to float32
_SMALL = 0.1


def continuous_bernoulli() -> Likelihood:
    """`p(x) = C exp(l x)` on [0, 1], l the prediction: grey values under a proper density.

    `log p(x) = l x - log((exp(l) - 1) / l)`. The Bernoulli's `x l - log(1 + exp(l))` lacks the constant, and is no
    probability of values between 0 and 1. Near l = 0 (the uniform distribution, the Bernoulli's 1/2), where both mean
    and constant cancel, their series are taken.

    Source: Loaiza-Ganem and Cunningham 2019, "The continuous Bernoulli: fixing a pervasive error in variational
    autoencoders".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import likelihoods
      >>> one = likelihoods.continuous_bernoulli()
      >>> float(one.mean(jnp.zeros(()))), round(float(one.log_prob(jnp.float32(1.0), jnp.float32(1.0))), 4)
      (0.5, 0.4587)
    """

    def log_prob(x, logits):
        logits = logits.astype(jnp.float32)
        return x * logits - _log_normaliser(logits)

    def sample(rng, logits):
        logits = logits.astype(jnp.float32)
        u = jax.random.uniform(rng, logits.shape)
        # the inverse of the distribution function, from the side where it has no large exponential
        size = jnp.abs(logits)
        safe = jnp.maximum(size, 1e-3)
        low = -jnp.log1p(u * jnp.expm1(-safe)) / safe  # of exp(-size x)
        low = jnp.clip(jnp.where(size < 1e-3, u, low), 0, 1)
        return jnp.where(logits > 0, 1 - low, low)

    return Likelihood(num_params=1, log_prob=log_prob, mean=_mean, sample=sample)


def _log_normaliser(logits: Array) -> Array:
    """`log((exp(l) - 1) / l)`: `l/2 + log(sinh(l/2) / (l/2))`, whose second part is even."""
    size = jnp.abs(logits)
    safe = jnp.where(size < _SMALL, 1.0, size)
    exact = safe / 2 + jnp.log(-jnp.expm1(-safe)) - jnp.log(safe)
    square = jnp.where(size < _SMALL, logits, 0.0) ** 2
    series = square / 24 - square**2 / 2880 + square**3 / 181440
    return logits / 2 + jnp.where(size < _SMALL, series, exact)


def _mean(logits: Array) -> Array:
    """`1 / (1 - exp(-l)) - 1 / l`."""
    logits = logits.astype(jnp.float32)
    small = jnp.abs(logits) < 3 * _SMALL
    safe = jnp.where(small, 1.0, logits)
    exact = 1 / -jnp.expm1(-safe) - 1 / safe
    near = jnp.where(small, logits, 0.0)
    return jnp.where(small, 0.5 + near / 12 - near**3 / 720 + near**5 / 30240, exact)
