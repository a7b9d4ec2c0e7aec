"""A distribution on 0..1 whose log-density is the cross-entropy, normalised."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.types import Likelihood

# below it the exact forms cancel; their series are exact in float32
_SMALL = 0.1


def continuous_bernoulli() -> Likelihood:
    """`p(x) = C exp(l x)` on [0, 1], l the prediction: a density of grey values.

    `log p(x) = l x - log((exp(l) - 1) / l)`. The Bernoulli's `x l - log(1 + exp(l))` lacks the constant and is not a
    density of values between 0 and 1. Near l = 0 (the uniform distribution, the Bernoulli's 1/2) mean and constant are
    computed by series, since the exact forms cancel.

    Source: Loaiza-Ganem and Cunningham 2019, "The continuous Bernoulli: fixing a pervasive error in variational
    autoencoders".

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxae import likelihoods
      >>> likelihood = likelihoods.continuous_bernoulli()
      >>> float(likelihood.mean(jnp.zeros(())))
      0.5
      >>> round(float(likelihood.log_prob(jnp.float32(1.0), jnp.float32(1.0))), 4)
      0.4587
    """

    def log_prob(x, logits):
        logits = logits.astype(jnp.float32)
        return x * logits - _log_normaliser(logits)

    def sample(rng, logits):
        logits = logits.astype(jnp.float32)
        u = jax.random.uniform(rng, logits.shape)
        # the inverse distribution function for -|l|, whose exponentials are below 1; x of l > 0 is mirrored
        magnitude = jnp.abs(logits)
        safe = jnp.maximum(magnitude, 1e-3)
        low = -jnp.log1p(u * jnp.expm1(-safe)) / safe  # of exp(-size x)
        low = jnp.clip(jnp.where(magnitude < 1e-3, u, low), 0, 1)
        return jnp.where(logits > 0, 1 - low, low)

    return Likelihood(num_params=1, log_prob=log_prob, mean=_mean, sample=sample)


def _log_normaliser(logits: Array) -> Array:
    """`log((exp(l) - 1) / l)`: `l/2 + log(sinh(l/2) / (l/2))`, whose second part is even."""
    magnitude = jnp.abs(logits)
    safe = jnp.where(magnitude < _SMALL, 1.0, magnitude)
    # log((exp(l) - 1) / l) - l / 2 for l > 0, without exp(l)
    exact = safe / 2 + jnp.log(-jnp.expm1(-safe)) - jnp.log(safe)
    square = jnp.where(magnitude < _SMALL, logits, 0.0) ** 2
    # log(sinh(y) / y) at y = l / 2: y^2 / 6 - y^4 / 180 + y^6 / 2835
    series = square / 24 - square**2 / 2880 + square**3 / 181440
    return logits / 2 + jnp.where(magnitude < _SMALL, series, exact)


def _mean(logits: Array) -> Array:
    """`1 / (1 - exp(-l)) - 1 / l`."""
    logits = logits.astype(jnp.float32)
    small = jnp.abs(logits) < 3 * _SMALL
    safe = jnp.where(small, 1.0, logits)
    exact = 1 / -jnp.expm1(-safe) - 1 / safe
    # the series of coth(l / 2) / 2 + 1 / 2 - 1 / l
    near = jnp.where(small, logits, 0.0)
    return jnp.where(small, 0.5 + near / 12 - near**3 / 720 + near**5 / 30240, exact)
